"""Removing the spaces that word-by-word vocabularies leave before English punctuation.

The rule is transformers' ``clean_up_tokenization``: ten literal replacements, one after the other.
"""

from __future__ import annotations

_REPLACEMENTS = tuple((before, before.strip()) for before in " .| ?| !| ,| ' | n't| 'm| 's| 've| 're".split("|"))


def clean_up(text: str) -> str:
    """Return the text with the space removed before ``. ? ! ,`` and contractions, and both around a lone ``'``."""
    for before, after in _REPLACEMENTS:
        text = text.replace(before, after)
    return text


class IncrementalCleanUp:
    """`clean_up` of a text that arrives in pieces; what it returns, joined, is the clean-up of the whole."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, text: str) -> str:
        """Take the next piece, return what can no longer change."""
        self._held += text
        # Each pattern begins with a space, so text can be cut before a space, except where the characters before it
        # could become the beginning of a pattern once that space is gone: " '", " n" and runs of spaces.
        cut = self._held.rfind(" ")
        while cut > 0 and self._held[cut - 1] in " 'n":
            cut = self._held.rfind(" ", 0, cut)
        if cut <= 0:
            return ""
        ready, self._held = self._held[:cut], self._held[cut:]
        return clean_up(ready)

    def finish(self) -> str:
        """Return the rest."""
        ready, self._held = self._held, ""
        return clean_up(ready)
