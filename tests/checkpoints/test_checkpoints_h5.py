"""Keras weights in HDF5: what transformers and Keras write, and what is said about everything else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vision2seq.checkpoints.h5_reader import h5_dtypes, read_h5
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, MissingPackageError, UnsupportedError

Golden = Callable[[str, str], Path]


@pytest.fixture
def expected(golden: Golden) -> dict[str, torch.Tensor]:
    return load_file(golden("tensorflow", "vit-gpt2") / "safetensors/model.safetensors")


def test_whole(golden: Golden, expected: dict[str, torch.Tensor]) -> None:
    path = golden("tensorflow", "vit-gpt2") / "h5/tf_model.h5"
    found = {name.removeprefix("tf_vision_encoder_decoder_model/"): tensor for name, tensor in read_h5(path)}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert set(h5_dtypes(path)) == {torch.float32}


def test_shards(golden: Golden, expected: dict[str, torch.Tensor]) -> None:
    paths = sorted((golden("tensorflow", "vit-gpt2") / "h5-sharded").glob("*.h5"))
    found = {name: tensor for path in paths for name, tensor in read_h5(path)}
    assert len(paths) > 1 and found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def layer(path: Path, **data: np.ndarray) -> None:
    """A file of one layer, ``d``."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights").create_group("d")
        group.attrs["weight_names0"] = [f"m/d/{name}:0".encode() for name in data]
        for name, value in data.items():
            group.create_dataset(f"m/d/{name}:0", data=value)
        file.create_group("optimizer_weights").create_dataset("iter:0", data=3)


def test_whole_models_types_and_storage(tmp_path: Path) -> None:
    """A file of `model.save()`; half precision, truth values, big-endian, compressed, empty, large and mapped."""
    path = tmp_path / "x.h5"
    values = {
        "half": np.arange(4, dtype="float16"),
        "flags": np.array([True, False]),
        "big": np.arange(3, dtype=">f4"),
        "ints": np.arange(3),
        "none": np.empty((0, 3), "float32"),
        "one": np.float64(0.5),
        "large": np.arange(40_000, dtype="float32").reshape(200, 200),
    }
    layer(path, **values)
    with h5py.File(path, "a") as file:
        file["model_weights/d"].create_dataset("m/d/packed:0", data=np.ones((50, 50)), compression="gzip", chunks=True)
    found = dict(read_h5(path))
    packed = found.pop("m/d/packed:0")
    assert packed.equal(torch.ones(50, 50, dtype=torch.float64))
    assert found.keys() == {f"m/d/{name}:0" for name in values}
    for name, value in values.items():
        tensor = found[f"m/d/{name}:0"]
        assert (
            np.array_equal(tensor.numpy(), value)
            and tensor.dtype == torch.as_tensor(value.astype(value.dtype.newbyteorder("="))).dtype
        )
    before = path.read_bytes()
    for tensor in found.values():
        tensor.zero_()
    assert path.read_bytes() == before
    assert {torch.float16, torch.bool, torch.float32} <= set(h5_dtypes(path))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"No weight file .*x\.h5\. Check the path"):
        list(read_h5(tmp_path / "x.h5"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"garbage" * 100, "file signature not found"),
    ],
)
def test_something_else_altogether(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "tf_model.h5"
    path.write_bytes(content)
    for read in (read_h5, h5_dtypes):
        with pytest.raises(
            CheckpointCorruptError, match=rf"tf_model\.h5 cannot be read as Keras weights in HDF5: .*{found}"
        ):
            list(read(path))


def test_truncated(tmp_path: Path, golden: Golden) -> None:
    data = (golden("tensorflow", "vit-gpt2") / "h5/tf_model.h5").read_bytes()
    path = tmp_path / "tf_model.h5"
    for cut in range(1, len(data), 5003):
        path.write_bytes(data[:cut])
        with pytest.raises(CheckpointCorruptError, match=r"tf_model\.h5 cannot be read as .*again"):
            list(read_h5(path))


def test_files_without_variables(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    layer(path)
    with pytest.raises(CheckpointCorruptError, match="it holds no variables"):
        list(read_h5(path))
    with h5py.File(path, "w") as file:
        file["gone"] = h5py.SoftLink("/nowhere")
    with pytest.raises(CheckpointCorruptError, match="its entry gone leads nowhere"):
        list(read_h5(path))


def test_files_of_keras_3(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.ones(3))
    with pytest.raises(
        UnsupportedError, match=r"was written by Keras 3, which does not keep the names .*save_pretrained"
    ):
        list(read_h5(path))


def test_numbers_that_torch_has_not(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    layer(path, text=np.array([b"abc"]))
    for read in (read_h5, h5_dtypes):
        with pytest.raises(
            UnsupportedError, match=r"m/d/text:0 in .*x\.h5 holds numbers of type \|S3.*expected floats"
        ):
            list(read(path))


def test_numbers_in_other_files(tmp_path: Path) -> None:
    """A weight file could name any file of the machine."""
    (tmp_path / "secret").write_bytes(bytes(40))
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("d/m/w:0", shape=(10,), dtype="f4", external=[(str(tmp_path / "secret"), 0, 40)])
    with pytest.raises(
        UnsupportedError, match=r"d/m/w:0 in .*x\.h5 has its numbers in other files, which are not opened"
    ):
        list(read_h5(path))


def test_numbers_that_are_claimed_and_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("d/m/w:0", shape=(2**20, 2**20), dtype="f4", chunks=(1024, 1024))
    with pytest.raises(CheckpointCorruptError, match=r"d/m/w:0 has 4398046511104 bytes, of which 0 are there"):
        list(read_h5(path))


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer(tmp_path / "x.h5", w=np.ones(1))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        MissingPackageError, match=r"needs h5py, which is not installed .*pip install 'vision2seq\[tf\]'"
    ):
        list(read_h5(tmp_path / "x.h5"))
