"""Which files of a folder hold the weights.

First found wins: ``model.safetensors``, its index, ``pytorch_model.bin``, its index. A variant is part of the name:
``model.fp16.safetensors``. Loads no torch.

Source: the file names and their order are those of transformers 4.57.6 (``_get_resolved_checkpoint_files``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from vision2seq import hub
from vision2seq.checkpoints.damage import corrupt
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, OptionError, nearest

Format = Literal["safetensors", "pickle"]

_FOREIGN = (
    ("TensorFlow", re.compile(r"tf_model.*\.h5(\.index\.json)?|.*\.ckpt(-\d+)?\.(index|data-\d+-of-\d+)")),
    ("Flax", re.compile(r"flax_model.*\.msgpack(\.index\.json)?")),
)
_VARIANT_OF = re.compile(
    r"(?:model|pytorch_model)\.(?P<before>[^.]+?)(?:-\d{5}-of-\d{5})?\.(?:safetensors|bin)(?:\.index\.json)?"
    r"|(?:model\.safetensors|pytorch_model\.bin)\.index\.(?P<after>[^.]+)\.json"
)


@dataclass(frozen=True)
class WeightFiles:
    """The files of one set of weights.

    Attributes:
        format: ``"safetensors"`` or ``"pickle"`` (``pytorch_model.bin``).
        files: The weight files, in the order in which they are read; several if the checkpoint is sharded.
        index: The index file of a sharded checkpoint, else None.
        weight_map: Tensor name → file name relative to the index, for a sharded checkpoint; empty otherwise.
    """

    format: Format
    files: tuple[Path, ...]
    index: Path | None = None
    weight_map: Mapping[str, str] | None = None

    @property
    def total_bytes(self) -> int:
        """Size of all weight files together, in bytes."""
        return sum(file.stat().st_size for file in self.files)


def with_variant(name: str, variant: str | None) -> str:
    """Put a variant before the last suffix: ``model.safetensors`` and ``fp16`` give ``model.fp16.safetensors``."""
    if variant is None:
        return name
    stem, suffix = name.rsplit(".", 1)
    return f"{stem}.{variant}.{suffix}"


def index_names(name: str, variant: str | None) -> tuple[str, ...]:
    """Names that the index of a weight file goes by: transformers' spelling, then the other one that is in use."""
    usual = with_variant(f"{name}.index.json", variant)
    return (usual,) if variant is None else (usual, f"{with_variant(name, variant)}.index.json")


def check_variant(variant: str | None) -> None:
    """Refuse a variant that could not be part of a plain file name."""
    if variant is not None and not re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*", variant):
        raise OptionError(
            f"variant={variant!r} cannot be part of a file name; expected letters, digits, '_', '-', '+' and '.', "
            "such as variant='fp16'."
        )


def find_weights(
    place: str | os.PathLike[str], *, variant: str | None = None, use_safetensors: bool | None = None
) -> WeightFiles:
    """Find the weights in a folder, or take the one file (or index) that the path names.

    Args:
        place: A checkpoint folder, or a weight or index file itself; a `vision2seq.hub.Source` fetches the files that
            are taken, and no others.
        variant: Read ``model.<variant>.safetensors`` and the like instead of the plain names.
        use_safetensors: True reads safetensors only, False ``pytorch_model.bin`` only, None whichever is there with
            safetensors preferred.

    Raises:
        CheckpointNotFoundError: No such folder, no weights in it, or an index that names an absent shard.
        CheckpointCorruptError: An index that is no index, or that points out of the folder.
        OptionError: A variant that is no part of a name, or a ``use_safetensors`` that is not True, False or None.
    """
    check_variant(variant)
    if use_safetensors not in (True, False, None):
        raise OptionError(f"use_safetensors={use_safetensors!r}; expected True, False or None.")
    source = place if isinstance(place, hub.Source) else _folder(Path(place))
    if source.file is not None:
        return _single(source, source.file)

    families: list[tuple[str, Format]] = []
    if use_safetensors is not False:
        families.append(("model.safetensors", "safetensors"))
    if use_safetensors is not True:
        families.append(("pytorch_model.bin", "pickle"))
    for name, kind in families:
        whole = source.get(with_variant(name, variant))
        if whole is not None:
            return WeightFiles(kind, (whole,))
        for index_name in index_names(name, variant):
            index = source.get(index_name)
            if index is not None:
                return _sharded(source, index, kind)
    raise _nothing_found(source, [name for name, _ in families], variant, use_safetensors)


def _folder(path: Path) -> hub.Source:
    if path.is_file():
        return hub.Source(str(path), path.parent, path.name)
    if not path.is_dir():
        raise CheckpointNotFoundError(
            f"No checkpoint folder {str(path)!r}: "
            + ("it is neither a file nor a folder." if path.exists() else "it does not exist. Check the path.")
        )
    return hub.Source(str(path), path)


def _single(source: hub.Source, name: str) -> WeightFiles:
    kind: Format = "safetensors" if ".safetensors" in name else "pickle"
    path = source.named()
    return _sharded(source, path, kind) if path.suffix == ".json" else WeightFiles(kind, (path,))


def _sharded(source: hub.Source, index: Path, kind: Format) -> WeightFiles:
    expected = 'an index of shards ({"weight_map": {tensor name: file name}})'
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise corrupt(index, expected, f"it is not valid JSON ({error})") from None
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise corrupt(index, expected, "it has no weight_map")
    if not all(isinstance(shard, str) for shard in weight_map.values()):
        raise corrupt(index, expected, "its weight_map has values that are not file names")

    shards = sorted(set(weight_map.values()))
    for shard in shards:
        # Links are not followed here: the hub cache keeps every file as a link out of the snapshot folder.
        path = PurePosixPath(shard)
        if not shard or path.is_absolute() or ".." in path.parts or "\\" in shard or ":" in shard or "\0" in shard:
            raise CheckpointCorruptError(
                f"{index} names the shard {shard!r}, which lies outside its folder. An index may name only files "
                "beside it; do not trust this checkpoint."
            )
    beside = index.parent.relative_to(source.folder)
    absent = [shard for shard in shards if source.get((beside / shard).as_posix()) is None]
    if absent:
        raise CheckpointNotFoundError(
            f"{index} names {len(shards)} shards, but {len(absent)} of them are not there: "
            f"{_some(absent)}. {_files_in(source)} Download the missing files into the folder."
        )
    return WeightFiles(kind, tuple(index.parent / shard for shard in shards), index, weight_map)


def _nothing_found(
    source: hub.Source, names: list[str], variant: str | None, use_safetensors: bool | None
) -> CheckpointNotFoundError:
    wanted = " or ".join(with_variant(name, variant) for name in names)
    message = (
        f"No weights in {source.where()}: expected {wanted} (or a sharded form with its index). {_files_in(source)}"
    )
    found = source.names()
    if variant is not None:
        variants = {m["before"] or m["after"] for m in map(_VARIANT_OF.fullmatch, found) if m}
        if variants:
            message += f" Variants there: {', '.join(sorted(variants))}.{nearest(variant, variants)}"
        if any(name in found for name in names):
            message += " The weights without a variant are there: leave variant= out to read them."
    if use_safetensors is True and with_variant("pytorch_model.bin", variant) in found:
        message += " There is a pytorch_model.bin: leave use_safetensors=True out to read it."
    if use_safetensors is False and with_variant("model.safetensors", variant) in found:
        message += " There is a model.safetensors: leave use_safetensors=False out to read it."
    for framework, pattern in _FOREIGN:
        if any(pattern.fullmatch(name) for name in found):
            message += f" {framework} weights found, not supported yet."
    return CheckpointNotFoundError(message)


def _files_in(source: hub.Source) -> str:
    found = source.names()
    return f"Files there: {_some(found)}." if found else "The folder is empty."


def _some(names: list[str], limit: int = 30) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
