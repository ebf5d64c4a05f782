"""The image processor of ViT: stretch to one size, divide by 255, normalise.

The aspect ratio is not kept. TrOCR base and large, and the ViT-GPT2 captioners, use it.

Source: ``ViTImageProcessor`` of transformers 4.57.6 (the PIL one).
"""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.processing.image import ops
from vision2seq.processing.image.base import HALF, ImageProcessor


class ViTImageProcessor(ImageProcessor):
    """Options of ViT's preprocessing, with its defaults.

    Args:
        do_resize: Whether to resize.
        size: ``384`` (a square), ``[height, width]`` or ``{"height": …, "width": …}``; 224 by 224 if not given.
        resample: Pillow's filter number, 2 (bilinear) if not given.
        do_rescale: Whether to multiply by ``rescale_factor``.
        rescale_factor: 1/255 if not given.
        do_normalize: Whether to subtract the mean and divide by the deviation.
        image_mean: A number or one a channel, 0.5 if not given. With one entry the pictures are gray.
        image_std: Likewise.
        do_convert_rgb: ``None``: convert what is not RGB. ``True``: the same by Pillow's plain rule, which ignores
            transparency. ``False``: never.
        unknown: Kept and written back.

    Raises:
        OptionError: A size in no known spelling.
    """

    options: ClassVar[tuple[str, ...]] = (
        "do_resize",
        "size",
        "resample",
        "do_rescale",
        "rescale_factor",
        "do_normalize",
        "image_mean",
        "image_std",
        "do_convert_rgb",
    )
    written_type: ClassVar[str] = "ViTImageProcessor"

    def __init__(
        self,
        do_resize: bool | None = True,
        size: Any = None,
        resample: Any = 2,
        do_rescale: bool | None = True,
        rescale_factor: float | None = 1 / 255,
        do_normalize: bool | None = True,
        image_mean: Any = None,
        image_std: Any = None,
        do_convert_rgb: bool | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        self.do_resize = do_resize
        self.size = ops.size_dict(224 if size is None else size)
        self.resample = resample
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = list(HALF) if image_mean is None else image_mean
        self.image_std = list(HALF) if image_std is None else image_std
        self.do_convert_rgb = do_convert_rgb


class ViTFeatureExtractor(ViTImageProcessor):
    """The name of `ViTImageProcessor` in files and scripts from before 2023."""
