"""Several greedy steps in one call of the compiled code, against one step a call and against the modules."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from tiny import STEP_VARIANTS

from vision2seq import registry
from vision2seq.engine.library import library
from vision2seq.generation.loop import iterate
from vision2seq.models.session import ModelSession
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

pytestmark = pytest.mark.skipif(library() is None, reason="the package was built without a C++ compiler")


def generate(model: VisionEncoderDecoderModel, images: int = 3, **options: Any) -> Any:
    return model.generate(tiny.pixels(images), return_dict_in_generate=True, **options)


def plainly(monkeypatch: pytest.MonkeyPatch, model: VisionEncoderDecoderModel, **options: Any) -> Any:
    with monkeypatch.context() as without:
        without.setattr(registry, "STEPS", {})
        return generate(model, **options)


@pytest.mark.parametrize("name", STEP_VARIANTS)
def test_the_same_texts_as_the_modules(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, more = STEP_VARIANTS[name]
    model = tiny.model(decoder, more=more)
    options = {"max_new_tokens": 11, "stop_on_repetition": False}
    ahead, plain = generate(model, **options), plainly(monkeypatch, model, **options)
    assert torch.equal(ahead.sequences, plain.sequences)
    assert ahead.finish_reasons == plain.finish_reasons
    for one, other in zip(ahead.token_logprobs, plain.token_logprobs, strict=True):
        assert one == pytest.approx(other, abs=2e-4)


@pytest.mark.parametrize("new_tokens", [1, 2, 8, 9, 10, 17])
def test_every_length(new_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(more={"max_position_embeddings": 30})
    options = {"max_new_tokens": new_tokens, "eos_token_id": None, "stop_on_repetition": False}
    ahead, plain = generate(model, **options), plainly(monkeypatch, model, **options)
    assert torch.equal(ahead.sequences, plain.sequences)
    assert ahead.sequences.shape[1] == 1 + new_tokens
    assert ahead.finish_reasons == ["length"] * 3


def test_to_the_last_position(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(more={"max_position_embeddings": 13})
    options = {"max_length": 13, "eos_token_id": None, "stop_on_repetition": False}
    ahead, plain = generate(model, **options), plainly(monkeypatch, model, **options)
    assert ahead.sequences.shape[1] == 13
    assert torch.equal(ahead.sequences, plain.sequences)


def test_rows_that_end_at_different_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row's own tokens are made an end in turn, so that rows leave at every place of a block."""
    model = tiny.model(more={"max_position_embeddings": 40})
    free = generate(model, images=6, max_new_tokens=24, eos_token_id=None, stop_on_repetition=False)
    ends = {int(token) for token in free.sequences[:, 1:].flatten()}
    seen = set()
    for end in sorted(ends)[:20]:
        options = {"images": 6, "max_new_tokens": 24, "eos_token_id": end, "pad_token_id": 1}
        ahead, plain = generate(model, **options), plainly(monkeypatch, model, **options)
        assert torch.equal(ahead.sequences, plain.sequences)
        assert ahead.finish_reasons == plain.finish_reasons
        seen |= {len(row) for row in ahead.token_logprobs}
        assert [len(row) for row in ahead.token_logprobs] == [len(row) for row in plain.token_logprobs]
    assert len(seen) > 3


def test_several_samples_of_an_image_and_a_stop_string_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model()
    begun = torch.tensor([[2, 5, 7]] * 3)
    options = {"decoder_input_ids": begun, "max_new_tokens": 9, "stop_on_repetition": False}
    ahead, plain = generate(model, **options), plainly(monkeypatch, model, **options)
    assert torch.equal(ahead.sequences, plain.sequences)


def test_few_calls_and_no_scores_that_nobody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(more={"max_position_embeddings": 40})
    calls: list[int] = []
    whole = ModelSession.ahead

    def counted(self: ModelSession, tokens: Any, steps: int, ends: Any, running: Any) -> Any:
        calls.append(steps)
        return whole(self, tokens, steps, ends, running)

    monkeypatch.setattr(ModelSession, "ahead", counted)
    generate(model, max_new_tokens=25, eos_token_id=None, stop_on_repetition=False)
    assert calls == [8, 8, 8]
    calls.clear()
    for asked in ({"output_scores": True}, {"do_sample": True}, {"repetition_penalty": 1.2}, {"max_time": 60.0}):
        generate(model, max_new_tokens=5, **asked)
    assert not calls


def test_steps_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream gets each token as a step of its own, with its probability."""
    model = tiny.model(more={"max_position_embeddings": 40})
    session, arguments = model.start(tiny.pixels(2), max_new_tokens=12, stop_on_repetition=False)
    steps = list(iterate(session, **arguments))
    whole = generate(model, images=2, max_new_tokens=12, stop_on_repetition=False)
    for row in range(2):
        own = [step for step in steps if row in step.rows]
        tokens = [int(step.tokens[list(step.rows).index(row)]) for step in own]
        assert tokens == whole.sequences[row, 1 : 1 + len(tokens)].tolist()
        assert [float(step.logprobs[list(step.rows).index(row)]) for step in own] == whole.token_logprobs[row]


def test_a_token_that_the_vocabulary_does_not_have() -> None:
    """As from the modules: a pad_token_id that there is not would be fed to the rows that have ended."""
    model = tiny.model()
    session, _ = model.start(tiny.pixels(1))
    vocabulary = model.decoder.config.vocab_size
    for token in (-1, vocabulary):
        with pytest.raises(IndexError, match=f"expected 0 to {vocabulary - 1}, the vocabulary's"):
            session.ahead(torch.tensor([token]), 3, [2], [True])
