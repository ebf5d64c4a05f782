"""Byte-level BPE from vocab.json and merges.txt: GPT-2, and RoBERTa, which puts ``<s> … </s>`` around the text.

Every text is spelled with the 256 byte symbols, so that nothing is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.files import MERGES, VOCAB_JSON, TokenizerFiles, read_vocabulary
from vision2seq.processing.text.style import FAIRSEQ_SPECIALS, Special, Style, special_id


def read_merges(files: TokenizerFiles) -> list[tuple[str, str]]:
    """Read merges.txt, best merge first.

    Raises:
        TokenizerError: It is not there, or a line is no pair.
    """
    # The first line is a version and the last one empty. Both are dropped unseen, as every release of transformers
    # does: a file without them was trained and is used elsewhere with one merge less, and must be here.
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(files.text(MERGES).split("\n")[1:-1], start=2):
        pair = line.split()
        if len(pair) != 2:
            raise TokenizerError(
                f"{files.path(MERGES)}, line {number}, is {line!r}. Expected two tokens with a space between."
            )
        merges.append((pair[0], pair[1]))
    return merges


def build(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    """Make a byte-level BPE tokenizer; see `Style`."""
    vocab = read_vocabulary(files.path(VOCAB_JSON))
    merges = read_merges(files)
    try:
        model = models.BPE(vocab=vocab, merges=merges, continuing_subword_prefix="", end_of_word_suffix="")
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(
            f"{files.name}: {VOCAB_JSON} and {MERGES} contradict each other: {error}. Take both from one model."
        ) from None
    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(options.get("add_prefix_space", False)))
    backend.decoder = decoders.ByteLevel()
    return backend


def _finish_gpt2(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    if options.get("add_bos_token"):
        bos, index = special_id(backend, specials, "bos_token")
        backend.post_processor = processors.TemplateProcessing(
            single=[f"{bos}:0", "$A:0"], pair=[f"{bos}:0", "$A:0", "$B:1"], special_tokens=[(bos, index)]
        )
    else:
        backend.post_processor = processors.ByteLevel(trim_offsets=False)


def _finish_roberta(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    backend.post_processor = processors.RobertaProcessing(
        special_id(backend, specials, "sep_token"),
        special_id(backend, specials, "cls_token"),
        add_prefix_space=bool(options.get("add_prefix_space", False)),
        trim_offsets=bool(options.get("trim_offsets", True)),
    )


def _flag_gpt2(name: str, text: str, from_parts: bool) -> Special:
    return AddedToken(text, normalized=True) if from_parts else text


def _flag_roberta(name: str, text: str, from_parts: bool) -> Special:
    if name == "mask_token":  # stands for a word and the space before it
        return AddedToken(text, lstrip=True, normalized=False)
    return _flag_gpt2(name, text, from_parts)


GPT2 = Style(
    name="GPT-2",
    classes=("GPT2Tokenizer",),
    files=(VOCAB_JSON, MERGES),
    specials=dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
    flag=_flag_gpt2,
    build=build,
    finish=_finish_gpt2,
)

ROBERTA = Style(
    name="RoBERTa",
    classes=("RobertaTokenizer",),
    files=(VOCAB_JSON, MERGES),
    specials=FAIRSEQ_SPECIALS,
    flag=_flag_roberta,
    build=build,
    finish=_finish_roberta,
)


def _flag_bart(name: str, text: str, from_parts: bool) -> Special:
    return (
        AddedToken(text, lstrip=True, normalized=True) if name == "mask_token" else _flag_gpt2(name, text, from_parts)
    )


BART = replace(ROBERTA, name="BART", classes=("BartTokenizer", "MvpTokenizer"), flag=_flag_bart)
"""The same but for a flag of ``<mask>``."""


def _finish_blenderbot(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    eos, index = special_id(backend, specials, "eos_token")
    backend.post_processor = processors.TemplateProcessing(single=["$A:0", f"{eos}:0"], special_tokens=[(eos, index)])


BLENDERBOT = replace(ROBERTA, name="Blenderbot", classes=("BlenderbotTokenizer",), finish=_finish_blenderbot)
"""The same, with nothing before a text and only its end behind it."""
