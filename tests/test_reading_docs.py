"""docs/reading.md is current: its examples run, and its tables name what there is."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest
import torch

from vision2seq import Reading
from vision2seq.cli.main import main

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
BASH = [
    line for block in re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) for line in block.split("\n")
]
COMMANDS = [line for line in BASH if line]


@pytest.fixture(autouse=True)
def at_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository's, in which files may be left behind."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("script", PYTHON)
def test_scripts_run(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(script, "reading.md", "exec"), {"__name__": "__main__"})
    assert len(capsys.readouterr().out.splitlines()) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(command: str, at_the_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    assert words[0] == "vision2seq"
    assert main(words[1:]) == 0
    assert capsys.readouterr().out
    if "--overlay" in words:
        left = at_the_root / words[words.index("--overlay") + 1]
        assert len(list(left.glob("*.png"))) == 8 if left.is_dir() else left.stat().st_size > 1000


def test_the_page_is_read() -> None:
    assert (len(PYTHON), len(COMMANDS)) == (3, 3)
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists()
    assert "def test_the_bundled_model_tells_where_words_are" in (ROOT / "tests" / "test_locate.py").read_text("utf-8")


def test_every_attribute_has_a_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert rows <= {field.name for field in dataclasses.fields(Reading)} | {"probability"}
    assert {"tokens", "words", "score", "alternatives", "repetition", "probability"} <= rows
