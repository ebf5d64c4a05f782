"""Finding and reading the files that a tokenizer is made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from vision2seq import hub
from vision2seq.configuration.base import CONFIG_NAME, read_json
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, TokenizerError

TOKENIZER_JSON = "tokenizer.json"
VOCAB_JSON = "vocab.json"
MERGES = "merges.txt"
SENTENCEPIECE, SPIECE, SENTENCEPIECE_MODEL = "sentencepiece.bpe.model", "spiece.model", "sentencepiece.model"
SENTENCEPIECE_NAMES = (SENTENCEPIECE, SPIECE, SENTENCEPIECE_MODEL)
SOURCE_SPM, TARGET_SPM = "source.spm", "target.spm"
VOCAB_TXT = "vocab.txt"
VOCABULARIES = (TOKENIZER_JSON, VOCAB_JSON, MERGES, *SENTENCEPIECE_NAMES, SOURCE_SPM, TARGET_SPM, VOCAB_TXT)

TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass
class TokenizerFiles:
    """The files of one tokenizer, the small ones already read.

    Attributes:
        name: Where they are from, for messages.
        vocabularies: File name (one of `VOCABULARIES`) to path, for those that exist.
        config: tokenizer_config.json, with every key.
        special_tokens_map: special_tokens_map.json.
        added_tokens: added_tokens.json, text to id.
        class_hint: A tokenizer class that the model's config.json names.
    """

    name: str
    vocabularies: dict[str, Path]
    config: dict[str, Any] = field(default_factory=dict)
    special_tokens_map: dict[str, Any] = field(default_factory=dict)
    added_tokens: dict[str, int] = field(default_factory=dict)
    class_hint: str | None = None

    @classmethod
    def find(cls, folder: str | os.PathLike[str]) -> TokenizerFiles:
        """Look through a folder, or take a single tokenizer.json.

        Args:
            folder: Its path; a source brings the files here first that a tokenizer needs.

        Raises:
            CheckpointNotFoundError: There is no such folder.
            TokenizerError: No vocabulary is in it, or one of the small files is garbled.
        """
        if isinstance(folder, hub.Source):
            _bring(folder)
        folder = Path(folder)
        if folder.is_file():
            return cls(str(folder), {TOKENIZER_JSON: folder})
        if not folder.is_dir():
            raise CheckpointNotFoundError(f"No folder {folder}. Expected one that holds a tokenizer's files.")
        vocabularies = {name: folder / name for name in VOCABULARIES if (folder / name).is_file()}
        if not vocabularies:
            present = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_file())[:12]) or "nothing"
            raise TokenizerError(
                f"{folder} holds no tokenizer: found {present}. Missing is {TOKENIZER_JSON}, or {VOCAB_JSON} with "
                f"{MERGES}, or {SENTENCEPIECE} or {SPIECE}, or {VOCAB_TXT}. Copy the tokenizer's files there from "
                "the model that this one was trained from."
            )
        hint = _optional(folder / CONFIG_NAME).get("tokenizer_class")
        return cls(
            name=str(folder),
            vocabularies=vocabularies,
            config=_optional(folder / TOKENIZER_CONFIG),
            special_tokens_map=_optional(folder / SPECIAL_TOKENS_MAP),
            added_tokens=_added_ids(folder / ADDED_TOKENS),
            class_hint=hint if isinstance(hint, str) else None,
        )

    def path(self, name: str, *others: str) -> Path:
        """The path of a vocabulary file, or else of the first of others that is there.

        Raises:
            TokenizerError: None of them is there.
        """
        there = (other for other in others if other in self.vocabularies)
        name = name if name in self.vocabularies else next(there, name)
        if name not in self.vocabularies or not self.vocabularies[name].is_file():
            found = ", ".join(self.vocabularies) or "none"
            raise TokenizerError(
                f"{self.name} holds no {name}, which its tokenizer needs. Of the files that a tokenizer can be read "
                f"from it holds: {found}. Add the missing one, or a {TOKENIZER_JSON}."
            )
        return self.vocabularies[name]

    def text(self, name: str) -> str:
        """The content of a vocabulary file as text.

        Raises:
            TokenizerError: It is not there, or not UTF-8.
        """
        path = self.path(name)
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise TokenizerError(f"{path} is not UTF-8 text: {error}. Restore or download it again.") from None


def _bring(source: hub.Source) -> None:
    """Fetch what `TokenizerFiles.find` looks for; a tokenizer.json makes the other vocabularies superfluous."""
    if source.file is not None:
        source.named()
    elif source.get(TOKENIZER_JSON) is None:
        source.get_all(VOCABULARIES)
    source.get_all((TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS, CONFIG_NAME))


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointNotFoundError: The file does not exist.
        TokenizerError: It is not a JSON object.
    """
    try:
        return read_json(path)
    except CheckpointCorruptError as error:
        raise TokenizerError(str(error)) from None


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read a vocab.json.

    Raises:
        TokenizerError: It is no map of token texts to ids, or gives two tokens one id.
    """
    vocab = read_object(path)
    if not vocab:
        raise TokenizerError(f"{path} is empty. Expected {{token: id, …}}.")
    owner: dict[int, str] = {}
    for token, index in vocab.items():
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise TokenizerError(f"{path} gives token {token!r} the id {index!r}. Expected a number from 0 on.")
        if index in owner:
            raise TokenizerError(f"{path} gives id {index} to two tokens, {owner[index]!r} and {token!r}.")
        owner[index] = token
    return vocab


def added_token(value: Any, source: str, **flags: bool) -> AddedToken:
    """Make an added token from how a file spells it.

    Args:
        value: ``"<s>"`` or ``{"content": "<s>", "lstrip": …}``.
        source: What to name in messages.
        flags: Flags that override what is spelled.

    Raises:
        TokenizerError: It is neither.
    """
    if isinstance(value, AddedToken):
        return value
    if isinstance(value, str):
        return AddedToken(value, **flags)
    if isinstance(value, Mapping) and isinstance(value.get("content"), str):
        spelled = {flag: bool(value[flag]) for flag in _FLAGS if value.get(flag) is not None}
        return AddedToken(value["content"], **{**spelled, **flags})
    raise TokenizerError(f"{source} is {value!r}. Expected a text, or an object with a text as its content.")


def _optional(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _added_ids(path: Path) -> dict[str, int]:
    added = _optional(path)
    for token, index in added.items():
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise TokenizerError(f"{path} gives token {token!r} the id {index!r}. Expected a number from 0 on.")
    return added
