"""Which files of a folder hold the weights.

First found wins: ``model.safetensors``, its index, ``pytorch_model.bin``, its index. A variant is part of the name:
``model.fp16.safetensors``. Who asks for TensorFlow's or Flax' weights gets those first. Loads no torch, but to look
into a TensorFlow checkpoint.

Source: the file names and their order are those of transformers 4.57.6 (``_get_resolved_checkpoint_files``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from vision2seq import hub
from vision2seq.checkpoints.damage import corrupt
from vision2seq.checkpoints.original import Original, recognise
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, OptionError, nearest

Format = Literal["safetensors", "pickle", "h5", "bundle", "msgpack"]


class _Framework(NamedTuple):
    """A framework whose weights are read if somebody asks for them.

    Attributes:
        name: What people call it.
        argument: What asks for its weights.
        files: Names of weight files, in the order in which they are looked for.
        others: Names that its weights go by as well.
    """

    name: str
    argument: str
    files: tuple[str, ...]
    others: re.Pattern[str]


_TENSORFLOW = _Framework(
    "TensorFlow",
    "from_tf",
    ("model.ckpt.index", "tf_model.h5", "variables/variables.index"),
    re.compile(r".+\.h5(\.index\.json)?|.+\.index|.+\.data-\d+-of-\d+"),
)
_PYTORCH = ("model.safetensors", "pytorch_model.bin")
_FLAX = _Framework("Flax", "from_flax", ("flax_model.msgpack",), re.compile(r".+\.msgpack(\.index\.json)?"))
# By the last suffix but for an index of shards; safetensors files say themselves whose layout they have.
_FORMATS: dict[str, tuple[Format, _Framework | None]] = {
    ".safetensors": ("safetensors", None),
    ".h5": ("h5", _TENSORFLOW),
    ".hdf5": ("h5", _TENSORFLOW),
    ".index": ("bundle", _TENSORFLOW),
    ".msgpack": ("msgpack", _FLAX),
}
_SHARDED = ".index.json"
_VARIANT_OF = re.compile(
    r"(?:model|pytorch_model)\.(?P<before>[^.]+?)(?:-\d{5}-of-\d{5})?\.(?:safetensors|bin)(?:\.index\.json)?"
    r"|(?:model\.safetensors|pytorch_model\.bin)\.index\.(?P<after>[^.]+)\.json"
)


@dataclass(frozen=True)
class WeightFiles:
    """The files of one set of weights.

    Attributes:
        format: ``"safetensors"``, ``"pickle"`` (``pytorch_model.bin``), ``"h5"`` (Keras), ``"bundle"`` (TensorFlow's
            checkpoints) or ``"msgpack"`` (Flax).
        files: The weight files, in the order in which they are read; several if the checkpoint is sharded. Of a bundle,
            its index and then its data.
        index: The index file of a sharded checkpoint, else None.
        weight_map: Tensor name → file name relative to the index, for a sharded checkpoint; empty otherwise.
        original: The format of the models' authors that the tensors are named in; None if that is the standard one.
    """

    format: Format
    files: tuple[Path, ...]
    index: Path | None = None
    weight_map: Mapping[str, str] | None = None
    original: Original | None = None

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
    place: str | os.PathLike[str],
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    from_tf: bool = False,
    from_flax: bool = False,
) -> WeightFiles:
    """Find the weights in a folder, or take the one file (or index) that the path names.

    Args:
        place: A checkpoint folder, or a weight or index file itself; a `vision2seq.hub.Source` fetches the files that
            are taken, and no others. A TensorFlow checkpoint may be named without ``.index``.
        variant: Read ``model.<variant>.safetensors`` and the like instead of the plain names.
        use_safetensors: True reads safetensors only, False ``pytorch_model.bin`` only, None whichever is there with
            safetensors preferred.
        from_tf: Look for TensorFlow's weights first: ``model.ckpt.index``, ``tf_model.h5``, its index, those of a
            SavedModel. Not needed for a file that is named outright.
        from_flax: The same for ``flax_model.msgpack`` and its index.

    Raises:
        CheckpointNotFoundError: No such folder, no weights in it, or an index that names an absent shard.
        CheckpointCorruptError: An index that is no index, or that points out of the folder.
        OptionError: A variant that is no part of a name, a ``use_safetensors`` that is not True, False or None, or a
            framework that is not that of the file.
        UnsupportedError: fairseq's checkpoint of another model than TrOCR.
    """
    check_variant(variant)
    asked = _asked(from_tf, from_flax)
    if use_safetensors not in (True, False, None):
        raise OptionError(f"use_safetensors={use_safetensors!r}; expected True, False or None.")
    source = place if isinstance(place, hub.Source) else _folder(Path(place))
    found = _find(source, variant, use_safetensors, asked)
    if found.format not in ("safetensors", "pickle"):
        return found
    try:
        known = recognise(source)
    except CheckpointCorruptError:
        known = None  # a file that cannot be read: whoever reads it says so
    return found if known is None else replace(found, original=known[0])


def _find(
    source: hub.Source, variant: str | None, use_safetensors: bool | None, asked: _Framework | None
) -> WeightFiles:
    """See `find_weights`."""
    if source.file is not None:
        return _single(source, source.file, asked)

    names: list[str] = []
    if use_safetensors is not False:
        names.append("model.safetensors")
    if use_safetensors is not True:
        names.append("pytorch_model.bin")
    foreign = list(asked.files) if asked and use_safetensors is not True else []
    for name in [*foreign, *names]:
        own = None if name in foreign else variant  # other frameworks' files have no variants
        kind, _ = _format_of(name)
        whole = source.get(with_variant(name, own))
        if whole is not None:
            return _bundle(source, whole) if kind == "bundle" else WeightFiles(kind, (whole,))
        for index_name in index_names(name, own) if kind != "bundle" else ():
            index = source.get(index_name)
            if index is not None:
                return _sharded(source, index, kind)
    raise _nothing_found(source, foreign, names, variant, use_safetensors, asked)


def framework_argument(source: hub.Source) -> str | None:
    """Return what :func:`find_weights` has to be told to find whatever weights there are.

    Args:
        source: A folder whose weights have their usual names, or a file.

    Returns:
        ``"from_tf"`` or ``"from_flax"``; None where PyTorch's weights are there, or none at all.
    """
    if source.file is not None:
        framework = _format_of(source.file)[1]
        return framework.argument if framework else None
    for argument, files in ((None, _PYTORCH), *((each.argument, each.files) for each in (_TENSORFLOW, _FLAX))):
        if any(source.get(name) for file in files for name in (file, file + _SHARDED)):
            return argument
    return None


def _asked(from_tf: bool, from_flax: bool) -> _Framework | None:
    if from_tf and from_flax:
        raise OptionError("from_tf=True and from_flax=True are both given; a checkpoint is of one of them, pass one.")
    return _TENSORFLOW if from_tf else _FLAX if from_flax else None


def _format_of(name: str) -> tuple[Format, _Framework | None]:
    return _FORMATS.get(PurePosixPath(name.removesuffix(_SHARDED)).suffix, ("pickle", None))


def _folder(path: Path) -> hub.Source:
    if path.is_file():
        return hub.Source(str(path), path.parent, path.name)
    index = path.with_name(f"{path.name}.index") if path.name else path
    if index.is_file():
        return hub.Source(str(path), index.parent, index.name)
    if not path.is_dir():
        raise CheckpointNotFoundError(
            f"No checkpoint folder {str(path)!r}: "
            + ("it is neither a file nor a folder." if path.exists() else "it does not exist. Check the path.")
        )
    return hub.Source(str(path), path)


def _single(source: hub.Source, name: str, asked: _Framework | None) -> WeightFiles:
    kind, framework = _format_of(name)
    path = source.named()
    if asked and kind != "safetensors" and asked is not framework:
        raise OptionError(
            f"{asked.argument}=True was given, but {path} holds weights of "
            f"{framework.name if framework else 'PyTorch'}. Leave the argument out."
        )
    if kind == "bundle":
        if not asked and not source.name.endswith(".index"):
            raise OptionError(
                f"There is a TensorFlow checkpoint at {path}: pass from_tf=True to load it, or the name of that file."
            )
        return _bundle(source, path)
    return _sharded(source, path, kind) if path.suffix == ".json" else WeightFiles(kind, (path,))


def _bundle(source: hub.Source, index: Path) -> WeightFiles:
    """A TensorFlow checkpoint: its index, and the files that hold its numbers."""
    from vision2seq.checkpoints.bundle_reader import data_files

    names = data_files(index)
    return WeightFiles("bundle", (index, *_all_there(source, index, names)), index)


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
    return WeightFiles(kind, _all_there(source, index, shards), index, weight_map)


def _all_there(source: hub.Source, index: Path, shards: list[str]) -> tuple[Path, ...]:
    """The files beside an index, all of them."""
    beside = index.parent.relative_to(source.folder)
    absent = [shard for shard in shards if source.get((beside / shard).as_posix()) is None]
    if absent:
        raise CheckpointNotFoundError(
            f"{index} names {len(shards)} shards, but {len(absent)} of them are not there: "
            f"{_some(absent)}. {_files_in(source)} Download the missing files into the folder."
        )
    return tuple(index.parent / shard for shard in shards)


def _nothing_found(
    source: hub.Source,
    foreign: list[str],
    names: list[str],
    variant: str | None,
    use_safetensors: bool | None,
    asked: _Framework | None,
) -> CheckpointNotFoundError:
    wanted = " or ".join([*foreign, *(with_variant(name, variant) for name in names)])
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
    of_fairseq = [name for name in found if name.endswith(".pt")]
    if of_fairseq:
        message += f" There is {_some(of_fairseq, 3)}: if that is the checkpoint, pass the path of the file itself."
    for framework in (_TENSORFLOW, _FLAX):
        there = [name for name in found if framework.others.fullmatch(name)]
        there += [name for name in framework.files if "/" in name and source.get(name)]
        usual = any(name.removesuffix(_SHARDED) in framework.files for name in there)
        if there and (framework is asked or not usual):
            message += f" There are weights of {framework.name} ({_some(there, 3)}): pass the path of the file itself."
        elif there:
            message += f" There are weights of {framework.name}: pass {framework.argument}=True to read them."
    return CheckpointNotFoundError(message)


def _files_in(source: hub.Source) -> str:
    found = source.names()
    return f"Files there: {_some(found)}." if found else "The folder is empty."


def _some(names: list[str], limit: int = 30) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
