"""The entry: parse, import only the command that was asked for, turn errors into a line and a status."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from vision2seq import __version__
from vision2seq.errors import Vision2SeqError

# Each is a module with `add_arguments(parser)`, which imports nothing heavy, and `run(options) -> status`.
COMMANDS = {
    "convert": "make a standard checkpoint of any that can be read",
    "finetune": "train a model on images and their texts",
    "inspect": "say what a checkpoint is, and what is wrong with it",
    "new": "make a new model to train",
    "read": "read the text in images",
    "verify": "say what a lower precision changes in what a model reads",
}


def parser_for(commands: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; only the named commands bring their arguments."""
    parser = argparse.ArgumentParser(
        prog="vision2seq",
        description="Vision-to-text encoder-decoder models: read images, train, look into checkpoints.",
    )
    parser.add_argument("--version", action="version", version=f"vision2seq {__version__}")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = parsers.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name in commands:
            importlib.import_module(f"vision2seq.cli.{name}").add_arguments(command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Those after the program's name; None takes them from the process.

    Returns:
        0 if all went well, 1 if something failed, 2 if the call was wrong, 130 if interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    wanted = [word for word in given if word in COMMANDS][:1]
    options = parser_for(wanted).parse_args(given)
    command = importlib.import_module(f"vision2seq.cli.{options.command}")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a sign that the terminal lacks must not end the program
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = command.run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("vision2seq: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; what is left of it must not raise once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Vision2SeqError, OSError) as error:  # OSError: a full disk, say
        print(f"vision2seq: {error}", file=sys.stderr)
        return 1
