"""The fast step against the modules."""

from __future__ import annotations

import concurrent.futures
import copy
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import tiny
import torch
from tiny import STEP_VARIANTS, WIDE_GPT2, WIDE_TROCR
from torch import nn

from vision2seq.engine import program
from vision2seq.engine.library import instruction_set
from vision2seq.engine.trocr import step_for
from vision2seq.models.session import ModelSession
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

pytestmark = pytest.mark.skipif(program.library() is None, reason="the package was built without a C++ compiler")


def sessions(model: VisionEncoderDecoderModel, images: int = 2) -> tuple[ModelSession, ModelSession]:
    """The same images twice: with the fast step, and with the modules only."""
    memory = model.encode(tiny.pixels(images))[1].detach()
    fast, plain = ModelSession(model.decoder, memory), ModelSession(model.decoder, memory)
    assert fast._fast is not None
    plain._fast = None
    return fast, plain


@torch.no_grad()
def compare(model: VisionEncoderDecoderModel, images: int = 2) -> None:
    """Drives both through a prompt, more rows an image, rows that leave and trade places, and a growing cache."""
    fast, plain = sessions(model, images)
    prompt = tiny.ids(images, 3)
    assert torch.equal(fast.step(prompt).logits, plain.step(prompt).logits)
    rows = torch.arange(images).repeat_interleave(3)[1:]
    orders = [list(range(len(rows)))[::-1], [1, 1, 0, 2], [0], [0, 0, 0, 0]]
    for order in ([rows.tolist()], *[[order] for order in orders]):
        for session in (fast, plain):
            session.select(torch.tensor(order[0]))
        count = fast.batch_size
        for _ in range(2):
            tokens = torch.arange(count)[:, None] + tiny.PAD  # padding has a position of its own
            expected = plain.step(tokens).logits
            torch.testing.assert_close(fast.step(tokens).logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", STEP_VARIANTS)
def test_fast_steps_equal_the_modules(name: str) -> None:
    decoder, more = STEP_VARIANTS[name]
    compare(tiny.model(decoder, more=more))


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for decoder, more in (("trocr", WIDE_TROCR), ("gpt2", WIDE_GPT2)):
            compare(tiny.model(decoder, more=more), images=5)
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def test_a_cache_that_grows() -> None:
    """From an empty cache past its first capacity, the first token included."""
    fast, plain = sessions(tiny.model(more=WIDE_TROCR))
    for token in range(39):
        tokens = torch.tensor([[token], [token + 7]])
        torch.testing.assert_close(fast.step(tokens).logits, plain.step(tokens).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lowered", ["portable", "avx2"])
def test_other_instruction_sets(lowered: str, on_lesser_processor: Callable[[str, str], str]) -> None:
    """The code for lesser processors gives the same; where the processor has less still, so does what is chosen."""
    code = (
        "import tiny, test_step; "
        "from vision2seq.engine.library import instruction_set; print(instruction_set()); "
        "test_step.compare(tiny.model(more=tiny.WIDE_TROCR), 5); "
        "test_step.compare(tiny.model('gpt2', more=tiny.WIDE_GPT2), 5)"
    )
    found = on_lesser_processor(lowered, code)
    if platform.machine() == "x86_64" and instruction_set() != "portable":
        assert found.strip() == lowered


def test_generations_at_the_same_time_do_not_mix() -> None:
    model = tiny.model(more=WIDE_TROCR)
    images = [tiny.pixels(1, seed=seed) for seed in range(4)]
    expected = [model.generate(pixels, max_new_tokens=30) for pixels in images]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = pool.map(lambda pixels: model.generate(pixels, max_new_tokens=30), images)
            assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_without_compiled_code_the_modules_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model()
    expected = model.generate(tiny.pixels(), max_new_tokens=6)
    monkeypatch.setattr(program, "library", lambda: None)
    assert step_for(model.decoder) is None
    assert torch.equal(model.generate(tiny.pixels(), max_new_tokens=6), expected)


@torch.no_grad()
def test_weights_keep_values_names_and_ties(tmp_path: Path) -> None:
    model = tiny.model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.generate(tiny.pixels(), max_new_tokens=3)
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    saved = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(before[name], tensor) for name, tensor in saved.items())
    model.save_pretrained(tmp_path / "bin", safe_serialization=False)
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path / "bin")
    assert all(torch.equal(before[name], tensor) for name, tensor in again.state_dict().items())


@torch.no_grad()
def test_changes_of_weights_are_seen() -> None:
    """In place, by a new tensor, by another dtype, and in a copy: the next generation uses what is there."""
    model = tiny.model()
    pixels = tiny.pixels()

    def scores() -> torch.Tensor:
        output = model.generate(
            pixels, max_new_tokens=4, min_new_tokens=4, output_logits=True, return_dict_in_generate=True
        )
        plain = model(pixels, decoder_input_ids=output.sequences[:, :-1], use_cache=False).logits
        torch.testing.assert_close(torch.stack(output.logits, 1), plain, atol=1e-5, rtol=1e-5)
        return plain

    first = scores()
    layer = model.decoder.model.decoder.layers[0].self_attn
    layer.k_proj.weight.data.mul_(3)
    second = scores()
    assert not torch.allclose(first, second)
    layer.v_proj.weight.data = torch.randn_like(layer.v_proj.weight)
    layer.v_proj.bias.data = torch.randn_like(layer.v_proj.bias)
    third = scores()
    assert not torch.allclose(second, third)
    model.load_state_dict({name: tensor * 1.1 for name, tensor in model.state_dict().items()})
    assert not torch.allclose(third, scores())
    model = copy.deepcopy(model)
    scores()
    model = model.double()
    pixels = pixels.double()
    assert model.generate(pixels, max_new_tokens=3).shape[0] == 2


def test_training_goes_on_after_generating() -> None:
    model = tiny.model()
    model.generate(tiny.pixels(), max_new_tokens=3)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    labels = tiny.ids()[:, 1:]
    losses = []
    for _ in range(8):
        loss = model(tiny.pixels(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_the_modules_run_where_they_have_to() -> None:
    model = tiny.model()
    decoder = model.decoder
    assert step_for(decoder) is not None
    hook = decoder.model.decoder.layers[0].fc1.register_forward_hook(lambda *_: None)
    assert step_for(decoder) is None
    hook.remove()
    decoder.train()
    assert step_for(decoder) is None
    decoder.eval()

    class Adapter(nn.Linear):
        """What a fine-tuning library puts in the place of a layer."""

    decoder.model.decoder.layers[1].fc2 = Adapter(20, 12)
    assert step_for(decoder) is None
