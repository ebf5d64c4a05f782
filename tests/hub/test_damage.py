"""Weights of every format that arrive damaged, or are damaged in the cache: named, not kept, and mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import server
import tiny
import torch

from vision2seq import AutoModelForVision2Seq
from vision2seq.errors import CheckpointCorruptError, DownloadError

torch.set_num_threads(1)
ID = "somebody/any-format"
Golden = Callable[[str, str], Path]
FORMS = {  # → the argument, and the folder that a fixture has it in
    "safetensors": ("use_safetensors", ""),
    "pickle": ("", ""),
    "h5": ("from_tf", "h5"),
    "h5, sharded": ("from_tf", "h5-sharded"),
    "bundle": ("from_tf", "objects"),
    "bundle, two files": ("from_tf", "names"),
    "msgpack": ("from_flax", "msgpack"),
    "msgpack, sharded": ("from_flax", "msgpack-sharded"),
}


@pytest.fixture(params=list(FORMS))
def case(request: pytest.FixtureRequest, golden: Golden, tmp_path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a repository, and how they are loaded."""
    argument, form = FORMS[request.param]
    options: dict[str, Any] = {"cache_dir": tmp_path / "cache"} | ({argument: True} if argument else {})
    if not form:
        tiny.model().save_pretrained(tmp_path / "model", safe_serialization=request.param == "safetensors")
        folders = [tmp_path / "model"]
    else:
        origin = golden("tensorflow" if argument == "from_tf" else "flax", "vit-gpt2")
        folders = [origin, origin / form]
    files = {path.name: path.read_bytes() for folder in folders for path in folder.iterdir() if path.is_file()}
    files.pop("expected.safetensors", None)
    return files, options


@pytest.fixture
def net(case: tuple[dict[str, bytes], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Any:
    made = server.Hub()
    made.commit(ID, case[0])
    with made.running() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        yield made


def large(cache: Path) -> list[Path]:
    """The files of weights in the cache, the largest first."""
    there = [path for path in cache.rglob("snapshots/*/*") if path.stat().st_size > server.LARGE]
    return sorted(there, key=lambda path: -path.stat().st_size)


@pytest.mark.parametrize("damage", ["flip", "short"])
def test_what_arrives_damaged_is_not_kept(
    net: server.Hub, case: tuple[dict[str, bytes], dict[str, Any]], damage: str
) -> None:
    _, options = case
    setattr(net, damage, 3000)
    with pytest.raises(DownloadError, match=rf"of '{ID}' (was damaged on its way|could not be fetched .*size)"):
        AutoModelForVision2Seq.from_pretrained(ID, **options)
    assert not large(options["cache_dir"])
    setattr(net, damage, None if damage == "flip" else 0)
    assert AutoModelForVision2Seq.from_pretrained(ID, **options)


def test_what_is_damaged_in_the_cache_is_named_and_fetched_anew(
    net: server.Hub, case: tuple[dict[str, bytes], dict[str, Any]]
) -> None:
    files, options = case
    before = AutoModelForVision2Seq.from_pretrained(ID, **options).state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    damaged = large(options["cache_dir"])[0]
    damaged.resolve().write_bytes(files[damaged.name][: len(files[damaged.name]) // 2])
    with pytest.raises(CheckpointCorruptError, match=rf"{damaged.name} cannot be read as .*Download or save the file"):
        AutoModelForVision2Seq.from_pretrained(ID, **options)
    again = AutoModelForVision2Seq.from_pretrained(ID, force_download=True, **options).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in before.items())
    assert damaged.read_bytes() == files[damaged.name]
