"""Every tensor of a set of weight files, one at a time, under PyTorch's names, whatever their format and framework."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vision2seq.checkpoints.find import Format, WeightFiles
from vision2seq.checkpoints.names_flax import from_flax
from vision2seq.checkpoints.names_tf import from_tensorflow
from vision2seq.checkpoints.safetensors_reader import safetensors_layout

# What reads a format, and what tells the dtypes in it.
_READERS: dict[Format, tuple[str, str, str]] = {
    "safetensors": ("safetensors_reader", "read_safetensors", "safetensors_dtypes"),
    "pickle": ("pickle_reader", "read_pickle", "pickle_dtypes"),
    "h5": ("h5_reader", "read_h5", "h5_dtypes"),
    "bundle": ("bundle_reader", "read_bundle", "bundle_dtypes"),
    "msgpack": ("msgpack_reader", "read_msgpack", "msgpack_dtypes"),
}
_LAYOUTS: dict[Format, str] = {"pickle": "pt", "h5": "tf", "bundle": "tf", "msgpack": "flax"}
_FRAMEWORKS = {"pt": "PyTorch", "tf": "TensorFlow", "flax": "Flax"}
_NAMES: dict[str, Callable[[str, Tensor], tuple[str, Tensor]]] = {"tf": from_tensorflow, "flax": from_flax}


def read_tensors(
    files: WeightFiles, *, will_copy: bool = False, converted: list[tuple[str, str]] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Yield PyTorch's name and tensor of everything in the files.

    The tensors are private, copy-on-write views of the mapped files: they may be written to and trained without a file
    ever changing, and cost no memory until they are touched. Those of TensorFlow and Flax are turned as PyTorch has
    them, which makes them views that are not contiguous; what the models' authors packed is taken apart.

    Args:
        files: What :func:`~vision2seq.checkpoints.find.find_weights` found.
        will_copy: The caller keeps none of the tensors (casts them, or moves them to another device). Mapped pages are
            then given back from time to time, so that the peak is one copy and not two.
        converted: Gets the name in the file and PyTorch's, of each tensor that has another there.

    Raises:
        CheckpointCorruptError: A file is truncated, garbled or of another format.
        UnsafePickleError: A pickle asks for code to be run; nothing of it was.
        MissingPackageError: A package that the format needs is not installed.
        UnsupportedError: Numbers of a kind that torch or this package does not know.
    """
    read = _function(files.format, 1)
    weight_map = files.weight_map or {}
    for path in _paths(files):
        here = path.relative_to(files.index.parent).as_posix() if files.index else path.name
        renamed = _NAMES.get(_layout(files, path))
        for name, tensor in read(path, will_copy=will_copy):
            if weight_map.get(name, here) == here:  # a name that two shards hold: the index decides
                held: Iterable[tuple[str, Tensor]]
                if files.original is not None:
                    held = files.original.table.renamed(name, tensor)
                else:
                    held = (renamed(name, tensor) if renamed else (name, tensor),)
                for new, part in held:
                    if new != name and converted is not None:
                        converted.append((name, new))
                    yield new, part
                    del part
                del held
            del tensor


def stored_dtype(files: WeightFiles) -> torch.dtype | None:
    """Return the dtype of the first floating-point tensor in the files (what ``dtype="auto"`` means), None without one.

    Reads headers only, where a format has them. Raises what :func:`read_tensors` raises.
    """
    return next(stored_dtypes(files), None)


def stored_dtypes(files: WeightFiles) -> Iterator[torch.dtype]:
    """Yield the dtype of every floating-point tensor in the files. Reads and raises as :func:`stored_dtype`."""
    dtypes = _function(files.format, 2)
    for path in _paths(files):
        yield from (dtype for dtype in dtypes(path) if dtype.is_floating_point)


def framework_name(files: WeightFiles) -> str:
    """Return whose names and layouts the files have: PyTorch, TensorFlow, Flax, or the authors' of a model."""
    if files.original is not None:
        return files.original.name
    layout = _layout(files, files.files[0])
    return _FRAMEWORKS.get(layout, layout)


def _layout(files: WeightFiles, path: Path) -> str:
    return _LAYOUTS.get(files.format) or safetensors_layout(path)


def _paths(files: WeightFiles) -> tuple[Path, ...]:
    return files.files[:1] if files.format == "bundle" else files.files  # a bundle's index leads to its data


def _function(kind: Format, which: int) -> Any:
    return getattr(importlib.import_module(f"vision2seq.checkpoints.{_READERS[kind][0]}"), _READERS[kind][which])
