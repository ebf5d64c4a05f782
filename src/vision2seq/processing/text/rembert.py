"""SentencePiece in the order of its own file, ``[CLS] … [SEP]`` around the text: RemBERT's and BigBird's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Regex, normalizers
from tokenizers import Tokenizer as Backend

from vision2seq.processing.text import wordpiece
from vision2seq.processing.text.files import SENTENCEPIECE_MODEL, SPIECE, TokenizerFiles
from vision2seq.processing.text.sentencepiece_fast import build_backend, find_model, precompiled
from vision2seq.processing.text.style import Special, Style


def _build_rembert(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    source = find_model(files, SENTENCEPIECE_MODEL)
    backend = build_backend(source, [(text, score) for text, score, _ in source.pieces], source.unk_id, options)
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
        normalizers.Replace(Regex(" {2,}"), " "),
    ]
    if not options.get("keep_accents", True):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if options.get("do_lower_case", False):
        steps.append(normalizers.Lowercase())
    backend.normalizer = normalizers.Sequence([*steps, *precompiled(source)])
    return backend


def _build_big_bird(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    source = find_model(files, SPIECE)
    return build_backend(source, [(text, score) for text, score, _ in source.pieces], source.unk_id, options)


def _flag_rembert(name: str, text: str, from_parts: bool) -> Special:
    if name == "mask_token":  # stands for a word and the space before it
        return AddedToken(text, lstrip=True)
    return text


def _flag_big_bird(name: str, text: str, from_parts: bool) -> Special:
    return AddedToken(text, lstrip=name == "mask_token")


REMBERT = Style(
    name="RemBERT",
    classes=("RemBertTokenizer",),
    files=(SENTENCEPIECE_MODEL,),
    specials={
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    inputs=wordpiece.BERT.inputs,
    flag=_flag_rembert,
    build=_build_rembert,
    finish=wordpiece.finish,
)

BIG_BIRD = Style(
    name="BigBird",
    classes=("BigBirdTokenizer",),
    files=(SPIECE,),
    specials={
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "[SEP]",
        "pad_token": "<pad>",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    flag=_flag_big_bird,
    build=_build_big_bird,
    finish=wordpiece.finish,
)
