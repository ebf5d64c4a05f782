"""The image processor of texify and MixTeX: a picture in the middle of a white canvas.

- shrunk until it fits, the aspect ratio kept; texify also enlarges until it fills the canvas one way;
- put in the middle on white, an odd row or column of it coming after the picture;
- rescaled and normalised.

Source: ``VariableDonutImageProcessor`` of texify 0.2 and ``pad_image`` of MixTeX 3.2.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from PIL import Image

from vision2seq.errors import OptionError
from vision2seq.processing.image import ops, steps
from vision2seq.processing.image.base import ImageProcessor
from vision2seq.processing.image.ops import Pixels

WHITE = 255


class WhiteCanvasImageProcessor(ImageProcessor):
    """Options of a white canvas, with texify's `defaults`; `ImageProcessor` tells what the others mean.

    Args:
        do_resize: Whether to fit what is larger than the canvas into it.
        do_enlarge: Whether to enlarge what is smaller, until it fills the canvas one way.
        size: The canvas.
        do_pad: Whether to fill up to the canvas, with white.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "do_resize": True,
        "do_enlarge": True,
        "size": {"height": 420, "width": 420},
        "resample": 2,
        "do_pad": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    written_type: ClassVar[str] = "WhiteCanvasImageProcessor"

    do_enlarge: bool | None
    do_pad: bool | None

    def _choose(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        chosen = super()._choose(overrides)
        if not chosen["do_resize"] and chosen["do_pad"]:
            chosen["size"] = ops.wanted_size(chosen["size"])
        return chosen

    def _fit(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Pixels:
        if not isinstance(picture, Image.Image):  # white is 255 only there
            picture, _ = ops.as_picture(picture)
        return super()._fit(picture, chosen)

    def _steps(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Iterator[steps.Step]:
        shape, canvas = steps.shape_of(picture), chosen["size"]
        if chosen["do_resize"]:
            found, shape = shape, contained_shape(shape, canvas, bool(chosen["do_enlarge"]))
            if shape != found:
                yield steps.Resize(shape, chosen["resample"])
        if chosen["do_pad"]:
            below, right = canvas[0] - shape[0], canvas[1] - shape[1]
            if below < 0 or right < 0:
                raise OptionError(
                    f"The picture is {shape[0]} high and {shape[1]} wide, more than the canvas of {canvas[0]} by "
                    f"{canvas[1]}. Pass do_resize=True, which makes it fit, or do_pad=False."
                )
            yield steps.Window(-(below // 2), -(right // 2), canvas, fill=WHITE)


def contained_shape(shape: steps.Shape, canvas: steps.Shape, enlarge: bool) -> steps.Shape:
    """Height and width of a picture that fits into a canvas, filling it one way unless it is not to be enlarged."""
    height, width = shape
    if not enlarge and height < canvas[0] and width < canvas[1]:
        return shape
    scale = min(canvas[1] / width, canvas[0] / height)
    return max(min(int(height * scale), canvas[0]), 1), max(min(int(width * scale), canvas[1]), 1)
