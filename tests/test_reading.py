"""What a reading can tell: words, scores, other texts, loops. Where it was read from is in test_locate.py."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tiny
import torch

from vision2seq import Reader
from vision2seq.errors import OptionError
from vision2seq.reading import Token, Word, union, words_of

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader.from_pretrained(tiny.readable(tmp_path_factory.mktemp("reading") / "model", seed=3))


def tokens(*texts: str, probability: float = 0.5) -> list[Token]:
    return [Token(10 + number, text, probability) for number, text in enumerate(texts)]


# ------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("a", "b", " ", "c"), [("ab", 0, 2), ("c", 3, 4)]),
        (("in", "voice", " total", ":"), [("invoice", 0, 2), ("total:", 2, 4)]),
        ((" ", " ", "a", "\n", "b", " "), [("a", 2, 3), ("b", 4, 5)]),
        (("one two", " three"), [("one", 0, 1), ("two", 0, 1), ("three", 1, 2)]),
        (("a", "b c", "d"), [("ab", 0, 2), ("cd", 1, 3)]),
        (("a", "", "", "\u20ac", "b"), [("a\u20acb", 0, 5)]),  # two tokens hold bytes of the euro sign
        (("a", " ", "", "", "\u20ac"), [("a", 0, 1), ("\u20ac", 2, 5)]),
        (("a", ""), [("a", 0, 1)]),
        (("", ""), []),
        ((" ",), []),
        ((), []),
    ],
)
def test_words(texts: tuple[str, ...], expected: list[tuple[str, int, int]]) -> None:
    found = words_of(tokens(*texts))
    assert [(word.text, word.start, word.end) for word in found] == expected
    for word in found:
        assert word.probability == pytest.approx(0.5 ** (word.end - word.start))
        assert word.box is None


def test_special_tokens_end_words_and_belong_to_none() -> None:
    row = tokens("<s_nm>", "Tea", "", "2", ".5", "<s_x>", "3", "")
    found = words_of(row, special={10, 12, 15, 17})
    assert [(word.text, word.start, word.end) for word in found] == [("Tea", 1, 2), ("2.5", 3, 5), ("3", 6, 7)]


def test_a_word_has_the_box_round_those_of_its_tokens() -> None:
    row = [
        Token(10, "a", 0.9, (10.0, 5.0, 20.0, 15.0)),
        Token(11, "b", 0.8, (18.0, 4.0, 30.0, 14.0)),
        Token(12, " ", 0.7, (30.0, 0.0, 90.0, 20.0)),
        Token(13, "c", 0.6, None),
    ]
    assert words_of(row) == (
        Word("ab", pytest.approx(0.72), 0, 2, (10.0, 4.0, 30.0, 15.0)),
        Word("c", pytest.approx(0.6), 3, 4, None),
    )
    assert union([None]) is None
    assert union([(1, 2, 3, 4), None]) == (1, 2, 3, 4)


def test_the_words_of_a_reading_are_those_of_its_text(reader: Reader) -> None:
    found, special = 0, {tiny.START, tiny.PAD, tiny.EOS}
    for reading in reader.read([tiny.picture(seed) for seed in range(12)]):
        assert "".join(word.text for word in reading.words) == "".join(reading.text.split())
        if special.isdisjoint(token.id for token in reading.tokens[:-1]):
            assert [word.text for word in reading.words] == reading.text.split()
            found += len(reading.words)
        for word in reading.words:
            parts = reading.tokens[word.start : word.end]
            assert "".join(part.text for part in parts).strip() == word.text
            assert word.probability == pytest.approx(math.prod(part.probability for part in parts))
    assert found > 5


# -------------------------------------------------------------------------------------------------- scores and others


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 2, "length_penalty": 0.0}])
def test_the_score_of_a_reading(reader: Reader, options: dict[str, Any]) -> None:
    for reading in reader.read([tiny.picture(seed) for seed in range(5)], **options):
        total = sum(math.log(token.probability) for token in reading.tokens)
        penalty = options.get("length_penalty", 1.0)
        assert reading.score == pytest.approx(total / len(reading.tokens) ** penalty, rel=1e-4)
        assert reading.alternatives == ()


def test_a_reading_that_failed_tells_nothing(reader: Reader) -> None:
    (reading,) = reader.read(b"no image", alternatives=2)
    assert (reading.words, reading.score, reading.alternatives, reading.repetition) == ((), None, (), False)


def test_alternatives(reader: Reader) -> None:
    pictures = [tiny.picture(seed) for seed in range(5)]
    readings = list(reader.read(pictures, alternatives=3, batch_size=2))
    best = list(reader.read(pictures, num_beams=3))
    for picture, reading, alone in zip(pictures, readings, best, strict=True):
        assert [a.text for a in reading.alternatives[:1]] == [reading.text] == [alone.text]
        assert reading.alternatives[0].score == reading.score == pytest.approx(alone.score)
        assert reading.alternatives[0].probability == pytest.approx(reading.probability, rel=1e-4)
        scores = [alternative.score for alternative in reading.alternatives]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        pixels = reader.prepare(picture)[None]
        ids = reader.model.generate(pixels, num_beams=3, num_return_sequences=3)[:, 1:].tolist()
        expected = reader.tokenizer.batch_decode(ids, skip_special_tokens=True)
        assert [alternative.text for alternative in reading.alternatives] == expected
        assert len(set(expected)) == 3


def test_alternatives_of_more_beams_and_of_none(reader: Reader) -> None:
    picture = tiny.picture()
    (three,) = reader.read(picture, num_beams=5)
    (wide,) = reader.read(picture, num_beams=5, alternatives=2)
    assert wide.text == three.text
    assert len(wide.alternatives) == 2
    (one,) = reader.read(picture, alternatives=1)
    assert one.alternatives == ()
    assert one.text == next(reader.read(picture)).text
    own = Reader(reader.model, reader.processor, num_beams=4)
    assert next(own.read(picture, alternatives=2)).text == next(own.read(picture)).text


def test_alternatives_that_are_drawn(reader: Reader) -> None:
    torch.manual_seed(0)
    (reading,) = reader.read(tiny.picture(), alternatives=4, do_sample=True, temperature=2.0)
    scores = [alternative.score for alternative in reading.alternatives]
    assert len(set(scores)) > 1
    assert scores == sorted(scores, reverse=True)
    assert reading.text == reading.alternatives[0].text


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "3"])
def test_wrong_numbers_of_alternatives(reader: Reader, value: Any) -> None:
    with pytest.raises(OptionError, match=f"alternatives is {value!r}, expected a whole number from 1"):
        reader.read(tiny.picture(), alternatives=value)


def test_what_is_no_loop(reader: Reader) -> None:
    assert not any(reading.repetition for reading in reader.read([tiny.picture(seed) for seed in range(3)]))
