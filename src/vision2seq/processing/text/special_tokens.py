"""What files say of special and added tokens, in the order in which transformers 4.57.6 lets them have their say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken

from vision2seq.errors import TokenizerError
from vision2seq.processing.text import files as names
from vision2seq.processing.text.files import TokenizerFiles, added_token
from vision2seq.processing.text.style import SPECIAL_NAMES, Special, Style, text_of

ADDITIONAL, EXTRA = "additional_special_tokens", "extra_special_tokens"


def read_special_tokens(
    style: Style, files: TokenizerFiles, overrides: Mapping[str, Any], from_parts: bool
) -> dict[str, Special | None]:
    """Name to special token: the style's own, then tokenizer_config.json, special_tokens_map.json and the caller's."""
    found: dict[str, Special | None] = dict.fromkeys(SPECIAL_NAMES)
    found.update(style.specials)
    # special_tokens_map.json is the older place: read only if the newer one does not list the added tokens.
    older = {} if "added_tokens_decoder" in files.config else files.special_tokens_map
    for source, values in ((names.TOKENIZER_CONFIG, files.config), (names.SPECIAL_TOKENS_MAP, older), ("", overrides)):
        for name in SPECIAL_NAMES:
            if name not in values:
                continue
            value = values[name]
            where = f"{name} in {files.name}, {source}," if source else name
            flags = {"special": True} if source == names.SPECIAL_TOKENS_MAP else {}
            found[name] = value if value is None or isinstance(value, str) else added_token(value, where, **flags)
    for name, value in found.items():
        if isinstance(value, str):
            found[name] = style.flag(name, value, from_parts)
    return found


def read_additional_tokens(
    style: Style, files: TokenizerFiles, overrides: Mapping[str, Any]
) -> tuple[list[Special], dict[str, Special | None]]:
    """Special tokens without a name, and those with a name that the checkpoint made up."""
    older = {} if "added_tokens_decoder" in files.config else files.special_tokens_map
    found: list[Special] = []
    given = False
    named: dict[str, Special | None] = {}
    for values in (files.config, older, overrides):
        extra = values.get(EXTRA)
        for key in (ADDITIONAL, EXTRA):
            items = values.get(key)
            if not isinstance(items, (list, tuple)):
                if items is not None and key == ADDITIONAL:
                    raise TokenizerError(f"{files.name}: {key} is {items!r}. Expected a list of texts.")
                continue
            if values is overrides:
                found = []
            given = True
            for item in items:
                token = item if isinstance(item, str) else added_token(item, f"{files.name}: one of {key}")
                text = text_of(token)
                if text not in [text_of(other) for other in found]:
                    found.append(token)
        if isinstance(extra, Mapping):
            for name, item in extra.items():
                named[str(name)] = (
                    item if isinstance(item, str) else added_token(item, f"{files.name}: {name} of {EXTRA}")
                )
    return style.additional(found if given else None, {**files.config, **overrides}), named


def read_listed_tokens(files: TokenizerFiles, options: Mapping[str, Any]) -> dict[int, AddedToken]:
    """The ``added_tokens_decoder`` of tokenizer_config.json: id to token with its flags."""
    listed = options.get("added_tokens_decoder")
    if listed is None:
        return {}
    if not isinstance(listed, Mapping):
        raise TokenizerError(f"{files.name}: added_tokens_decoder is {listed!r}. Expected {{id: {{content: …}}}}.")
    found: dict[int, AddedToken] = {}
    for index, token in listed.items():
        where = f"{files.name}: entry {index!r} of added_tokens_decoder"
        if not str(index).isdecimal():
            raise TokenizerError(f"{where} has no number as its id.")
        found[int(index)] = added_token(token, where)
    return found


def as_special(token: AddedToken) -> AddedToken:
    """The same token, which decoding skips when told to skip special ones."""
    return AddedToken(**{**flags_of(token), "special": True})


def flags_of(token: AddedToken) -> dict[str, Any]:
    """A token as files spell it."""
    return {
        "content": token.content,
        "lstrip": token.lstrip,
        "normalized": token.normalized,
        "rstrip": token.rstrip,
        "single_word": token.single_word,
        "special": token.special,
    }
