"""The image processors of DeiT and BEiT: ViT's, with a finer filter and a cut through the middle.

- resizing is bicubic instead of bilinear, to 256 by 256;
- then the middle 224 by 224 are cut out. TrOCR small, at 384 by 384, switches that off.

Source: ``DeiTImageProcessor`` and ``BeitImageProcessor`` of transformers 4.57.6 (the PIL ones). What BEiT's does to the
maps of image segmentation is not here; ``do_reduce_labels`` is about these, and is just kept.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.processing.image.base import ImageProcessor


class DeiTImageProcessor(ImageProcessor):
    """DeiT's options, with its `defaults`; `ImageProcessor` tells what they mean."""

    defaults: ClassVar[dict[str, Any]] = {
        "do_resize": True,
        "size": {"height": 256, "width": 256},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "rescale_factor": 1 / 255,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    written_type: ClassVar[str] = "DeiTImageProcessor"


class BeitImageProcessor(DeiTImageProcessor):
    """BEiT's options: DeiT's, and ``do_reduce_labels``, which changes no picture."""

    defaults: ClassVar[dict[str, Any]] = {**DeiTImageProcessor.defaults, "do_reduce_labels": False}
    written_type: ClassVar[str] = "BeitImageProcessor"


DeiTFeatureExtractor = DeiTImageProcessor
"""The name in files and scripts from before 2023."""
BeitFeatureExtractor = BeitImageProcessor
"""Likewise."""
