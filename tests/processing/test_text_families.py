"""What sets the kinds of tokenizers apart: guesses from files, languages, MeCab, Python code, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from vision2seq.errors import MissingPackageError, OptionError, TokenizerError, UnsupportedError
from vision2seq.processing.text.load import CLASSES, load_tokenizer
from vision2seq.processing.text.sentencepiece_exact import SentencePiece
from vision2seq.processing.text.sentencepiece_model import NORMAL, UNIGRAM, SentencePieceModel, read_model

GOLDENS = Path(__file__).parents[1] / "goldens/text"


def folder_of(path: Path, config: dict[str, Any] | None, **files: str) -> Path:
    """A folder with files of the goldens (name there to name here), and a tokenizer_config.json."""
    for source, name in files.items():
        shutil.copy(GOLDENS / source.replace("__", "/").replace("_dot_", "."), path / name)
    if config is not None:
        (path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


# ----------------------------------------------------------------------------------------------- guesses


@pytest.mark.parametrize(
    ("model", "name", "model_type", "class_name"),
    [
        ("unigram.model", "sentencepiece.bpe.model", None, "XLMRobertaTokenizer"),
        ("unigram.model", "sentencepiece.bpe.model", "mbart", "XLMRobertaTokenizer"),  # Donut
        ("unigram.model", "sentencepiece.bpe.model", "camembert", "CamembertTokenizer"),
        ("unigram.model", "sentencepiece.bpe.model", "xglm", "XGLMTokenizer"),
        ("pegasus.model", "spiece.model", "pegasus", "PegasusTokenizer"),
        ("cls_sep.model", "spiece.model", "big_bird", "BigBirdTokenizer"),
        ("generation.model", "spiece.model", "bert-generation", "BertGenerationTokenizer"),
        ("cls_sep.model", "sentencepiece.model", None, "RemBertTokenizer"),
        ("wordpiece/vocab.txt", "vocab.txt", "electra", "BertTokenizer"),
    ],
)
def test_files_and_the_decoder_tell_the_kind(
    tmp_path: Path, model: str, name: str, model_type: str | None, class_name: str
) -> None:
    shutil.copy(GOLDENS / model, tmp_path / name)
    assert type(load_tokenizer(tmp_path, model_type)).__name__ == class_name


@pytest.mark.parametrize(
    ("folder", "model_type", "class_name"),
    [
        ("marian", None, "MarianTokenizer"),
        ("blenderbot_small", None, "BlenderbotSmallTokenizer"),
        ("byte_level", "blenderbot", "BlenderbotTokenizer"),
        ("byte_level", "roberta", "RobertaTokenizer"),
        ("gpt2", "gpt_bigcode", "GPT2Tokenizer"),
    ],
)
def test_folders_tell_the_kind(folder: str, model_type: str | None, class_name: str) -> None:
    assert type(load_tokenizer(GOLDENS / folder, model_type)).__name__ == class_name


def test_what_cannot_be_guessed_and_classes_nobody_knows(tmp_path: Path) -> None:
    shutil.copy(GOLDENS / "pegasus.model", tmp_path / "spiece.model")
    with pytest.raises(
        TokenizerError,
        match=r"holds spiece\.model, which several kinds of tokenizers have, .* Expected tokenizer_config",
    ):
        load_tokenizer(tmp_path)
    folder_of(tmp_path, {"tokenizer_class": "PegasussTokenizerFast"})
    with pytest.raises(TokenizerError, match=r"only these are known: .* Did you mean 'PegasusTokenizer'\?"):
        load_tokenizer(tmp_path)
    folder_of(tmp_path, {"tokenizer_class": "PegasusTokenizer", "additional_special_tokens": ["<unk_2>"]})
    with pytest.raises(
        TokenizerError, match=r"offset 103 name '<unk_2>' twice\. Expected fewer tokens, or other names"
    ):
        load_tokenizer(tmp_path)


def test_class_names_with_and_without_fast_and_use_fast(tmp_path: Path) -> None:
    shutil.copy(GOLDENS / "unigram.model", tmp_path / "sentencepiece.bpe.model")
    rows = set()
    for name in ("MBartTokenizer", "MBartTokenizerFast"):
        for use_fast in (True, False):
            folder_of(tmp_path, {"tokenizer_class": name})
            tokenizer = load_tokenizer(tmp_path, use_fast=use_fast)
            assert type(tokenizer).__name__ == name
            rows.add(tuple(tokenizer("Dear Sir")["input_ids"]))
    assert len(rows) == 1
    with pytest.raises(TokenizerError, match=r"model.* is no SentencePiece model, or a damaged one"):
        data = (tmp_path / "sentencepiece.bpe.model").read_bytes()
        (tmp_path / "sentencepiece.bpe.model").write_bytes(data[: len(data) // 2])
        load_tokenizer(tmp_path)


# --------------------------------------------------------------------------------------------- languages


@pytest.mark.parametrize(("class_name", "first"), [("MBartTokenizer", False), ("MBart50Tokenizer", True)])
def test_languages_mark_texts(class_name: str, first: bool, tmp_path: Path) -> None:
    tokenizer: Any = CLASSES[class_name](GOLDENS / "unigram.model", src_lang="de_DE")

    def marks(row: list[int]) -> list[str]:
        tokens = tokenizer.convert_ids_to_tokens(row)
        return [tokens[0], tokens[-1]] if first else tokens[-2:]

    def expected(code: str) -> list[str]:
        return [code, "</s>"] if first else ["</s>", code]

    assert marks(tokenizer("eins")["input_ids"]) == expected("de_DE")
    tokenizer.src_lang = "cs_CZ"
    assert marks(tokenizer("eins")["input_ids"]) == expected("cs_CZ")
    with pytest.raises(
        OptionError, match=r"text_target needs its language: set tgt_lang, as in tokenizer\.tgt_lang = 'cs"
    ):
        tokenizer(text_target="two")
    tokenizer.tgt_lang = "fr_XX"
    both = tokenizer("eins", text_target="two")
    assert marks(both["labels"]) == expected("fr_XX")
    assert marks(both["input_ids"]) == expected("cs_CZ")  # a call changes nothing
    with pytest.raises(OptionError, match=r"knows no language 'de_De'\. Did you mean 'de_DE'\? It knows: ar_AR, "):
        tokenizer.src_lang = "de_De"
    assert tokenizer.lang_code_to_id["ar_AR"] == tokenizer.convert_tokens_to_ids("ar_AR")
    tokenizer.save_pretrained(tmp_path)
    again: Any = load_tokenizer(tmp_path)
    assert (type(again), again.src_lang, again.tgt_lang) == (type(tokenizer), "cs_CZ", "fr_XX")
    assert again("eins", text_target="two") == both


# ------------------------------------------------------------------------------------------------- MeCab

JAPANESE = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}


def japanese(path: Path, **config: Any) -> Any:
    shutil.copy(GOLDENS / "characters/vocab.txt", path)
    return load_tokenizer(folder_of(path, {**JAPANESE, **config}))


def test_japanese_word_pieces_decode_without_mecab_and_say_what_encoding_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fugashi", None)
    tokenizer = japanese(tmp_path)
    ids = tokenizer.convert_tokens_to_ids(["[CLS]", "日", "##読", "[SEP]"])
    assert tokenizer.decode(ids) == "[CLS] 日読 [SEP]"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "日読"
    with pytest.raises(
        MissingPackageError,
        match=r"with MeCab, and fugashi is not installed\. Decoding works without it\. To encode: pip install fugas",
    ):
        tokenizer("日本")
    ipadic = japanese(tmp_path, mecab_kwargs={"mecab_dic": "ipadic"})
    with pytest.raises(MissingPackageError, match="To encode: pip install fugashi ipadic$"):
        ipadic(["日本"])
    with pytest.raises(
        OptionError, match=r"mecab_dic is 'unidic-lite'\. Did you mean 'unidic_lite'\? Expected one of: ip"
    ):
        japanese(tmp_path, mecab_kwargs={"mecab_dic": "unidic-lite"})("日本")


def test_japanese_characters_need_no_mecab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fugashi", None)
    tokenizer = japanese(tmp_path, subword_tokenizer_type="character")
    assert tokenizer.tokenize("日本 語\t｡") == ["日", "本", "語", "。"]


def test_other_splitters_of_japanese(tmp_path: Path) -> None:
    sudachi = japanese(tmp_path, word_tokenizer_type="sudachi")
    assert sudachi.decode([2, 3]) == "[CLS] [SEP]"
    with pytest.raises(
        UnsupportedError, match=r"by word_tokenizer_type 'sudachi', which is not built here, so it can dec"
    ):
        sudachi("日本")
    with pytest.raises(
        UnsupportedError, match=r"splits words by SentencePiece .* Known are 'wordpiece' and 'character'"
    ):
        japanese(tmp_path, subword_tokenizer_type="sentencepiece")
    with pytest.raises(
        TokenizerError, match=r"word_tokenizer_type is 'mecap'\. Did you mean 'mecab'\? Expected one of"
    ):
        japanese(tmp_path, word_tokenizer_type="mecap")
    with pytest.raises(
        TokenizerError, match=r"vocab\.txt lacks '\[NONE\]', the token for what is unknown\. Set unk_token"
    ):
        japanese(tmp_path, unk_token="[NONE]")


# ------------------------------------------------------------------------------------------ code in Python


def test_tokens_added_to_a_tokenizer_in_python_survive_copies_and_files(tmp_path: Path) -> None:
    made = CLASSES["MarianTokenizer"].from_pretrained(GOLDENS / "marian")
    assert (made.is_fast, made.model_max_length) == (False, 512)
    assert made.add_tokens(["<line>", "</s>"]) == 1  # one of them is there already
    assert made.add_special_tokens({"additional_special_tokens": ["<s_menu>"]}) == 1
    expected = made(">>fra<< Dear<line>Sir <s_menu>", text_target="Dear Sir")
    tokens = made.convert_ids_to_tokens(expected["input_ids"])
    assert (tokens[0], tokens[-1]) == (">>fra<<", "</s>")
    assert {"<line>", "<s_menu>"} < set(tokens)
    made.save_pretrained(tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()
    for again in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert again(">>fra<< Dear<line>Sir <s_menu>", text_target="Dear Sir") == expected
        assert again.decode(expected["input_ids"]) == made.decode(expected["input_ids"])
        assert again.decode(expected["input_ids"], skip_special_tokens=True) == made.decode(
            expected["input_ids"], skip_special_tokens=True
        )
    with pytest.raises(
        UnsupportedError, match=r"MarianTokenizer cannot tell where in the text .* \(return_offsets_mapping\)"
    ):
        made("a", return_offsets_mapping=True)


def test_refused_options_of_tokenizers_in_python(tmp_path: Path) -> None:
    marian = CLASSES["MarianTokenizer"]
    with pytest.raises(
        UnsupportedError, match=r"has a vocabulary for each language \(separate_vocabs\), which is not built"
    ):
        marian.from_pretrained(GOLDENS / "marian", separate_vocabs=True)
    with pytest.raises(UnsupportedError, match=r"sp_model_kwargs asks for pieces drawn at random .* Remove it"):
        marian.from_pretrained(GOLDENS / "marian", sp_model_kwargs={"enable_sampling": True})
    with pytest.raises(
        TokenizerError, match=r"vocab\.json lacks '<\?>', the token for what is unknown\. Set unk_token"
    ):
        marian.from_pretrained(GOLDENS / "marian", unk_token="<?>")
    with pytest.raises(
        TokenizerError, match=r"vocab\.json lacks '<\?>', the token for what is unknown\. Set unk_token"
    ):
        CLASSES["BlenderbotSmallTokenizer"].from_pretrained(GOLDENS / "blenderbot_small", unk_token="<?>")
    shutil.copytree(GOLDENS / "marian", tmp_path / "half")
    (tmp_path / "half/target.spm").unlink()
    with pytest.raises(TokenizerError, match=r"holds no target\.spm, which its tokenizer needs"):
        marian.from_pretrained(tmp_path / "half")
    with pytest.raises(TokenizerError, match=r"holds no target\.spm, which its tokenizer needs"):
        load_tokenizer(tmp_path / "half")


def test_damaged_normalisers_are_named() -> None:
    model = SentencePieceModel("m.spm", pieces=[("<unk>", 0.0, 2), ("a", -1.0, NORMAL)], model_type=UNIGRAM)
    model.charsmap = b"\x10\0\0\0abc"
    with pytest.raises(
        TokenizerError, match=r"The normaliser in m\.spm cannot be read: its table of 16 bytes does not fit 7"
    ):
        SentencePiece(model)
    whole = read_model((GOLDENS / "unigram.model").read_bytes(), "m.spm")
    size = int.from_bytes(whole.charsmap[:4], "little")
    whole.charsmap = whole.charsmap[: size + 4] + b"x"  # the table without its texts
    with pytest.raises(TokenizerError, match=r"The normaliser in m\.spm is damaged: .* Restore or download it again"):
        SentencePiece(whole).encode("\u3000ｅ")


def test_bytes_and_unknown_characters_by_hand() -> None:
    model = read_model((GOLDENS / "generation.model").read_bytes())
    pieces = SentencePiece(model)
    assert pieces.encode("𝄞")[-4:] == ["<0xF0>", "<0x9D>", "<0x84>", "<0x9E>"]
    assert pieces.decode(["▁a", "<0xF0>", "<0x9D>", "<0x84>", "<0x9E>", "<0xFF>", "▁", "b"]) == "a𝄞\ufffd b"
    unigram = SentencePiece(read_model((GOLDENS / "unigram.model").read_bytes()))
    assert unigram.encode("  𝄞𝄞  a ") == ["▁", "𝄞𝄞", "▁a"]
    assert unigram.decode(["<unk>", "▁a", "</s>"]) == " ⁇  a"
