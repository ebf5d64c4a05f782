"""How folders with tokenizers are written that the parity tests open with both libraries: one entry a layout.

The small vocabularies and the lines are those of ``tests/goldens/text``.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
import transformers

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests/goldens/text"


def module_at(path: Path) -> Any:
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


corpus: Callable[[int], list[str]] = module_at(GOLDENS / "make.py").lines
LINES = corpus(240)
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


MODEL_NAMES = {
    "BertGenerationTokenizer": "spiece.model",
    "BigBirdTokenizer": "spiece.model",
    "PegasusTokenizer": "spiece.model",
    "RemBertTokenizer": "sentencepiece.model",
}
"""What a class calls its SentencePiece model if not sentencepiece.bpe.model."""


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _parts(source: str, class_name: str, config: dict[str, Any] | None = None, **files: Any) -> Callable[[Path], None]:
    """A folder with vocabulary files only, and the small files given."""

    def write(folder: Path) -> None:
        origin = GOLDENS / source
        if origin.is_dir():
            shutil.copytree(origin, folder, dirs_exist_ok=True)
        else:
            shutil.copy(origin, folder / MODEL_NAMES.get(class_name, "sentencepiece.bpe.model"))
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": class_name, **(config or {})})
        for name, content in files.items():
            write_json(folder / f"{name}.json", content)

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
                    "sentencepiece.model",
                    "spiece.model",
                    "added_tokens.json",
                ):
                    path.unlink()

    return write


def _characters(folder: Path) -> None:
    """The tokenizer of ``printed-line``."""
    module_at(ROOT / "recipes/printed-line/tokenizer.py").write(folder)


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
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})


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
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "NougatTokenizer", "model_max_length": 3584})
    write_json(folder / "special_tokens_map.json", {**NAMED, "additional_special_tokens": ["[START_REF]"]})


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
MBART = _parts("unigram.model", "MBartTokenizer", {"tgt_lang": "ro_RO"})
MBART50 = _parts("unigram.model", "MBart50Tokenizer", {"src_lang": "fr_XX", "tgt_lang": "sl_SI"})
CAMEMBERT = _parts("unigram.model", "CamembertTokenizer")
BARTHEZ = _parts("barthez.model", "BarthezTokenizer")
XGLM = _parts("unigram.model", "XGLMTokenizer")
PEGASUS = _parts("pegasus.model", "PegasusTokenizer")
REMBERT = _parts("cls_sep.model", "RemBertTokenizer", {"do_lower_case": False, "keep_accents": True})
BIG_BIRD = _parts("cls_sep.model", "BigBirdTokenizer")
BLENDERBOT = _parts("byte_level", "BlenderbotTokenizer", {"add_prefix_space": True})
GENERATION = _parts("generation.model", "BertGenerationTokenizer")
MARIAN = _parts("marian", "MarianTokenizer", {"source_lang": "en", "target_lang": "mul"})
BLENDERBOT_SMALL = _parts("blenderbot_small", "BlenderbotSmallTokenizer")
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
    "electra": _parts("wordpiece", "ElectraTokenizer", {"do_lower_case": False}),
    "mbart": MBART,
    "mbart-json": _saved(MBART, only_json=True),
    "mbart-added": _saved(MBART, added=FLAGGED, special={"additional_special_tokens": ["[SEP]"]}),
    "mbart-listed": _parts(
        "unigram.model", "MBartTokenizer", {"src_lang": "de_DE", "additional_special_tokens": ["[SEP]", "de_DE"]}
    ),
    "mbart50": MBART50,
    "mbart50-json": _saved(MBART50, only_json=True),
    "mbart50-added": _parts("bpe.model", "MBart50Tokenizer", {"additional_special_tokens": ["[SEP]", "de_DE"]}),
    "camembert": CAMEMBERT,
    "camembert-given": _parts("unigram.model", "CamembertTokenizer", {"additional_special_tokens": ["<s>NOTUSED"]}),
    "camembert-json": _saved(CAMEMBERT, only_json=True),
    "barthez": BARTHEZ,
    "barthez-json": _saved(BARTHEZ, only_json=True),
    "xglm": XGLM,
    "xglm-json": _saved(XGLM, only_json=True, special={"additional_special_tokens": ["[SEP]"]}),
    "pegasus": PEGASUS,
    "pegasus-json": _saved(PEGASUS, only_json=True),
    "pegasus-arxiv": _parts("pegasus.model", "PegasusTokenizer", {"offset": 0, "mask_token_sent": None}),
    "rembert": REMBERT,
    "rembert-lower": _parts("cls_sep.model", "RemBertTokenizer"),
    "rembert-json": _saved(REMBERT, only_json=True),
    "big_bird": BIG_BIRD,
    "big_bird-json": _saved(BIG_BIRD, only_json=True),
    "big_bird-bpe": _parts("bpe.model", "BigBirdTokenizer"),
    "blenderbot": BLENDERBOT,
    "blenderbot-json": _saved(BLENDERBOT, only_json=True),
    "generation": GENERATION,
    "generation-unigram": _parts("unigram.model", "BertGenerationTokenizer", {"clean_up_tokenization_spaces": True}),
    "generation-added": _saved(GENERATION, added=FLAGGED[1:], special={"additional_special_tokens": ["[SEP]"]}),
    "marian": MARIAN,
    "marian-added": _saved(MARIAN, added=FLAGGED[1:], special={"additional_special_tokens": ["[SEP]", ">>fra<<"]}),
    "blenderbot_small": BLENDERBOT_SMALL,
    **{
        f"japanese-{words}-{pieces}{'-lower' * lower}": _parts(
            "characters" if pieces == "character" else "wordpiece",
            "BertJapaneseTokenizer",
            {
                "word_tokenizer_type": words,
                "subword_tokenizer_type": pieces,
                "do_lower_case": lower,
                "mecab_kwargs": {"mecab_dic": "ipadic"} if pieces == "wordpiece" else None,
            },
        )
        for words in ("basic", "mecab")
        for pieces in ("wordpiece", "character")
        for lower in (False, True)
    },
    "nougat": _nougat,
    "characters": _characters,
}
