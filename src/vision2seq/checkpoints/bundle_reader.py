"""Tensors of a TensorFlow checkpoint: ``X.index``, a sorted string table, and ``X.data-0000i-of-0000N``, the numbers.

The table maps names to messages: where a tensor lies, its type, shape and checksum. Two flavours are written:

* by name: the key is the name of the variable (``tf.compat.v1.train.Saver``);
* by object: the key is a path of attributes that ends in ``/.ATTRIBUTES/VARIABLE_VALUE``, and a message under
  ``_CHECKPOINTABLE_OBJECT_GRAPH`` tells the variable's name (Keras' ``save_weights``, ``tf.train.Checkpoint``, and
  ``variables/variables`` of a SavedModel).

What is there for training only (an optimizer's slots, counters) is left out. Every tensor is checked against its
checksum before it is yielded.

Source: TensorFlow's ``tensor_bundle.proto``, ``trackable_object_graph.proto``, ``tensor_slice.proto``, ``types.proto``
and ``util/tensor_bundle``; the order-preserving code of slices' keys is that of ``lib/strings/ordered_code``.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vision2seq.checkpoints.crc32c import crc32c, masked
from vision2seq.checkpoints.damage import corrupt
from vision2seq.checkpoints.mapping import MappedFile
from vision2seq.checkpoints.protobuf import fields, inner, numbers, signed, varint
from vision2seq.checkpoints.string_table import read_table
from vision2seq.errors import CheckpointNotFoundError, UnsupportedError

_EXPECTED = "a TensorFlow checkpoint"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_OF_OBJECT = "/.ATTRIBUTES/VARIABLE_VALUE"
_DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    8: torch.complex64,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    18: torch.complex128,
    19: torch.float16,
    **{
        number: getattr(torch, name)  # that torch has later than the oldest one this package runs on
        for number, name in {17: "uint16", 22: "uint32", 23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn"}.items()
        if hasattr(torch, name)
    },
}
_STRING = 7
_NO_NUMBERS = (_STRING, 20, 21)  # 20, 21: handles of the process that wrote them

# Variables that only a training needs: by their key or name, and scalars by the last part of it.
_OPTIMIZERS = "Adam|AdamW|AdamWeightDecay|Adamax|Nadam|Adagrad|Adadelta|Adafactor|SGD|Momentum|RMSprop|Ftrl|LAMB|Lion"
_TRAINING = re.compile(
    r"/\.OPTIMIZER_SLOT/"
    r"|(^|/)(optimizer|_optimizer|keras_api|save_counter)(/|$)"
    rf"|^(training/)?({_OPTIMIZERS})(_\d+)?/"
    rf"|/({_OPTIMIZERS}|adam_[mv]|lamb_[mv]|ExponentialMovingAverage)(_\d+)?$",
    re.IGNORECASE,
)
_TRAINING_SCALAR = re.compile(
    r"(^|/)(learning_rate|current_learning_rate|decay|momentum|rho|epsilon|beta_?[12](_power)?|loss_scale|total|count)(_\d+)?$"
)


class _Span(NamedTuple):
    """What a slice covers of one axis; length -1 is all of it."""

    start: int
    length: int


@dataclass(frozen=True)
class _Entry:
    """What the table says of one tensor."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: tuple[tuple[_Span, ...], ...]

    @property
    def for_training(self) -> bool:
        """Whether it is a counter: a single whole number."""
        return not self.shape and self.dtype in (3, 9)


def read_bundle(path: str | os.PathLike[str], *, will_copy: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each variable, as TensorFlow has it, and its tensor.

    Args:
        path: The file that ends in ``.index``.
        will_copy: No matter: each tensor has a mapping of its own, which goes with it.

    Raises:
        CheckpointNotFoundError: No such file, or one with numbers that is not there.
        CheckpointCorruptError: Truncated, garbled, or a checksum that does not match.
        UnsupportedError: Written by a newer or a big-endian TensorFlow, or numbers of a kind that torch does not have.
    """
    with _Bundle(Path(path)) as bundle:
        for name, key in bundle.variables():
            yield name, bundle.tensor(key)


def bundle_dtypes(path: str | os.PathLike[str]) -> Iterator[torch.dtype]:
    """Yield the dtype of every variable, from the table alone. Raises as :func:`read_bundle`."""
    with _Bundle(Path(path)) as bundle:
        for _, key in bundle.variables():
            yield bundle.dtype(key)


def data_files(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the files that hold the numbers. Raises as :func:`read_bundle`."""
    with _Bundle(Path(path)) as bundle:
        return bundle.data_files()


class _Bundle:
    """The table of a checkpoint, and its files of numbers as far as they were needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, _Entry] = {}
        self._parts: dict[bytes, _Entry] = {}  # of sliced tensors
        self._files: dict[int, MappedFile] = {}
        self._open = contextlib.ExitStack()
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise CheckpointNotFoundError(f"No checkpoint index {path}. Check the path.") from None
        except OSError as error:
            raise corrupt(path, _EXPECTED, f"the system says {error.strerror or error}") from error
        with _damage_in(path), file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            table = read_table(data)
            key, header = next(table, (None, b""))
            if key != b"":
                raise ValueError("its first entry is not the header")
            self._read_header(header)
            for key, value in table:
                if key.startswith(b"\0"):
                    self._parts[key] = _entry(value)
                else:
                    self._entries[key.decode()] = _entry(value)

    def __enter__(self) -> _Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _read_header(self, header: bytes) -> None:
        said = numbers(header)
        self._shards = said.get(1, 0)
        if said.get(2, 0):
            raise UnsupportedError(
                f"{self._path} was written on a big-endian machine; expected little-endian numbers. Load and save it "
                "again on an ordinary machine."
            )
        for version in inner(header, 3):
            needed = numbers(version).get(2, 0)
            if needed > 1:
                raise UnsupportedError(
                    f"{self._path} says that it needs a reader of version {needed}; this one is of version 1. Save the "
                    "checkpoint with TensorFlow 2."
                )

    def data_files(self) -> list[str]:
        """The names of the files of numbers that hold anything."""
        entries = [*self._entries.values(), *self._parts.values()]
        return [self._data_name(shard) for shard in sorted({entry.shard for entry in entries if entry.size})]

    def variables(self) -> Iterator[tuple[str, str]]:
        """Name and key of every tensor that is a weight."""
        names = self._names()
        for key, entry in self._entries.items():
            name = names.get(key) or key.removesuffix(_OF_OBJECT)
            if entry.dtype in _NO_NUMBERS or entry.for_training or _TRAINING.search(key) or _TRAINING.search(name):
                continue
            if not entry.shape and _TRAINING_SCALAR.search(name):
                continue
            yield name, key

    def _names(self) -> dict[str, str]:
        """What the object graph tells: key → name of the variable."""
        entry = self._entries.get(_OBJECT_GRAPH)
        if entry is None:
            return {}
        found = {}
        with _damage_in(self._path):
            for node in inner(self._text(_OBJECT_GRAPH, entry), 1):
                for attribute in inner(node, 2):
                    texts = {n: value.decode() for n, value in fields(attribute) if isinstance(value, bytes)}
                    if texts.get(2) and texts.get(3):
                        found[texts[3]] = texts[2]
        return found

    def dtype(self, key: str) -> torch.dtype:
        number = self._entries[key].dtype
        if number not in _DTYPES:
            raise UnsupportedError(
                f"{key} in {self._path} holds numbers of TensorFlow's type {number}, which torch does not have; "
                f"expected one of {', '.join(str(dtype) for dtype in _DTYPES.values())}. Convert the variable with "
                "TensorFlow."
            )
        return _DTYPES[number]

    def tensor(self, key: str) -> Tensor:
        """The tensor, checked; pieces of a partitioned variable are put together."""
        entry, dtype = self._entries[key], self.dtype(key)
        if not entry.slices:
            return self._stored(key, entry, dtype)
        pieces = []
        for slices in entry.slices:
            with _damage_in(self._path):
                piece = self._parts.get(_slice_key(key, slices))
                if piece is None or piece.slices or piece.dtype != entry.dtype or len(slices) != len(entry.shape):
                    raise ValueError(f"a piece of {key} is missing")
                spans = [
                    _Span(0, whole) if span.length < 0 else span
                    for span, whole in zip(slices, entry.shape, strict=True)
                ]
                if piece.shape != tuple(span.length for span in spans) or any(
                    span.start < 0 or span.start + span.length > whole
                    for span, whole in zip(spans, entry.shape, strict=True)
                ):
                    raise ValueError(f"a piece of {key} does not fit into it")
            pieces.append((spans, piece))
        if sum(piece.size for _, piece in pieces) != math.prod(entry.shape) * dtype.itemsize:
            raise corrupt(self._path, _EXPECTED, f"the pieces of {key} do not add up to it")
        stored = [
            (spans, self._stored(key, piece, dtype)) for spans, piece in pieces
        ]  # all there, before memory is taken
        whole = torch.zeros(entry.shape, dtype=dtype)
        for spans, tensor in stored:
            whole[tuple(slice(span.start, span.start + span.length) for span in spans)] = tensor
        return whole

    def _stored(self, key: str, entry: _Entry, dtype: torch.dtype) -> Tensor:
        if entry.size != math.prod(entry.shape) * dtype.itemsize:
            raise corrupt(
                self._path,
                _EXPECTED,
                f"{key} is said to have {entry.size} bytes, which {list(entry.shape)} does not fit",
            )
        path = self._data_path(entry)
        with _damage_in(path):
            octets = self._bytes(path, key, entry, dtype.itemsize)
            if masked(crc32c(octets.numpy())) != entry.checksum:
                raise ValueError(f"the numbers of {key} do not match their checksum")
            return octets.view(dtype).view(entry.shape)

    def _text(self, key: str, entry: _Entry) -> bytes:
        """A single text: its length, a checksum of that, then its bytes."""
        path = self._data_path(entry)
        with _damage_in(path):
            data = self._bytes(path, key, entry, 1).numpy().tobytes()
            length, at = varint(data, 0)
            text = data[at + 4 :]
            if math.prod(entry.shape) != 1 or len(text) != length:
                raise ValueError(f"{key} is not one text")
            prefix = length.to_bytes(4 if length < 2**32 else 8, "little")
            checked = data[at : at + 4]
            if masked(crc32c(prefix)).to_bytes(4, "little") != checked or entry.checksum != masked(
                crc32c(prefix + checked + text)
            ):
                raise ValueError(f"the text of {key} does not match its checksum")
            return text

    def _bytes(self, path: Path, key: str, entry: _Entry, alignment: int) -> Tensor:
        if entry.shard not in self._files:
            try:
                file = self._open.enter_context(path.open("rb"))
            except FileNotFoundError:
                raise CheckpointNotFoundError(
                    f"{self._path} has its numbers in {self._shards} files beside it, but {path.name} is not there. "
                    "Put it into the same folder."
                ) from None
            self._files[entry.shard] = MappedFile(file, apart=True)
        return self._files[entry.shard].read(entry.offset, entry.size, alignment=alignment)

    def _data_path(self, entry: _Entry) -> Path:
        if not entry.shard < self._shards:
            raise corrupt(self._path, _EXPECTED, f"it names file {entry.shard} of {self._shards}")
        return self._path.with_name(self._data_name(entry.shard))

    def _data_name(self, shard: int) -> str:
        return f"{self._path.name.removesuffix('.index')}.data-{shard:05d}-of-{self._shards:05d}"


def _entry(message: bytes) -> _Entry:
    said = numbers(message)
    shape: tuple[int, ...] = ()
    for part in inner(message, 2):
        if numbers(part).get(3):
            raise ValueError("a tensor has no shape")
        shape += tuple(signed(numbers(axis).get(1, 0)) for axis in inner(part, 2))
    offset, size = signed(said.get(4, 0)), signed(said.get(5, 0))
    if min(offset, size, *shape, 0) < 0:
        raise ValueError("a tensor has a negative size or place")
    slices = tuple(
        tuple(_Span(signed(axis.get(1, 0)), signed(axis.get(2, -1 % 2**64))) for axis in map(numbers, inner(part, 1)))
        for part in inner(message, 7)
    )
    return _Entry(said.get(1, 0), shape, said.get(3, 0), offset, size, said.get(6, 0), slices)


# ---------------------------------------------------------------------------------------------------- keys of slices


def _slice_key(key: str, spans: tuple[_Span, ...]) -> bytes:
    """The key that the numbers of a slice have: zero, the name, how many axes, start and length of each."""
    name = key.encode().replace(b"\0", b"\0\xff")
    axes = b"".join(_ordered(number) for span in spans for number in span)
    return b"\0" + name + b"\0\x01" + _ordered_natural(len(spans)) + axes


def _ordered_natural(number: int) -> bytes:
    """A natural number so that the order of the bytes is that of the numbers: their count, then the bytes."""
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([len(octets)]) + octets


def _ordered(number: int) -> bytes:
    """A whole number in the same way: as many ones as there are bytes, then its bits; turned if negative."""
    magnitude = ~number if number < 0 else number
    size = magnitude.bit_length() // 7 + 1
    leading = (2**size - 1) << (8 * size - size)
    value = (leading | magnitude).to_bytes(size, "big")
    return bytes(octet ^ 0xFF for octet in value) if number < 0 else value


@contextlib.contextmanager
def _damage_in(path: Path) -> Iterator[None]:
    """Turn what stumbles over damaged bytes into an error that names the file."""
    try:
        yield
    except (CheckpointNotFoundError, UnsupportedError):
        raise
    except (ValueError, RuntimeError, OSError, OverflowError) as error:
        raise corrupt(path, _EXPECTED, str(error)) from error
