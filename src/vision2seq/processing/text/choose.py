"""Telling which kind of tokenizer a folder holds."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

from vision2seq.errors import TokenizerError, nearest
from vision2seq.processing.text import files as names
from vision2seq.processing.text.bert_generation import BERT_GENERATION
from vision2seq.processing.text.blenderbot_small import BLENDERBOT_SMALL
from vision2seq.processing.text.byte_level import BART, BLENDERBOT, GPT2, ROBERTA
from vision2seq.processing.text.fairseq import BARTHEZ, CAMEMBERT, MBART, MBART50, XGLM, XLM_ROBERTA
from vision2seq.processing.text.files import TokenizerFiles
from vision2seq.processing.text.japanese import BERT_JAPANESE
from vision2seq.processing.text.marian import MARIAN
from vision2seq.processing.text.pegasus import PEGASUS
from vision2seq.processing.text.rembert import BIG_BIRD, REMBERT
from vision2seq.processing.text.style import GENERIC, NOUGAT, Style
from vision2seq.processing.text.wordpiece import BERT

STYLES = (
    ROBERTA,
    BART,
    BLENDERBOT,
    BLENDERBOT_SMALL,
    GPT2,
    XLM_ROBERTA,
    MBART,
    MBART50,
    CAMEMBERT,
    BARTHEZ,
    XGLM,
    PEGASUS,
    REMBERT,
    BIG_BIRD,
    BERT_GENERATION,
    MARIAN,
    BERT,
    BERT_JAPANESE,
    NOUGAT,
    GENERIC,
)
_OF_DECODER = {
    "bart": BART,
    "bert": BERT,
    "bert-generation": BERT_GENERATION,
    "big_bird": BIG_BIRD,
    "blenderbot": BLENDERBOT,
    "blenderbot-small": BLENDERBOT_SMALL,
    "camembert": CAMEMBERT,
    "data2vec-text": ROBERTA,
    "electra": BERT,
    "ernie": BERT,
    "gpt2": GPT2,
    "gpt_bigcode": GPT2,
    "marian": MARIAN,
    "mbart": XLM_ROBERTA,  # Donut's
    "megatron-bert": BERT,
    "pegasus": PEGASUS,
    "rembert": REMBERT,
    "roberta": ROBERTA,
    "roberta-prelayernorm": ROBERTA,
    "trocr": ROBERTA,
    "xglm": XGLM,
    "xlm-roberta": XLM_ROBERTA,
    "xlm-roberta-xl": XLM_ROBERTA,
    "xmod": XLM_ROBERTA,
}
"""What a decoder's ``model_type`` suggests, asked last."""


def choose_style(
    pinned: Style | None, files: TokenizerFiles, backend: Backend | None, model_type: str | None = None
) -> tuple[Style, str, bool]:
    """The kind of a tokenizer, the class name to write, and whether a class or a file states it.

    Args:
        pinned: The kind of the class that was called, which wins.
        files: What there is to read.
        backend: What tokenizer.json holds, if there is one.
        model_type: Of the decoder.

    Raises:
        TokenizerError: No known kind fits the files.
    """
    stated = files.config.get("tokenizer_class") or files.class_hint
    if pinned is not None:
        ours = isinstance(stated, str) and _style_named(stated) is pinned
        return pinned, str(stated) if ours else written_name(pinned), True
    if isinstance(stated, str) and stated not in ("TokenizersBackend", "PreTrainedTokenizer"):
        style = _style_named(stated)
        if style is not None:
            return style, stated, True
        if backend is not None:  # a class that adds nothing to how a tokenizer.json splits
            return _implied_by(backend, model_type), stated, True
        known = ", ".join(name for style in STYLES for name in style.classes if style.files)
        raise TokenizerError(
            f"{files.name} says tokenizer_class {stated!r} and holds {', '.join(files.vocabularies)}. Missing is "
            f"{names.TOKENIZER_JSON}, without which only these are known: {known}. Save it there as a fast tokenizer."
            f"{nearest(stated.removesuffix('Fast'), known.split(', '))}"
        )
    style = _implied(files, model_type) if backend is None else _implied_by(backend, model_type)
    return style, written_name(style), False


def _style_named(class_name: str) -> Style | None:
    plain = class_name.removesuffix("Fast")
    return next((style for style in STYLES if plain in style.classes), None)


def written_name(style: Style) -> str:
    """The class name that stands for a kind in tokenizer_config.json."""
    return style.classes[0] if style.files else style.classes[0] + "Fast"


def _implied(files: TokenizerFiles, model_type: str | None) -> Style:
    """The kind that vocabulary files look like."""
    present = files.vocabularies
    hinted = _OF_DECODER.get(model_type or "")
    if names.SOURCE_SPM in present or names.TARGET_SPM in present:
        return MARIAN
    if names.VOCAB_JSON in present or names.MERGES in present:
        vocab = names.read_vocabulary(files.path(names.VOCAB_JSON))
        files.path(names.MERGES)  # raises if it is not there
        if "<s>" in vocab and "</s>" in vocab:
            return BLENDERBOT if hinted is BLENDERBOT else ROBERTA
        if "__unk__" in vocab:
            return BLENDERBOT_SMALL
        if "<|endoftext|>" in vocab:
            return GPT2
        return hinted if hinted in (ROBERTA, BART) else GPT2
    if names.SENTENCEPIECE in present:
        return hinted if hinted in (CAMEMBERT, XGLM) else XLM_ROBERTA
    if names.SENTENCEPIECE_MODEL in present:
        return REMBERT
    if names.SPIECE in present:
        if hinted in (PEGASUS, BIG_BIRD, BERT_GENERATION):
            return hinted
        kinds = ", ".join(style.classes[0] for style in STYLES if names.SPIECE in style.files)
        raise TokenizerError(
            f"{files.name} holds {names.SPIECE}, which several kinds of tokenizers have, and nothing says which. "
            f"Expected {names.TOKENIZER_CONFIG} with a tokenizer_class, such as {kinds}."
        )
    return BERT


def _implied_by(backend: Backend, model_type: str | None) -> Style:
    """The kind that the parts of a tokenizer.json look like."""
    has = backend.token_to_id
    if isinstance(backend.model, models.WordPiece) and has("[CLS]") is not None:
        return BERT
    if isinstance(backend.post_processor, processors.RobertaProcessing):
        return ROBERTA
    if isinstance(backend.model, models.Unigram):
        numbered = [has(text) for text in ("<s>", "<pad>", "</s>", "<unk>")]
        return XLM_ROBERTA if numbered == [0, 1, 2, 3] else GENERIC
    if isinstance(backend.model, models.BPE) and isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        if has("<s>") is not None and has("</s>") is not None:
            return ROBERTA
        if has("<|endoftext|>") is not None:
            return GPT2
    hinted = _OF_DECODER.get(model_type or "", GENERIC)
    if hinted.splitter is not None:
        return GENERIC
    return hinted if any(has(text) is not None for text in hinted.specials.values()) else GENERIC


def vocab_name(style: Style | None, path: Path) -> str:
    """Which of the vocabulary files a file of any name stands for."""
    if style is not None and style.files:
        return style.files[0]
    by_suffix = {".model": names.SENTENCEPIECE, ".txt": names.VOCAB_TXT}
    return by_suffix.get(path.suffix, names.VOCAB_JSON)
