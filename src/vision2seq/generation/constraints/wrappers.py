"""Automata around an automaton: for texts that arrive in bytes, and for what decoding does to spaces in the end."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from vision2seq.generation.constraints.alphabet import LAST, Alphabet
from vision2seq.generation.constraints.regex import Automaton, Regex

BYTE = 0x10000
"""Symbol of byte 0; those below are classes of characters."""

CLEANED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""What decoding takes the spaces out of, one after the other over the whole text.

Source: transformers' ``clean_up_tokenization``.
"""
SIGNS = "".join(sorted(set("".join(CLEANED))))
"""The characters that this depends on."""


class Bytewise:
    """Lets characters also arrive in the bytes of their UTF-8.

    A state is the inner one and the bytes of a character that is not complete. Once they tell its class, whatever
    follows, the inner one goes on, and only the number of bytes that are still to come is kept: 0 most of the time.
    """

    def __init__(self, inner: Automaton) -> None:
        self._inner = inner
        self.alphabet = inner.alphabet
        self.start = (inner.start, 0)
        self._reach: dict[bytes, tuple[frozenset[int], bool]] = {}

    def step(self, state: tuple[Any, int | bytes], symbol: int) -> Hashable | None:
        inner, begun = state
        if symbol < BYTE:
            after = None if begun else self._inner.step(inner, symbol)
            return None if after is None else (after, 0)
        byte = symbol - BYTE
        if begun and byte & 0xC0 != 0x80:
            return None
        if isinstance(begun, int) and begun:
            return inner, begun - 1
        read = (begun or b"") + bytes([byte])
        if read not in self._reach:
            self._reach[read] = _reach(read, self.alphabet)
        classes, settled = self._reach[read]
        for number in classes:
            after = self._inner.step(inner, number)
            if after is not None:
                return (after, _size(read[0]) - len(read)) if settled else (inner, read)
        return None

    def accepts(self, state: tuple[Any, int | bytes]) -> bool:
        return not state[1] and self._inner.accepts(state[0])

    def parts(self, state: tuple[Any, int | bytes]) -> Iterable[Hashable]:
        return [(part, state[1]) for part in self._inner.parts(state[0])]


def _size(lead: int) -> int:
    return 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


def _reach(read: bytes, alphabet: Alphabet) -> tuple[frozenset[int], bool]:
    """The live classes of the characters whose UTF-8 begins with some bytes, and whether all are of one."""
    lead, size = read[0], _size(read[0])
    if 0x80 <= lead < 0xC2 or lead > 0xF4:
        return frozenset(), False
    # The characters with a common beginning are neighbours: those from the lowest to the highest bytes behind it.
    value = lead & (0x7F, 0x1F, 0x0F, 0x07)[size - 1]
    for byte in read[1:]:
        value = value << 6 | byte & 0x3F
    missing = 6 * (size - len(read))
    first, last = value << missing, (value + 1 << missing) - 1
    low = max(first, (0, 0x80, 0x800, 0x10000)[size - 1])  # nothing is spelled longer than it must be
    high = min(last, LAST)
    parts = [(a, b) for a, b in ((low, min(high, 0xD7FF)), (max(low, 0xE000), high)) if a <= b]
    found = frozenset().union(*(alphabet.within(a, b) for a, b in parts))
    settled = parts == [(first, last)] and len(found) == 1
    return found - {0}, settled


class CleanedUp:
    """Accepts a text if what decoding makes of it, with spaces before punctuation removed, is accepted within.

    Each replacement holds back what may be the beginning of what it looks for. A state is the inner one and the text
    that each of them holds.
    """

    def __init__(self, inner: Regex) -> None:
        self._inner = inner
        self.alphabet = inner.alphabet
        self._sign_of = {number: sign for sign, number in inner.alone.items()}
        self.start: Hashable = (inner.start, ("",) * len(CLEANED))

    def step(self, state: tuple[Any, tuple[str, ...]], symbol: int) -> Hashable | None:
        inner, held = state
        buffers = list(held)
        # A sign that no replacement looks for goes by its class's number, shifted out of the way of all characters.
        sign = self._sign_of.get(symbol) or chr(0xF0000 + symbol)
        after = self._feed(inner, self._push(buffers, sign, 0))
        return None if after is None else (after, tuple(buffers))

    def accepts(self, state: tuple[Any, tuple[str, ...]]) -> bool:
        inner, held = state
        buffers = list(held)
        text = ""
        for stage in range(len(CLEANED)):
            rest, buffers[stage] = buffers[stage], ""
            text += self._push(buffers, rest, stage + 1)
        after = self._feed(inner, text)
        return after is not None and self._inner.accepts(after)

    def parts(self, state: tuple[Any, tuple[str, ...]]) -> Iterable[Hashable]:
        return [(part, state[1]) for part in self._inner.parts(state[0])]

    def _push(self, buffers: list[str], text: str, stage: int) -> str:
        """Put text through the replacements from one on; what comes out is settled."""
        for place in range(stage, len(CLEANED)):
            wanted, out = CLEANED[place], ""
            for sign in text:
                held = buffers[place] + sign
                while not wanted.startswith(held):
                    out, held = out + held[0], held[1:]
                if held == wanted:
                    out, held = out + wanted.strip(), ""
                buffers[place] = held
            text = out
        return text

    def _feed(self, inner: Any, text: str) -> Any:
        for sign in text:
            number = ord(sign) - 0xF0000 if sign >= chr(0xF0000) else self._inner.alone[sign]
            inner = self._inner.step(inner, number)
            if inner is None:
                return None
        return inner
