"""One picture of any kind in the channels that a processor asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from vision2seq.errors import ImageError
from vision2seq.processing.image import ops, read
from vision2seq.processing.image.ops import Pixels


def picture_of(item: Any, chosen: Mapping[str, Any]) -> Image.Image | Pixels:
    """One picture as a Pillow image or as planes C H W, in the channels that the options ask for.

    With ``do_convert_rgb`` unset, everything becomes RGB, or gray if the mean has one number. ``True`` converts as
    Pillow does, which ignores transparency; ``False`` takes the channels as they are.
    """
    convert = chosen["do_convert_rgb"]
    mean = chosen["image_mean"]
    wanted = 3 if mean is None or isinstance(mean, (int, float)) else len(mean)
    if convert is None and wanted not in (1, 3):
        convert = False
    if not isinstance(item, Image.Image) and not read.is_array(item):
        item = read.load_image(item)  # RGB
    if isinstance(item, Image.Image):
        return _convert_picture(item, convert, wanted)

    array = read.to_array(item)
    read.check_array(array)
    layout = chosen["input_data_format"]
    if array.ndim == 2:
        array = array[None]
    elif layout == "none":
        raise ImageError(f"input_data_format='none' means (height, width); found an array of shape {array.shape}.")
    elif not (layout == "channels_first" if layout else read.channels_first(array.shape, chosen["in_doubt_first"])):
        array = array.transpose(2, 0, 1)  # C H W
    channels = array.shape[0]
    if convert is False or channels == wanted:
        return array
    if channels == 1:
        return np.repeat(array, 3, axis=0)
    if array.dtype == np.uint8 and channels <= 4:
        return _convert_picture(ops.from_planes(array), None, wanted)
    raise ImageError(
        f"An array of {channels} channels and dtype {array.dtype} cannot be made {wanted}-channel. "
        f"Pass {wanted} channels, or uint8."
    )


def is_channels_first(array: Any) -> bool:
    """What the axes of this array, in doubt channels first, say about those of the following ones."""
    return len(array.shape) != 3 or array.shape[0] in (1, 3)


def _convert_picture(image: Image.Image, convert: bool | None, wanted: int) -> Image.Image:
    read.check_picture(image)
    if convert is False:
        if image.mode in ("P", "PA"):
            raise ImageError(f"A {image.mode} image holds palette indices, no colours. Leave out do_convert_rgb=False.")
        return image
    if convert:
        return image if image.mode == "RGB" else image.convert("RGB")
    if wanted == 1:
        return image if image.mode == "L" else read.to_rgb(image).convert("L")
    return image if image.mode == "RGB" else read.to_rgb(image)
