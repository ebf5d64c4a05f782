"""Tensors of a ``.safetensors`` file, memory-mapped by the safetensors library."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vision2seq.checkpoints.damage import corrupt
from vision2seq.errors import CheckpointNotFoundError, UnsupportedError, Vision2SeqError

# How much of a mapped file may stay in memory before its pages are given back, when the caller copies everything.
RELEASE_BYTES = 64 * 2**20

_FOREIGN = {"tf": "TensorFlow", "flax": "Flax"}
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: str | os.PathLike[str], *, will_copy: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of a safetensors file, in the order of the file.

    The library maps the file privately: tensors are writable, writing copies the page and leaves the file alone.

    Args:
        path: The file.
        will_copy: The caller keeps none of the tensors; see :func:`vision2seq.checkpoints.read.read_tensors`.

    Raises:
        CheckpointNotFoundError: No such file.
        CheckpointCorruptError: Truncated, garbled, or no safetensors file at all.
        UnsupportedError: The header says that the weights are in TensorFlow's or Flax's layout.
    """
    handle = _open(path)
    served = 0
    for name in list(handle.offset_keys()):
        if will_copy and served > RELEASE_BYTES:
            handle, served = _open(path), 0  # the old mapping goes with its last tensor
        with _named(path):
            tensor = handle.get_tensor(name)
        if tensor.numel() and tensor.data_ptr() % tensor.element_size():
            tensor = tensor.clone()  # other writers than the library need not align; kernels may want it
        served += tensor.numel() * tensor.element_size()
        yield name, tensor
        del tensor


def safetensors_dtypes(path: str | os.PathLike[str]) -> Iterator[torch.dtype]:
    """Yield the dtype of every tensor of a file, from its header alone. Raises as :func:`read_safetensors`."""
    handle = _open(path)
    for name in handle.keys():  # noqa: SIM118 (a handle is no mapping)
        with _named(path):
            stored = handle.get_slice(name).get_dtype()
        if stored in _DTYPES:
            yield _DTYPES[stored]


def _open(path: str | os.PathLike[str]) -> Any:
    with _named(path):
        handle: Any = safe_open(os.fspath(path), framework="pt", device="cpu")
        layout = (handle.metadata() or {}).get("format", "pt")
    if layout in _FOREIGN:
        raise UnsupportedError(
            f"{os.fspath(path)} holds {_FOREIGN[layout]} weights (its header says format={layout!r}), which are named "
            "and laid out otherwise and are not supported yet. Use a PyTorch checkpoint (format 'pt')."
        )
    return handle


@contextlib.contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn whatever the library raises into an error that names the file."""
    try:
        yield
    except Vision2SeqError:
        raise
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"No weight file {os.fspath(path)}. Check the path.") from None
    except Exception as error:  # the library's own class, and what torch says when bytes do not fit
        raise corrupt(path, "a safetensors file", str(error)) from error
