"""TensorFlow's and Flax' checkpoints give the tensors that PyTorch saves, bit by bit, under the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vision2seq.checkpoints.bundle_reader import read_bundle
from vision2seq.checkpoints.h5_reader import read_h5
from vision2seq.checkpoints.names_flax import from_flax
from vision2seq.checkpoints.names_tf import from_tensorflow

Golden = Callable[[str, str], Path]

JOINED = ("vit-gpt2", "deit-bert", "swin-roberta", "vit-bert")
HALVES = ("vit", "deit", "swin", "gpt2", "bert", "roberta", "bart", "mbart")
ENCODERS = ("vit", "deit", "swin", "beit")


def assert_same(found: Iterable[tuple[str, Tensor]], expected: dict[str, Tensor], prefix: str = "") -> None:
    """The same names but for a prefix, and the same bits; whole numbers may be shorter ones."""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in found}
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == expected[name].dtype or not tensor.is_floating_point(), name
        assert torch.equal(tensor.to(expected[name].dtype), expected[name]), name


@pytest.mark.parametrize("form", ["h5", "objects"])
@pytest.mark.parametrize("name", [*JOINED, *(f"half-{name}" for name in HALVES)])
def test_tensorflow(golden: Golden, name: str, form: str) -> None:
    folder = golden("tensorflow", name)
    stored = (
        read_h5(folder / "h5/tf_model.h5") if form == "h5" else read_bundle(folder / "objects" / "model.ckpt.index")
    )
    half = name.removeprefix("half-")
    # An encoder alone is saved by TensorFlow below its kind's name, by PyTorch not; loading knows that prefix.
    prefix = f"{half}." if half in ENCODERS else ""
    assert_same((from_tensorflow(*pair) for pair in stored), load_file(folder / "expected.safetensors"), prefix)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_as_first_published(golden: Golden, name: str) -> None:
    """By TensorFlow 1: BERT of Google, and GPT-2 of OpenAI."""
    folder = golden("tensorflow", f"published-{name}")
    stored = read_bundle(folder / f"{name}_model.ckpt.index")
    assert_same((from_tensorflow(*pair) for pair in stored), load_file(folder / "expected.safetensors"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tf_vi_t_model/vit/layernorm/gamma:0", "vit.layernorm.weight"),
        ("vit/layernorm/beta", "vit.layernorm.bias"),
        ("named_by_somebody/encoder/deit/layernorm/beta:0", "encoder.layernorm.bias"),
        ("m/decoder/transformer/h_._11/ln_1/gamma:0", "decoder.transformer.h.11.ln_1.weight"),
        ("m/decoder/transformer/wte/embeddings:0", "decoder.transformer.wte.weight"),
        ("m/decoder/mlm___cls/predictions/bias:0", "decoder.cls.predictions.bias"),
        ("mlm___cls/predictions/bias:0", "cls.predictions.bias"),
        ("m/stage/norm/moving_mean:0", "stage.norm.running_mean"),
        ("m/stage/norm/moving_variance:0", "stage.norm.running_var"),
        ("m/enc_to_dec_proj/bias:0", "enc_to_dec_proj.bias"),
        ("final_logits_bias", "final_logits_bias"),
        ("m/encoder/swin/encoder/layers.0/blocks.1/a:0", "encoder.encoder.layers.0.blocks.1.a"),
        ("bert/encoder/layer_._0/output/dense/bias", "bert.encoder.layer.0.output.dense.bias"),
    ],
)
def test_names_of_tensorflow(name: str, expected: str) -> None:
    assert from_tensorflow(name, torch.ones(3))[0] == expected


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("m/x/kernel:0", (2, 3), (3, 2)),
        ("m/x/kernel:0", (2, 3, 4), (4, 3, 2)),
        ("m/x/kernel:0", (2, 3, 4, 5), (5, 4, 2, 3)),
        ("m/h/c_attn/weight:0", (2, 6), (2, 6)),
        ("m/h/c_attn/bias:0", (1, 6), (6,)),
        ("m/final_logits_bias:0", (1, 6), (1, 6)),
        ("m/embeddings/position_embeddings:0", (1, 5, 2), (1, 5, 2)),
        ("m/relative_position_bias_table:0", (9, 2), (9, 2)),
    ],
)
def test_layouts_of_tensorflow(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert from_tensorflow(name, torch.ones(shape))[1].shape == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder.layernorm.scale", "encoder.layernorm.weight"),
        ("decoder.transformer.wte.embedding", "decoder.transformer.wte.weight"),
        ("params.stage.norm.bias", "stage.norm.bias"),
        ("batch_stats.stage.norm.mean", "stage.norm.running_mean"),
        ("batch_stats.stage.norm.var", "stage.norm.running_var"),
        ("embeddings.cls_token", "embeddings.cls_token"),
        ("kernel", "weight"),
    ],
)
def test_names_of_flax(name: str, expected: str) -> None:
    assert from_flax(name, torch.ones(3))[0] == expected


def test_layouts_of_flax() -> None:
    for shape, expected in (((2, 3), (3, 2)), ((2, 3, 4), (4, 3, 2)), ((2, 3, 4, 5), (5, 4, 2, 3)), ((2,), (2,))):
        assert from_flax("x.kernel", torch.ones(shape))[1].shape == expected
    assert from_flax("x.embedding", torch.ones(2, 3))[1].shape == (2, 3)
