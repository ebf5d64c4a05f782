"""Weights in and out: one reader a format, each yielding ``(PyTorch name, tensor)``; filling, saving, accounting.

The way of a checkpoint: ``find_weights`` names the files, ``read_tensors`` yields their tensors one at a time, ``fill``
puts them into a module that was built on the meta device and returns a ``LoadingReport``. ``save_weights`` goes back.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vision2seq.checkpoints.fill import fill
    from vision2seq.checkpoints.find import WeightFiles, find_weights, framework_argument
    from vision2seq.checkpoints.original.files import original_config, original_image_processor, original_tokenizer
    from vision2seq.checkpoints.read import framework_name, read_tensors, stored_dtype, stored_dtypes
    from vision2seq.checkpoints.report import LoadingReport
    from vision2seq.checkpoints.save import save_weights

__all__ = [
    "LoadingReport",
    "WeightFiles",
    "fill",
    "find_weights",
    "framework_argument",
    "framework_name",
    "original_config",
    "original_image_processor",
    "original_tokenizer",
    "read_tensors",
    "save_weights",
    "stored_dtype",
    "stored_dtypes",
]

_HOMES = {
    "LoadingReport": "report",
    "WeightFiles": "find",
    "fill": "fill",
    "find_weights": "find",
    "framework_argument": "find",
    "framework_name": "read",
    "original_config": "original.files",
    "original_image_processor": "original.files",
    "original_tokenizer": "original.files",
    "read_tensors": "read",
    "save_weights": "save",
    "stored_dtype": "read",
    "stored_dtypes": "read",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that finding files does not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
