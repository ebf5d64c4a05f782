"""The image processor of Nougat: the margins are cut off, then as Donut's.

What the margins are depends on the picture, not on its size: all around the pixels that are ink, which means darker
than 200 of 255 once the darkest pixel is 0 and the lightest one 255. A picture of one colour has none.

Source: ``NougatImageProcessor`` of transformers 4.57.6 (the PIL one).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vision2seq.processing.image import ops, steps
from vision2seq.processing.image.canvas import CanvasImageProcessor
from vision2seq.processing.image.ops import Pixels

INK_BELOW = 200


class NougatImageProcessor(CanvasImageProcessor):
    """Nougat's options, with its `defaults`; `CanvasImageProcessor` tells what the others mean.

    Args:
        do_crop_margin: Whether to cut off the margins. Arrays of fractions become 8-bit values by that.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "do_crop_margin": True,
        **CanvasImageProcessor.defaults,
        "size": {"height": 896, "width": 672},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    written_type: ClassVar[str] = "NougatImageProcessor"

    do_crop_margin: bool | None

    def _fit(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Pixels:
        if chosen["do_crop_margin"] and not isinstance(picture, Image.Image):
            picture, _ = ops.as_picture(picture)
        return super()._fit(picture, chosen)

    def _steps(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Iterator[steps.Step]:
        shape = steps.shape_of(picture)
        if chosen["do_crop_margin"]:
            inside = within_margins(picture if isinstance(picture, Image.Image) else ops.as_picture(picture)[0])
            if inside.shape != shape:
                shape = inside.shape
                yield inside
        yield from self._onto_canvas(shape, chosen)


def within_margins(picture: Image.Image) -> steps.Window:
    """The smallest window with all the ink; the whole of a picture of one colour."""
    gray = np.asarray(picture.convert("L"))
    darkest, lightest = int(gray.min()), int(gray.max())
    if darkest == lightest:
        return steps.Window(0, 0, steps.shape_of(picture))
    # The rule is about one value at a time, so that the lightest ink tells all.
    ink = gray <= max(x for x in range(256) if (x - darkest) / (lightest - darkest) * 255 < INK_BELOW)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    top, left = int(rows[0]), int(columns[0])
    return steps.Window(top, left, (int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left))
