"""When a text ends: its length, its last token, what it says, how long it took, or that it goes in circles."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import OptionError

EOS, LENGTH, STOP, REPETITION = "eos", "length", "stop", "repetition"

Criterion = Callable[[Tensor, Any], Any]
"""Called with the ids (R, T) and the scores so far (or None); returns a bool, or one for each row."""

# A loop is at least this many copies of the same tokens that together are at least this long.
_LOOP_COPIES = 4
_LOOP_TOKENS = 32
_LONGEST_PERIOD = 64


def repeated_tail(ids: Sequence[int]) -> int:
    """Return how many tokens at the end only repeat what stands before them; 0 if the end is no loop.

    The first copy of the repeated tokens does not count, so that cutting off what is returned leaves it in place.
    """
    total = len(ids)
    if total < _LOOP_TOKENS:
        return 0
    last = ids[-1]
    for period in range(1, min(_LONGEST_PERIOD, total // _LOOP_COPIES) + 1):
        if ids[-1 - period] != last:
            continue
        span = max(_LOOP_COPIES * period, _LOOP_TOKENS)
        if span > total or ids[total - span : total - period] != ids[total - span + period :]:
            continue
        start = total - span
        while start > 0 and ids[start - 1] == ids[start - 1 + period]:
            start -= 1
        return total - start - period
    return 0


def length_bounds(config: GenerationConfig, prompt_length: int, limit: int) -> tuple[int, int]:
    """Return the fewest and the most tokens of a text, its prompt included.

    Args:
        config: The call's options.
        prompt_length: Tokens that every text begins with.
        limit: Positions that the decoder holds.

    Raises:
        OptionError: The prompt leaves no room for a token.
    """
    if prompt_length >= limit:
        raise OptionError(
            f"The decoder prompt has {prompt_length} tokens and the decoder holds {limit}, which leaves no room for "
            "text. Give a shorter prompt (decoder_input_ids)."
        )
    longest = config.max_length
    if config.max_new_tokens is not None:
        longest = prompt_length + config.max_new_tokens
    if longest is None:
        longest = limit
    if longest > limit:
        warnings.warn(
            f"Up to {longest} tokens were asked for, but the decoder holds {limit}; text is cut there.",
            UserWarning,
            stacklevel=4,
        )
        longest = limit
    if prompt_length >= longest:
        raise OptionError(
            f"The decoder prompt has {prompt_length} tokens and max_length, which counts them, is {longest}. "
            "Raise max_length, or set max_new_tokens instead."
        )
    shortest = config.min_length or 0
    if config.min_new_tokens is not None:
        shortest = prompt_length + config.min_new_tokens
    if shortest > longest:
        warnings.warn(
            f"Texts of at least {shortest} tokens were asked for, but they may have at most {longest}; that wins.",
            UserWarning,
            stacklevel=4,
        )
    return shortest, longest


class StopStrings:
    """Ends a text whose last token completes one of some strings.

    A match has to reach into the last token: what an earlier one completed did not end the text then, nor does it now.

    Args:
        strings: The strings, none of them empty.
        tokenizer: Has ``decode(ids, skip_special_tokens=, clean_up_tokenization_spaces=)``.
    """

    def __init__(self, strings: str | Sequence[str], tokenizer: Any) -> None:
        if tokenizer is None:
            raise OptionError(
                f"stop_strings={strings!r} needs the tokenizer to know what ids say. Pass tokenizer= to generate()."
            )
        self._strings = [strings] if isinstance(strings, str) else list(strings)
        self._tokenizer = tokenizer
        # A character takes at most four byte tokens; one more token in front takes what decoders do to a beginning.
        self._window = 4 * max(map(len, self._strings)) + 1

    def __call__(self, ids: list[int]) -> bool:
        """Whether the text of these ids ends here."""
        tail = ids[-self._window :]
        before, after = self._text(tail[:-1]), self._text(tail)
        pairs = zip(before, after, strict=False)
        common = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
        return any(after.find(text, max(0, common - len(text) + 1)) >= 0 for text in self._strings)

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


class Stopping:
    """All conditions of one generation that look at more than the last token's id.

    Args:
        config: The call's options.
        criteria: The user's own.
        tokenizer: For stop strings.
        prompt_length: Tokens that no loop is looked for in.
        loops: Whether to end texts that go in circles.
    """

    def __init__(
        self,
        config: GenerationConfig,
        criteria: Sequence[Criterion],
        tokenizer: Any,
        prompt_length: int,
        *,
        loops: bool,
    ) -> None:
        self._criteria = list(criteria)
        self._strings = None if config.stop_strings is None else StopStrings(config.stop_strings, tokenizer)
        self._loops = loops
        self._prompt_length = prompt_length
        self._deadline = None if config.max_time is None else time.monotonic() + config.max_time
        self.any = bool(self._criteria or self._strings or self._loops or self._deadline is not None)
        """Whether there is anything to ask."""

    def __call__(self, ids: Tensor, scores: Any, live: Sequence[bool] | None = None) -> list[str | None]:
        """Return for each row (R, T) why it ends with its last token, or None."""
        reasons: list[str | None] = [None] * ids.shape[0]
        if self._strings is not None or self._loops:
            for row, tokens in enumerate(ids.tolist()):
                if live is not None and not live[row]:
                    continue
                if self._strings is not None and self._strings(tokens):
                    reasons[row] = STOP
                elif self._loops and repeated_tail(tokens[self._prompt_length :]):
                    reasons[row] = REPETITION
        for criterion in self._criteria:
            verdict = criterion(ids, scores)
            ends = verdict.expand(ids.shape[0]).tolist() if isinstance(verdict, Tensor) else None
            for row in range(ids.shape[0]):
                if ends[row] if ends is not None else verdict:
                    reasons[row] = STOP
        if self._deadline is not None and time.monotonic() > self._deadline:
            reasons = [STOP] * ids.shape[0]
        return reasons


def as_list(value: Any) -> list[Any]:
    """A list of callables from None, one, or several."""
    if value is None:
        return []
    try:
        return list(value)
    except TypeError:
        return [value]


def token_ids(value: int | Sequence[int] | Tensor | None) -> list[int]:
    """A list of ids from None, one, or several."""
    if value is None:
        return []
    flat = value.reshape(-1).tolist() if isinstance(value, torch.Tensor) else value
    return [int(flat)] if isinstance(flat, int) else [int(token) for token in flat]
