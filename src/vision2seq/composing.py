"""Composing a reading out of what a model generated: ids and log-probabilities in, text, words and fields out."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass, field
from typing import Any

from vision2seq import tasks
from vision2seq.generation import Choices, Constraint, Schema
from vision2seq.generation.stopping import REPETITION, repeated_tail
from vision2seq.presets import Preset
from vision2seq.processing.image.pages import Page
from vision2seq.processing.text.streaming import IncrementalDecoder
from vision2seq.reading import Alternative, Box, Reading, Token, words_of


@dataclass(slots=True)
class Answer:
    """A text as the model gives it: ids and log-probabilities without the prompt, the end token included.

    What each token adds to the text, and where that stands, is known of an image's best answer only.
    """

    given: list[int]
    ids: list[int]
    logprobs: list[float]
    reason: str
    score: float
    pieces: list[str] = field(default_factory=list)
    boxes: list[Box | None] | None = None


def place(source: Any) -> tuple[str | None, int | None]:
    """The path and the page of what was read."""
    if isinstance(source, Page):
        return source.source, source.number
    return os.fspath(source) if isinstance(source, str | os.PathLike) else None, None


def failed(source: Any, seconds: float, error: str | None) -> Reading:
    """The reading of an image that could not be read."""
    name, page = place(source)
    return Reading("", 0.0, (), "error", seconds, name, error, page=page)


class Composer:
    """Makes readings.

    Args:
        tokenizer: Of the model's ids.
        preset: What puts texts in order besides.
    """

    def __init__(self, tokenizer: Any, preset: Preset | None) -> None:
        self._tokenizer, self._preset = tokenizer, preset
        self._known: dict[tuple[int, ...], str] = {}

    def reading(
        self,
        answers: list[Answer],
        seconds: float,
        source: Any,
        asked: tasks.Asked | None,
        constraint: Constraint | None,
    ) -> Reading:
        """Make a reading of what was generated for an image.

        Args:
            answers: The best first.
            seconds: Its share of the time.
            source: What was read.
            asked: The task, if there was one.
            constraint: What the texts had to be.
        """
        best = answers[0]
        name, page = place(source)
        probabilities = [min(1.0, math.exp(value)) for value in best.logprobs]
        tokens = tuple(map(Token, best.ids, best.pieces, probabilities, best.boxes or itertools.repeat(None)))
        confidence = sum(probabilities) / len(probabilities) if probabilities else 0.0
        text, data = self._told(best.ids, asked, constraint)
        others = [
            Alternative(self._told(a.ids, asked, constraint)[0], a.score, math.exp(min(0.0, sum(a.logprobs))))
            for a in answers
        ]
        return Reading(
            text,
            confidence,
            tokens,
            best.reason,
            seconds,
            name,
            words=words_of(tokens, self._breaks()),
            score=best.score,
            repetition=best.reason == REPETITION or repeated_tail(self._spoken(best.ids)) > 0,
            alternatives=tuple(others) if len(others) > 1 else (),
            data=data,
            page=page,
        )

    def _told(self, ids: list[int], asked: tasks.Asked | None, constraint: Constraint | None) -> tuple[str, Any]:
        """The text of a reading, and the fields of a task."""
        if asked is None and isinstance(constraint, Schema):
            asked = tasks.Asked(tasks.Task(tasks.NONE), "", ())
        if asked is not None:
            fields = asked.fields(self._tokenizer, ids)
            text, data = asked.text(fields), fields
        else:
            text, data = self._tokenizer.decode(ids, skip_special_tokens=True), None
        if isinstance(constraint, Choices):
            return constraint.answer(text, self._tokenizer), data
        if asked is not None or constraint is not None or self._preset is None:
            return text, data
        return self._preset.clean_up(text), data

    def pieces(self, ids: list[int]) -> list[str]:
        """What each token adds to the text."""
        decoder = IncrementalDecoder(self._tokenizer, skip_special_tokens=True, known=self._known)
        pieces = [decoder.push(index) for index in ids]
        rest = decoder.finish()
        if rest and pieces:
            last = max((place for place, piece in enumerate(pieces) if piece), default=len(pieces) - 1)
            pieces[last] += rest
        return pieces

    def _spoken(self, ids: list[int]) -> list[int]:
        """Without what stands at the end and is no text."""
        special = set(self._tokenizer.all_special_ids)
        end = next((place for place in range(len(ids), 0, -1) if ids[place - 1] not in special), 0)
        return ids[:end]

    def _breaks(self) -> set[int]:
        """Ids of tokens between which words stand: special ones, and tags such as Donut's ``<s_price>``."""
        added = self._tokenizer.added_tokens_decoder
        found = {index for index, token in added.items() if token.special or str(token)[:1] + str(token)[-1:] == "<>"}
        return found - {self._tokenizer.unk_token_id}  # that one is a part of some word
