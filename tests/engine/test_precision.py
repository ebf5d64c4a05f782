"""precision=: packed weights against the same weights unpacked, and against what they were before."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny import STEP_VARIANTS
from torch.nn import functional as F

from vision2seq import AutoModelForVision2Seq
from vision2seq.engine import precision, program
from vision2seq.engine.library import library
from vision2seq.engine.packed import PackedEmbedding, PackedLinear, pack, unpack
from vision2seq.errors import OptionError, UnsupportedError
from vision2seq.models.session import ModelSession
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

KINDS = ("bf16", "int8")


def packed(model: VisionEncoderDecoderModel, kind: str) -> VisionEncoderDecoderModel:
    with torch.no_grad():
        precision.apply(model, precision=kind)
    return model


def linear(outputs: int, inputs: int, kind: str, *, bias: bool = True) -> PackedLinear:
    generator = torch.Generator().manual_seed(outputs * 1000 + inputs)
    layer = PackedLinear(inputs, outputs, bias=bias, kind=kind)
    layer.fill(torch.randn(outputs, inputs, generator=generator))
    if bias:
        layer.bias = torch.randn(outputs, generator=generator)
    return layer


def compare(kind: str) -> None:
    """Every width of a last block and a last group, rows up to more than share a pass, large and tiny inputs."""
    for outputs, inputs in [(1, 1), (15, 3), (16, 4), (17, 5), (48, 64), (65, 203), (130, 96), (301, 88)]:
        layer = linear(outputs, inputs, kind, bias=outputs % 2 == 0)
        for rows in (1, 2, 3, 4, 5, 9):
            generator = torch.Generator().manual_seed(rows)
            x = torch.randn(rows, inputs, generator=generator) * torch.tensor([1e-6, 1.0, 1e4])[rows % 3]
            expected = F.linear(x, layer.unpacked(), layer.bias)
            # Inputs are told apart in steps of 1/32512 of a row's largest: five standard deviations of that.
            error = 5 / 12**0.5 * x.abs().amax(1, keepdim=True) / 32512 * layer.unpacked().norm(dim=1)
            assert bool(((layer(x) - expected).abs() <= error + 1e-5 * (expected.abs() + x.abs().max())).all())
    zeros = linear(33, 40, kind)
    assert torch.equal(zeros(torch.zeros(2, 40)), zeros.bias.expand(2, -1))


@pytest.mark.parametrize("kind", KINDS)
def test_products(kind: str) -> None:
    compare(kind)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compare("int8")
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(library() is None, reason="the package was built without a C++ compiler")
@pytest.mark.parametrize("lowered", ["portable", "avx2", "avx512"])
def test_other_instruction_sets(lowered: str, on_lesser_processor: Callable[[str, str], str]) -> None:
    on_lesser_processor(lowered, "import test_precision as t; [t.compare(kind) for kind in t.KINDS]")


def test_without_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "library", lambda: None)
    for kind in KINDS:
        layer = linear(37, 21, kind)
        x = torch.randn(2, 3, 21)
        torch.testing.assert_close(layer(x), F.linear(x, layer.unpacked(), layer.bias))
        model = packed(tiny.model(), kind)
        assert model.generate(tiny.pixels(), max_new_tokens=4).shape[0] == 2


def test_rounding_to_eight_bits() -> None:
    weight = torch.randn(37, 21) * torch.logspace(-6, 3, 37)[:, None]
    weight[5] = 0
    blocks, scales, sums = pack(weight)
    again = unpack(blocks, scales, 37, 21)
    assert bool(((weight - again).abs() <= weight.abs().amax(1, keepdim=True) / 127 * 0.5001).all())
    assert blocks.dtype == torch.int8
    assert blocks.shape == (3, 6, 16, 4)
    assert sums[:37].tolist() == (again / scales[:37, None].clamp(min=1e-30)).round().sum(1).int().tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings(kind: str) -> None:
    table = PackedEmbedding(37, 21, kind, scale=3.0)
    table.fill(torch.randn(37, 21))
    ids = torch.tensor([[0, 36, 15], [16, 17, 5]])
    torch.testing.assert_close(table(ids), table.unpacked()[ids] * 3)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STEP_VARIANTS)
def test_steps_equal_the_modules(name: str, kind: str) -> None:
    """The compiled steps of packed weights give what their layers' forward gives, token by token and all at once."""
    decoder, more = STEP_VARIANTS[name]
    model = packed(tiny.model(decoder, more=more), kind)
    output = model.generate(
        tiny.pixels(3),
        max_new_tokens=7,
        min_new_tokens=7,
        output_logits=True,
        stop_on_repetition=False,
        return_dict_in_generate=True,
    )
    memory = model.encode(tiny.pixels(3))[1]
    if library() is not None:
        assert ModelSession(model.decoder, memory)._fast is not None
    whole = model(tiny.pixels(3), decoder_input_ids=output.sequences[:, :-1], use_cache=False).logits
    found = torch.stack(output.logits, 1)
    scale = float(found.abs().max())
    torch.testing.assert_close(found, whole.float(), atol=2e-3 * scale, rtol=0)
    plain = model.generate(tiny.pixels(3), max_new_tokens=7, min_new_tokens=7, stop_on_repetition=False)
    assert torch.equal(plain, output.sequences)
    beams = model.generate(tiny.pixels(3), max_new_tokens=5, num_beams=3)
    assert beams.shape[0] == 3


@torch.no_grad()
@pytest.mark.parametrize(("kind", "most"), [("bf16", 0.02), ("int8", 0.04)])
@pytest.mark.parametrize("decoder", ["trocr", "gpt2", "bert", "mbart"])
def test_how_far_from_full_precision(decoder: str, kind: str, most: float) -> None:
    more = {"trocr": tiny.WIDE_TROCR, "mbart": tiny.WIDE_TROCR, "gpt2": tiny.WIDE_GPT2, "bert": tiny.WIDE_BERT}[decoder]
    model = tiny.model(decoder, more=more)
    ids = tiny.ids(2, 6)
    before = model(tiny.pixels(), decoder_input_ids=ids).logits
    after = packed(model, kind)(tiny.pixels(), decoder_input_ids=ids).logits
    assert float((after - before).norm() / before.norm()) < most


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decoder", sorted(tiny.DECODERS))
@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_loaded(decoder: str, kind: str, tied: bool, tmp_path: Path) -> None:
    model = packed(tiny.model(decoder, more={"tie_word_embeddings": tied}), kind)
    options: dict[str, Any] = {"max_new_tokens": 6, "output_logits": True, "return_dict_in_generate": True}
    expected = model.generate(tiny.pixels(), **options)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["quantization_config"] == {"precision": kind, "quant_method": "vision2seq"}
    again, info = AutoModelForVision2Seq.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert again.precision == kind
    found = again.generate(tiny.pixels(), **options)
    assert torch.equal(found.sequences, expected.sequences)
    for one, other in zip(found.logits, expected.logits, strict=True):
        assert torch.equal(one, other)
    embeddings, head = again.decoder.get_input_embeddings(), again.decoder.get_output_embeddings()
    assert (embeddings.weight.data_ptr() == head.weight.data_ptr()) is tied
    assert AutoModelForVision2Seq.from_pretrained(tmp_path, precision=kind).precision == kind


def test_loading_packs(tmp_path: Path) -> None:
    model = tiny.model()
    model.half().save_pretrained(tmp_path)
    assert not model.training
    for kind, layer in (("int8", torch.int8), ("bf16", torch.bfloat16)):
        loaded = AutoModelForVision2Seq.from_pretrained(tmp_path, precision=kind)
        assert loaded.decoder.model.decoder.layers[0].fc1.weight.dtype == layer
        assert loaded.decoder.model.decoder.layers[0].final_layer_norm.weight.dtype == torch.float32
        assert loaded.precision == kind
    plain = AutoModelForVision2Seq.from_pretrained(tmp_path, precision="fp32")
    assert plain.precision == "fp32"
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.float32}


def test_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.settle("auto") == ("fp32" if library() is None else "int8")
    monkeypatch.setattr(precision, "library", lambda: None)
    for native, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda native=native: native)
        assert precision.settle("auto") == expected


def test_without_bfloat16_products_the_encoder_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    model = packed(tiny.model(), "int8")
    assert {parameter.dtype for parameter in model.encoder.parameters()} == {torch.float32}
    assert model.generate(tiny.pixels(), max_new_tokens=4).shape[0] == 2


def test_what_packed_weights_cannot_do(tmp_path: Path) -> None:
    model = packed(tiny.model(), "int8")
    with pytest.raises(
        UnsupportedError, match="packed as int8 cannot be trained: load the model with precision='fp32'"
    ):
        model.train()
    with pytest.raises(UnsupportedError, match="Gradients do not go through weights that are packed as int8"):
        model(tiny.pixels().requires_grad_(), decoder_input_ids=tiny.ids())
    for change in (model.half, model.bfloat16, model.double):
        with pytest.raises(UnsupportedError, match="packed as int8 cannot become another dtype"):
            change()
    model.save_pretrained(tmp_path)
    with pytest.raises(OptionError, match="is packed as int8, which cannot be undone, but precision='fp32' was asked"):
        AutoModelForVision2Seq.from_pretrained(tmp_path, precision="fp32")
    with pytest.raises(OptionError, match="is packed as int8, which cannot be undone, but dtype='float16' was asked"):
        AutoModelForVision2Seq.from_pretrained(tmp_path, dtype="float16")


def test_wrong_precisions(tmp_path: Path) -> None:
    tiny.model().save_pretrained(tmp_path)
    with pytest.raises(OptionError, match=r"precision='int9' is unknown\. Did you mean 'int8'\? Known: fp32, bf16"):
        AutoModelForVision2Seq.from_pretrained(tmp_path, precision="int9")
    with pytest.raises(OptionError, match="precision='int8' and dtype='float16' were given; give one of them"):
        AutoModelForVision2Seq.from_pretrained(tmp_path, precision="int8", dtype="float16")
    model = tiny.model()
    with pytest.raises(UnsupportedError, match="was asked of a TrOCRForCausalLM; only a VisionEncoderDecoderModel"):
        precision.apply(model.decoder, precision="int8")
    model.decoder.__class__.image_projections, kept = None, model.decoder.__class__.image_projections
    try:
        with pytest.raises(UnsupportedError, match="is not built for decoders of the type trocr; use precision='fp32'"):
            precision.apply(model, precision="int8")
    finally:
        model.decoder.__class__.image_projections = kept


def test_a_copy_of_a_packed_model() -> None:
    model = packed(tiny.model(), "int8")
    expected = model.generate(tiny.pixels(), max_new_tokens=6)
    assert torch.equal(copy.deepcopy(model).generate(tiny.pixels(), max_new_tokens=6), expected)
