"""Streaming: the pieces joined are the decoded text, and no piece ever holds half a character."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models

from vision2seq.errors import OptionError
from vision2seq.processing.text.cleanup import IncrementalCleanUp, clean_up
from vision2seq.processing.text.load import (
    BertJapaneseTokenizer,
    BertTokenizer,
    GPT2Tokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)
from vision2seq.processing.text.streaming import IncrementalDecoder
from vision2seq.processing.text.tokenizer import Tokenizer

GOLDENS = Path(__file__).parents[1] / "goldens/text"
TEXT = "Größe 😀👩‍👩‍👧‍👦 日本語, it 's  two ; n't 've . ? done <mask> żółć"


def characters(decoder: Any) -> Tokenizer:
    letters = [*"ab .,'nt▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab = {text: index for index, text in enumerate(["<s>", "</s>", "<unk>", *dict.fromkeys(letters)])}
    backend = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    backend.add_special_tokens(["<s>", "</s>"])
    if decoder is not None:
        backend.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def make(name: str) -> Tokenizer:
    if name == "roberta":
        return RobertaTokenizer(GOLDENS / "byte_level/vocab.json", GOLDENS / "byte_level/merges.txt")
    if name == "gpt2":
        return GPT2Tokenizer(GOLDENS / "gpt2/vocab.json", GOLDENS / "gpt2/merges.txt")
    if name.startswith("xlm-r"):
        return XLMRobertaTokenizer(GOLDENS / ("bpe.model" if name == "xlm-r-bpe" else "unigram.model"))
    if name == "bert":
        return BertTokenizer(GOLDENS / "wordpiece/vocab.txt")
    if name == "bert-japanese":
        return BertJapaneseTokenizer(GOLDENS / "characters/vocab.txt", subword_tokenizer_type="character")
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return characters(
        {
            "none": None,
            "fuse": decoders.Fuse(),
            "byte-fallback": decoders.Sequence(steps),
            "replace-last": decoders.Sequence([*steps[2:], decoders.Replace("a b", "ab")]),
            "ctc": decoders.CTC(pad_token="</s>", word_delimiter_token="▁"),
        }[name]
    )


NAMES = [
    "roberta", "gpt2", "xlm-r", "xlm-r-bpe", "bert", "bert-japanese",
    "none", "fuse", "byte-fallback", "replace-last", "ctc",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_pieces_joined_are_the_decoded_text(name: str) -> None:
    tokenizer = make(name)
    generator = random.Random(name)
    rows = [tokenizer.encode(TEXT), tokenizer.encode("a  <s> b, it 's"), []]
    for _ in range(120):
        rows.append([generator.randrange(len(tokenizer) + 2) for _ in range(generator.randint(1, 25))])
        rows.append(generator.choices(rows[0][1:-1] + tokenizer.all_special_ids, k=12) if len(rows[0]) > 2 else [])
    for skip in (False, True):
        for clean in (None, False, True):
            decoder = IncrementalDecoder(tokenizer, skip, clean)  # used again after each finish()
            for row in rows:
                pieces = [decoder.push(index) for index in row]
                pieces.append(decoder.finish())
                assert "".join(pieces) == tokenizer.decode(row, skip, clean), row


@pytest.mark.parametrize("name", ["roberta", "gpt2", "byte-fallback"])
def test_no_piece_holds_half_a_character(name: str) -> None:
    tokenizer = make(name)
    text = "ab😀日ß a" if name != "byte-fallback" else ""
    row = tokenizer.encode(text)
    if name == "byte-fallback":
        row = [tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in "😀日ß".encode()]
        row.append(tokenizer.convert_tokens_to_ids("a"))
    decoder = IncrementalDecoder(tokenizer)
    pieces = [*(decoder.push(index) for index in row), decoder.finish()]
    assert len(row) > len("".join(pieces)) // 2
    assert not any("\ufffd" in piece for piece in pieces)
    assert "😀日ß" in "".join(pieces)


@pytest.mark.parametrize(("name", "text"), [("roberta", "one two 😀!"), ("fuse", "abaab")])
def test_text_comes_as_soon_as_it_is_settled(name: str, text: str) -> None:
    tokenizer = make(name)
    decoder = IncrementalDecoder(tokenizer, skip_special_tokens=True)
    ids = tokenizer.encode(text)
    found = ""
    for count, index in enumerate(ids, start=1):
        found += decoder.push(index)
        assert found == tokenizer.decode(ids[:count], skip_special_tokens=True).rstrip("\ufffd")
    assert decoder.finish() == ""


def test_bytes_that_are_no_character_come_at_the_end() -> None:
    tokenizer = make("gpt2")
    decoder = IncrementalDecoder(tokenizer)
    first = tokenizer.encode("😀")[0]
    assert decoder.push(first) == ""
    assert decoder.finish() == tokenizer.decode([first]) == "\ufffd"
    assert decoder.push(first) == ""
    assert decoder.push(tokenizer.convert_tokens_to_ids("a")) == "\ufffda"


def test_an_id_that_is_none() -> None:
    with pytest.raises(OptionError, match=r"-100 is no token id"):
        IncrementalDecoder(make("gpt2")).push(-100)


def test_clean_up_in_pieces() -> None:
    generator = random.Random(0)
    for _ in range(3000):
        text = "".join(
            generator.choice([" ", " ", "'", "n", "t", "'t", "s", ".", "?", "a", "m", "ve", "re"]) for _ in range(14)
        )
        cut = IncrementalCleanUp()
        pieces, at = [], 0
        while at < len(text):
            step = generator.randint(1, 4)
            pieces.append(cut.push(text[at : at + step]))
            at += step
        pieces.append(cut.finish())
        assert "".join(pieces) == clean_up(text), text
