"""SentencePiece models whose ids follow fairseq: XLM-RoBERTa, mBART, CamemBERT, XGLM, and BARThez as it is.

===========  ======  =====  ======  =======  ============  ================================================
id           0       1      2       3        4 …           last
===========  ======  =====  ======  =======  ============  ================================================
XLM-RoBERTa  <s>     <pad>  </s>    <unk>    pieces[3:]    <mask>
mBART        <s>     <pad>  </s>    <unk>    pieces[3:]    language codes, <mask>
XGLM         <s>     <pad>  </s>    <unk>    pieces[3:]    seven words to fill up
CamemBERT    unused  <pad>  unused  <unk>    pieces[0:]    <mask>
the file     <unk>   <s>    </s>    pieces[3:] …
===========  ======  =====  ======  =======  ============  ================================================

The order is that of fairseq, where these models were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tokenizers import AddedToken, processors
from tokenizers import Tokenizer as Backend

from vision2seq.processing.text.files import SENTENCEPIECE, TokenizerFiles
from vision2seq.processing.text.languages import MBART50_LANGUAGES, MBART_LANGUAGES, mark_language
from vision2seq.processing.text.sentencepiece_fast import build_backend, find_model
from vision2seq.processing.text.style import FAIRSEQ_SPECIALS, Special, Style, special_id, text_of

_FIRST = ("<s>", "<pad>", "</s>", "<unk>")
_FILLERS = tuple(f"<madeupword{number}>" for number in range(7))
_CAMEMBERT_UNUSED = ("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")


def _build(last: Sequence[str], files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    source = find_model(files, SENTENCEPIECE)
    pieces = [(text, 0.0) for text in _FIRST]
    pieces += [(text, score) for text, score, _ in source.pieces[3:]]
    pieces += [(text, 0.0) for text in last]
    return build_backend(source, pieces, 3, options)


def _build_camembert(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    source = find_model(files, SENTENCEPIECE)
    pieces = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)]
    pieces += [(text, score) for text, score, _ in source.pieces[1:]]
    pieces.append(("<mask>", 0.0))
    return build_backend(source, pieces, 3, options)


def _build_barthez(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    source = find_model(files, SENTENCEPIECE)
    return build_backend(source, [(text, score) for text, score, _ in source.pieces], 3, options)


def _finish(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    special_id(backend, specials, "cls_token")
    special_id(backend, specials, "sep_token")
    # The texts are fixed, whatever the special tokens are called.
    begin, end = backend.token_to_id("<s>"), backend.token_to_id("</s>")
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", begin), ("</s>", end)],
    )


def _finish_xglm(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    special_id(backend, specials, "sep_token")
    backend.post_processor = processors.TemplateProcessing(
        single="</s> $A",
        pair="</s> $A </s> </s> $B",
        special_tokens=[("</s>", backend.token_to_id("</s>"))],
    )


def _flag(name: str, text: str, from_parts: bool) -> Special:
    if name == "mask_token":  # stands for a word and the space before it
        return AddedToken(text, lstrip=True, normalized=not from_parts)
    return text


def _flag_normalized(name: str, text: str, from_parts: bool) -> Special:
    return AddedToken(text, lstrip=True) if name == "mask_token" else text


def _flag_camembert(name: str, text: str, from_parts: bool) -> Special:
    return AddedToken(text, lstrip=True, special=True) if name == "mask_token" else text


def _behind(own: Sequence[str], given: list[Special] | None, options: Mapping[str, Any]) -> list[Special]:
    """Additional special tokens: those given, then the kind's own."""
    texts = [text_of(token) for token in given or []]
    return [*(given or []), *(text for text in own if text not in texts)]


def _before(own: Sequence[str], given: list[Special] | None, options: Mapping[str, Any]) -> list[Special]:
    """Additional special tokens: the kind's own, then those given."""
    return [*own, *(token for token in given or [] if text_of(token) not in own)]


def _unless_given(given: list[Special] | None, options: Mapping[str, Any]) -> list[Special]:
    return list(_CAMEMBERT_UNUSED) if given is None else given


XLM_ROBERTA = Style(
    name="XLM-RoBERTa",
    classes=("XLMRobertaTokenizer",),
    files=(SENTENCEPIECE,),
    specials=FAIRSEQ_SPECIALS,
    flag=_flag,
    build=partial(_build, ("<mask>",)),
    finish=_finish,
)

MBART = replace(
    XLM_ROBERTA,
    name="mBART",
    classes=("MBartTokenizer",),
    additional=partial(_before, MBART_LANGUAGES),
    build=partial(_build, (*MBART_LANGUAGES, "<mask>")),
    finish=partial(mark_language, False),
    adjust=partial(mark_language, False),
)
"""Behind a text its end and the code of its language."""

MBART50 = replace(
    MBART,
    name="mBART-50",
    classes=("MBart50Tokenizer",),
    specials={name: text for name, text in FAIRSEQ_SPECIALS.items() if name != "bos_token"},
    flag=_flag_normalized,
    additional=partial(_behind, MBART50_LANGUAGES),
    build=partial(_build, (*MBART50_LANGUAGES, "<mask>")),
    finish=partial(mark_language, True),
    adjust=partial(mark_language, True),
)
"""The code of the language before a text, and its end behind it."""

CAMEMBERT = replace(
    XLM_ROBERTA,
    name="CamemBERT",
    classes=("CamembertTokenizer",),
    flag=_flag_camembert,
    additional=_unless_given,
    build=_build_camembert,
)

BARTHEZ = replace(XLM_ROBERTA, name="BARThez", classes=("BarthezTokenizer",), build=_build_barthez)

XGLM = replace(
    XLM_ROBERTA,
    name="XGLM",
    classes=("XGLMTokenizer",),
    specials={name: text for name, text in FAIRSEQ_SPECIALS.items() if name != "mask_token"},
    additional=partial(_behind, _FILLERS),
    build=partial(_build, _FILLERS),
    finish=_finish_xglm,
)
