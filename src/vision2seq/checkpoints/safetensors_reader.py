"""Tensors of a ``.safetensors`` file: the safetensors library checks the file, its tensors are views of one mapping.

The library can hand out the tensors as well, at some 40 µs each; a view costs a tenth.

Source: https://huggingface.co/docs/safetensors (the layout: length of the header, header in JSON, the numbers).
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vision2seq.checkpoints.damage import corrupt
from vision2seq.checkpoints.mapping import MappedFile
from vision2seq.errors import CheckpointNotFoundError, UnsupportedError, Vision2SeqError

PYTORCH = "pt"
"""The layout of files that say nothing else."""
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
    """Yield name and tensor of a safetensors file as they are, in the order of the file.

    Args:
        path: The file.
        will_copy: The caller keeps none of the tensors; see :func:`vision2seq.checkpoints.read.read_tensors`.

    Raises:
        CheckpointNotFoundError: No such file.
        CheckpointCorruptError: Truncated, garbled, or no safetensors file at all.
        UnsupportedError: Numbers of a kind that this package does not know.
    """
    entries, numbers, layout = _header(path)
    with open(path, "rb") as file:
        mapped = MappedFile(file, will_copy=will_copy, apart=layout != PYTORCH)
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            start, end = entry["data_offsets"]
            with _named(path):
                tensor = mapped.read(numbers + start, end - start).view(_dtype(path, name, entry)).view(entry["shape"])
            yield name, tensor
            del tensor


def safetensors_dtypes(path: str | os.PathLike[str]) -> Iterator[torch.dtype]:
    """Yield the dtype of every tensor of a file, from its header alone. Raises as :func:`read_safetensors`."""
    for name, entry in _header(path)[0].items():
        yield _dtype(path, name, entry)


def safetensors_layout(path: str | os.PathLike[str]) -> str:
    """Return whose names a file has: ``"pt"``, ``"tf"`` or ``"flax"``. Raises as :func:`read_safetensors`."""
    return _header(path)[2]


def _header(path: str | os.PathLike[str]) -> tuple[dict[str, Any], int, str]:
    """What the header says of each tensor, where the numbers begin, and the layout; the library has checked it all."""
    with _named(path):
        checked: Any = safe_open(os.fspath(path), framework="pt", device="cpu")
        layout = (checked.metadata() or {}).get("format", PYTORCH)
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    return entries, 8 + length, layout


def _dtype(path: str | os.PathLike[str], name: str, entry: dict[str, Any]) -> torch.dtype:
    stored = entry["dtype"]
    if stored not in _DTYPES:
        raise UnsupportedError(
            f"{name} in {os.fspath(path)} holds numbers of type {stored!r}; expected one of {', '.join(_DTYPES)}. "
            "Convert the checkpoint to one of these."
        )
    return _DTYPES[stored]


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
