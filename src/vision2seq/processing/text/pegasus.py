"""Pegasus: SentencePiece behind some hundred tokens that only its pre-training used, the end of the text behind it.

======== ===== ===== ======== ======== =============================== ===========
id       0     1     2        3        4 … ``offset`` + 1              then
======== ===== ===== ======== ======== =============================== ===========
token    <pad> </s>  <mask_1> <mask_2> <unk_2> … <unk_``offset`` - 1>  pieces[2:]
======== ===== ===== ======== ======== =============================== ===========
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import pre_tokenizers, processors

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.files import SPIECE, TokenizerFiles
from vision2seq.processing.text.sentencepiece_fast import build_backend, find_model
from vision2seq.processing.text.style import Special, Style, special_id, text_of

_OFFSET = 103


def _offset(options: Mapping[str, Any]) -> int:
    return int(options.get("offset", _OFFSET))


def _sentence_mask(options: Mapping[str, Any]) -> str | None:
    value = options.get("mask_token_sent", "<mask_1>")
    return None if value is None else text_of(value)


def _build(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    source = find_model(files, SPIECE)
    offset, sentence = _offset(options), _sentence_mask(options)
    mask = options.get("mask_token", "<mask_2>")
    first = [str(options.get(name) or text) for name, text in (("pad_token", "<pad>"), ("eos_token", "</s>"))]
    if sentence is not None:
        first += [sentence, *([str(mask)] if mask is not None else [])]
    pieces = [(text, 0.0) for text in first]
    pieces += [(f"<unk_{number}>", -100.0) for number in range(2, offset)]
    pieces += [(text, score) for text, score, _ in source.pieces[2:]]
    backend = build_backend(source, pieces, source.unk_id + offset, options)
    splitter = backend.pre_tokenizer
    assert splitter is not None
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), splitter])
    return backend


def _finish(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    eos, index = special_id(backend, specials, "eos_token")
    backend.post_processor = processors.TemplateProcessing(
        single=["$A", eos], pair=["$A", "$B", eos], special_tokens=[(eos, index)]
    )


def _additional(given: list[Special] | None, options: Mapping[str, Any]) -> list[Special]:
    offset, sentence = _offset(options), _sentence_mask(options)
    if given is None:
        return [*([sentence] if sentence is not None else []), *(f"<unk_{number}>" for number in range(2, offset))]
    texts = [text_of(token) for token in given]
    found = [*([sentence] if sentence is not None and sentence not in texts else []), *given]
    found += [f"<unk_{number}>" for number in range(len(found), offset - 1)]
    texts = [text_of(token) for token in found]
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise TokenizerError(
            f"additional_special_tokens and offset {offset} name {twice!r} twice. Expected fewer tokens, or "
            "other names: <unk_2> and those after it fill the list up to the offset."
        )
    return found


PEGASUS = Style(
    name="Pegasus",
    classes=("PegasusTokenizer",),
    files=(SPIECE,),
    specials={"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask_2>"},
    additional=_additional,
    build=_build,
    finish=_finish,
)
