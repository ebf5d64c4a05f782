"""Writing weights so that this package and transformers read them back: safetensors or ``pytorch_model.bin``.

Everything is written under temporary names first. Only when all of it lies on the disk are the files renamed, and what
an earlier save left behind removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vision2seq.checkpoints.find import check_variant, index_names, with_variant
from vision2seq.errors import OptionError

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", 1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}


def save_weights(
    weights: nn.Module | Mapping[str, Tensor],
    folder: str | os.PathLike[str],
    *,
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
    safe_serialization: bool = True,
) -> list[Path]:
    """Write a model's state dict, in several files if it is large.

    Tensors that share their memory are written once, under the first of their names; whoever loads them ties them
    again. (One unsharded ``pytorch_model.bin`` keeps all names, since a pickle can say that they are one.)

    Args:
        weights: The model, or a state dict.
        folder: Where to; made if it is not there.
        max_shard_size: Bytes, or a text such as ``"200MB"`` or ``"5GiB"``. A single tensor is never divided.
        variant: Becomes part of the file names: ``model.<variant>.safetensors``.
        safe_serialization: False writes a pickle, ``pytorch_model.bin``, for readers that know nothing else.

    Returns:
        The files written, the index last if there is one.

    Raises:
        OptionError: A shard size, variant or tensor that cannot be used.
        OSError: The disk refuses. What was in the folder before is still there, and nothing else.
    """
    limit = parse_size(max_shard_size)
    check_variant(variant)
    name = "model.safetensors" if safe_serialization else "pytorch_model.bin"
    tensors = _checked(weights.state_dict() if isinstance(weights, nn.Module) else weights)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is a file; expected a folder to save into.")
    folder.mkdir(parents=True, exist_ok=True)

    alias_of = _aliases(tensors)
    shards, total = _shards(tensors, alias_of, limit)
    whole = with_variant(name, variant)
    stem, suffix = whole.rsplit(".", 1)
    if len(shards) == 1:
        names = [whole]
    else:
        names = [f"{stem}-{i:05d}-of-{len(shards):05d}.{suffix}" for i in range(1, len(shards) + 1)]

    with _Staged(folder) as staged:
        for file_name, shard in zip(names, shards, strict=True):
            path = staged.path(file_name)
            if safe_serialization:
                _write_safetensors({key: tensors[key] for key in shard}, path)
            else:
                kept = shard if len(shards) > 1 else list(tensors)
                torch.save({key: _compact(tensors[key]) for key in kept}, path)
            staged.flush(path)
        if len(shards) > 1:
            index = index_names(name, variant)[0]
            names.append(index)
            weight_map = {key: file_name for file_name, shard in zip(names, shards, strict=False) for key in shard}
            content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
            path = staged.path(index)
            path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            staged.flush(path)
        # Readers take a whole file before an index, and shards of two saves must never pass for one set: what leads to
        # the old files goes before the new ones come, unless one rename does it all.
        if len(names) > 1:
            for old in (whole, *index_names(name, variant)):
                (folder / old).unlink(missing_ok=True)
        staged.publish()

    _remove_stale(folder, name, variant, keep=set(names))
    if not safe_serialization and any(
        (folder / old).is_file()
        for old in (with_variant("model.safetensors", variant), *index_names("model.safetensors", variant))
    ):
        warnings.warn(
            f"{folder} also holds safetensors, which readers prefer to the {whole} just saved. Remove them, or load "
            "with use_safetensors=False.",
            stacklevel=2,
        )
    return [folder / file_name for file_name in names]


def parse_size(size: int | str) -> int:
    """Return a number of bytes from a number or a text such as ``"5GB"`` (10⁹) or ``"5GiB"`` (2³⁰).

    Raises:
        OptionError: It is neither, or not positive.
    """
    number = size if isinstance(size, int) and not isinstance(size, bool) else 0
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", size)
        if match and match[2].upper() in _UNITS:
            number = int(float(match[1]) * _UNITS[match[2].upper()])
    if number <= 0:
        raise OptionError(f"max_shard_size={size!r}; expected a number of bytes or a text such as '200MB' or '5GB'.")
    return number


def _checked(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors = {}
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise OptionError(f"The state dict has {name!r}: {type(tensor).__name__}; expected names and tensors.")
        if tensor.is_meta:
            raise OptionError(
                f"{name} is on the meta device and has no values to save. Load or initialise the model first."
            )
        tensors[name] = tensor.detach()
    return tensors


def _identity(tensor: Tensor) -> tuple[object, ...] | None:
    """What two tensors have in common if they are the same numbers in the same memory."""
    if not tensor.numel():
        return None
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())


def _aliases(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    first: dict[tuple[object, ...], str] = {}
    alias_of = {}
    for name, tensor in tensors.items():
        identity = _identity(tensor)
        if identity is not None and first.setdefault(identity, name) != name:
            alias_of[name] = first[identity]
    return alias_of


def _shards(tensors: Mapping[str, Tensor], alias_of: Mapping[str, str], limit: int) -> tuple[list[list[str]], int]:
    """Divide the names into files of at most ``limit`` bytes, in the order of the state dict; return also all bytes."""
    shards: list[list[str]] = [[]]
    room, total = limit, 0
    for name, tensor in tensors.items():
        if name in alias_of:
            continue
        nbytes = tensor.numel() * tensor.element_size()
        if nbytes > room and shards[-1]:
            shards.append([])
            room = limit
        shards[-1].append(name)
        room -= nbytes
        total += nbytes
    return shards, total


def _compact(tensor: Tensor) -> Tensor:
    """Return the tensor, or a copy if it is a part of a larger storage, all of which torch.save would write."""
    if tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size():
        return tensor.clone()
    return tensor


def _write_safetensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    ready: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        # The format knows no strides and no sharing: what is a part of something becomes a tensor of its own.
        ready[name] = tensor.clone() if storage in storages and tensor.numel() else tensor
        ready[name] = ready[name].contiguous()
        storages.add(storage)
    try:
        safetensors.torch.save_file(ready, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{path.parent} cannot be written to: {error}") from error


class _Staged:
    """Files under temporary names in a folder, renamed all together or removed again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ending = f".{os.getpid()}-{secrets.token_hex(4)}.tmp"
        self.names: list[str] = []
        self.modes: dict[str, int] = {}

    def __enter__(self) -> _Staged:
        return self

    def path(self, name: str) -> Path:
        """Make an empty file that will be called ``name``."""
        path = self.folder / f".{name}{self.ending}"
        with path.open("xb") as file:
            self.modes[name] = os.fstat(file.fileno()).st_mode & 0o777
        self.names.append(name)
        return path

    def flush(self, path: Path) -> None:
        """Wait until a written file lies on the disk."""
        with path.open("rb+") as file:
            os.fsync(file.fileno())

    def publish(self) -> None:
        for name in self.names:
            path = self.folder / f".{name}{self.ending}"
            path.chmod(self.modes[name])  # the safetensors library makes files that only their owner may read
            os.replace(path, self.folder / name)

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            with contextlib.suppress(OSError):
                (self.folder / f".{name}{self.ending}").unlink(missing_ok=True)


def _remove_stale(folder: Path, name: str, variant: str | None, keep: set[str]) -> None:
    """Remove what an earlier save of the same name and variant left: the whole file, the index, other shards."""
    for old in _family(folder, name, variant):
        if old not in keep:
            (folder / old).unlink(missing_ok=True)


def _family(folder: Path, name: str, variant: str | None) -> Iterator[str]:
    whole = with_variant(name, variant)
    stem, suffix = whole.rsplit(".", 1)
    shard = re.compile(rf"{re.escape(stem)}-\d{{5}}-of-\d{{5}}\.{suffix}")
    yield from (whole, *index_names(name, variant))
    yield from [path.name for path in folder.iterdir() if shard.fullmatch(path.name)]
