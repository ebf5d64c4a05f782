"""generate_each: rows that come and go one by one give the texts that generate gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from vision2seq import registry
from vision2seq.engine import precision
from vision2seq.engine.library import library
from vision2seq.generation.continuous import Row
from vision2seq.models.slots import SlotSession
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

pytestmark = pytest.mark.skipif(library() is None, reason="the package was built without a C++ compiler")
DECODERS = ("trocr", "trocr-sinusoidal", "gpt2", "bert", "roberta", "bart", "mbart")


def model_of(decoder: str) -> VisionEncoderDecoderModel:
    more = {"n_positions" if decoder == "gpt2" else "max_position_embeddings": 60}
    if decoder == "trocr-sinusoidal":
        return tiny.model("trocr", more=more | {"use_learned_position_embeddings": False})
    return tiny.model(decoder, more=more)


def ends_of(model: VisionEncoderDecoderModel, pixels: Tensor) -> list[int]:
    """Two tokens that end the texts at as many different places as there are."""
    free = model.generate(pixels, max_new_tokens=19, eos_token_id=None, stop_on_repetition=False)[:, 1:].tolist()

    def places(*ends: int) -> int:
        return len({next((place for place, token in enumerate(row) if token in ends), len(row)) for row in free})

    tokens = {token for row in free for token in row}
    first = max(tokens, key=places)
    return [first, max(tokens, key=lambda token: places(first, token))]


def one_by_one(model: VisionEncoderDecoderModel, pixels: Tensor, **options: Any) -> list[tuple[list[int], str]]:
    found = []
    for image in pixels:
        output = model.generate(image[None], return_dict_in_generate=True, **options)
        (logprobs,), (reason,) = output.token_logprobs, output.finish_reasons
        start = output.sequences.shape[1] - len(logprobs)
        found.append((output.sequences[0, start:].tolist(), reason))
    return found


def in_order(rows: Iterator[Row] | None, count: int) -> list[Row]:
    assert rows is not None
    found = {row.key: row for row in rows}
    assert sorted(found) == list(range(count))
    return [found[key] for key in range(count)]


@pytest.mark.parametrize("kind", ["fp32", "int8"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_texts_of_one_by_one(decoder: str, kind: str) -> None:
    model = model_of(decoder)
    if kind != "fp32":
        with torch.no_grad():
            precision.apply(model, precision=kind)
    pixels = tiny.pixels(13)
    options = {"max_new_tokens": 19, "eos_token_id": ends_of(model, pixels), "pad_token_id": 1}
    expected = one_by_one(model, pixels, **options)
    for slots in (1, 3, 4, 16):
        rows = in_order(model.generate_each(enumerate(pixels), slots=slots, **options), 13)
        assert [(row.ids, row.reason) for row in rows] == expected
    assert len({len(ids) for ids, _ in expected}) > 1


def test_probabilities_and_repetition() -> None:
    model = model_of("trocr")
    pixels = tiny.pixels(5)
    options = {"max_new_tokens": 50, "eos_token_id": None, "stop_on_repetition": True}
    output = model.generate(pixels, return_dict_in_generate=True, **options)
    rows = in_order(model.generate_each(enumerate(pixels), slots=2, **options), 5)
    assert [row.reason for row in rows] == output.finish_reasons
    assert "repetition" in output.finish_reasons
    for row, ids, logprobs in zip(rows, output.sequences.tolist(), output.token_logprobs, strict=True):
        assert row.ids == ids[1 : 1 + len(logprobs)]
        assert row.logprobs == pytest.approx(logprobs, abs=2e-5)


@pytest.mark.parametrize("decoder", ["trocr", "gpt2"])
def test_prompts(decoder: str) -> None:
    model = model_of(decoder)
    pixels, prompt = tiny.pixels(6), torch.tensor([[0, 5, 9, 11]])
    options: dict[str, Any] = {"max_new_tokens": 9, "eos_token_id": ends_of(model, pixels)}
    expected = one_by_one(model, pixels, decoder_input_ids=prompt, **options)
    rows = in_order(model.generate_each(enumerate(pixels), slots=4, decoder_input_ids=prompt, **options), 6)
    assert [(row.ids, row.reason) for row in rows] == expected


def test_a_place_that_is_free_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one text as long as all others together, the others pass by it."""
    model = model_of("trocr")
    pixels = tiny.pixels(12)
    options = {"max_new_tokens": 40, "eos_token_id": ends_of(model, pixels), "stop_on_repetition": False}
    lengths = [len(ids) for ids, _ in one_by_one(model, pixels, **options)]
    work: list[int] = []
    whole = SlotSession.greedy

    def counted(self: SlotSession, slots: Any, tokens: Any, steps: int, ends: Any) -> Any:
        found = whole(self, slots, tokens, steps, ends)
        work.append(len(slots) * len(found[0]))
        return found

    monkeypatch.setattr(SlotSession, "greedy", counted)
    taken: list[int] = []

    def images() -> Iterator[tuple[int, Tensor]]:
        for key, image in enumerate(pixels):
            taken.append(key)
            yield key, image

    rows = model.generate_each(images(), slots=4, **options)
    assert rows is not None
    first = next(rows)
    assert len(taken) < 12  # no image is taken before there is a place for it
    assert {first.key, *(row.key for row in rows)} == set(range(12))
    # A row costs its own steps, and what is left of a block of eight when it ends.
    assert sum(lengths) <= sum(work) <= sum(lengths) + 12 * 7


def test_images_of_several_sizes() -> None:
    model = model_of("trocr")
    small, large = tiny.pixels(4), torch.nn.functional.interpolate(tiny.pixels(4, seed=3), scale_factor=2)
    options: dict[str, Any] = {"max_new_tokens": 9, "interpolate_pos_encoding": True}
    images = [*small[:3], *large, small[3]]
    expected = [one_by_one(model, image[None], **options)[0] for image in images]
    rows = in_order(model.generate_each(enumerate(images), slots=2, **options), 8)
    assert [(row.ids, row.reason) for row in rows] == expected


def test_an_image_that_the_model_cannot_take_fails_alone() -> None:
    model = model_of("trocr")
    good = tiny.pixels(4)
    images = [good[0], torch.zeros(3, 7, 9), *good[1:3], torch.full_like(good[0], float("nan"))]
    for slots in (1, 8):
        rows = in_order(model.generate_each(enumerate(images), slots=slots, max_new_tokens=5), 5)
        assert [row.reason == "error" for row in rows] == [False, True, False, False, True]
        assert rows[1].error is not None
        assert "hold NaN or infinite numbers" in str(rows[4].error)
    assert not list(model.generate_each(iter(()), max_new_tokens=5) or ())


def test_where_it_has_to_be_done_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("trocr")
    images = [(0, tiny.pixels(1)[0])]
    for option in (
        {"num_beams": 2},
        {"do_sample": True},
        {"repetition_penalty": 1.3},
        {"min_new_tokens": 3},
        {"no_repeat_ngram_size": 2},
        {"stop_strings": "a", "tokenizer": object()},
        {"logits_processor": [lambda ids, scores: scores]},
        {"stopping_criteria": [lambda ids, scores: False]},
        {"max_time": 3.0},
        {"output_scores": True, "return_dict_in_generate": True},
        {"num_return_sequences": 2, "do_sample": True},
    ):
        assert model.generate_each(images, **option) is None, option
    assert model.generate_each(images) is not None
    monkeypatch.setattr(registry, "STEPS", {})
    assert model.generate_each(images) is None
