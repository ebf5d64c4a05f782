"""Streamers: text that appears while it is generated.

Source: the behaviour of transformers 4.57.6 ``TextStreamer`` and ``TextIteratorStreamer``.
"""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from typing import Any

from torch import Tensor

from vision2seq.errors import OptionError

# Unicode blocks of characters that are words of their own: CJK ideographs and their extensions.
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


class TextStreamer:
    """Prints text as soon as its words are complete.

    Args:
        tokenizer: Has ``decode(ids, …)``.
        skip_prompt: Whether to leave out the decoder prompt.
        decode_kwargs: Passed on to ``decode``, such as ``skip_special_tokens=True``.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = decode_kwargs
        self._ids: list[int] = []  # since the last line break
        self._printed = 0  # characters of their text that are out
        self._at_prompt = True

    def put(self, value: Tensor) -> None:
        """Take ids, (T,) or (1, T), and print the words that they complete.

        Raises:
            OptionError: More than one row.
        """
        if value.dim() > 1:
            if value.shape[0] > 1:
                raise OptionError(
                    f"A text streamer prints one text, but this call makes {value.shape[0]}. Give one image at a time."
                )
            value = value[0]
        elif not self._at_prompt and value.shape[0] > 1:
            raise OptionError(
                f"A text streamer prints one text, but this call makes {value.shape[0]}. Give one image at a time."
            )
        at_prompt, self._at_prompt = self._at_prompt, False
        if at_prompt and self.skip_prompt:
            return
        self._ids += value.tolist()
        text = self._text()
        if text.endswith("\n"):
            ready = text[self._printed :]
            self._ids, self._printed = [], 0
        else:
            # What follows the last space may still change with the next token.
            end = len(text) if text and _is_ideograph(text[-1]) else text.rfind(" ") + 1
            ready = text[self._printed : end]
            self._printed += len(ready)
        self.on_finalized_text(ready)

    def end(self) -> None:
        """Print what is left and a line break. The streamer is then as new."""
        ready = self._text()[self._printed :] if self._ids else ""
        self._ids, self._printed, self._at_prompt = [], 0, True
        self.on_finalized_text(ready, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print settled text; the place to override for another output."""
        print(text, flush=True, end=None if stream_end else "")

    def _text(self) -> str:
        return str(self.tokenizer.decode(self._ids, **self.decode_kwargs))


class TextIteratorStreamer(TextStreamer):
    """Hands out text to a loop in another thread than the one that generates.

    Args:
        tokenizer: Has ``decode(ids, …)``.
        skip_prompt: Whether to leave out the decoder prompt.
        timeout: Seconds after which waiting for text raises ``queue.Empty``; None waits for ever.
        decode_kwargs: Passed on to ``decode``.
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = timeout
        self.text_queue: Queue[str | None] = Queue()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Queue settled text, and None behind the last."""
        self.text_queue.put(text, timeout=self.timeout)
        if stream_end:
            self.text_queue.put(None, timeout=self.timeout)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = self.text_queue.get(timeout=self.timeout)
        if text is None:
            raise StopIteration
        return text


def _is_ideograph(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in _IDEOGRAPHS)
