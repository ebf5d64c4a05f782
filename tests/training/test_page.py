"""docs/training.md: its commands and programs run as they stand there, with results in another place."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
from test_readme import ROOT, Block, blocks, commands

from vision2seq.cli.main import main

torch.set_num_threads(1)

TEXT = (ROOT / "docs/training.md").read_text(encoding="utf-8")


def of(language: str, where: Path) -> list[Block]:
    (where / "corpus.txt").write_text("The quick brown fox", encoding="utf-8")
    moved = TEXT.replace("outputs/", f"{where}/").replace("corpus.txt", str(where / "corpus.txt"))
    return [block for block in blocks(moved) if block.language == language]


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    given = [command for block in of("console", tmp_path) for command, _ in commands(block)]
    assert [command.split()[1] for command in given] == ["finetune", "new"]
    for command in given:
        assert main(shlex.split(command)[1:]) == 0
        assert capsys.readouterr().out
    assert {path.name for path in (tmp_path / "first").iterdir()} == {
        "best",
        "final",
        "log.jsonl",
        "last.pt",
        "run.json",
    }


def test_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    for block in of("python", tmp_path):
        exec(compile(block.text, "training.md", "exec"), {"__name__": "__main__"})
        assert str(tmp_path) in capsys.readouterr().out
