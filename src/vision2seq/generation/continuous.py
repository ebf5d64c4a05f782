"""Continuous batching: rows that come and go one by one, so that none waits for the longest text of its batch.

A session has some slots. A row that has ended leaves its slot at once, and the next image takes it. Only the likeliest
token is ever picked: whatever else needs `generate`.

Source of the idea: Yu et al. 2022, "Orca: A Distributed Serving System for Transformer-Based Generative Models".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from vision2seq.generation.loop import AHEAD, Plan
from vision2seq.generation.output import text_score
from vision2seq.generation.stopping import EOS, LENGTH, REPETITION, repeated_tail


@dataclass(slots=True)
class Row:
    """A text that runs, or has run.

    Attributes:
        key: What its image is known by.
        ids: Its tokens, without the prompt; those that only repeat themselves at the end are cut off.
        logprobs: A number for each, by the plain softmax.
        score: The sum of the latter by the call's length penalty, as `GenerateOutput.text_scores`.
        reason: Why it ended: "eos", "length" or "repetition"; empty while it runs; "error" if it could not begin.
        error: What was wrong then.
    """

    key: Any
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    score: float = 0.0
    reason: str = ""
    error: str | None = None


class Slots(Protocol):
    """What the loop needs of a model: places for rows, and several greedy steps of some of them in one call."""

    count: int
    """How many there are."""

    def greedy(
        self, slots: Sequence[int], tokens: Sequence[int], steps: int, ends: Sequence[int], /
    ) -> tuple[Tensor, Tensor]:
        """Feed each of these rows its latest token, then what is the likeliest after it, and so on.

        Returns:
            What each step found and its log-probability, (N, rows) both.
        """
        ...


Admit = Callable[[Sequence[int]], Sequence[Any]]
"""Called with slots that are free: puts the next images into the first of them, and returns what they are known by."""


def run_continuously(session: Slots, admit: Admit, plan: Plan, last: int) -> Iterator[Row]:
    """Generate texts as long as there are images, and yield each as it ends.

    Args:
        session: With all slots free.
        admit: Fewer images than slots mean that there are no more.
        plan: A call's, of which `Plan.runs_continuously` is true.
        last: The prompt's last token, the same for all rows, which is not fed yet.
    """
    running: dict[int, Row] = {}
    free = list(range(session.count))
    more = True
    start = plan.prompt_length
    while more or running:
        # A few images at a time are encoded faster than one by one.
        if more and (len(free) * 8 >= session.count or not running):
            keys = admit(free)
            more = len(keys) == len(free)
            running |= {slot: Row(key) for slot, key in zip(free, keys, strict=False)}
            free = free[len(keys) :]
            if not running:
                return
        slots = sorted(running)
        rows = [running[slot] for slot in slots]
        latest = [row.ids[-1] if row.ids else last for row in rows]
        steps = min(AHEAD, plan.longest - start - max(len(row.ids) for row in rows))
        found, logprobs = session.greedy(slots, latest, steps, plan.eos)
        for slot, row, tokens, numbers in zip(slots, rows, found.T.tolist(), logprobs.T.tolist(), strict=True):
            _take(row, tokens, numbers, plan)
            if row.reason:
                del running[slot]
                free.append(slot)
                yield row


def _take(row: Row, tokens: list[int], logprobs: list[float], plan: Plan) -> None:
    """Add a row's new tokens up to its end."""
    for token, logprob in zip(tokens, logprobs, strict=True):
        row.ids.append(token)
        row.logprobs.append(logprob)
        if token in plan.eos:
            row.reason = EOS
        elif plan.config.stop_on_repetition and (repeated := repeated_tail(row.ids)):
            row.reason = REPETITION
            del row.ids[-repeated:], row.logprobs[-repeated:]
        elif plan.prompt_length + len(row.ids) >= plan.longest:
            row.reason = LENGTH
        if row.reason:
            row.score = text_score(row.logprobs, plan.config)
            return
