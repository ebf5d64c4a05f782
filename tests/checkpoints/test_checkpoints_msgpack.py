"""Flax weights in msgpack: what transformers and Flax write, and what is said about everything else."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vision2seq.checkpoints import find_weights, read_tensors, stored_dtype
from vision2seq.checkpoints.msgpack_reader import msgpack_dtypes, read_msgpack
from vision2seq.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    MissingPackageError,
    UnsupportedError,
)
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

Golden = Callable[[str, str], Path]
Model = VisionEncoderDecoderModel

torch.set_num_threads(1)


@pytest.mark.parametrize(
    "name",
    [
        *("vit-gpt2", "vit-bart", "vit-bert", "vit-roberta"),
        *("half-vit", "half-beit", "half-bert", "half-gpt2", "half-mbart"),
    ],
)
def test_the_tensors_are_those_of_pytorch(golden: Golden, name: str) -> None:
    folder = golden("flax", name)
    expected = load_file(folder / "expected.safetensors")
    found = dict(read_tensors(find_weights(folder / "msgpack" / "flax_model.msgpack")))
    for key, tensor in expected.items():
        assert tensor.dtype == found[key].dtype and torch.equal(tensor, found[key]), key
    # Flax writes tied tensors under each of their names.
    for key in found.keys() - expected.keys():
        assert any(torch.equal(found[key], tensor) for tensor in expected.values()), key


@pytest.mark.parametrize("form", ["msgpack", "msgpack-sharded", "safetensors"])
def test_models(golden: Golden, tmp_path: Path, form: str) -> None:
    source = golden("flax", "vit-gpt2")
    expected = load_file(source / "expected.safetensors")
    shutil.copytree(source / form, tmp_path, dirs_exist_ok=True)
    shutil.copy(source / "config.json", tmp_path)
    model, info = Model.from_pretrained(tmp_path, from_flax=True, output_loading_info=True)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["error_msgs"]
    assert stored_dtype(find_weights(tmp_path, from_flax=True)) is torch.float32
    if form != "safetensors":
        with pytest.raises(OSError, match=r"There are weights of Flax: pass from_flax=True to read them"):
            Model.from_pretrained(tmp_path)


def test_half_precision(golden: Golden) -> None:
    source = golden("flax", "vit-gpt2")
    config = Model.config_class.from_pretrained(source)
    expected = load_file(source / "expected.safetensors")
    file = source / "bfloat16" / "flax_model.msgpack"
    model = Model.from_pretrained(file, config=config, dtype="auto")
    assert model.dtype is torch.bfloat16
    assert all(torch.equal(model.state_dict()[name], tensor.bfloat16()) for name, tensor in expected.items())


def test_halves(golden: Golden, tmp_path: Path) -> None:
    for half in ("vit", "gpt2"):
        shutil.copytree(golden("flax", f"half-{half}") / "msgpack", tmp_path / half)
        shutil.copy(golden("flax", f"half-{half}") / "config.json", tmp_path / half)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the decoder alone may have no cross-attention
        model = Model.from_encoder_decoder_pretrained(
            tmp_path / "vit", tmp_path / "gpt2", encoder_from_flax=True, decoder_from_flax=True
        )
    for half, part in (("vit", model.encoder), ("gpt2", model.decoder)):
        state = load_file(golden("flax", f"half-{half}") / "expected.safetensors")
        assert all(torch.equal(part.state_dict()[name], tensor) for name, tensor in state.items())


def test_all_types(golden: Golden) -> None:
    found = dict(read_msgpack(golden("flax", "types") / "types.msgpack"))
    numbers = torch.arange(6).reshape(2, 3)
    names = (
        *("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8"),
        *("uint16", "uint32", "uint64", "complex64", "complex128", "bool"),
    )
    for name in names:
        assert found.pop(f"a.{name}").equal(numbers.to(getattr(torch, name))), name
    assert found.pop("a.empty").shape == (0, 4)
    assert found.pop("a.scalar").item() == 0.5
    assert found.pop("a.turned").equal(numbers.float().t())
    assert not found


def test_arrays_in_pieces(golden: Golden) -> None:
    found = dict(read_msgpack(golden("flax", "types") / "chunked.msgpack"))
    assert found.keys() == {"w.kernel"}
    assert found["w.kernel"].equal(torch.arange(60.0).reshape(3, 20))


def array(values: Any, shape: Any = None, kind: str | None = None) -> msgpack.ExtType:
    values = np.asarray(values)
    parts = (list(values.shape) if shape is None else shape, kind or values.dtype.name, values.tobytes())
    return msgpack.ExtType(1, msgpack.packb(parts))


def read(folder: Path, content: Any) -> dict[str, torch.Tensor]:
    path = folder / "flax_model.msgpack"
    path.write_bytes(content if isinstance(content, bytes) else msgpack.packb(content))
    return dict(read_msgpack(path))


def test_the_state_of_a_training(tmp_path: Path) -> None:
    content = {"step": 3, "params": {"w": array([1.0]), "note": "x"}, "opt_state": {"0": {"w": array([9.0])}}}
    assert read(tmp_path, content)["params.w"].item() == 1
    assert [name for name, _ in read_tensors(find_weights(tmp_path, from_flax=True))] == ["w"]


def test_tensors_can_be_written_to_and_the_file_stays(tmp_path: Path) -> None:
    tensor = read(tmp_path, {"w": array(np.ones(1000, "float32"))})["w"]
    before = (tmp_path / "flax_model.msgpack").read_bytes()
    assert tensor.mul_(3).sum() == 3000
    assert (tmp_path / "flax_model.msgpack").read_bytes() == before


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else array([1.0])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"garbage" * 100, "it is no map of names"),
        ([1, 2], "it is no map of names"),
        ({1: array([1.0])}, "a name in it is a int"),
        (msgpack.packb({"w": array([1.0])}) + b"\0", "something follows after its end"),
        (msgpack.packb({"w": array([1.0])})[:-3], "No more data|too early"),
        ({"w": array([1.0], shape=[2])}, r"w has other numbers than its shape \[2\] and type float64 ask for"),
        ({"w": array([1.0], shape=[-1])}, r"the shape of w is \[-1\]"),
        ({"w": array([1.0], shape=3)}, "the shape of w is 3"),
        ({"w": array([1.0], shape=[2**62, 2**62])}, "has other numbers"),
        ({"w": msgpack.ExtType(1, b"\x91\x01")}, "not enough values"),
        (nested(70), "its maps are nested more than 64 deep"),
        ({"w": {"__msgpack_chunked_array__": True, "shape": {"0": 2}, "x": 1}}, "what it is made of is missing"),
        ({"w": {"__msgpack_chunked_array__": True, "shape": {"0": 2}, "chunks": {"0": array([1.0])}}}, "invalid for"),
        (b"\x81\xa1w\xdd\xff\xff\xff\xff", "exceeds max_array_len"),
        (b"\xdf\xff\xff\xff\xff", "exceeds max_map_len|No more data"),
        (b"\x81\xdb\xff\xff\xff\xff", "exceeds max_str_len|No more data"),
        (b"\x81\xa1w\xc9\xff\xff\xff\xff\x01", "exceeds max_ext_len|No more data"),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, content: Any, found: str) -> None:
    with pytest.raises(
        CheckpointCorruptError, match=rf"flax_model\.msgpack cannot be read as Flax weights in msgpack: .*({found})"
    ):
        read(tmp_path, content)


def test_numbers_that_torch_has_not(golden: Golden) -> None:
    path = golden("flax", "types") / "unknown.msgpack"
    for read_ in (read_msgpack, msgpack_dtypes):
        with pytest.raises(
            UnsupportedError,
            match=r"when in .*unknown\.msgpack holds numbers of type 'datetime64\[s\]'.*expected one of",
        ):
            list(read_(path))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"No weight file .*x\.msgpack\. Check the path"):
        list(read_msgpack(tmp_path / "x.msgpack"))


def test_without_msgpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.msgpack").write_bytes(msgpack.packb({"w": array([1.0])}))
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(MissingPackageError, match=r"needs msgpack, which is not .*pip install 'vision2seq\[flax\]'"):
        list(read_msgpack(tmp_path / "x.msgpack"))
