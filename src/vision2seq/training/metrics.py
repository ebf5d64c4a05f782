"""How far found texts are from the expected ones: edit distance, character and word error rate, share read exactly.

Rates are those of a corpus: all edits over the length of all expected texts, so that a short text weighs little.
Nothing is normalised: case, spaces and signs count as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from vision2seq.errors import OptionError


def edit_distance(found: Sequence[Hashable], expected: Sequence[Hashable]) -> int:
    """Levenshtein's distance: fewest insertions, deletions and substitutions that make one sequence of the other.

    Args:
        found: A text, or a list of words.
        expected: The same.

    Paper: Myers 1999, "A fast bit-vector algorithm for approximate string matching based on dynamic programming", in
    the form of Hyyrö 2001. A column of the table of distances is two whole numbers; their bits say in which rows the
    distance is one more (``up``) or one less (``down``) than in the row before.
    """
    if len(found) > len(expected):
        found, expected = expected, found
    start, rows, columns = 0, len(found), len(expected)
    while start < rows and found[start] == expected[start]:
        start += 1
    while rows > start and found[rows - 1] == expected[columns - 1]:
        rows, columns = rows - 1, columns - 1
    height = rows - start
    if not height:
        return columns - start
    places: dict[Hashable, int] = {}
    for row in range(height):
        sign = found[start + row]
        places[sign] = places.get(sign, 0) | 1 << row
    everywhere, last = (1 << height) - 1, 1 << (height - 1)
    up, down, distance = everywhere, 0, height
    for column in range(start, columns):
        same = places.get(expected[column], 0)
        level = same | down
        across = (((same & up) + up) ^ up) | same
        right_up, right_down = down | ~(across | up), up & across
        if right_up & last:
            distance += 1
        elif right_down & last:
            distance -= 1
        right_up, right_down = right_up << 1 | 1, right_down << 1
        up = (right_down | ~(level | right_up)) & everywhere
        down = right_up & level & everywhere
    return distance


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts over a set of texts, and the rates that follow from them.

    Attributes:
        texts: How many texts were compared.
        exact: How many were found without a mistake.
        character_edits: Edits between all texts.
        characters: Length of all expected texts.
        word_edits: The same in words, which is what stands between white space.
        words: Words of all expected texts.
    """

    texts: int
    exact: int
    character_edits: int
    characters: int
    word_edits: int
    words: int

    @property
    def cer(self) -> float:
        """Character error rate; above 1 where more was made up than there is. Of empty texts, the edits themselves."""
        return self.character_edits / max(1, self.characters)

    @property
    def wer(self) -> float:
        """Word error rate."""
        return self.word_edits / max(1, self.words)

    @property
    def exact_share(self) -> float:
        """Share of the texts without a mistake."""
        return self.exact / max(1, self.texts)

    def to_dict(self) -> dict[str, float]:
        """``cer``, ``wer``, ``exact`` (a share) and ``texts``."""
        return {"cer": self.cer, "wer": self.wer, "exact": self.exact_share, "texts": self.texts}


def score(found: Iterable[str], expected: Iterable[str]) -> Scores:
    """Compare texts pair by pair.

    Args:
        found: What was read.
        expected: What should have been, in the same order.

    Raises:
        OptionError: Not as many of the one as of the other.
    """
    found, expected = list(found), list(expected)
    if len(found) != len(expected):
        raise OptionError(f"{len(found)} found texts cannot be compared with {len(expected)} expected ones; pair them.")
    pairs = [(one, other, one.split(), other.split()) for one, other in zip(found, expected, strict=True)]
    return Scores(
        texts=len(pairs),
        exact=sum(one == other for one, other, _, _ in pairs),
        character_edits=sum(edit_distance(one, other) for one, other, _, _ in pairs),
        characters=sum(map(len, expected)),
        word_edits=sum(edit_distance(words, others) for _, _, words, others in pairs),
        words=sum(len(others) for _, _, _, others in pairs),
    )


def character_error_rate(found: Iterable[str], expected: Iterable[str]) -> float:
    """All edits over the length of all expected texts; see `score`."""
    return score(found, expected).cer


def word_error_rate(found: Iterable[str], expected: Iterable[str]) -> float:
    """All edits in words over the words of all expected texts; see `score`."""
    return score(found, expected).wer
