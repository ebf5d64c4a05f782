"""The rule in the loop: what a machine allows, and only what can still be brought to an end.

R rows, T tokens so far (prompt included), V vocabulary.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vision2seq.errors import OptionError
from vision2seq.generation.constraints.machine import Machine
from vision2seq.generation.stopping import repeated_tail

NEVER = -float("inf")
_ENDED = "ended"
_KEPT = 256  # masks; 64 MB of them with a quarter of a million tokens
_FEW = 64  # fewer tokens than a 64th of the vocabulary are kept as numbers


class Steering:
    """A `Rule` that chooses only among tokens from which a valid text can be completed in the room that is left.

    It has the last word: where other rules forbid all that it allows, they go unheard for that token. Rows whose text
    goes in circles are sent to the nearest valid end instead of being cut off.

    Args:
        machine_of: The machine of a row with some prompt.
        eos: Ids that end a text.
        lead: Ids that say nothing and may stand at the beginning, such as ``<s>``.
        forced: The one that must stand there, if any.
        prompt_length: Tokens of the prompt.
        longest: Most tokens of a text, prompt included.
        vocabulary: V.
        device: Where the scores are.
        beams: Whether rows are beams, which die with their text's end.
        loops: Whether to look for texts that go in circles.
        masks: Where to keep what is allowed in a state.
    """

    def __init__(
        self,
        machine_of: Callable[[tuple[int, ...]], tuple[Machine, Hashable]],
        *,
        eos: Sequence[int],
        lead: Sequence[int],
        forced: int | None,
        prompt_length: int,
        longest: int,
        vocabulary: int,
        device: torch.device,
        beams: bool,
        loops: bool,
        masks: OrderedDict[Any, Tensor],
    ) -> None:
        self._machine_of = machine_of
        self._eos, self._ends = frozenset(eos), [token for token in eos if token < vocabulary]
        self._lead = [token for token in lead if token not in self._eos and token < vocabulary]
        self._forced = forced
        self._start, self._longest = prompt_length, longest
        self._vocabulary, self._device = vocabulary, device
        self._beams, self._loops = beams, loops
        self._rows: dict[tuple[int, ...], Any] = {}  # by ids: machine, state, or _ENDED, or None for no valid text
        self._raw: Tensor | None = None
        self._masks = masks

    def look(self, _: Tensor, scores: Tensor) -> Tensor:
        """A rule that goes before all others: remember what the model itself says."""
        self._raw = scores
        return scores

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        assert self._raw is not None
        rows = [tuple(row) for row in ids.tolist()]
        self._rows = {row: self._follow(row) for row in rows}
        if self._forced is not None and ids.shape[1] == self._start:
            return scores
        result = torch.full_like(scores, NEVER)
        for place, row in enumerate(rows):
            position = self._rows[row]
            if isinstance(position, tuple):
                allowed = self._allowed(position[0], position[1], row)
                result[place] = self._masked(scores[place], self._raw[place], allowed)
            elif not self._beams:
                result[place] = scores[place]
        return result

    def check(self, texts: Sequence[Sequence[int]]) -> None:
        """Raise where beam search found fewer texts for an image than were asked for, and filled up.

        Args:
            texts: All ids of each, prompt included.

        Raises:
            OptionError: One of them is not valid, or there twice.
        """
        for text in texts:
            ids = tuple(text)
            for length in range(self._start, len(ids) + 1):
                self._rows[ids[:length]] = self._follow(ids[:length])
            if len(ids) == self._start or self._rows[ids] is None or self._rows[ids[:-1]] == _ENDED:
                break
        else:
            if len({tuple(text) for text in texts}) == len(texts):
                return
        raise OptionError(
            f"{len(texts)} texts an image were asked for, but the search found fewer that the constraint allows. Lower "
            "num_return_sequences, or raise num_beams."
        )

    def _follow(self, row: tuple[int, ...]) -> Any:
        if row in self._rows:
            return self._rows[row]
        if len(row) == self._start:
            machine, state = self._machine_of(row)
            needed = machine.distance(state) + 1 + (self._forced is not None)
            if needed > self._longest - self._start:
                raise OptionError(
                    f"What the constraint allows has at least {needed:g} tokens, the end token included, but the limit "
                    f"leaves {self._longest - self._start}. Raise max_new_tokens or max_length."
                )
            return machine, state
        position = self._rows.get(row[:-1])
        if not isinstance(position, tuple):
            return position
        machine, state = position
        token = row[-1]
        if len(row) == self._start + 1 and (token == self._forced or token in self._lead):
            after = state
        elif token in self._eos:
            return _ENDED if machine.accepts(state) else None
        else:
            after = machine.advance(state, token)
        # Beams that were worth nothing may have gone on by a token for whose end there is no room.
        room = self._longest - len(row)
        return None if after is None or machine.distance(after) + 1 > room else (machine, after)

    def _allowed(self, machine: Machine, state: Any, row: tuple[int, ...]) -> Tensor:
        """Ids, or a mask (V,) of them where they are many."""
        left = self._longest - len(row) - 1  # behind this token
        edges = machine.edges(state)
        distances = {there: machine.distance(there) + 1 for there in edges}
        if self._loops and repeated_tail(row[self._start :]):
            left = min(left, int(machine.distance(state)))
        leads = len(row) == self._start and machine.distance(state) + 1 <= left
        kept = frozenset(there for there, needed in distances.items() if needed <= left)
        about = (tuple(self._ends), leads and tuple(self._lead), self._vocabulary, str(self._device))
        key = (machine, state, kept if len(kept) < len(edges) else None, about)
        if key in self._masks:
            self._masks.move_to_end(key)
            return self._masks[key]
        found = [edges[there] for there in edges if there in kept]
        if machine.accepts(state):
            found.append(np.array(self._ends, dtype=np.int64))
        if leads:
            found.append(np.array(self._lead, dtype=np.int64))
        ids = torch.from_numpy(np.concatenate(found)).to(self._device)
        if len(ids) * _FEW > self._vocabulary:
            mask = torch.zeros(self._vocabulary, dtype=torch.bool, device=self._device)
            mask[ids] = True
            ids = mask
        self._masks[key] = ids
        if len(self._masks) > _KEPT:
            self._masks.popitem(last=False)
        return ids

    def _masked(self, scores: Tensor, raw: Tensor, allowed: Tensor) -> Tensor:
        """One row, (V,), minus infinity where nothing is allowed, and finite somewhere."""
        result = torch.full_like(scores, NEVER)
        for source in (scores, raw, torch.zeros_like(raw)):
            if allowed.dtype == torch.bool:
                result = source.masked_fill(~allowed, NEVER)
            else:
                result[allowed] = source[allowed]
            if float(result.max()) > NEVER:
                break
        return result
