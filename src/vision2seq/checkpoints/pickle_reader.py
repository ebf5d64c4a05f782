"""Tensors of a ``pytorch_model.bin``, read by a machine of our own that cannot run code.

A pickle is a program, and Python's unpickler calls whatever the program names. This one executes the few instructions
that a dict of tensors needs on values that are plain data: a name such as ``torch._utils._rebuild_tensor_v2`` stays a
name, "calling" it makes a note of which bytes of which storage a tensor is, and any other name ends the reading.
Neither ``pickle`` nor ``torch.load`` takes part, so the safety does not hang on their version.

Two containers, told apart by their first bytes:

* zip (torch ≥ 1.6): ``<top>/data.pkl`` plus one entry a storage, stored uncompressed and aligned; mapped, not copied.
* legacy: five pickles in a row, then the storages; mostly unaligned, therefore read storage by storage.

What fairseq saves is read as well: weights under ``"model"``, and beside them settings as objects of a few harmless
classes, which stay notes of a name and a state.

Source: the formats as ``torch/serialization.py`` of torch 2.13 writes them; opcodes as in ``pickletools``.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickletools
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vision2seq.checkpoints.damage import corrupt
from vision2seq.checkpoints.mapping import MappedFile
from vision2seq.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    UnsafePickleError,
    UnsupportedError,
    Vision2SeqError,
)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_EXPECTED = "PyTorch weights (a dict of tensors, written by torch.save)"

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "UntypedStorage": torch.uint8,
}
_DTYPES = {
    f"torch.{name}": getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex128", "complex64"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
    )
}
_ORDERED_DICT = "collections.OrderedDict"
# Classes of plain data in what fairseq keeps beside the weights: settings, and numbers of numpy's in its statistics.
_RECORDS = frozenset(
    (
        *("argparse.Namespace", "numpy.dtype", "_codecs.encode"),
        *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    )
)
_OMEGACONF = "omegaconf."
_SETTINGS = (_OMEGACONF, "fairseq.dataclass.")
# Types that omegaconf names beside its values. They can be named, not called.
_TYPES = frozenset(
    f"{home}.{name}"
    for home in ("builtins", "__builtin__")
    for name in "bool bytes dict float int list long object str tuple unicode".split()
) | {"typing.Any"}
_SIZE = "torch.Size"
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_TENSOR_CLASSES = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")


def read_pickle(path: str | os.PathLike[str], *, will_copy: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of a PyTorch weight file, in the order of its dict.

    Names that share memory in the file share it here.

    Args:
        path: The file, in the zip or the legacy format.
        will_copy: The caller keeps none of the tensors; see :func:`vision2seq.checkpoints.read.read_tensors`.

    Raises:
        CheckpointNotFoundError: No such file.
        UnsafePickleError: The pickle asks for anything but tensors; nothing of it was run.
        CheckpointCorruptError: Truncated, garbled, or no dict of tensors.
        UnsupportedError: A container or byte order that torch does not write on today's machines.
    """
    path = Path(path)
    archive = _open(path)
    uses = Counter(stub.storage.key for stub in archive.stubs.values())
    storages: dict[str, Tensor] = {}
    with path.open("rb") as file:
        source = MappedFile(file, will_copy=will_copy)
        for name, stub in archive.stubs.items():
            key = stub.storage.key
            try:
                if key not in storages:
                    storages[key] = source.read(*archive.places[key])
                tensor = stub.cut_from(storages[key])
            except (RuntimeError, OSError, ValueError) as error:
                raise corrupt(path, _EXPECTED, f"{name}: {error}") from error
            uses[key] -= 1
            if not uses[key]:
                del storages[key]
            yield name, tensor
            del tensor


def pickle_dtypes(path: str | os.PathLike[str]) -> Iterator[torch.dtype]:
    """Yield the dtype of every tensor of a PyTorch weight file without reading them. Raises as :func:`read_pickle`."""
    for stub in _open(Path(path)).stubs.values():
        yield stub.dtype


def fairseq_settings(path: str | os.PathLike[str]) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Return what fairseq kept beside the weights, and the names of those. Raises as :func:`read_pickle`.

    Returns:
        The settings of the model as plain values, empty if it kept none, None if fairseq did not write the file; and
        the names of all tensors.
    """
    archive = _open(Path(path))
    return archive.settings, tuple(archive.stubs)


# --------------------------------------------------------------------------------------------- what a pickle turns into


@dataclass(frozen=True)
class _Name:
    """Something that the pickle names: never imported, only compared."""

    path: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype
    numel: int  # of the whole storage, counted in dtype
    offset: int = 0  # of a legacy view, in elements

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class _Stub:
    """A tensor that is not read yet: where it lies in which storage."""

    storage: _Storage
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def cut_from(self, raw: Tensor) -> Tensor:
        if not raw.numel():
            return torch.empty(self.size, dtype=self.dtype)
        whole = raw[: raw.numel() // self.dtype.itemsize * self.dtype.itemsize].view(self.dtype)
        return whole.as_strided(self.size, self.stride, self.offset)


@dataclass(eq=False)
class _Record:
    """An object of a class that is known to be plain data: its name and state; nothing was imported to make it."""

    path: str
    state: Any = None


@dataclass
class _Archive:
    """What the container says: the tensors, and (offset, length) in the file of every storage's bytes."""

    stubs: dict[str, _Stub]
    places: dict[str, tuple[int, int]]
    settings: dict[str, Any] | None = None  # fairseq's


class _Malformed(Exception):
    """The pickle, or the container, makes no sense; becomes a CheckpointCorruptError that names the file."""


class _Unsafe(Exception):
    """The pickle asks for something that is no tensor; becomes an UnsafePickleError that names the file."""


# ------------------------------------------------------------------------------------------------------- the containers


def _open(path: Path) -> _Archive:
    """Read all of a file but the numbers themselves."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
            file.seek(0)
            if head[257:262] == b"ustar":
                raise UnsupportedError(
                    f"{path} is a tar archive as torch wrote them before 0.1.10, which is not supported. Load it with "
                    "an old torch and save it again."
                )
            if head.startswith(b"PK"):
                archive = _open_zip(path, file)
            else:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    archive = _open_legacy(path, content)
        for stub in archive.stubs.values():
            _, there = archive.places[stub.storage.key]
            if stub.storage.nbytes > there:
                raise _Malformed(f"a storage should have {stub.storage.nbytes} bytes, the file has {there} for it")
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"No weight file {path}. Check the path.") from None
    except _Unsafe as unsafe:
        raise UnsafePickleError(
            f"{path} asks for {unsafe}, which no tensor needs; nothing of it was run. Only tensors, their storages and "
            "plain containers are read from a pickle. Get the weights as safetensors, or do not trust this file."
        ) from None
    except Vision2SeqError:
        raise
    except _Malformed as error:
        raise corrupt(path, _EXPECTED, str(error)) from None
    except Exception as error:  # zipfile and pickletools raise all sorts of things on garbage
        raise corrupt(path, _EXPECTED, f"{type(error).__name__}: {error}") from error
    return archive


def _open_zip(path: Path, file: io.BufferedReader) -> _Archive:
    size = os.fstat(file.fileno()).st_size
    places: dict[str, tuple[int, int]] = {}
    with zipfile.ZipFile(file) as directory:
        for entry in directory.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise _Malformed(
                    f"its entry {entry.filename!r} is compressed, which torch never does (it could unpack to any size)"
                )
            if entry.filename in places:
                raise _Malformed(f"it has two entries named {entry.filename!r}")
            file.seek(entry.header_offset)
            header = file.read(30)
            if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
                raise _Malformed(f"its entry {entry.filename!r} has no header where the directory says")
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
            if start + entry.file_size > size:
                raise _Malformed(f"its entry {entry.filename!r} ends beyond the end of the file")
            places[entry.filename] = (start, entry.file_size)

    tops = [name[: -len("data.pkl")] for name in places if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(tops) != 1:
        raise _Malformed("it is a zip archive without a data.pkl")
    top = tops[0]
    if f"{top}constants.pkl" in places:
        raise UnsupportedError(
            f"{path} is a TorchScript program, not weights. Save model.state_dict() with torch.save."
        )

    def content(name: str) -> bytes:
        start, length = places[name]
        file.seek(start)
        return file.read(length)

    if f"{top}byteorder" in places and content(f"{top}byteorder").strip() != b"little":
        raise UnsupportedError(
            f"{path} was written on a big-endian machine, which is not supported. Save it on another."
        )
    stubs, settings = _state_dict(path, _run(io.BytesIO(content(f"{top}data.pkl"))))
    storages = {}
    for key in {stub.storage.key for stub in stubs.values()}:
        if f"{top}data/{key}" not in places:
            raise _Malformed(f"it has no bytes for storage {key!r}")
        storages[key] = places[f"{top}data/{key}"]
    return _Archive(stubs, storages, settings)


def _open_legacy(path: Path, file: mmap.mmap) -> _Archive:
    size = len(file)
    magic = _run(file)
    if type(magic) is not int or magic != _LEGACY_MAGIC:
        raise _Malformed("it is neither a zip archive nor does it begin with torch's magic number")
    protocol = _run(file)
    if protocol != _LEGACY_PROTOCOL:
        raise _Malformed(f"it is not written in torch's protocol {_LEGACY_PROTOCOL}")
    system = _run(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UnsupportedError(
            f"{path} was written on a big-endian machine, which is not supported. Save it on another."
        )
    storages: dict[str, _Storage] = {}
    stubs, settings = _state_dict(path, _run(file, storages))
    keys = _run(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _Malformed("it has no list of storages")

    item_sizes = {key: storage.dtype.itemsize for key, storage in storages.items()}
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        count_bytes = file.read(8)
        if len(count_bytes) < 8:
            raise _Malformed(f"it ends before storage {key!r}")
        if key not in item_sizes:
            raise _Malformed(f"storage {key!r} belongs to no tensor")
        (count,) = struct.unpack("<q", count_bytes)
        start, length = file.tell(), count * item_sizes[key]
        if count < 0 or start + length > size:
            raise _Malformed(f"it ends in the middle of storage {key!r}")
        places[key] = (start, length)
        file.seek(start + length)
    absent = {stub.storage.key for stub in stubs.values()} - places.keys()
    if absent:
        raise _Malformed(f"it has no bytes for storage {min(absent)!r}")
    return _Archive(stubs, places, settings)


# ---------------------------------------------------------------------------------------------------------- the machine


def _state_dict(path: Path, value: Any) -> tuple[dict[str, _Stub], dict[str, Any] | None]:
    """The tensors that a file is there for, and the settings beside them if fairseq wrote it."""
    if not isinstance(value, dict):
        raise _Malformed(f"it holds {_kind(value)}")
    settings = None
    if isinstance(value.get("model"), dict) and ("args" in value or "cfg" in value):
        kept = _fields(value.get("args")) or _fields(_fields(value.get("cfg")).get("model"))
        settings = {name: entry for name, entry in kept.items() if _is_plain(entry)}
        value = value["model"]
    for name, entry in value.items():
        if isinstance(entry, dict) and entry and all(isinstance(inner, _Stub) for inner in entry.values()):
            raise CheckpointCorruptError(
                f"{path} is a training checkpoint: a dict with the keys {', '.join(map(repr, value))}. Expected the "
                f"weights alone; they seem to be under {name!r}: save that dict with torch.save."
            )
    for name, entry in value.items():
        if not isinstance(name, str) or not isinstance(entry, _Stub):
            raise _Malformed(f"its entry {name!r} is {_kind(entry)}, not a named tensor")
    return value, settings


def _fields(value: Any) -> dict[str, Any]:
    """What a dict, or an object that stands for one, holds by name; nothing of anything else."""
    state = value.state if isinstance(value, _Record) else value
    if isinstance(value, _Record) and isinstance(state, dict) and value.path.startswith(_OMEGACONF):
        state = state.get("_content")
    if not isinstance(state, dict):
        return {}
    return {name: _value(entry) for name, entry in state.items() if isinstance(name, str)}


def _value(entry: Any) -> Any:
    """A value, taken out of what omegaconf may have put around it."""
    if isinstance(entry, _Record) and entry.path.startswith(_OMEGACONF) and isinstance(entry.state, dict):
        if "_val" in entry.state:
            return entry.state["_val"]
        content = entry.state.get("_content")
        return [_value(inner) for inner in content] if isinstance(content, list) else entry
    return entry


def _is_plain(value: Any) -> bool:
    """Whether a setting is a number or a text, or a few of them: all that a model is described with."""
    if isinstance(value, list | tuple):
        return all(type(inner) in (str, int, float, bool) for inner in value)
    return type(value) in (str, int, float, bool, type(None))


def _kind(value: Any) -> str:
    if isinstance(value, _Stub):
        return "a single tensor"
    if isinstance(value, _Name):
        return f"the name {value.path}"
    if isinstance(value, _Record):
        return f"a {value.path}"
    return f"a {type(value).__name__}"


_MARK = object()

# Opcodes that put a constant on the stack: pickletools has already decoded it.
_CONSTANTS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
_EMPTY: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _run(file: io.BytesIO | mmap.mmap, storages: dict[str, _Storage] | None = None) -> Any:
    """Execute one pickle from where the file stands; afterwards the file stands behind it.

    Neither kind of file allocates what a pickle claims to hold and does not. ``storages`` gets all that it names.

    Raises:
        _Unsafe: It names, calls or builds anything but tensors.
        _Malformed, ValueError, IndexError, …: It is no pickle.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def pop_to_mark() -> list[Any]:
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is _MARK:
                items = stack[i + 1 :]
                del stack[i:]
                return items
        raise _Malformed("a mark is missing in its pickle")

    arg: Any
    for opcode, arg, _ in pickletools.genops(file):  # type: ignore[arg-type]  # needs read, readline and tell only
        op = opcode.name
        if op in ("PROTO", "FRAME"):
            continue
        if op in _CONSTANTS:
            stack.append(arg)
        elif op in _EMPTY:
            stack.append(_EMPTY[op]())
        elif op == "MARK":
            stack.append(_MARK)
        elif op in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[arg] = stack[-1]
        elif op == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif op in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif op == "POP":
            stack.pop()
        elif op == "POP_MARK":
            pop_to_mark()
        elif op == "DUP":
            stack.append(stack[-1])
        elif op == "TUPLE":
            stack.append(tuple(pop_to_mark()))
        elif op in _TUPLES:
            count = _TUPLES[op]
            if len(stack) < count:
                raise _Malformed("values are missing in its pickle")
            items = stack[-count:]
            del stack[-count:]
            stack.append(tuple(items))
        elif op == "LIST":
            stack.append(pop_to_mark())
        elif op == "DICT":
            stack.append(_put({}, pop_to_mark()))
        elif op == "APPEND":
            item = stack.pop()
            _as(list, stack[-1]).append(item)
        elif op == "APPENDS":
            items = pop_to_mark()
            _as(list, stack[-1]).extend(items)
        elif op == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _put(_as(dict, stack[-1]), [key, value])
        elif op == "SETITEMS":
            items = pop_to_mark()
            _put(_as(dict, stack[-1]), items)
        elif op == "GLOBAL":
            stack.append(_named(*arg.split(" ", 1)))
        elif op == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_named(_as(str, module), _as(str, attribute)))
        elif op in ("REDUCE", "NEWOBJ"):
            args, function = stack.pop(), stack.pop()
            stack.append(_call(function, _as(tuple, args)))
        elif op == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], _Record):
                stack[-1].state = state
            elif not isinstance(stack[-1], dict):  # an OrderedDict's, the versions of modules, are not needed
                raise _Unsafe(f"attributes to be set on {_kind(stack[-1])}")
        elif op == "BINPERSID":
            storage = _storage(stack.pop())
            if storages is not None:
                storages[storage.key] = storage
            stack.append(storage)
        elif op == "STOP":
            if len(stack) != 1 or stack[0] is _MARK:
                raise _Malformed("its pickle leaves no single value")
            return stack[0]
        elif op == "INST":
            raise _Unsafe(_printable(arg.replace(" ", ".")))
        else:
            raise _Unsafe(f"the pickle instruction {op}")
    raise _Malformed("its pickle has no end")  # genops raises before; here for whoever reads


def _as(kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise _Malformed(f"its pickle has {_kind(value)} where a {kind.__name__} belongs")
    return value


def _put(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise _Malformed("its pickle has a dict with a key and no value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Only flat keys: hashing a deeply nested tuple would recurse until the interpreter dies.
        if type(key) not in (str, int, float, bool, bytes, type(None)):
            raise _Malformed(f"its pickle has a dict with {_kind(key)} as a key")
        target[key] = value
    return target


def _named(module: str, attribute: str) -> _Name:
    """Allow a name, or refuse it. Nothing is ever imported."""
    path = f"{module}.{attribute}"
    known = path in _CALLS or path in _DTYPES or path in _TENSOR_CLASSES or path in _TYPES
    if known or _is_record(path) or _storage_dtype(path):
        return _Name(path)
    raise _Unsafe(_printable(path))


def _printable(path: str) -> str:
    """Show a name out of a file we do not trust: on one line, without control characters, not endless."""
    return path.encode("unicode_escape").decode("ascii")[:200]


def _storage_dtype(path: str) -> torch.dtype | None:
    home, _, name = path.rpartition(".")
    return _STORAGES.get(name) if home in ("torch", "torch.cuda", "torch.storage") else None


def _is_record(path: str) -> bool:
    return path in _RECORDS or path.startswith(_SETTINGS)


def _call(function: Any, args: tuple[Any, ...]) -> Any:
    if isinstance(function, _Name) and _is_record(function.path):
        return _Record(function.path)
    if not isinstance(function, _Name) or function.path not in _CALLS:
        raise _Unsafe(f"a call of {_kind(function)}")
    try:
        return _CALLS[function.path](*args)
    except TypeError:
        raise _Malformed(f"its pickle has wrong arguments for {function.path}") from None


def _storage(reference: Any) -> _Storage:
    """Turn ``("storage", class, key, device, number of elements[, view])`` into a note of it; the device is ignored."""
    if type(reference) is not tuple or len(reference) not in (5, 6) or reference[0] != "storage":
        raise _Malformed("its pickle has a reference to something that is no storage")
    kind, key, _, numel = reference[1:5]
    dtype = _storage_dtype(kind.path) if isinstance(kind, _Name) else None
    if dtype is None or type(key) not in (str, int) or type(numel) is not int or numel < 0:
        raise _Malformed("its pickle has a storage that makes no sense")
    offset = 0
    if len(reference) == 6 and reference[5] is not None:
        view = _as(tuple, reference[5])
        if len(view) != 3 or type(view[1]) is not int or not 0 <= view[1] <= numel:
            raise _Malformed("its pickle has a view of a storage that makes no sense")
        offset = view[1]
    return _Storage(str(key), dtype, numel, offset)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None = None) -> _Stub:
    if not isinstance(storage, _Storage):
        raise _Malformed("its pickle has a tensor without a storage")
    dtype = dtype or storage.dtype
    size, stride = _as(tuple, size), _as(tuple, stride)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(number) is not int or not 0 <= number < 2**62 for number in numbers):
        raise _Malformed("its pickle has a tensor whose sizes make no sense")
    if dtype.itemsize != storage.dtype.itemsize and storage.offset:
        raise _Malformed("its pickle has a tensor whose sizes make no sense")
    offset += storage.offset
    room = storage.nbytes // dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # A tensor of more elements than its storage repeats some of them (stride 0): harmless if small, a bomb if not.
    if (0 not in size and last >= room) or math.prod(size) > max(room, 2**20):
        raise _Malformed(f"its pickle has a tensor of shape {list(size)} in a storage of {room} elements")
    return _Stub(storage, dtype, offset, size, stride)


def _tensor_v1(storage: Any, offset: Any, size: Any, stride: Any) -> _Stub:
    return _tensor(storage, offset, size, stride)


def _tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> _Stub:
    if metadata:
        raise _Malformed("it has a conjugated or negated tensor, which is not supported")
    return _tensor(storage, offset, size, stride)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> _Stub:
    known = _DTYPES.get(dtype.path) if isinstance(dtype, _Name) else None
    if known is None:
        raise _Malformed("it has a tensor of an unknown dtype")
    if metadata:
        raise _Malformed("it has a conjugated or negated tensor, which is not supported")
    return _tensor(storage, offset, size, stride, known)


def _parameter(data: Any, requires_grad: Any, hooks: Any, state: Any = None) -> _Stub:
    if not isinstance(data, _Stub):
        raise _Malformed("its pickle has a parameter without a tensor")
    return data


def _from_type(function: Any, kind: Any, args: Any, state: Any) -> _Stub:
    """A tensor with Python attributes of its own; they are left out."""
    if not isinstance(kind, _Name) or kind.path not in _TENSOR_CLASSES:
        raise _Unsafe(f"a tensor of the class {kind.path if isinstance(kind, _Name) else _kind(kind)}")
    if not isinstance(function, _Name) or function.path == _FROM_TYPE:
        raise _Malformed("its pickle has a tensor that is rebuilt by nothing")
    return _parameter(_call(function, _as(tuple, args)), None, None)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    """Python 2 wrote the pairs as a list; it is emptied, so that one list cannot be blown up into a thousand dicts."""
    flat: list[Any] = []
    for pair in pairs or ():
        if not isinstance(pairs, list) or not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise _Malformed("its pickle has an OrderedDict of something else than pairs")
        flat.extend(pair)
    if flat:
        pairs.clear()
    return _put({}, flat)


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    if not isinstance(numbers, (list, tuple)) or len(numbers) > 64:
        raise _Malformed("its pickle has a torch.Size that makes no sense")
    return tuple(numbers)


_CALLS: dict[str, Callable[..., Any]] = {
    _ORDERED_DICT: _ordered_dict,
    "collections.defaultdict": lambda factory=None: {},
    _SIZE: _size,
    _FROM_TYPE: _from_type,
    "torch._utils._rebuild_tensor": _tensor_v1,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
