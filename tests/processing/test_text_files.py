"""Tokenizer files: how they are spelled, and what is said of those that are missing, damaged or contradictory."""

from __future__ import annotations

import contextlib
import json
import random
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from vision2seq.errors import CheckpointNotFoundError, OptionError, TokenizerError
from vision2seq.processing.text.load import (
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
    load_tokenizer,
)
from vision2seq.processing.text.sentencepiece_model import BPE, CONTROL, UNIGRAM, UNKNOWN, read_model

GOLDENS = Path(__file__).parents[1] / "goldens/text"
ROBERTA = {name: (GOLDENS / "byte_level" / name).read_text(encoding="utf-8") for name in ("vocab.json", "merges.txt")}
UNIGRAM_MODEL = (GOLDENS / "unigram.model").read_bytes()
BPE_MODEL = (GOLDENS / "bpe.model").read_bytes()
VOCAB_TXT = (GOLDENS / "wordpiece/vocab.txt").read_text(encoding="utf-8")


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Write texts and bytes as they are and anything else as JSON."""
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def refused(folder: Path, *patterns: str, **options: Any) -> str:
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(folder, **options)
    for pattern in patterns:
        assert re.search(pattern, str(caught.value)), str(caught.value)
    return str(caught.value)


# ----------------------------------------------------------------------------------------------- missing


def test_missing_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointNotFoundError, match=r"No folder .*nowhere\. Expected one that holds a tokenizer's files"
    ):
        load_tokenizer(tmp_path / "nowhere")
    refused(
        tmp_path, r"holds no tokenizer: found nothing\. Missing is tokenizer\.json, or vocab\.json with merges\.txt, or"
    )
    write(tmp_path, {"config.json": {}, "model.safetensors": b""})
    refused(
        tmp_path,
        r"found config\.json, model\.safetensors\. Missing is .* vocab\.txt\. Copy the tokenizer's files there",
    )
    with pytest.raises(
        CheckpointNotFoundError, match=r"No file .*merges\.txt, which the tokenizer should be read from"
    ):
        RobertaTokenizer(GOLDENS / "gpt2/vocab.json", tmp_path / "merges.txt")


def test_one_of_two_files_missing(tmp_path: Path) -> None:
    write(tmp_path, {"vocab.json": ROBERTA["vocab.json"]})
    message = (
        r"holds no merges\.txt, which its tokenizer needs\. .* it holds: vocab\.json\. Add the missing one, or a token"
    )
    refused(tmp_path, message)
    write(tmp_path, {"tokenizer_config.json": {"tokenizer_class": "RobertaTokenizer"}})
    refused(tmp_path, message)
    (tmp_path / "vocab.json").rename(tmp_path / "merges.txt")
    refused(tmp_path, r"holds no vocab\.json, .* it holds: merges\.txt\.")


def test_a_class_whose_files_are_not_there(tmp_path: Path) -> None:
    write(tmp_path, {"vocab.txt": VOCAB_TXT, "tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizer"}})
    refused(tmp_path, r"holds no sentencepiece\.bpe\.model, which its tokenizer needs\. .* it holds: vocab\.txt\.")
    with pytest.raises(TokenizerError, match=r"holds no vocab\.json"):
        RobertaTokenizer.from_pretrained(tmp_path)
    write(tmp_path, {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}})
    refused(tmp_path, r"holds no tokenizer\.json, which its tokenizer needs")
    write(tmp_path, {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer"}})
    refused(
        tmp_path,
        r"says tokenizer_class 'T5Tokenizer' and holds vocab\.txt\. Missing is tokenizer\.json, without which only",
        r"known: RobertaTokenizer, .*BertTokenizer.*\. Save it there as a fast tokenizer\.",
    )


# ----------------------------------------------------------------------------------------------- damaged


CONFIG, SPECIAL = "tokenizer_config.json", "special_tokens_map.json"


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("vocab.json", "{", r"vocab\.json is not valid JSON: .* Restore or download it again"),
        ("vocab.json", "[]", r"vocab\.json holds a JSON list, expected an object"),
        ("vocab.json", "{}", r"vocab\.json is empty\. Expected \{token: id, …\}\."),
        ("vocab.json", {"a": 0, "b": 0}, r"vocab\.json gives id 0 to two tokens, 'a' and 'b'"),
        ("vocab.json", {"a": "0"}, r"vocab\.json gives token 'a' the id '0'\. Expected a number from 0 on"),
        ("vocab.json", {"a": -1}, r"gives token 'a' the id -1\. Expected a number from 0 on"),
        ("vocab.json", {"<s>": 0, "</s>": 1}, r"vocab\.json and merges\.txt contradict each other: .* Take both"),
        ("merges.txt", b"#\n\xff a\n", r"merges\.txt is not UTF-8 text: .* Restore or download it again"),
        ("merges.txt", "#version\na b\nab\n", r"merges\.txt, line 3, is 'ab'\. Expected two tokens with a space"),
        ("tokenizer.json", "{", r"tokenizer\.json cannot be read by the tokenizers library: .* Restore it, or update"),
        ("tokenizer.json", {"model": {"type": "Magic"}}, r"tokenizer\.json cannot be read by the tokenizers library"),
        (CONFIG, "no", r"tokenizer_config\.json is not valid JSON"),
        (SPECIAL, "[1]", r"special_tokens_map\.json holds a JSON list"),
        (SPECIAL, {"pad_token": 5}, r"pad_token in .*, special_tokens_map\.json, is 5\. Expected a text, or"),
        (CONFIG, {"mask_token": {"text": "x"}}, r"mask_token in .*, tokenizer_config\.json, is \{'text': 'x'"),
        (CONFIG, {"additional_special_tokens": "x"}, r"additional_special_tokens is 'x'\. Expected a list"),
        (CONFIG, {"additional_special_tokens": [5]}, r"one of additional_special_tokens is 5\. Expected a t"),
        (CONFIG, {"extra_special_tokens": {"a": 5}}, r"a of extra_special_tokens is 5\. Expected a text"),
        (CONFIG, {"added_tokens_decoder": []}, r"added_tokens_decoder is \[\]\. Expected \{id: \{content: "),
        (CONFIG, {"added_tokens_decoder": {"x": "y"}}, r"entry 'x' of added_tokens_decoder has no number"),
        (CONFIG, {"added_tokens_decoder": {"1": 2}}, r"entry '1' of added_tokens_decoder is 2\. Expected a"),
        (
            CONFIG,
            {"added_tokens_decoder": {"9000": "<x>"}},
            r"the added token '<x>' should have the id 9000, but the vocabulary gives it 600\. The files con",
        ),
        ("added_tokens.json", {"<x>": "600"}, r"added_tokens\.json gives token '<x>' the id '600'\. Expected a number"),
        (
            "added_tokens.json",
            {"<x>": 5},
            r"the added token '<x>' should have the id 5, but the vocabulary gives it 600",
        ),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: Any, pattern: str) -> None:
    refused(write(tmp_path, {**ROBERTA, name: content}), pattern)


def test_an_empty_vocab_txt_and_one_without_special_tokens(tmp_path: Path) -> None:
    refused(write(tmp_path, {"vocab.txt": ""}), r"vocab\.txt is empty\. Expected one token a line\.")
    assert load_tokenizer(write(tmp_path, {"vocab.txt": "a\nb\n[UNK]"}))("b a")["input_ids"][1:-1] == [1, 0]


def test_two_files_that_number_a_token_differently(tmp_path: Path) -> None:
    RobertaTokenizer(GOLDENS / "byte_level/vocab.json", GOLDENS / "byte_level/merges.txt").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["added_tokens_decoder"]["7"] = config["added_tokens_decoder"].pop("4")
    write(tmp_path, {"tokenizer_config.json": config})
    with pytest.warns(UserWarning, match=r"gives '<mask>' the id 7, tokenizer\.json the id 4\. The latter is used"):
        assert load_tokenizer(tmp_path).mask_token_id == 4


# ------------------------------------------------------------------------------------------------- spelling


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("typed", [{}, {"__type": "AddedToken"}])
def test_special_tokens_as_texts_and_as_objects(tmp_path: Path, name: str, typed: dict[str, str]) -> None:
    flags = {"single_word": False, "lstrip": True, "rstrip": False, "normalized": False, **typed}
    write(tmp_path, {**ROBERTA, name: {"pad_token": "!", "mask_token": {"content": "<line>", **flags}}})
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.pad_token_id == tokenizer.convert_tokens_to_ids("!")
    assert tokenizer.mask_token == "<line>"
    assert tokenizer.mask_token_id == 600
    assert tokenizer.tokenize("a  <line>") == ["a", "<line>"]  # lstrip takes the spaces before it


def test_added_tokens_of_every_spelling(tmp_path: Path) -> None:
    write(tmp_path, {**ROBERTA, "added_tokens.json": {"<b>": 601, "<a>": 600}})
    assert load_tokenizer(tmp_path).get_added_vocab()["<b>"] == 601
    listed = {
        "600": {"content": "<a>", "rstrip": True, "special": True},
        "601": {"content": "<b>", "single_word": True},
    }
    write(tmp_path, {"tokenizer_config.json": {"added_tokens_decoder": listed}})
    tokenizer = load_tokenizer(tmp_path)
    assert [tokenizer.added_tokens_encoder[text] for text in ("<a>", "<b>")] == [600, 601]
    assert tokenizer.tokenize("x<a>  y x<b>y <b> y")[:3] == ["x", "<a>", "y"]
    assert tokenizer.tokenize("x<b>y").count("<b>") == 0  # a single word only
    assert tokenizer.decode([600, 601], skip_special_tokens=True) == "<b>"


def test_older_names_of_options(tmp_path: Path) -> None:
    write(tmp_path, {**ROBERTA, "tokenizer_config.json": {"max_len": 77, "model_input_names": ["input_ids"]}})
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.model_max_length == 77
    assert list(tokenizer("a")) == ["input_ids"]
    with pytest.raises(OptionError, match="truncation_side is 'x'"):
        load_tokenizer(tmp_path, truncation_side="x")


# --------------------------------------------------------------------------------------------- sentencepiece


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def piece(text: str, score: float = 0.0, kind: int | None = None) -> bytes:
    content = message(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score)
    return message(1, content + (varint(3 << 3) + varint(kind) if kind else b""))


HEAD = piece("<unk>", kind=UNKNOWN) + piece("<s>", kind=CONTROL) + piece("</s>", kind=CONTROL)


def trainer(kind: int) -> bytes:
    return message(2, varint(3 << 3) + varint(kind))


def test_the_fields_of_a_model() -> None:
    data = (
        HEAD + piece("▁a", -1.5) + message(2, b"\x18\x02" + message(45, "⁇".encode())) + message(3, message(2, b"map"))
    )
    model = read_model(data + message(99, b"later releases add fields") + varint(98 << 3 | 1) + bytes(8))
    assert model.pieces == [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁a", -1.5, 1)]
    assert (model.model_type, model.unk_piece, model.charsmap) == (BPE, "⁇", b"map")
    assert read_model(UNIGRAM_MODEL).model_type == UNIGRAM
    assert [text for text, _, _ in read_model(BPE_MODEL).pieces[:5]] == ["<unk>", "<s>", "</s>", "<sep/>", "<s_menu>"]


@pytest.mark.parametrize("data", [UNIGRAM_MODEL, BPE_MODEL])
def test_a_truncated_model_is_refused_wherever_it_ends(data: bytes) -> None:
    for end in [*range(60), *range(60, len(data) - 1, 37), len(data) - 1]:
        with pytest.raises(TokenizerError, match=r"is no SentencePiece model, or a damaged one: .* download it again"):
            read_model(data[:end])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"it holds no pieces and no trainer settings and no normaliser settings"),
        (HEAD, r"it holds no trainer settings and no normaliser settings"),
        (HEAD[:-2], r"it ends 2 bytes too early"),
        (b"\x0a", r"it ends within a number"),
        (b"\xff" * 20, r"an endless number at byte"),
        (b"\x0b", r"wire type 3 at byte 1"),
        (b"\x08\x01", r"a number where a message was expected"),
        (message(1, message(1, b"\xff\xfe")), r"can't decode byte 0xff"),
        (message(1, message(2, b"12")), r"unpack requires a buffer of 4 bytes"),
        (b"<!DOCTYPE html><html>Not found</html>", r"damaged one"),
    ],
)
def test_what_is_wrong_with_a_model(data: bytes, reason: str) -> None:
    with pytest.raises(TokenizerError, match=reason):
        read_model(data)


def test_random_damage_never_ends_in_another_error(tmp_path: Path) -> None:
    generator, path = random.Random(0), tmp_path / "sentencepiece.bpe.model"
    for _ in range(300):
        data = bytearray(generator.choice([UNIGRAM_MODEL, BPE_MODEL]))
        for _ in range(generator.randint(1, 8)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        path.write_bytes(bytes(data))
        with contextlib.suppress(TokenizerError):
            load_tokenizer(tmp_path)("a ½ b")


def test_a_breakdown_inside_the_library_is_an_error() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({" ": 0, "?": 1}, unk_token="?"))
    backend.decoder = tokenizers.decoders.Strip(" ", 1, 1)  # takes two characters of one
    message = (
        r"The tokenizers library broke down while decoding: .* files seem to be damaged\. Restore or download them"
    )
    with pytest.raises(TokenizerError, match=message):
        PreTrainedTokenizerFast(tokenizer_object=backend).decode([0])


def test_models_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "sentencepiece.bpe.model"
    path.write_bytes(HEAD + piece("▁a") + trainer(4) + message(3, b""))
    refused(tmp_path, r"is a SentencePiece model of type 4\. Expected 1 \(unigram\) or 2 \(BPE\)\.")
    path.write_bytes(HEAD + piece("▁a") + trainer(1) + message(3, message(2, b"not a map")))
    refused(tmp_path, r"The normaliser in .*sentencepiece\.bpe\.model cannot be read: ")
    path.write_bytes(UNIGRAM_MODEL[:1000])
    refused(tmp_path, r"sentencepiece\.bpe\.model is no SentencePiece model, or a damaged one")


@pytest.mark.parametrize("kind", [UNIGRAM, BPE])
def test_a_model_by_hand(tmp_path: Path, kind: int) -> None:
    """Both kinds, no normaliser: ids are one more than in the file, <mask> is last, spaces become one ▁."""
    pieces = [("▁a", -1.0), ("b", -2.0), ("▁ab", -3.0), ("▁", -4.0), ("a", -5.0)]
    (tmp_path / "sentencepiece.bpe.model").write_bytes(
        HEAD + b"".join(piece(*pair) for pair in pieces) + trainer(kind) + message(3, b"")
    )
    tokenizer = load_tokenizer(tmp_path)
    assert type(tokenizer) is XLMRobertaTokenizer
    assert tokenizer.convert_tokens_to_ids([text for text, _ in pieces]) == [4, 5, 6, 7, 8]
    assert tokenizer.mask_token_id == len(tokenizer) - 1 == 9
    assert tokenizer.tokenize("ab   b") == ["▁ab", "▁", "b"]
    ids = tokenizer("ab b c")["input_ids"]
    assert ids[0] == 0
    assert ids[-1] == 2
    assert tokenizer.unk_token_id in ids
    assert tokenizer.decode(tokenizer("ab   b")["input_ids"], skip_special_tokens=True) == "ab b"
