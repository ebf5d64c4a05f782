"""Tokenizer: text to ids and back, on the tokenizers library, whatever files the checkpoint came with.

Reads tokenizer.json; vocab.json + merges.txt; sentencepiece.bpe.model; vocab.txt. The last three are put together by
the `Style` that tokenizer_config.json names, or that the files imply. tokenizer_config.json, special_tokens_map.json
and added_tokens.json then have their say, in the order of transformers 4.57.6, whose fast classes are the reference for
every id. Written is always tokenizer.json with its two companions.

The library's object is never changed by a call: padding and truncation are done here, so that threads can share one.
"""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from vision2seq import hub
from vision2seq.configuration.base import replacing
from vision2seq.errors import CheckpointNotFoundError, OptionError, TokenizerError, UnknownOptionError, nearest
from vision2seq.processing.text import files as names
from vision2seq.processing.text.batch import checked_id, no_panic, plain_ids
from vision2seq.processing.text.choose import choose_style, vocab_name
from vision2seq.processing.text.cleanup import clean_up
from vision2seq.processing.text.encoding import Encoder
from vision2seq.processing.text.files import TokenizerFiles
from vision2seq.processing.text.pieces import Pieces, read_pieces
from vision2seq.processing.text.special_tokens import (
    ADDITIONAL,
    EXTRA,
    as_special,
    flags_of,
    read_additional_tokens,
    read_listed_tokens,
    read_special_tokens,
)
from vision2seq.processing.text.style import GENERIC, SPECIAL_NAMES, Special, Style, text_of

if TYPE_CHECKING:
    from typing_extensions import Self

UNLIMITED = int(1e30)
"""``model_max_length`` of a tokenizer that knows no limit, as transformers writes it."""

_OPTIONS = frozenset(
    "add_bos_token add_prefix_space added_tokens_decoder chat_template clean_up_tokenization_spaces "
    "do_basic_tokenize do_lower_case do_subword_tokenize do_word_tokenize errors from_slow jumanpp_kwargs "
    "keep_accents legacy mask_token_sent max_len mecab_kwargs model_input_names model_max_length name_or_path "
    "never_split offset pad_token_type_id padding_side processor_class remove_space separate_vocabs source_lang "
    "sp_model_kwargs split_special_tokens src_lang strip_accents subword_tokenizer_type sudachi_kwargs target_lang "
    "tgt_lang tokenize_chinese_chars tokenizer_class trim_offsets truncation_side verbose word_tokenizer_type".split()
) | {*SPECIAL_NAMES, ADDITIONAL, EXTRA}
# What from_pretrained() of other libraries takes to find the folder; it is found already.
_FINDING_OPTIONS = frozenset(
    "cache_dir code_revision config force_download local_files_only proxies resume_download revision subfolder token "
    "tokenizer_type trust_remote_code use_auth_token use_fast user_agent _commit_hash _from_auto _from_pipeline".split()
)
# Not written: where the files were, and how this one object was made.
_PRIVATE = ("name_or_path", "vocab_file", "merges_file", "tokenizer_file", "special_tokens_map_file", "from_slow")


class Tokenizer(Encoder):
    """Turns text into token ids and ids into text.

    Args:
        vocab_file: vocab.json, sentencepiece.bpe.model or vocab.txt.
        merges_file: merges.txt, which goes with vocab.json.
        tokenizer_file: tokenizer.json, instead of both.
        tokenizer_object: A ``tokenizers.Tokenizer``, instead of any file; it is copied.
        options: Any key of tokenizer_config.json, such as ``pad_token`` or ``add_prefix_space``.

    Attributes:
        bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token: Texts of the special tokens, or
            ``None``; each has a ``…_id`` beside it. All can be set.
        additional_special_tokens: Texts of the others.
        model_max_length: Longest row of ids that the model takes.
        padding_side, truncation_side: ``"right"`` or ``"left"``.
        model_input_names: What a call returns.
        clean_up_tokenization_spaces: Whether decoding removes spaces before punctuation unless told.

    Raises:
        CheckpointNotFoundError: A file is not there.
        TokenizerError: Files are garbled or contradict each other.
        UnknownOptionError: An option that no tokenizer has.
    """

    style: ClassVar[Style | None] = None
    """The kind of tokenizer that this class is, ``None`` for whatever the files say."""

    is_fast: ClassVar[bool] = True

    _pieces: tuple[Any, Pieces] | None = None

    # ------------------------------------------------------------------------------------------------- loading

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        merges_file: str | os.PathLike[str] | None = None,
        *,
        tokenizer_file: str | os.PathLike[str] | None = None,
        tokenizer_object: Backend | None = None,
        **options: Any,
    ) -> None:
        given: dict[str, Path] = {}
        if tokenizer_file is not None:
            given[names.TOKENIZER_JSON] = Path(tokenizer_file)
        elif tokenizer_object is None:
            if vocab_file is None:
                raise OptionError(
                    f"{type(self).__name__}() needs the files to read: vocab_file (with merges_file for a vocab.json) "
                    f"or tokenizer_file. {type(self).__name__}.from_pretrained(folder) finds them."
                )
            given[vocab_name(self.style, Path(vocab_file))] = Path(vocab_file)
            if merges_file is not None:
                given[names.MERGES] = Path(merges_file)
        for path in given.values():
            if not path.is_file():
                raise CheckpointNotFoundError(f"No file {path}, which the tokenizer should be read from.")
        source = TokenizerFiles(str(next(iter(given.values()), "the tokenizer object")), given)
        backend = copy.deepcopy(tokenizer_object) if tokenizer_object is not None else read_tokenizer_json(source)
        self._load(source, options, backend, *choose_style(self.style, source, backend))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **overrides: Any) -> Self:
        """Read the tokenizer of a checkpoint folder as one of this class.

        Args:
            folder: Holds one of the file layouts, or is a tokenizer.json; or a name on the hub.
            overrides: Any key of tokenizer_config.json; they win over the files. Those of `hub.Options` as well.

        Raises:
            CheckpointNotFoundError: No such folder.
            TokenizerError: Files are missing, garbled or contradict each other.
            UnknownOptionError: An override that no tokenizer has.
        """
        files = TokenizerFiles.find(hub.find(folder, overrides))
        backend = read_tokenizer_json(files)
        return cls._from_files(files, overrides, backend, *choose_style(cls.style, files, backend))

    @classmethod
    def _from_files(cls, files: TokenizerFiles, overrides: Mapping[str, Any], *rest: Any) -> Self:
        overrides = {key: value for key, value in overrides.items() if key not in _FINDING_OPTIONS}
        tokenizer = cls.__new__(cls)
        tokenizer._load(files, overrides, *rest)
        return tokenizer

    def _load(
        self,
        files: TokenizerFiles,
        overrides: Mapping[str, Any],
        backend: Backend | None,
        style: Style,
        class_name: str,
        stated: bool,
    ) -> None:
        known = _OPTIONS | set(files.config)
        for key in overrides:
            if key not in known and not key.endswith("_token"):
                raise UnknownOptionError(
                    f"{type(self).__name__} has no option {key!r}.{nearest(key, known)} "
                    f"It has: {', '.join(sorted(_OPTIONS))}."
                )
        if style.splitter is not None and all(name in files.vocabularies for name in style.files):
            backend = None  # a tokenizer.json cannot say how these split
        from_parts = backend is None
        options: dict[str, Any] = {**files.config, **overrides}
        self._options = options
        self._style = style
        self._class_name = class_name
        self._special: dict[str, Special | None] = read_special_tokens(style, files, overrides, from_parts)
        additional, extra = read_additional_tokens(style, files, overrides)
        self._additional: list[Special] = additional
        self._special.update(extra)
        self._extra = tuple(extra)

        if backend is None:
            unk = self._text_of("unk_token")
            backend = self._build(files, {**options, "unk_token": unk})
        elif not stated:  # nothing may be added to a vocabulary on a guess
            for name in SPECIAL_NAMES:
                text = self._text_of(name)
                said = name in options or name in files.special_tokens_map
                if text is not None and not said and backend.token_to_id(text) is None:
                    self._special[name] = None
        self._backend: Backend = backend

        limits = self._take_out_padding()
        self.padding_side: str = _side(options, "padding_side", limits)
        self.truncation_side: str = _side(options, "truncation_side", limits)
        self.pad_token_type_id: int = int(options.get("pad_token_type_id", limits.get("pad_token_type_id", 0)))
        if self._special.get("pad_token") is None and "pad_token" not in options and "pad_token" in limits:
            self._special["pad_token"] = limits["pad_token"]

        self._register(files, options, from_parts)
        texts = {name: text for name in SPECIAL_NAMES if (text := self._text_of(name)) is not None}
        if from_parts:
            style.finish(backend, texts, options)
        elif stated:
            style.adjust(backend, texts, options)
        self._set_prefix_space(options, stated)
        backend.encode_special_tokens = bool(options.get("split_special_tokens", False))

        limit = options.get("model_max_length", options.get("max_len", style.max_length))
        self.model_max_length: int = UNLIMITED if limit is None else int(limit)
        self.model_input_names: list[str] = list(options.get("model_input_names") or style.inputs)
        clean = options.get("clean_up_tokenization_spaces")
        self.clean_up_tokenization_spaces: bool = (from_parts and style.clean_up) if clean is None else bool(clean)
        self.chat_template: Any = options.get("chat_template")
        self.name_or_path: str = files.name

    def _build(self, files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
        return self._style.build(files, options)

    def _take_out_padding(self) -> dict[str, Any]:
        """Clear what a tokenizer.json says of padding and truncation, which calls do; return it as defaults."""
        found: dict[str, Any] = {}
        if (truncation := self._backend.truncation) is not None:
            found["truncation_side"] = truncation["direction"]
            self._backend.no_truncation()
        if (padding := self._backend.padding) is not None:
            found.update(
                padding_side=padding["direction"],
                pad_token=padding["pad_token"],
                pad_token_type_id=padding["pad_type_id"],
            )
            self._backend.no_padding()
        return found

    def _register(self, files: TokenizerFiles, options: Mapping[str, Any], from_parts: bool) -> None:
        """Make sure that added and special tokens are in the vocabulary and are never split."""
        listed = read_listed_tokens(files, options)
        if files.added_tokens and "added_tokens_decoder" not in options:
            special = set(self.all_special_tokens)
            listed = {
                index: AddedToken(text, normalized=text not in special, special=text in special)
                for text, index in files.added_tokens.items()
            }
        if not from_parts and "added_tokens_decoder" not in options:
            listed = {**listed, **self._backend.get_added_tokens_decoder()}
        # A special token that files only name takes its flags from where it is described.
        if not files.added_tokens or "added_tokens_decoder" in options:
            described = {token.content: token for token in listed.values()}
            for name, value in self._special.items():
                if value is not None:
                    self._special[name] = described.get(text_of(value), value)

        before = {index: self._backend.token_to_id(token.content) for index, token in listed.items()}
        queue: list[AddedToken] = [listed[index] for index in sorted(listed)]
        known = {token.content for token in self._backend.get_added_tokens_decoder().values()}
        known |= {token.content for token in queue}
        for value in self._special_values():
            if isinstance(value, str):
                if value not in known:
                    queue.append(AddedToken(value, special=True))
            elif value not in queue:
                queue.append(value)
        special = set(self.all_special_tokens)
        self._add([as_special(token) if token.content in special else token for token in queue])

        for index, token in listed.items():
            actual = self._backend.token_to_id(token.content)
            if actual == index or actual is None:
                continue
            if not from_parts and before[index] is not None:
                warnings.warn(
                    f"{files.name}: {names.TOKENIZER_CONFIG} gives {token.content!r} the id {index}, "
                    f"{names.TOKENIZER_JSON} the id {actual}. The latter is used.",
                    stacklevel=4,
                )
                continue
            raise TokenizerError(
                f"{files.name}: the added token {token.content!r} should have the id {index}, but the vocabulary gives "
                f"it {actual}. The files contradict each other: take all of them from one model."
            )

    def _set_prefix_space(self, options: Mapping[str, Any], stated: bool) -> None:
        # transformers' fast classes take a missing key for False, whatever tokenizer.json says.
        splitter = self._backend.pre_tokenizer
        found = splitter.add_prefix_space if isinstance(splitter, pre_tokenizers.ByteLevel) else False
        wanted = bool(options.get("add_prefix_space", False if stated else found))
        self.add_prefix_space: bool = wanted
        if isinstance(splitter, pre_tokenizers.ByteLevel) and wanted != found:
            self._backend.pre_tokenizer = pre_tokenizers.ByteLevel(
                add_prefix_space=wanted, trim_offsets=splitter.trim_offsets, use_regex=splitter.use_regex
            )

    # -------------------------------------------------------------------------------------------------- saving

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> tuple[str, ...]:
        """Write tokenizer.json, tokenizer_config.json, special_tokens_map.json and the older vocabulary files.

        transformers 4.57.6 reads them back as a tokenizer that gives the same ids.

        Args:
            folder: Made if it does not exist.
            options: ``legacy_format`` and others that transformers takes are accepted and change nothing.

        Returns:
            The paths written.

        Raises:
            OptionError: ``folder`` is a file.
        """
        folder = Path(folder)
        if folder.is_file():
            raise OptionError(f"{folder} is a file. Expected the name of a folder to write a tokenizer to.")
        added = {str(index): flags_of(token) for index, token in self.added_tokens_decoder.items()}
        described = {token["content"]: token for token in added.values()}
        config = {
            key: value
            for key, value in self._options.items()
            if key not in _PRIVATE and key not in (*SPECIAL_NAMES, ADDITIONAL)
        }
        config.update(
            added_tokens_decoder=added,
            clean_up_tokenization_spaces=self.clean_up_tokenization_spaces,
            model_max_length=self.model_max_length,
            tokenizer_class=self._class_name,
            **self.special_tokens_map,
        )
        config[EXTRA] = {name: text for name in self._extra if (text := self._text_of(name)) is not None}
        if self._style is not GENERIC or "add_prefix_space" in config:
            config["add_prefix_space"] = self.add_prefix_space
        elif self.add_prefix_space:
            config["add_prefix_space"] = True
        for name, default in (("padding_side", "right"), ("truncation_side", "right"), ("pad_token_type_id", 0)):
            if name in config or getattr(self, name) != default:
                config[name] = getattr(self, name)
        if "model_input_names" in config or self.model_input_names != list(self._style.inputs):
            config["model_input_names"] = self.model_input_names
        if config.get("chat_template") is None:
            config.pop("chat_template", None)
        config.pop("max_len", None)

        def spelled(text: str) -> Any:
            flags = {key: value for key, value in described.get(text, {}).items() if key != "special"}
            return flags or text

        special_map: dict[str, Any] = {}
        for name, value in self.special_tokens_map.items():
            special_map[name] = [spelled(text) for text in value] if isinstance(value, list) else spelled(value)

        folder.mkdir(parents=True, exist_ok=True)
        contents: dict[str, str | bytes] = {
            **self._vocabulary_files(),
            names.SPECIAL_TOKENS_MAP: _dump(special_map),
            names.TOKENIZER_CONFIG: _dump(config),
        }
        for name, content in contents.items():
            with replacing(folder / name) as file:
                file.buffer.write(content.encode() if isinstance(content, str) else content)
        return tuple(str(folder / name) for name in contents)

    def _vocabulary_files(self) -> dict[str, str | bytes]:
        return {**self._older_files(), names.TOKENIZER_JSON: self._backend.to_str(pretty=True)}

    def _older_files(self) -> dict[str, str]:
        """The vocabulary for readers that know no tokenizer.json, where this kind can be put so."""
        vocab = self._backend.get_vocab(with_added_tokens=False)
        tokens = sorted(vocab, key=lambda token: vocab[token])
        if names.MERGES in self._style.files and isinstance(self._backend.model, models.BPE):
            merges = json.loads(self._backend.to_str())["model"]["merges"]
            lines = ["#version: 0.2", *(pair if isinstance(pair, str) else " ".join(pair) for pair in merges)]
            ordered = {token: vocab[token] for token in tokens}
            return {names.VOCAB_JSON: json.dumps(ordered, ensure_ascii=False), names.MERGES: "\n".join([*lines, ""])}
        numbered = all(vocab[token] == index for index, token in enumerate(tokens))
        if names.VOCAB_TXT in self._style.files and numbered:
            return {names.VOCAB_TXT: "\n".join([*tokens, ""])}
        return {}

    # ------------------------------------------------------------------------------------------------ decoding

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **unknown: Any,
    ) -> str:
        """Turn one row of ids into text.

        Args:
            token_ids: An id, a list, an array or a tensor of them.
            skip_special_tokens: Whether to leave out special tokens.
            clean_up_tokenization_spaces: Whether to remove spaces before punctuation; as the checkpoint says if unset.
            unknown: ``spaces_between_special_tokens`` and ``use_source_tokenizer`` are accepted, and change nothing but
                where `is_fast` is false.

        Raises:
            OptionError: Not ids, or more than one row of them.
            UnknownOptionError: Another option.
        """
        for name in unknown:
            if name not in ("spaces_between_special_tokens", "use_source_tokenizer"):
                known = ("skip_special_tokens", "clean_up_tokenization_spaces")
                raise UnknownOptionError(
                    f"decode() has no option {name!r}.{nearest(name, known)} It has: {', '.join(known)}."
                )
        ids = plain_ids(token_ids)
        if not isinstance(ids, list):
            ids = [ids]
        if ids and isinstance(ids[0], (list, tuple)):
            raise OptionError("decode() takes one row of ids. batch_decode() takes several.")
        text = self._joined([checked_id(index) for index in ids], skip_special_tokens, unknown)
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return clean_up(text) if clean else text

    def _joined(self, ids: list[int], skip_special_tokens: bool, options: Mapping[str, Any]) -> str:
        with no_panic("decoding"):
            return self._backend.decode(ids, skip_special_tokens)

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **options: Any,
    ) -> list[str]:
        """Turn rows of ids into texts; see `decode`."""
        return [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces, **options)
            for row in (sequences if isinstance(sequences, (list, tuple)) else plain_ids(sequences))
        ]

    def pieces(self) -> Pieces:
        """What each token adds to a text; special tokens add nothing.

        Raises:
            UnsupportedError: With this decoder, that depends on other tokens.
        """
        key = (len(self), self.clean_up_tokenization_spaces, tuple(self.all_special_ids))
        if self._pieces is None or self._pieces[0] != key:
            flagged = [index for index, token in self.added_tokens_decoder.items() if token.special]
            self._pieces = (key, self._read_pieces({*flagged, *self.all_special_ids}))
        return self._pieces[1]

    def _read_pieces(self, silent: set[int]) -> Pieces:
        return read_pieces(self._backend, silent, self.clean_up_tokenization_spaces)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name_or_path!r}, {self._style.name}, {len(self)} tokens, "
            f"special {self.special_tokens_map})"
        )


def read_tokenizer_json(files: TokenizerFiles) -> Backend | None:
    if names.TOKENIZER_JSON not in files.vocabularies:
        return None
    path = files.path(names.TOKENIZER_JSON)
    try:
        return Backend.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(
            f"{path} cannot be read by the tokenizers library: {error}. Restore it, or update the library."
        ) from None


def _side(options: Mapping[str, Any], name: str, limits: Mapping[str, Any]) -> str:
    side = options.get(name) or limits.get(name) or "right"
    if side not in ("right", "left"):
        raise OptionError(f"{name} is {side!r}. Expected 'right' or 'left'.")
    return str(side)


def _dump(content: Mapping[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, AddedToken):
            return {"__type": "AddedToken", **flags_of(value)}
        return str(value)

    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=plain) + "\n"
