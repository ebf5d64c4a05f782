"""The image processor of DeiT: ViT's, with a finer filter and a cut through the middle.

- resizing is bicubic instead of bilinear, to 256 by 256;
- then the middle 224 by 224 are cut out. TrOCR small, at 384 by 384, switches that off.

Source: ``DeiTImageProcessor`` of transformers 4.57.6 (the PIL one).
"""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.processing.image import ops
from vision2seq.processing.image.base import HALF, ImageProcessor


class DeiTImageProcessor(ImageProcessor):
    """Options of DeiT's preprocessing, with its defaults.

    Args:
        do_resize: Whether to resize.
        size: ``384`` (a square), ``[height, width]`` or ``{"height": …, "width": …}``; 256 by 256 if not given.
        resample: Pillow's filter number, 3 (bicubic) if not given.
        do_center_crop: Whether to cut out the middle.
        crop_size: Of what is cut out, spelled like ``size``; 224 by 224 if not given. A smaller picture gets a black
            border.
        rescale_factor: 1/255 if not given.
        do_rescale: Whether to multiply by ``rescale_factor``.
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
        "do_center_crop",
        "crop_size",
        "do_rescale",
        "rescale_factor",
        "do_normalize",
        "image_mean",
        "image_std",
    )
    written_type: ClassVar[str] = "DeiTImageProcessor"

    def __init__(
        self,
        do_resize: bool | None = True,
        size: Any = None,
        resample: Any = 3,
        do_center_crop: bool | None = True,
        crop_size: Any = None,
        rescale_factor: float | None = 1 / 255,
        do_rescale: bool | None = True,
        do_normalize: bool | None = True,
        image_mean: Any = None,
        image_std: Any = None,
        **unknown: Any,
    ) -> None:
        if "do_convert_rgb" in unknown:
            self.do_convert_rgb = unknown.pop("do_convert_rgb")
        super().__init__(**unknown)
        self.do_resize = do_resize
        self.size = ops.size_dict(256 if size is None else size)
        self.resample = resample
        self.do_center_crop = do_center_crop
        self.crop_size = ops.size_dict(224 if crop_size is None else crop_size, "crop_size")
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = list(HALF) if image_mean is None else image_mean
        self.image_std = list(HALF) if image_std is None else image_std


class DeiTFeatureExtractor(DeiTImageProcessor):
    """The name of `DeiTImageProcessor` in files and scripts from before 2023."""
