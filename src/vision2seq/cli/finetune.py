"""``vision2seq finetune``: train a model on images and their texts."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

# Flag, setting of `FinetuneSettings`, type, metavar, help. None of them has a default here: what is not said is as the
# settings have it.
_NUMBERS: tuple[tuple[str, str, type, str], ...] = (
    ("--batch-size", "batch_size", int, "images that go through the model together (default: 8)"),
    ("--accumulate", "accumulate", int, "batches that make up one step (default: 1)"),
    ("--rate", "rate", float, "the highest learning rate (default: 5e-5)"),
    ("--muon-rate", "muon_rate", float, "the same for what Muon changes (default: --rate)"),
    ("--warmup", "warmup", float, "share of the training over which the rate rises (default: 0.05)"),
    ("--weight-decay", "weight_decay", float, "pulls matrices towards zero (default: 0.01)"),
    ("--clip", "clip", float, "longest gradient, 0 for any (default: 1)"),
    ("--label-smoothing", "label_smoothing", float, "share of the probability spread over all tokens (default: 0)"),
    ("--average", "average", float, "decay of the moving average of the weights, 0 for none (default: 0.999)"),
    ("--freeze-layers", "freeze_layers", int, "keep so many layers of the encoder as they are, from the first on"),
    ("--validate-every", "validate_every", float, "steps between validations; minutes, with --minutes"),
    ("--save-every", "save_every", float, "the same between savings in between"),
    ("--log-every", "log_every", int, "steps that a line of the log sums up (default: 10)"),
    ("--patience", "patience", int, "end after so many validations without a better one"),
    ("--seed", "seed", int, "of everything random (default: 0)"),
    ("--workers", "workers", int, "processes that read and prepare images (default: 0, none but the training)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    unset: Any = argparse.SUPPRESS
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="a folder of images with .gt.txt files beside them, or a .csv, .tsv, .jsonl or .parquet table",
    )
    parser.add_argument("--model", "-m", required=True, metavar="M", help="a checkpoint folder, or printed-line")
    parser.add_argument("--out", "-o", required=True, metavar="DIR", help="the training's folder; one in it goes on")

    group = parser.add_argument_group("data")
    held = group.add_mutually_exclusive_group()
    held.add_argument("--validate", nargs="+", metavar="DATA", help="a folder or table to validate on")
    held.add_argument(
        "--validation-share", type=float, default=unset, metavar="X", help="hold back such a share, 0 to 1"
    )
    group.add_argument("--image-column", default=unset, metavar="NAME", help="the table's column of images")
    group.add_argument("--text-column", default=unset, metavar="NAME", help="the table's column of texts")
    group.add_argument(
        "--on-problem",
        default=unset,
        choices=("raise", "skip"),
        help="what to do with missing texts, broken rows, unreadable images (default: raise)",
    )
    group.add_argument(
        "--on-long",
        default=unset,
        choices=("raise", "truncate", "skip"),
        help="what to do with texts that the decoder has no room for (default: raise)",
    )

    group = parser.add_argument_group("training")
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=float, default=unset, metavar="N", help="times each image is seen (default: 10)"
    )
    length.add_argument("--steps", type=int, default=unset, metavar="N", help="the same in steps")
    length.add_argument("--minutes", type=float, default=unset, metavar="N", help="the same in minutes of training")
    group.add_argument(
        "--decay", default=unset, choices=("cosine", "linear", "constant"), help="how the rate falls (default: cosine)"
    )
    for flag, name, kind, text in _NUMBERS:
        group.add_argument(flag, dest=name, type=kind, default=unset, metavar="N" if kind is int else "X", help=text)
    group.add_argument(
        "--optimizer",
        default=unset,
        choices=("adamw", "muon"),
        help="muon, for the layers' matrices, learns several times as fast from fresh weights (default: adamw)",
    )
    group.add_argument("--freeze", default=unset, choices=("encoder", "decoder"), help="keep that half as it is")
    group.add_argument("--bf16", action="store_true", default=unset, help="mixed precision")
    group.add_argument(
        "--gradient-checkpointing", action="store_true", default=unset, help="less memory, a third more time"
    )
    group.add_argument(
        "--keep-bos",
        action="store_true",
        default=unset,
        help="learn the tokenizer's bos token before each text, for models that were trained so",
    )

    group = parser.add_argument_group("machine")
    group.add_argument("--device", default=unset, help="such as cuda or cpu (default: a GPU if there is one)")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's own)")
    group.add_argument(
        "--accelerate", action="store_true", default=unset, help="several GPUs or machines, see `accelerate launch`"
    )
    group.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Train, and say what came of it; 130 if it was told to stop."""
    settings = dict(vars(options))
    for name in ("command", "data", "model", "out", "validate", "threads", "quiet"):
        settings.pop(name, None)
    if options.threads is not None and options.threads < 1:
        print(f"vision2seq: --threads is {options.threads}, expected a whole number from 1", file=sys.stderr)
        return 2

    import torch

    from vision2seq.training import finetune

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    try:
        result = finetune(
            options.model,
            options.data,
            options.out,
            validation=options.validate,
            say=lambda text: print(f"vision2seq: {text}", file=sys.stderr),
            hidden=True if options.quiet else None,
            **settings,
        )
    except KeyboardInterrupt:
        print("vision2seq: stopped; the same command goes on from the last state that was saved", file=sys.stderr)
        return 130
    if int(os.environ.get("RANK") or 0) > 0:  # one of several processes, the first of which speaks
        return 0
    why = {"length": "", "patience": ", as it no longer got better", "data": ", as there was no batch left"}
    print(f"{result.steps} steps in {result.minutes:.1f} minutes{why[result.ended]}: {result.folder / 'final'}")
    if result.best_step is not None:
        rates = result.best_scores
        print(
            f"best after step {result.best_step}, CER {100 * rates['cer']:.2f} %, WER {100 * rates['wer']:.2f} %, "
            f"{100 * rates['exact']:.1f} % of {rates['texts']:.0f} texts exact: {result.folder / 'best'}"
        )
    return 0
