"""The script that trains elsewhere: how it calls train.py, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "recipes" / "printed-line" / "gpu.sh"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with a Python that says how it was called."""
    python = folder / "python"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH"\necho "$@"\n')
    python.chmod(0o755)
    env = {**os.environ, "PYTHON": str(python)}
    return subprocess.run(["bash", str(SCRIPT), *arguments], cwd=folder, env=env, capture_output=True, text=True)


def test_it_trains_from_the_folder_that_was_carried(tmp_path: Path) -> None:
    carried = tmp_path / "carried"
    for name in ("fonts", "wheels"):
        (carried / name).mkdir(parents=True)
    done = call(tmp_path, "train", "carried", "28", "out", "--rate", "1e-3")
    path, command = done.stdout.splitlines()
    assert path == f"{carried}/wheels:{carried}/source"
    assert command.startswith(
        f"{carried}/recipe/train.py --corpus {carried}/corpus.txt --fonts {carried}/fonts --out out "
    )
    assert " --minutes 28 --bf16 --workers " in command
    assert command.endswith(" --rate 1e-3")


def test_a_folder_without_fonts_is_refused(tmp_path: Path) -> None:
    done = call(tmp_path, "train", ".", "28", "out")
    assert done.returncode == 1
    assert "holds no fonts or no wheels; make it with: gpu.sh pack DIR" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("pack",), ("train", "carried", "28"), ("run", "carried")])
def test_a_wrong_call_shows_the_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert "gpu.sh train DIR MINUTES OUT" in done.stderr
