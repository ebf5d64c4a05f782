"""Tokenizers that Python code splits texts for: kinds that transformers has no fast class of.

The library's object still finds added tokens, looks ids up and puts special tokens around a text; between added tokens
it calls a `Splitter`. Such an object cannot be written as a tokenizer.json; vocabulary files are written as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, NormalizedString, PreTokenizedString, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from vision2seq.errors import UnsupportedError
from vision2seq.processing.text.batch import BatchEncoding
from vision2seq.processing.text.files import TokenizerFiles
from vision2seq.processing.text.pieces import Pieces, probe_pieces
from vision2seq.processing.text.special_tokens import flags_of
from vision2seq.processing.text.style import Splitter, text_of
from vision2seq.processing.text.tokenizer import Tokenizer


class _Hook:
    """How the library calls a function that splits."""

    def __init__(self, splitter: Splitter, target: bool) -> None:
        self._split = splitter.target_pieces if target else splitter.pieces

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        text.split(lambda _, part: [NormalizedString(piece) for piece in self._split(part.normalized)])


def python_backend(splitter: Splitter, target: bool = False) -> Backend:
    """Make an object of the library that calls a splitter, with the splitter's vocabulary."""
    backend = Backend(models.WordLevel(splitter.vocabulary, unk_token=splitter.unk_token))
    backend.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(_Hook(splitter, target))
    return backend


class PythonTokenizer(Tokenizer):
    """A tokenizer that Python code splits texts for. See `Tokenizer`."""

    is_fast = False

    _splitter: Splitter | None = None  # none if there is but a tokenizer.json
    _as_added: dict[str, AddedToken]  # text to token with the flags that it was added with

    def _build(self, files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
        assert self._style.splitter is not None
        self._splitter = self._style.splitter(files, options)
        self._as_added: dict[str, AddedToken] = {}
        return python_backend(self._splitter)

    def _backend_for(self, target: bool) -> Backend:
        if self._splitter is None:
            return self._backend
        self._splitter.prepare()
        return self._rebuilt(self._state(), target) if target else self._backend

    def _encoded(self, text: Any, text_pair: Any, **options: Any) -> BatchEncoding:
        if options["return_offsets_mapping"] and self._splitter is not None:
            raise UnsupportedError(
                f"{type(self).__name__} cannot tell where in the text its tokens are (return_offsets_mapping). Only "
                "tokenizers whose is_fast is true can."
            )
        return super()._encoded(text, text_pair, **options)

    # --------------------------------------------------------------------------------------------- added tokens

    def _add(self, tokens: list[Any], special: bool = False) -> int:
        if self._splitter is None:
            return super()._add(tokens, special)
        # The library looks for tokens with normalized=False first. Nothing is normalised here, so one search will do.
        alike = []
        for token in tokens:
            token = AddedToken(token, normalized=not special) if isinstance(token, str) else token
            token = AddedToken(**{**flags_of(token), "special": special or token.special})
            self._as_added[token.content] = token
            alike.append(AddedToken(**{**flags_of(token), "normalized": False}))
        return self._backend.add_tokens(alike)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Ids to the tokens that are never split, in the order of ids."""
        found = super().added_tokens_decoder
        if self._splitter is None:
            return found
        return {index: self._as_added.get(token.content, token) for index, token in found.items()}

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        if self._splitter is None:
            return super().add_tokens(new_tokens, special_tokens)
        before = len(self)
        known = set(self.all_special_tokens)
        super().add_tokens(new_tokens, special_tokens)
        given = new_tokens if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        for token in dict.fromkeys(text_of(token) for token in given if token):
            if special_tokens and token not in known:
                self._additional.append(token)
        return len(self) - before  # a token that the vocabulary has already is none

    # --------------------------------------------------------------------------------------------------- decoding

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Look up one id or several; one that nobody has becomes ``unk_token``."""
        tokens = super().convert_ids_to_tokens(ids, skip_special_tokens)
        unknown = self.unk_token
        if self._splitter is None or isinstance(tokens, str):
            return tokens
        return unknown if tokens is None else [unknown if token is None else token for token in tokens]

    def _joined(self, ids: list[int], skip_special_tokens: bool, options: Mapping[str, Any]) -> str:
        if self._splitter is None:
            return super()._joined(ids, skip_special_tokens, options)
        special = set(self.all_special_tokens)
        size = self.vocab_size
        apart = set(self.added_tokens_encoder) - special
        apart |= {token for token in self.additional_special_tokens if (self.convert_tokens_to_ids(token) or 0) >= size}
        unknown = self.unk_token or self._splitter.unk_token
        parts: list[str] = []
        run: list[str] = []
        for index in ids:
            token = self._backend.id_to_token(index)
            token = unknown if token is None else token
            if skip_special_tokens and token in special:
                continue
            if token in apart:
                if run and (text := self._text(run, special, options)):
                    parts.append(text)
                run = []
                parts.append(token)
            else:
                run.append(token)
        if run:
            parts.append(self._text(run, special, options))
        return (" " if options.get("spaces_between_special_tokens", True) else "").join(parts)

    def _text(self, tokens: list[str], special: set[str], options: Mapping[str, Any]) -> str:
        assert self._splitter is not None
        return self._splitter.text(tokens, special, bool(options.get("use_source_tokenizer", False)))

    def _read_pieces(self, silent: set[int]) -> Pieces:
        if self._splitter is None:
            return super()._read_pieces(silent)
        silent = {*silent, *self.added_tokens_decoder}  # which stand apart from their neighbours
        tokens = {index: token for token, index in self._backend.get_vocab(True).items() if index not in silent}
        special = set(self.all_special_tokens)
        return probe_pieces(tokens, lambda row: self._text(row, special, {}), self.clean_up_tokenization_spaces)

    def convert_tokens_to_string(self, tokens: Any) -> str:
        """Join tokens into text."""
        if self._splitter is None:
            return super().convert_tokens_to_string(tokens)
        return self._text(list(tokens), set(self.all_special_tokens), {})

    # ------------------------------------------------------------------------------------- saving and pickling

    def _vocabulary_files(self) -> dict[str, str | bytes]:
        return super()._vocabulary_files() if self._splitter is None else self._splitter.files()

    def _state(self) -> tuple[Any, ...]:
        backend = self._backend
        added = [token for _, token in sorted(backend.get_added_tokens_decoder().items())]
        return added, backend.post_processor, backend.encode_special_tokens

    def _rebuilt(self, state: tuple[Any, ...], target: bool = False) -> Backend:
        assert self._splitter is not None
        backend = python_backend(self._splitter, target)
        added, processor, backend.encode_special_tokens = state
        backend.add_tokens(added)
        if processor is not None:
            backend.post_processor = processor
        return backend

    def __getstate__(self) -> dict[str, Any]:
        # The library cannot pickle an object that calls Python, so it is made again.
        values = dict(self.__dict__)
        if self._splitter is not None:
            values["_backend"] = self._state()
        return values

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        if self._splitter is not None:
            self._backend = self._rebuilt(values["_backend"])
