"""Our tokenizers against those of transformers 4.57.6, for every file layout: ids, texts, padding, cutting, saving.

`LAYOUTS` names how a folder is written; each is opened by both libraries. The small vocabularies and the lines are
those of ``tests/goldens/text``.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import random
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

transformers = pytest.importorskip("transformers")
if not transformers.__version__.startswith("4.57."):
    pytest.skip("the reference is transformers 4.57.6", allow_module_level=True)

import sentencepiece  # noqa: E402
import tokenizers  # noqa: E402
import torch  # noqa: E402

from vision2seq.processing.text.load import load_tokenizer  # noqa: E402
from vision2seq.processing.text.tokenizer import Tokenizer  # noqa: E402

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests/goldens/text"


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


LINES: list[str] = _module(GOLDENS / "make.py").lines(240)
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


# --------------------------------------------------------------------------------------------------------- layouts


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _parts(source: str, class_name: str, config: dict[str, Any] | None = None, **files: Any) -> Callable[[Path], None]:
    """A folder with vocabulary files only, and the small files given."""

    def write(folder: Path) -> None:
        origin = GOLDENS / source
        if origin.is_dir():
            shutil.copytree(origin, folder, dirs_exist_ok=True)
        else:
            shutil.copy(origin, folder / "sentencepiece.bpe.model")
        _json(folder / "tokenizer_config.json", {"tokenizer_class": class_name, **(config or {})})
        for name, content in files.items():
            _json(folder / f"{name}.json", content)

    return write


def _saved(parts: Callable[[Path], None], **options: Any) -> Callable[[Path], None]:
    """The same as transformers saves it, which adds tokenizer.json."""

    def write(folder: Path) -> None:
        parts(folder)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        added = options.get("added", [])
        if added:
            theirs.add_tokens(added)
        if "special" in options:
            theirs.add_special_tokens(options["special"])
        for path in folder.iterdir():
            path.unlink()
        theirs.save_pretrained(folder)
        if options.get("only_json"):
            for path in folder.iterdir():
                if path.name in (
                    "vocab.json",
                    "merges.txt",
                    "vocab.txt",
                    "sentencepiece.bpe.model",
                    "added_tokens.json",
                ):
                    path.unlink()

    return write


def _characters(folder: Path) -> None:
    """The tokenizer of ``printed-line``."""
    _module(ROOT / "recipes/printed-line/tokenizer.py").write(folder)


def _nmt_nfkc(folder: Path) -> None:
    """A SentencePiece model with the normaliser that real ones have, which is too large for a golden file."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES[:10] * 5),
        model_writer=model,
        vocab_size=300,
        character_coverage=0.98,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    _json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})


def _nougat(folder: Path) -> None:
    """tokenizer.json with added tokens, as in Nougat and texify: byte-level, with a sequence of splitters."""
    model = tokenizers.models.BPE.from_file(
        str(GOLDENS / "byte_level/vocab.json"), str(GOLDENS / "byte_level/merges.txt")
    )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = tokenizers.normalizers.NFKC()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "[START_REF]"])
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    backend.enable_truncation(64)
    backend.enable_padding(pad_id=1, pad_token="<pad>")
    backend.save(str(folder / "tokenizer.json"))
    _json(folder / "tokenizer_config.json", {"tokenizer_class": "NougatTokenizer", "model_max_length": 3584})
    _json(folder / "special_tokens_map.json", {**NAMED, "additional_special_tokens": ["[START_REF]"]})


def _flags(content: str, **changes: bool) -> dict[str, Any]:
    return {
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": True,
        **changes,
    }


ROBERTA = _parts("byte_level", "RobertaTokenizer")
GPT2 = _parts("gpt2", "GPT2Tokenizer")
XLM_R = _parts("unigram.model", "XLMRobertaTokenizer")
XLM_R_BPE = _parts("bpe.model", "XLMRobertaTokenizer")
BERT = _parts("wordpiece", "BertTokenizer")
OLD_MAP = {  # as the files of microsoft/trocr-base-* spell them
    **{name: _flags(text) for name, text in {**NAMED, "sep_token": "</s>", "cls_token": "<s>"}.items()},
    "mask_token": _flags("<mask>", lstrip=True),
}
LISTED = {
    "601": {**_flags("<s_menu>", normalized=False), "special": True},
    "600": {**_flags("new_tok", lstrip=True, rstrip=True, normalized=False), "special": False},
}
FLAGGED = [
    tokenizers.AddedToken("new_tok", lstrip=True, rstrip=True, single_word=True),
    tokenizers.AddedToken("<sep/>", normalized=False),
    "<s_menu>",
]

LAYOUTS: dict[str, Callable[[Path], None]] = {
    "roberta": ROBERTA,
    "roberta-trocr": _parts(
        "byte_level",
        "RobertaTokenizer",
        {"model_max_length": 512, "add_prefix_space": False, "trim_offsets": True, "errors": "replace", **OLD_MAP},
        special_tokens_map=OLD_MAP,
    ),
    "roberta-typed": _parts(
        "byte_level",
        "RobertaTokenizer",
        {
            **{name: {"__type": "AddedToken", **value} for name, value in OLD_MAP.items()},
            "add_prefix_space": True,
            "model_max_length": 40,
            "padding_side": "left",
            "truncation_side": "left",
        },
    ),
    "roberta-added": _parts(
        "byte_level", "RobertaTokenizer", added_tokens={"<s_menu>": 600, "new_tok": 601}, special_tokens_map=NAMED
    ),
    "roberta-listed": _parts(
        "byte_level",
        "RobertaTokenizer",
        {
            "added_tokens_decoder": LISTED,
            "additional_special_tokens": ["<s_menu>"],
            "clean_up_tokenization_spaces": True,
        },
    ),
    "roberta-json": _saved(ROBERTA, only_json=True),
    "roberta-json-added": _saved(ROBERTA, added=FLAGGED, special={"additional_special_tokens": ["[SEP]"]}),
    "bart": _parts("byte_level", "BartTokenizer"),
    "gpt2": GPT2,
    "gpt2-bos": _parts("gpt2", "GPT2Tokenizer", {"add_bos_token": True, "pad_token": "<|endoftext|>"}),
    "gpt2-json": _saved(GPT2, only_json=True, special={"pad_token": "[PAD]"}),
    "gpt2-json-prefix": _saved(_parts("gpt2", "GPT2Tokenizer", {"add_prefix_space": True, "pad_token": "!"})),
    "xlm-r": XLM_R,
    "xlm-r-donut": _parts(
        "unigram.model",
        "XLMRobertaTokenizer",
        {"processor_class": "DonutProcessor"},
        special_tokens_map={
            **NAMED,
            "cls_token": "<s>",
            "sep_token": "</s>",
            "additional_special_tokens": ["<s_menu>"],
        },
        added_tokens={"<sep/>": 302, "<s_menu>": 303},
    ),
    "xlm-r-json": _saved(XLM_R, only_json=True),
    "xlm-r-json-added": _saved(XLM_R, added=FLAGGED, special={"additional_special_tokens": ["[SEP]", "</s_menu>"]}),
    "xlm-r-nmt-nfkc": _nmt_nfkc,
    "xlm-r-bpe": XLM_R_BPE,
    "xlm-r-bpe-json": _saved(XLM_R_BPE, only_json=True),
    "bert": BERT,
    "bert-cased": _parts(
        "wordpiece", "BertTokenizer", {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}
    ),
    "bert-json": _saved(BERT, only_json=True),
    "bert-json-cased": _saved(_parts("wordpiece", "BertTokenizer", {"do_lower_case": False}), added=["new_tok"]),
    "nougat": _nougat,
    "characters": _characters,
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Tokenizer]]:
    """Name of a layout → their tokenizer and ours, opened once."""
    made: dict[str, tuple[Any, Tokenizer]] = {}

    def get(name: str) -> tuple[Any, Tokenizer]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            LAYOUTS[name](folder)
            made[name] = transformers.AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
        return made[name]

    return get


each_layout = pytest.mark.parametrize("layout", LAYOUTS)
Pair = Callable[[str], tuple[Any, Tokenizer]]


def _same(theirs: Any, ours: Tokenizer, lines: list[str]) -> None:
    """Equal vocabularies, attributes, ids and texts."""
    assert ours.get_vocab() == theirs.get_vocab()
    assert (len(ours), ours.vocab_size) == (len(theirs), theirs.vocab_size)
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert set(ours.all_special_ids) == set(theirs.all_special_ids)
    assert ours.added_tokens_decoder == theirs.added_tokens_decoder
    for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        assert getattr(ours, f"{name}_token") == getattr(theirs, f"{name}_token")
        assert getattr(ours, f"{name}_token_id") == getattr(theirs, f"{name}_token_id")
    for name in ("padding_side", "truncation_side", "model_max_length", "clean_up_tokenization_spaces"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for special in (True, False):
        expected = theirs(lines, add_special_tokens=special)
        found = ours(lines, add_special_tokens=special)
        assert list(found) == list(expected)
        for key in expected:
            for line, row, other in zip(lines, found[key], expected[key], strict=True):
                assert row == other, (key, line)
    for line, row in zip(lines, theirs(lines)["input_ids"], strict=True):
        for skip, clean in itertools.product((False, True), (None, False, True)):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
            assert ours.decode(row, **options) == theirs.decode(row, **options), line


@each_layout
def test_same_ids_and_texts(opened: Pair, layout: str) -> None:
    theirs, ours = opened(layout)
    assert type(ours).__name__.removesuffix("Fast") == type(theirs).__name__.removesuffix("Fast")
    _same(theirs, ours, LINES)


@each_layout
def test_random_ids_decode_the_same(opened: Pair, layout: str) -> None:
    theirs, ours = opened(layout)
    generator = random.Random(layout)
    rows = []
    for _ in range(150):
        ids = [generator.randrange(len(theirs) + 3) for _ in range(generator.randint(0, 12))]  # three that nobody has
        ids += generator.choices(theirs.all_special_ids, k=generator.randint(0, 3))
        generator.shuffle(ids)
        rows.append(ids)
    for skip, clean in itertools.product((False, True), (None, False, True)):
        options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
        assert ours.batch_decode(rows, **options) == theirs.batch_decode(rows, **options)
        square = torch.tensor([row[:2] for row in rows if len(row) >= 2])
        assert ours.batch_decode(square, **options) == theirs.batch_decode(square, **options)
    for row in rows:
        assert ours.convert_ids_to_tokens(row) == theirs.convert_ids_to_tokens(row)
        tokens = [token for token in theirs.convert_ids_to_tokens(row, skip_special_tokens=True) if token is not None]
        assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
        assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)


@each_layout
def test_same_padding_and_cutting(opened: Pair, layout: str) -> None:
    theirs, ours = opened(layout)
    if theirs.pad_token is None:
        with pytest.raises(ValueError, match="pad_token"):
            ours(["a", "b c"], padding=True)
        theirs, ours = opened("gpt2-bos")
    generator = random.Random(layout)
    for _ in range(60):
        lines = generator.choices(LINES, k=generator.randint(1, 4))
        options: dict[str, Any] = {
            "padding": generator.choice([False, True, "longest", "max_length", "do_not_pad"]),
            "truncation": generator.choice([True, True, False, "longest_first", "only_first", "do_not_truncate"]),
            "max_length": generator.choice([None, 4, 9, 17, 50]),
            "add_special_tokens": generator.random() < 0.7,
            "return_special_tokens_mask": generator.random() < 0.3,
            "return_token_type_ids": generator.choice([None, True, False]),
            "return_attention_mask": generator.choice([None, True, False]),
            "padding_side": generator.choice([None, "left", "right"]),
        }
        if options["padding"] == "longest" and options["max_length"] is None:
            options["pad_to_multiple_of"] = 8
        square = options["padding"] in (True, "longest")
        if square:
            options["return_tensors"] = generator.choice(["pt", "np"])
        text: Any = lines[0] if generator.random() < 0.3 else lines
        expected, found = theirs(text, **options), ours(text, **options)
        assert list(found) == list(expected), options
        for key in expected:
            assert type(found[key]) is type(expected[key])
            if square:
                assert found[key].dtype == expected[key].dtype
                assert found[key].tolist() == expected[key].tolist(), (options, lines)
            else:
                assert found[key] == expected[key], (options, lines)


@each_layout
def test_same_pairs_and_batches_padded_later(opened: Pair, layout: str) -> None:
    theirs, ours = opened(layout)
    generator = random.Random(layout)
    for _ in range(30):
        pair = generator.choices(LINES, k=2)
        options: dict[str, Any] = {"max_length": generator.choice([7, 12, 30]), "truncation": True}
        expected = theirs(*pair, **options)
        assert ours(*pair, **options) == dict(expected)
        assert ours([tuple(pair)], **options) == dict(theirs([tuple(pair)], **options))
    if theirs.pad_token is None:
        return
    for side in ("left", "right"):
        rows = [theirs(line, truncation=True, max_length=20) for line in LINES[:5]]
        ours_rows = [ours(line, truncation=True, max_length=20) for line in LINES[:5]]
        expected = theirs.pad(rows, padding_side=side, return_tensors="pt")
        found = ours.pad(ours_rows, padding_side=side, return_tensors="pt")
        assert {key: value.tolist() for key, value in found.items()} == {
            key: value.tolist() for key, value in expected.items()
        }
    labels = {"text_target": LINES[3:6], "padding": "max_length", "truncation": True, "max_length": 16}
    assert ours(LINES[:3], **labels) == dict(theirs(LINES[:3], **labels))
    assert ours(text_target="a b") == dict(theirs(text_target="a b"))


@each_layout
def test_tokens_added_after_loading(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    counts = []
    for tokenizer in (theirs, ours):
        made = tokenizers.AddedToken("<line>", lstrip=True, normalized=False)
        counts.append(
            [
                tokenizer.add_tokens(["new_tok", "new_tok", made]),
                tokenizer.add_tokens("e", special_tokens=True),
                tokenizer.add_special_tokens({"pad_token": "[P]", "additional_special_tokens": ["<a>", "<b>"]}),
                tokenizer.add_special_tokens(
                    {"additional_special_tokens": ["<b>", "<c>"]}, replace_additional_special_tokens=False
                ),
            ]
        )
    assert counts[0] == counts[1]
    lines = [*LINES[:40], "x <line> y new_tokz <a> <b><c>[P]"]
    _same(theirs, ours, lines)
    ours.pad_token = theirs.pad_token = "!"
    assert ours.pad_token_id == theirs.pad_token_id
    assert ours(lines, padding=True)["input_ids"] == theirs(lines, padding=True)["input_ids"]


@each_layout
def test_saved_by_us_and_loaded_by_them_and_back(opened: Pair, layout: str, tmp_path: Path) -> None:
    theirs, ours = opened(layout)
    lines = LINES[:90]
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    _same(transformers.AutoTokenizer.from_pretrained(tmp_path / "ours"), load_tokenizer(tmp_path / "ours"), lines)
    _same(transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs"), load_tokenizer(tmp_path / "theirs"), lines)
    _same(transformers.AutoTokenizer.from_pretrained(tmp_path / "ours"), ours, lines)
    _same(theirs, load_tokenizer(tmp_path / "theirs"), lines)


@pytest.mark.parametrize("layout", ["roberta-json-added", "gpt2-json", "bert-cased"])
def test_saved_by_us_and_loaded_by_their_slow_classes(opened: Pair, layout: str, tmp_path: Path) -> None:
    _, ours = opened(layout)
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, use_fast=False)
    assert not theirs.is_fast
    assert theirs(LINES[:10])["input_ids"] == ours(LINES[:10])["input_ids"]


@pytest.mark.parametrize(
    ("layout", "class_name"),
    [
        ("roberta", "RobertaTokenizer"),
        ("gpt2", "GPT2Tokenizer"),
        ("xlm-r", "XLMRobertaTokenizer"),
        ("bert", "BertTokenizer"),
    ],
)
def test_vocabulary_files_alone(layout: str, class_name: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    theirs = getattr(transformers, class_name + "Fast").from_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    assert type(ours).__name__ == class_name
    _same(theirs, ours, LINES[:60])


@pytest.mark.parametrize("subword", ["character", "wordpiece"])
def test_japanese_bert(subword: str, tmp_path: Path) -> None:
    shutil.copy(GOLDENS / "characters/vocab.txt", tmp_path)
    config = {"tokenizer_class": "BertJapaneseTokenizer", "subword_tokenizer_type": subword}
    _json(tmp_path / "tokenizer_config.json", {**config, "word_tokenizer_type": "basic", "do_lower_case": False})
    theirs, ours = transformers.AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    ours.save_pretrained(tmp_path / "saved")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    reread = load_tokenizer(tmp_path / "saved")
    assert type(ours).__name__ == type(theirs).__name__ == type(again).__name__
    for line in LINES:
        if any(unicodedata.category(letter) == "Cn" for letter in line):  # dropped there, as if controls
            continue
        expected = theirs(line)
        assert ours(line) == reread(line) == dict(expected) == dict(again(line)), line
    generator = random.Random(subword)
    for _ in range(150):
        row = [generator.randrange(len(theirs)) for _ in range(generator.randint(0, 12))]
        for skip, clean in itertools.product((False, True), (None, False, True)):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
            assert ours.decode(row, **options) == theirs.decode(row, **options)
