"""A tokenizer whose texts are marked with their language."""

from __future__ import annotations

from typing import ClassVar

from tokenizers import Tokenizer as Backend
from tokenizers import processors

from vision2seq.errors import OptionError
from vision2seq.processing.text.languages import DEFAULT_LANGUAGE, MBART50_LANGUAGES, language_marks
from vision2seq.processing.text.style import SPECIAL_NAMES, sharing
from vision2seq.processing.text.tokenizer import Tokenizer


class LanguageTokenizer(Tokenizer):
    """Marks texts with `src_lang`, and those passed as ``text_target`` with `tgt_lang`.

    Attributes:
        src_lang, tgt_lang: Codes such as ``"en_XX"``; both can be set. ``tgt_lang`` may be ``None``.
        lang_code_to_id: All codes to their ids.
    """

    language_first: ClassVar[bool]
    """Whether the code stands before the text rather than behind its end."""

    @property
    def src_lang(self) -> str:
        return str(self._options.get("src_lang") or DEFAULT_LANGUAGE)

    @src_lang.setter
    def src_lang(self, language: str) -> None:
        self._backend.post_processor = self._marks(language)
        self._options["src_lang"] = language

    @property
    def tgt_lang(self) -> str | None:
        return self._options.get("tgt_lang")

    @tgt_lang.setter
    def tgt_lang(self, language: str | None) -> None:
        if language is not None:
            self._marks(language)  # raises if it is none
        self._options["tgt_lang"] = language

    @property
    def lang_code_to_id(self) -> dict[str, int]:
        found = {code: self._backend.token_to_id(code) for code in MBART50_LANGUAGES}
        return {code: index for code, index in found.items() if index is not None}

    def _marks(self, language: str) -> processors.TemplateProcessing:
        texts = {name: text for name in SPECIAL_NAMES if (text := self._text_of(name)) is not None}
        return language_marks(self._backend, texts, language, self.language_first)

    def _backend_for(self, target: bool) -> Backend:
        if not target:
            return self._backend
        if self.tgt_lang is None:
            raise OptionError(
                f"text_target needs its language: set tgt_lang, as in tokenizer.tgt_lang = {self.src_lang!r}."
            )
        return sharing(self._backend, post_processor=self._marks(self.tgt_lang))
