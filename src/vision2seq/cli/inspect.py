"""``vision2seq inspect``: what a checkpoint is, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vision2seq.errors import CheckpointNotFoundError, UnsupportedError, Vision2SeqError

if TYPE_CHECKING:
    from vision2seq.hub import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "checkpoint",
        metavar="FOLDER",
        help="a checkpoint folder, a name (bundled, or on the hub), or the .pt file of an original TrOCR",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the findings; 1 if something is wrong with the checkpoint."""
    found = examine(options.checkpoint)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found)
    return 1 if found["problems"] else 0


def examine(name_or_path: str) -> dict[str, Any]:
    """Look at every part of a checkpoint without loading PyTorch's weights into memory.

    Args:
        name_or_path: A folder, the name of a bundled model, a name on the hub, or the file of an original TrOCR.

    Returns:
        Findings by part, and under ``problems`` what is wrong, one text each; ``notes`` are worth knowing, no more.

    Raises:
        CheckpointNotFoundError: No such folder.
        CheckpointCorruptError: A ``.pt`` file that cannot be read.
    """
    from vision2seq import hub
    from vision2seq.checkpoints.original import TROCR, recognise

    source = hub.find(name_or_path)
    parts = [_config, _weights, _image_processor, _tokenizer, _generation]
    found: dict[str, Any] = {"checkpoint": str(source.path), "problems": [], "notes": []}
    if source.file is not None:
        original = recognise(source)
        if original is None or original[0] is not TROCR:
            raise CheckpointNotFoundError(f"{source} is a file, expected a checkpoint folder.")
        parts.remove(_tokenizer)
        found["notes"].append(
            "The file holds no tokenizer: take RoBERTa's, or that of a standard TrOCR with as many tokens."
        )
    for part in parts:
        try:
            part(source, found)
        except Vision2SeqError as error:
            if str(error) not in found["problems"]:  # several parts need the config
                found["problems"].append(str(error))
    return found


def _own_config(source: Source) -> Any:
    """The config, if it is of a kind that this package has.

    Raises:
        UnsupportedError: Only transformers has it.
    """
    from vision2seq.auto import AutoConfig
    from vision2seq.configuration.base import Config

    config = AutoConfig.from_pretrained(source)
    if not isinstance(config, Config):
        raise UnsupportedError(
            f"Only transformers has a {config.model_type!r} like this; from_pretrained hands it over, and there is "
            "nothing to inspect here."
        )
    return config


def _config(source: Source, found: dict[str, Any]) -> None:
    config = _own_config(source)
    found["model_type"] = config.model_type
    for half in ("encoder", "decoder"):
        part = getattr(config, half, None)
        if part is None:
            found["problems"].append(
                f"config.json is that of a {config.model_type!r}, not of a vision-encoder-decoder: there is no {half}."
            )
            return
        found[half] = {
            "family": part.model_type,
            # BART's other names are those of the encoder that it had.
            "layers": getattr(part, "decoder_layers", part.num_hidden_layers),
            "width": part.hidden_size,
            "heads": getattr(part, "decoder_attention_heads", part.num_attention_heads),
        }
    found["encoder"]["image_size"] = config.encoder.image_size
    found["encoder"]["patch_size"] = config.encoder.patch_size
    found["decoder"]["vocabulary"] = config.decoder.vocab_size
    found["decoder"]["positions"] = config.decoder.max_position_embeddings
    for name in ("decoder_start_token_id", "pad_token_id"):
        if getattr(config, name) is None:
            found["notes"].append(f"config.json has no top-level {name}; training needs it.")


def _weights(source: Source, found: dict[str, Any]) -> None:
    from vision2seq import checkpoints, registry
    from vision2seq.auto import AutoModelForVision2Seq
    from vision2seq.models.base import packed_as

    argument = checkpoints.framework_argument(source)
    files = checkpoints.find_weights(source, from_tf=argument == "from_tf", from_flax=argument == "from_flax")
    found["weights"] = {
        "format": files.format,
        "framework": checkpoints.framework_name(files),
        "files": [file.name for file in files.files],
        "bytes": files.total_bytes,
    }
    if argument:
        found["notes"].append(
            f"The weights are those of {found['weights']['framework']}: pass {argument}=True to from_pretrained, or "
            f"make safetensors of them with `vision2seq convert {source} DEST`."
        )
    if files.original is not None:
        found["notes"].append(
            f"It is a checkpoint of {files.original.name}: from_pretrained reads it as it is, and "
            f"`vision2seq convert {source} DEST` makes a standard one of it."
        )
    found["weights"]["dtype"] = str(checkpoints.stored_dtype(files)).removeprefix("torch.")
    config = _own_config(source)
    model = AutoModelForVision2Seq._class_for(config).skeleton(config)
    found["weights"]["parameters"] = model.num_parameters()
    if precision := packed_as(config, str(source)):
        registry.resolve(registry.PRECISION)(model, precision=precision)
        found["weights"]["dtype"] = precision
    # PyTorch's tensors stay views of the files: filling a model with them reads nothing but the headers.
    report = checkpoints.fill(
        model,
        model._renamed(checkpoints.read_tensors(files)),
        ignore_mismatched_sizes=True,
    )
    missing = [name for name in report.missing_keys if not model._is_not_needed(name)]
    report.missing_keys = missing
    if files.original is not None:
        report.refuse_gaps("The checkpoint", files.original.name)
    text = report.warning_text("the checkpoint")
    if text and (missing or report.mismatched_keys):
        found["problems"].append(text)
    elif text:
        found["notes"].append(text)


def _image_processor(source: Source, found: dict[str, Any]) -> None:
    import warnings

    from vision2seq import presets
    from vision2seq.auto import AutoImageProcessor

    preset = presets.find(source)
    if preset is not None:
        found["preset"] = {"name": preset.name, "about": preset.about}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        processor = (AutoImageProcessor.from_pretrained if preset is None else preset.image_processor)(source)
    found["notes"].extend(str(warning.message) for warning in caught)
    options = processor.to_dict()
    shown = ("size", "crop_size", "do_center_crop", "resample", "image_mean", "image_std")
    found["image_processor"] = {"class": type(processor).__name__} | {
        name: options[name] for name in shown if options.get(name) is not None
    }
    encoder = found.get("encoder")
    if encoder is None:
        return
    expected = encoder["image_size"]
    height, width = (expected, expected) if isinstance(expected, int) else expected
    crops = options.get("do_center_crop") and isinstance(options.get("crop_size"), dict)
    size = options["crop_size"] if crops else options.get("size")
    if isinstance(size, dict) and "height" in size and (size["height"], size["width"]) != (height, width):
        found["problems"].append(
            f"The image processor makes {size['height']}x{size['width']} pixels (height x width), the encoder expects "
            f"{height}x{width}: set the size in preprocessor_config.json, or read with interpolate_pos_encoding=True."
        )


def _tokenizer(source: Source, found: dict[str, Any]) -> None:
    from vision2seq.auto import AutoTokenizer
    from vision2seq.tasks import tasks_of

    tokenizer = AutoTokenizer.from_pretrained(source)
    found["tokenizer"] = {"class": type(tokenizer).__name__, "tokens": len(tokenizer)}
    if known := list(tasks_of(tokenizer)):
        found["tasks"] = known
    vocabulary = found.get("decoder", {}).get("vocabulary")
    if vocabulary is not None and len(tokenizer) > vocabulary:
        found["problems"].append(
            f"The tokenizer has {len(tokenizer)} tokens, the decoder {vocabulary}: it is another model's tokenizer, "
            "or tokens were added without resizing the embeddings."
        )


def _generation(source: Source, found: dict[str, Any]) -> None:
    from vision2seq.configuration.generation import GENERATION_CONFIG_NAME, GenerationConfig

    file = source.get(GENERATION_CONFIG_NAME)
    if file is not None:
        config = GenerationConfig.from_pretrained(source)
    else:
        config = GenerationConfig.from_model_config(_own_config(source))
    found["generation"] = {
        "from": "config.json" if file is None else file.name,
        **{name: value for name, value in config.to_diff_dict().items() if not name.startswith("_")},
    }
    if config.decoder_start_token_id is None and config.bos_token_id is None:
        found["problems"].append(
            "Neither decoder_start_token_id nor bos_token_id is set anywhere: generation cannot start. Set "
            "decoder_start_token_id in config.json or generation_config.json."
        )
    vocabulary = found.get("decoder", {}).get("vocabulary")
    for name in ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id"):
        value = getattr(config, name)
        for token in value if isinstance(value, list | tuple) else [value]:
            if isinstance(token, int) and vocabulary is not None and not 0 <= token < vocabulary:
                found["problems"].append(f"{name} is {token}, but the decoder's tokens are 0 to {vocabulary - 1}.")
    if config.eos_token_id is None:
        found["notes"].append("No eos_token_id is set: texts end only at the length limit.")


def _print(found: dict[str, Any]) -> None:
    def line(name: str, text: str) -> None:
        print(f"{name + ':':<18}{text}")

    def part(name: str, say: Callable[[dict[str, Any]], str]) -> None:
        if name in found:
            line(name.replace("_", " "), say(found[name]))

    line("checkpoint", found["checkpoint"])
    if "model_type" in found:
        line("model type", found["model_type"])
    shape = "{family}, {layers} layers of width {width}, {heads} heads"
    part("encoder", lambda p: shape.format(**p) + f", image {_size(p['image_size'])}, patch {_size(p['patch_size'])}")
    part("decoder", lambda p: shape.format(**p) + f", {p['vocabulary']} tokens, {p['positions']} positions")
    part(
        "weights",
        lambda p: (
            p["format"]
            + (f" of {p['framework']}" if p["framework"] != "PyTorch" else "")
            + f", {', '.join(p['files'])}, {p['bytes'] / 1e6:.1f} MB"
            + (f" of {p['dtype']}" if "dtype" in p else "")
            + (f", {p['parameters'] / 1e6:.2f} M parameters" if "parameters" in p else "")
        ),
    )
    part(
        "image_processor",
        lambda p: (
            p["class"] + "".join(f", {k} {_size(v) if k.endswith('size') else v}" for k, v in p.items() if k != "class")
        ),
    )
    part("preset", lambda p: f"{p['name']}: {p['about']}")
    part("tokenizer", lambda p: f"{p['class']}, {p['tokens']} tokens")
    if "tasks" in found:
        line("tasks", ", ".join(found["tasks"]))
    part("generation", lambda p: ", ".join(f"{name} {value}" for name, value in p.items()))
    for note in found["notes"]:
        line("note", note)
    for problem in found["problems"]:
        line("PROBLEM", problem)
    if not found["problems"]:
        print("nothing is wrong with it")
    sys.stdout.flush()


def _size(value: Any) -> str:
    """A size in whatever way it is spelled, as ``384x384``."""
    if isinstance(value, dict):
        value = list(value.values())
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}x{value}"
