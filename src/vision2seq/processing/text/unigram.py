"""SentencePiece models as XLM-RoBERTa numbers them, from sentencepiece.bpe.model alone.

======  =====  =====  ======  =====  ===========  ========
id      0      1      2       3      4 …          last
======  =====  =====  ======  =====  ===========  ========
here    <s>    <pad>  </s>    <unk>  pieces[3:]   <mask>
file    <unk>  <s>    </s>    pieces[3:] …
======  =====  =====  ======  =====  ===========  ========

The order is that of fairseq, where these models were trained; from the fourth piece on, ids are one higher than in
the file. Splitting follows the tokenizers library, as transformers' fast classes do, not sentencepiece itself: the two
differ on a few texts with odd spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.files import SENTENCEPIECE, TokenizerFiles
from vision2seq.processing.text.sentencepiece_model import (
    BPE,
    CONTROL,
    UNIGRAM,
    USER_DEFINED,
    SentencePieceModel,
    read_model,
)
from vision2seq.processing.text.style import FAIRSEQ_SPECIALS, Special, Style, special_id

SPACE = "▁"
_FIRST = ("<s>", "<pad>", "</s>", "<unk>")


def build(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    """Make a tokenizer from a SentencePiece model; see `Style`."""
    path = files.path(SENTENCEPIECE)
    source = read_model(path.read_bytes(), str(path))
    pieces = [(text, 0.0) for text in _FIRST]
    pieces += [(text, score) for text, score, _ in source.pieces[3:]]
    pieces.append(("<mask>", 0.0))
    if source.model_type == UNIGRAM:
        backend = Backend(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    elif source.model_type == BPE:
        vocab = {text: index for index, (text, _) in enumerate(pieces)}
        backend = Backend(models.BPE(vocab, _merges(pieces, source), unk_token=source.unk_piece, fuse_unk=True))
    else:
        raise TokenizerError(
            f"{path} is a SentencePiece model of type {source.model_type}. Expected {UNIGRAM} (unigram) or {BPE} (BPE)."
        )
    backend.add_tokens(
        [
            AddedToken(text, normalized=False, special=kind == CONTROL)
            for text, _, kind in source.pieces
            if kind in (CONTROL, USER_DEFINED)
        ]
    )
    backend.normalizer = _normalizer(source.charsmap, str(path))
    prefix = "always" if options.get("add_prefix_space", True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=prefix)
    backend.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme=prefix)
    return backend


def _normalizer(charsmap: bytes, name: str) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if charsmap:
        try:
            steps.append(normalizers.Precompiled(charsmap))
        except Exception as error:  # the library raises plain Exception
            raise TokenizerError(f"The normaliser in {name} cannot be read: {error}.") from None
    steps += [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), SPACE)]
    return normalizers.Sequence(steps)


def _merges(pieces: list[tuple[str, float]], source: SentencePieceModel) -> list[tuple[str, str]]:
    """The merges that a BPE model implies: all ways to make a piece of two others, the best scored piece first."""
    rank = {text: index for index, (text, _, _) in enumerate(source.pieces)}
    found: list[tuple[float, int, int, str, str]] = []
    for text, score in dict(pieces).items():
        splits = [(text[:at], text[at:]) for at in range(1, len(text))]
        known = [pair for pair in splits if pair[0] in rank and pair[1] in rank]
        known.sort(key=lambda pair: (rank[pair[0]], rank[pair[1]]))
        found += [(score, len(left), len(right), left, right) for left, right in known]
    found.sort(key=lambda merge: merge[:3], reverse=True)
    return [(left, right) for *_, left, right in found]


def _finish(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    special_id(backend, specials, "cls_token")
    special_id(backend, specials, "sep_token")
    # The texts are fixed, whatever the special tokens are called: these are the rows 0 and 2 of every such model.
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )


def _flag(name: str, text: str, from_parts: bool) -> Special:
    if name == "mask_token":  # stands for a word and the space before it
        return AddedToken(text, lstrip=True, normalized=not from_parts)
    return text


XLM_ROBERTA = Style(
    name="XLM-RoBERTa",
    classes=("XLMRobertaTokenizer",),
    files=(SENTENCEPIECE,),
    specials=FAIRSEQ_SPECIALS,
    flag=_flag,
    build=build,
    finish=_finish,
)
