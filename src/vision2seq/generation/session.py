"""What the loop needs of a model: a step, and a way to say which rows go on.

A session is the whole state of one generation (caches, the images' memory, the position reached). It is made by the
model, passed to the loop, and thrown away after it; two sessions can share one model.

R rows (running texts), T new tokens, V vocabulary, H heads, S image tokens, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@dataclass(slots=True)
class StepOutput:
    """What a step computed.

    Attributes:
        logits: (R, V) in float32, of the last position.
        decoder_attentions: For each layer (R, H, T, past + T), if the session was made to keep them.
        cross_attentions: For each layer (R, H, T, S), likewise.
        decoder_hidden_states: The embeddings and what each layer made of them, each (R, T, D), likewise.
    """

    logits: Tensor
    decoder_attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None
    decoder_hidden_states: tuple[Any, ...] | None = None

    def select(self, rows: Tensor) -> StepOutput:
        """Repeat, drop or reorder rows, as `DecodingSession.select` does to the state."""

        def pick(layers: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
            return None if layers is None else tuple(layer.index_select(0, rows) for layer in layers)

        return StepOutput(
            self.logits.index_select(0, rows),
            pick(self.decoder_attentions),
            pick(self.cross_attentions),
            pick(self.decoder_hidden_states),
        )


class DecodingSession(Protocol):
    """The running texts of one generation."""

    batch_size: int
    """Rows that the session holds now."""

    def step(self, tokens: Tensor, /) -> StepOutput:
        """Feed ids that it has not seen, (R, T): the whole prompt at first, one column afterwards."""
        ...

    def select(self, rows: Tensor, /) -> None:
        """Make row i what row ``rows[i]`` was, for all of the state; rows may be dropped, repeated and reordered."""
        ...


@runtime_checkable
class RunsAhead(Protocol):
    """A session that can take several greedy steps in one call."""

    def ahead(
        self, tokens: Tensor, steps: int, ends: Sequence[int], running: Sequence[bool], /
    ) -> tuple[Tensor, Tensor] | None:
        """Feed ids (R,), then what is the likeliest after them, and so on.

        Args:
            tokens: Those of `step`, one a row.
            steps: At most so many; fewer if all rows that are running end before.
            ends: Tokens that end a row.
            running: Which rows have not ended.

        Returns:
            What each step found and its log-probability by the plain softmax, (N, R) both; the last one is not fed yet.
            None where it cannot be done just now.
        """
        ...
