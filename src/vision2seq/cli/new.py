"""``vision2seq new``: write a new model with configs and ids that agree, for `finetune` to train."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", metavar="DEST", help="the new checkpoint's folder")
    parser.add_argument(
        "--encoder", required=True, metavar="E", help="vit or deit, with fresh weights, or a folder, with its weights"
    )
    parser.add_argument("--decoder", required=True, metavar="D", help="trocr or gpt2, or a folder")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--tokenizer", metavar="FOLDER", help="a tokenizer's folder (default: the decoder's)")
    source.add_argument("--characters", metavar="FILE", help="a text; each character in it becomes a token")
    parser.add_argument("--image-size", type=_size, metavar="HxW", help="height and width of what the encoder takes")
    parser.add_argument("--patch-size", type=_size, metavar="HxW", help="height and width of its patches")
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="most tokens of a text, start and end included (default: 128)"
    )
    parser.add_argument("--keep-aspect", action="store_true", help="fit images and pad them instead of stretching them")
    for role in ("encoder", "decoder"):
        parser.add_argument(
            f"--{role}-set",
            nargs="+",
            type=_assignment,
            action="extend",
            default=[],
            metavar="KEY=VALUE",
            help=f"other values of the {role}'s config, such as num_hidden_layers=6",
        )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the fresh weights (default: 0)")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: expected height x width in pixels, as in 32x1024, or one number")
    return int(found[1]), int(found[2] or found[1])


def _assignment(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE, as in hidden_size=192")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def run(options: argparse.Namespace) -> int:
    """Write the checkpoint and say what it is."""
    from vision2seq.training.new import new_checkpoint

    model = new_checkpoint(
        options.folder,
        options.encoder,
        options.decoder,
        tokenizer=options.tokenizer,
        characters=options.characters,
        image_size=options.image_size,
        patch_size=options.patch_size,
        max_length=options.max_length,
        keep_aspect=options.keep_aspect,
        encoder_values=dict(options.encoder_set),
        decoder_values=dict(options.decoder_set),
        seed=options.seed,
    )
    encoder, decoder = model.config.encoder, model.config.decoder
    print(
        f"{options.folder}: {encoder.model_type} and {decoder.model_type}, {model.num_parameters() / 1e6:.2f} M "
        f"parameters, {decoder.vocab_size} tokens, texts of up to {model.generation_config.max_length} tokens"
    )
    sys.stdout.flush()
    return 0
