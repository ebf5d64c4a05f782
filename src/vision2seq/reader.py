"""Reader: images in, readings out. The run lane spelled once; the command line stands on it.

An image that cannot be read becomes a failed `Reading`, and the rest go on.
"""

from __future__ import annotations

import copy
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from vision2seq import hub, presets, tasks
from vision2seq.auto import AutoModelForVision2Seq, AutoProcessor
from vision2seq.composing import Answer, Composer, failed
from vision2seq.errors import ImageError, MissingPackageError, OptionError, UnsupportedError
from vision2seq.generation import Choices, Constraint, Pattern, Schema, iterate
from vision2seq.generation.continuous import Row
from vision2seq.locate import check_locatable, locate_tokens
from vision2seq.processing.image.geometry import Geometry
from vision2seq.processing.image.pages import DPI, FIRST, Page, chosen, expand, is_one
from vision2seq.processing.image.read import is_array, load_image
from vision2seq.processing.text.streaming import IncrementalDecoder
from vision2seq.reading import Reading

DEFAULT_MODEL = "printed-line"
_OWN_OPTIONS = ("max_pixels", "allow_url")


@dataclass(frozen=True, slots=True)
class _Call:
    """What one call of `Reader.read` asks for: about loading, where texts stand, generation, and the task."""

    loading: dict[str, Any]
    locate: bool
    options: dict[str, Any]
    asked: tasks.Asked | None

    @property
    def constraint(self) -> Constraint | None:
        """What the texts have to be."""
        return self.options.get("constraint")


class _Feed:
    """Images one by one, ready for the model, with their numbers; what cannot be read is noted and passed over."""

    def __init__(self, reader: Reader, sources: Iterator[Any], call: _Call) -> None:
        self._reader, self._given, self._call = reader, sources, call
        self.sources: dict[int, Any] = {}
        self.errors: dict[int, str] = {}

    def __iter__(self) -> Iterator[tuple[int, torch.Tensor]]:
        for number, source in enumerate(self._given):
            self.sources[number] = source
            try:
                _, pixels = self._reader._prepared(source, self._call)
            except (ImageError, MissingPackageError, OSError) as error:
                self.errors[number] = str(error)
                continue
            yield number, pixels


class Reader:
    """A model and its processor, ready to read.

    Args:
        model: A `VisionEncoderDecoderModel`; None loads the bundled one, for printed lines of English.
        processor: What prepares its images and decodes its ids; None loads the bundled one.
        batch_size: Images that go through the model together.
        task: What a model with several tasks is asked unless a call says, such as ``"docvqa"``; see `tasks`.
        preset: What is done with texts besides, such as ``"manga-ocr"``; see `presets`.
        options: Options of generation for every call, such as ``num_beams=4``.

    Raises:
        OptionError: Only one of model and processor; an unknown preset.
    """

    def __init__(
        self,
        model: Any = None,
        processor: Any = None,
        *,
        batch_size: int = 8,
        task: str | None = None,
        preset: str | None = None,
        **options: Any,
    ) -> None:
        if (model is None) != (processor is None):
            missing = "processor" if processor is None else "model"
            raise OptionError(
                f"A Reader needs a model and its processor, or neither for the bundled ones; no {missing}."
            )
        if model is None:
            model = AutoModelForVision2Seq.from_pretrained(DEFAULT_MODEL)
            processor = AutoProcessor.from_pretrained(DEFAULT_MODEL)
        self.model = model
        self.processor = processor
        self.task = task
        self.preset = None if preset is None else presets.named(preset)
        self.batch_size = _checked_count("batch_size", batch_size)
        self.options = options
        self._kept: tuple[Any, Composer] | None = None
        self._constraint: tuple[Any, Constraint] | None = None  # the latest, with what it has worked out

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        batch_size: int = 8,
        device: Any = None,
        dtype: Any = None,
        precision: str | None = None,
        trust_remote_code: bool = False,
        task: str | None = None,
        preset: str | None = None,
        **options: Any,
    ) -> Reader:
        """Load a model and its processor from one place.

        Args:
            name_or_path: A folder, the name of a bundled model, or a name on the hub.
            batch_size: Images that go through the model together.
            device: Such as ``"cuda"``; the CPU if not given.
            dtype: Such as ``"bfloat16"``; float32 if not given.
            precision: What weights are kept in on the CPU, instead of a dtype: ``"fp32"``, ``"bf16"``, ``"int8"`` or
                ``"auto"``; see `vision2seq.engine.precision`.
            trust_remote_code: Whether code that the checkpoint brings along may be run.
            task: What a model with several tasks is asked unless a call says, such as ``"docvqa"``. None is the one
                that the checkpoint was made for, if that shows; ``"none"`` is none.
            preset: What its own package does to images and texts, such as ``"texteller"``. None is what its files give
                away; ``"none"`` is none.
            options: Those of `hub.Options`, such as ``revision``; options of generation for every call.
        """
        source = hub.find(name_or_path, options)
        trust = {"trust_remote_code": trust_remote_code}
        chosen = presets.find(source, preset)
        model = AutoModelForVision2Seq.from_pretrained(source, device=device, dtype=dtype, precision=precision, **trust)
        processor = (AutoProcessor.from_pretrained if chosen is None else chosen.processor)(source, **trust)
        name = None if chosen is None else chosen.name
        return cls(model, processor, batch_size=batch_size, task=task, preset=name, **options)

    def read(
        self,
        images: Any,
        *,
        batch_size: int | None = None,
        locate: bool = False,
        alternatives: int | None = None,
        task: str | None = None,
        question: str | None = None,
        choices: Iterable[str] | None = None,
        pattern: Any = None,
        schema: Any = None,
        pages: Any = None,
        dpi: float = DPI,
        **options: Any,
    ) -> Iterator[Reading]:
        """Read one image or many, lazily and in order.

        Args:
            images: A path, bytes, file object, Pillow image, array (H, W), (H, W, C) or (C, H, W), or tensor; or an
                iterable of these, which is consumed as there are places. A PDF, or a TIFF of several pictures, is read
                page by page; ``"doc.pdf#3"`` is a page of it, ``"doc.pdf#2-5,7"`` are some.
            batch_size: Instead of the reader's own. A text that has ended gives its place to the next image at once,
                where generation is greedy and the decoder has compiled steps; else images go batch by batch.
            locate: Tell where in the image each token and word was read from: see `vision2seq.locate`. Costs another
                pass of the decoder over the text.
            alternatives: How many of the likeliest texts to tell, the best included. They come from beam search with
                at least as many beams, or from sampling where ``do_sample`` is set.
            task: Instead of the reader's own; a reading's ``data`` are then the fields of the answer.
            question: For tasks that answer one, about each of the images.
            choices: Texts, of which a reading is one. This and the next two steer the model, which is never wrong
                about the form then; its confidence remains the one that it has among all texts.
            pattern: A regular expression that a reading matches as a whole, as the tokenizer decodes it; no preset puts
                it in order. What is understood of it: `vision2seq.generation.constraints.regex`.
            schema: What a reading's ``data`` are, of a model that writes Donut's tags, such as
                ``{"menu": [{"nm": str, "cnt?": str}]}``: `vision2seq.generation.constraints.schema`.
            pages: Which pages of documents to read, from 1 on: a number, several, a text such as ``"2-5,7,9-"``,
                ``"all"``, which counts the frames of animations, too, or ``"first"``, which takes every file for one
                picture. See `vision2seq.processing.image.pages`.
            dpi: Dots an inch at which the pages of a PDF are rendered.
            options: Options of generation, and ``allow_url`` and ``max_pixels`` of `load_image`.

        Yields:
            A `Reading` for each image, or for each page.

        Raises:
            ImageError: No image at all.
            OptionError: An option that cannot be honoured; choices, pattern or schema that nothing can fulfil.
            UnsupportedError: ``locate`` with a model or an image processor that cannot tell; a pattern with lookaround
                or the like.
        """
        size = self.batch_size if batch_size is None else _checked_count("batch_size", batch_size)
        loading = {name: options.pop(name) for name in _OWN_OPTIONS if name in options}
        options, asked = self._settled({"stop_on_repetition": True, **self.options, **options}, task, question)
        options |= self._constrained(choices, pattern, schema)
        if options.get("num_return_sequences", 1) != 1:
            raise OptionError(
                f"A Reader gives one reading an image; alternatives={options['num_return_sequences']} adds other texts "
                "to it, and model.generate takes num_return_sequences."
            )
        if alternatives is not None:
            options |= self._for_alternatives(_checked_count("alternatives", alternatives), options)
        if locate:
            check_locatable(self.model, self.processor.image_processor)
        # The first image is asked for at once, so that a wrong call fails where it is made.
        sources = iter([images] if is_single(images) else images)
        first = list(itertools.islice(sources, 1))
        if not first:
            raise ImageError("No image was given: the list is empty. Expected at least one.")
        chosen(pages)  # says what is wrong with it
        sources = itertools.chain(first, sources)
        if pages != FIRST:
            allowed = bool(loading.get("allow_url", False))
            sources = itertools.chain.from_iterable(expand(one, pages, dpi, allow_url=allowed) for one in sources)
        return self._readings(sources, size, _Call(loading, locate, options, asked))

    def _settled(
        self, options: dict[str, Any], task: str | None, question: str | None
    ) -> tuple[dict[str, Any], tasks.Asked | None]:
        """The options of a call with what its task and the preset add, and what is asked."""
        config = self.model.generation_config.following(self.model.config)
        task = self.task if task is None else task
        if task is None and options.get("decoder_input_ids") is not None:  # somebody has a prompt of their own
            task = tasks.NONE
        start = options.get("decoder_start_token_id", config.decoder_start_token_id)
        asked = tasks.ask(self.tokenizer, task, question, start)
        added = {} if self.preset is None else self.preset.options(self.tokenizer)
        if "max_new_tokens" in added:
            added["max_new_tokens"] = min(added["max_new_tokens"], self.model.decoder.max_positions - 1)
            if "max_length" in options:
                del added["max_new_tokens"]
        if asked is not None:
            added |= asked.options(self.tokenizer)
        if options.get("generation_config") is not None:  # which says all
            added = {}
        if asked is not None:
            options = {**options, "decoder_input_ids": torch.tensor([asked.ids])}
        return {**added, **options}, asked

    def _constrained(self, choices: Iterable[str] | None, pattern: Any, schema: Any) -> dict[str, Any]:
        """The option of generation for what texts have to be."""
        if choices is not None and not isinstance(choices, str):
            choices = tuple(choices)
        wanted = {"choices": (Choices, choices), "pattern": (Pattern, pattern), "schema": (Schema, schema)}
        given = {name: kind_value for name, kind_value in wanted.items() if kind_value[1] is not None}
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} say what a text has to be, each by itself; pass one of them.")
        for kind, value in given.values():
            if self._constraint is None or self._constraint[0] != (kind, value):
                self._constraint = (kind, copy.deepcopy(value)), kind(value)
            return {"constraint": self._constraint[1]}
        return {}

    def _for_alternatives(self, count: int, options: dict[str, Any]) -> dict[str, Any]:
        """Options of generation that give so many texts an image."""
        config = self.model.generation_config.following(self.model.config)
        if options.get("do_sample", config.do_sample):
            return {"num_return_sequences": count}
        return {"num_return_sequences": count, "num_beams": max(count, options.get("num_beams", config.num_beams) or 1)}

    def _readings(self, sources: Iterator[Any], size: int, call: _Call) -> Iterator[Reading]:
        if not call.locate:
            feed = _Feed(self, sources, call)
            rows = self.model.generate_each(feed, slots=size, tokenizer=self.tokenizer, **call.options)
            if rows is not None:
                yield from self._in_order(rows, feed, call)
                return
        while batch := list(itertools.islice(sources, size)):
            yield from self._batch(batch, call)

    def _in_order(self, rows: Iterator[Row], feed: _Feed, call: _Call) -> Iterator[Reading]:
        """Readings of rows that end in any order, in the order of their images."""
        ended: dict[int, Row] = {}
        due, spent, since = 0, 0.0, time.perf_counter()
        for row in itertools.chain(rows, [None]):
            if row is not None:
                ended[row.key] = row
            while due in ended or due in feed.errors:
                spent += time.perf_counter() - since
                source, found = feed.sources.pop(due), ended.pop(due, None)
                error = feed.errors.pop(due) if found is None else found.error
                due += 1
                each = spent / (due + len(ended))
                if found is None or error is not None:
                    yield failed(source, each, error)
                else:
                    answer = Answer([], found.ids, found.logprobs, found.reason, found.score)
                    answer.pieces = self._composer.pieces(found.ids)
                    yield self._composer.reading([answer], each, source, call.asked, call.constraint)
                since = time.perf_counter()

    def _prepared(self, source: Any, call: _Call) -> tuple[Image.Image, torch.Tensor]:
        image = source.load(**call.loading) if isinstance(source, Page) else load_image(source, **call.loading)
        return image, self.prepare(image, **call.loading)

    def _batch(self, sources: list[Any], call: _Call) -> list[Reading]:
        began = time.perf_counter()
        prepared: dict[int, torch.Tensor] = {}
        maps: dict[int, Geometry] = {}
        errors: dict[int, str] = {}
        for place, source in enumerate(sources):
            try:
                image, prepared[place] = self._prepared(source, call)
                if call.locate:
                    maps[place] = self.processor.image_processor.geometry(image)
            except (ImageError, MissingPackageError, OSError) as error:
                errors[place] = str(error)
        answers: dict[int, list[Answer]] = {}
        # A processor that does not resize makes pictures of several sizes: each size is a batch of its own.
        for places in _by_shape(prepared):
            try:
                pixels = torch.stack([prepared[place] for place in places])
                where = [maps[place] for place in places] if call.locate else None
                found = self._generated(pixels, where, call.options)
            except ImageError as error:  # of a size that the model cannot take
                errors.update(dict.fromkeys(places, str(error)))
                continue
            answers.update(zip(places, found, strict=True))
        each = (time.perf_counter() - began) / len(sources)
        return [
            failed(source, each, errors[place])
            if place in errors
            else self._composer.reading(answers[place], each, source, call.asked, call.constraint)
            for place, source in enumerate(sources)
        ]

    def _generated(
        self, pixels: torch.Tensor, maps: list[Geometry] | None, options: dict[str, Any]
    ) -> list[list[Answer]]:
        """For each image of (B, C, H, W) the texts that were found, the best first; with maps also its place."""
        memory: torch.Tensor | None = None
        if maps is not None:  # what the decoder looked at is needed twice
            stretch = {name: options[name] for name in ("interpolate_pos_encoding",) if name in options}
            with torch.no_grad():
                encoded, memory = self.model.encode(pixels.to(self.model.device), **stretch)
            options = {**options, "encoder_outputs": encoded}
        prompt = options.get("decoder_input_ids")
        if isinstance(prompt, torch.Tensor) and len(prompt) == 1:  # one for all images
            options = {**options, "decoder_input_ids": prompt.expand(len(pixels), -1)}
        output = self.model.generate(pixels, return_dict_in_generate=True, tokenizer=self.tokenizer, **options)
        skipped = output.sequences.shape[1] - max(map(len, output.token_logprobs), default=0)
        answers = [
            Answer(ids[:skipped], ids[skipped : skipped + len(logprobs)], logprobs, reason, score)
            for ids, logprobs, reason, score in zip(
                output.sequences.tolist(),
                output.token_logprobs,
                output.finish_reasons,
                output.text_scores,
                strict=True,
            )
        ]
        each = len(answers) // len(pixels)
        found = []
        for row in range(len(pixels)):
            found.append(sorted(answers[row * each : (row + 1) * each], key=lambda answer: -answer.score))
            best = found[-1][0]
            best.pieces = self._composer.pieces(best.ids)
            if maps is not None and memory is not None:
                ids, size = best.given + best.ids, (pixels.shape[2], pixels.shape[3])
                best.boxes = locate_tokens(self.model, memory[row : row + 1], size, ids, best.pieces, maps[row])
        return found

    def stream(
        self, image: Any, *, task: str | None = None, question: str | None = None, **options: Any
    ) -> Iterator[str]:
        """Read one image and yield its text piece by piece, as it is generated; no preset puts it in order.

        Args:
            image: As in `read`.
            task: As in `read`; the pieces are those of the text with its tags.
            question: As in `read`.
            options: As in `read`; beam search has no pieces that are final.

        Raises:
            ImageError: The image cannot be read.
            UnsupportedError: More than one beam.
        """
        loading = {name: options.pop(name) for name in _OWN_OPTIONS if name in options}
        options, _ = self._settled({"stop_on_repetition": False, **self.options, **options}, task, question)
        options |= self._constrained(*(options.pop(name, None) for name in ("choices", "pattern", "schema")))
        constraint = options.pop("constraint", None)
        pixels = self.prepare(image, **loading)[None]
        session, arguments = self.model.start(pixels, **options)
        if arguments["config"].num_beams > 1:
            raise UnsupportedError("Beam search changes its mind until the end, so it cannot stream; set num_beams=1.")
        return self._pieces(session, {**arguments, "constraint": constraint})

    def _pieces(self, session: Any, arguments: dict[str, Any]) -> Iterator[str]:
        decoder = IncrementalDecoder(self.tokenizer, skip_special_tokens=True)
        for step in iterate(session, **arguments, tokenizer=self.tokenizer):
            if piece := decoder.push(int(step.tokens[0])):
                yield piece
        if piece := decoder.finish():
            yield piece

    def prepare(self, source: Any, **loading: Any) -> torch.Tensor:
        """Load one image and make it what the model takes, (C, H, W) in float32.

        Raises:
            ImageError: It cannot be read.
        """
        pixels = self.processor.image_processor(load_image(source, **loading), return_tensors="pt")["pixel_values"]
        return pixels[0]

    @property
    def _composer(self) -> Composer:
        """What makes readings; it remembers texts, so it is kept as long as the tokenizer stays as it is."""
        state = (self.tokenizer, len(self.tokenizer), self.preset)
        if self._kept is None or self._kept[0] != state:
            self._kept = state, Composer(self.tokenizer, self.preset)
        return self._kept[1]

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer


def _by_shape(prepared: dict[int, torch.Tensor]) -> list[list[int]]:
    """The places of pictures, those of one shape together."""
    places: dict[torch.Size, list[int]] = {}
    for place, pixels in prepared.items():
        places.setdefault(pixels.shape, []).append(place)
    return list(places.values())


def _checked_count(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise OptionError(f"{name} is {value!r}, expected a whole number from 1.")
    return value


def is_single(images: Any) -> bool:
    """Whether something is one image rather than several."""
    if isinstance(images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image) or hasattr(images, "read"):
        return True
    if is_array(images):
        return len(images.shape) < 4
    return not isinstance(images, Iterable)


def read(images: Any, model: str | os.PathLike[str] | Reader = DEFAULT_MODEL, **options: Any) -> Any:
    """Read one image or several in one call; a `Reader` that is kept is faster for the next ones.

    Args:
        images: As in `Reader.read`.
        model: A folder, the name of a bundled model, a name on the hub, or a `Reader`.
        options: As in `Reader.read`.

    Returns:
        A `Reading` for one image or page, a list of them for an iterable or a document.
    """
    reader = model if isinstance(model, Reader) else Reader.from_pretrained(model)
    readings = list(reader.read(images, **options))
    if not is_single(images) or len(readings) != 1:
        return readings
    is_document = readings[0].page is not None and not is_one(images, options.get("pages"))
    return readings if is_document else readings[0]
