"""DecoderCache against keys and values that are simply kept in lists."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from tiny import ids, model, pixels
from torch import Tensor

from vision2seq.layers.attention import attend, causal_mask, decoder_mask
from vision2seq.layers.cache import DecoderCache

torch.set_num_threads(1)

LAYERS, HEADS, CHANNELS, IMAGE_TOKENS = 3, 2, 4, 5


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape)


class Naive:
    """The same as a cache, a row at a time, copied whenever anything happens."""

    def __init__(self, images: int) -> None:
        self.cross = [[(numbers(HEADS, IMAGE_TOKENS, CHANNELS), numbers(HEADS, IMAGE_TOKENS, CHANNELS))
                       for _ in range(images)] for _ in range(LAYERS)]  # fmt: skip
        self.own: list[list[tuple[Tensor, Tensor]]] = [
            [(torch.empty(HEADS, 0, CHANNELS),) * 2 for _ in range(images)] for _ in range(LAYERS)
        ]

    def append(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self.own[layer] = [
            (torch.cat([old_keys, keys[row]], 1), torch.cat([old_values, values[row]], 1))
            for row, (old_keys, old_values) in enumerate(self.own[layer])
        ]

    def select(self, rows: list[int]) -> None:
        self.cross = [[layer[row] for row in rows] for layer in self.cross]
        self.own = [[layer[row] for row in rows] for layer in self.own]


def stacked(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.stack([keys for keys, _ in pairs]), torch.stack([values for _, values in pairs])


@pytest.mark.parametrize("seed", range(40))
def test_random_lives(seed: int) -> None:
    """Growth, repeats, drops, reorders, groups: after each, all layers hold what the lists hold."""
    torch.manual_seed(seed)
    chance = random.Random(seed)
    images = chance.randint(1, 4)
    naive, cache = Naive(images), DecoderCache(LAYERS, capacity=chance.choice([0, 1, 2, 32]))
    for layer in range(LAYERS):
        assert not cache.has_cross(layer)
        cache.put_cross(layer, *stacked(naive.cross[layer]))
        assert cache.has_cross(layer)
    rows, length = images, 0
    for step in range(12):
        if chance.random() < 0.7 or step == 0:
            kind = chance.choice(["expand", "beams", "drop", "any", "same", "shuffle"])
            if kind == "expand":  # every row several times, as beams and samples begin
                index = [row for row in range(rows) for _ in range(chance.randint(2, 3))][:12]
            elif kind == "beams":  # reordered inside an image only
                group = next(size for size in (4, 3, 2, 1) if rows % size == 0)
                index = [row // group * group + chance.randrange(group) for row in range(rows)]
            elif kind == "drop":
                index = sorted(chance.sample(range(rows), max(1, rows - 1)))
            elif kind == "shuffle":
                index = chance.sample(range(rows), rows)
            elif kind == "same":
                index = list(range(rows))
            else:
                index = [chance.randrange(rows) for _ in range(chance.randint(1, 8))]
            cache.select(torch.tensor(index))
            naive.select(index)
            rows = len(index)
        tokens = chance.choice([1, 1, 1, 3, 20])
        for layer in range(LAYERS):
            keys, values = numbers(rows, HEADS, tokens, CHANNELS), numbers(rows, HEADS, tokens, CHANNELS)
            naive.append(layer, keys, values)
            found = cache.append(layer, keys, values)
            for mine, expected in zip(found, stacked(naive.own[layer]), strict=True):
                assert torch.equal(mine, expected)
            cross = stacked(naive.cross[layer])
            for mine, expected in zip(cache.cross(layer), cross, strict=True):
                assert torch.equal(mine, expected)
            query = numbers(rows, HEADS, 3, CHANNELS).transpose(1, 2).contiguous().transpose(1, 2)
            for need_weights in (False, True):
                mixed, weights = cache.attend_cross(layer, query, scale=0.5, need_weights=need_weights)
                expected, expected_weights = attend(query, *cross, scale=0.5, need_weights=need_weights)
                torch.testing.assert_close(mixed, expected)
                torch.testing.assert_close(weights, expected_weights)
        cache.advance(tokens)
        length += tokens
        assert cache.get_seq_length() == cache.length == length
        assert cache.rows == rows


def test_rows_of_one_image_share_its_keys() -> None:
    cache = DecoderCache(1)
    cache.put_cross(0, numbers(2, HEADS, 5, CHANNELS), numbers(2, HEADS, 5, CHANNELS))
    held = cache._cross[0][0]
    cache.select(torch.tensor([0, 0, 0, 1, 1, 1]))
    assert cache._cross[0][0] is held
    cache.select(torch.tensor([2, 0, 0, 5, 4, 3]))
    assert cache._cross[0][0] is held
    cache.select(torch.tensor([3, 4, 5]))  # one image is finished: its keys go
    assert cache._cross[0][0].shape[0] == 1
    assert cache.cross(0)[0].shape[0] == 3


def test_no_rows_left() -> None:
    cache = DecoderCache(1)
    cache.put_cross(0, numbers(2, HEADS, 5, CHANNELS), numbers(2, HEADS, 5, CHANNELS))
    cache.append(0, numbers(2, HEADS, 1, CHANNELS), numbers(2, HEADS, 1, CHANNELS))
    cache.select(torch.tensor([], dtype=torch.long))
    assert cache.rows == 0
    assert cache.cross(0)[0].shape == (0, HEADS, 5, CHANNELS)


def test_room_doubles_and_nothing_is_lost() -> None:
    cache, all_keys, sizes = DecoderCache(1, capacity=2), [], []
    for _ in range(40):
        all_keys.append(numbers(1, HEADS, 1, CHANNELS))
        cache.append(0, all_keys[-1], all_keys[-1])
        cache.advance(1)
        assert cache._keys is not None
        sizes.append(cache._keys.shape[3])
    assert sorted(set(sizes)) == [2, 4, 8, 16, 32, 64]
    found = cache.append(0, all_keys[0], all_keys[0])[0]
    assert torch.equal(found[:, :, :40], torch.cat(all_keys, 2))


def test_gradients_pass_through_the_new_tokens_only() -> None:
    cache = DecoderCache(2)
    first = numbers(1, HEADS, 2, CHANNELS).requires_grad_()
    for layer in range(2):
        keys, values = cache.append(layer, first, first * 2)
    cache.advance(2)
    assert cache._keys is not None
    assert not cache._keys.requires_grad
    second = numbers(1, HEADS, 1, CHANNELS).requires_grad_()
    keys, values = cache.append(0, second, second)
    (keys.sum() + values.sum()).backward()
    assert torch.equal(second.grad, torch.full_like(second, 2.0))
    assert first.grad is None
    assert torch.equal(keys[:, :, :2], first)


@pytest.mark.parametrize("decoder", ["trocr", "trocr-sinusoidal", "gpt2"])
def test_rows_of_a_model_survive_selects(decoder: str) -> None:
    """A decoder on a cache that is repeated, reordered and cut says what it says without a cache."""
    built, chance = model(decoder), random.Random(0)
    with torch.no_grad():
        _, memory = built.encode(pixels(3))
        cache = built.decoder.new_cache(capacity=1)
        built.decoder.put_cross(cache, memory)
        texts, images = ids(3, 2), [0, 1, 2]
        built.decoder(texts, past_key_values=cache)
        for step in range(9):
            rows = [row for row in range(3) for _ in range(2)] if step == 0 else chance.choices(range(len(images)), k=5)
            cache.select(torch.tensor(rows))
            new = ids(len(rows), 2, seed=step)[:, 1:]
            texts, images = torch.cat([texts[rows], new], 1), [images[row] for row in rows]
            found = built.decoder(new, past_key_values=cache).logits[:, -1]
            plain: Any = built.decoder(texts, encoder_hidden_states=memory[images], use_cache=False)
            torch.testing.assert_close(found, plain.logits[:, -1], atol=1e-5, rtol=1e-4)


def test_masks() -> None:
    lowest = torch.finfo(torch.float32).min
    mask = causal_mask(2, 3, torch.float32, torch.device("cpu"))
    assert mask.tolist() == [[0, 0, 0, 0, lowest], [0, 0, 0, 0, 0]]
    cpu = torch.device("cpu")
    assert decoder_mask(None, 1, 0, torch.float32, cpu) == (None, False)
    assert decoder_mask(None, 1, 4, torch.float32, cpu) == (None, False)
    assert decoder_mask(None, 3, 0, torch.float32, cpu) == (None, True)
    mixed, causal = decoder_mask(torch.tensor([[0, 1, 1]]), 2, 1, torch.float16, cpu)
    assert not causal
    assert mixed is not None
    assert mixed.isfinite().all()
    assert mixed[0, 0].eq(0).tolist() == [[False, True, False], [False, True, True]]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_with_and_without_weights(causal: bool, masked: bool) -> None:
    query, keys, values = (numbers(2, HEADS, 4, CHANNELS) for _ in range(3))
    mask = None
    if masked and not causal:
        mask = torch.zeros(2, 1, 1, 4)
        mask[0, ..., 2:] = torch.finfo(torch.float32).min
    plain, weights = attend(query, keys, values, scale=0.7, mask=mask, causal=causal, need_weights=True)
    fused, none = attend(query, keys, values, scale=0.7, mask=mask, causal=causal)
    assert none is None
    assert weights is not None
    torch.testing.assert_close(plain, fused)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 4))
    by_hand = torch.zeros(2, 4, HEADS * CHANNELS)
    for b in range(2):
        for h in range(HEADS):
            for t in range(4):
                seen = [s for s in range(4) if not (causal and s > t) and not (mask is not None and b == 0 and s >= 2)]
                scores = torch.stack([0.7 * query[b, h, t] @ keys[b, h, s] for s in seen]).softmax(0)
                by_hand[b, t, h * CHANNELS : (h + 1) * CHANNELS] = scores @ values[b, h, seen]
    torch.testing.assert_close(plain, by_hand)
