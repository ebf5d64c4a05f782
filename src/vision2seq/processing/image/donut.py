"""The image processor of Donut: pages on a canvas.

Lists and tuples are (width, height) here, unlike everywhere else: the files of the original Donut say it so.

Source: ``DonutImageProcessor`` of transformers 4.57.6 (the PIL one).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from vision2seq.errors import OptionError
from vision2seq.processing.image import steps
from vision2seq.processing.image.canvas import CanvasImageProcessor
from vision2seq.processing.image.geometry import Geometry


class DonutImageProcessor(CanvasImageProcessor):
    """Donut's options, with its `defaults`; `CanvasImageProcessor` tells what they mean.

    A call also takes ``random_padding=True``, for training: the place on the canvas is drawn from numpy's global
    generator. No file can switch that on.

    Args:
        size: The canvas: ``{"height": …, "width": …}``, ``[width, height]`` (in this order) or ``384`` (a square).
    """

    defaults: ClassVar[dict[str, Any]] = {
        **CanvasImageProcessor.defaults,
        "size": {"height": 2560, "width": 1920},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    call_options: ClassVar[tuple[str, ...]] = (*CanvasImageProcessor.call_options, "random_padding")
    written_type: ClassVar[str] = "DonutImageProcessor"

    @classmethod
    def _size(cls, name: str, value: Any) -> dict[str, int]:
        return super()._size(name, value[::-1] if isinstance(value, (list, tuple)) else value)

    def geometry(self, image: Any, **overrides: Any) -> Geometry:
        """As in the base.

        Raises:
            OptionError: With ``random_padding``, nobody knows the place beforehand.
        """
        if overrides.get("random_padding"):
            raise OptionError("geometry() cannot tell where random_padding=True will put a picture. Leave it out.")
        return super().geometry(image, **overrides)

    def _padding(self, shape: steps.Shape, canvas: steps.Shape, chosen: Mapping[str, Any]) -> steps.Window:
        middle = super()._padding(shape, canvas, chosen)
        if not chosen["random_padding"]:
            return middle
        top, left = (np.random.randint(0, whole - part + 1) for whole, part in zip(canvas, shape, strict=True))
        return steps.Window(-top, -left, canvas)


DonutFeatureExtractor = DonutImageProcessor
"""The name in files and scripts from before 2023."""
