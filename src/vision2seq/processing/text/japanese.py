"""Japanese BERT from vocab.txt: words, mostly MeCab's, then WordPiece or single characters, as in manga-ocr.

A word's first character is spelled as any other, so that words do not show in the ids of a tokenizer of characters:
MeCab is needed for word pieces only, and for these only to encode.
"""

from __future__ import annotations

import importlib
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from vision2seq.errors import MissingPackageError, OptionError, TokenizerError, UnsupportedError, nearest
from vision2seq.processing.text import wordpiece
from vision2seq.processing.text.files import VOCAB_TXT, TokenizerFiles
from vision2seq.processing.text.style import Style

_DICTIONARIES = {"ipadic": "ipadic", "unidic": "unidic", "unidic_lite": "unidic-lite"}
"""MeCab's dictionaries: the module to the package that has it."""
_WORDS = ("basic", "mecab", "sudachi", "jumanpp")
_PIECES = ("wordpiece", "character", "sentencepiece")
_LONGEST_WORD = 100


class JapaneseSplitter:
    """Splits into words and these into pieces; see `Splitter`."""

    def __init__(self, files: TokenizerFiles, options: Mapping[str, Any]) -> None:
        self._name = files.name
        self._words = _kind(files, options, "word_tokenizer_type", "do_word_tokenize", "basic", _WORDS)
        self._pieces = _kind(files, options, "subword_tokenizer_type", "do_subword_tokenize", "wordpiece", _PIECES)
        if self._pieces == "sentencepiece":
            raise UnsupportedError(
                f"{files.name} splits words by SentencePiece (subword_tokenizer_type), which is not built here for "
                "Japanese BERT. Known are 'wordpiece' and 'character'."
            )
        self._data = files.text(VOCAB_TXT)
        self.vocabulary = wordpiece.read_vocabulary(files)
        self.unk_token = str(options.get("unk_token") or "[UNK]")
        if self.unk_token not in self.vocabulary:
            raise TokenizerError(
                f"{files.path(VOCAB_TXT)} lacks {self.unk_token!r}, the token for what is unknown. Set unk_token."
            )
        self._lower = bool(options.get("do_lower_case", False))
        self._never_split = frozenset(options.get("never_split") or ())
        self._mecab = {"mecab_dic": "unidic_lite", "mecab_option": "", **(options.get("mecab_kwargs") or {})}
        self._tagger: Callable[[str], Any] | None = None

    def prepare(self) -> None:
        """Load MeCab.

        Raises:
            MissingPackageError: It or its dictionary is not installed.
            UnsupportedError: The words are another program's.
            OptionError: There is no such dictionary.
        """
        if self._words in ("sudachi", "jumanpp"):
            raise UnsupportedError(
                f"{self._name} splits text by word_tokenizer_type {self._words!r}, which is not built here, so it can "
                "decode but not encode. Known are 'mecab' and 'basic'."
            )
        if self._words == "mecab" and self._pieces == "wordpiece" and self._tagger is None:
            self._tagger = _load_mecab(self._name, self._mecab["mecab_dic"], self._mecab["mecab_option"] or "")

    def pieces(self, text: str) -> list[str]:
        if self._lower:
            text = "".join(letter.lower() for letter in text)
        words = self._split(text)
        if self._pieces == "character":
            return [letter for word in words for letter in unicodedata.normalize("NFKC", word)]
        if self._pieces == "none":
            return words
        return [piece for word in words for part in word.split() for piece in self._word_pieces(part)]

    target_pieces = pieces

    def _split(self, text: str) -> list[str]:
        if self._words == "basic":
            return basic_words(text, self._lower, self._never_split)
        if self._words == "none":
            return [text]
        normal = self._mecab.get("normalize_text", True)
        text = unicodedata.normalize("NFKC", text) if normal else text
        if self._tagger is None:  # characters are asked for: only what MeCab leaves out matters
            words = re.split("[ \t\n\v]+", text.partition("\0")[0])
            return [word.lower() if self._lower else word for word in words]
        return [word.surface.lower() if self._lower else word.surface for word in self._tagger(text)]

    def _word_pieces(self, word: str) -> list[str]:
        """The longest pieces of the vocabulary from the left, or the unknown token if they do not reach the end."""
        if len(word) > _LONGEST_WORD:
            return [self.unk_token]
        found: list[str] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.vocabulary), None)
            if end is None:
                return [self.unk_token]
            found.append(prefix + word[start:end])
            start = end
        return found

    def text(self, tokens: list[str], special: set[str], source: bool) -> str:
        return " ".join(tokens).replace(" ##", "").strip()

    def files(self) -> dict[str, str | bytes]:
        return {VOCAB_TXT: self._data}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tagger": None}  # it is loaded again


def _kind(
    files: TokenizerFiles, options: Mapping[str, Any], name: str, switch: str, default: str, known: tuple[str, ...]
) -> str:
    if not options.get(switch, True):
        return "none"
    kind = options.get(name, default)
    if kind not in known:
        raise TokenizerError(
            f"{files.name}: {name} is {kind!r}.{nearest(str(kind), known)} Expected one of: {', '.join(known)}."
        )
    return str(kind)


def _load_mecab(name: str, dictionary: str | None, option: str) -> Callable[[str], Any]:
    if dictionary is not None and dictionary not in _DICTIONARIES:
        raise OptionError(
            f"{name}: mecab_dic is {dictionary!r}.{nearest(str(dictionary), _DICTIONARIES)} Expected one of: "
            f"{', '.join(_DICTIONARIES)}, or none for MeCab's own."
        )
    wanted = ["fugashi", *([dictionary] if dictionary else [])]
    try:
        fugashi, *dictionaries = [importlib.import_module(module) for module in wanted]
    except ImportError as error:
        packages = " ".join(_DICTIONARIES.get(module, module) for module in wanted)
        raise MissingPackageError(
            f"{name} splits text with MeCab, and {error.name or error} is not installed. Decoding works without it. To "
            f"encode: pip install {packages}"
        ) from None
    for found in dictionaries:
        folder = found.DICDIR
        if not os.path.isdir(folder):
            raise MissingPackageError(
                f"{name} splits text with MeCab's dictionary {dictionary}, whose files are not there yet. Fetch them "
                f"with: python -m {dictionary} download"
            )
        option = f'-d "{folder}" -r "{os.path.join(folder, "mecabrc")}" {option}'
    tagger: Callable[[str], Any] = fugashi.GenericTagger(option)
    return tagger


def basic_words(text: str, lower: bool, never_split: frozenset[str]) -> list[str]:
    """Split at spaces and around punctuation, without control characters; lowered, accents go as well."""
    clean = "".join(
        " " if _is_space(letter) else letter
        for letter in text
        if _is_space(letter) or (letter not in "\0\ufffd" and not unicodedata.category(letter).startswith("C"))
    )
    words: list[str] = []
    for word in unicodedata.normalize("NFC", clean).split():
        if word in never_split:
            words.append(word)
            continue
        if lower:
            plain = unicodedata.normalize("NFD", word.lower())
            word = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
        words.append("".join(f" {letter} " if _is_punctuation(letter) else letter for letter in word))
    return " ".join(words).split()


def _is_space(letter: str) -> bool:
    return letter in " \t\n\r" or unicodedata.category(letter) == "Zs"


def _is_punctuation(letter: str) -> bool:
    ascii_sign = letter.isascii() and letter.isprintable() and not letter.isalnum() and letter != " "
    return ascii_sign or unicodedata.category(letter).startswith("P")


BERT_JAPANESE = Style(
    name="Japanese BERT",
    classes=("BertJapaneseTokenizer",),
    files=(VOCAB_TXT,),
    specials=wordpiece.BERT.specials,
    inputs=wordpiece.BERT.inputs,
    splitter=JapaneseSplitter,
    finish=wordpiece.finish,
)
