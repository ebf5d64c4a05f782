"""Decoding ids one by one into text that never has to be taken back."""

from __future__ import annotations

import json

from vision2seq.processing.text.cleanup import IncrementalCleanUp
from vision2seq.processing.text.pieces import is_byte, look
from vision2seq.processing.text.tokenizer import Tokenizer

REPLACEMENT = "\ufffd"
_KEPT = 100_000
"""Most texts that are remembered."""


class IncrementalDecoder:
    """Turns a stream of ids into a stream of text.

    What `push` and `finish` return, joined, is exactly ``tokenizer.decode(ids)``. Bytes of an unfinished character, and
    text that clean-up may still change, are held back until they are settled.

    Args:
        tokenizer: Whose ids they are.
        skip_special_tokens: As in ``decode``.
        clean_up_tokenization_spaces: As in ``decode``.
        known: Texts of ids that were met already; decoders of one tokenizer may share them while it stays as it is.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        known: dict[tuple[int, ...], str] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._known = {} if known is None else known
        self._skipped: set[str] = set()
        if skip_special_tokens:
            added = tokenizer.added_tokens_decoder
            self._skipped = {token.content for token in added.values() if token.special}
        clean = clean_up_tokenization_spaces
        clean = tokenizer.clean_up_tokenization_spaces if clean is None else clean
        self._clean = IncrementalCleanUp() if clean else None
        decoder = tokenizer.backend_tokenizer.decoder
        self._local, self._bytes = look(None if decoder is None else json.loads(decoder.__getstate__()))
        # Ids since the last settled place, behind one settled id that tells the decoder that this is no beginning.
        self._window: list[int] = []
        self._context = ""  # the text of that id
        self._sent = 0  # characters of the window's text that were returned

    def push(self, index: int) -> str:
        """Take the next id and return the text that it settles, which may be empty."""
        index = int(index)
        token = self._tokenizer.convert_ids_to_tokens(index)
        if token is None or token in self._skipped:  # adds nothing and does not count as a beginning
            return ""
        self._window.append(index)
        if not self._local or (self._bytes and is_byte(token)):
            return ""
        text = self._text()
        settled = text.rstrip(REPLACEMENT)  # the rest may be the first bytes of a character
        ready = settled[self._sent :]
        self._sent = max(self._sent, len(settled))
        if settled == text:
            self._window = [index]
            self._context = self._decode(self._window)
            self._sent = 0
        return self._through(ready)

    def finish(self) -> str:
        """Return what was held back. The decoder is then as new."""
        ready = self._through(self._text()[self._sent :])
        if self._clean is not None:
            ready += self._clean.finish()
        self._window, self._context, self._sent = [], "", 0
        return ready

    def _text(self) -> str:
        """What the window adds to its context."""
        return self._decode(self._window)[len(self._context) :]

    def _decode(self, ids: list[int]) -> str:
        key = tuple(ids)
        text = self._known.get(key)
        if text is None:
            text = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False) if ids else ""
            if len(key) <= 2 and len(self._known) < _KEPT:
                self._known[key] = text
        return text

    def _through(self, text: str) -> str:
        return self._clean.push(text) if self._clean is not None else text
