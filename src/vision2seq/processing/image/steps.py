"""What can happen to the place of pixels: stretching, turning, cutting out a window. All processors are made of these.

A step is a plain record. It is applied to a picture (a Pillow image, or planes C H W) and followed by a `Geometry`, so
that what a processor does and what it says it did cannot differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vision2seq.errors import ImageError
from vision2seq.processing.image import ops
from vision2seq.processing.image.geometry import Geometry
from vision2seq.processing.image.ops import Pixels

Picture = Image.Image | Pixels
Shape = tuple[int, int]
"""Height and width."""

MAX_ENLARGED = 2**29
"""Pixels that resizing may make of a picture: 2 GiB in Pillow. A strip 10 by 10000 would become 11 GiB at 1920."""


@dataclass(frozen=True)
class Resize:
    """Stretch to a height and width.

    Args:
        shape: Height and width.
        resample: Pillow's filter.
        reducing_gap: How many times the wanted size a first, rough shrinking by whole numbers leaves at least;
            ``None`` for the filter alone.
    """

    shape: Shape
    resample: Image.Resampling
    reducing_gap: float | None = None

    def apply(self, picture: Picture) -> Picture:
        """The stretched picture.

        Raises:
            ImageError: An array with values that do not pass through 8 bits.
        """
        if isinstance(picture, Image.Image):
            return picture.resize(self.shape[::-1], resample=self.resample, reducing_gap=self.reducing_gap)
        return ops.resize(picture, self.shape, self.resample, self.reducing_gap)

    def follow(self, geometry: Geometry) -> Geometry:
        """Where pixels were, one step on."""
        return geometry.resized(*self.shape)


@dataclass(frozen=True)
class Turn:
    """Turn by a quarter clockwise."""

    def apply(self, picture: Picture) -> Picture:
        """The turned picture."""
        if isinstance(picture, Image.Image):
            return picture.transpose(Image.Transpose.ROTATE_270)
        return np.rot90(picture, 3, axes=(1, 2))

    def follow(self, geometry: Geometry) -> Geometry:
        """Where pixels were, one step on."""
        return geometry.turned()


@dataclass(frozen=True)
class Window:
    """Cut out a window; where it reaches beyond the picture, it is black.

    Args:
        top: The picture's row that becomes the first one; negative for rows of black before the picture.
        left: Likewise for columns.
        shape: Height and width of the window.
        fill: Instead of black, a value of all bands; of Pillow images only.
    """

    top: int
    left: int
    shape: Shape
    fill: int = 0

    def apply(self, picture: Picture) -> Picture:
        """The window."""
        height, width = self.shape
        if isinstance(picture, Image.Image) and self.fill:
            filled = Image.new(picture.mode, (width, height), (self.fill,) * len(picture.getbands()))
            filled.paste(picture, (-self.left, -self.top))
            return filled
        if isinstance(picture, Image.Image):
            return picture.crop((self.left, self.top, self.left + width, self.top + height))
        assert not self.fill
        return ops.window(picture, self.top, self.left, height, width)

    def follow(self, geometry: Geometry) -> Geometry:
        """Where pixels were, one step on."""
        return geometry.window(self.top, self.left, *self.shape)


Step = Resize | Turn | Window


def shape_of(picture: Picture) -> Shape:
    """Height and width of a Pillow image or of planes."""
    return (picture.height, picture.width) if isinstance(picture, Image.Image) else picture.shape[1:]


def shorter_edge_shape(shape: Shape, edge: int) -> Shape:
    """Height and width when the shorter one becomes ``edge`` and the longer one follows, rounded down.

    Raises:
        ImageError: The result would not fit into memory.
    """
    height, width = shape
    longer = int(edge * max(shape) / min(shape))
    if longer * edge > max(MAX_ENLARGED, height * width):
        wide, high = (edge, longer) if width <= height else (longer, edge)
        raise ImageError(
            f"The picture of {width}x{height} pixels is so thin that resizing its shorter edge to {edge} makes it "
            f"{wide}x{high}. Cut it into pieces, or pass do_resize=False."
        )
    return (longer, edge) if width <= height else (edge, longer)


def center_crop(shape: Shape, wanted: Shape) -> Window:
    """The window on the middle; where the picture is smaller, the odd row or column of black comes before it."""

    def start(found: int, wanted: int) -> int:
        return (found - wanted) // 2 if found >= wanted else -math.ceil((wanted - found) / 2)

    return Window(start(shape[0], wanted[0]), start(shape[1], wanted[1]), wanted)
