"""The benchmark of foreign files: what is left out is named, and the figures are laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import foreign
import foreign_files


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No environment but this one."""
    absent = {name: tmp_path / f".venv-{name}" / "bin" / "python" for name in foreign.ENVIRONMENTS}
    monkeypatch.setattr(foreign, "ENVIRONMENTS", absent)


@pytest.mark.usefixtures("alone")
def test_without_the_frameworks(tmp_path: Path) -> None:
    formats, left_out = foreign.make("tiny", tmp_path, 1)
    assert formats == []
    assert left_out == {
        "h5": "there is no .venv-TensorFlow; `make fixtures` makes it",
        "bundle": "there is no .venv-TensorFlow; `make fixtures` makes it",
        "msgpack": "there is no .venv-Flax; `make fixtures` makes it",
    }
    chosen = foreign.cases(tmp_path, formats)
    broken = foreign.Case("broken", "safetensors", foreign.OWN, "raise ValueError('as expected')", "None")
    rows, failures = foreign.load([*chosen, broken], tmp_path, 1, 1)
    assert failures == {"broken": "ValueError: as expected"}
    assert list(rows) == ["safetensors, copied"]
    row = rows["safetensors, copied"]
    size = (tmp_path / "safetensors" / "model.safetensors").stat().st_size
    assert row["file (MB)"] == size / 1e6
    assert row["x safetensors"] == 1
    assert 0 < row["loaded (s)"] <= row["every weight touched (s)"]


@pytest.mark.usefixtures("alone")
def test_what_is_installed() -> None:
    pytest.importorskip("h5py")
    sizes, left_out = foreign.installed(1)
    assert sizes.keys() == {"vision2seq + h5py + msgpack"}
    assert 10 < sizes["vision2seq + h5py + msgpack"] < 1000
    assert left_out.keys() == {"TensorFlow", "Flax"}


def test_every_format_is_read_by_both(tmp_path: Path) -> None:
    found = foreign.cases(tmp_path, ["h5", "bundle", "msgpack"])
    assert [case.name for case in found] == [
        "safetensors, copied",
        "h5: vision2seq",
        "h5: transformers",
        "h5: transformers, TensorFlow's model",
        "bundle: vision2seq",
        "bundle: transformers",
        "msgpack: vision2seq",
        "msgpack: transformers",
    ]
    assert [case.python == foreign.OWN for case in found] == [True, True, False, False, True, False, True, False]
    assert foreign_files.MAKERS.keys() == foreign.WRITERS.keys()


def test_the_table() -> None:
    figures: dict[str, Any] = {
        "load": {"a": {"file (MB)": 1.0, "peak (MB)": 2.5}, "b": {"file (MB)": 3.0, "peak (MB)": 4.0}},
        "installed (MB)": {"vision2seq": 12.34},
        "left out": {"h5": "no reason"},
    }
    lines = [line.split() for line in foreign.table(json.loads(json.dumps(figures))).splitlines()]
    assert lines[:3] == [["file", "(MB)", "peak", "(MB)"], ["a", "1.00", "2.50"], ["b", "3.00", "4.00"]]
    assert lines[-2:] == [["vision2seq", "12.3"], ["left", "out:", "h5:", "no", "reason"]]
