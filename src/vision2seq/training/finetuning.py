"""finetune: a checkpoint, images and texts in, a better checkpoint out. The command line stands on it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vision2seq.auto import AutoModelForVision2Seq, AutoProcessor
from vision2seq.errors import ImageError, OptionError, TrainingDataError
from vision2seq.processing.image.read import load_image
from vision2seq.reader import Reader
from vision2seq.training.collate import LONG, Collator, make_room, prepare_ids
from vision2seq.training.data import TOO_LONG, UNREADABLE_IMAGE, DataSet, Example, Problems, read_examples
from vision2seq.training.loop import Trainer, TrainingResult
from vision2seq.training.metrics import score
from vision2seq.training.processes import Processes, processes_for
from vision2seq.training.run import RunFolder
from vision2seq.training.settings import TrainingSettings

Source = str | os.PathLike[str]
Say = Callable[[str], None]
_CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(TrainingSettings):
    """Those of a training, and what concerns images, texts and the model.

    Attributes:
        epochs: How many times each example is seen, instead of steps; 10 if no length is given.
        batch_size: Images that go through the model together, in each process.
        image_column: See `read_examples`.
        text_column: Likewise.
        on_problem: Likewise; images that cannot be read are found when they are needed, and treated alike.
        on_long: With texts of more tokens than the decoder has room for: ``"raise"``, ``"truncate"`` or ``"skip"``.
        validation_share: Share of the examples to hold back and validate on.
        label_smoothing: Share of the probability spread over all tokens.
        freeze: ``"encoder"`` or ``"decoder"``, which stays as it is.
        freeze_layers: How many layers of the encoder stay as they are, from the embeddings on.
        gradient_checkpointing: Compute layers twice rather than keep what is inside them.
        keep_bos: See `Collator.of`.
        workers: Processes that read and prepare images; with 0 the training does it itself.
        device: Such as ``"cuda"``; a GPU if there is one.
        accelerate: Use `accelerate` for several GPUs or machines; it is also used if it started this process.
    """

    epochs: float | None = None
    batch_size: int = 8
    image_column: str | None = None
    text_column: str | None = None
    on_problem: str = "raise"
    on_long: str = "raise"
    validation_share: float | None = None
    label_smoothing: float = 0.0
    freeze: str | None = None
    freeze_layers: int = 0
    gradient_checkpointing: bool = False
    keep_bos: bool = False
    workers: int = 0
    device: str | None = None
    accelerate: bool = False

    free: ClassVar[frozenset[str]] = TrainingSettings.free | {"workers", "device", "accelerate"}

    def conflicts(self) -> Iterator[tuple[bool, str]]:
        s = self
        yield from super().conflicts()
        yield (
            s.epochs is not None and not (s.steps is s.minutes is None),
            "epochs are given along with steps or minutes; expected one of the three.",
        )
        yield s.epochs is not None and not 0 < s.epochs < math.inf, f"epochs are {s.epochs!r}, expected above 0."
        for name, least in (("batch_size", 1), ("freeze_layers", 0), ("workers", 0)):
            value = getattr(s, name)
            yield (
                not isinstance(value, int) or value < least,
                f"{name} is {value!r}, expected a whole number from {least}.",
            )
        yield s.on_long not in LONG, f"on_long is {s.on_long!r}, expected one of {', '.join(map(repr, LONG))}."
        yield (
            s.freeze not in (None, "encoder", "decoder"),
            f"freeze is {s.freeze!r}, expected 'encoder', 'decoder' or None.",
        )
        yield not 0 <= s.label_smoothing < 1, f"label_smoothing is {s.label_smoothing!r}, expected from 0 to below 1."


def finetune(
    model: Source,
    data: Source | Iterable[Source] | DataSet,
    out: Source,
    *,
    validation: Source | Iterable[Source] | DataSet | None = None,
    say: Say | None = None,
    hidden: bool | None = None,
    **settings: Any,
) -> TrainingResult:
    """Train a model on images and their texts, or go on with a training that was stopped.

    Args:
        model: A checkpoint folder, or the name of a bundled model.
        data: A folder or table, or several, see `read_examples`; or examples that were found in another way.
        out: The training's folder. If it holds one with the same settings, that one goes on. In the end ``final`` in
            it is the checkpoint with the averaged weights, and ``best`` that of the validation with the lowest CER.
        validation: What to validate on, as ``data``; or see ``validation_share``.
        say: Called with lines about the data set; warnings are given if it is not there.
        hidden: Whether to show no progress bar; None shows one in a terminal.
        settings: Those of `FinetuneSettings`.

    Returns:
        What became of it.

    Raises:
        OptionError: A setting that cannot be honoured; a folder that holds something else.
        TrainingDataError: Examples that cannot be used.
        TrainingError: The loss is no number any more.
        CheckpointNotFoundError: No such model or data.
        MissingPackageError: An optional package is not there.
    """
    wanted: FinetuneSettings = FinetuneSettings.of(settings)
    if validation is not None and wanted.validation_share is not None:
        raise OptionError("Both a validation set and a share to hold back are given; expected one of them.")
    if wanted.patience is not None and validation is None and wanted.validation_share is None:
        raise OptionError("patience needs something to validate on: give validation or validation_share.")
    processes = processes_for(wanted.device, accelerate=wanted.accelerate)
    say = _silent if not processes.is_main else say or _warn
    training = _examples(data, wanted)
    held = DataSet() if validation is None else _examples(validation, wanted)
    if wanted.validation_share is not None:
        training, held = training.split(wanted.validation_share, wanted.seed)
    held = _readable(held, wanted.on_problem)
    for kind, examples in (("training", training), ("validation", held)):
        if examples.problems:
            say(f"left out of the {kind} set: {examples.problems}")

    about: dict[str, Any] = {"model": str(model), "data": training.digest(), "processes": processes.count}
    about["validation"] = held.digest() if held else None
    folder = RunFolder(out, {**wanted.fixed(), **about}, writes=processes.is_main)
    trainee = AutoModelForVision2Seq.from_pretrained(model, dtype="float32")
    processor = AutoProcessor.from_pretrained(model)
    prepare_ids(trainee, processor.tokenizer)
    collator = Collator.of(trainee, processor, keep_bos=wanted.keep_bos)
    training, longest = _fitting(training, collator, wanted.on_long, say)
    if make_room(trainee, longest):
        say(f"the model may write texts of {longest} tokens now, as the longest one of the training set has")
    _freeze(trainee, wanted)
    if wanted.gradient_checkpointing:
        trainee.gradient_checkpointing_enable()
    wanted = _with_steps(wanted, len(training), processes.count)
    feed = _Feed(training, collator, wanted, processes, say)

    def losses(wrapped: nn.Module, batch: Any) -> dict[str, Tensor]:
        output = wrapped(**batch, use_cache=False, label_smoothing=wanted.label_smoothing)
        return {"loss": output.loss}

    def validate(averaged: nn.Module) -> dict[str, float]:
        return _scores(averaged, processor, held, wanted, processes)

    def export(averaged: Any, place: Path) -> None:
        processor.save_pretrained(place)
        averaged.save_pretrained(place)

    trainer = Trainer(
        trainee,
        feed.batches,
        losses,
        folder,
        wanted,
        validate=validate if held else None,
        export=export,
        processes=processes,
        hidden=hidden,
    )
    result = trainer.run()
    if feed.problems:
        say(f"left out while training: {feed.problems}")
    return result


def _examples(data: Source | Iterable[Source] | DataSet, settings: FinetuneSettings) -> DataSet:
    if not isinstance(data, DataSet):
        return read_examples(
            data,
            image_column=settings.image_column,
            text_column=settings.text_column,
            on_problem=settings.on_problem,
        )
    if not data:
        raise TrainingDataError("The data set holds no examples. Expected at least one.")
    return data


def _warn(text: str) -> None:
    warnings.warn(text[0].upper() + text[1:] + ".", UserWarning, stacklevel=3)


def _silent(text: str) -> None:
    """Only the main process speaks."""


def _with_steps(settings: FinetuneSettings, examples: int, processes: int) -> FinetuneSettings:
    """Epochs as steps."""
    if settings.steps is not None or settings.minutes is not None:
        return settings
    each = settings.batch_size * settings.accumulate * processes
    steps = max(1, math.ceil((settings.epochs or 10) * examples / each))
    return dataclasses.replace(settings, steps=steps, epochs=None)


def _fitting(data: DataSet, collator: Collator, on_long: str, say: Say) -> tuple[DataSet, int]:
    """What is left when texts that are too long were dealt with, and the labels of the longest one, cut or not."""
    lengths: list[int] = []
    for start in range(0, len(data), _CHUNK):
        lengths += [len(row) for row in collator.spell([each.text for each in data[start : start + _CHUNK]])]
    problems = Problems()
    for each, length in zip(data, lengths, strict=True):
        if length > collator.longest:
            problems.add(TOO_LONG, each.place, f"{length} tokens, the end token included")
    if problems and on_long == "raise":
        raise TrainingDataError(
            f"{problems}. Expected at most {collator.longest} tokens, which the decoder has room for. Shorten the "
            "texts, cut them with on_long='truncate' (--on-long truncate), or leave them out with 'skip'."
        )
    if problems:
        say(f"{'cut' if on_long == 'truncate' else 'left out of the training set'}: {problems}")
    if on_long == "skip":
        kept = [each for each, length in zip(data, lengths, strict=True) if length <= collator.longest]
        if not kept:
            raise TrainingDataError(f"There are no examples but {problems}. Expected shorter texts.")
        data, lengths = DataSet(kept), [length for length in lengths if length <= collator.longest]
    unknown = collator.tokenizer.unk_token_id
    signs = sorted({sign for each in data for sign in each.text}) if unknown is not None else []
    lacking = [sign for sign, row in zip(signs, collator.spell(signs), strict=True) if unknown in row]
    if lacking:
        some = " ".join(map(repr, lacking[:20])) + (" …" if len(lacking) > 20 else "")
        say(f"the tokenizer lacks {len(lacking)} of the texts' characters, which the model cannot learn: {some}")
    return data, min(collator.longest, max(lengths))


def _readable(data: DataSet, on_problem: str) -> DataSet:
    """The validation set without images that cannot be read: better now than at the first validation.

    Raises:
        TrainingDataError: There are some, if that is not to be skipped; or no others.
    """
    kept, problems = [], Problems()
    for example in data:
        try:
            load_image(example.image)
        except (ImageError, OSError) as error:
            problems.add(UNREADABLE_IMAGE, example.place, str(error))
        else:
            kept.append(example)
    if problems and (on_problem == "raise" or not kept):
        raise TrainingDataError(
            f"{len(problems)} of the {len(data)} validation images cannot be read: {problems}. Repair them, or go on "
            "without them with on_problem='skip' (--on-problem skip)."
        )
    problems.merge(data.problems)
    return DataSet(kept, problems)


def _freeze(model: Any, settings: FinetuneSettings) -> None:
    """Take parameters out of the training."""
    if settings.freeze is not None:
        getattr(model, settings.freeze).requires_grad_(False)
    if not settings.freeze_layers:
        return
    stacks = [list(module) for module in model.encoder.modules() if isinstance(module, nn.ModuleList)]
    layers = max(stacks, key=len, default=[])
    if settings.freeze_layers > len(layers):
        raise OptionError(
            f"freeze_layers is {settings.freeze_layers}, but the encoder has {len(layers)} layers; expected at most "
            "that many. freeze='encoder' freezes all of it."
        )
    inside = {id(each) for layer in layers for each in layer.parameters()}
    # What comes before the first layer in the order of the parameters are the embeddings.
    for parameter in itertools.takewhile(lambda each: id(each) not in inside, model.encoder.parameters()):
        parameter.requires_grad_(False)
    for layer in itertools.islice(layers, settings.freeze_layers):
        layer.requires_grad_(False)


Unreadable = list[tuple[str, str]]
"""Places of images that could not be read, and what was found there."""
Item = tuple[np.ndarray[Any, Any] | None, list[int], Unreadable]
"""Pixels, if there are any that can be read, labels, and what could not be read before."""


class _Prepared(Dataset[Item]):
    """The examples, prepared when asked for."""

    def __init__(self, examples: Sequence[Example], collator: Collator) -> None:
        self.examples, self.collator = examples, collator

    def __getitem__(self, index: int) -> Item:
        """One example; the next one in its place where its image cannot be read, so that batches keep their size."""
        unreadable: Unreadable = []
        for further in range(len(self.examples)):
            example = self.examples[(index + further) % len(self.examples)]
            try:
                pixels = self.collator.pixels(example.image)
            except (ImageError, OSError) as error:
                unreadable.append((example.place, str(error)))
                continue
            return pixels, self.collator.labels(example.text), unreadable
        return None, [], unreadable


class _Order:
    """Which examples each batch of this process holds, without end, from some step on.

    Epoch after epoch, each in an order of its own that follows from the seed, is one long row of examples; steps,
    batches and processes cut it up.
    """

    def __init__(self, count: int, settings: FinetuneSettings, processes: Processes, step: int) -> None:
        self.count, self.settings, self.processes, self.step = count, settings, processes, step

    def __iter__(self) -> Iterator[list[int]]:
        size, accumulate, processes = self.settings.batch_size, self.settings.accumulate, self.processes
        for batch in itertools.count(self.step * accumulate):
            start = (batch * processes.count + processes.index) * size
            yield [self._at(position) for position in range(start, start + size)]

    def _at(self, position: int) -> int:
        return int(_shuffled(self.count, self.settings.seed, position // self.count)[position % self.count])


@functools.lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng([abs(seed), int(seed < 0), epoch]).permutation(count)


def _together(collator: Collator, items: list[Item]) -> tuple[dict[str, Tensor] | TrainingDataError, Unreadable]:
    """A batch, or what is wrong with it: raised in another process, an error would lose its wording."""
    unreadable = [each for _, _, several in items for each in several]
    rows = [(pixels, labels) for pixels, labels, _ in items if pixels is not None]
    if not rows:
        return TrainingDataError("None of the images can be read. Expected image files."), unreadable
    try:
        return collator(rows), unreadable
    except TrainingDataError as error:
        return error, unreadable


def _start_worker(index: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training decides when it ends
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not survive the making of a process


class _Feed:
    """Gives the loop its batches, and keeps account of images that could not be read."""

    def __init__(
        self, data: DataSet, collator: Collator, settings: FinetuneSettings, processes: Processes, say: Say
    ) -> None:
        self.data, self.collator, self.settings, self.processes, self.say = data, collator, settings, processes, say
        self.problems = Problems()
        self._told: set[str] = set()

    def batches(self, step: int) -> Iterator[dict[str, Tensor]]:
        """From a step on, without end.

        Raises:
            TrainingDataError: An image cannot be read, if that is not to be skipped; or none can.
        """
        loader: Any = DataLoader(
            _Prepared(self.data.examples, self.collator),
            batch_sampler=_Order(len(self.data), self.settings, self.processes, step),
            collate_fn=functools.partial(_together, self.collator),
            num_workers=self.settings.workers,
            worker_init_fn=_start_worker,
            pin_memory=self.processes.device.type == "cuda",
            # Of its own, so that the training's random numbers are not touched.
            generator=torch.Generator().manual_seed(0),
        )
        for batch, unreadable in loader:
            for place, found in unreadable:
                if self.settings.on_problem == "raise":
                    raise TrainingDataError(
                        f"{place}: {found} Repair it, or go on without it with on_problem='skip' (--on-problem skip)."
                    )
                if place not in self._told:
                    self._told.add(place)
                    self.problems.add(UNREADABLE_IMAGE, place, found)
            if isinstance(batch, TrainingDataError):
                raise TrainingDataError(f"{batch}{f' {self.problems}.' if self.problems else ''}")
            yield batch


def _scores(
    model: Any, processor: Any, data: DataSet, settings: FinetuneSettings, processes: Processes
) -> dict[str, float]:
    """Read the validation set greedily, each process a part of it, and compare.

    Raises:
        TrainingDataError: An image cannot be read, though it could before, or is of a size that the model cannot take.
    """
    own = data.examples[processes.index :: processes.count]
    reader = Reader(model, processor, batch_size=settings.batch_size, num_beams=1)
    answers: list[tuple[str, str, str | None]] = []
    if own:
        for example, reading in zip(own, reader.read([each.image for each in own]), strict=True):
            error = None if reading.error is None else f"{example.place}: {reading.error}"
            answers.append((reading.text, example.text, error))
    answers = processes.gather(answers)
    failed = [error for _, _, error in answers if error is not None]
    if failed:
        raise TrainingDataError(f"{len(failed)} of the {len(answers)} validation images cannot be read: {failed[0]}")
    return score([text for text, _, _ in answers], [expected for _, expected, _ in answers]).to_dict()
