"""A text that a regular expression matches from end to end."""

from __future__ import annotations

import re
from typing import Any

from vision2seq.errors import OptionError
from vision2seq.generation.constraints.base import Constraint, pieces_of
from vision2seq.generation.constraints.machine import Lifted, Machine, Pieces
from vision2seq.generation.constraints.regex import Automaton, Regex
from vision2seq.generation.constraints.wrappers import SIGNS, CleanedUp


class Pattern(Constraint):
    """The text that decoding gives, special tokens aside, matches a regular expression as a whole.

    Any way of cutting such a text into tokens is allowed. `regex` says what of Python's syntax is understood.

    Args:
        pattern: The expression, or one that is compiled.

    Raises:
        OptionError: It is none.
        UnsupportedError: It uses lookaround, backreferences or others that cannot be followed token by token.
    """

    def __init__(self, pattern: str | re.Pattern[str]) -> None:
        super().__init__()
        self.pattern = pattern
        Regex(pattern)  # says what is wrong with it

    def _build(self, tokenizer: Any, vocabulary: int) -> Machine:
        found = lift(self.pattern, pieces_of(tokenizer), vocabulary)
        if found.distance(found.start) == float("inf"):
            missing = _what_is_missing(self.pattern, tokenizer)
            raise OptionError(
                f"No text of this vocabulary{missing} matches the pattern {text_of(self.pattern)!r}. Mind that "
                "decoding may put spaces between tokens."
            )
        return found


def lift(pattern: str | re.Pattern[str], pieces: Pieces, vocabulary: int, *, begins: bool = True) -> Lifted:
    """A machine over tokens of an expression; see `Lifted`.

    Where the text goes on from an earlier one, a space may stand before it: most vocabularies write a word so.
    """
    inner = Regex(pattern, SIGNS if pieces.cleaned else "", spaced=not begins)
    automaton: Automaton = CleanedUp(inner) if pieces.cleaned else inner
    return Lifted(automaton, pieces, vocabulary, begins=begins)


def text_of(pattern: str | re.Pattern[str]) -> str:
    """An expression as it was written."""
    return pattern if isinstance(pattern, str) else pattern.pattern


def _what_is_missing(pattern: str | re.Pattern[str], tokenizer: Any) -> str:
    """Name signs of the expression that the tokenizer does not know."""
    unknown = tokenizer.unk_token_id
    signs = dict.fromkeys(sign for sign in text_of(pattern) if sign.isalnum() or ord(sign) > 0x7F)
    lost = [
        sign for sign in signs if unknown is not None and unknown in tokenizer.encode(sign, add_special_tokens=False)
    ]
    return f", which lacks {''.join(lost)!r}," if lost else ""
