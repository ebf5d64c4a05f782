"""A table of tensor-level rules: what becomes of each tensor of a foreign format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Table:
    """Rules from the names of a format to PyTorch's; the first that fits a name counts.

    In a rule, ``#`` stands for a number and ``*``, at the end, for whatever is left. To the right of it:

    * one name: the tensor is called so;
    * several: it holds that many of the same size one after the other along its first axis, as packed queries, keys and
      values do;
    * none: it carries nothing that the model needs, and keeps its name.

    A name that no rule fits is left as it is, so that whoever loads the tensors calls it unexpected.
    """

    def __init__(self, rules: Mapping[str, str | tuple[str, ...]]) -> None:
        self._rules = [
            (re.compile(_pattern(old)), (new,) if isinstance(new, str) else new) for old, new in rules.items()
        ]

    @property
    def dropped(self) -> tuple[str, ...]:
        """Patterns of the names that carry nothing."""
        return tuple(pattern.pattern for pattern, new in self._rules if not new)

    def renamed(self, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield PyTorch's name and tensor of everything that a tensor of the format holds.

        Args:
            name: Its name there.
            tensor: Its numbers; what is yielded are views of them.
        """
        for pattern, new in self._rules:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            # A length that cannot be divided is told by the shapes that come of it, which fit nothing.
            parts = tensor.chunk(len(new)) if len(new) > 1 and tensor.ndim else (tensor,)
            names = [_filled(each, match.groups()) for each in new] or [name]
            yield from zip(names, parts, strict=False)
            return
        yield name, tensor


def _pattern(rule: str) -> str:
    return "^" + re.escape(rule).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)") + "$"


def _filled(name: str, found: tuple[str, ...]) -> str:
    """Put what the placeholders of a rule stood for into those of a new name, in their order."""
    values = iter(found)
    return re.sub(r"[#*]", lambda _: next(values), name)
