"""Tensors of a Flax weight file (``flax_model.msgpack``): nested maps of arrays, taken from the stream one at a time.

An array is an extension of msgpack: its shape, the name of its dtype, its numbers. One of more than a gigabyte is a map
with a mark, its shape and its pieces. Nothing in such a file is code.

Source: Flax' ``serialization.py``; https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vision2seq.checkpoints.damage import corrupt
from vision2seq.errors import CheckpointNotFoundError, MissingPackageError, UnsupportedError, Vision2SeqError

_EXPECTED = "Flax weights in msgpack"
_ARRAY, _SCALAR = 1, 3  # kinds of extensions; there is one more, for complex numbers of Python
_IN_PIECES = "__msgpack_chunked_array__"
_FOR_TRAINING = ("opt_state", "step")  # beside "params", where a whole state of a training was saved
_DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex128", "complex64"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
    )
    if hasattr(torch, name)  # some are younger than the oldest torch that this package runs on
}
# Bounds: the library makes room for what a length announces before it sees whether it is there.
_LARGEST = 2**31 - 1
_MOST_ENTRIES = 2**17
_LONGEST_NAME = 2**12
_MOST_AXES = 64
_DEEPEST = 64


def read_msgpack(path: str | os.PathLike[str], *, will_copy: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yield the path of each parameter, with dots, and its tensor, in the order of the file.

    Args:
        path: The file.
        will_copy: No matter: each tensor is read into memory of its own.

    Raises:
        CheckpointNotFoundError: No such file.
        CheckpointCorruptError: Truncated, garbled, or no nested maps of arrays.
        MissingPackageError: msgpack is not installed.
        UnsupportedError: Numbers of a kind that torch does not have.
    """
    reader = _Reader(Path(path))
    with reader.opened():
        entries = reader.entries("", 0)
        while True:
            with _damage_in(reader.path):
                entry = next(entries, None)
            if entry is None:
                break
            yield entry
            del entry


def msgpack_dtypes(path: str | os.PathLike[str]) -> Iterator[torch.dtype]:
    """Yield the dtype of every parameter, which takes reading up to it. Raises as :func:`read_msgpack`."""
    for _, tensor in read_msgpack(path):
        yield tensor.dtype


class _Reader:
    """A walk through the maps, which keeps nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ahead: io.FileIO
        self._stream: Any

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        try:
            import msgpack
        except ImportError as error:
            raise MissingPackageError(
                f"{self.path}: reading Flax weights needs msgpack, which is not installed ({error}). Type: "
                "pip install 'vision2seq[flax]'"
            ) from None
        with contextlib.ExitStack() as stack:
            with _damage_in(self.path):
                self._ahead = stack.enter_context(self.path.open("rb", buffering=0))
                self._stream = msgpack.Unpacker(
                    stack.enter_context(self.path.open("rb")),
                    strict_map_key=False,
                    max_buffer_size=_LARGEST,
                    max_array_len=_MOST_AXES,
                    max_map_len=_MOST_ENTRIES,
                    max_str_len=_LONGEST_NAME,
                )
            yield

    def entries(self, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
        """The arrays of the map that comes next, and of the maps in it."""
        if depth > _DEEPEST:
            raise ValueError(f"its maps are nested more than {_DEEPEST} deep")
        if not self._map_follows():
            raise ValueError("it is no map of names" if depth == 0 else f"{prefix} is no map")
        for index in range(self._stream.read_map_header()):
            key = self._stream.unpack()
            if not isinstance(key, str):
                raise ValueError(f"a name in it is a {type(key).__name__}")
            if index == 0 and key == _IN_PIECES:
                yield prefix.removesuffix("."), self._pieces(prefix.removesuffix("."))
                return
            if depth == 0 and key in _FOR_TRAINING:
                self._stream.skip()
            elif self._map_follows():
                yield from self.entries(f"{prefix}{key}.", depth + 1)
            else:
                value = self._stream.unpack()
                if getattr(value, "code", None) in (_ARRAY, _SCALAR):
                    yield prefix + key, self._array(prefix + key, value.data)
        if depth == 0 and self._stream.tell() != os.fstat(self._ahead.fileno()).st_size:
            raise ValueError("something follows after its end")

    def _map_follows(self) -> bool:
        self._ahead.seek(self._stream.tell())
        first = self._ahead.read(1)
        return first != b"" and (0x80 <= first[0] <= 0x8F or first[0] in (0xDE, 0xDF))

    def _pieces(self, name: str) -> Tensor:
        """An array in pieces, the mark of which was read."""
        self._stream.unpack()
        shape, flat = None, None
        for _ in range(2):
            key = self._stream.unpack()
            if key == "shape":
                shape = list(self._stream.unpack().values())
            elif key == "chunks" and self._map_follows():
                pieces = []
                for _ in range(self._stream.read_map_header()):
                    self._stream.unpack()  # their numbers are their order
                    pieces.append(self._array(name, self._stream.unpack().data).flatten())
                flat = torch.cat(pieces)
        if shape is None or flat is None:
            raise ValueError(f"{name} is in pieces, and what it is made of is missing")
        return flat.view(_checked(name, shape))

    def _array(self, name: str, data: bytes) -> Tensor:
        import msgpack

        shape, kind, numbers = msgpack.unpackb(data, max_array_len=_MOST_AXES)
        kind = kind.decode() if isinstance(kind, bytes) else kind
        if kind not in _DTYPES:
            raise UnsupportedError(
                f"{name} in {self.path} holds numbers of type {kind!r}, which torch does not have; expected one of "
                f"{', '.join(_DTYPES)}. Convert it with Flax."
            )
        dtype = _DTYPES[kind]
        if not isinstance(numbers, bytes) or math.prod(_checked(name, shape)) * dtype.itemsize != len(numbers):
            raise ValueError(f"{name} has other numbers than its shape {shape} and type {kind} ask for")
        octets = (
            torch.frombuffer(bytearray(numbers), dtype=torch.uint8) if numbers else torch.empty(0, dtype=torch.uint8)
        )
        return octets.view(dtype).view(shape)


def _checked(name: str, shape: Any) -> list[int]:
    if not isinstance(shape, list | tuple) or not all(type(axis) is int and axis >= 0 for axis in shape):
        raise ValueError(f"the shape of {name} is {shape!r}")
    return list(shape)


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
        raise corrupt(path, _EXPECTED, str(error).rstrip(".") or "it ends too early") from error
