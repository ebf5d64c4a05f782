"""What Donut's and Nougat's image processors share: fit a page into a canvas without distorting it.

- turned by a quarter clockwise first, if asked to, where picture and canvas are not both upright or both lying;
- resized until the shorter edge is the shorter edge of the canvas, the longer one following (and often too long now);
- shrunk until it fits into the canvas, always bicubic;
- put in the middle of the canvas on black, which comes before rescaling and normalising.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vision2seq.errors import OptionError
from vision2seq.processing.image import ops, steps
from vision2seq.processing.image.base import ImageProcessor
from vision2seq.processing.image.ops import Pixels


class CanvasImageProcessor(ImageProcessor):
    """Options of putting pages on a canvas; `ImageProcessor` tells what the others mean.

    Args:
        do_resize: Whether to resize, so that the shorter edges of picture and canvas are equal.
        size: The canvas.
        resample: Pillow's filter number for ``do_resize``.
        do_thumbnail: Whether to shrink what is larger than the canvas.
        do_align_long_axis: Whether to turn pictures whose longer edge is not the canvas's longer one.
        do_pad: Whether to fill up to the canvas, with black.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "do_resize": True,
        "resample": 2,
        "do_thumbnail": True,
        "do_align_long_axis": False,
        "do_pad": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
    }

    do_thumbnail: bool | None
    do_align_long_axis: bool | None
    do_pad: bool | None

    def _choose(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        chosen = super()._choose(overrides)
        if not chosen["do_resize"] and any(chosen[step] for step in ("do_align_long_axis", "do_thumbnail", "do_pad")):
            chosen["size"] = ops.wanted_size(chosen["size"])
        return chosen

    def _fit(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Pixels:
        gray = _gray_band(picture)
        if gray is None:
            return super()._fit(picture, chosen)
        # As in most scans; one band costs a third, and Pillow computes each band by itself.
        return np.repeat(super()._fit(gray, chosen), 3, axis=0)

    def _steps(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Iterator[steps.Step]:
        return self._onto_canvas(steps.shape_of(picture), chosen)

    def _onto_canvas(self, shape: steps.Shape, chosen: Mapping[str, Any]) -> Iterator[steps.Step]:
        canvas = chosen["size"]
        # A square fits either way.
        if chosen["do_align_long_axis"] and (shape[0] - shape[1]) * (canvas[0] - canvas[1]) < 0:
            shape = shape[::-1]
            yield steps.Turn()
        if chosen["do_resize"]:
            shape = steps.shorter_edge_shape(shape, min(canvas))
            yield steps.Resize(shape, chosen["resample"])
        if chosen["do_thumbnail"]:
            found, shape = shape, thumbnail_shape(shape, canvas)
            if shape != found:
                yield steps.Resize(shape, Image.Resampling.BICUBIC, reducing_gap=2.0)
        if chosen["do_pad"]:
            yield self._padding(shape, canvas, chosen)

    def _padding(self, shape: steps.Shape, canvas: steps.Shape, chosen: Mapping[str, Any]) -> steps.Window:
        """The window that is the canvas, seen from the picture on it: in its middle.

        An odd row or column of black comes after the picture.

        Raises:
            OptionError: The picture is larger than the canvas.
        """
        below, right = canvas[0] - shape[0], canvas[1] - shape[1]
        if below < 0 or right < 0:
            raise OptionError(
                f"After resizing, the picture is {shape[0]} high and {shape[1]} wide, more than the canvas of "
                f"{canvas[0]} by {canvas[1]}. Pass do_resize=True and do_thumbnail=True, which make it fit, or "
                "do_pad=False."
            )
        return steps.Window(-(below // 2), -(right // 2), canvas)


def thumbnail_shape(shape: steps.Shape, canvas: steps.Shape) -> steps.Shape:
    """Height and width of a picture after shrinking: the longer edge as long as the canvas allows, the other following.

    After resizing the shorter edge, the result always fits into the canvas. An edge that would vanish, where the
    reference fails, keeps one pixel.
    """
    height, width = min(shape[0], canvas[0]), min(shape[1], canvas[1])
    if (height, width) == shape:
        return shape
    if shape[0] > shape[1]:
        width = int(shape[1] * height / shape[0])
    elif shape[1] > shape[0]:
        height = int(shape[0] * width / shape[1])
    return max(height, 1), max(width, 1)


def _gray_band(picture: Image.Image | Pixels) -> Image.Image | None:
    """One band of an RGB picture whose bands are all equal. A row from the middle tells most colour pictures apart."""
    if not isinstance(picture, Image.Image) or picture.mode != "RGB":
        return None
    middle = picture.height // 2
    for part in (picture.crop((0, middle, picture.width, middle + 1)), picture):
        red, green, blue = (band.tobytes() for band in part.split())
        if not red == green == blue:
            return None
    return picture.getchannel(0)
