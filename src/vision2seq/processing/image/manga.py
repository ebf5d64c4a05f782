"""The image processor of manga-ocr: ViT's, on the gray of the picture.

Source: what manga-ocr 0.1.14 does to a picture before ``ViTImageProcessor`` of transformers 4.57.6 gets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from PIL import Image

from vision2seq.processing.image import ops, steps
from vision2seq.processing.image.ops import Pixels
from vision2seq.processing.image.vit import ViTImageProcessor


class MangaImageProcessor(ViTImageProcessor):
    """ViT's options, with its `defaults`; `ImageProcessor` tells what they mean. The colours are taken out first."""

    written_type: ClassVar[str] = "MangaImageProcessor"

    def _fit(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Pixels:
        if not isinstance(picture, Image.Image):
            picture, _ = ops.as_picture(picture)
        return super()._fit(picture.convert("L").convert("RGB"), chosen)
