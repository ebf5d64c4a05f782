"""Blenderbot-small's tokenizer: BPE of lower-case words, where ``@@`` behind a piece says that its word goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.byte_level import read_merges
from vision2seq.processing.text.files import MERGES, VOCAB_JSON, TokenizerFiles, read_vocabulary
from vision2seq.processing.text.style import Style

_END = "</w>"
_SPACE, _NO_SPACE = r"[^\S\x1c-\x1f]", r"[\S\x1c-\x1f]"
"""Unicode's White_Space, to which Python's ``\\s`` adds four control characters, and the rest."""


class BlenderbotSmallSplitter:
    """Splits words by merges; see `Splitter`."""

    def __init__(self, files: TokenizerFiles, options: Mapping[str, Any]) -> None:
        path = files.path(VOCAB_JSON)
        self.vocabulary = read_vocabulary(path)
        self.unk_token = str(options.get("unk_token") or "__unk__")
        if self.unk_token not in self.vocabulary:
            raise TokenizerError(f"{path} lacks {self.unk_token!r}, the token for what is unknown. Set unk_token.")
        self._merges = read_merges(files)
        self._ranks = {pair: rank for rank, pair in enumerate(self._merges)}
        self._known: dict[str, list[str]] = {}

    def prepare(self) -> None:
        """Nothing more is needed."""

    def pieces(self, text: str) -> list[str]:
        found = []
        for chunk in re.findall(rf"{_NO_SPACE}+\n?", text):
            chunk = re.sub("([.,!?()])", r" \1", chunk)
            chunk = re.sub("(')", r" \1 ", chunk)
            chunk = re.sub(rf"{_SPACE}{{2,}}", " ", chunk)
            for word in chunk.replace("\n", " __newln__").split(" "):
                if word:
                    found += self._word(word.lower())
        return [piece.lower() for piece in found]

    target_pieces = pieces

    def _word(self, word: str) -> list[str]:
        if len(word) == 1:
            return [word]
        if word not in self._known:
            symbols = [*word[:-1], word[-1] + _END]
            while len(symbols) > 1:
                best = min(pairwise(symbols), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
                if best not in self._ranks:
                    break
                symbols = _joined(symbols, best)
            self._known[word] = [*(symbol + "@@" for symbol in symbols[:-1]), symbols[-1].removesuffix(_END)]
        return self._known[word]

    def text(self, tokens: list[str], special: set[str], source: bool) -> str:
        return " ".join(tokens).replace("@@ ", "").strip()

    def files(self) -> dict[str, str | bytes]:
        merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in self._merges), ""])
        return {VOCAB_JSON: json.dumps(self.vocabulary, ensure_ascii=False, indent=2), MERGES: merges}


def _joined(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Join a pair of neighbours wherever it stands, from the left."""
    found: list[str] = []
    at = 0
    while at < len(symbols):
        if at + 1 < len(symbols) and (symbols[at], symbols[at + 1]) == pair:
            found.append(symbols[at] + symbols[at + 1])
            at += 2
        else:
            found.append(symbols[at])
            at += 1
    return found


BLENDERBOT_SMALL = Style(
    name="Blenderbot-small",
    classes=("BlenderbotSmallTokenizer",),
    files=(VOCAB_JSON, MERGES),
    specials={
        "bos_token": "__start__",
        "eos_token": "__end__",
        "unk_token": "__unk__",
        "pad_token": "__null__",
    },
    splitter=BlenderbotSmallSplitter,
)
