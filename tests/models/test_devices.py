"""Models on several devices: the same results wherever their pieces lie.

There is one device that computes here, the CPU, so pieces lie on the disk, or compute on "meta", which has shapes and
no numbers. That inputs and weights come together on a device is what accelerate's hooks do in the same way for GPUs.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from vision2seq import AutoModelForVision2Seq, ViTModel, registry
from vision2seq.errors import MissingPackageError, OptionError
from vision2seq.models import devices

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose halves have different widths; tests do not write to it."""
    return tiny.checkpoint(tmp_path_factory.mktemp("devices") / "model", "gpt2")


def outputs(model: Any) -> list[Tensor]:
    """Logits, and texts by greedy and by beam search."""
    pixels = tiny.pixels()
    with torch.no_grad():
        logits = model(pixel_values=pixels, decoder_input_ids=tiny.ids()).logits
    return [logits, model.generate(pixels, max_length=8), model.generate(pixels, max_length=8, num_beams=3)]


def on_meta(model: Any) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.is_meta]


MAPS: list[dict[str, str]] = [
    {"": "disk"},
    {"encoder": "cpu", "decoder": "disk", "enc_to_dec_proj": "disk"},
    {"encoder": "disk", "decoder": "cpu", "enc_to_dec_proj": "cpu"},
    {"": "cpu", "encoder.encoder.layer.0": "disk", "encoder.layernorm": "disk"},
    {"": "cpu", "decoder.transformer": "disk", "decoder.lm_head": "disk"},
]


@pytest.mark.parametrize("device_map", MAPS)
def test_pieces_may_lie_on_the_disk(folder: Path, tmp_path: Path, device_map: dict[str, str]) -> None:
    plain = AutoModelForVision2Seq.from_pretrained(folder)
    model = AutoModelForVision2Seq.from_pretrained(folder, device_map=device_map, offload_folder=tmp_path / "disk")
    assert on_meta(model)
    assert (model.device, model.decoder.device) == (torch.device("cpu"), torch.device("cpu"))
    for found, expected in zip(outputs(model), outputs(plain), strict=True):
        assert torch.equal(found, expected)
    assert on_meta(model)  # and are there again afterwards
    model.save_pretrained(tmp_path / "saved")
    saved, state = AutoModelForVision2Seq.from_pretrained(tmp_path / "saved"), plain.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in saved.state_dict().items())


@pytest.mark.parametrize("decoder", [name for name in tiny.DECODERS if name != "gpt2"])
def test_all_decoders_may_lie_on_the_disk(tmp_path: Path, decoder: str) -> None:
    folder = tiny.checkpoint(tmp_path / "model", decoder)
    model = AutoModelForVision2Seq.from_pretrained(folder, device_map={"": "disk"}, offload_folder=tmp_path)
    for found, expected in zip(outputs(model), outputs(tiny.model(decoder)), strict=True):
        assert torch.equal(found, expected)


SWIN = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 2], "num_heads": [2, 2], "window_size": 2}
BEIT = {"model_type": "beit", "use_relative_position_bias": True, "layer_scale_init_value": 0.1}
ENCODERS: list[dict[str, Any]] = [
    *({"model_type": name} | (SWIN if "swin" in name else {}) for name in sorted(registry.ENCODERS)),
    BEIT,
    {"model_type": "beit", "use_shared_relative_position_bias": True},
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: str(encoder["model_type"]))
def test_all_encoders_may_lie_on_the_disk(tmp_path: Path, encoder: dict[str, Any]) -> None:
    name = encoder["model_type"]
    values = (tiny.VIT if "swin" not in name else {}) | encoder
    model = registry.model_class(name, "encoder")._from_config(registry.config_class(name, "encoder").from_dict(values))
    model.eval().save_pretrained(tmp_path / "model")
    found = type(model).from_pretrained(tmp_path / "model", device_map={"": "disk"}, offload_folder=tmp_path)
    with torch.no_grad():
        assert torch.equal(found(tiny.pixels())[0], model(tiny.pixels())[0])


def test_what_lies_on_the_disk_goes_with_the_model(folder: Path, tmp_path: Path) -> None:
    first, second = (
        AutoModelForVision2Seq.from_pretrained(folder, device_map={"": "disk"}, offload_folder=tmp_path)
        for _ in range(2)
    )
    assert len(list(tmp_path.iterdir())) == 2
    del first
    gc.collect()
    assert len(list(tmp_path.iterdir())) == 1
    assert second.hf_device_map == {"": "disk"}
    assert len(outputs(second)) == 3


def test_memory_decides(folder: Path, tmp_path: Path) -> None:
    size = {name: sum(p.numel() * 4 for p in half.parameters()) for name, half in tiny.model("gpt2").named_children()}
    room = {"cpu": size["encoder"] + size["decoder"] + 100}
    model = AutoModelForVision2Seq.from_pretrained(folder, device_map="auto", max_memory=room, offload_folder=tmp_path)
    assert model.hf_device_map["encoder"] == "cpu"
    assert "disk" in model.hf_device_map.values()
    assert torch.equal(outputs(model)[1], outputs(tiny.model("gpt2"))[1])
    for strategy in ("sequential", "balanced", "balanced_low_0", "auto"):  # there is no GPU
        if not torch.cuda.is_available():
            model = AutoModelForVision2Seq.from_pretrained(folder, device_map=strategy)
            assert (model.device.type, hasattr(model, "hf_device_map")) == ("cpu", False)


def test_a_half_alone(tmp_path: Path) -> None:
    encoder = tiny.model().encoder
    encoder.save_pretrained(tmp_path / "model")
    device_map = {"": "cpu", "encoder.layer.1": "disk"}
    found = ViTModel.from_pretrained(tmp_path / "model", device_map=device_map, offload_folder=tmp_path)
    assert {name.split(".")[0:3][-1] for name in on_meta(found)} == {"1"}
    with torch.no_grad():
        assert torch.equal(found(tiny.pixels())[0], encoder(tiny.pixels())[0])


def test_what_lies_elsewhere_comes_to_where_the_model_begins(folder: Path) -> None:
    """As weights on the CPU come to a GPU."""
    model = AutoModelForVision2Seq.from_pretrained(folder, device_map={"": "cpu", "decoder": "meta"})
    assert model.device.type == "meta"
    assert model(pixel_values=tiny.pixels(), decoder_input_ids=tiny.ids()).logits.shape == (2, 6, tiny.VOCABULARY)


def test_inputs_follow_the_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices that compute: the encoder's first layers on the one, all else on the other."""
    monkeypatch.setattr(devices, "_main", lambda _: "cpu")
    device_map = {"": "meta", "encoder.embeddings": "cpu", "encoder.encoder.layer.0": "cpu"}
    model = AutoModelForVision2Seq.from_pretrained(folder, device_map=device_map)
    assert model.device.type == "cpu"
    output = model(tiny.pixels(), tiny.ids(), output_hidden_states=True)
    assert [state.device.type for state in output.encoder_hidden_states] == ["cpu", "cpu", "meta"]
    assert output.logits.device.type == "meta"
    assert output.logits.shape == (2, 6, tiny.VOCABULARY)


@pytest.mark.parametrize(
    ("device_map", "message"),
    [
        ({"": "cpu", "encodr": "disk"}, r"names 'encodr', which is no module of a Vis.*\. Did you mean 'encoder'\?"),
        ({"encoder": "cpu", "decoder": "disk"}, r"nothing about 2 weights, such as enc_to_dec_proj\.weight; name"),
        (
            {"": "cpu", "decoder.transformer.h.0": "disk"},
            r"device_map divides decoder between cpu and disk; it runs in one piece, name one device for it",
        ),
        (
            {"": "cpu", "encoder.encoder.layer.0.attention": "disk"},
            r"divides encoder\.encoder\.layer\.0 between cpu and disk",
        ),
        ({"": "disk"}, r"puts \d+ weights on the disk, such as encoder\.\S+; pass offload_folder=…"),
        ({"": "cpu", "decoder": "cuda:99"}, r"device 'cuda:99' was asked for, but torch finds \d+ CUDA devices"),
        ({"": "cpu", "decoder": "moon"}, r"device 'moon' is none that torch knows"),
    ],
)
def test_maps_that_cannot_be(folder: Path, device_map: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        AutoModelForVision2Seq.from_pretrained(folder, device_map=device_map)


def test_memory_that_cannot_be(folder: Path) -> None:
    with pytest.raises(OptionError, match=r"max_memory=\{'cpu': 'much'\} cannot be used \(.*expected a dict"):
        AutoModelForVision2Seq.from_pretrained(folder, device_map="auto", max_memory={"cpu": "much"})
    with pytest.raises(OptionError, match=r"max_memory=.* is for a device_map that says how to spread.*found 'cpu'"):
        AutoModelForVision2Seq.from_pretrained(folder, device_map="cpu", max_memory={"cpu": "1GB"})


def test_without_accelerate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    for one in ({"encoder": "cpu", "decoder": "cpu", "enc_to_dec_proj": "cpu"}, {"": "cpu"}, "cpu"):
        assert AutoModelForVision2Seq.from_pretrained(folder, device_map=one).device.type == "cpu"
    with pytest.raises(MissingPackageError, match=r"needs accelerate.*Type: pip install 'vision2seq\[accelerate\]'"):
        AutoModelForVision2Seq.from_pretrained(folder, device_map={"": "cpu", "decoder": "disk"})


def test_what_fits_goes_to_the_first_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 2000))
    for strategy in ("auto", "sequential"):
        assert devices.place_for(None, strategy, size=700) == torch.device("cuda")
        assert isinstance(devices.place_for(None, strategy, size=900), devices.Spread)
    assert isinstance(devices.place_for(None, "balanced", size=1), devices.Spread)
    assert isinstance(devices.place_for(None, {"encoder": "cuda:0", "decoder": "cuda:1"}), devices.Spread)
    assert devices.place_for(None, {"encoder": "cuda:1", "decoder": torch.device("cuda:1")}) == torch.device("cuda:1")
    assert devices.place_for("cpu", "balanced") == torch.device("cpu")
