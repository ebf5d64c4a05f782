"""Trainer: the loop that changes weights. It knows no data and no family of models; both are functions given to it.

::

    batches(step) → batch, batch, …       where step is the first one that is still to be done
    losses(model, batch) → {"loss": …}    scalar tensors; "loss" is made smaller, the others are logged
    validate(model) → {"cer": …}          numbers, told of the averaged weights
    export(model, folder)                 writes a checkpoint

A step is: gradients of some batches, clipped, the optimisers, the average moved. What is random in it follows from the
seed and the step's number alone, whatever else has drawn random numbers before. So a training that was killed goes on
from its last saved state as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vision2seq.errors import OptionError, TrainingDataError, TrainingError
from vision2seq.models.vision_encoder_decoder import IGNORED_LABEL
from vision2seq.training.optimise import Average, optimizers_for, rate_at
from vision2seq.training.processes import Processes
from vision2seq.training.run import BEST, FINAL, RunFolder
from vision2seq.training.settings import TrainingSettings

Batches = Callable[[int], Iterator[Any]]
Losses = Callable[[nn.Module, Any], Mapping[str, Tensor]]
Validate = Callable[[nn.Module], Mapping[str, float]]
Export = Callable[[nn.Module, Path], None]


def count_labels(batch: Any) -> int:
    """Labels of a batch that count, which is what the loss of a sequence is the mean over."""
    return int((batch["labels"] != IGNORED_LABEL).sum())


@dataclass(frozen=True)
class TrainingResult:
    """What became of a training.

    Attributes:
        folder: Where everything lies.
        steps: Steps done.
        minutes: Minutes spent on them.
        ended: ``"length"``, ``"patience"`` or ``"data"`` (there was no batch left).
        scores: The last validation's.
        best_scores: The best validation's.
        best_step: The step after which it was made.
    """

    folder: Path
    steps: int
    minutes: float
    ended: str
    scores: dict[str, float] = field(default_factory=dict)
    best_scores: dict[str, float] = field(default_factory=dict)
    best_step: int | None = None


@dataclass
class _Progress:
    """What changes in a training besides tensors; part of the state that is saved."""

    step: int = 0
    seconds: float = 0.0
    waited: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    best_scores: dict[str, float] = field(default_factory=dict)
    best_step: int | None = None
    ended: str | None = None


class Trainer:
    """One training, from wherever its folder stands to its end.

    Args:
        model: What is trained: any module, such as a model with heads around it that are not kept.
        batches: Called with the number of steps done. Gives the batches from there on, always the same ones, each a
            dict; tensors in it are moved to the device. Several go into a step with ``accumulate``.
        losses: Called with the model, ready for several processes, and a batch. Each loss is a mean over the batch's
            items.
        folder: Where the training lies; see `RunFolder`.
        settings: How it goes.
        about: What else decides what is learned, as JSON values: a training goes on only if none of it has changed.
        items: How many items a batch's losses are the mean over. Batches of one step, in all processes, are weighed
            by it, so that the step is that of one large batch.
        validate: Called with the averaged model in evaluation mode.
        best_by: Which of its numbers is to be small.
        export: Called with the averaged model and ``best`` or ``final`` in the folder.
        processes: This process alone, on the CPU, if not given.
        hidden: Whether to show no progress bar; None shows one in a terminal.

    Raises:
        OptionError: No length, a folder that holds something else, or nothing to train.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        losses: Losses,
        folder: RunFolder | str | Path,
        settings: TrainingSettings,
        *,
        about: Mapping[str, Any] | None = None,
        items: Callable[[Any], int] = count_labels,
        validate: Validate | None = None,
        best_by: str = "cer",
        export: Export | None = None,
        processes: Processes | None = None,
        hidden: bool | None = None,
    ) -> None:
        if settings.steps is settings.minutes is None:
            raise OptionError("Neither steps nor minutes are given; expected one of them, the length of the training.")
        self.processes = processes or Processes()
        self.settings = settings
        if not isinstance(folder, RunFolder):
            folder = RunFolder(folder, {**settings.fixed(), **(about or {})}, writes=self.processes.is_main)
        self.folder = folder
        self.batches, self.losses, self.items = batches, losses, items
        self.validate, self.best_by, self.export = validate, best_by, export
        self.model = model.to(self.processes.device)
        self.average = Average(self.model, settings.average) if settings.average else None
        self.optimizers = optimizers_for(self.model, settings)
        self.hidden = hidden
        self._wrapped = self.processes.wrap(self.model)
        self._at = _Progress()
        self._sums: dict[str, Tensor] = {}
        self._rate, self._mark, self._agreed, self._logged = 0.0, 0.0, 0.0, (0, 0.0)
        self._asked_to_end = False

    @property
    def averaged(self) -> nn.Module:
        """The weights that are validated and kept."""
        return self.model if self.average is None else self.average.model

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1, for what goes along with it."""
        return min(1.0, self._done / self.settings.length)

    def run(self) -> TrainingResult:
        """Train to the end, or until a signal (interrupt, termination) asks to stop: the state is saved then.

        Raises:
            TrainingError: The loss is no finite number any more, or the saved state cannot be used.
            TrainingDataError: A batch that holds nothing to learn from.
            KeyboardInterrupt: A signal asked to stop; the same call goes on later.
        """
        at = self._at
        self._restore()
        if at.ended is None:
            with self._signals(), self._bar() as bar:
                ended = self._train(bar)
            if self.export is not None and self.processes.is_main:
                self.export(self.averaged.eval(), self.folder.path / FINAL)
            at.ended = ended
            self._save()
            self.processes.wait()
        assert at.ended is not None
        return TrainingResult(
            self.folder.path, at.step, at.seconds / 60, at.ended, at.scores, at.best_scores, at.best_step
        )

    def _train(self, bar: Any) -> str:
        """The loop; returns why it ended."""
        settings, at = self.settings, self._at
        every = settings.validate_every or settings.length / 20
        if settings.minutes is None:
            every = max(1, round(every))
        stream = iter(self.batches(at.step))
        self._wrapped.train()
        self._mark = time.perf_counter()
        self._logged = (at.step, at.seconds)
        ended = "length" if self._done >= settings.length else None
        while ended is None:
            before = self._done
            group = list(itertools.islice(stream, settings.accumulate))
            self._lap()
            items = [self.items(batch) for batch in group]
            # One sum a step: all processes have to agree on where they are, also by the clock.
            here = (sum(items), len(group), self._asked_to_end, at.seconds if self.processes.is_main else 0.0)
            total, batches, asked, at.seconds = self.processes.sum([float(number) for number in here])
            self._agreed = at.seconds
            if not batches or (self.processes.count > 1 and batches < settings.accumulate * self.processes.count):
                ended = "data"
            else:
                self._step(group, items, total)
                if at.step % settings.log_every == 0:
                    self._log(bar)
                bar.update(self._done - before)
                if self._done >= settings.length:
                    ended = "length"
            if ended and self._sums:
                self._log(bar)
            if ended or _passed(before, self._done, every):
                ended = self._validated(bar) or ended
                if ended is None:
                    self._save()
            elif settings.save_every and _passed(before, self._done, settings.save_every):
                self._save()
            if asked and ended is None:
                self._save()
                raise KeyboardInterrupt
            self._mark = time.perf_counter()  # what was done since the step is no training
        return ended

    def _step(self, group: list[Any], items: list[int], total: float) -> None:
        """Change the weights once.

        Args:
            group: This process's batches.
            items: How many items each has.
            total: Items in all processes' batches.
        """
        settings, at, last = self.settings, self._at, len(group) - 1
        progress = (at.step + 0.5) / settings.steps if settings.steps else self._done / settings.length
        height = rate_at(min(1.0, progress), warmup=settings.warmup, decay=settings.decay)
        self._rate = settings.rate * height
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for options in optimizer.param_groups:
                options["lr"] = options["peak"] * height
        _seed(f"{settings.seed}/{at.step}/{self.processes.index}")
        for index, (batch, count) in enumerate(zip(group, items, strict=True)):
            if count == 0:
                raise TrainingDataError(
                    f"A batch of step {at.step} holds nothing to learn from: none of its labels counts. Expected at "
                    "least one; look at what `batches` gives."
                )
            share = count / total
            with contextlib.nullcontext() if index == last else self.processes.alone(self._wrapped):
                with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=settings.bf16):
                    losses = self.losses(self._wrapped, _moved(batch, self.processes.device))
                if "loss" not in losses:
                    raise OptionError(f"losses gave {', '.join(losses) or 'nothing'}; expected a 'loss' among them.")
                # Gradients are averaged over the processes afterwards, and here they are to be summed.
                self.processes.backward(losses["loss"] * (share * self.processes.count))
            for name, value in losses.items():
                self._add(name, value.detach().float() * share)
        parameters = [each for each in self.model.parameters() if each.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, settings.clip or math.inf)
        self._add("gradient_norm", norm / self.processes.count)
        for optimizer in self.optimizers:
            optimizer.step()
        at.step += 1
        if self.average is not None:
            self.average.update(self.model, at.step)
        self._lap()

    @property
    def _done(self) -> float:
        """Steps or minutes so far, the latter as of when the processes last agreed on them."""
        return self._agreed / 60 if self.settings.steps is None else self._at.step

    def _lap(self) -> None:
        now = time.perf_counter()
        self._at.seconds += now - self._mark
        self._mark = now

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def _means(self) -> dict[str, float]:
        """What was added up since the last line of the log, as means over the steps and processes.

        Raises:
            TrainingError: A loss, or the gradient, is not finite.
        """
        at, names = self._at, list(self._sums)
        steps = (at.step - 1) % self.settings.log_every + 1
        sums = self.processes.sum([float(self._sums[name]) for name in names])
        means = {name: value / steps for name, value in zip(names, sums, strict=True)}
        for name, value in means.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name.replace('_', ' ')} is {value} in the {steps} steps up to {at.step}, at a learning rate of "
                    f"{self._rate:.3g}: the training has gone astray. Lower the rate, warm up for longer, or clip "
                    "gradients; the last state that was saved is from before."
                )
        return means

    def _log(self, bar: Any) -> None:
        at = self._at
        means = self._means()
        self._sums.clear()
        steps, seconds = at.step - self._logged[0], at.seconds - self._logged[1]
        self._logged = (at.step, at.seconds)
        speed = steps / max(seconds, 1e-9)
        record = {"kind": "training", "step": at.step, "minutes": round(at.seconds / 60, 3), "rate": self._rate}
        self.folder.log({**record, **means, "steps_per_second": round(speed, 3)})
        shown = {"loss": f"{means['loss']:.3f}", "rate": f"{self._rate:.2g}"}
        if self.settings.steps is None:  # otherwise the bar counts steps and shows how fast they are
            shown["steps/s"] = f"{speed:.3g}"
        if self.best_by in at.scores:
            shown[self.best_by] = f"{at.scores[self.best_by]:.4f}"
        bar.set_postfix(shown, refresh=False)

    def _validated(self, bar: Any) -> str | None:
        """Validate; returns "patience" if that has run out."""
        at = self._at
        if self.validate is None:
            return None
        began = time.perf_counter()
        at.scores = {name: float(value) for name, value in self.validate(self.averaged.eval()).items()}
        self._wrapped.train()
        if self.best_by not in at.scores:
            raise OptionError(
                f"validate gave {', '.join(at.scores) or 'nothing'}; expected {self.best_by!r} among them, by which "
                "the best is known. Name another number as best_by."
            )
        better = at.best_step is None or at.scores[self.best_by] < at.best_scores[self.best_by]
        at.waited = 0 if better else at.waited + 1
        if better:
            at.best_scores, at.best_step = at.scores, at.step
            if self.export is not None and self.processes.is_main:
                self.export(self.averaged.eval(), self.folder.path / BEST)
                self._wrapped.train()
        record = {"kind": "validation", "step": at.step, "minutes": round(at.seconds / 60, 3), **at.scores}
        self.folder.log({**record, "best": better, "seconds": round(time.perf_counter() - began, 3)})
        if not bar.disable:
            told = ", ".join(f"{name} {value:.4g}" for name, value in at.scores.items())
            bar.write(f"step {at.step}: {told}{' (the best so far)' if better else ''}", file=sys.stderr)
        self.processes.wait()
        return "patience" if self.settings.patience is not None and at.waited >= self.settings.patience else None

    def _save(self) -> None:
        sums = self._sums
        if sums:
            means = self._means()  # also, weights that are no numbers must not replace good ones
            if self.processes.count > 1:  # on the way back, each process takes up an equal part
                steps = (self._at.step - 1) % self.settings.log_every + 1
                sums = {name: torch.tensor(value * steps / self.processes.count) for name, value in means.items()}
        self.folder.save(
            {
                "progress": asdict(self._at),
                "log_size": self.folder.log_size,
                "sums": sums,
                "model": self.model.state_dict(),
                "average": None if self.average is None else self.average.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            }
        )

    def _restore(self) -> None:
        """Take up the saved state; a folder without one is begun anew."""
        state = self.folder.load()
        self.folder.cut_log(0 if state is None else state["log_size"])
        if state is None:
            return
        try:
            self.model.load_state_dict(state["model"])
            if self.average is not None:
                self.average.model.load_state_dict(state["average"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (RuntimeError, ValueError) as error:
            found = " ".join(str(error).split())
            raise TrainingError(
                f"The state in {self.folder.path} does not fit this model ({found}). Train in another folder, or "
                "remove this one."
            ) from None
        for name, value in state["progress"].items():
            setattr(self._at, name, value)
        self._agreed = self._at.seconds
        self._sums = {name: value.to(self.processes.device) for name, value in state["sums"].items()}

    def _bar(self) -> Any:
        """The progress bar: in steps with their rate and the time left, or in minutes."""
        hidden = self.hidden if self.processes.is_main else True
        settings = self.settings
        if settings.steps is not None:
            return tqdm(total=settings.steps, initial=self._at.step, unit="step", disable=hidden, dynamic_ncols=True)
        return tqdm(
            total=settings.minutes,
            initial=min(self._done, settings.length),
            bar_format="{l_bar}{bar}| {n:.1f} of {total:g} min{postfix}",
            disable=hidden,
            dynamic_ncols=True,
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Within this, an interrupt or a termination ends the training after the step; a second one at once."""

        def ask(number: int, frame: Any) -> None:
            if self._asked_to_end:
                raise KeyboardInterrupt
            self._asked_to_end = True

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _passed(before: float, now: float, every: float) -> bool:
    """Whether a multiple of ``every`` lies between two points, the second included."""
    return math.floor(now / every + 1e-9) > math.floor(before / every + 1e-9)


def _seed(text: str) -> None:
    """Seed everything that draws random numbers."""
    number = random.Random(text).getrandbits(32)
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def _moved(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on the device."""
    if isinstance(batch, Mapping):
        return {name: _moved(value, device) for name, value in batch.items()}
    return batch.to(device, non_blocking=True) if isinstance(batch, Tensor) else batch
