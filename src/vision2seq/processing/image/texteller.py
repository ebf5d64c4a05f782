"""The image processor of TexTeller: a formula cut out, made gray, and put in the corner of a square.

- the border of the background's colour is cut off, which is that of most of the four corners;
- gray by the weights of video, rounded down;
- resized so that the longer edge is the square's, or the shorter one a pixel less, whichever is reached first;
- rescaled and normalised, and only then filled up to the square with 0, below and to the right.

Source: ``texteller.utils.image.transform`` of TexTeller 1.1, which needs OpenCV and torchvision. The result differs
from it by a level of 255, rarely two, in a pixel of 500, where torchvision's filter rounds otherwise than Pillow's. A
picture of one colour, with which TexTeller fails, is kept whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vision2seq.errors import OptionError
from vision2seq.processing.image import ops, steps
from vision2seq.processing.image.base import ImageProcessor
from vision2seq.processing.image.feature import BatchFeature, tensor_kind
from vision2seq.processing.image.geometry import Geometry
from vision2seq.processing.image.ops import Pixels

NEAR_BACKGROUND = 15
"""Levels of gray, of 255, up to which a pixel counts as background."""
# OpenCV's weights of blue, green and red, in parts of 2 to the 15th; TexTeller takes red for blue here.
_WEIGHTS = np.array([3735, 19235, 9798], np.int32)


class TexTellerImageProcessor(ImageProcessor):
    """TexTeller's options, with its `defaults`; `ImageProcessor` tells what the others mean.

    Args:
        do_trim: Whether to cut off the border.
        size: The square.
        do_pad: Whether to fill up to it.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "do_trim": True,
        "do_resize": True,
        "size": {"height": 448, "width": 448},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": 0.9545467,
        "image_std": 0.15394445,
        "do_pad": True,
    }
    written_type: ClassVar[str] = "TexTellerImageProcessor"

    do_trim: bool | None
    do_pad: bool | None

    def __call__(self, images: Any, return_tensors: Any = None, **overrides: Any) -> BatchFeature:
        """As in the base.

        Raises:
            OptionError: Also for a picture larger than the square, without ``do_resize``.
        """
        kind = tensor_kind(return_tensors)
        chosen = self._choose(overrides)
        found = super().__call__(images, None, **{**overrides, "data_format": "channels_first"})["pixel_values"]
        if chosen["do_pad"]:
            found = [_filled_up(pixels, self._square(chosen)) for pixels in found]
        if chosen["data_format"] == "channels_last":
            found = [np.ascontiguousarray(pixels.transpose(1, 2, 0)) for pixels in found]
        return BatchFeature({"pixel_values": found}, kind)

    def geometry(self, image: Any, **overrides: Any) -> Geometry:
        """As in the base."""
        chosen = self._choose(overrides)
        found = super().geometry(image, **overrides)
        return found.window(0, 0, *self._square(chosen)) if chosen["do_pad"] else found

    @staticmethod
    def _square(chosen: Mapping[str, Any]) -> steps.Shape:
        size = chosen["size"]
        wanted = ops.wanted_size(size) if isinstance(size, Mapping) else size
        assert not isinstance(wanted, int)
        return wanted

    def _fit(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Pixels:
        if not isinstance(picture, Image.Image):
            picture, _ = ops.as_picture(picture)
        # Which pixels are border is told by their colours.
        doing = list(self._steps(picture, chosen))
        gray: steps.Picture = _gray(picture)
        for step in doing:
            gray = step.apply(gray)
        return ops.planes(gray) if isinstance(gray, Image.Image) else gray

    def _steps(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Iterator[steps.Step]:
        shape = steps.shape_of(picture)
        if chosen["do_trim"]:
            inside = within_border(picture if isinstance(picture, Image.Image) else ops.as_picture(picture)[0])
            shape = inside.shape
            yield inside
        if chosen["do_resize"]:
            height, width = fitted_shape(shape, min(self._square(chosen)))
            # Across first, as torchvision does; Pillow by itself begins where there is less to compute.
            yield steps.Resize((shape[0], width), chosen["resample"])
            yield steps.Resize((height, width), chosen["resample"])


def within_border(picture: Image.Image) -> steps.Window:
    """The smallest window with all that is not background; the whole of a picture of nothing else."""
    pixels = np.asarray(picture.convert("RGB")).astype(np.int32)  # H W 3
    corners = [tuple(pixels[y, x].tolist()) for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1))]
    background = Counter(corners).most_common(1)[0][0]
    distance = (np.abs(pixels - background) @ _WEIGHTS + (1 << 14)) >> 15
    ink = distance > NEAR_BACKGROUND
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return steps.Window(0, 0, steps.shape_of(picture))
    top, left = int(rows[0]), int(columns[0])
    return steps.Window(top, left, (int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left))


def fitted_shape(shape: steps.Shape, edge: int) -> steps.Shape:
    """Height and width when the shorter edge becomes ``edge - 1``, or less so that the longer one is ``edge``."""
    short, long = min(shape), max(shape)
    new_short, new_long = edge - 1, int((edge - 1) * long / short)
    if new_long > edge:
        new_short, new_long = max(int(edge * new_short / new_long), 1), edge
    return (new_long, new_short) if shape[1] <= shape[0] else (new_short, new_long)


def _gray(picture: Image.Image) -> Image.Image:
    red, green, blue = (np.asarray(band, np.float32) for band in picture.convert("RGB").split())
    weighed = red * np.float32(0.2989) + green * np.float32(0.587) + blue * np.float32(0.114)
    return Image.fromarray(weighed.astype(np.uint8))


def _filled_up(pixels: Pixels, square: steps.Shape) -> Pixels:
    height, width = pixels.shape[1:]
    if height > square[0] or width > square[1]:
        raise OptionError(
            f"The picture is {height} high and {width} wide, more than the square of {square[0]} by {square[1]}. Pass "
            "do_resize=True, which makes it fit, or do_pad=False."
        )
    return np.pad(pixels, ((0, 0), (0, square[0] - height), (0, square[1] - width)))
