"""Readings: what was read from an image, as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a reading.

    Attributes:
        id: Its number in the vocabulary.
        text: What it adds to the text; empty for tokens that carry none, such as the end token.
        probability: The model's, 0 to 1, by the plain softmax.
    """

    id: int
    text: str
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
        seconds: Wall time of its batch, preparation included, divided by the images of the batch.
        source: The path, if the image was given as one.
        error: Why the image could not be read, or None.
    """

    text: str
    confidence: float
    tokens: tuple[Token, ...] = field(repr=False)
    finish_reason: str
    seconds: float
    source: str | None = None
    error: str | None = None

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
        values = asdict(self)
        text, confidence = values.pop("text"), values.pop("confidence")
        return {"text": text, "confidence": confidence, "probability": self.probability, **values}
