"""The image processor of Donut: fit a page into a canvas without distorting it.

- turned by a quarter clockwise first, if asked to, where picture and canvas are not both upright or both lying;
- resized until the shorter edge is the shorter edge of the canvas, the longer one following (and often too long now);
- shrunk until it fits into the canvas, always bicubic;
- put in the middle of the canvas on black, which comes before rescaling and normalising.

Lists and tuples are (width, height) here, unlike everywhere else: the files of the original Donut say it so.

Source: ``DonutImageProcessor`` of transformers 4.57.6 (the PIL one).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vision2seq.errors import ImageError, OptionError
from vision2seq.processing.image import ops
from vision2seq.processing.image.base import HALF, ImageProcessor
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

    def _fit(self, picture: Image.Image | Pixels, chosen: Mapping[str, Any]) -> Pixels:
        canvas = chosen["size"]
        gray = _gray_band(picture)
        if gray is not None:  # as in most scans; one band costs a third, and Pillow computes each band by itself
            picture = gray
        if chosen["do_align_long_axis"]:
            picture = align_long_axis(picture, canvas)
        if chosen["do_resize"]:
            shape = shorter_edge_shape(_shape(picture), min(canvas))
            _check_enlarged(_shape(picture), shape)
            picture = _stretch(picture, shape, chosen["resample"])
        if chosen["do_thumbnail"]:
            shape = thumbnail_shape(_shape(picture), canvas)
            if shape != _shape(picture):
                picture = _stretch(picture, shape, Image.Resampling.BICUBIC, reducing_gap=2.0)
        pixels = ops.planes(picture) if isinstance(picture, Image.Image) else picture
        if chosen["do_pad"]:
            pixels = pad(pixels, canvas, bool(chosen["random_padding"]))
        return np.repeat(pixels, 3, axis=0) if gray is not None else pixels


class DonutFeatureExtractor(DonutImageProcessor):
    """The name of `DonutImageProcessor` in files and scripts from before 2023."""


def align_long_axis(picture: Image.Image | Pixels, canvas: tuple[int, int]) -> Image.Image | Pixels:
    """Turn by a quarter clockwise if the picture is lying and the canvas (height, width) upright, or the reverse.

    Squares fit either way and are left alone.
    """
    height, width = _shape(picture)
    if (height - width) * (canvas[0] - canvas[1]) >= 0:
        return picture
    if isinstance(picture, Image.Image):
        return picture.transpose(Image.Transpose.ROTATE_270)
    return np.rot90(picture, 3, axes=(1, 2))


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


def pad(pixels: Pixels, canvas: tuple[int, int], anywhere: bool = False) -> Pixels:
    """Put a picture on a black canvas.

    Args:
        pixels: C H W.
        canvas: Height and width.
        anywhere: Where numpy's global generator says, for training; otherwise in the middle, an odd row or column of
            black coming after the picture.

    Raises:
        OptionError: The picture is larger than the canvas.
    """
    channels, height, width = pixels.shape
    below, right = canvas[0] - height, canvas[1] - width
    if below < 0 or right < 0:
        raise OptionError(
            f"After resizing, the picture is {height} high and {width} wide, more than the canvas of {canvas[0]} by "
            f"{canvas[1]}. Pass do_resize=True and do_thumbnail=True, which make it fit, or do_pad=False."
        )
    if anywhere:
        top, left = np.random.randint(0, below + 1), np.random.randint(0, right + 1)
    else:
        top, left = below // 2, right // 2
    if (height, width) == canvas:
        return pixels
    out = np.zeros((channels, *canvas), dtype=pixels.dtype)
    out[:, top : top + height, left : left + width] = pixels
    return out


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


def _stretch(
    picture: Image.Image | Pixels, shape: tuple[int, int], method: Image.Resampling, reducing_gap: float | None = None
) -> Image.Image | Pixels:
    if isinstance(picture, Image.Image):
        return picture.resize((shape[1], shape[0]), resample=method, reducing_gap=reducing_gap)
    return ops.resize(picture, shape, method, reducing_gap)


def _shape(picture: Image.Image | Pixels) -> tuple[int, int]:
    return (picture.height, picture.width) if isinstance(picture, Image.Image) else picture.shape[1:]


def _height_first(size: Any) -> Any:
    return size[::-1] if isinstance(size, (list, tuple)) else size


def _check_enlarged(found: tuple[int, int], shape: tuple[int, int]) -> None:
    if shape[0] * shape[1] > max(MAX_ENLARGED, found[0] * found[1]):
        raise ImageError(
            f"The picture of {found[1]}x{found[0]} pixels is so thin that resizing its shorter edge to {min(shape)} "
            f"makes it {shape[1]}x{shape[0]}. Cut it into pieces, or pass do_resize=False."
        )
