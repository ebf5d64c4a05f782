"""The image processor of Donut: fit a page into a canvas without distorting it.

- turned by a quarter clockwise first, if asked to, where picture and canvas are not both upright or both lying;
- resized until the shorter edge is the shorter edge of the canvas, the longer one following (and often too long now);
- shrunk until it fits into the canvas, always bicubic;
- put in the middle of the canvas on black, which comes before rescaling and normalising.

Lists and tuples are (width, height) here, unlike everywhere else: the files of the original Donut say it so.

Source: ``DonutImageProcessor`` of transformers 4.57.6 (the PIL one).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vision2seq.errors import ImageError, OptionError
from vision2seq.processing.image import ops, steps
from vision2seq.processing.image.base import HALF, ImageProcessor
from vision2seq.processing.image.geometry import Geometry
from vision2seq.processing.image.ops import Pixels

MAX_ENLARGED = 2**29
"""Pixels that resizing may make of a picture: 2 GiB in Pillow. A strip 10 by 10000 would become 11 GiB at 1920."""


class DonutImageProcessor(ImageProcessor):
    """Options of Donut's preprocessing, with its defaults.

    A call also takes ``random_padding=True``, for training: the place on the canvas is drawn from numpy's global
    generator. No file can switch that on.

    Args:
        do_resize: Whether to resize, so that the shorter edges of picture and canvas are equal.
        size: The canvas: ``{"height": …, "width": …}``, ``[width, height]`` (in this order) or ``384`` (a square);
            2560 high and 1920 wide if not given.
        resample: Pillow's filter number for ``do_resize``, 2 (bilinear) if not given.
        do_thumbnail: Whether to shrink what is larger than the canvas.
        do_align_long_axis: Whether to turn pictures whose longer edge is not the canvas's longer one.
        do_pad: Whether to fill up to the canvas, with black.
        do_rescale: Whether to multiply by ``rescale_factor``.
        rescale_factor: 1/255 if not given.
        do_normalize: Whether to subtract the mean and divide by the deviation.
        image_mean: A number or one a channel, 0.5 if not given. With one entry the pictures are gray.
        image_std: Likewise.
        unknown: Kept and written back. ``do_convert_rgb`` among them is honoured as in `ViTImageProcessor`.

    Raises:
        OptionError: A size in no known spelling.
    """

    options: ClassVar[tuple[str, ...]] = (
        "do_resize",
        "size",
        "resample",
        "do_thumbnail",
        "do_align_long_axis",
        "do_pad",
        "do_rescale",
        "rescale_factor",
        "do_normalize",
        "image_mean",
        "image_std",
    )
    written_type: ClassVar[str] = "DonutImageProcessor"

    do_thumbnail: bool | None
    do_align_long_axis: bool | None
    do_pad: bool | None

    def __init__(
        self,
        do_resize: bool | None = True,
        size: Any = None,
        resample: Any = 2,
        do_thumbnail: bool | None = True,
        do_align_long_axis: bool | None = False,
        do_pad: bool | None = True,
        do_rescale: bool | None = True,
        rescale_factor: float | None = 1 / 255,
        do_normalize: bool | None = True,
        image_mean: Any = None,
        image_std: Any = None,
        **unknown: Any,
    ) -> None:
        if "do_convert_rgb" in unknown:
            self.do_convert_rgb = unknown.pop("do_convert_rgb")
        super().__init__(**unknown)
        self.do_resize = do_resize
        self.size = {"height": 2560, "width": 1920} if size is None else size
        self.resample = resample
        self.do_thumbnail = do_thumbnail
        self.do_align_long_axis = do_align_long_axis
        self.do_pad = do_pad
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = list(HALF) if image_mean is None else image_mean
        self.image_std = list(HALF) if image_std is None else image_std

    def __setattr__(self, name: str, value: Any) -> None:
        # Whoever sets a size later writes (width, height) too; everything below knows dicts only.
        super().__setattr__(name, ops.size_dict(_height_first(value)) if name == "size" else value)

    def _choose(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """As in the base, and ``random_padding``, which is an option of calls alone."""
        overrides = dict(overrides)
        random_padding = overrides.pop("random_padding", False)
        if "size" in overrides:
            overrides["size"] = _height_first(overrides["size"])
        chosen = super()._choose(overrides)
        chosen["random_padding"] = random_padding
        if chosen["do_align_long_axis"] or chosen["do_thumbnail"] or chosen["do_pad"]:
            chosen["size"] = ops.height_width(chosen["size"])
        return chosen

    def geometry(self, image: Any, **overrides: Any) -> Geometry:
        """As in the base.

        Raises:
            OptionError: With ``random_padding``, nobody knows the place beforehand.
        """
        if overrides.get("random_padding"):
            raise OptionError("geometry() cannot tell where random_padding=True will put a picture. Leave it out.")
        return super().geometry(image, **overrides)

    def _fit(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Pixels:
        gray = _gray_band(picture)
        if gray is None:
            return super()._fit(picture, chosen)
        # As in most scans; one band costs a third, and Pillow computes each band by itself.
        return np.repeat(super()._fit(gray, chosen), 3, axis=0)

    def _steps(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Iterator[steps.Step]:
        shape, canvas = steps.shape_of(picture), chosen["size"]
        # A square fits either way.
        if chosen["do_align_long_axis"] and (shape[0] - shape[1]) * (canvas[0] - canvas[1]) < 0:
            shape = shape[::-1]
            yield steps.Turn()
        if chosen["do_resize"]:
            found, shape = shape, shorter_edge_shape(shape, min(canvas))
            _check_enlarged(found, shape)
            yield steps.Resize(shape, chosen["resample"])
        if chosen["do_thumbnail"]:
            found, shape = shape, thumbnail_shape(shape, canvas)
            if shape != found:
                yield steps.Resize(shape, Image.Resampling.BICUBIC, reducing_gap=2.0)
        if chosen["do_pad"]:
            yield on_canvas(shape, canvas, bool(chosen["random_padding"]))


class DonutFeatureExtractor(DonutImageProcessor):
    """The name of `DonutImageProcessor` in files and scripts from before 2023."""


def shorter_edge_shape(shape: tuple[int, int], edge: int) -> tuple[int, int]:
    """Height and width when the shorter one becomes ``edge`` and the longer one follows, rounded down."""
    height, width = shape
    longer = int(edge * max(shape) / min(shape))
    return (longer, edge) if width <= height else (edge, longer)


def thumbnail_shape(shape: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int]:
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


def on_canvas(shape: steps.Shape, canvas: steps.Shape, anywhere: bool = False) -> steps.Window:
    """The window that is the canvas, seen from the picture on it.

    Args:
        shape: Height and width of the picture.
        canvas: Those of the canvas.
        anywhere: Where numpy's global generator says, for training; otherwise in the middle, an odd row or column of
            black coming after the picture.

    Raises:
        OptionError: The picture is larger than the canvas.
    """
    below, right = canvas[0] - shape[0], canvas[1] - shape[1]
    if below < 0 or right < 0:
        raise OptionError(
            f"After resizing, the picture is {shape[0]} high and {shape[1]} wide, more than the canvas of {canvas[0]} "
            f"by {canvas[1]}. Pass do_resize=True and do_thumbnail=True, which make it fit, or do_pad=False."
        )
    if anywhere:
        top, left = np.random.randint(0, below + 1), np.random.randint(0, right + 1)
        return steps.Window(-top, -left, canvas)
    return steps.Window(-(below // 2), -(right // 2), canvas)


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


def _height_first(size: Any) -> Any:
    return size[::-1] if isinstance(size, (list, tuple)) else size


def _check_enlarged(found: tuple[int, int], shape: tuple[int, int]) -> None:
    if shape[0] * shape[1] > max(MAX_ENLARGED, found[0] * found[1]):
        raise ImageError(
            f"The picture of {found[1]}x{found[0]} pixels is so thin that resizing its shorter edge to {min(shape)} "
            f"makes it {shape[1]}x{shape[0]}. Cut it into pieces, or pass do_resize=False."
        )
