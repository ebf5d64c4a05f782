"""The image processors of ViT and SigLIP: stretch to one size, divide by 255, normalise.

The aspect ratio is not kept. TrOCR base and large, and the ViT-GPT2 captioners, use ViT's.

Source: ``ViTImageProcessor`` and ``SiglipImageProcessor`` of transformers 4.57.6 (the PIL ones).
"""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.processing.image.base import ImageProcessor


class ViTImageProcessor(ImageProcessor):
    """ViT's options, with its `defaults`; `ImageProcessor` tells what they mean."""

    defaults: ClassVar[dict[str, Any]] = {
        "do_resize": True,
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": None,
    }
    written_type: ClassVar[str] = "ViTImageProcessor"


class SiglipImageProcessor(ViTImageProcessor):
    """SigLIP's options: ViT's, but resizing is bicubic."""

    defaults: ClassVar[dict[str, Any]] = {**ViTImageProcessor.defaults, "resample": 3}
    written_type: ClassVar[str] = "SiglipImageProcessor"


ViTFeatureExtractor = ViTImageProcessor
"""The name in files and scripts from before 2023."""
