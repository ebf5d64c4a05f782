"""ModelSession: the state of one generation of a vision-encoder-decoder, as the loop in `generation` drives it.

I images, R rows (running texts), T new tokens, S image tokens, D' width of what the decoder looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vision2seq import registry
from vision2seq.generation.session import StepOutput
from vision2seq.models.decoders.base import Decoder


def compiled_step(decoder: Decoder) -> Any:
    """What runs this decoder's steps in compiled code, or None where the modules have to run."""
    step_for = registry.STEPS.get(decoder.config.model_type)
    return None if step_for is None else registry.resolve(step_for)(decoder)


class ModelSession:
    """A decoder, the cache of the texts so far, and the images' keys and values, computed once."""

    def __init__(
        self, decoder: Decoder, memory: Tensor, *, output_attentions: bool = False, output_hidden_states: bool = False
    ) -> None:
        """Start with one row an image.

        Args:
            decoder: Shared with other sessions; nothing is kept on it.
            memory: (I, S, D'), what the encoder made of the images.
            output_attentions: Return attention weights with each step.
            output_hidden_states: Return hidden states with each step.
        """
        self.decoder = decoder
        self.batch_size = memory.shape[0]
        self._cache = decoder.new_cache()
        decoder.put_cross(self._cache, memory)
        self._attentions, self._states = output_attentions, output_hidden_states
        self._fast = None if output_attentions or output_hidden_states else compiled_step(decoder)

    def step(self, tokens: Tensor, /) -> StepOutput:
        """Feed ids (R, T) that were not fed yet."""
        if self._fast is not None and tokens.shape[1] == 1 and self._room() > 0:
            logits = self._fast.step(tokens[:, 0], self._cache.places(tokens.shape[0], 1))
            self._cache.advance(1)
            return StepOutput(logits)
        output = self.decoder(
            tokens,
            past_key_values=self._cache,
            use_cache=True,
            output_attentions=self._attentions,
            output_hidden_states=self._states,
            return_dict=True,
            last_only=True,
        )
        return StepOutput(
            output.logits[:, -1].float(), output.attentions, output.cross_attentions, output.hidden_states
        )

    def ahead(
        self, tokens: Tensor, steps: int, ends: Sequence[int], running: Sequence[bool], /
    ) -> tuple[Tensor, Tensor] | None:
        """Take several greedy steps; see `generation.session.RunsAhead`."""
        if self._fast is None or self._room() < 1:
            return None
        steps = min(steps, self._room())
        found = self._fast.greedy(tokens, self._cache.places(len(tokens), steps), steps, ends, running)
        self._cache.advance(len(found[0]))
        return found

    def _room(self) -> int:
        return self.decoder.max_positions - self._cache.length

    def select(self, rows: Tensor, /) -> None:
        """Make row i what row ``rows[i]`` was."""
        self._cache.select(rows)
        self.batch_size = rows.shape[0]
