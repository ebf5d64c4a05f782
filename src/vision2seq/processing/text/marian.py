"""Marian's tokenizer: two SentencePiece models, one a language, that share one vocabulary; ``</s>`` behind a text.

A text may begin with the language that it shall be translated to, as in ``>>fra<< How are you?``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import processors

from vision2seq.errors import TokenizerError, UnsupportedError
from vision2seq.processing.text.bert_generation import refuse_sampling
from vision2seq.processing.text.files import SOURCE_SPM, TARGET_SPM, VOCAB_JSON, TokenizerFiles, read_vocabulary
from vision2seq.processing.text.sentencepiece_exact import SPACE, SentencePiece
from vision2seq.processing.text.sentencepiece_fast import read_sentencepiece
from vision2seq.processing.text.style import Style, special_id


class MarianSplitter:
    """Splits with the model of a text's language; see `Splitter`."""

    def __init__(self, files: TokenizerFiles, options: Mapping[str, Any]) -> None:
        refuse_sampling(options)
        if options.get("separate_vocabs"):
            raise UnsupportedError(
                f"{files.name} has a vocabulary for each language (separate_vocabs), which is not built here. Known is "
                f"one {VOCAB_JSON} for both."
            )
        path = files.path(VOCAB_JSON)
        self.vocabulary = read_vocabulary(path)
        self.unk_token = str(options.get("unk_token") or "<unk>")
        if self.unk_token not in self.vocabulary:
            raise TokenizerError(f"{path} lacks {self.unk_token!r}, the token for what is unknown. Set unk_token.")
        self._data = {name: files.path(name).read_bytes() for name in (SOURCE_SPM, TARGET_SPM)}
        self._source, self._target = (SentencePiece(read_sentencepiece(files.path(name))) for name in self._data)

    def prepare(self) -> None:
        """Nothing more is needed."""

    def pieces(self, text: str) -> list[str]:
        return _split(self._source, text)

    def target_pieces(self, text: str) -> list[str]:
        return _split(self._target, text)

    def text(self, tokens: list[str], special: set[str], source: bool) -> str:
        model = self._source if source else self._target
        found, run = "", list[str]()
        for token in tokens:
            if token in special:
                found += model.decode(run) + token + " "
                run = []
            else:
                run.append(token)
        return (found + model.decode(run)).replace(SPACE, " ").strip()

    def files(self) -> dict[str, str | bytes]:
        return {VOCAB_JSON: json.dumps(self.vocabulary, ensure_ascii=False, indent=2), **self._data}


def _split(model: SentencePiece, text: str) -> list[str]:
    end = text.find("<<") + 2
    if not text.startswith(">>") or end < 2:
        return model.encode(text)
    return [text[:end], *model.encode(text[end:])]


def _finish(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    eos, index = special_id(backend, specials, "eos_token")
    backend.post_processor = processors.TemplateProcessing(
        single=["$A", eos], pair=["$A", "$B", eos], special_tokens=[(eos, index)]
    )


MARIAN = Style(
    name="Marian",
    classes=("MarianTokenizer",),
    files=(VOCAB_JSON, SOURCE_SPM, TARGET_SPM),
    specials={"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    finish=_finish,
    splitter=MarianSplitter,
    max_length=512,
)
