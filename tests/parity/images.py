"""Pictures, and whether an image processor of this package and the PIL one of transformers agree on them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from PIL import Image

import vision2seq

# What the reference takes Pillow images of few rows for unless it is told.
LAST = {"input_data_format": "channels_last"}

KINDS: dict[str, Any] = {
    "pil": Image.fromarray,
    "np": lambda image: image,
    "planes": lambda image: image.transpose(2, 0, 1),
    "tensor": lambda image: torch.from_numpy(image.transpose(2, 0, 1).copy()),
    "float": lambda image: image.astype(np.float32),
    "fractions": lambda image: image.astype(np.float32) / 255,
    "int": lambda image: image.astype(np.int32),
}
"""How a picture may be given, by name: what makes it from bytes H W C."""


def pixels(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Noise: H W C."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def page(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise as dark as ink on part of grayish paper: H W 3."""
    chance = np.random.default_rng(seed)
    paper = chance.integers(220, 250, (height, width, 3), dtype=np.uint8)
    top, left = chance.integers(0, height // 2 + 1), chance.integers(0, width // 2 + 1)
    bottom, right = chance.integers(top + height // 3, height) + 1, chance.integers(left + width // 3, width) + 1
    paper[top:bottom, left:right] = chance.integers(10, 256, (bottom - top, right - left, 3), dtype=np.uint8)
    paper[top, left] = paper[bottom - 1, right - 1] = 10
    return paper


def processors(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Ours and theirs."""
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the old names
        return getattr(vision2seq, name)(**options), getattr(transformers, name)(**options)


def agree(name: str, images: Any, call: dict[str, Any] | None = None, **options: Any) -> None:
    """Assert that both make the same of pictures, to the last bit."""
    ours, theirs = processors(name, options)
    call = call or {}
    first = images[0] if isinstance(images, list) else images
    told = {**LAST, **call} if isinstance(first, Image.Image) else call
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values scaled twice
        equal(ours(images, **call), theirs(images, **told))


def equal(ours: Any, theirs: Any) -> None:
    """Assert that two results are the same, to the last bit."""
    ours, theirs = ours["pixel_values"], theirs["pixel_values"]
    assert isinstance(ours, list) == isinstance(theirs, list)
    for found, expected in zip(ours, theirs, strict=True):
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert np.array_equal(found, expected, equal_nan=True)
