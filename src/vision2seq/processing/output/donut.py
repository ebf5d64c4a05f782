"""Donut's tags: a document's fields as text that a model can write, and back.

A field ``"total": "9.50"`` is written ``<s_total>9.50</s_total>``, entries of a list are joined by ``<sep/>``, and a
value out of a fixed set may be a token of its own, ``<paid/>``. Models leave tags open, close what they never opened,
and stop in the middle; reading never fails.

Source: `token2json` gives what ``DonutProcessor.token2json`` of transformers 4.57.6 gives; `json2token` is its way
back, which the original Donut trains with.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vision2seq.errors import OptionError

SEPARATOR = "<sep/>"
WHOLE_TEXT = "text_sequence"
"""The key of a text that has no fields."""

_OPENING = re.compile("<s_", re.IGNORECASE)


def token2json(tokens: str, is_inner_value: bool = False, added_vocab: Collection[str] = ()) -> Any:
    """Read the fields out of a text with tags.

    Args:
        tokens: What the model wrote, without its start, end and padding tokens.
        is_inner_value: Whether it stands inside of a field: an object is then a list of one.
        added_vocab: Tokens that were added to the vocabulary. A value among them that is written ``<paid/>`` is out of
            a fixed set, and read as ``paid``.

    Returns:
        The fields as a dict; a list of dicts where ``<sep/>`` joins objects; ``{"text_sequence": …}`` without any
        field. Values are texts, dicts, or lists of these.
    """
    objects: list[Any] = []
    fields: dict[str, Any] = {}
    while tokens:
        opening = _next_opening(tokens)
        if opening is None:
            break
        key = opening[len("<s_") : -1]
        closing = re.search(f"</s_{re.escape(key)}>", tokens, re.IGNORECASE)
        if closing is None:  # never closed: as if the tag were not there
            tokens = tokens.replace(opening, "")
            continue
        between = re.search(re.escape(opening) + "(.*?)" + re.escape(closing[0]), tokens, re.IGNORECASE | re.DOTALL)
        if between is not None:  # else it is closed before it is opened
            _put(fields, key, between[1].strip(), added_vocab)
        tokens = tokens[closing.end() :].strip()
        if tokens.startswith(SEPARATOR):
            tokens = tokens[len(SEPARATOR) :]
            objects.append(fields)
            fields, is_inner_value = {}, True
    if is_inner_value:
        return [*objects, fields] if fields else objects
    return fields or {WHOLE_TEXT: tokens}


def _next_opening(tokens: str) -> str | None:
    """The next opening tag, spelled as it is."""
    found = _OPENING.search(tokens)
    end = -1 if found is None else tokens.find(">", found.start())
    return None if found is None or end < 0 else tokens[found.start() : end + 1]


def _put(fields: dict[str, Any], key: str, content: str, added_vocab: Collection[str]) -> None:
    """Read what stands in a field, and keep it; an object without fields of its own is none."""
    if "<s_" in content and "</s_" in content:
        value = token2json(content, True, added_vocab)
        if value:
            fields[key] = value[0] if len(value) == 1 else value
        return
    leaves = [_leaf(part.strip(), added_vocab) for part in content.split(SEPARATOR)]
    fields[key] = leaves[0] if len(leaves) == 1 else leaves


def _leaf(text: str, added_vocab: Collection[str]) -> str:
    return text[1:-2] if text.startswith("<") and text.endswith("/>") and text in added_vocab else text


def json2token(value: Any, *, sort_keys: bool = True, added_vocab: Collection[str] = ()) -> str:
    """Write a value as a text with tags: what a model is trained to write.

    Args:
        value: A dict, list, text or number, nested as it may be. ``{"text_sequence": …}`` is the text alone.
        sort_keys: Whether keys stand in falling order, as the original Donut trains; else in their own.
        added_vocab: Tokens of the tokenizer. A text ``paid`` becomes ``<paid/>`` if that is among them.

    Raises:
        OptionError: A key that no tag can hold.
    """

    def written(part: Any) -> str:
        return json2token(part, sort_keys=sort_keys, added_vocab=added_vocab)

    if isinstance(value, Mapping):
        if list(value) == [WHOLE_TEXT]:
            return str(value[WHOLE_TEXT])
        keys = sorted(value, reverse=True) if sort_keys else list(value)
        return "".join(f"<s_{_checked(key)}>{written(value[key])}</s_{key}>" for key in keys)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return SEPARATOR.join(map(written, value))
    text = str(value)
    return f"<{text}/>" if f"<{text}/>" in added_vocab else text


def tags_of(value: Any) -> list[str]:
    """The tags that `json2token` writes for a value, sorted: to be added to a tokenizer that is to be trained on it."""
    found: set[str] = set()
    queue = [value]
    while queue:
        part = queue.pop()
        if isinstance(part, Mapping) and list(part) != [WHOLE_TEXT]:
            found.update(f"<{slash}s_{_checked(key)}>" for key in part for slash in ("", "/"))
            queue.extend(part.values())
        elif isinstance(part, Sequence) and not isinstance(part, str):
            found.update([SEPARATOR] if len(part) > 1 else [])
            queue.extend(part)
    return sorted(found)


def _checked(key: Any) -> str:
    if not isinstance(key, str) or not key or any(sign in key for sign in "<>"):
        raise OptionError(f"The key {key!r} cannot be a tag <s_…>. Expected a text without < and >; rename the field.")
    return key
