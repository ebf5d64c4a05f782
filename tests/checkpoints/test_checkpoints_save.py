"""Saving: what is written is what is read, whole and sharded, and never half of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from vision2seq.checkpoints import fill, find_weights, read_tensors, save_weights
from vision2seq.checkpoints.save import parse_size
from vision2seq.errors import OptionError


def a_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 10, bias=False))
    model[3].weight = model[0].weight
    return model


def empty_model() -> nn.Module:
    with torch.device("meta"):
        return a_model()


def contents(folder: Path, **options: Any) -> dict[str, Tensor]:
    return dict(read_tensors(find_weights(folder, **options)))


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("max_shard_size", ["5GB", 300, 1])
@pytest.mark.parametrize("safe_serialization", [True, False])
def test_round_trip(tmp_path: Path, safe_serialization: bool, max_shard_size: int | str, variant: str | None) -> None:
    model = a_model()
    folder = tmp_path / "new" / "folder"
    written = save_weights(
        model, folder, max_shard_size=max_shard_size, variant=variant, safe_serialization=safe_serialization
    )
    assert sorted(written) == sorted(folder.iterdir())
    files = find_weights(folder, variant=variant)
    assert (len(files.files) > 1) == (max_shard_size != "5GB")
    loaded = empty_model()
    report = fill(loaded, read_tensors(files))
    assert report.warning_text() is None and report.tied_keys == ["3.weight"]
    expected = model.state_dict()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]) and tensor.dtype == expected[name].dtype


def test_names_and_index(tmp_path: Path) -> None:
    state = {"a": torch.ones(10), "b": torch.ones(10), "c": torch.ones(1)}
    written = save_weights(state, tmp_path, max_shard_size=44)
    assert [path.name for path in written] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    index = json.loads(written[-1].read_text())
    assert index["metadata"] == {"total_size": 84}
    assert index["weight_map"] == {"a": written[0].name, "b": written[1].name, "c": written[1].name}
    with safe_open(written[0], framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    names = [path.name for path in save_weights(state, tmp_path / "v", max_shard_size=44, variant="bf16")]
    assert names[0] == "model.bf16-00001-of-00002.safetensors" and names[-1] == "model.safetensors.index.bf16.json"
    names = [path.name for path in save_weights(state, tmp_path / "p", max_shard_size=44, safe_serialization=False)]
    assert names[0] == "pytorch_model-00001-of-00002.bin" and names[-1] == "pytorch_model.bin.index.json"


def test_tied_tensors_are_written_once_and_views_as_they_are(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {
        "a": base,
        "tied": base,
        "row": base[1],
        "turned": base.t(),
        "empty": torch.empty(0),
        "none": torch.empty(0),
    }
    save_weights(state, tmp_path)
    found = contents(tmp_path)
    assert found.keys() == state.keys() - {"tied"}
    assert all(torch.equal(found[name], state[name]) for name in found)
    row = torch.arange(100_000.0)[5:6]
    (path,) = save_weights({"row": row}, tmp_path / "bin", safe_serialization=False)
    assert path.stat().st_size < 10_000 and torch.equal(contents(tmp_path / "bin")["row"], row)


def test_torch_and_safetensors_read_what_was_written(tmp_path: Path) -> None:
    state = a_model().state_dict()
    (path,) = save_weights(state, tmp_path / "s")
    assert torch.equal(safetensors.torch.load_file(path)["0.weight"], state["0.weight"])
    (path,) = save_weights(state, tmp_path / "b", safe_serialization=False)
    assert torch.equal(torch.load(path, weights_only=True)["3.weight"], state["0.weight"])


def test_what_an_earlier_save_left_is_removed(tmp_path: Path) -> None:
    model = a_model()
    for name in ("config.json", "model.fp16.safetensors", "model-extra.safetensors", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"not ours")
    others = listing(tmp_path)
    for size in (1, "5GB", 300, 1):
        written = save_weights(model, tmp_path, max_shard_size=size)
        assert listing(tmp_path).keys() == others.keys() | {path.name for path in written}
        assert torch.equal(contents(tmp_path)["0.weight"], model.state_dict()["0.weight"])
    assert all(listing(tmp_path)[name] == data for name, data in others.items())


def test_saving_over_the_files_that_the_model_is_mapped_from(tmp_path: Path) -> None:
    save_weights(a_model(), tmp_path)
    expected = a_model().state_dict()
    model = empty_model()
    fill(model, read_tensors(find_weights(tmp_path)))
    save_weights(model, tmp_path)
    save_weights(model, tmp_path, max_shard_size=300)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(contents(tmp_path)["0.weight"], expected["0.weight"])


@pytest.mark.parametrize("fails_at", [1, 2])
@pytest.mark.parametrize("safe_serialization", [True, False])
def test_a_full_disk_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safe_serialization: bool, fails_at: int
) -> None:
    save_weights(a_model(), tmp_path, max_shard_size=300, safe_serialization=safe_serialization)
    before = listing(tmp_path)
    calls = 0
    home, function = (safetensors.torch, "save_file") if safe_serialization else (torch, "save")
    real = getattr(home, function)

    def writes_half(content: Any, path: Path, **options: Any) -> None:
        nonlocal calls
        calls += 1
        real(content, path, **options)
        if calls == fails_at:
            Path(path).write_bytes(Path(path).read_bytes()[:20])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(home, function, writes_half)
    for size in (300, 350, "5GB"):
        calls = 0 if size != "5GB" else fails_at - 1
        with pytest.raises(OSError, match="No space left on device"):
            save_weights(a_model(1), tmp_path, max_shard_size=size, safe_serialization=safe_serialization)
        assert listing(tmp_path) == before


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OptionError, match="is a file; expected a folder"):
        save_weights(a_model(), tmp_path / "file")

    def refuses(*_: Any, **__: Any) -> None:
        raise safetensors.SafetensorError("I/O error: disk on fire")

    monkeypatch.setattr(safetensors.torch, "save_file", refuses)
    with pytest.raises(OSError, match="cannot be written to: I/O error: disk on fire"):
        save_weights(a_model(), tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_files_can_be_read_by_others(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    (path,) = save_weights(a_model(), tmp_path)
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_pickle_beside_safetensors_warns(tmp_path: Path) -> None:
    save_weights(a_model(), tmp_path)
    with pytest.warns(UserWarning, match=r"also holds safetensors, which readers prefer to the pytorch_model\.bin"):
        save_weights(a_model(), tmp_path, safe_serialization=False)


def test_sizes() -> None:
    assert [parse_size(s) for s in (7, "7", "5GB", "5 gb", "1.5KB", "2MiB")] == [
        7,
        7,
        5 * 10**9,
        5 * 10**9,
        1500,
        2**21,
    ]
    for bad in ("", "GB", "5 apples", "-1MB", 0, -5, True, None, 1.5):
        with pytest.raises(OptionError, match="expected a number of bytes or a text such as"):
            parse_size(bad)  # type: ignore[arg-type]


def test_things_that_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"0\.weight is on the meta device and has no values to save"):
        save_weights(empty_model(), tmp_path)
    with pytest.raises(OptionError, match="The state dict has 'a': int; expected names and tensors"):
        save_weights({"a": 1}, tmp_path)  # type: ignore[dict-item]
    with pytest.raises(OptionError, match="cannot be part of a file name"):
        save_weights(a_model(), tmp_path, variant="a/b")
    assert not list(tmp_path.iterdir())
