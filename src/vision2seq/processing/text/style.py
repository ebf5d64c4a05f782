"""What sets one kind of tokenizer apart from another, as data: its files, special tokens and how it is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.files import TokenizerFiles

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

FAIRSEQ_SPECIALS: Mapping[str, str] = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
"""The special tokens of RoBERTa, BART and XLM-RoBERTa, which all come from fairseq."""

Special = str | AddedToken


def text_of(value: Special) -> str:
    """The text of a special token, however it is held."""
    return value.content if isinstance(value, AddedToken) else value


def _leave(backend: Backend, specials: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Leave a tokenizer as it is."""


def _no_build(files: TokenizerFiles, options: Mapping[str, Any]) -> Backend:
    files.path("tokenizer.json")  # raises: there is nothing else to read it from
    raise AssertionError("a tokenizer.json is never built")


def _plain(name: str, text: str, from_parts: bool) -> Special:
    return text


def _as_given(given: list[Special] | None, options: Mapping[str, Any]) -> list[Special]:
    return given or []


class Splitter(Protocol):
    """Splits texts in Python, for kinds that the library cannot split.

    Attributes:
        vocabulary: Tokens to ids.
        unk_token: The token of the vocabulary that stands for pieces it lacks.
    """

    vocabulary: dict[str, int]
    unk_token: str

    def prepare(self) -> None:
        """Load what splitting needs beyond the vocabulary; raises if it cannot be had."""

    def pieces(self, text: str) -> list[str]:
        """Split a text that holds no added token."""

    def target_pieces(self, text: str) -> list[str]:
        """The same for a text passed as ``text_target``."""

    def text(self, tokens: list[str], special: set[str], source: bool) -> str:
        """Join tokens into text; special tokens among them; as a text passed as ``text`` is, if ``source``."""

    def files(self) -> dict[str, str | bytes]:
        """Vocabulary files that this is read from again."""


@dataclass(frozen=True)
class Style:
    """One kind of tokenizer.

    Attributes:
        name: Short name, for messages.
        classes: Class names of transformers that mean this kind, without ``Fast``; the first is the one written.
        files: What it is built from where there is no tokenizer.json.
        specials: Name to text of the special tokens that it has unless a file says otherwise.
        inputs: What a call returns.
        flag: Name, text and whether the tokenizer was built from parts → the special token with its flags.
        additional: Special tokens without a name that files or the caller give, or ``None``, and options → all of them.
        build: Makes the vocabulary, normaliser, splitter and decoder from `files`.
        finish: Adds what needs the ids of special tokens.
        adjust: Applies options to a tokenizer that came from a tokenizer.json.
        splitter: Makes what splits texts in Python, instead of `build`.
        max_length: The longest row that the model takes, if no file says.
        clean_up: Whether decoding removes spaces before punctuation if built from parts and no file says.
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[str, ...] = ()
    specials: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    flag: Callable[[str, str, bool], Special] = _plain
    additional: Callable[[list[Special] | None, Mapping[str, Any]], list[Special]] = _as_given
    build: Callable[[TokenizerFiles, Mapping[str, Any]], Backend] = _no_build
    finish: Callable[[Backend, Mapping[str, str], Mapping[str, Any]], None] = _leave
    adjust: Callable[[Backend, Mapping[str, str], Mapping[str, Any]], None] = _leave
    splitter: Callable[[TokenizerFiles, Mapping[str, Any]], Splitter] | None = None
    max_length: int | None = None
    clean_up: bool = False


GENERIC = Style(
    name="generic",
    classes=("PreTrainedTokenizer",),
    inputs=("input_ids", "token_type_ids", "attention_mask"),
)

NOUGAT = Style(
    name="Nougat",
    classes=("NougatTokenizer",),
    specials={"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
)
"""A tokenizer.json whose special tokens have names even where no file gives them."""


def special_id(backend: Backend, specials: Mapping[str, str], name: str) -> tuple[str, int]:
    """Text and id of a special token that a kind of tokenizer cannot do without.

    Raises:
        TokenizerError: It is unset.
    """
    text = specials.get(name)
    index = backend.token_to_id(text) if text else None
    if text is None or index is None:
        raise TokenizerError(f"The tokenizer has no {name}, and this kind of tokenizer needs one. Set it.")
    return text, index


def sharing(backend: Backend, **parts: Any) -> Backend:
    """Make a tokenizer that shares the vocabulary of another and has some parts of its own.

    Args:
        backend: The other one.
        parts: ``normalizer``, ``pre_tokenizer``, ``post_processor`` or ``decoder``.
    """
    made = Backend(backend.model)
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        part = parts.get(name, getattr(backend, name))
        if part is not None:
            setattr(made, name, part)
    made.add_tokens([token for _, token in sorted(backend.get_added_tokens_decoder().items())])
    made.encode_special_tokens = backend.encode_special_tokens
    return made
