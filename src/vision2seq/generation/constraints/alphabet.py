"""Sets of characters, and the classes of characters that a few sets cannot tell apart.

Which characters a set such as ``[\\w.-]`` holds is asked of Python's own ``re``, flags and all, so nothing can differ.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ranges = tuple[tuple[int, int], ...]
"""Code points, as first and last of each run, ascending."""

LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)  # no characters, and nothing that UTF-8 can hold


@functools.lru_cache(maxsize=512)
def members(expression: str, flags: int) -> Ranges:
    """The characters that an expression of one character matches."""
    runs = re.compile(f"(?:{expression})+", flags).finditer(_all_characters())
    found = []
    for run in runs:
        low, high = run.start(), run.end() - 1
        if low < _SURROGATES[0] <= high:
            found.append((low, _SURROGATES[0] - 1))
        if low <= _SURROGATES[1] < high:
            found.append((_SURROGATES[1] + 1, high))
        if high < _SURROGATES[0] or low > _SURROGATES[1]:
            found.append((low, high))
    return tuple(found)


@functools.lru_cache(maxsize=1)
def _all_characters() -> str:
    return "".join(map(chr, range(LAST + 1)))


class Alphabet:
    """Classes of characters, numbered; class 0 is in none of the sets.

    Args:
        sets: The sets. Two characters are of one class if each set holds both or neither.
    """

    def __init__(self, sets: Sequence[Ranges]) -> None:
        cuts = sorted({0} | {edge for ranges in sets for low, high in ranges for edge in (low, high + 1)})
        signatures = [0] * len(cuts)
        for number, ranges in enumerate(sets):
            for low, high in ranges:
                for place in range(bisect.bisect_left(cuts, low), bisect.bisect_right(cuts, high)):
                    signatures[place] |= 1 << number
        numbers = {0: 0}
        classes = [numbers.setdefault(signature, len(numbers)) for signature in signatures]
        self._cuts = np.array(cuts, dtype=np.uint32)
        self._classes = np.array(classes, dtype=np.uint16)
        self.count = len(numbers)
        """How many classes there are."""
        self.of_set = [
            frozenset(number for signature, number in numbers.items() if signature >> index & 1)
            for index in range(len(sets))
        ]
        """For each set its classes."""

    def classes(self, codepoints: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint16]:
        """The class of each character."""
        return self._classes[np.searchsorted(self._cuts, codepoints, side="right") - 1]

    def within(self, low: int, high: int) -> frozenset[int]:
        """The classes of the characters from one code point to another."""
        first, last = np.searchsorted(self._cuts, [low, high], side="right") - 1
        return frozenset(self._classes[first : last + 1].tolist())
