"""Streamers print whole words, in order, and exactly what decoding everything at once gives."""

from __future__ import annotations

import queue
import threading

import pytest
import torch
from tests.generation.tiny_decoder import EOS, PAD, START, TinyDecoder, TinySession

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import OptionError
from vision2seq.generation import TextIteratorStreamer, TextStreamer, generate

torch.set_num_threads(1)


class Words:
    """A tokenizer: each id is a piece of text."""

    pieces = ("<s>", "Hel", "lo", " wor", "ld", " again", "\n", "日", "本", ".")

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return "".join(self.pieces[i % 10] for i in ids if not (skip_special_tokens and i == 0))


class Recorder(TextStreamer):
    """Keeps the pieces instead of printing them."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.pieces: list[str] = []

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.pieces.append(text + ("|" if stream_end else ""))


def feed(streamer: TextStreamer, ids: list[int], prompt: list[int] | None = None) -> None:
    streamer.put(torch.tensor([prompt or [0]]))
    for token in ids:
        streamer.put(torch.tensor([token]))
    streamer.end()


def test_words_come_when_they_are_complete() -> None:
    streamer = Recorder(Words())
    feed(streamer, [1, 2, 3, 4, 5])
    assert streamer.pieces == ["", "", "", "<s>Hello ", "", "world ", "again|"]


def test_the_prompt_and_special_tokens_can_be_left_out() -> None:
    streamer = Recorder(Words(), skip_prompt=True)
    feed(streamer, [1, 2, 0], prompt=[0, 5, 5])
    assert "".join(streamer.pieces) == "Hello<s>|"
    streamer = Recorder(Words(), skip_special_tokens=True)
    feed(streamer, [1, 2, 0], prompt=[0, 5])
    assert "".join(streamer.pieces) == " againHello|"


def test_a_line_break_and_ideographs_come_at_once() -> None:
    streamer = Recorder(Words(), skip_prompt=True)
    feed(streamer, [1, 2, 6, 7, 8, 1, 9])
    assert streamer.pieces == ["", "", "Hello\n", "日", "本", "", "", "Hel.|"]


def test_a_streamer_can_be_used_again() -> None:
    streamer = Recorder(Words(), skip_prompt=True)
    for _ in range(2):
        feed(streamer, [1, 2])
    assert streamer.pieces == ["", "", "Hello|"] * 2


def test_it_prints_with_a_line_break_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    feed(TextStreamer(Words(), skip_prompt=True), [1, 2, 3, 4])
    assert capsys.readouterr().out == "Hello world\n"


def test_more_than_one_text_is_refused() -> None:
    with pytest.raises(OptionError, match=r"prints one text, but this call makes 2. Give one image at a time"):
        TextStreamer(Words()).put(torch.zeros(2, 1).long())
    streamer = TextStreamer(Words(), skip_prompt=True)
    streamer.put(torch.zeros(1, 1).long())
    with pytest.raises(OptionError, match="prints one text, but this call makes 3"):
        streamer.put(torch.zeros(3).long())


def test_an_iterator_gives_the_text_of_another_thread() -> None:
    decoder = TinyDecoder(seed=4, eos_bias=-50.0)
    config, _ = GenerationConfig(eos_token_id=EOS, pad_token_id=PAD).with_call(max_length=30)
    streamer = TextIteratorStreamer(Words(), skip_prompt=True, timeout=10.0, skip_special_tokens=True)
    found = []

    def work() -> None:
        prompt = torch.tensor([[START]])
        session = TinySession(decoder, decoder.images(1))
        found.append(generate(session, prompt=prompt, config=config, limit=40, streamer=streamer))

    thread = threading.Thread(target=work)
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text == Words().decode(found[0].sequences[0, 1:].tolist(), skip_special_tokens=True)
    assert len(text) > 20


def test_an_iterator_does_not_wait_for_ever() -> None:
    with pytest.raises(queue.Empty):
        next(TextIteratorStreamer(Words(), timeout=0.01))
