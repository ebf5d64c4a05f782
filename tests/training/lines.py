"""Tiny data sets and trainings that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch
from torch import Tensor, nn

from vision2seq.training import Trainer, TrainingSettings

TEXTS = ("ab", "cd e", "fgh", "a", "bad cab", "deaf", "h", "gag")


def folder_of_lines(folder: Path, texts: tuple[str, ...] = TEXTS) -> Path:
    """Write a picture and its text for each of some texts."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        tiny.picture(number).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.gt.txt").write_text(text + "\n", encoding="utf-8")
    return folder


class Slope(nn.Module):
    """Something to train that takes no time, with dropout so that random numbers matter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.line = nn.Linear(4, 3)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.dropout(x))


def batches(step: int, size: int = 6) -> Any:
    """Batches without end, each the same whenever it is asked for; as many labels as the batch's number says."""
    while True:
        draw = torch.Generator().manual_seed(step)
        labels = torch.randint(0, 3, (size,), generator=draw)
        labels[: step % 3] = -100
        yield {"x": torch.randn(size, 4, generator=draw), "labels": labels}
        step += 1


def losses(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    logits = model(batch["x"])
    return {"loss": nn.functional.cross_entropy(logits, batch["labels"]), "size": logits.detach().square().mean()}


def trainer(folder: Path, *, module: nn.Module | None = None, give: Any = batches, **options: Any) -> Trainer:
    """A training of a `Slope`; options of `Trainer` and `TrainingSettings`, mixed."""
    own = ("validate", "export", "about", "best_by", "items")
    arguments = {name: options.pop(name) for name in own if name in options}
    settings = TrainingSettings(**{"steps": 12, "rate": 0.05, "log_every": 1, **options})
    return Trainer(module or Slope(), give, losses, folder, settings, hidden=True, **arguments)
