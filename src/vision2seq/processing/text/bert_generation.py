"""BERT generation's tokenizer: SentencePiece in the order of its file, with nothing around the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vision2seq.errors import UnsupportedError
from vision2seq.processing.text.files import SENTENCEPIECE_NAMES, SPIECE, TokenizerFiles
from vision2seq.processing.text.sentencepiece_exact import SentencePiece
from vision2seq.processing.text.sentencepiece_fast import find_model
from vision2seq.processing.text.style import Style


class SentencePieceSplitter:
    """Splits with a SentencePiece model as sentencepiece does; see `Splitter`."""

    def __init__(self, files: TokenizerFiles, options: Mapping[str, Any]) -> None:
        refuse_sampling(options)
        model = find_model(files, SPIECE)
        self._data = files.path(SPIECE, *SENTENCEPIECE_NAMES).read_bytes()
        self._model = SentencePiece(model)
        self.vocabulary = {text: index for index, (text, _, _) in enumerate(model.pieces)}
        self.unk_token = model.unk_piece

    def prepare(self) -> None:
        """Nothing more is needed."""

    def pieces(self, text: str) -> list[str]:
        return self._model.encode(text)

    target_pieces = pieces

    def text(self, tokens: list[str], special: set[str], source: bool) -> str:
        found, run = "", list[str]()
        for token in tokens:
            if token in special:
                found += self._model.decode(run) + token
                run = []
            else:
                run.append(token)
        return (found + self._model.decode(run)).strip()

    def files(self) -> dict[str, str | bytes]:
        return {SPIECE: self._data}


def refuse_sampling(options: Mapping[str, Any]) -> None:
    """Refuse options that split one text differently at each call.

    Raises:
        UnsupportedError: There are such.
    """
    wanted = options.get("sp_model_kwargs") or {}
    if wanted.get("enable_sampling"):
        raise UnsupportedError(
            f"sp_model_kwargs asks for pieces drawn at random ({wanted}), which is not built here. Remove it."
        )


BERT_GENERATION = Style(
    name="BERT generation",
    classes=("BertGenerationTokenizer",),
    files=(SPIECE,),
    specials={
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "sep_token": "<::::>",
    },
    splitter=SentencePieceSplitter,
)
