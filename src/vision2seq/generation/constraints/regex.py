"""Regular expressions as automata over characters.

Python's own parser reads the expression, so its syntax and its flags are Python's. Everything that describes a regular
language is built: characters, sets and categories, groups of all kinds, ``|``, greedy and lazy repetition, the flags
``a i s u x``, and anchors at the two ends, where they always hold. Refused by name are lookaround, backreferences and
conditions on groups, word boundaries and anchors inside, atomic groups and possessive repetition.

An automaton's state is a set of places in the expression. Sets are made only as texts reach them, so that none of the
exponentially many others costs anything.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Hashable, Iterable
from typing import Any, Protocol

from vision2seq.errors import OptionError, UnsupportedError
from vision2seq.generation.constraints.alphabet import LAST, Alphabet, Ranges, members

_parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")
_c: Any = importlib.import_module("re._constants" if sys.version_info >= (3, 11) else "sre_constants")

_MOST_PLACES = 20_000
_INVERSE = {_c.CATEGORY_DIGIT: "d", _c.CATEGORY_SPACE: "s", _c.CATEGORY_WORD: "w"}
_INVERSE |= {_c.CATEGORY_NOT_DIGIT: "D", _c.CATEGORY_NOT_SPACE: "S", _c.CATEGORY_NOT_WORD: "W"}
_STARTS = (_c.AT_BEGINNING, _c.AT_BEGINNING_STRING)
_ENDS = (_c.AT_END, _c.AT_END_STRING)
_REFUSED = {
    "ASSERT": "lookaround, such as (?=…)",
    "ASSERT_NOT": "lookaround, such as (?!…)",
    "GROUPREF": "backreferences, such as \\1",
    "GROUPREF_EXISTS": "conditions on groups, (?(1)…)",
    "ATOMIC_GROUP": "atomic groups, (?>…)",
    "POSSESSIVE_REPEAT": "possessive repetition, such as a*+",
}


class Automaton(Protocol):
    """Reads a text character by character, each given as its class.

    A state stands for all the ways in which what was read so far can be the beginning of a match.
    """

    alphabet: Alphabet
    start: Any

    def step(self, state: Any, symbol: int, /) -> Hashable | None:
        """The state behind one more character, or None where no match begins so."""
        ...

    def accepts(self, state: Any, /) -> bool:
        """Whether what was read is a match."""
        ...

    def parts(self, state: Any, /) -> Iterable[Hashable]:
        """States that together accept what this one does, each of them of a single way."""
        ...


class Regex:
    """An `Automaton` of a regular expression.

    Args:
        pattern: The expression, or one that is compiled.
        apart: Characters that get a class of their own, whatever the expression says of them.
        spaced: Whether a space may stand before what the expression matches.

    Attributes:
        pattern: As it was written.
        alone: Class of each of ``apart``.

    Raises:
        OptionError: It is none, matches bytes, or is too large.
        UnsupportedError: It holds something that no finite automaton can follow, or that is not built here.
    """

    def __init__(self, pattern: str | re.Pattern[str], apart: str = "", *, spaced: bool = False) -> None:
        text, flags = (pattern.pattern, pattern.flags) if isinstance(pattern, re.Pattern) else (pattern, 0)
        if not isinstance(text, str):
            raise OptionError(f"The pattern is {text!r}, expected a str: readings are text.")
        try:
            tree = _parser.parse(text, flags)
        except (re.error, OverflowError, RecursionError) as error:
            raise OptionError(f"The pattern {text!r} is no regular expression: {error}.") from None
        self.pattern = text
        self._sets: dict[Ranges, int] = {}
        self._empty: list[list[int]] = []  # by place: places that are reached without a character
        self._moves: list[tuple[int, int] | None] = []  # by place: a set, and the place behind one of its characters
        begin = self._place()
        here = self._repeat(0, 1, [(_c.LITERAL, ord(" "))], 0, begin) if spaced else begin
        self._end = self._build(tree, tree.state.flags, here, True, True)
        for sign in apart:
            self._set(((ord(sign), ord(sign)),))
        self.alphabet = Alphabet(list(self._sets))
        classes = self.alphabet.of_set
        self.alone = {sign: next(iter(classes[self._sets[((ord(sign), ord(sign)),)]])) for sign in apart}
        self._takes = [None if move is None else (classes[move[0]], self._closure(move[1])) for move in self._moves]
        self.start = self._closure(begin)

    def step(self, state: frozenset[int], symbol: int) -> frozenset[int] | None:
        found: set[int] = set()
        for place in state:
            take = self._takes[place]
            if take is not None and symbol in take[0]:
                found |= take[1]
        return frozenset(found) or None

    def accepts(self, state: frozenset[int]) -> bool:
        return self._end in state

    def parts(self, state: frozenset[int]) -> list[frozenset[int]]:
        return [frozenset((place,)) for place in state]

    # ------------------------------------------------------------------------------------------------- building

    def _place(self) -> int:
        if len(self._empty) >= _MOST_PLACES:
            raise OptionError(
                f"The pattern {self.pattern[:60]!r} has more than {_MOST_PLACES} places once its counted repetitions "
                "are written out. Use smaller counts, or * and +."
            )
        self._empty.append([])
        self._moves.append(None)
        return len(self._empty) - 1

    def _set(self, ranges: Ranges) -> int:
        return self._sets.setdefault(ranges, len(self._sets))

    def _closure(self, place: int) -> frozenset[int]:
        """The places reached without a character that lead on by one, or are the end."""
        seen, queue = {place}, [place]
        while queue:
            for other in self._empty[queue.pop()]:
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
        return frozenset(place for place in seen if self._moves[place] is not None or place == self._end)

    def _build(self, items: Any, flags: int, begin: int, first: bool, last: bool) -> int:
        """Put a sequence behind a place and return the place behind it; ``first`` and ``last``: at the text's ends."""
        here = begin
        items = list(items)
        for number, (kind, value) in enumerate(items):
            at_first = first and all(earlier[0] is _c.AT for earlier in items[:number])
            at_last = last and all(later[0] is _c.AT for later in items[number + 1 :])
            here = self._item(kind, value, flags, here, at_first, at_last)
        return here

    def _item(self, kind: Any, value: Any, flags: int, here: int, first: bool, last: bool) -> int:
        if kind is _c.AT:
            if (value in _STARTS and first) or (value in _ENDS and last):
                return here
            what = "word boundaries, \\b and \\B" if "BOUNDARY" in str(value) else "anchors inside of a pattern"
            raise self._unsupported(what)
        if kind is _c.SUBPATTERN:
            _, added, removed, inner = value
            return self._build(inner, (flags | added) & ~removed, here, first, last)
        if kind is _c.BRANCH:
            end = self._place()
            for branch in value[1]:
                start = self._place()
                self._empty[here].append(start)
                self._empty[self._build(branch, flags, start, first, last)].append(end)
            return end
        if kind in (_c.MAX_REPEAT, _c.MIN_REPEAT):
            return self._repeat(value[0], value[1], value[2], flags, here)
        if str(kind) in _REFUSED:
            raise self._unsupported(_REFUSED[str(kind)])
        ranges = self._ranges(kind, value, flags)
        end = self._place()
        if ranges:  # a set without characters leads nowhere
            start = self._place()
            self._empty[here].append(start)
            self._moves[start] = (self._set(ranges), end)
        return end

    def _repeat(self, least: int, most: Any, inner: Any, flags: int, here: int) -> int:
        for _ in range(least):
            here = self._build(inner, flags, here, False, False)
        end = self._place()
        if most is _c.MAXREPEAT:
            again = self._place()
            self._empty[here].append(again)
            self._empty[again].append(end)
            self._empty[self._build(inner, flags, again, False, False)].append(again)
            return end
        self._empty[here].append(end)
        for _ in range(most - least):
            here = self._build(inner, flags, here, False, False)
            self._empty[here].append(end)
        return end

    def _ranges(self, kind: Any, value: Any, flags: int) -> Ranges:
        plain = not flags & re.IGNORECASE
        if kind is _c.LITERAL and plain:
            return ((value, value),) if not 0xD800 <= value <= 0xDFFF else ()
        if kind is _c.ANY:
            return members("[\\s\\S]" if flags & re.DOTALL else ".", 0)
        if kind is _c.LITERAL:
            expression = _sign(value)
        elif kind is _c.NOT_LITERAL:
            expression = f"[^{_sign(value)}]"
        elif kind is _c.IN:
            expression = f"[{''.join(map(_in_set, value))}]"
        else:
            raise self._unsupported(str(kind).lower())
        return members(expression, flags & (re.IGNORECASE | re.ASCII))

    def _unsupported(self, what: str) -> UnsupportedError:
        return UnsupportedError(
            f"The pattern {self.pattern!r} uses {what}, which cannot steer a generation. Expected characters, sets, "
            "groups, | and repetition; write out what it should allow."
        )


def _sign(codepoint: int) -> str:
    return f"\\U{min(codepoint, LAST):08x}"


def _in_set(item: tuple[Any, Any]) -> str:
    kind, value = item
    if kind is _c.NEGATE:
        return "^"
    if kind is _c.LITERAL:
        return _sign(value)
    if kind is _c.RANGE:
        return f"{_sign(value[0])}-{_sign(value[1])}"
    assert kind is _c.CATEGORY
    return f"\\{_INVERSE[value]}"
