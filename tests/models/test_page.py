"""The two examples of the page that this package implements, as they stand there but for the package's name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import server
import tiny
import torch
from safetensors.torch import load_file

from vision2seq import VisionEncoderDecoderModel

torch.set_num_threads(1)

FROM_CONFIG = """
from vision2seq import AutoConfig, AutoModelForVision2Seq

# Download configuration from huggingface.co and cache it locally.
config = AutoConfig.from_pretrained('vision-encoder-decoder-config')
model = AutoModelForVision2Seq.from_config(config)
"""
FIRST = """
from vision2seq import AutoModelForVision2Seq

# Download the pretrained model and its configuration from Hugging Face
model = AutoModelForVision2Seq.from_pretrained('vision-encoder-decoder-model')

# Optionally update the configuration during loading
model = AutoModelForVision2Seq.from_pretrained('vision-encoder-decoder-model', output_attentions=True)
"""
SECOND = """
from vision2seq import AutoConfig, AutoModelForVision2Seq

# Load model from a TensorFlow checkpoint file
config = AutoConfig.from_pretrained('./tf_model/vision_encoder_decoder_config.json')
model = AutoModelForVision2Seq.from_pretrained('./tf_model/vision_encoder_decoder_checkpoint.ckpt.index', from_tf=True, config=config)
"""  # noqa: E501


def run(example: str) -> Any:
    """The model that an example ends with."""
    names: dict[str, Any] = {}
    exec(example, names)
    assert type(names["model"]) is VisionEncoderDecoderModel
    return names["model"]


def test_from_config_and_the_first_from_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vision-encoder-decoder-config", "vision-encoder-decoder-model"):
        tiny.checkpoint(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert run(FROM_CONFIG).training
    check_first(run(FIRST))


def test_from_config_and_the_first_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.checkpoint(tmp_path / "model")
    hub = server.Hub()
    for name in ("vision-encoder-decoder-config", "vision-encoder-decoder-model"):
        hub.commit(name, folder)
    monkeypatch.chdir(tmp_path)
    with hub.running() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert run(FROM_CONFIG).training
        check_first(run(FIRST))


def check_first(model: Any) -> None:
    """It has the weights, is in evaluation mode, and gives attention weights without being asked again."""
    expected = tiny.model().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert not model.training
    with torch.no_grad():
        assert model(tiny.pixels(), tiny.ids()).cross_attentions is not None


@pytest.mark.parametrize("form", ["objects", "names"])
def test_the_second(
    golden: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    origin = golden("tensorflow", "vit-gpt2")
    (tmp_path / "tf_model").mkdir()
    for path in (origin / form).glob("model.ckpt.*"):
        name = path.name.replace("model.ckpt", "vision_encoder_decoder_checkpoint.ckpt")
        shutil.copy(path, tmp_path / "tf_model" / name)
    shutil.copy(origin / "config.json", tmp_path / "tf_model" / "vision_encoder_decoder_config.json")
    monkeypatch.chdir(tmp_path)
    model = run(SECOND)
    assert not model.training
    expected = load_file(origin / "expected.safetensors")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())
