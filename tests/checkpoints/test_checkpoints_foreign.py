"""Models from TensorFlow's and Flax' files: the same as from PyTorch's, whatever way they are named."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

from vision2seq import AutoModelForVision2Seq, ViTModel
from vision2seq.checkpoints import find_weights, read_tensors, stored_dtype
from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, ConfigError, OptionError
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

GOLDENS = Path(__file__).parents[1] / "goldens"
Golden = Callable[[str, str], Path]
Model = VisionEncoderDecoderModel

torch.set_num_threads(1)


@pytest.fixture
def tensorflow(golden: Golden) -> Path:
    return golden("tensorflow", "vit-gpt2")


def same(model: Any, expected: Path, dtype: torch.dtype = torch.float32) -> bool:
    state = load_file(expected / "expected.safetensors")
    found = model.state_dict()
    assert not any(tensor.is_meta for tensor in found.values())
    return all(torch.equal(found[name], tensor.to(dtype)) for name, tensor in state.items())


def quietly(source: Any, **arguments: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Model.from_pretrained(source, **arguments)


FORMS = {  # the form's folder → what the file is called in a folder of a model
    "h5": "tf_model.h5",
    "h5-sharded": "tf_model.h5.index.json",
    "objects": "model.ckpt.index",
    "names": "model.ckpt.index",
    "saved-model": "variables/variables.index",
    "safetensors": "model.safetensors",
}


@pytest.mark.parametrize("form", FORMS)
def test_folders(tensorflow: Path, tmp_path: Path, form: str) -> None:
    shutil.copytree(tensorflow / form, tmp_path, dirs_exist_ok=True)
    shutil.copy(tensorflow / "config.json", tmp_path)
    model, info = Model.from_pretrained(tmp_path, from_tf=True, output_loading_info=True)
    assert same(model, tensorflow)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["error_msgs"]
    files = find_weights(tmp_path, from_tf=True)
    assert FORMS[form] in {
        path.relative_to(tmp_path).as_posix() for path in (files.index or files.files[0], *files.files)
    }
    assert stored_dtype(files) is torch.float32
    assert same(quietly(tmp_path, from_tf=True, dtype="auto"), tensorflow)
    assert same(quietly(tmp_path, from_tf=True, dtype="float16"), tensorflow, torch.float16)
    assert same(AutoModelForVision2Seq.from_pretrained(tmp_path, from_tf=True), tensorflow)
    if form == "safetensors":
        assert same(quietly(tmp_path), tensorflow)  # it says itself whose it is
    else:
        with pytest.raises(OSError, match=r"There are weights of TensorFlow: pass from_tf=True to read them"):
            quietly(tmp_path)


@pytest.mark.parametrize("framework", ["tensorflow", "flax"])
@pytest.mark.parametrize("name", ["deit-bert", "swin-roberta", "vit-bart", "vit-bert", "vit-roberta"])
def test_other_families(golden: Golden, framework: str, name: str) -> None:
    if not (GOLDENS / framework / f"{name}.zip").exists():
        pytest.skip(f"no fixture {name} of {framework}")
    folder = golden(framework, name)
    file = folder / ("h5/tf_model.h5" if framework == "tensorflow" else "msgpack/flax_model.msgpack")
    config = VisionEncoderDecoderConfig.from_pretrained(folder)
    argument = {"from_tf": True} if framework == "tensorflow" else {"from_flax": True}
    model, info = Model.from_pretrained(file, config=config, output_loading_info=True, **argument)
    assert same(model, folder)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["error_msgs"]


@pytest.mark.parametrize("form", ["h5", "h5-sharded", "objects", "names", "trained", "saved-model"])
def test_files_named_outright(tensorflow: Path, form: str) -> None:
    config = VisionEncoderDecoderConfig.from_pretrained(tensorflow)
    (path,) = (*(tensorflow / form).rglob("*.index"), *(tensorflow / form).glob("*.index.json")) or (
        tensorflow / form / "tf_model.h5",
    )
    for source in (path, str(path)):
        assert same(quietly(source, from_tf=True, config=config), tensorflow)
        assert same(quietly(source, config=config), tensorflow)
    assert same(AutoModelForVision2Seq.from_pretrained(path, from_tf=True, config=config), tensorflow)


def test_what_a_checkpoints_files_share_names_it(tensorflow: Path) -> None:
    """As in TensorFlow's own tools."""
    config = VisionEncoderDecoderConfig.from_pretrained(tensorflow)
    prefix = tensorflow / "objects" / "model.ckpt"
    assert same(quietly(prefix, from_tf=True, config=config), tensorflow)
    with pytest.raises(
        ValueError, match=r"There is a TensorFlow checkpoint at .*model\.ckpt\.index: pass from_tf=True"
    ):
        quietly(prefix, config=config)
    with pytest.raises(OptionError, match=r"pass from_tf=True"):
        find_weights(prefix)
    assert [path.name for path in find_weights(prefix, from_tf=True).files] == [
        "model.ckpt.index",
        "model.ckpt.data-00000-of-00001",
    ]


def test_a_file_of_numbers_is_missing(tensorflow: Path, tmp_path: Path) -> None:
    for path in (tensorflow / "names").iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "model.ckpt.data-00001-of-00002").unlink()
    with pytest.raises(
        CheckpointNotFoundError,
        match=r"model\.ckpt\.index names 2 shards, but 1 of them are not there: model\.ckpt\.data-00001-of-00002",
    ):
        find_weights(tmp_path, from_tf=True)


def test_an_index_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(b"nothing")
    with pytest.raises(CheckpointCorruptError, match=r"model\.ckpt\.index cannot be read as a TensorFlow checkpoint"):
        find_weights(tmp_path, from_tf=True)


@pytest.mark.parametrize("form", ["h5", "objects"])
def test_halves(golden: Golden, tmp_path: Path, form: str) -> None:
    folders = {}
    for half in ("vit", "gpt2"):
        folders[half] = golden("tensorflow", f"half-{half}")
        shutil.copytree(folders[half] / form, tmp_path / half)
        shutil.copy(folders[half] / "config.json", tmp_path / half)
    model = Model.from_encoder_decoder_pretrained(
        tmp_path / "vit", tmp_path / "gpt2", encoder_from_tf=True, decoder_from_tf=True
    )
    assert same(model.encoder, folders["vit"])
    decoder = load_file(folders["gpt2"] / "expected.safetensors")
    assert all(torch.equal(model.decoder.state_dict()[name], tensor) for name, tensor in decoder.items())


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_halves_as_first_published(golden: Golden, name: str) -> None:
    folder = golden("tensorflow", f"published-{name}")
    for config in (folder / "config.json", json.loads((folder / "config.json").read_text())):
        model = Model.from_encoder_decoder_pretrained(
            encoder_model=ViTModel(tiny.config().encoder),
            decoder_pretrained_model_name_or_path=folder / f"{name}_model.ckpt",
            decoder_from_tf=True,
            decoder_config=config,
        )
        found, expected = model.decoder.state_dict(), load_file(folder / "expected.safetensors")
        used = [key for key in expected if key in found]
        assert len(used) > 25
        assert all(torch.equal(found[key], expected[key]) for key in used)
        assert {key.split(".")[1] for key in expected.keys() - set(used)} <= {"pooler", "seq_relationship"}
        assert model.config.decoder.add_cross_attention


def test_a_config_of_a_half_that_names_no_model(golden: Golden) -> None:
    half = golden("tensorflow", "published-bert") / "bert_model.ckpt"
    with pytest.raises(
        ConfigError, match=r"The dict given as decoder_config= has no model_type; expected one of a dec"
    ):
        Model.from_encoder_decoder_pretrained(
            encoder_model=ViTModel(tiny.config().encoder),
            decoder_pretrained_model_name_or_path=half,
            decoder_from_tf=True,
            decoder_config={"hidden_size": 16},
        )


def test_the_file_stays_and_tensors_can_be_trained(tensorflow: Path, tmp_path: Path) -> None:
    shutil.copytree(tensorflow / "objects", tmp_path, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    model = quietly(tmp_path / "model.ckpt.index", config=VisionEncoderDecoderConfig.from_pretrained(tensorflow))
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.is_contiguous()
            parameter.zero_()
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_what_was_saved_is_the_same(tensorflow: Path, tmp_path: Path) -> None:
    shutil.copytree(tensorflow / "h5", tmp_path / "h5")
    shutil.copy(tensorflow / "config.json", tmp_path / "h5")
    quietly(tmp_path / "h5", from_tf=True).save_pretrained(tmp_path / "new")
    assert same(quietly(tmp_path / "new"), tensorflow)
    saved, expected = (
        load_file(path) for path in (tmp_path / "new/model.safetensors", tensorflow / "expected.safetensors")
    )
    assert saved.keys() - expected.keys() == set() or all("lm_head" in name for name in saved.keys() ^ expected.keys())


def test_names_in_shards_are_those_of_the_framework(tensorflow: Path, tmp_path: Path) -> None:
    """An index decides between two shards by the names that the shards have."""
    found = dict(read_tensors(find_weights(tensorflow / "h5-sharded" / "tf_model.h5.index.json")))
    assert found.keys() == load_file(tensorflow / "expected.safetensors").keys()
