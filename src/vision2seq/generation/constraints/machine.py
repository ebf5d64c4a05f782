"""Machines: automata over token ids, which the rule in `steering` asks what may follow.

`Lifted` makes one of an automaton over characters: a token leads where its characters do. A vocabulary has hundreds of
thousands of tokens, a pattern few classes of characters that it tells apart; tokens that are alike in classes are one
thing here, and those with a class that the pattern never takes are dropped. What is left forms a small tree, which is
walked along with the automaton, once for each state that a text reaches.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vision2seq.errors import OptionError
from vision2seq.generation.constraints.alphabet import LAST
from vision2seq.generation.constraints.regex import Automaton
from vision2seq.generation.constraints.wrappers import BYTE, Bytewise

Ids = npt.NDArray[np.int64]

_MOST_STATES = 50_000


class Spelling(Protocol):
    """Texts of tokens: ``ids``, the ``codepoints`` of all, their ``offsets``, and ``ragged`` ones as bytes."""

    @property
    def ids(self) -> Any: ...
    @property
    def codepoints(self) -> Any: ...
    @property
    def offsets(self) -> Any: ...
    @property
    def ragged(self) -> Any: ...


class Pieces(Protocol):
    """What each token adds to a text: at its beginning (``first``), elsewhere (``later``)."""

    @property
    def first(self) -> Spelling: ...
    @property
    def later(self) -> Spelling: ...
    @property
    def cleaned(self) -> bool: ...


class Machine(Protocol):
    """Reads a text token by token."""

    start: Any

    def edges(self, state: Any, /) -> Mapping[Any, Ids]:
        """The states that one token leads to, and the tokens."""
        ...

    def advance(self, state: Any, token: int, /) -> Hashable | None:
        """The state behind a token, or None where no valid text begins so."""
        ...

    def accepts(self, state: Any, /) -> bool:
        """Whether the text may end here."""
        ...

    def distance(self, state: Any, /) -> float:
        """The fewest tokens to where it may end; infinity if there are none."""
        ...


class _Tree:
    """Tokens by the classes of their characters."""

    def __init__(self, spelling: Spelling, alphabet: Any, bytewise: bool, limit: int) -> None:
        classes = alphabet.classes(spelling.codepoints)
        offsets = spelling.offsets
        dead = np.concatenate([[0], np.cumsum(classes == 0)])
        alive = (dead[offsets[1:]] == dead[offsets[:-1]]) & (spelling.ids < limit)
        alike: dict[bytes, list[int]] = {}
        spelled = classes.tobytes()
        for place in np.flatnonzero(alive).tolist():
            alike.setdefault(spelled[2 * offsets[place] : 2 * offsets[place + 1]], []).append(int(spelling.ids[place]))
        self.children: list[dict[int, int]] = [{}]
        self.ids: list[list[int]] = [[]]
        """By node: tokens that end there. Those at the root say nothing."""
        self.path_of: dict[int, tuple[int, ...]] = {}
        """By token: its symbols."""
        for key, ids in alike.items():
            self._put(tuple(np.frombuffer(key, dtype=np.uint16).tolist()), ids)
        if bytewise:
            for index, piece in spelling.ragged:
                symbols = _symbols(piece, alphabet)
                if symbols is not None and index < limit:
                    self._put(symbols, [index])

    def _put(self, symbols: tuple[int, ...], ids: list[int]) -> None:
        node = 0
        for symbol in symbols:
            child = self.children[node].get(symbol)
            if child is None:
                child = self.children[node][symbol] = len(self.children)
                self.children.append({})
                self.ids.append([])
            node = child
        self.ids[node] += ids
        self.path_of.update(dict.fromkeys(ids, symbols))


def _symbols(piece: bytes, alphabet: Any) -> tuple[int, ...] | None:
    """Bytes as symbols: those of whole characters as their class, the others one by one; None for a dead class."""
    found: list[int] = []
    place = 0
    while place < len(piece):
        for size in (1, 2, 3, 4):
            try:
                sign = piece[place : place + size].decode()
            except UnicodeDecodeError:
                continue
            number = int(alphabet.classes(np.array([ord(sign)], dtype=np.uint32))[0])
            if number == 0:
                return None
            found.append(number)
            place += size
            break
        else:
            found.append(BYTE + piece[place])
            place += 1
    return tuple(found)


class Lifted:
    """An automaton over characters as a machine over tokens.

    A state is a number, and whether nothing is written yet: then tokens have the texts of a beginning.

    Args:
        automaton: What reads the characters.
        pieces: What each token adds.
        limit: Ids from there on do not exist.
        begins: Whether the text begins where this does.
    """

    def __init__(self, automaton: Automaton, pieces: Pieces, limit: int, *, begins: bool = True) -> None:
        # ASCII never comes in parts, so a pattern of nothing else need not look at the pieces that do.
        bytewise = bool(pieces.later.ragged) and automaton.alphabet.within(0x80, LAST) != {0}
        self._automaton: Automaton = Bytewise(automaton) if bytewise else automaton
        self._later = _Tree(pieces.later, automaton.alphabet, bytewise, limit)
        same = pieces.first is pieces.later or not begins
        self._first = self._later if same else _Tree(pieces.first, automaton.alphabet, bytewise, limit)
        self._numbers: dict[Hashable, int] = {}
        self._states: list[Any] = []
        self._steps: list[dict[int, int]] = []
        self._edges: dict[tuple[int, bool], dict[tuple[int, bool], Ids]] = {}
        self._far: dict[int, float] = {}  # by way
        self._distances: dict[int, float] = {}
        self.start: tuple[int, bool] = (self._number(self._automaton.start), not same)

    def edges(self, state: tuple[int, bool]) -> Mapping[tuple[int, bool], Ids]:
        if state not in self._edges:
            tree = self._first if state[1] else self._later
            found: dict[int, list[int]] = {}
            if state[1] and tree.ids[0]:  # such as a lone space, which decoding drops at the beginning
                found[state[0]] = [*tree.ids[0]]
            queue = [(0, state[0])]
            while queue:
                node, here = queue.pop()
                for symbol, child in tree.children[node].items():
                    there = self._step(here, symbol)
                    if there < 0:
                        continue
                    if tree.ids[child]:
                        found.setdefault(there, []).extend(tree.ids[child])
                    if tree.children[child]:
                        queue.append((child, there))
            self._edges[state] = {(there, False): np.array(ids, dtype=np.int64) for there, ids in found.items()}
        return self._edges[state]

    def advance(self, state: tuple[int, bool], token: int) -> tuple[int, bool] | None:
        path = (self._first if state[1] else self._later).path_of.get(token)
        if path is None or (not path and not state[1]):
            return None
        here = state[0]
        for symbol in path:
            here = self._step(here, symbol)
            if here < 0:
                return None
        return here, False

    def accepts(self, state: tuple[int, bool]) -> bool:
        return self._automaton.accepts(self._states[state[0]])

    def distance(self, state: tuple[int, bool]) -> float:
        if self.accepts(state):
            return 0
        if state[1]:
            return 1 + min((self.distance(there) for there in self.edges(state)), default=math.inf)
        # A state of several ways is as far from the end as the nearest of them. Ways are few, sets of them are not.
        if state[0] not in self._distances:
            parts = self._parts(state[0])
            if any(part not in self._far for part in parts):
                self._measure(parts)
            self._distances[state[0]] = min(self._far[part] for part in parts)
        return self._distances[state[0]]

    def _number(self, state: Hashable) -> int:
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            if number >= _MOST_STATES:
                raise OptionError(
                    f"The pattern has more than {_MOST_STATES} states. Use a simpler one: smaller counts, fewer "
                    "repetitions within repetitions."
                )
            self._states.append(state)
            self._steps.append({})
        return number

    def _step(self, number: int, symbol: int) -> int:
        known = self._steps[number].get(symbol)
        if known is None:
            after = self._automaton.step(self._states[number], symbol)
            known = self._steps[number][symbol] = -1 if after is None else self._number(after)
        return known

    def _parts(self, number: int) -> list[int]:
        return [self._number(part) for part in self._automaton.parts(self._states[number])]

    def _measure(self, ways: list[int]) -> None:
        """Find the distances of ways and of all that they lead to."""
        sources: dict[int, set[int]] = {}  # by way: those that one token leads from
        queue = list(ways)
        seen = set(queue)
        while queue:
            way = queue.pop()
            for there, _ in self.edges((way, False)):
                for part in self._parts(there):
                    sources.setdefault(part, set()).add(way)
                    if part not in seen:
                        seen.add(part)
                        queue.append(part)
        front = [way for way in seen if self.accepts((way, False))]
        self._far.update(dict.fromkeys(seen, math.inf))
        self._far.update(dict.fromkeys(front, 0))
        steps = 0
        while front:
            steps += 1
            front = list({s for way in front for s in sources.get(way, ()) if self._far[s] > steps})
            self._far.update(dict.fromkeys(front, steps))
