"""The steps between a picture and ``pixel_values``, as pure functions.

Arrays are planes first: C channels, H rows, W columns. Resizing is Pillow's, on 8 bits. The arithmetic follows the PIL
processors of transformers 4.57.6 to the last bit: a pixel is multiplied in float64, rounded to float32, and only then
shifted and divided in float32. Since a uint8 pixel has 256 values, that is done once per value and looked up per pixel.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vision2seq.errors import ImageError, OptionError

Pixels = npt.NDArray[Any]

_SIZE_KEYS: tuple[set[str], ...] = (
    {"height", "width"},
    {"shortest_edge"},
    {"shortest_edge", "longest_edge"},
    {"longest_edge"},
    {"max_height", "max_width"},
)


def size_dict(value: Any, name: str = "size", *, by_shorter_edge: bool = False) -> dict[str, int]:
    """A size in any of its historical spellings, as a dict.

    Args:
        value: ``384``, ``[height, width]`` or a dict, as ``{"height": 384, "width": 384}``.
        name: The option's name, for messages.
        by_shorter_edge: Whether an integer is the shorter edge instead of both.

    Raises:
        OptionError: None of these.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return {"shortest_edge": value} if by_shorter_edge else {"height": value, "width": value}
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return {"height": value[0], "width": value[1]}
    if isinstance(value, Mapping) and set(value) in _SIZE_KEYS:
        return dict(value)
    raise OptionError(f"{name} is {value!r}. Expected an integer, [height, width] or {{'height': …, 'width': …}}.")


def wanted_size(size: Mapping[str, Any], name: str = "size", *, by_shorter_edge: bool = False) -> int | tuple[int, int]:
    """What a size asks for: (height, width), or the shorter edge alone.

    Raises:
        OptionError: It is given by edges where that means nothing, or not in whole positive pixels.
    """
    if by_shorter_edge and "shortest_edge" in size:
        return _edge(size["shortest_edge"], size, name)
    if set(size) != {"height", "width"}:
        other = " or {'shortest_edge': …}" if by_shorter_edge else ""
        needed = f"{{'height': …, 'width': …}}{other}"
        raise OptionError(f"{name} is {size!r}. This processor needs {'' if other else 'both: '}{needed}.")
    return _edge(size["height"], size, name), _edge(size["width"], size, name)


def _edge(value: Any, size: Any, name: str) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise OptionError(f"{name} is {size!r}. Expected whole numbers of pixels, 1 or more.")
    return int(value)


def resampling(value: Any) -> Image.Resampling:
    """The resampling filter of a Pillow number: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.

    Raises:
        OptionError: No such number.
    """
    try:
        return Image.Resampling(value)
    except ValueError:
        names = ", ".join(f"{int(known)} {known.name.lower()}" for known in sorted(Image.Resampling))
        raise OptionError(f"resample is {value!r}. Expected one of: {names}.") from None


def planes(image: Image.Image) -> Pixels:
    """The pixels of a Pillow image, one plane a channel.

    Returns:
        C H W, uint8 for the modes with 8 bits a channel.
    """
    bands = image.split()  # splitting in Pillow is faster than transposing in numpy
    return np.stack([np.asarray(band) for band in bands])


def resize(
    image: Image.Image | Pixels, size: tuple[int, int], method: Image.Resampling, reducing_gap: float | None = None
) -> Pixels:
    """Stretch to (height, width), the aspect ratio changing as it must.

    Args:
        image: A Pillow image, or planes C H W of 8-bit values: whole numbers from 0 to 255, or floats from 0 to 1,
            which pass through 8 bits and come back as float32 from 0 to 1.
        size: Height and width in pixels.
        method: The filter, one of Pillow's.
        reducing_gap: How many times the wanted size a first, rough shrinking by whole numbers leaves at least;
            ``None`` for the filter alone.

    Raises:
        ImageError: An array with other values.
    """
    if isinstance(image, Image.Image):
        return planes(image.resize(size[::-1], resample=method, reducing_gap=reducing_gap))
    picture, fractions = as_picture(image)
    resized = planes(picture.resize(size[::-1], resample=method, reducing_gap=reducing_gap))
    return scale_to_float32(resized, 1 / 255) if fractions else resized


def as_picture(pixels: Pixels) -> tuple[Image.Image, bool]:
    """Planes C H W of 8-bit values as a Pillow image, and whether they were fractions.

    Args:
        pixels: Whole numbers from 0 to 255, or fractions from 0 to 1, which are rounded down to such.

    Raises:
        ImageError: Other values.
    """
    fractions = _is_fractions(pixels)
    return from_planes((scale_to_float32(pixels, 255) if fractions else pixels).astype(np.uint8)), fractions


def from_planes(array: Pixels) -> Image.Image:
    """Planes C H W of uint8, C being 1 to 4, as a Pillow image of mode L, LA, RGB or RGBA."""
    pixels = array.transpose(1, 2, 0)  # H W C
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))


def _is_fractions(image: Pixels) -> bool:
    """Whether an array holds fractions from 0 to 1, and not the whole numbers from 0 to 255."""
    if image.dtype == np.uint8:
        return False
    low, high = image.min(), image.max()
    if np.allclose(image, image.astype(int)):
        if low < 0 or high > 255:
            raise ImageError(
                f"The image array of dtype {image.dtype} holds values from {low} to {high}, which resizing cannot keep."
                " Expected 0 to 255 or fractions from 0 to 1; load_image() scales 16-bit images."
            )
        return False
    if low < 0 or high > 1:
        raise ImageError(
            f"The image array of dtype {image.dtype} holds fractions from {low} to {high}, which resizing cannot keep."
            " Expected fractions from 0 to 1, or whole numbers from 0 to 255."
        )
    return True


def window(pixels: Pixels, top: int, left: int, height: int, width: int) -> Pixels:
    """Cut out a window; where it reaches beyond the image, it is black.

    Args:
        pixels: C H W.
        top: The image's row that becomes the first one; may be negative.
        left: Likewise for columns.
        height: Of the window, in pixels.
        width: Likewise.
    """
    inside = pixels[:, max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    rows, columns = inside.shape[1:]
    if (rows, columns) == (height, width):
        return inside
    out = np.zeros((pixels.shape[0], height, width), dtype=pixels.dtype)
    above, before = max(-top, 0), max(-left, 0)
    out[:, above : above + rows, before : before + columns] = inside
    return out


def scale_to_float32(pixels: Pixels, scale: float) -> Pixels:
    """Multiply in float64 and round once, to float32."""
    return (pixels.astype(np.float64) * scale).astype(np.float32)


def per_channel(value: Any, channels: int, name: str) -> list[float]:
    """A mean or deviation as one number a channel.

    Raises:
        OptionError: Another count of numbers than channels.
    """
    values = [value] * channels if isinstance(value, (int, float)) else list(value)
    if len(values) != channels:
        raise OptionError(
            f"{name} has {len(values)} numbers, the image has {channels} channels. Give one number a channel."
        )
    return values


def normalize(pixels: Pixels, mean: Sequence[float], std: Sequence[float]) -> Pixels:
    """Subtract the mean and divide by the deviation of each channel.

    Args:
        pixels: C H W. Floats keep their precision, other numbers become float32.
        mean: C numbers.
        std: C numbers.
    """
    if not np.issubdtype(pixels.dtype, np.floating):
        pixels = pixels.astype(np.float32)
    shift = np.array(mean, dtype=pixels.dtype)[:, None, None]
    spread = np.array(std, dtype=pixels.dtype)[:, None, None]
    return np.asarray((pixels - shift) / spread)


def standardize(pixels: Pixels, scale: float | None, mean: Any, std: Any, out: Pixels | None = None) -> Pixels:
    """Rescale, then normalise; either may be left out.

    Args:
        pixels: C H W.
        scale: Factor, or ``None``.
        mean: A number, one number a channel, or ``None`` to leave out normalising.
        std: Likewise.
        out: Where to write the result, of the same shape and of dtype `standardized_dtype`.

    Returns:
        C H W; ``out`` if given.
    """
    channels = pixels.shape[0]
    if scale is None and mean is None:
        result = pixels
    elif pixels.dtype == np.uint8 and pixels.size > 4 * 256:
        values = np.broadcast_to(np.arange(256, dtype=np.uint8), (channels, 1, 256))
        table = _arithmetic(values, scale, mean, std)[:, 0]  # C 256
        result = np.empty(pixels.shape, table.dtype) if out is None else out
        for channel in range(channels):
            # mode="clip" spares numpy a checking pass; no index can be out of range
            np.take(table[channel], pixels[channel], out=result[channel], mode="clip")
        return result
    else:
        result = _arithmetic(pixels, scale, mean, std)
    if out is None:
        return result
    out[...] = result
    return out


def _arithmetic(pixels: Pixels, scale: float | None, mean: Any, std: Any) -> Pixels:
    if scale is not None:
        pixels = scale_to_float32(pixels, scale)
    if mean is not None:
        channels = pixels.shape[0]
        deviations = per_channel(std, channels, "image_std")
        if 0 in deviations:
            raise OptionError(f"image_std holds a 0: {deviations}. Nothing can be divided by it.")
        pixels = normalize(pixels, per_channel(mean, channels, "image_mean"), deviations)
    return pixels


def standardized_dtype(dtype: np.dtype[Any], scale: float | None, mean: Any) -> np.dtype[Any]:
    """The dtype that `standardize` gives."""
    if scale is not None:
        return np.dtype(np.float32)
    if mean is not None and not np.issubdtype(dtype, np.floating):
        return np.dtype(np.float32)
    return dtype


def warn_if_scaled(pixels: Pixels) -> None:
    """Warn about values from 0 to 1 that are about to be divided by 255 once more."""
    if pixels.dtype != np.uint8 and pixels.min() >= 0 and pixels.max() <= 1:
        warnings.warn(
            "The image array already holds values from 0 to 1, and will be rescaled again. Pass do_rescale=False.",
            stacklevel=4,
        )
