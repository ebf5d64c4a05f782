"""What all constraints share: they are made without a tokenizer, and become a machine with one."""

from __future__ import annotations

import re
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from vision2seq.errors import OptionError
from vision2seq.generation.constraints.machine import Ids, Machine, Pieces

_TAG = re.compile(r"<(/?)s_([^<>]+)>")


class Constraint:
    """What a generated text has to be. Hand the same object to several calls, and what it works out is kept."""

    def __init__(self) -> None:
        self._machines: weakref.WeakKeyDictionary[Any, dict[tuple[int, int], Machine]] = weakref.WeakKeyDictionary()
        self._closed: dict[tuple[Machine, tuple[int, ...]], Machine] = {}
        self.masks: OrderedDict[Any, Any] = OrderedDict()
        """What is allowed in the states that texts reached, the latest last; kept from call to call."""

    def position(self, tokenizer: Any, vocabulary: int, prompt: tuple[int, ...]) -> tuple[Machine, Hashable]:
        """What steers the text behind a prompt, and the state that the prompt leads to.

        Tags that the prompt opens, such as Donut's ``<s_answer>``, are closed behind the text.

        Args:
            tokenizer: As for `machine`.
            vocabulary: Likewise.
            prompt: Its ids, the start token or the task's first.
        """
        machine = self.machine(tokenizer, vocabulary)
        tags = [f"</{tag[1:]}" for tag in reversed(open_tags(tokenizer, prompt))]
        tail = tuple(tokenizer.backend_tokenizer.token_to_id(tag) for tag in tags)
        if tail:
            machine = self._closed.setdefault((machine, tail), Followed(machine, tail))
        return machine, machine.start

    def machine(self, tokenizer: Any, vocabulary: int) -> Machine:
        """What steers a model to it.

        Args:
            tokenizer: A `Tokenizer` of this package.
            vocabulary: Tokens that the model has scores for.

        Raises:
            OptionError: Nothing that fits can be written with this vocabulary.
            UnsupportedError: A tokenizer whose tokens have no text of their own.
        """
        known = self._machines.setdefault(tokenizer, {})
        key = (vocabulary, len(tokenizer))
        if key not in known:
            known[key] = self._build(tokenizer, vocabulary)
        return known[key]

    def _build(self, tokenizer: Any, vocabulary: int) -> Machine:
        raise NotImplementedError


def pieces_of(tokenizer: Any) -> Pieces:
    """What each token adds to a text."""
    if not hasattr(tokenizer, "pieces"):
        raise OptionError(
            f"The tokenizer is a {type(tokenizer).__name__}, which does not tell what each token says. Pass one of "
            "this package: vision2seq.AutoTokenizer.from_pretrained(…)."
        )
    return tokenizer.pieces()


def open_tags(tokenizer: Any, prompt: tuple[int, ...]) -> list[str]:
    """The tags that a prompt opens behind its first token and does not close, the outermost first.

    A task's token, such as ``<s_cord-v2>``, is none: nothing closes it.
    """
    found: list[str] = []
    known = tokenizer.backend_tokenizer.token_to_id
    for token in tokenizer.convert_ids_to_tokens(list(prompt[1:])):
        tag = _TAG.fullmatch(token or "")
        if tag and not tag[1] and known(f"</s_{tag[2]}>") is not None:
            found.append(tag[0])
        elif tag and f"<s_{tag[2]}>" in found:
            del found[found.index(f"<s_{tag[2]}>") :]
    return found


class Followed:
    """A `Machine` of what another one accepts, and some tokens behind it.

    A state is the other's, and how many of these tokens are there.
    """

    def __init__(self, inner: Machine, tail: tuple[int, ...]) -> None:
        self._inner, self._tail = inner, tail
        self.start: tuple[Any, int] = (inner.start, 0)

    def edges(self, state: tuple[Any, int]) -> Mapping[tuple[Any, int], Ids]:
        inner, count = state
        found = {} if count else {(there, 0): ids for there, ids in self._inner.edges(inner).items()}
        if count < len(self._tail) and self._inner.accepts(inner):
            found[inner, count + 1] = np.array([self._tail[count]], dtype=np.int64)
        return found

    def advance(self, state: tuple[Any, int], token: int) -> tuple[Any, int] | None:
        inner, count = state
        if count < len(self._tail) and token == self._tail[count] and self._inner.accepts(inner):
            return inner, count + 1
        after = None if count else self._inner.advance(inner, token)
        return None if after is None else (after, 0)

    def accepts(self, state: tuple[Any, int]) -> bool:
        return state[1] == len(self._tail)

    def distance(self, state: tuple[Any, int]) -> float:
        return self._inner.distance(state[0]) + len(self._tail) - state[1]
