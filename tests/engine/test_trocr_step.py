"""The fast step against the modules, and the memory layout that it rests on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import tiny
import torch
from torch import nn

from vision2seq.engine.layout import join, lay_out
from vision2seq.engine.trocr import TrOCRStep, step_for
from vision2seq.models.session import ModelSession
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

VARIANTS: dict[str, dict[str, Any]] = {
    "learned": {},
    "sinusoidal": {"use_learned_position_embeddings": False},
    "no norm of embeddings": {"layernorm_embedding": False},
    "untied": {"tie_word_embeddings": False},
    "scaled, relu": {"scale_embedding": True, "activation_function": "relu"},
    "projected": {"cross_attention_hidden_size": None},
    "wide feed-forward": {"decoder_ffn_dim": 40, "decoder_layers": 3},
}


def sessions(model: VisionEncoderDecoderModel, images: int = 2) -> tuple[ModelSession, ModelSession]:
    """The same images twice: with the fast step, and with the modules only."""
    memory = model.encode(tiny.pixels(images))[1].detach()
    fast, plain = ModelSession(model.decoder, memory), ModelSession(model.decoder, memory)
    assert isinstance(fast._fast, TrOCRStep)
    plain._fast = None
    return fast, plain


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_fast_steps_equal_the_modules(name: str) -> None:
    fast, plain = sessions(tiny.model(more=VARIANTS[name]))
    prompt = tiny.ids(2, 3)
    assert torch.equal(fast.step(prompt).logits, plain.step(prompt).logits)
    rows = torch.tensor([0, 0, 1, 1, 1])
    for session in (fast, plain):
        session.select(rows)
    tokens = torch.tensor([[7], [tiny.PAD], [9], [10], [11]])  # padding has a position of its own
    for order in ([4, 2, 0], [1, 1, 0, 2], [0]):
        torch.testing.assert_close(fast.step(tokens).logits, plain.step(tokens).logits, atol=1e-5, rtol=1e-5)
        for session in (fast, plain):
            session.select(torch.tensor(order))
        tokens = tokens[order] + 1
    torch.testing.assert_close(fast.step(tokens).logits, plain.step(tokens).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_weights_keep_values_names_and_ties(tmp_path: Path) -> None:
    model = tiny.model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.generate(tiny.pixels(), max_new_tokens=3)
    attention = model.decoder.model.decoder.layers[0].self_attn
    assert not attention.q_proj.weight.is_contiguous()  # it was laid out
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
        losses.append(float(loss))
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


def test_layouts() -> None:
    tall, flat = nn.Linear(3, 5), nn.Linear(5, 3)
    values = tall.weight.detach().clone()
    lay_out(tall)
    lay_out(flat)
    assert tall.weight.t().is_contiguous() and torch.equal(tall.weight, values)
    assert flat.weight.is_contiguous()
    parts = [nn.Linear(4, 3) for _ in range(3)]
    expected = torch.cat([part.weight.detach() for part in parts])
    weight, bias = join(*parts)
    assert torch.equal(weight, expected) and bias is not None and bias.shape == (9,)
    again, _ = join(*parts)
    assert again.data_ptr() == weight.data_ptr()  # nothing was copied the second time
    parts[1].weight.data.zero_()
    assert not weight[3:6].any() and weight[:3].any()
    without, none = join(nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False))
    assert none is None and without.shape == (6, 4)
