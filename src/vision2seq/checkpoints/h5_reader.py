"""Tensors of a Keras weight file in HDF5 (``tf_model.h5``): h5py finds them, they are views of the mapped file.

Keras keeps a group for each top layer, whose attributes list its variables, and in it a data set for each variable
under the variable's full name. In a shard, or in a file of a single layer's weights, the full name starts at the top.

Source: Keras' ``legacy_h5_format``; https://docs.h5py.org.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vision2seq.checkpoints.damage import corrupt
from vision2seq.checkpoints.mapping import MappedFile
from vision2seq.errors import CheckpointNotFoundError, MissingPackageError, UnsupportedError, Vision2SeqError

_EXPECTED = "Keras weights in HDF5"
_WHOLE_MODEL = "model_weights"  # beside the optimizer's, in a file that `model.save()` wrote
_LAYER_MARKS = ("weight_names", "weight_names0")  # a long list is cut into numbered ones
_MOST_DEFLATED = 1100  # bytes that one compressed byte can stand for


def read_h5(path: str | os.PathLike[str], *, will_copy: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each variable, as TensorFlow has it, and its tensor.

    Args:
        path: The file.
        will_copy: No matter: each tensor has a mapping of its own, which goes with it.

    Raises:
        CheckpointNotFoundError: No such file.
        CheckpointCorruptError: Truncated, garbled, or no weights in it.
        MissingPackageError: h5py is not installed.
        UnsupportedError: A file of Keras 3, numbers of a kind that torch does not have, or numbers in other files.
    """
    path = Path(path)
    with _opened(path) as top, path.open("rb") as file:
        mapped = MappedFile(file, apart=True)
        for name, data in _variables(path, top):
            with _damage_in(path):
                tensor = _tensor(path, name, data, mapped)
            yield name, tensor
            del tensor


def h5_dtypes(path: str | os.PathLike[str]) -> Iterator[torch.dtype]:
    """Yield the dtype of every variable without reading it. Raises as :func:`read_h5`."""
    with _opened(Path(path)) as top:
        for name, data in _variables(Path(path), top):
            yield _dtype(Path(path), name, data)


def _variables(path: Path, top: Any) -> list[tuple[str, Any]]:
    """Full name and data set of each variable, in the order of the file."""
    import h5py

    found: list[tuple[str, Any]] = []
    with _damage_in(path):
        root = top.get(_WHOLE_MODEL, top)
        for name, layer in root.items():
            if isinstance(layer, h5py.Dataset):
                found.append((name, layer))
                continue
            if layer is None:
                raise ValueError(f"its entry {name} leads nowhere")
            prefix = "" if any(mark in layer.attrs for mark in _LAYER_MARKS) else f"{name}/"

            def add(below: str, node: Any, prefix: str = prefix) -> None:
                if isinstance(node, h5py.Dataset):
                    found.append((prefix + below, node))

            layer.visititems(add)
        if not found:
            raise ValueError("it holds no variables")
        if all(name.rpartition("/")[0].endswith("vars") for name, _ in found):
            raise UnsupportedError(
                f"{path} was written by Keras 3, which does not keep the names of variables; expected the layout of "
                "Keras 2 (tf-keras), which transformers saves. Save the model again with save_pretrained."
            )
    return found


def _tensor(path: Path, name: str, data: Any, mapped: MappedFile) -> Tensor:
    dtype = _dtype(path, name, data)
    size = data.size * dtype.itemsize
    if data.external or data.is_virtual:
        raise UnsupportedError(
            f"{name} in {path} has its numbers in other files, which are not opened. Save the model again with "
            "save_pretrained."
        )
    stored = data.id.get_storage_size()
    if stored * (_MOST_DEFLATED if data.chunks else 1) < size:
        raise ValueError(f"{name} has {size} bytes, of which {stored} are there")
    offset = data.id.get_offset()  # None unless the numbers lie in one piece, as they are
    if offset is not None and data.dtype.isnative:
        return mapped.read(offset, size, alignment=dtype.itemsize).view(dtype).view(data.shape)
    values = np.empty(data.shape, data.dtype.newbyteorder("="))
    if size:
        data.read_direct(values)
    return torch.from_numpy(values)


def _dtype(path: Path, name: str, data: Any) -> torch.dtype:
    with _damage_in(path):
        stored = data.dtype
        try:
            return torch.from_numpy(np.empty(0, stored.newbyteorder("="))).dtype
        except TypeError:
            raise UnsupportedError(
                f"{name} in {path} holds numbers of type {stored}, which torch does not have; expected floats, whole "
                "numbers or truth values. Convert the variable with Keras."
            ) from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise MissingPackageError(
            f"{path}: reading Keras weights in HDF5 needs h5py, which is not installed ({error}). Type: "
            "pip install 'vision2seq[tf]'"
        ) from None
    with contextlib.ExitStack() as opened:
        with _damage_in(path):
            file = opened.enter_context(h5py.File(path, "r", locking=False))
        yield file


@contextlib.contextmanager
def _damage_in(path: Path) -> Iterator[None]:
    """Turn whatever the library raises into an error that names the file."""
    try:
        yield
    except Vision2SeqError:
        raise
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"No weight file {path}. Check the path.") from None
    except Exception as error:  # many kinds, by what the damage hits
        raise corrupt(path, _EXPECTED, str(error).rstrip(".")) from error
