"""The folder of a training: what it was asked for, its state, its log.

::

    run.json     the settings, by which it is known whether a training can go on
    last.pt      the whole state, replaced in one go
    log.jsonl    one line for some steps, one for each validation
    best/ final/ checkpoints
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vision2seq.configuration.base import read_json, write_json
from vision2seq.errors import OptionError, TrainingError

SETTINGS, STATE, LOG = "run.json", "last.pt", "log.jsonl"
BEST, FINAL = "best", "final"
_FORMAT = 1


class RunFolder:
    """The folder of one training.

    Args:
        folder: Made if it is not there.
        settings: What decides what is learned, as JSON values.
        writes: Whether this process writes there.

    Raises:
        OptionError: The folder holds something else, or a training with other settings; the message says which.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any], *, writes: bool = True) -> None:
        self.path = Path(folder)
        self.writes = writes
        settings = json.loads(json.dumps(settings))
        if self.path.exists() and not self.path.is_dir():
            raise OptionError(f"{self.path} is a file, expected the folder of a training.")
        there = sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []
        # While the main process writes the settings, others may look and see only what is to become of them.
        there = [name for name in there if not name.startswith(f".{SETTINGS}.")]
        if there and SETTINGS not in there:
            raise OptionError(
                f"{self.path} is not empty and holds no training: {SETTINGS} is missing, found {', '.join(there[:5])}. "
                "Name another folder, so that nothing in this one is overwritten."
            )
        if STATE in there:
            found = read_json(self.path / SETTINGS)
            names = [name for name in {**found, **settings} if found.get(name) != settings.get(name)]
            if names:
                changes = "; ".join(f"{each} was {found.get(each)!r}, is {settings.get(each)!r}" for each in names)
                raise OptionError(
                    f"{self.path} holds a training with other settings: {changes}. It goes on with the same ones only; "
                    "name another folder for a new training, or remove this one."
                )
        elif writes:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.path / SETTINGS, settings)

    def load(self) -> dict[str, Any] | None:
        """The state to go on from, or None where there is none yet.

        Raises:
            TrainingError: The file cannot be read.
        """
        path = self.path / STATE
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises several kinds for a damaged file
            raise TrainingError(
                f"{path} cannot be read ({type(error).__name__}: {error}). Remove it to train anew; {BEST}/ beside it "
                "holds the best weights so far."
            ) from None
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise TrainingError(
                f"{path} is no state of a training that this release knows. Remove it to train anew, or go on with the "
                "release that wrote it."
            )
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state: whoever is killed in the middle of it finds the one before."""
        if not self.writes:
            return
        staged = self.path / f".{STATE}.part"
        with staged.open("wb") as file:
            torch.save({**state, "format": _FORMAT}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, self.path / STATE)

    def log(self, record: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        if self.writes:
            with (self.path / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    @property
    def log_size(self) -> int:
        """Bytes in the log."""
        path = self.path / LOG
        return path.stat().st_size if path.exists() else 0

    def cut_log(self, size: int) -> None:
        """Drop the lines after the state that a training goes on from; they come again."""
        if self.writes:
            with contextlib.suppress(FileNotFoundError):
                os.truncate(self.path / LOG, min(size, self.log_size))
