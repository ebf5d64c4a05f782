"""A decoder small enough to see through, and the slow obvious loop to compare the fast one with.

`TinyDecoder` keeps a state for each text that every token changes, so a cache that is off by a row or a token shows.
It counts in float64: rows of a batch and single rows give the same numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vision2seq.generation import StepOutput

START, PAD, EOS = 0, 1, 2


class TinyDecoder:
    """``state = tanh(W state + E[token] + image)``; the scores of what follows are ``U state``."""

    def __init__(self, vocabulary: int = 24, width: int = 12, seed: int = 0, eos_bias: float = 0.0) -> None:
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.vocabulary, self.width = vocabulary, width
        self.recur = normal(width, width) * 0.6
        self.embed = normal(vocabulary, width)
        self.head = normal(width, vocabulary) * 1.5
        self.bias = torch.zeros(vocabulary, dtype=torch.float64)
        self.bias[EOS] = eos_bias

    def images(self, count: int, seed: int = 1) -> Tensor:
        return torch.randn(count, self.width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def advance(self, state: Tensor, images: Tensor, tokens: Tensor) -> Tensor:
        return torch.tanh(state @ self.recur + self.embed[tokens] + images)

    def scores(self, state: Tensor) -> Tensor:
        return (state @ self.head + self.bias).float()


class TinySession:
    """A `DecodingSession` with a cached state; attentions and hidden states are made up of it, when asked for."""

    def __init__(self, decoder: TinyDecoder, images: Tensor, *, extras: bool = False) -> None:
        self.decoder, self.images, self.extras = decoder, images, extras
        self.state = torch.zeros_like(images)
        self.batch_size = len(images)
        self.fed: list[tuple[int, int]] = []  # a step: rows, tokens

    def step(self, tokens: Tensor) -> StepOutput:
        assert tokens.shape[0] == self.batch_size
        assert tokens.dtype == torch.long
        self.fed.append((tokens.shape[0], tokens.shape[1]))
        for column in tokens.T:
            self.state = self.decoder.advance(self.state, self.images, column)
        output = StepOutput(self.decoder.scores(self.state))
        if self.extras:
            output.decoder_attentions = (self.state[:, None, None],)
            output.cross_attentions = (self.images[:, None, None],)
            output.decoder_hidden_states = (self.state[:, None], self.state[:, None] * 2)
        return output

    def select(self, rows: Tensor) -> None:
        self.state, self.images = self.state[rows], self.images[rows]
        self.batch_size = len(rows)


def slow_greedy(
    decoder: TinyDecoder, image: Tensor, prompt: list[int], longest: int, *, rule: Any = None
) -> tuple[list[int], list[float], str]:
    """Greedy decoding of one image: no cache, no batch, everything computed anew for each token."""
    ids, logprobs = list(prompt), []
    while len(ids) < longest:
        state = torch.zeros_like(image)[None]
        for token in ids:
            state = decoder.advance(state, image[None], torch.tensor([token]))
        logits = decoder.scores(state)[0]
        scores = logits if rule is None else rule(ids, logits)
        token = int(scores.argmax())
        ids.append(token)
        logprobs.append(float(logits.log_softmax(-1)[token]))
        if token == EOS:
            return ids, logprobs, "eos"
    return ids, logprobs, "length"


def slow_beams(
    decoder: TinyDecoder, image: Tensor, beams: int, longest: int, length_penalty: float = 1.0
) -> tuple[list[int], float]:
    """Beam search of one image that never stops early; returns the best text and its score."""
    running, done = [([START], 0.0)], []
    while running and len(running[0][0]) < longest:
        ways = []
        for ids, score in running:
            state = torch.zeros_like(image)[None]
            for token in ids:
                state = decoder.advance(state, image[None], torch.tensor([token]))
            logs = decoder.scores(state)[0].log_softmax(-1)
            ways += [([*ids, token], score + float(logs[token])) for token in range(decoder.vocabulary)]
        ways.sort(key=lambda way: -way[1])
        ends = [way[0][-1] == EOS or len(way[0]) == longest for way in ways]
        done += [way for way, end in list(zip(ways, ends, strict=True))[:beams] if end]
        running = [way for way, end in zip(ways, ends, strict=True) if not end][:beams]
    ids, score = max(done, key=lambda way: way[1] / (len(way[0]) - 1) ** length_penalty)
    return ids, score / (len(ids) - 1) ** length_penalty
