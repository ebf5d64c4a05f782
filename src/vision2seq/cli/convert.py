"""``vision2seq convert``: a standard checkpoint of any that can be read, whatever framework wrote it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision2seq.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    ConfigError,
    OptionError,
    UnsupportedError,
    WeightsMismatchError,
)

if TYPE_CHECKING:
    from torch import Tensor

    from vision2seq.hub import Source

# Copied as they are, where they are there; config.json, generation_config.json and the weights are written anew.
CARRIED = (
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
"""Names of the files of tokenizers and image processors."""
_DTYPES = ("bfloat16", "float16", "float32", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="a checkpoint: a folder, file, URL, or name")
    parser.add_argument("destination", metavar="DEST", help="the new checkpoint's folder, which may not hold anything")
    parser.add_argument("--config", metavar="C", help="its config: a folder or file (default: beside the weights)")
    framework = parser.add_mutually_exclusive_group()
    framework.add_argument(
        "--from-tf", action="store_true", help="read TensorFlow's weights (default: PyTorch's, or what else is there)"
    )
    framework.add_argument("--from-flax", action="store_true", help="read those of Flax")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--dtype", choices=_DTYPES, help="of the new weights (default: that of the old ones)")
    size.add_argument(
        "--precision", choices=("bf16", "int8"), help="pack the decoder's weights, to run on a CPU with this package"
    )
    parser.add_argument(
        "--max-shard-size", default="5GB", metavar="SIZE", help="divide larger weights into files (default: 5GB)"
    )
    parser.add_argument("--variant", metavar="V", help="read weights of such names as model.V.safetensors")
    parser.add_argument("--revision", metavar="R", help="a branch, tag or commit of a name on the hub")
    parser.add_argument("--subfolder", metavar="F", help="where in the source the checkpoint is")
    parser.add_argument(
        "--token", metavar="T", help="for private names on the hub (default: HF_TOKEN, or who is logged in)"
    )
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run the checkpoint's own Python files, if it needs some"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object, with all names")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Convert, and say what became of each tensor; 1 if the source lacks some that the model needs."""
    done = convert(
        options.source,
        options.destination,
        config=options.config,
        from_tf=options.from_tf,
        from_flax=options.from_flax,
        dtype=options.dtype,
        precision=options.precision,
        max_shard_size=options.max_shard_size,
        variant=options.variant,
        finding={"revision": options.revision, "subfolder": options.subfolder, "token": options.token},
        trust_remote_code=options.trust_remote_code,
        hidden=True if options.quiet else None,
    )
    if options.json:
        print(json.dumps(done, indent=2, ensure_ascii=False))
    else:
        _print(done)
    sys.stdout.flush()
    return 1 if done["missing"] else 0


def convert(
    name_or_path: str,
    destination: str | os.PathLike[str],
    *,
    config: str | None = None,
    from_tf: bool = False,
    from_flax: bool = False,
    dtype: str | None = None,
    precision: str | None = None,
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
    finding: dict[str, Any] | None = None,
    trust_remote_code: bool = False,
    hidden: bool | None = None,
) -> dict[str, Any]:
    """Write a checkpoint as safetensors with all that belongs to it, and read it back before it gets its name.

    Tensors that the source lacks are not written, so that whoever loads the result is told of them as well.

    Args:
        name_or_path: A folder, a weight file, the name of a bundled model, a name on the hub, or a URL.
        destination: The new folder; an empty one may be there.
        config: Where the config is, if it is not beside the weights.
        from_tf: Read TensorFlow's weights even where PyTorch's are beside them.
        from_flax: The same for those of Flax.
        dtype: Name of the new weights' dtype; None keeps theirs, the widest if there are several.
        precision: What the decoder's weights are packed as instead, see `vision2seq.engine.precision`.
        max_shard_size: Bytes, or a text such as ``"200MB"``.
        variant: Of the source's file names.
        finding: Arguments of `hub.Options`.
        trust_remote_code: Whether Python files of the checkpoint may be run. They are copied in any case.
        hidden: Whether to hide the progress bars; None does so where there is no terminal.

    Returns:
        What was read and written, and the names of tensors by what became of them.

    Raises:
        OptionError: The destination holds something.
        CheckpointNotFoundError: No such source, no weights in it, or no config beside them.
        UnsupportedError: A model that this package does not have; weights that are quantised already.
        RemoteCodeError: The model needs code of the checkpoint's own, and ``trust_remote_code`` is not set.
        WeightsMismatchError: No tensor of the source belongs to the model, shapes disagree, or one of the models'
            authors' own checkpoints is not complete.
        CheckpointCorruptError: What was written reads back otherwise.
    """
    import torch
    from tqdm import tqdm

    from vision2seq import checkpoints, hub, registry
    from vision2seq.auto import AutoConfig, AutoModelForVision2Seq
    from vision2seq.checkpoints.original import recognise
    from vision2seq.checkpoints.save import parse_size
    from vision2seq.configuration.base import Config, config_file, read_json
    from vision2seq.models.base import PreTrainedModel

    target = _free(destination)
    parse_size(max_shard_size)
    source = hub.find(name_or_path, dict(finding or {}))
    place = source if config is None else hub.find_beside(source, config)
    try:
        loaded = AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
        if not isinstance(loaded, Config) and "auto_map" not in loaded.to_dict():
            raise ConfigError(f"{loaded.model_type!r} is of transformers.")
    except CheckpointNotFoundError as error:
        if config is not None or source.file is None:
            raise
        raise CheckpointNotFoundError(f"{error} To convert the file alone, pass --config.") from None
    except ConfigError:
        if recognise(place) is not None:
            raise
        values = read_json(config_file(place))
        if registry.knows(values) or not isinstance(values.get("model_type"), str):
            raise
        raise UnsupportedError(
            f"{source} is {_kind(values)}, which this package does not have; it converts vision-encoder-decoder models "
            "with halves of its own. If transformers has it, load it there, and save it with save_pretrained."
        ) from None
    model_class = AutoModelForVision2Seq._class_for(loaded, trust_remote_code, place)
    if not (isinstance(model_class, type) and issubclass(model_class, PreTrainedModel)):
        raise UnsupportedError(
            f"The code that {source} brings along is written against transformers; only code written against this "
            "package can be converted. Load it with transformers, and save it there."
        )
    loaded, _ = model_class._config(source, loaded, (), {})
    if quantised := getattr(loaded, "quantization_config", None):
        raise UnsupportedError(
            f"The weights of {source} are quantised already (quantization_config: {quantised}). Convert the checkpoint "
            "that they were made from."
        )
    argument = None if from_tf or from_flax or variant else checkpoints.framework_argument(source)
    files = checkpoints.find_weights(
        source,
        variant=variant,
        from_tf=from_tf or argument == "from_tf",
        from_flax=from_flax or argument == "from_flax",
    )
    stored = set(checkpoints.stored_dtypes(files))
    wanted = getattr(torch, dtype) if dtype else functools.reduce(torch.promote_types, stored or {torch.float32})

    def bar(items: Iterable[Any], what: str) -> Any:
        return tqdm(items, desc=what, total=len(names), unit="tensor", disable=hidden, leave=False, dynamic_ncols=True)

    model = model_class.skeleton(loaded)
    names = list(model.state_dict())
    mapped: list[tuple[str, str]] = []
    tensors = checkpoints.read_tensors(files, will_copy=wanted not in stored, converted=mapped)
    report = checkpoints.fill(model, model._renamed(bar(tensors, "reading"), mapped), dtype=wanted)
    missing = [name for name in report.missing_keys if not model._is_not_needed(name)]
    if files.original is not None:
        dataclasses.replace(report, missing_keys=missing).refuse_gaps(str(source), files.original.name)
    model.eval()
    model._loaded_from(source)
    state = model.state_dict()
    if precision is not None:
        if report.missing_keys:
            raise WeightsMismatchError(
                f"{source} lacks {_few(missing or report.missing_keys)}, and only a whole model can be packed. Convert "
                "it without --precision."
            )
        with torch.no_grad():
            registry.resolve(registry.PRECISION)(model, precision=precision)
        state = model.state_dict()
    absent = {state[name].data_ptr() for name in report.missing_keys}
    state = {name: tensor for name, tensor in state.items() if tensor.data_ptr() not in absent}
    if not state:
        raise WeightsMismatchError(
            f"No tensor of {source} belongs to the model of its config. Found {_few(report.unexpected_keys)}; expected "
            f"{_few(names)}. Pass the config that belongs to the weights as --config."
        )

    with _appearing(target) as folder:
        model.save_pretrained(folder, max_shard_size=max_shard_size, state_dict=state)
        for name in CARRIED:
            _carry(source, name, folder)
        if files.original is not None:
            _write_processor(source, folder)
        _carry_code(place, folder)
        kind = {"dtype": wanted} if precision is None else {"precision": precision}
        again, info = model_class.from_pretrained(folder, output_loading_info=True, **kind)
        _compare(state, again.state_dict(), info["unexpected_keys"], target, lambda items: bar(items, "checking"))
        written = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return {
        "source": str(source),
        "commit": source.commit,
        "format": files.format,
        "framework": checkpoints.framework_name(files),
        "read": [file.name for file in files.files],
        "destination": str(destination),
        "written": written,
        "dtype": str(wanted).removeprefix("torch.") if precision is None else precision,
        "parameters": sum(tensor.numel() for tensor in {t.data_ptr(): t for t in state.values()}.values()),
        "verified": len(state),
        "mapped": mapped + report.converted_keys,
        "tied": report.tied_keys,
        "dropped": report.unexpected_keys + report.harmless_keys,
        "missing": missing,
        "notes": report.error_msgs,
    }


def _free(destination: str | os.PathLike[str]) -> Path:
    """The folder that is to be made; refuse one that holds something."""
    target = Path(destination).expanduser().resolve()
    if target.exists() and not target.is_dir():
        raise OptionError(f"{destination} is a file; expected the name of a folder to make.")
    if target.is_dir() and any(target.iterdir()):
        raise OptionError(f"{destination} is not empty, and nothing is overwritten. Name a new folder, or empty it.")
    return target


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder beside the target that becomes it once all went well, and else goes away."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            target.rmdir()  # empty, or it raises
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kind(values: Mapping[str, Any]) -> str:
    """What a config says it is of, with the halves of a pair."""
    halves = [
        f"{article} {role} of type {half.get('model_type')!r}"
        for article, role in (("an", "encoder"), ("a", "decoder"))
        if isinstance(half := values.get(role), dict)
    ]
    return f"of type {values['model_type']!r}" + (f", with {' and '.join(halves)}" if halves else "")


def _carry_code(source: Source, folder: Path) -> None:
    """Copy the Python files that the new configs name, as they do not say where else those are."""
    from vision2seq.configuration.base import read_json
    from vision2seq.hub.code import code_beside

    for path in sorted(folder.glob("*.json")):
        content = read_json(path) if path.name.endswith("config.json") else {}
        table = content.get("auto_map")
        references = table.values() if isinstance(table, dict) else ()
        for name, file in code_beside(source, references).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)


def _write_processor(source: Source, folder: Path) -> None:
    """Write what the models' authors left to their code: how pictures are prepared, and which tokens are special."""
    from vision2seq import checkpoints
    from vision2seq.auto import AutoImageProcessor, AutoTokenizer

    if checkpoints.original_image_processor(source) is not None:
        AutoImageProcessor.from_pretrained(source).save_pretrained(folder)
    if checkpoints.original_tokenizer(source) and source.get("tokenizer.json") is not None:
        AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def _carry(source: Source, name: str, folder: Path) -> None:
    file = source.get(name)
    if file is not None:
        shutil.copyfile(file, folder / name)


def _compare(
    state: dict[str, Tensor], found: dict[str, Tensor], unexpected: list[str], target: Path, shown: Any
) -> None:
    """Hold every tensor that was written against what reads back, bit by bit."""
    different = [name for name, tensor in shown(state.items()) if not _same(tensor, found.get(name))]
    if different or unexpected:
        raise CheckpointCorruptError(
            f"{_few(different + unexpected)} read back otherwise than written for {target}, which was not made. Try "
            "again, and if that does not help, on another disk."
        )


def _same(written: Tensor, read: Tensor | None) -> bool:
    """Whether two tensors are one to the last bit; numbers would not do, as what is no number equals nothing."""
    import torch

    if read is None or (written.shape, written.dtype) != (read.shape, read.dtype):
        return False
    one, other = (tensor.detach().contiguous().flatten().view(torch.uint8) for tensor in (written, read))
    return torch.equal(one, other)


def _few(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _print(done: dict[str, Any]) -> None:
    def line(name: str, text: str) -> None:
        print(f"{name + ':':<11}{text}")

    revision = f" at commit {done['commit']}" if done["commit"] else ""
    line("read", f"{done['source']}{revision}: {done['format']} of {done['framework']}, {_few(done['read'])}")
    if done["mapped"]:
        line("mapped", f"{len(done['mapped'])} names: " + _few([f"{old} → {new}" for old, new in done["mapped"]], 1))
    for name, what in (("tied", "stored once"), ("dropped", "not used by the model"), ("missing", "NOT IN THE SOURCE")):
        if done[name]:
            line(name, f"{len(done[name])} {what}: {_few(done[name], 6)}")
    for note in done["notes"]:
        line("note", note)
    size = sum(done["written"].values()) / 1e6
    line("written", f"{done['destination']}: {', '.join(done['written'])}")
    line("size", f"{done['parameters'] / 1e6:.2f} M parameters as {done['dtype']}, {size:.1f} MB")
    line("verified", f"{done['verified']} tensors read back, each the same to the last bit")
