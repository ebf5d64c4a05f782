"""Donut's tags: fields out of text, however broken, and text out of fields."""

from __future__ import annotations

import random
from typing import Any

import pytest

from vision2seq.errors import OptionError
from vision2seq.processing.output.donut import json2token, tags_of, token2json


@pytest.mark.parametrize(
    ("tokens", "fields"),
    [
        ("<s_total>9.50</s_total>", {"total": "9.50"}),
        ("<s_a> x </s_a><s_b>\ny</s_b>", {"a": "x", "b": "y"}),
        ("<s_a>1<sep/> 2 <sep/>3</s_a>", {"a": ["1", "2", "3"]}),
        ("<s_a></s_a>", {"a": ""}),
        ("<s_menu><s_nm>tea</s_nm><s_cnt>2</s_cnt></s_menu>", {"menu": {"nm": "tea", "cnt": "2"}}),
        (
            "<s_menu><s_nm>tea</s_nm><sep/><s_nm>egg</s_nm></s_menu><s_total>3</s_total>",
            {"menu": [{"nm": "tea"}, {"nm": "egg"}], "total": "3"},
        ),
        ("<s_a>1</s_a><sep/><s_a>2</s_a>", [{"a": "1"}, {"a": "2"}]),
        ("<s_sub.nm>1</s_sub.nm>", {"sub.nm": "1"}),
        ("<S_a>1</s_A>", {"a": "1"}),
        ("no fields at all", {"text_sequence": "no fields at all"}),
        ("", {"text_sequence": ""}),
        # broken
        ("<s_a>1", {"text_sequence": "1"}),
        ("<s_a>1<s_b>2</s_b>", {"b": "2"}),
        ("1</s_a>", {"text_sequence": "1</s_a>"}),
        ("</s_a><s_a>1</s_a>", {"a": "1"}),
        ("<s_a>1</s_a> and the rest", {"a": "1"}),
        ("<s_a>1</s_a><s_b", {"a": "1"}),
        ("<s_a><s_b>1</s_a></s_b>", {"a": "<s_b>1"}),
        ("<s_menu><s_x></s_menu>", {"menu": "<s_x>"}),
        ("<s_menu><s_x></s_y></s_menu>", {"text_sequence": ""}),
    ],
)
def test_fields_of_a_text(tokens: str, fields: Any) -> None:
    assert token2json(tokens) == fields


def test_inside_of_a_field_an_object_is_a_list() -> None:
    assert token2json("<s_a>1</s_a>", is_inner_value=True) == [{"a": "1"}]
    assert token2json("no fields", is_inner_value=True) == []


def test_only_added_tokens_are_values_out_of_a_fixed_set() -> None:
    assert token2json("<s_state><paid/></s_state>", added_vocab={"<paid/>": 7}) == {"state": "paid"}
    assert token2json("<s_state><paid/></s_state>") == {"state": "<paid/>"}
    assert token2json("<s_state><paid/><sep/><open/></s_state>", added_vocab=["<paid/>"]) == {
        "state": ["paid", "<open/>"]
    }


def test_a_long_list_does_not_exhaust_the_stack() -> None:
    tokens = "<sep/>".join(f"<s_n>{number}</s_n>" for number in range(3000))
    assert token2json(tokens) == [{"n": str(number)} for number in range(3000)]


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ({"total": "9.50"}, "<s_total>9.50</s_total>"),
        ({"a": 1, "b": None, "c": 2.5}, "<s_c>2.5</s_c><s_b>None</s_b><s_a>1</s_a>"),
        ({"a": ["x", "y"]}, "<s_a>x<sep/>y</s_a>"),
        ({"m": [{"n": "1"}, {"n": "2"}]}, "<s_m><s_n>1</s_n><sep/><s_n>2</s_n></s_m>"),
        ([{"n": "1"}, {"n": "2"}], "<s_n>1</s_n><sep/><s_n>2</s_n>"),
        ({"text_sequence": "plain"}, "plain"),
        ({}, ""),
        ([], ""),
    ],
)
def test_text_of_fields(value: Any, tokens: str) -> None:
    assert json2token(value) == tokens


def test_keys_may_keep_their_order() -> None:
    assert json2token({"a": "1", "b": "2"}, sort_keys=False) == "<s_a>1</s_a><s_b>2</s_b>"


def test_values_out_of_a_fixed_set_become_their_token() -> None:
    assert json2token({"state": "paid", "note": "free"}, added_vocab={"<paid/>"}) == (
        "<s_state><paid/></s_state><s_note>free</s_note>"
    )


@pytest.mark.parametrize("key", ["", "a>", "<a", 3])
def test_a_key_that_is_no_tag_is_refused(key: Any) -> None:
    with pytest.raises(OptionError, match="cannot be a tag <s_…>. Expected a text without < and >; rename the field"):
        json2token({"x": {key: "1"}})


def test_the_tags_to_add_before_training() -> None:
    value = {"menu": [{"nm": "tea"}, {"nm": "egg"}], "total": "3", "one": ["x"]}
    assert tags_of(value) == [
        "</s_menu>",
        "</s_nm>",
        "</s_one>",
        "</s_total>",
        "<s_menu>",
        "<s_nm>",
        "<s_one>",
        "<s_total>",
        "<sep/>",
    ]
    assert all(tag in json2token(value) for tag in tags_of(value))
    assert tags_of({"text_sequence": "x"}) == []
    assert "<sep/>" not in tags_of({"a": ["x"]})


# --------------------------------------------------------------------------------------------------------- round trip


def drawn(chance: random.Random, keys: list[str], depth: int = 3) -> dict[str, Any]:
    """A document that can come back as it was.

    What cannot: keys inside of a field of the same name; lists of one, of lists, or of texts and objects; empty
    objects; texts with tags, or with white space around them.
    """
    fields: dict[str, Any] = {}
    chosen = chance.sample(keys, min(len(keys), chance.randint(1, 4)))
    rest = [key for key in keys if key not in chosen]

    def text() -> str:
        return "".join(chance.choice("aB3 .é語<>/&") for _ in range(chance.randint(0, 9))).strip()

    for key in chosen:
        kind = chance.random()
        if kind < 0.5 or depth == 0 or not rest:
            fields[key] = text()
        elif kind < 0.65:
            fields[key] = [text() for _ in range(chance.randint(2, 4))]
        elif kind < 0.85:
            fields[key] = drawn(chance, rest, depth - 1)
        else:
            fields[key] = [drawn(chance, rest, depth - 1) for _ in range(chance.randint(2, 4))]
    return fields


@pytest.mark.parametrize("seed", range(8))
def test_fields_come_back_from_their_text(seed: int) -> None:
    chance = random.Random(seed)
    keys = [f"k{number}" if number % 2 else f"k{number}.sub-nm" for number in range(14)]
    for _ in range(250):
        value = drawn(chance, keys)
        for sort_keys in (True, False):
            tokens = json2token(value, sort_keys=sort_keys)
            assert token2json(tokens) == value
            assert json2token(token2json(tokens), sort_keys=sort_keys) == tokens


@pytest.mark.parametrize("seed", range(4))
def test_a_text_cut_anywhere_is_read(seed: int) -> None:
    chance = random.Random(seed)
    keys = [f"k{number}" for number in range(14)]
    for _ in range(60):
        tokens = json2token(drawn(chance, keys))
        for _ in range(10):
            start, end = sorted(chance.choices(range(len(tokens) + 1), k=2))
            assert isinstance(token2json(tokens[start:end]), dict | list)
            assert isinstance(token2json(tokens[start:end], is_inner_value=True), list)
