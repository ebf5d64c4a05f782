"""Donut's tags: JSON as ``<s_key>value</s_key>``, with ``<sep/>`` between the items of a list, from a schema.

==============================  =================================================================
in a schema                     means
==============================  =================================================================
``str``, or the text ``"str"``  any text, or a category such as ``<invoice/>``
another text, ``re.compile``    text that the expression matches as a whole
a list, tuple or set of texts   one of them; a list has two of them at least
a list of one entry             one or more of such, ``<sep/>`` between them
a dict                          its keys in any order, each once; those that end in ``?`` may be left out
==============================  =================================================================

A tag is always one token of the vocabulary, so a text cannot begin or end within one.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vision2seq.errors import OptionError
from vision2seq.generation.constraints.base import Constraint, open_tags, pieces_of
from vision2seq.generation.constraints.machine import Ids, Lifted, Machine
from vision2seq.generation.constraints.pattern import lift, text_of
from vision2seq.generation.constraints.regex import Regex

SEPARATOR = "<sep/>"
ANY_TEXT = r"(?s:(?:[^<]|<+[^<s/])*<*)"
"""Text that cannot be taken for a tag: no ``<s`` and no ``</``."""
_CATEGORY = re.compile(r"<[^/<>][^<>]*/>")


class Schema(Constraint):
    """The text is a tree of Donut's tags, which ``token2json`` turns into what the schema describes.

    Keys of the prompt count: behind ``<s_docvqa><s_question>…</s_question><s_answer>`` the answer is what comes next.

    Args:
        schema: Such as ``{"menu": [{"nm": str, "price": r"[\\d.,]+", "cnt?": str}], "total": {"total_price": str}}``.

    Raises:
        OptionError: Something that has no meaning there; a key within itself, which ``token2json`` cannot tell apart.
    """

    def __init__(self, schema: Any) -> None:
        super().__init__()
        self.schema = schema
        if not isinstance(schema, Mapping | list) or not schema:
            raise OptionError(f"A schema is a dict of keys, or a list of one such dict; found {schema!r}.")
        _check(schema, ())

    def position(self, tokenizer: Any, vocabulary: int, prompt: tuple[int, ...]) -> tuple[Machine, Hashable]:
        machine = self.machine(tokenizer, vocabulary)
        opened = [tokenizer.backend_tokenizer.token_to_id(tag) for tag in open_tags(tokenizer, prompt)]
        # The start token, or the task's, is no part of the tree.
        for begun in (list(prompt[1:]), opened):
            state: Hashable | None = machine.start
            for token in begun:
                state = None if state is None else machine.advance(state, token)
            if state is not None:
                return machine, state
        return machine, machine.start

    def _build(self, tokenizer: Any, vocabulary: int) -> Machine:
        def tag(text: str) -> int:
            index = tokenizer.backend_tokenizer.token_to_id(text)
            if index is None or index >= vocabulary:
                known = sorted(t[3:-1] for t in tokenizer.get_added_vocab() if t.startswith("<s_"))
                raise OptionError(
                    f"The schema needs the token {text}, which the model does not have. Its keys are: "
                    f"{', '.join(known) or 'none'}."
                )
            return index

        pieces = pieces_of(tokenizer)
        added = tokenizer.get_added_vocab().items()
        categories = {t: i for t, i in added if _CATEGORY.fullmatch(t) and t != SEPARATOR and i < vocabulary}

        def leaf(pattern: Any, named: dict[str, int]) -> _Leaf:
            machine = lift(pattern, pieces, vocabulary, begins=False)
            if machine.distance(machine.start) == float("inf") and not named:
                raise OptionError(f"No text of this vocabulary matches {text_of(pattern)!r} of the schema.")
            return _Leaf(machine, np.array(sorted(named.values()), dtype=np.int64))

        def value(schema: Any) -> Any:
            if isinstance(schema, Mapping):
                fields = [(key.removesuffix("?"), not key.endswith("?"), inner) for key, inner in schema.items()]
                return _Object(
                    tuple(_Field(tag(f"<s_{k}>"), tag(f"</s_{k}>"), value(inner), need) for k, need, inner in fields)
                )
            if _is_choice(schema):
                named = {f"<{text}/>": categories[f"<{text}/>"] for text in schema if f"<{text}/>" in categories}
                plain = [re.escape(text) for text in schema if f"<{text}/>" not in named]
                return leaf("|".join(plain) or "[^\\s\\S]", named)
            if isinstance(schema, list):
                return _List(value(schema[0]), tag(SEPARATOR))
            if schema is str or schema == "str":
                return leaf(ANY_TEXT, categories)
            return leaf(schema, {})

        return _Tags(value(self.schema))


def _is_choice(schema: Any) -> bool:
    several = isinstance(schema, tuple | set | frozenset) or (isinstance(schema, list) and len(schema) > 1)
    return several and len(schema) > 0 and all(isinstance(each, str) for each in schema)


def _check(schema: Any, path: tuple[str, ...]) -> None:
    place = ".".join(path) or "its top"
    if isinstance(schema, Mapping):
        for key, inner in schema.items():
            if not isinstance(key, str) or not re.fullmatch(r"[^<>?\s]+\??", key):
                raise OptionError(f"The schema has the key {key!r} at {place}, expected a name, with ? if optional.")
            name = key.removesuffix("?")
            if name in path:
                raise OptionError(f"The schema has the key {name!r} within itself, at {place}; Donut's tags cannot.")
            if key.endswith("?") and name in schema:
                raise OptionError(f"The schema has the key {name!r} twice at {place}, once as optional.")
            _check(inner, (*path, name))
    elif _is_choice(schema):
        if any("<" in text for text in schema):
            raise OptionError(f"The schema has an answer with '<' at {place}, which could be taken for a tag.")
    elif isinstance(schema, list) and len(schema) == 1 and not isinstance(schema[0], list):
        _check(schema[0], path)
    elif isinstance(schema, str | re.Pattern):
        if schema != "str":
            Regex(schema)
    elif schema is not str:
        raise OptionError(
            f"The schema has {schema!r} at {place}. Expected str, an expression, a list of answers, a list of one "
            "entry, or a dict."
        )


# ---------------------------------------------------------------------------------------------------- machine


@dataclass(frozen=True, eq=False)
class _Leaf:
    machine: Lifted
    categories: Ids


@dataclass(frozen=True, eq=False)
class _Field:
    opening: int
    closing: int
    value: Any
    needed: bool


@dataclass(frozen=True, eq=False)
class _Object:
    fields: tuple[_Field, ...]


@dataclass(frozen=True, eq=False)
class _List:
    item: Any
    separator: int


_WRITTEN = "written"
Stack = tuple[tuple[Any, Any], ...]
"""The values that are open, the outermost first: each with its state, which is for an object the fields it has (bits),
for a field or a list None, for a leaf that of its machine, or `_WRITTEN` behind a category."""


class _Tags:
    """A `Machine` of a tree of tags; a state is a `Stack`."""

    def __init__(self, top: Any) -> None:
        self.start: Stack = _opened((), top)
        self._edges: dict[Stack, dict[Stack, Ids]] = {}

    def edges(self, state: Stack) -> Mapping[Stack, Ids]:
        if state not in self._edges:
            found: dict[Stack, Ids] = {}
            below, (top, inner) = state[:-1], state[-1]
            if isinstance(top, _Leaf) and inner != _WRITTEN:
                leads: dict[tuple[Any, Any], Ids] = {
                    (top, after): ids for after, ids in top.machine.edges(inner).items()
                }
                if inner == top.machine.start and len(top.categories):
                    leads[top, _WRITTEN] = top.categories
                found = {(*below, frame): ids for frame, ids in leads.items()}
            for token, there in _tags(state):
                found[there] = np.array([token], dtype=np.int64)
            self._edges[state] = found
        return self._edges[state]

    def advance(self, state: Stack, token: int) -> Stack | None:
        for tag, there in _tags(state):
            if tag == token:
                return there
        top, inner = state[-1]
        if not isinstance(top, _Leaf) or inner == _WRITTEN:
            return None
        if inner == top.machine.start and token in top.categories:
            return (*state[:-1], (top, _WRITTEN))
        after = top.machine.advance(inner, token)
        return None if after is None else (*state[:-1], (top, after))

    def accepts(self, state: Stack) -> bool:
        return self.distance(state) == 0 and all(not isinstance(value, _Field) for value, _ in state)

    def distance(self, state: Stack) -> float:
        return sum(_rest(value, inner) for value, inner in state)


def _opened(stack: Stack, value: Any) -> Stack:
    """A value that is about to begin, on top of others."""
    if isinstance(value, _List):
        return _opened((*stack, (value, None)), value.item)
    return (*stack, (value, 0 if isinstance(value, _Object) else value.machine.start))


def _tags(stack: Stack) -> Iterator[tuple[int, Stack]]:
    """The tags that may come next, and the state behind each."""
    for size in range(len(stack), 0, -1):
        value, inner = stack[size - 1]
        below = stack[: size - 1]
        if isinstance(value, _Object):
            for bit, field in enumerate(value.fields):
                if not inner >> bit & 1:
                    yield field.opening, _opened((*below, (value, inner | 1 << bit), (field, None)), field.value)
        elif isinstance(value, _List):
            yield value.separator, _opened(stack[:size], value.item)
        elif isinstance(value, _Field):
            yield value.closing, below
            return  # nothing around it goes on before it is closed
        if _rest(value, inner):
            return


def _rest(value: Any, inner: Any) -> float:
    """The fewest tokens that complete a value, those within it that are open aside."""
    if isinstance(value, _Field):
        return 1
    if isinstance(value, _Object):
        missing = (field for bit, field in enumerate(value.fields) if field.needed and not inner >> bit & 1)
        return sum(2 + _whole(field.value) for field in missing)
    if isinstance(value, _List) or inner == _WRITTEN:
        return 0
    if inner == value.machine.start and len(value.categories):
        return min(1.0, value.machine.distance(inner))
    return value.machine.distance(inner)


def _whole(value: Any) -> float:
    """The fewest tokens of a value that has not begun."""
    if isinstance(value, _List):
        return _whole(value.item)
    return _rest(value, 0 if isinstance(value, _Object) else value.machine.start)
