"""Looking tokens up, and the special ones among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from vision2seq.errors import OptionError, UnknownOptionError, nearest
from vision2seq.processing.text.batch import checked_id, plain_ids
from vision2seq.processing.text.special_tokens import ADDITIONAL
from vision2seq.processing.text.style import SPECIAL_NAMES, Special, text_of


class SpecialText:
    """``tokenizer.pad_token``: a special token's text, or ``None``; settable."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, tokenizer: Vocabulary | None, owner: type | None = None) -> Any:
        return self if tokenizer is None else tokenizer._text_of(self._name)

    def __set__(self, tokenizer: Vocabulary, value: str | AddedToken | None) -> None:
        if value is not None and not isinstance(value, (str, AddedToken)):
            raise OptionError(f"{self._name} cannot be {value!r}. Expected a text, an AddedToken or None.")
        tokenizer._special[self._name] = value


class SpecialId:
    """``tokenizer.pad_token_id``: a special token's id, or ``None``; settable."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removesuffix("_id")

    def __get__(self, tokenizer: Vocabulary | None, owner: type | None = None) -> Any:
        return self if tokenizer is None else tokenizer.convert_tokens_to_ids(tokenizer._text_of(self._name))

    def __set__(self, tokenizer: Vocabulary, value: int | None) -> None:
        token = None if value is None else tokenizer.convert_ids_to_tokens(int(value))
        if value is not None and token is None:
            raise OptionError(f"{self._name}_id cannot be {value!r}: the vocabulary has {len(tokenizer)} ids.")
        setattr(tokenizer, self._name, token)


class Vocabulary:
    """The tokens of a tokenizer: ids, added tokens, special tokens. See `Tokenizer`."""

    _backend: Backend
    _special: dict[str, Special | None]
    _additional: list[Special]
    _extra: tuple[str, ...]

    bos_token = SpecialText()
    eos_token = SpecialText()
    unk_token = SpecialText()
    sep_token = SpecialText()
    pad_token = SpecialText()
    cls_token = SpecialText()
    mask_token = SpecialText()
    bos_token_id = SpecialId()
    eos_token_id = SpecialId()
    unk_token_id = SpecialId()
    sep_token_id = SpecialId()
    pad_token_id = SpecialId()
    cls_token_id = SpecialId()
    mask_token_id = SpecialId()

    @property
    def backend_tokenizer(self) -> Backend:
        """The object of the tokenizers library."""
        return self._backend

    @property
    def vocab_size(self) -> int:
        """How many tokens the vocabulary has, without added ones."""
        return self._backend.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self._backend.get_vocab_size(with_added_tokens=True)

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """All tokens, with added ones, to their ids."""
        return self._backend.get_vocab(with_added_tokens=True)

    @property
    def vocab(self) -> dict[str, int]:
        """The same as `get_vocab`."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Ids to the tokens that are never split, in the order of ids."""
        return dict(sorted(self._backend.get_added_tokens_decoder().items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Texts of the tokens that are never split to their ids, in the order of ids."""
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    @property
    def added_tokens(self) -> dict[str, int]:
        """The same as `added_tokens_encoder`."""
        return self.added_tokens_encoder

    def get_added_vocab(self) -> dict[str, int]:
        """The same as `added_tokens_encoder`."""
        return self.added_tokens_encoder

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Look up one token or several; an unknown one has the id of ``unk_token``, or ``None``."""
        if tokens is None:
            return None
        if not isinstance(tokens, (str, AddedToken)):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        text = text_of(tokens)
        index = self._backend.token_to_id(text)
        if index is not None:
            return index
        unk = self._text_of("unk_token")
        return None if unk is None else self._backend.token_to_id(unk)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Look up one id or several; one that nobody has becomes ``None``."""
        ids = plain_ids(ids)
        if isinstance(ids, int):
            return self._backend.id_to_token(checked_id(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._backend.id_to_token(checked_id(index)) for index in ids if index not in skipped]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens into text."""
        decoder = self._backend.decoder
        return decoder.decode(list(tokens)) if decoder is not None else " ".join(tokens)

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens that are never split, behind the last id.

        Args:
            new_tokens: A text, an ``AddedToken``, or a list of them.
            special_tokens: Whether decoding skips them when told to skip special tokens.

        Returns:
            How many were new.
        """
        if not new_tokens:
            return 0
        queue = list(new_tokens) if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        return self._add(queue, special_tokens)

    def _add(self, tokens: list[Any], special: bool = False) -> int:
        return self._backend.add_special_tokens(tokens) if special else self._backend.add_tokens(tokens)

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Set special tokens by name, and add those that the vocabulary lacks.

        Args:
            special_tokens_dict: Such as ``{"pad_token": "<pad>", "additional_special_tokens": ["<line>"]}``.
            replace_additional_special_tokens: Whether that list replaces the present one or extends it.

        Returns:
            How many were new.

        Raises:
            UnknownOptionError: A name that is none of a special token.
            OptionError: A value that is no text.
        """
        known = (*SPECIAL_NAMES, *self._extra, ADDITIONAL)
        queue: list[AddedToken] = []
        for name, value in special_tokens_dict.items():
            if name not in known:
                raise UnknownOptionError(
                    f"{name!r} is no special token.{nearest(name, known)} Known: {', '.join(known)}."
                )
            values = value if name == ADDITIONAL else [value]
            if not isinstance(values, (list, tuple)) or not all(isinstance(v, (str, AddedToken)) for v in values):
                raise OptionError(f"{name} cannot be {value!r}. Expected a text, or a list of texts for {ADDITIONAL}.")
            tokens = [AddedToken(v, normalized=False, special=True) if isinstance(v, str) else v for v in values]
            if name != ADDITIONAL:
                self._special[name] = tokens[0]
            elif replace_additional_special_tokens:
                self._additional = list(tokens) or self._additional
            else:
                present = set(self.additional_special_tokens)
                tokens = [token for token in tokens if token.content not in present]
                self._additional = [*self._additional, *tokens]
            queue += [token for token in tokens if token not in queue]
        return self.add_tokens(queue, special_tokens=True)

    # ----------------------------------------------------------------------------------------- special tokens

    def _text_of(self, name: str) -> str | None:
        value = self._special.get(name)
        return None if value is None else text_of(value)

    def __getattr__(self, name: str) -> Any:
        # Only reached by names that are no attribute: special tokens that a checkpoint made up.
        special = self.__dict__.get("_special", {})
        if name in special:
            return self._text_of(name)
        if name.endswith("_id") and name[:-3] in special:
            return self.convert_tokens_to_ids(self._text_of(name[:-3]))
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    @property
    def additional_special_tokens(self) -> list[str]:
        """Texts of special tokens without a name of their own."""
        return [text_of(value) for value in self._additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, values: Iterable[Special] | None) -> None:
        self._additional = list(values or [])

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Their ids."""
        ids: list[int] = self.convert_tokens_to_ids(self.additional_special_tokens)
        return ids

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """Names of the special tokens that are set to their texts."""
        found: dict[str, Any] = {name: text for name in SPECIAL_NAMES if (text := self._text_of(name))}
        if self._additional:
            found[ADDITIONAL] = self.additional_special_tokens
        found.update({name: text for name in self._extra if (text := self._text_of(name))})
        return found

    def _special_values(self) -> list[Special]:
        """Special tokens as they were set, each text once."""
        values = [self._special.get(name) for name in SPECIAL_NAMES]
        values += self._additional
        values += [self._special.get(name) for name in self._extra]
        unique: dict[str, Special] = {}
        for value in values:
            if value is not None and text_of(value):
                unique.setdefault(text_of(value), value)
        return list(unique.values())

    @property
    def all_special_tokens(self) -> list[str]:
        """Texts of all special tokens, each once."""
        return [text_of(value) for value in self._special_values()]

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of all special tokens."""
        ids: list[int] = self.convert_tokens_to_ids(self.all_special_tokens)
        return ids

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a call puts around one text, or around a pair."""
        return self._backend.num_special_tokens_to_add(pair)
