"""The image processors of CLIP and BiT: resize the shorter edge, cut out the middle.

DINOv2's checkpoints name BiT's.

Source: ``CLIPImageProcessor`` and ``BitImageProcessor`` of transformers 4.57.6 (the PIL ones).
"""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.processing.image.base import ImageProcessor


class BitImageProcessor(ImageProcessor):
    """BiT's options, with its `defaults`; `ImageProcessor` tells what they mean.

    Of a size with ``shortest_edge`` and ``longest_edge`` the latter means nothing, as to the reference.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "do_convert_rgb": True,
    }
    by_shorter_edge: ClassVar[bool] = True
    written_type: ClassVar[str] = "BitImageProcessor"


class CLIPImageProcessor(BitImageProcessor):
    """CLIP's options: BiT's.

    Args:
        use_square_size: Found in the files of KOSMOS-2: whether the shorter edge in ``size`` is meant for both edges.
        options: Those of `ImageProcessor`.
    """

    written_type: ClassVar[str] = "CLIPImageProcessor"

    def __init__(self, *, use_square_size: bool | None = None, **options: Any) -> None:
        if use_square_size is not None and not use_square_size:
            options["use_square_size"] = use_square_size
        super().__init__(**options)
        if use_square_size and "shortest_edge" in self.size:
            self.size = dict.fromkeys(("height", "width"), self.size["shortest_edge"])


CLIPFeatureExtractor = CLIPImageProcessor
"""The name in files and scripts from before 2023."""
