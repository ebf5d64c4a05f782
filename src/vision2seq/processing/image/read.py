"""Anything that can be taken for a picture becomes an RGB image of Pillow.

The rules, so that the same picture reads the same however it is stored:

- transparency is laid on white paper, since dark ink on a transparent sheet would otherwise drown in black;
- the camera's EXIF orientation is applied and then forgotten;
- 16-bit gray is scaled to 8 bits over its full range (Pillow's own conversion clips it to white);
- of an animation or a multi-page file, the first frame is taken; of an already opened Pillow image, its current one.
  `pages` tells the others apart.

No torch is imported: tensors are known by what they can do.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from vision2seq.errors import ImageError

Pixels = npt.NDArray[Any]

MAX_PIXELS = 178_956_970
"""More pixels than any honest scan has; the point at which Pillow itself refuses."""
MAX_DOWNLOAD = 256 * 1024 * 1024
"""Bytes that are taken from a URL at most."""
URL_TIMEOUT = 30.0

_KINDS = "a path, bytes, a file object, a Pillow image, an array, a tensor, a data: URL or (with allow_url=True) a URL"


def load_image(source: Any, *, max_pixels: int | None = MAX_PIXELS, allow_url: bool = False) -> Image.Image:
    """Read one picture from wherever it is and return it as an RGB image.

    Args:
        source: A path, which may be that of a PDF or its page, as ``doc.pdf#3``; encoded bytes; a binary file object;
            a Pillow image of any mode; an array or tensor of shape (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels,
            of uint8, bool, uint16 (full range), other integers from 0 to 255, or floats from 0 to 1 or from 0 to 255; a
            ``data:`` URL; an http(s) URL.
        max_pixels: Refuse larger pictures, before they are decoded. ``None`` leaves only Pillow's own limit.
        allow_url: Whether http(s) URLs may be fetched.

    Returns:
        The picture in mode RGB. A Pillow image that is plain RGB already is returned as it is.

    Raises:
        ImageError: The source is missing, is no picture, is broken, is empty or is too large.
    """
    if isinstance(source, Image.Image):
        return finish(source, max_pixels, _describe(source))
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        lowered = name[:8].lower()
        if isinstance(source, str) and lowered.startswith(("http://", "https://")):
            return _decode(fetch(name, allow_url), max_pixels, shorten(name))
        if isinstance(source, str) and lowered.startswith("data:"):
            return _decode(data_url(name), max_pixels, shorten(name))
        if "#" in name and not os.path.exists(name):
            from vision2seq.processing.image import pages  # as below

            page = next(pages.expand(source))
            if isinstance(page, pages.Page):
                return page.load(max_pixels=max_pixels)
        return _decode_file(name, max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), max_pixels, f"the {len(source)} bytes given")
    if hasattr(source, "read"):
        return _decode(read_all(source), max_pixels, _describe(source))
    if is_array(source):
        return finish(_from_array(to_array(source)), max_pixels, _describe(source))
    raise ImageError(f"An object of type {type(source).__name__} is no image. Expected {_KINDS}.")


def load_images(sources: Any, *, max_pixels: int | None = MAX_PIXELS, allow_url: bool = False) -> list[Image.Image]:
    """Read one or many pictures, however nested, into a flat list; see `load_image`.

    Args:
        sources: Anything that `load_image` takes, a batch array of shape (N, H, W, C) or (N, C, H, W), or an iterable
            of these.
        max_pixels: As in `load_image`, for each picture.
        allow_url: As in `load_image`.

    Raises:
        ImageError: One of them cannot be read, or there is none.
    """
    return [load_image(source, max_pixels=max_pixels, allow_url=allow_url) for source in flatten(sources)]


def flatten(sources: Any) -> list[Any]:
    """One or many pictures as a flat list of single ones, none of them read yet.

    Raises:
        ImageError: There is none.
    """
    items = list(_walk(sources))
    if not items:
        raise ImageError("No image was given: the list is empty. Expected at least one.")
    return items


def _walk(sources: Any) -> Iterator[Any]:
    if isinstance(sources, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)) or hasattr(sources, "read"):
        yield sources
    elif is_array(sources):
        if len(sources.shape) == 4:
            yield from sources
        else:
            yield sources
    elif isinstance(sources, Iterable) and not isinstance(sources, dict):
        for item in sources:
            yield from _walk(item)
    else:
        yield sources  # load_image says what is wrong with it


def is_array(source: Any) -> bool:
    """Whether something is a numpy array or a tensor of any library."""
    return isinstance(source, (np.ndarray, np.generic)) or (hasattr(source, "shape") and hasattr(source, "dtype"))


def to_array(source: Any) -> Pixels:
    """A numpy array or a tensor of any library as a numpy array.

    Raises:
        ImageError: It cannot be converted.
    """
    if isinstance(source, np.ndarray):
        return source
    try:
        if hasattr(source, "detach"):  # torch
            source = source.detach().cpu()
            if str(source.dtype) == "torch.bfloat16":  # numpy has none
                source = source.float()
        return np.asarray(source.numpy() if hasattr(source, "numpy") else source)
    except Exception as error:  # whatever a foreign library raises
        raise ImageError(f"This {type(source).__name__} cannot be turned into an array: {error}") from error


def check_array(array: Pixels) -> None:
    """Refuse arrays that cannot be one picture.

    Raises:
        ImageError: The wrong number of dimensions, no pixels, no numbers, or NaN or infinity among them.
    """
    shape = tuple(array.shape)
    if array.ndim not in (2, 3):
        hint = " Pass a batch to a processor or to load_images." if array.ndim == 4 else ""
        raise ImageError(
            f"An image array has 2 or 3 dimensions, (H, W), (H, W, C) or (C, H, W); found {array.ndim}: {shape}.{hint}"
        )
    if 0 in shape:
        raise ImageError(f"The image has no pixels: its shape is {shape}.")
    if array.dtype.kind not in "buif":
        raise ImageError(f"An image array holds numbers; found dtype {array.dtype}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError("The image holds NaN or infinite values. Expected finite ones; clean it first.")


def check_picture(image: Image.Image) -> None:
    """Refuse Pillow images without pixels, and those whose file turns out to be broken when it is decoded now.

    Raises:
        ImageError: Either.
    """
    if 0 in image.size:
        raise ImageError(f"{_describe(image)} has no pixels: it is {image.width}x{image.height}.")
    try:
        image.load()
    except Exception as error:  # Pillow's format readers raise whatever broken data makes them stumble over
        raise ImageError(f"{_describe(image)} cannot be decoded ({image.mode} image): {error}") from error


def channels_first(shape: tuple[int, ...], in_doubt: bool = True) -> bool:
    """Whether a three-dimensional shape is (C, H, W) rather than (H, W, C).

    Args:
        shape: Of the array.
        in_doubt: The answer where both ends look like the usual 1 or 3 channels.

    Raises:
        ImageError: Neither end looks like channels.
    """
    first, last = shape[0], shape[2]
    if first in (1, 3) and last in (1, 3):
        return in_doubt
    if first in (1, 3):
        return True
    if last in (1, 2, 3, 4):
        return False
    if first in (2, 4):
        return True
    raise ImageError(f"An image of shape {tuple(shape)} has no axis of 1, 2, 3 or 4 channels, first or last.")


def to_rgb(image: Image.Image) -> Image.Image:
    """A decoded image of any mode in RGB, by the rules at the top of this file (orientation aside).

    Raises:
        ImageError: A float image holds NaN, or Pillow knows no way from that mode.
    """
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_to_8_bits(np.asarray(image), declared=mode.startswith("I;16"))).convert("RGB")
    if mode == "RGBX":
        return image.convert("RGB")
    if mode in ("La", "RGBa"):
        image = image.convert("LA" if mode == "La" else "RGBA")
    palette = image.palette.mode if mode == "P" and image.palette is not None else ""
    if image.mode in ("LA", "PA", "RGBA") or palette.endswith("A") or "transparency" in image.info:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd transparency entries
            image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, (255, 255, 255))
        paper.paste(image, mask=image.getchannel("A"))
        return paper
    if mode == "LAB":
        return _from_lab(image)
    return image.convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # not in every build of Pillow

    to_srgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, to_srgb)
    assert converted is not None  # only None when asked to work in place
    return converted


def _to_8_bits(array: Pixels, *, declared: bool = False) -> Pixels:
    """Gray or colour numbers of any kind as uint8.

    Args:
        array: Finite or not, any shape.
        declared: The values are known to be 16-bit, whatever their range.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if declared:
        wide = np.clip(array, 0, 65535).astype(np.uint32)
        return ((wide * 255 + 32767) // 65535).astype(np.uint8)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError("The image holds NaN or infinite values. Expected finite ones; clean it first.")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    if low >= 0 and high <= 255:
        return np.rint(array.astype(np.float64)).astype(np.uint8)
    if low >= 0 and high <= 65535:
        return np.rint(array.astype(np.float64) / 257).astype(np.uint8)
    spread = (array.astype(np.float64) - low) / ((high - low) or 1.0)
    return np.rint(spread * 255).astype(np.uint8)


def _from_array(array: Pixels) -> Image.Image:
    """Steps: check, channels last, 8 bits, Pillow."""
    check_array(array)
    if array.ndim == 3:
        if channels_first(array.shape):
            array = array.transpose(1, 2, 0)
        array = array[:, :, 0] if array.shape[2] == 1 else array  # H W C
    if array.dtype == np.uint16:
        return Image.fromarray(np.ascontiguousarray(_to_8_bits(array, declared=True)))
    if array.dtype.kind != "b":
        low, high = array.min(), array.max()
        if low < 0 or high > 255:
            hint = " It looks normalised: undo that first." if low < 0 and array.dtype.kind == "f" else ""
            raise ImageError(
                f"The image array of dtype {array.dtype} holds values from {low} to {high}. Expected 0 to 255, floats "
                f"from 0 to 1, or the dtype uint16 for 16-bit images.{hint}"
            )
    return Image.fromarray(np.ascontiguousarray(_to_8_bits(array)))


def _decode_file(name: str, max_pixels: int | None) -> Image.Image:
    shown = shorten(name)
    try:
        if os.path.isdir(name):
            raise ImageError(f"{shown} is a folder. Expected an image file.")
        with open(name, "rb") as file:
            if not file.read(1):
                raise ImageError(f"{shown} is empty: 0 bytes. Expected an image file.")
            file.seek(0)
            return _decode(file, max_pixels, shown)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"No image file {shown}. Check the path.") from None
    except (OSError, ValueError) as error:  # no permission, name too long, a NUL in it
        raise ImageError(f"The image file {shown} cannot be opened: {error}") from error


def _decode(encoded: Any, max_pixels: int | None, what: str) -> Image.Image:
    """Decode bytes or an open file, after a look at the size in its header."""
    if isinstance(encoded, bytes):
        if not encoded:
            raise ImageError(f"No bytes to read an image from in {what}. A file object may need seek(0) first.")
        encoded = io.BytesIO(encoded)
    try:
        opened = Image.open(encoded)
    except UnidentifiedImageError:
        from vision2seq.processing.image import pages  # which reads with this file

        encoded.seek(0)
        if pages.is_pdf(encoded.read(1024)):
            return pages.load_first(encoded, max_pixels, what)
        raise ImageError(f"Not an image that Pillow can read: {what}. Expected PNG, JPEG, TIFF, WebP, …") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{what} is too large to decode: {error} For a picture you trust, raise PIL.Image.MAX_IMAGE_PIXELS and "
            "pass a higher max_pixels."
        ) from error
    except Exception as error:  # Pillow's format readers raise whatever broken headers make them stumble over
        raise ImageError(f"The header of {what} cannot be read as an image: {error}") from error
    with opened:
        if opened.format == "EPS":
            raise ImageError(f"{what} is a PostScript program, which is not run. Convert it to PNG or TIFF first.")
        image = finish(opened, max_pixels, what)
        # A picture of its own, which does not keep the file open and has no orientation left to apply.
        if image is opened:
            image = image.copy()
        image.info = {}
        return image


def finish(image: Image.Image, max_pixels: int | None, what: str) -> Image.Image:
    """Check the size, decode, turn upright, make RGB.

    Args:
        image: Opened; it may come back itself.
        max_pixels: As in `load_image`.
        what: Its name, for messages.

    Raises:
        ImageError: It is empty, too large or broken.
    """
    width, height = image.size
    if not width or not height:
        raise ImageError(f"{what} has no pixels: it is {width}x{height}.")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"{what} has {width}x{height} = {width * height} pixels, more than the limit of {max_pixels}. For a "
            "picture you trust, pass a higher max_pixels."
        )
    try:
        image.load()
        upright = _upright(image)
        if upright.mode == "RGB" and "transparency" not in upright.info:
            return upright
        return to_rgb(upright)
    except ImageError:
        raise
    except Exception as error:  # as for headers
        raise ImageError(f"{what} cannot be decoded ({image.mode} {image.format or 'image'}): {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # a broken camera block is no reason to lose the picture
        return image
    if orientation not in (2, 3, 4, 5, 6, 7, 8):
        return image
    turned = ImageOps.exif_transpose(image)
    return image if turned is None else turned


def fetch(url: str, allowed: bool) -> bytes:
    """What a URL holds.

    Raises:
        ImageError: It may not be fetched, or cannot, or is too large.
    """
    if not allowed:
        raise ImageError(f"{shorten(url)} is a URL, and fetching is off. load_image(…, allow_url=True) allows it.")
    request = urllib.request.Request(url, headers={"User-Agent": "vision2seq"})
    try:
        with urllib.request.urlopen(request, timeout=URL_TIMEOUT) as answer:
            content: bytes = answer.read(MAX_DOWNLOAD + 1)
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise ImageError(f"{shorten(url)} cannot be fetched: {error}") from error
    if len(content) > MAX_DOWNLOAD:
        raise ImageError(f"{shorten(url)} is larger than {MAX_DOWNLOAD} bytes. Download it yourself and pass the path.")
    return content


def data_url(url: str) -> bytes:
    """What a ``data:`` URL holds.

    Raises:
        ImageError: It is none, or broken.
    """
    head, comma, body = url.partition(",")
    if not comma:
        raise ImageError(f"{shorten(url)} is no data: URL. Expected data:image/png;base64,…")
    content = urllib.parse.unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return content
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as error:
        raise ImageError(f"The base64 text of {shorten(url)} is broken: {error}") from error


def read_all(file: Any) -> bytes:
    """All bytes of a file object.

    Raises:
        ImageError: It gives none.
    """
    try:
        content = file.read()
    except Exception as error:  # any object may have a read()
        raise ImageError(f"Reading {_describe(file)} failed: {error}") from error
    if not isinstance(content, bytes):
        raise ImageError(f"{_describe(file)} gives {type(content).__name__}, expected bytes. Open it in mode 'rb'.")
    return content


def _describe(source: Any) -> str:
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return shorten(name) if isinstance(name, str) and name else f"the {type(source).__name__} given"


def shorten(name: str) -> str:
    """A name as messages show it: quoted, and cut where it is very long."""
    return repr(name if len(name) <= 120 else f"{name[:80]}…")
