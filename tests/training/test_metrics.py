"""Edit distance, CER, WER: known values, and the plain table of distances on random texts."""

from __future__ import annotations

import random

import pytest

from vision2seq.errors import OptionError
from vision2seq.training import character_error_rate, edit_distance, score, word_error_rate


def by_table(found: str, expected: str) -> int:
    before = list(range(len(expected) + 1))
    for row, a in enumerate(found, 1):
        now = [row]
        for column, b in enumerate(expected, 1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (a != b)))
        before = now
    return before[-1]


@pytest.mark.parametrize(
    ("found", "expected", "distance"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("abc", "abc", 0),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ("intention", "execution", 5),
        ("naïve €", "naive E", 2),
    ],
)
def test_known_distances(found: str, expected: str, distance: int) -> None:
    assert edit_distance(found, expected) == edit_distance(expected, found) == distance


@pytest.mark.parametrize(("signs", "longest", "count"), [("ab", 9, 1500), ("abcdefgh ", 40, 200), ("ab ", 150, 8)])
def test_random_texts_against_the_table(signs: str, longest: int, count: int) -> None:
    draw = random.Random(longest)
    for _ in range(count):
        found, expected = ("".join(draw.choices(signs, k=draw.randrange(longest))) for _ in range(2))
        assert edit_distance(found, expected) == by_table(found, expected), (found, expected)


def test_words_are_sequences_too() -> None:
    assert edit_distance("the cat sat".split(), "the dog sat down".split()) == 2


def test_rates_are_those_of_the_corpus_not_the_mean_of_the_texts() -> None:
    found, expected = ["x", "the long line is right"], ["y", "the long line is right"]
    scores = score(found, expected)
    assert (scores.character_edits, scores.characters, scores.word_edits, scores.words) == (1, 23, 1, 6)
    assert scores.cer == character_error_rate(found, expected) == 1 / 23
    assert scores.wer == word_error_rate(found, expected) == 1 / 6
    assert scores.exact_share == 0.5
    assert scores.to_dict() == {"cer": 1 / 23, "wer": 1 / 6, "exact": 0.5, "texts": 2}


def test_empty_texts() -> None:
    assert score([], []).to_dict() == {"cer": 0.0, "wer": 0.0, "exact": 0.0, "texts": 0}
    assert score([""], [""]).exact_share == 1.0
    assert score(["ab"], [""]).cer == 2.0  # all that was made up counts
    assert word_error_rate([" "], [""]) == 0.0


def test_texts_have_to_be_paired() -> None:
    with pytest.raises(OptionError, match="1 found texts cannot be compared with 2 expected ones; pair them"):
        score(["a"], ["a", "b"])
