"""Encoding: texts to rows of ids, cut and padded.

The library's object is never changed by a call: cutting and padding are done here, so that threads can share one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from tokenizers import Encoding
from tokenizers import Tokenizer as Backend

from vision2seq.errors import OptionError, UnknownOptionError, nearest
from vision2seq.processing.text.batch import BatchEncoding, no_panic, plain_ids
from vision2seq.processing.text.vocabulary import Vocabulary

_CALL_OPTIONS = (
    "text text_pair text_target add_special_tokens padding truncation max_length is_split_into_words "
    "pad_to_multiple_of padding_side return_tensors return_token_type_ids return_attention_mask "
    "return_special_tokens_mask return_offsets_mapping return_length verbose"
).split()
_TRUNCATIONS = ("longest_first", "only_first", "only_second")
_LARGE = int(1e20)


class Encoder(Vocabulary):
    """The part of a tokenizer that turns text into ids. See `Tokenizer`."""

    model_max_length: int
    model_input_names: list[str]
    padding_side: str
    truncation_side: str
    pad_token_type_id: int
    is_fast: ClassVar[bool]

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        *,
        text_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **unknown: Any,
    ) -> BatchEncoding:
        """Turn texts into ids.

        Args:
            text: One text, or a list of texts (or of pairs).
            text_pair: A second text for each.
            text_target: Texts whose ids are returned as ``labels``, or alone if ``text`` is not given.
            add_special_tokens: Whether to put the model's special tokens around them.
            padding: ``False``; ``True`` or ``"longest"`` to the longest row; ``"max_length"``.
            truncation: ``False``; ``True`` or ``"longest_first"``; ``"only_first"``, ``"only_second"``. Unset, it is
                ``True`` if ``max_length`` is given without padding.
            max_length: In tokens, special ones included; `model_max_length` if unset.
            is_split_into_words: Whether each text is a list of words.
            pad_to_multiple_of: Pad to a length that this number divides.
            padding_side: ``"right"`` or ``"left"``; `padding_side` if unset.
            return_tensors: ``"pt"``, ``"np"`` or ``None`` for lists.
            return_token_type_ids, return_attention_mask: Whether to return them; by `model_input_names` if unset.
            return_special_tokens_mask, return_offsets_mapping, return_length: Whether to return these too.
            verbose: Whether to warn of lengths that cannot be honoured.
            unknown: Nothing else is known.

        Returns:
            ``input_ids`` B T and the rest of the same shape; without the B for one text and no tensors.

        Raises:
            UnknownOptionError: Another option.
            OptionError: A value that cannot be honoured.
        """
        for name in unknown:
            raise UnknownOptionError(
                f"{type(self).__name__} has no option {name!r}.{nearest(name, _CALL_OPTIONS)} "
                f"It has: {', '.join(_CALL_OPTIONS)}."
            )
        if text is None and text_target is None:
            raise OptionError("There is nothing to encode: pass text, text_target or both.")
        options = {
            key: value
            for key, value in locals().items()
            if key in _CALL_OPTIONS and key not in ("text", "text_pair", "text_target")
        }
        if text_target is None:
            return self._encoded(text, text_pair, **options)
        target = self._encoded(text_target, None, for_target=True, **options)
        if text is None:
            return target
        both = self._encoded(text, text_pair, **options)
        both["labels"] = target["input_ids"]
        return both

    def _encoded(
        self,
        text: Any,
        text_pair: Any,
        *,
        for_target: bool = False,
        add_special_tokens: bool,
        padding: bool | str,
        truncation: bool | str | None,
        max_length: int | None,
        is_split_into_words: bool,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
        return_tensors: Any,
        return_token_type_ids: bool | None,
        return_attention_mask: bool | None,
        return_special_tokens_mask: bool,
        return_offsets_mapping: bool,
        return_length: bool,
        verbose: bool,
    ) -> BatchEncoding:
        single = isinstance(text, str) or (
            is_split_into_words and isinstance(text, (list, tuple)) and bool(text) and isinstance(text[0], str)
        )
        # An empty second text counts as none, as it always did for one pair; in a batch it counts.
        inputs = [(text, text_pair) if text_pair else text] if single else self._inputs(text, text_pair)
        pad, cut, limit = self._lengths(padding, truncation, max_length, verbose)
        backend = self._backend_for(for_target)
        encodings = self._encode(backend, inputs, add_special_tokens, is_split_into_words, cut, limit)

        wanted = {"input_ids": True, "token_type_ids": return_token_type_ids, "attention_mask": return_attention_mask}
        rows: dict[str, list[Any]] = {}
        for name, chosen in wanted.items():
            if chosen or (chosen is None and name in self.model_input_names):
                attribute = {"input_ids": "ids", "token_type_ids": "type_ids"}.get(name, name)
                rows[name] = [getattr(encoding, attribute) for encoding in encodings]
        if return_special_tokens_mask:
            rows["special_tokens_mask"] = [encoding.special_tokens_mask for encoding in encodings]
        if return_offsets_mapping:
            rows["offset_mapping"] = [encoding.offsets for encoding in encodings]
        if pad:
            self._pad(rows, pad, limit, pad_to_multiple_of, padding_side)
        if return_length:
            rows["length"] = [len(row) for row in rows["input_ids"]]
        if single and return_tensors is None:
            return BatchEncoding({name: values[0] if name != "length" else values for name, values in rows.items()})
        return BatchEncoding(rows, return_tensors)

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """The ``input_ids`` of a call: a list of ints for one text."""
        return self(text, text_pair, **options)["input_ids"]

    def encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        """The same as a call."""
        return self(text, text_pair, **options)

    def batch_encode_plus(self, texts: Any, **options: Any) -> BatchEncoding:
        """The same as a call with a list."""
        return self(texts, **options)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """Split a text into tokens, as the vocabulary spells them."""
        ids = self.encode(text, pair, add_special_tokens=add_special_tokens, **options)
        tokens: list[str] = self.convert_ids_to_tokens(ids)
        return tokens

    def pad(
        self,
        encoded: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        **unknown: Any,
    ) -> BatchEncoding:
        """Pad rows that were encoded one by one into a batch.

        Args:
            encoded: A list of what calls returned, or one with lists of rows.
            padding, max_length, pad_to_multiple_of, padding_side, return_tensors: As in a call.
            unknown: ``return_attention_mask`` and ``verbose`` are accepted.

        Raises:
            UnknownOptionError: Another option.
            OptionError: A value that cannot be honoured.
        """
        known = ("padding", "max_length", "pad_to_multiple_of", "padding_side", "return_tensors")
        for name in unknown:
            if name not in ("return_attention_mask", "verbose"):
                raise UnknownOptionError(
                    f"pad() has no option {name!r}.{nearest(name, known)} It has: {', '.join(known)}."
                )
        rows: dict[str, list[Any]]
        if isinstance(encoded, Mapping):
            rows = {name: [plain_ids(row) for row in values] for name, values in encoded.items()}
        else:
            items = list(encoded)
            rows = {name: [plain_ids(item[name]) for item in items] for name in (items[0] if items else ())}
        if "input_ids" not in rows:
            raise OptionError(f"pad() needs input_ids. Found: {', '.join(rows) or 'nothing'}.")
        if "attention_mask" not in rows and "attention_mask" in self.model_input_names:
            rows["attention_mask"] = [[1] * len(row) for row in rows["input_ids"]]
        kind, _, limit = self._lengths(padding, False, max_length, True)
        if kind:
            self._pad(rows, kind, limit, pad_to_multiple_of, padding_side)
        return BatchEncoding(rows, return_tensors)

    def _inputs(self, text: Any, text_pair: Any) -> list[Any]:
        if not isinstance(text, (list, tuple)):
            raise OptionError(f"Cannot encode a {type(text).__name__}. Expected a text or a list of texts.")
        if text_pair is None:
            return list(text)
        if not isinstance(text_pair, (list, tuple)) or len(text_pair) != len(text):
            found = len(text_pair) if isinstance(text_pair, (list, tuple)) else f"a {type(text_pair).__name__}"
            raise OptionError(f"text_pair must be a list as long as text. Found {found} for {len(text)} texts.")
        return list(zip(text, text_pair, strict=True))

    def _lengths(
        self, padding: Any, truncation: Any, max_length: int | None, verbose: bool
    ) -> tuple[str | None, str | None, int | None]:
        """What to pad to (``"longest"``, ``"max_length"``), how to cut, and the limit of both."""
        padding, truncation = (getattr(value, "value", value) for value in (padding, truncation))
        if truncation is None:
            truncation = max_length is not None and padding is False
        pad = {True: "longest", False: None, "do_not_pad": None, None: None}.get(padding, padding)
        cut = {True: "longest_first", False: None, "do_not_truncate": None}.get(truncation, truncation)
        if pad not in (None, "longest", "max_length"):
            raise OptionError(f"padding is {padding!r}. Expected True, False, 'longest' or 'max_length'.")
        if cut not in (None, *_TRUNCATIONS):
            raise OptionError(
                f"truncation is {truncation!r}. Expected True, False or one of {', '.join(_TRUNCATIONS)}."
            )
        if max_length is None and (cut or pad == "max_length"):
            if self.model_max_length > _LARGE:
                if verbose:
                    warnings.warn(
                        "There is no max_length and the tokenizer knows no limit (model_max_length), so rows are "
                        "neither cut nor padded to one. Pass max_length.",
                        stacklevel=3,
                    )
                cut, pad = None, None if pad == "max_length" else pad
            else:
                max_length = self.model_max_length
        if pad and self.pad_token_id is None:
            raise OptionError(
                "Cannot pad: the tokenizer has no pad_token. Set one, as in tokenizer.pad_token = tokenizer.eos_token, "
                "or add one with tokenizer.add_special_tokens({'pad_token': '<pad>'})."
            )
        return pad, cut, max_length

    def _backend_for(self, target: bool) -> Backend:
        """What splits texts and puts special tokens around them; those passed as ``text_target`` may need another."""
        return self._backend

    def _encode(
        self,
        backend: Backend,
        inputs: list[Any],
        special: bool,
        words: bool,
        cut: str | None,
        limit: int | None,
    ) -> list[Encoding]:
        try:
            with no_panic("encoding"):
                encodings = backend.encode_batch(inputs, words, special)
        except (TypeError, UnicodeError) as error:
            raise OptionError(
                f"Cannot encode {_short(inputs)}: {error}. Expected texts (str, without lone surrogates), pairs of "
                "them, or lists of words with is_split_into_words=True."
            ) from None
        if cut is None or limit is None:
            return encodings
        return [
            self._cut(backend, item, special, words, cut, limit) if len(encoding.ids) > limit else encoding
            for item, encoding in zip(inputs, encodings, strict=True)
        ]

    def _cut(self, backend: Backend, item: Any, special: bool, words: bool, cut: str, limit: int) -> Encoding:
        """Encode again, cutting the text before the special tokens are put around it."""
        pair = isinstance(item, (list, tuple)) and not (words and isinstance(item[0], str))
        texts = list(item) if pair else [item]
        parts = [backend.encode(text, None, words, False) for text in texts]
        room = limit - (backend.num_special_tokens_to_add(pair) if special else 0)
        if room < 0:
            raise OptionError(f"max_length={limit} leaves no room for the {limit - room} special tokens. Raise it.")
        lengths = _kept([len(part.ids) for part in parts], room, cut, self.is_fast)
        for part, length in zip(parts, lengths, strict=True):
            part.truncate(length, direction=self.truncation_side)
        return backend.post_process(parts[0], parts[1] if pair else None, special)

    def _pad(
        self, rows: dict[str, list[Any]], pad: str, limit: int | None, multiple: int | None, side: str | None
    ) -> None:
        side = side or self.padding_side
        if side not in ("right", "left"):
            raise OptionError(f"padding_side is {side!r}. Expected 'right' or 'left'.")
        lengths = [len(row) for row in rows["input_ids"]]
        longest = max(lengths, default=0)
        target = limit if pad == "max_length" and limit is not None else longest
        if multiple:
            target = -(-target // multiple) * multiple
        fill = {
            "input_ids": self.pad_token_id,
            "token_type_ids": self.pad_token_type_id,
            "attention_mask": 0,
            "special_tokens_mask": 1,
            "offset_mapping": (0, 0),
        }
        for name, values in rows.items():
            if name not in fill:
                continue
            for number, row in enumerate(values):
                more = [fill[name]] * (target - lengths[number])
                values[number] = [*row, *more] if side == "right" else [*more, *row]


def _kept(lengths: list[int], room: int, cut: str, fast: bool) -> list[int]:
    """How much of one text or of each of a pair remains if together they may have ``room`` tokens.

    If both are cut and the room is odd, the longer text keeps one more; where no library splits, the first one does.
    """
    if sum(lengths) <= room:
        return lengths
    if len(lengths) == 1:
        if cut == "only_second":
            raise OptionError("truncation='only_second' needs a pair of texts. Found one text.")
        return [room]
    if cut == "longest_first":
        short, long = sorted(lengths)
        long = long if short > room else max(short, room - short)
        if short + long > room:
            short, long = room // 2, room // 2 + room % 2
            if not fast:
                return [long, short]
        return [long, short] if lengths[0] > lengths[1] else [short, long]
    kept = [room - lengths[1], lengths[1]] if cut == "only_first" else [lengths[0], room - lengths[0]]
    if min(kept) <= 0:
        raise OptionError(
            f"truncation={cut!r} cannot make texts of {lengths[0]} and {lengths[1]} tokens fit {room}. "
            "Use truncation=True or a larger max_length."
        )
    return kept


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
