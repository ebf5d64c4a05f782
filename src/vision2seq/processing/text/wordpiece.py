"""WordPiece from vocab.txt: BERT and its relatives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.files import VOCAB_TXT, TokenizerFiles
from vision2seq.processing.text.style import Style, special_id


def read_vocabulary(files: TokenizerFiles) -> dict[str, int]:
    """Read vocab.txt, one token a line, the first with id 0.

    Raises:
        TokenizerError: It is not there, not UTF-8 or empty.
    """
    lines = files.text(VOCAB_TXT).split("\n")
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise TokenizerError(f"{files.path(VOCAB_TXT)} is empty. Expected one token a line.")
    return {token: index for index, token in enumerate(lines)}


def build(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    """Make a WordPiece tokenizer; see `Style`."""
    vocab = read_vocabulary(files)
    backend = Backend(models.WordPiece(vocab, unk_token=str(options.get("unk_token") or "[UNK]")))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(options.get("tokenize_chinese_chars", True)),
        strip_accents=options.get("strip_accents"),
        lowercase=bool(options.get("do_lower_case", True)),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def finish(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Put ``[CLS] … [SEP]`` around the text."""
    cls, sep = special_id(backend, specials, "cls_token"), special_id(backend, specials, "sep_token")
    backend.post_processor = processors.TemplateProcessing(
        single=[f"{cls[0]}:0", "$A:0", f"{sep[0]}:0"],
        pair=[f"{cls[0]}:0", "$A:0", f"{sep[0]}:0", "$B:1", f"{sep[0]}:1"],
        special_tokens=[cls, sep],
    )


def _adjust(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    if not isinstance(backend.normalizer, normalizers.BertNormalizer):
        return
    state = json.loads(backend.normalizer.__getstate__())
    state.pop("type")
    wanted = {
        "lowercase": bool(options.get("do_lower_case", True)),
        "strip_accents": options.get("strip_accents"),
        "handle_chinese_chars": bool(options.get("tokenize_chinese_chars", True)),
    }
    if any(state[key] != value for key, value in wanted.items()):
        backend.normalizer = normalizers.BertNormalizer(**{**state, **wanted})


BERT = Style(
    name="BERT",
    classes=(
        "BertTokenizer",
        "ConvBertTokenizer",
        "DistilBertTokenizer",
        "ElectraTokenizer",
        "LayoutLMTokenizer",
        "MobileBertTokenizer",
        "SqueezeBertTokenizer",
    ),
    files=(VOCAB_TXT,),
    specials={
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    inputs=("input_ids", "token_type_ids", "attention_mask"),
    build=build,
    finish=finish,
    adjust=_adjust,
    clean_up=True,
)
