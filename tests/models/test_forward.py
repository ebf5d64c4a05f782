"""The forward pass on its own: messages, the loss rule, positions, checkpointing, first weights."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.errors import ConfigError, ImageError, OptionError, UnknownOptionError
from vision2seq.layers.activations import ACTIVATIONS, activation
from vision2seq.layers.outputs import EncoderOutput, Seq2SeqOutput
from vision2seq.models.base import PreTrainedModel
from vision2seq.models.decoders.trocr import SinusoidalPositions
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel, cross_entropy, shift_tokens_right

torch.set_num_threads(1)

DECODERS = sorted(tiny.DECODERS)


# ------------------------------------------------------------------------------------------------------------ messages


def test_pixels_that_do_not_fit() -> None:
    built = tiny.model()
    with pytest.raises(
        ImageError, match=r"are 24×16 \(height×width\); this model was built for 16×16\. Use the checkpoint's"
    ):
        built(tiny.pixels(size=(24, 16)), tiny.ids())
    for wrong in (torch.zeros(2, 1, 16, 16), torch.zeros(3, 16, 16), torch.zeros(2, 16, 16, 3)):
        with pytest.raises(ImageError, match=r"have the shape \[.*\]; this model expects \[images, 3, 16, 16\]"):
            built(wrong, tiny.ids())
    with pytest.raises(OptionError, match="You have to specify pixel_values, or encoder_outputs instead"):
        built(decoder_input_ids=tiny.ids())
    assert built(tiny.pixels(size=(24, 16)), tiny.ids(), interpolate_pos_encoding=True).logits.shape == (2, 6, 37)
    assert built(tiny.pixels().double(), tiny.ids()).logits.dtype == torch.float32


@pytest.mark.parametrize("decoder", DECODERS)
def test_tokens_that_do_not_fit(decoder: str) -> None:
    built = tiny.model(decoder)
    embeds = torch.zeros(2, 3, 12)
    with pytest.raises(OptionError, match="Pass either decoder_input_ids or decoder_inputs_embeds .*neither was given"):
        built(tiny.pixels())
    with pytest.raises(OptionError, match="both were given"):
        built(tiny.pixels(), tiny.ids(), decoder_inputs_embeds=embeds)
    with pytest.raises(OptionError, match="17 tokens are more than the 16 positions that this decoder has; shorten"):
        built(tiny.pixels(), tiny.ids(length=17))
    state = built(tiny.pixels(), tiny.ids(length=16), use_cache=True).past_key_values
    with pytest.raises(OptionError, match="17 tokens are more than the 16 positions"):
        built(tiny.pixels(), tiny.ids(length=1), past_key_values=state)
    with pytest.raises(OptionError, match="past_key_values is a tuple; expected the DecoderCache of an earlier output"):
        built(tiny.pixels(), tiny.ids(), past_key_values=((1, 2),))
    if decoder == "trocr-sinusoidal":
        with pytest.raises(ConfigError, match="counted over token ids, which decoder_inputs_embeds do not tell"):
            built(tiny.pixels(), decoder_inputs_embeds=embeds)


def test_unknown_arguments() -> None:
    built = tiny.model()
    with pytest.raises(
        UnknownOptionError, match=r"Unknown argument 'interpolate_positions'.*Did you mean 'interpolate_pos"
    ):
        built(tiny.pixels(), tiny.ids(), interpolate_positions=True)
    with pytest.raises(TypeError, match=r"Unknown argument 'decoder_last': TrOCRForCausalLM does not take 'last'"):
        built(tiny.pixels(), tiny.ids(), decoder_last=True)


@pytest.mark.parametrize("name", ["decoder_start_token_id", "pad_token_id"])
def test_labels_without_an_id(name: str) -> None:
    built = tiny.model(**{name: None})
    with pytest.raises(ConfigError, match=rf"Make sure to set the {name} attribute.*Set model\.config\.{name} to"):
        built(tiny.pixels(), labels=tiny.ids())
    setattr(built.config, name, 3)  # set after loading, as old scripts do
    assert built(tiny.pixels(), labels=tiny.ids()).loss > 0


def test_gpt2_without_cross_attention() -> None:
    built = tiny.model("gpt2")
    blind = type(built.decoder)._from_config(tiny.config("gpt2").decoder)
    blind.config.add_cross_attention = False
    with pytest.raises(OptionError, match="has no cross-attention and cannot read images; its config needs add_cross"):
        blind(tiny.ids(), encoder_hidden_states=torch.zeros(2, 5, 12))
    plain = type(built.decoder)(blind.config)
    assert not any("crossattention" in name for name in plain.state_dict())
    assert plain(tiny.ids(), output_attentions=True).cross_attentions is None


def test_unknown_activation() -> None:
    with pytest.raises(ConfigError, match=r"Unknown activation function 'relo'\. Did you mean 'relu'\?"):
        activation("relo")
    x = torch.linspace(-3, 3, 50)
    exact = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    for name in ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"):
        assert (ACTIVATIONS[name](x) - exact).abs().max() < 2e-3
    torch.testing.assert_close(ACTIVATIONS["silu"](x), x / (1 + torch.exp(-x)))
    torch.testing.assert_close(ACTIVATIONS["quick_gelu"](x), x / (1 + torch.exp(-1.702 * x)))
    torch.testing.assert_close(ACTIVATIONS["gelu_new"](x), F.gelu(x, approximate="tanh"))


# ---------------------------------------------------------------------------------------------------------------- loss


def test_labels_are_shifted_once() -> None:
    labels = torch.tensor([[5, 6, 7, -100], [8, -100, 9, 2]])
    assert shift_tokens_right(labels, 1, 2).tolist() == [[2, 5, 6, 7], [2, 8, 1, 9]]
    assert labels[0, 3] == -100, "labels given are not written to"


def test_cross_entropy_by_hand() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5), torch.tensor([[1, 4, -100], [0, -100, 2]])
    terms = [
        -math.log(float(logits[b, t].softmax(0)[labels[b, t]])) for b in range(2) for t in range(3) if labels[b, t] >= 0
    ]
    assert float(cross_entropy(logits, labels)) == pytest.approx(sum(terms) / 4, rel=1e-5)
    assert float(cross_entropy(logits, labels, num_items_in_batch=10)) == pytest.approx(sum(terms) / 10, rel=1e-5)
    count = torch.tensor(10)
    assert float(cross_entropy(logits, labels, num_items_in_batch=count)) == pytest.approx(sum(terms) / 10, rel=1e-5)
    spread = [
        -float(logits[b, t].log_softmax(0).mean()) for b in range(2) for t in range(3) if labels[b, t] >= 0
    ]  # fmt: skip
    smooth = 0.8 * sum(terms) / 4 + 0.2 * sum(spread) / 4
    assert float(cross_entropy(logits, labels, label_smoothing=0.2)) == pytest.approx(smooth, rel=1e-5)
    assert cross_entropy(logits.half(), labels).dtype == torch.float32


def test_accumulated_gradients_weigh_every_token_equally() -> None:
    built = tiny.model()
    labels = tiny.ids(3, 6)
    labels[0, 2:] = labels[1, 4:] = -100
    built(tiny.pixels(3), labels=labels).loss.backward()
    whole = {name: p.grad for name, p in built.named_parameters() if p.grad is not None}
    built.zero_grad(set_to_none=True)
    items = int((labels != -100).sum())
    for row in range(3):
        built(tiny.pixels(3)[row : row + 1], labels=labels[row : row + 1], num_items_in_batch=items).loss.backward()
    parts = {name: p.grad for name, p in built.named_parameters() if p.grad is not None}
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-6, rtol=1e-3)


# ----------------------------------------------------------------------------------------------------------- positions


@pytest.mark.parametrize(("channels", "padding"), [(8, 1), (7, 1), (16, 3), (6, 0)])
def test_sinusoids_by_the_formula(channels: int, padding: int) -> None:
    positions = SinusoidalPositions(20, channels, padding)
    ids = torch.full((2, 5), padding + 4)
    ids[0, 0] = ids[1, 3] = padding
    numbers = [[padding, padding + 1, padding + 2, padding + 3, padding + 4],
               [padding + 1, padding + 2, padding + 3, padding, padding + 4]]  # fmt: skip
    half = channels // 2
    for past in (0, 6):
        found = positions(ids, 5, past)
        for row in range(2):
            for column in range(5):
                number = numbers[row][column]
                if number == padding:
                    assert found[row, column].eq(0).all()
                    continue
                for channel in range(channels):
                    angle = (number + past) * 10000 ** (-(channel % half) / (half - 1)) if channel < 2 * half else 0
                    value = 0.0 if channel >= 2 * half else (math.sin(angle) if channel < half else math.cos(angle))
                    assert float(found[row, column, channel]) == pytest.approx(value, abs=1e-5)
    assert positions.state_dict() == {}


def test_the_table_of_sinusoids_grows_and_keeps_its_dtype() -> None:
    positions = SinusoidalPositions(4, 8, 1)
    reference = SinusoidalPositions(64, 8, 1)
    ids = torch.full((1, 3), 9)
    assert torch.equal(positions(ids, 3, 40), reference(ids, 3, 40))
    positions = SinusoidalPositions(4, 8, 1).half()
    assert positions(torch.full((1, 30), 9), 30, 0).dtype == torch.float16


# ----------------------------------------------------------------------------------------------------------- switches


@pytest.mark.parametrize("decoder", DECODERS)
def test_gradient_checkpointing_computes_layers_twice(decoder: str) -> None:
    built, calls = tiny.model(decoder).train(), []
    layers = [*built.encoder.encoder.layer, *built.decoder.layers()]
    for layer in layers:
        layer.register_forward_pre_hook(lambda *_: calls.append(1))  # a second computation stops when it has enough

    def run() -> tuple[int, dict[str, torch.Tensor]]:
        calls.clear()
        built.zero_grad(set_to_none=True)
        built(tiny.pixels(), labels=tiny.ids()).loss.backward()
        return len(calls), {name: p.grad for name, p in built.named_parameters() if p.grad is not None}

    once, plain = run()
    built.gradient_checkpointing_enable({"use_reentrant": False})
    twice, again = run()
    assert built.is_gradient_checkpointing
    assert (once, twice) == (len(layers), 2 * len(layers))
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient)
    state = built(tiny.pixels(), tiny.ids(length=3), use_cache=True).past_key_values
    assert state is None, "checkpointing in training keeps no cache, as in the reference"
    calls.clear()
    built.eval()(tiny.pixels(), tiny.ids()).logits.sum().backward()
    assert len(calls) == len(layers), "evaluation computes once"
    built.gradient_checkpointing_disable()
    assert not built.is_gradient_checkpointing


@pytest.mark.parametrize("decoder", DECODERS)
def test_cache_switches(decoder: str) -> None:
    built = tiny.model(decoder)
    inputs = (tiny.pixels(), tiny.ids())
    assert built(*inputs).past_key_values.get_seq_length() == 6
    assert built(*inputs, use_cache=False).past_key_values is None
    built.decoder.config.use_cache = False
    assert built(*inputs).past_key_values is None
    assert built(*inputs, use_cache=True).past_key_values.rows == 2
    built.decoder.config.use_cache = True
    assert built.train()(*inputs).past_key_values is None
    built(*inputs, use_cache=True).logits.sum().backward()
    last = built.eval()(*inputs, decoder_last_only=True).logits
    torch.testing.assert_close(last, built(*inputs).logits[:, -1:])


def test_layerdrop_only_in_training() -> None:
    built = tiny.model(more={"decoder_layerdrop": 1.0})
    inputs = (tiny.pixels(), tiny.ids())
    whole = built(*inputs, output_hidden_states=True)
    assert (whole.decoder_hidden_states[0] - whole.decoder_hidden_states[-1]).abs().max() > 0.1
    built.train()
    dropped = built(*inputs).logits
    embedded = whole.decoder_hidden_states[0]
    torch.testing.assert_close(dropped, built.decoder.head(embedded))
    torch.testing.assert_close(built(*inputs, use_cache=True).logits, whole.logits)  # a cache has all layers


@pytest.mark.parametrize("decoder", ["trocr", "gpt2"])
def test_dropout_only_in_training(decoder: str) -> None:
    rates = {"dropout": 0.5, "attention_dropout": 0.3, "activation_dropout": 0.3}
    if decoder == "gpt2":
        rates = {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.3}
    encoder = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    built = tiny.model(decoder, more=rates, encoder=encoder)
    inputs = (tiny.pixels(), tiny.ids())
    assert torch.equal(built(*inputs).logits, built(*inputs).logits)
    built.train()
    assert not torch.equal(built(*inputs).logits, built(*inputs).logits)
    for name, module in built.named_modules():  # every rate counts
        if isinstance(module, nn.Dropout) and module.p:
            assert module.p == 0.3, name


def test_outputs() -> None:
    output = Seq2SeqOutput(logits=torch.ones(2), encoder_hidden_states=(torch.zeros(1),))
    assert list(output) == output.keys() == ["logits", "encoder_hidden_states"]
    assert output[0] is output["logits"] is output.logits is output.values()[0]
    assert output[-1] == output.to_tuple()[1] == output.items()[1][1]
    assert len(output) == len(output[0:]) == 2
    assert ("loss" in output, "logits" in output) == (False, True)
    assert output.get("loss") is None
    assert dict(**output).keys() == {"logits", "encoder_hidden_states"}
    with pytest.raises(KeyError):
        output["loss"]
    with pytest.raises(IndexError):
        output[2]
    assert len(EncoderOutput(torch.ones(1), None, (1,)).to_tuple()) == 2


# ------------------------------------------------------------------------------------------------------- first weights


def wide(decoder: str) -> VisionEncoderDecoderConfig:
    sizes: dict[str, Any] = {
        "d_model": 64,
        "decoder_ffn_dim": 128,
        "vocab_size": 500,
        "cross_attention_hidden_size": None,
    }
    if decoder == "gpt2":
        sizes = {"n_embd": 64, "vocab_size": 500, "initializer_range": 0.05}
    elif tiny.DECODERS[decoder].keys() >= tiny.BERT.keys():
        sizes = {"hidden_size": 64, "intermediate_size": 128, "vocab_size": 500, "initializer_range": 0.05}
        sizes["embedding_size"] = 48  # only ELECTRA's
    else:
        sizes["init_std"] = 0.05
    return tiny.config(decoder, encoder={"hidden_size": 80, "intermediate_size": 160, "image_size": 64}, more=sizes)


@pytest.mark.parametrize("encoder", ["vit", "deit"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_fresh_weights(decoder: str, encoder: str) -> None:
    config = wide(decoder)
    config = VisionEncoderDecoderConfig(
        encoder=config.encoder.to_dict() | {"model_type": encoder}, decoder=config.decoder, pad_token_id=1
    )
    torch.manual_seed(0)
    built = VisionEncoderDecoderModel._from_config(config)
    assert built.training
    residual = 0.05 / math.sqrt(2 * 2)
    for name, tensor in built.state_dict().items():
        owner = name.replace("prelayernorm", "")
        norm = any(part in owner.lower() for part in ("layernorm", "layer_norm", ".ln_"))
        if norm or name.endswith("bias"):
            assert tensor.eq(1.0 if norm and name.endswith("weight") else 0.0).all(), name
            continue
        if decoder in ("marian", "pegasus") and "embed_positions" in name:
            continue  # computed, see test_pretrained.py
        wanted = 0.02 if name.startswith("encoder.") or "enc_to_dec" in name else 0.05
        if decoder == "gpt2" and name.endswith(".c_proj.weight"):
            wanted = residual
        assert float(tensor.std()) == pytest.approx(wanted, rel=0.25 if tensor.numel() < 500 else 0.1), name
        assert abs(float(tensor.mean())) < 0.3 * wanted, name
    if decoder != "gpt2":
        embeddings = built.get_input_embeddings().weight
        assert embeddings[config.decoder.pad_token_id].eq(0).all()
        tied = built.get_output_embeddings().weight is embeddings
        assert tied == (decoder != "trocr-sinusoidal")
    assert built(tiny.pixels(size=(64, 64)), tiny.ids()).logits.isfinite().all()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, "bfloat16"])
def test_fresh_weights_of_any_dtype(decoder: str, dtype: Any) -> None:
    built = VisionEncoderDecoderModel._from_config(tiny.config(decoder), dtype=dtype)
    expected = dtype if isinstance(dtype, torch.dtype) else torch.bfloat16
    assert {t.dtype for t in [*built.parameters(), *built.buffers()]} == {expected}
    assert built.dtype == expected
    assert built.eval()(tiny.pixels(), tiny.ids()).logits.isfinite().all()


def test_the_same_seed_draws_the_same_weights() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(VisionEncoderDecoderModel._from_config(tiny.config()).encoder.encoder.layer[0].output.dense.weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    direct = VisionEncoderDecoderModel(tiny.config("trocr-sinusoidal")).eval()
    assert direct(tiny.pixels(), tiny.ids()).logits.isfinite().all()


def test_loading_imports_no_compiler(tmp_path: Path) -> None:
    """Building on meta must not call what PyTorch implements in Python there: that imports for seconds."""
    for decoder in DECODERS:
        tiny.checkpoint(tmp_path / decoder, decoder)
    code = f"""
import sys, tiny, torch
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel as Model
before = set(sys.modules)
for decoder in {DECODERS!r}:
    Model.from_pretrained({str(tmp_path)!r} + "/" + decoder)(tiny.pixels(), tiny.ids())
    Model._from_config(tiny.config(decoder))
print(sorted(name for name in set(sys.modules) - before if name.startswith(("sympy", "torch._dynamo", "torch.fx"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_models_say_what_they_are() -> None:
    built = tiny.model()
    assert isinstance(built, PreTrainedModel)
    assert built.main_input_name == built.encoder.main_input_name == "pixel_values"
    assert built.get_encoder() is built.encoder
    assert built.get_decoder() is built.decoder
    assert built.get_input_embeddings() is built.decoder.get_input_embeddings()
    assert built.get_output_embeddings() is built.decoder.output_projection
    assert built.encoder.get_input_embeddings() is None
    assert built.device == torch.device("cpu")
    assert built.num_parameters() == sum(p.numel() for p in built.parameters())
    built.encoder.requires_grad_(False)
    assert built.num_parameters(only_trainable=True) == sum(p.numel() for p in built.decoder.parameters())
