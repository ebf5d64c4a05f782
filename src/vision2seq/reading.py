"""Readings: what was read from an image, as plain data.

Boxes are (left, top, right, bottom) in pixels of the image as it is shown, that is, after the turn that a camera's
note in the file asks for. They are edges: a box round the whole of an image 20 wide and 10 high is (0, 0, 20, 10).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a reading.

    Attributes:
        id: Its number in the vocabulary.
        text: What it adds to the text; empty for tokens that carry none, such as the end token.
        probability: The model's, 0 to 1, by the plain softmax.
        box: Where it was read from, with ``locate=True``; None for tokens without text.
    """

    id: int
    text: str
    probability: float
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """What stands between white space, or between special tokens.

    Attributes:
        text: The word, punctuation included.
        probability: The product of its tokens': how sure the model is of all of it, 0 to 1.
        start: Its tokens are ``reading.tokens[start:end]``. A token that holds parts of two words belongs to both.
        end: Likewise.
        box: The box round those of its tokens, with ``locate=True``.
    """

    text: str
    probability: float
    start: int
    end: int
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the likeliest texts of an image.

    Attributes:
        text: The text.
        score: As `Reading.score`.
        probability: As `Reading.probability`.
    """

    text: str
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read from one image.

    Attributes:
        text: The text; empty if the image could not be read, or holds none.
        confidence: Mean probability of the tokens, the end token included; 0 to 1. How sure it is of each of them,
            whatever their number.
        tokens: Every token with its probability.
        finish_reason: "eos", "length" (cut at the limit), "stop" or "repetition" (a loop was cut off); "error".
        seconds: Its share of the wall time, preparation included: that of its batch, or of the call so far, divided by
            the images.
        source: The path, if the image was given as one.
        error: Why the image could not be read, or None.
        words: The words, in the order of the text.
        score: Sum of the tokens' log-probabilities divided by their number to the power of ``length_penalty``, 1 if
            not given: what beam search chooses by. None if the image could not be read.
        repetition: Whether the text goes, or went before it was cut, in circles at its end: most of what such a text
            says is not in the image.
        alternatives: With ``alternatives=n``, the n likeliest texts that were found, this one first.
        data: The fields of a task, as dicts, lists and texts; None where no task was asked.
        page: Which page of the source it is, from 1 on; None if that is one picture.
    """

    text: str
    confidence: float
    tokens: tuple[Token, ...] = field(repr=False)
    finish_reason: str
    seconds: float
    source: str | None = None
    error: str | None = None
    words: tuple[Word, ...] = field(default=(), repr=False)
    score: float | None = None
    repetition: bool = False
    alternatives: tuple[Alternative, ...] = ()
    data: Any = None
    page: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the image could be read."""
        return self.error is None

    @property
    def probability(self) -> float:
        """The model's of the whole text: the product of its tokens'. How sure it is that there is no mistake at all."""
        return math.prod(token.probability for token in self.tokens) if self.tokens else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        values = {**asdict(self), "probability": self.probability}
        first = ("text", "confidence", "probability", "score", "words")
        return {name: values[name] for name in dict.fromkeys((*first, *values))}


def words_of(tokens: Sequence[Token], special: Collection[int] = ()) -> tuple[Word, ...]:
    """Group tokens into words.

    Args:
        tokens: Those of a text; joined, their texts are the text.
        special: Ids of tokens that end a word and belong to none, whether they have a text or not.

    Returns:
        The words. Tokens without text that are not special hold bytes of a character that a later token completes, and
        belong to that one's word.
    """
    words: list[Word] = []
    first = 0
    for place in range(len(tokens) + 1):
        if place == len(tokens) or tokens[place].id in special:
            words += _between(tokens, first, place)
            first = place + 1
    return tuple(words)


def _between(tokens: Sequence[Token], first: int, last: int) -> list[Word]:
    """The words of a run of tokens without a special one."""
    text = ""
    owners: list[int] = []  # for each character the token that it came with
    begins: dict[int, int] = {}  # for each such token the first of those that hold its bytes
    held: int | None = None
    for place in range(first, last):
        held = place if held is None else held
        if tokens[place].text:
            text += tokens[place].text
            owners += [place] * len(tokens[place].text)
            begins[place] = held
            held = None
    words = []
    for found in re.finditer(r"\S+", text):
        start, end = begins[owners[found.start()]], owners[found.end() - 1] + 1
        parts = tokens[start:end]
        probability = math.prod(token.probability for token in parts)
        words.append(Word(found[0], probability, start, end, union(token.box for token in parts if token.text.strip())))
    return words


def union(boxes: Any) -> Box | None:
    """The smallest box round some boxes, of which those that are None do not count; None if there are no others."""
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    lefts, tops, rights, bottoms = zip(*known, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
