"""Every format, whole and sharded, gives the same tensors; a damaged file gives an error that names it."""

from __future__ import annotations

import collections
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vision2seq.checkpoints import find_weights, read_tensors, stored_dtype
from vision2seq.checkpoints.pickle_reader import read_pickle
from vision2seq.checkpoints.safetensors_reader import read_safetensors
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, UnsupportedError

FORMATS = ["safetensors", "zip", "legacy"]


def write(tensors: dict[str, Any], path: Path, form: str, **more: Any) -> None:
    if form == "safetensors":
        save_file(tensors, path, metadata={"format": "pt"})
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=form == "zip", **more)


def name_of(form: str) -> str:
    return "model.safetensors" if form == "safetensors" else "pytorch_model.bin"


def some_tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "ids": torch.arange(7).reshape(1, 7),
        "w": torch.randn(5, 3),
        "half": torch.randn(4).half(),
        "bf": torch.randn(2, 2).bfloat16(),
        "double": torch.randn(3, dtype=torch.float64),
        "mask": torch.tensor([[True, False], [False, True]]),
        "byte": torch.arange(9, dtype=torch.uint8),
        "int": torch.tensor([-1, 2], dtype=torch.int32),
        "short": torch.tensor([-1, 2], dtype=torch.int16),
        "char": torch.tensor([-1, 2], dtype=torch.int8),
        "scalar": torch.tensor(-10000.0),
        "empty": torch.empty(0, 4),
    }


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == expected[name].dtype and torch.equal(found[name], expected[name]) for name in expected
    )


@pytest.mark.parametrize("will_copy", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format(
    tmp_path: Path, form: str, sharded: bool, will_copy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vision2seq.checkpoints.mapping.RELEASE_BYTES", 16)
    tensors = some_tensors()
    if sharded:
        suffix = name_of(form).rsplit(".", 1)[1]
        shards = [dict(list(tensors.items())[start::2]) for start in (0, 1)]
        names = [f"part-{i}.{suffix}" for i in (1, 2)]
        for shard, name in zip(shards, names, strict=True):
            write(shard, tmp_path / name, form)
        weight_map = {key: name for shard, name in zip(shards, names, strict=True) for key in shard}
        (tmp_path / f"{name_of(form)}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    else:
        write(tensors, tmp_path / name_of(form), form)
    files = find_weights(tmp_path)
    assert same({name: tensor.clone() for name, tensor in read_tensors(files, will_copy=will_copy)}, tensors)
    if not will_copy:
        assert same(dict(read_tensors(files)), tensors)
    assert stored_dtype(files) is not None


@pytest.mark.parametrize("form", FORMATS)
def test_tensors_can_be_written_to_and_the_file_stays(tmp_path: Path, form: str) -> None:
    path = tmp_path / name_of(form)
    write({"w": torch.ones(1000)}, path, form)
    before = path.read_bytes()
    ((_, tensor),) = read_tensors(find_weights(tmp_path))
    tensor.mul_(3)
    assert tensor.sum() == 3000
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_stored_dtype_is_the_first_floating_one(tmp_path: Path, form: str, dtype: torch.dtype) -> None:
    write({"a": torch.arange(3), "b": torch.ones(2, dtype=dtype)}, tmp_path / name_of(form), form)
    assert stored_dtype(find_weights(tmp_path)) is dtype


def test_stored_dtype_without_fractions(tmp_path: Path) -> None:
    write({"a": torch.arange(3)}, tmp_path / "model.safetensors", "safetensors")
    assert stored_dtype(find_weights(tmp_path)) is None


def test_a_tensor_in_two_shards_comes_from_the_one_that_the_index_names(tmp_path: Path) -> None:
    write({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "1.safetensors", "safetensors")
    write({"a": torch.ones(1), "c": torch.ones(1)}, tmp_path / "2.safetensors", "safetensors")
    weight_map = {"a": "2.safetensors", "b": "1.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    found = [(name, tensor.item()) for name, tensor in read_tensors(find_weights(tmp_path))]
    assert found == [("b", 0.0), ("a", 1.0), ("c", 1.0)]


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_contents_as_they_occur(tmp_path: Path, form: str, protocol: int) -> None:
    """OrderedDict with metadata, parameters, tensors that share a storage, views, transposed and expanded ones."""
    base = torch.arange(12.0).reshape(3, 4)
    state = collections.OrderedDict(
        plain=base,
        tied=base,
        view=base[1],
        turned=base.t(),
        param=torch.nn.Parameter(base + 1),
        flag=torch.tensor(True),
    )
    state["ids"] = torch.arange(4).expand(1, -1)
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    path = tmp_path / "pytorch_model.bin"
    write(state, path, form, pickle_protocol=protocol)
    found = dict(read_pickle(path))
    assert same(found, {name: tensor.detach() for name, tensor in state.items()})
    assert found["plain"].data_ptr() == found["tied"].data_ptr()
    assert list(found) == list(state)


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("dtype", [torch.uint16, torch.float8_e4m3fn, torch.complex64])
def test_newer_dtypes_in_pickles(tmp_path: Path, form: str, dtype: torch.dtype) -> None:
    tensor = torch.arange(6).to(dtype).reshape(2, 3)
    try:
        write({"w": tensor}, tmp_path / "x.bin", form)
    except (RuntimeError, KeyError, TypeError, AttributeError):
        pytest.skip("torch itself does not write this dtype in this format")
    ((_, found),) = read_pickle(tmp_path / "x.bin")
    assert found.dtype == dtype and torch.equal(found.to(torch.complex64), tensor.to(torch.complex64))


def test_zip_storages_are_mapped_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    write({"a": torch.ones(100), "b": torch.ones(100)}, path, "zip")
    found = dict(read_pickle(path))
    assert 0 < found["b"].data_ptr() - found["a"].data_ptr() < path.stat().st_size
    # one map of the file: addresses are apart as the file's bytes are


# -------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("form", FORMATS)
def test_truncated_anywhere(tmp_path: Path, form: str) -> None:
    whole = tmp_path / "whole"
    write({f"layer.{i}.weight": torch.randn(4, 5) for i in range(3)} | {"m": torch.tensor([True])}, whole, form)
    data = whole.read_bytes()
    path = tmp_path / name_of(form)
    for cut in sorted({*range(min(len(data), 400)), *range(0, len(data), 37), len(data) - 1}):
        path.write_bytes(data[:cut])
        with pytest.raises(CheckpointCorruptError, match=f"{name_of(form)} cannot be read as .*again"):
            list(read_tensors(find_weights(tmp_path)))


@pytest.mark.parametrize("form", FORMATS)
def test_random_damage_never_crashes(tmp_path: Path, form: str) -> None:
    """A flipped byte may hit a number and go unnoticed; anywhere else it is an error of ours, nothing worse."""
    whole = tmp_path / "whole"
    write({"a.weight": torch.randn(4, 5), "b": torch.arange(3)}, whole, form)
    data = whole.read_bytes()
    path = tmp_path / name_of(form)
    chance = random.Random(0)
    for _ in range(600):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            for _, tensor in read_tensors(find_weights(tmp_path)):
                tensor.clone()
        except (CheckpointCorruptError, UnsupportedError) as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"garbage" * 100, "cannot be read as"),
        (b"\xff" * 1000, "cannot be read as"),
        (b"PK\x03\x04" + b"\0" * 100, "cannot be read as"),
    ],
)
def test_something_else_altogether(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointCorruptError, match=found):
        list(read_tensors(find_weights(tmp_path)))
    with pytest.raises(CheckpointCorruptError, match=found):
        stored_dtype(find_weights(tmp_path))


def test_safetensors_without_metadata_are_fine(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    assert [name for name, _ in read_tensors(find_weights(tmp_path))] == ["a"]


def test_file_that_is_gone(tmp_path: Path) -> None:
    for read in (read_safetensors, read_pickle):
        with pytest.raises(CheckpointNotFoundError, match="No weight file"):
            list(read(tmp_path / "gone"))


def test_safetensors_of_unknown_numbers(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F8_E8M0", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(UnsupportedError, match=r"a in .*model\.safetensors holds numbers of type 'F8_E8M0'; expected"):
        list(read_tensors(find_weights(tmp_path)))
    with pytest.raises(UnsupportedError, match=r"'F8_E8M0'"):
        stored_dtype(find_weights(tmp_path))


def test_safetensors_whose_numbers_lie_anywhere(tmp_path: Path) -> None:
    """The library pads its header to eight bytes; others need not."""
    values = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    header += b" " * (3 - len(header) % 8)
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values.numpy().tobytes())
    [(name, found)] = read_tensors(find_weights(tmp_path))
    assert name == "a" and torch.equal(found, values) and found.data_ptr() % 8 == 0
