"""Training: data sets of images and texts, a loop that can be killed and goes on, error rates, `finetune` of all that.

The names below are loaded when they are asked for, so that importing this costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vision2seq.training.collate import Collator
    from vision2seq.training.data import DataSet, Example, Problems, read_examples
    from vision2seq.training.finetuning import FinetuneSettings, finetune
    from vision2seq.training.loop import Trainer, TrainingResult
    from vision2seq.training.metrics import Scores, character_error_rate, edit_distance, score, word_error_rate
    from vision2seq.training.new import new_checkpoint
    from vision2seq.training.processes import Processes, processes_for
    from vision2seq.training.settings import TrainingSettings

_HOMES = {
    "Collator": "collate",
    "DataSet": "data",
    "Example": "data",
    "FinetuneSettings": "finetuning",
    "Problems": "data",
    "Processes": "processes",
    "Scores": "metrics",
    "Trainer": "loop",
    "TrainingResult": "loop",
    "TrainingSettings": "settings",
    "character_error_rate": "metrics",
    "edit_distance": "metrics",
    "finetune": "finetuning",
    "new_checkpoint": "new",
    "processes_for": "processes",
    "read_examples": "data",
    "score": "metrics",
    "word_error_rate": "metrics",
}

__all__ = [
    "Collator",
    "DataSet",
    "Example",
    "FinetuneSettings",
    "Problems",
    "Processes",
    "Scores",
    "Trainer",
    "TrainingResult",
    "TrainingSettings",
    "character_error_rate",
    "edit_distance",
    "finetune",
    "new_checkpoint",
    "processes_for",
    "read_examples",
    "score",
    "word_error_rate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        from vision2seq.errors import nearest

        raise AttributeError(f"module 'vision2seq.training' has no attribute {name!r}.{nearest(name, __all__)}")
    value = getattr(importlib.import_module(f"vision2seq.training.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
