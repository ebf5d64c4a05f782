"""The image processor of ConvNeXT: how much of the picture is cut off depends on the size.

- from 384 pixels on: stretch to a square;
- below: resize the shorter edge to more than that, by ``crop_pct``, and cut out the middle.

Source: ``ConvNextImageProcessor`` of transformers 4.57.6 (the PIL one).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from vision2seq.errors import OptionError
from vision2seq.processing.image import steps
from vision2seq.processing.image.base import ImageProcessor

WHOLE_FROM = 384
"""The edge in pixels from which on nothing is cut off."""


class ConvNextImageProcessor(ImageProcessor):
    """ConvNeXT's options, with its `defaults`; `ImageProcessor` tells what the others mean.

    Args:
        size: ``{"shortest_edge": …}`` or an integer: the edge of the square that comes out.
        crop_pct: Its share of the resized picture's shorter edge, above 0; 7/8 if not given. Means nothing for larger
            sizes.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "do_resize": True,
        "size": {"shortest_edge": 384},
        "crop_pct": 224 / 256,
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    by_shorter_edge: ClassVar[bool] = True
    written_type: ClassVar[str] = "ConvNextImageProcessor"

    def _choose(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        chosen = super()._choose(overrides)
        edge, share = chosen["size"], chosen["crop_pct"]
        if chosen["do_resize"] and not isinstance(edge, int):
            raise OptionError(f"size is {edge[0]} by {edge[1]}. This processor needs one edge: {{'shortest_edge': …}}.")
        if chosen["do_resize"] and not (isinstance(share, (int, float)) and 0 < share <= edge):
            raise OptionError(f"crop_pct is {share!r}. Expected a number above 0, as 0.875.")
        return chosen

    def _steps(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Iterator[steps.Step]:
        if not chosen["do_resize"]:
            return
        edge = chosen["size"]
        if edge >= WHOLE_FROM:
            yield steps.Resize((edge, edge), chosen["resample"])
            return
        shape = steps.shorter_edge_shape(steps.shape_of(picture), int(edge / chosen["crop_pct"]))
        yield steps.Resize(shape, chosen["resample"])
        yield steps.center_crop(shape, (edge, edge))


ConvNextFeatureExtractor = ConvNextImageProcessor
"""The name in files and scripts from before 2023."""
