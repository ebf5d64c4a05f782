"""Reader.read with choices, pattern and schema: the reading is valid, its confidence the model's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import donut_folder
import pytest
import tiny
import torch

from vision2seq import Reader
from vision2seq.errors import OptionError, UnsupportedError
from vision2seq.generation import Choices

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader.from_pretrained(tiny.readable(tmp_path_factory.mktemp("reader") / "model", seed=3))


def test_choices(reader: Reader) -> None:
    images = [tiny.picture(seed) for seed in range(5)]
    for options in ({}, {"num_beams": 3}, {"alternatives": 2}, {"do_sample": True}):
        readings = list(reader.read(images, choices=["yes", "no", "a bad Day"], batch_size=2, **options))
        assert {reading.text for reading in readings} <= {"yes", "no", "a bad Day"}
        assert all(reading.finish_reason == "eos" and reading.confidence < 0.9 for reading in readings)
        assert {a.text for reading in readings for a in reading.alternatives} <= {"yes", "no", "a bad Day"}


def test_pattern(reader: Reader) -> None:
    (reading,) = reader.read(tiny.picture(), pattern="[a-c]{2,4}[D-F]")
    assert re.fullmatch("[a-c]{2,4}[D-F]", reading.text)
    assert "".join(token.text for token in reading.tokens) == reading.text
    assert re.fullmatch("[a-c]{2,4}[D-F]", "".join(reader.stream(tiny.picture(), pattern="[a-c]{2,4}[D-F]")))
    assert "".join(reader.stream(tiny.picture(), choices=["abc"])) == "abc"


def test_constraint_of_ones_own(reader: Reader) -> None:
    choices = Choices(["ab", "cd"])
    bound = Reader(reader.model, reader.processor, constraint=choices)
    assert all(reading.text in ("ab", "cd") for reading in bound.read([tiny.picture(), tiny.picture(1)]))
    assert choices.masks  # worked out once, for all batches


def test_what_was_worked_out_is_kept(reader: Reader) -> None:
    list(reader.read(tiny.picture(), pattern="ab?"))
    kept = reader._constraint
    list(reader.read(tiny.picture(), pattern="ab?"))
    assert reader._constraint is kept
    schema = {"nm": ["a", "b"]}
    with pytest.raises(OptionError, match="The schema needs the token <s_nm>"):
        list(reader.read(tiny.picture(), schema=schema))
    schema["price"] = ["c", "d"]
    with pytest.raises(OptionError, match="The schema needs the token <s_nm>"):
        list(reader.read(tiny.picture(), schema=schema))
    assert reader._constraint is not None and reader._constraint[0][1] == schema


def test_wrong_calls_fail_where_they_are_made(reader: Reader) -> None:
    with pytest.raises(OptionError, match="choices and pattern say what a text has to be, each by itself; pass one"):
        reader.read(tiny.picture(), choices=["a"], pattern="b")
    with pytest.raises(OptionError, match="expected a list of texts"):
        reader.read(tiny.picture(), choices="yes")
    with pytest.raises(UnsupportedError, match="lookaround"):
        reader.read(tiny.picture(), pattern="a(?=b)")
    with pytest.raises(OptionError, match="has at least 8 tokens"):
        list(reader.read(tiny.picture(), pattern="a{7}", max_new_tokens=7))


@pytest.mark.parametrize("special", [False, True])
def test_schema_gives_data(tmp_path: Path, special: bool) -> None:
    tags = ["<s_cord-v2>", "<s_menu>", "</s_menu>", "<s_nm>", "</s_nm>", "<s_cnt>", "</s_cnt>", "<sep/>"]
    reader = Reader.from_pretrained(donut_folder.donut(tmp_path, *tags, start="<s_cord-v2>", special=special))
    schema = {"menu": [{"nm": "[a-z]{1,4}", "cnt": r"\d"}]}
    for task in (None, "cord-v2", "none"):
        for reading in reader.read([tiny.picture(), tiny.picture(1)], schema=schema, task=task):
            menu = reading.data["menu"]
            for item in menu if isinstance(menu, list) else [menu]:
                assert set(item) == {"nm", "cnt"}
                assert re.fullmatch("[a-z]{1,4}", item["nm"]) and re.fullmatch(r"\d", item["cnt"])
            assert reading.text == json.dumps(reading.data)


def test_an_answer_to_a_question(tmp_path: Path) -> None:
    tags = ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"]
    reader = Reader.from_pretrained(donut_folder.donut(tmp_path, *tags, start="<s_docvqa>", special=True))
    asked = {"question": "who", "task": "docvqa"}
    for options in ({"choices": ["Ann", "Bob"]}, {"pattern": "Ann|Bob"}, {"schema": {"answer": ("Ann", "Bob")}}):
        (reading,) = reader.read(tiny.picture(), **asked, **options)
        assert reading.text in ("Ann", "Bob"), options
        assert reading.data == {"question": "who", "answer": reading.text}
        assert reading.finish_reason == "eos"
