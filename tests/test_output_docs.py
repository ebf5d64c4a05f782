"""docs/output.md is current: its examples run and print what it says, and its tables have a row for everything."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from donut_folder import donut

from vision2seq import Reader, hub
from vision2seq.cli.main import main
from vision2seq.presets import PRESETS
from vision2seq.tasks import TASKS

torch.set_num_threads(1)

TEXT = (Path(__file__).parents[1] / "docs" / "output.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SESSIONS = [text for language, text in BLOCKS if language == "python" and text.startswith(">>>")]
SCRIPTS = [text for language, text in BLOCKS if language == "python" and not text.startswith(">>>")]
COMMANDS = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny checkpoints where the page names real ones, in a folder with an image."""
    tags = ("<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>", "<s_iitcdip>")
    places = {
        "naver-clova-ix/donut-base-finetuned-docvqa": donut(tmp_path / "donut", *tags),
        "OleehyO/TexTeller": tiny.readable(tmp_path / "TexTeller"),
        "my/formula-reader": tiny.readable(tmp_path / "reader"),
    }
    find = hub.find
    monkeypatch.setattr(hub, "find", lambda name, *rest: find(places.get(name, name), *rest))
    monkeypatch.chdir(tmp_path)
    tiny.picture().save("invoice.png")


@pytest.mark.parametrize("text", SESSIONS)
def test_sessions_print_what_they_say(text: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, "docs/output.md", None, 0)
    assert test.examples
    complaints: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=complaints.append)
    assert not complaints, "".join(complaints)


@pytest.mark.parametrize("text", SCRIPTS)
@pytest.mark.usefixtures("stand_ins")
def test_scripts_run(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    space: dict[str, Any] = {}
    exec(text, space)
    assert isinstance(space["reader"], Reader)
    if "question" in text:
        assert "{'question': 'What is the total" in capsys.readouterr().out
        assert set(space["reading"].data) == {"question", "answer"}


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.usefixtures("stand_ins")
def test_commands_run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *arguments = shlex.split(line)
    assert name == "vision2seq"
    assert main(arguments) == 0
    assert capsys.readouterr().out


def test_the_page_is_read() -> None:
    assert (len(SESSIONS), len(SCRIPTS), len(COMMANDS)) == (4, 2, 2)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_has_a_row(name: str) -> None:
    (row,) = (line for line in TEXT.splitlines() if line.startswith("| `") and f"`{name}`" in line.split(" | ")[0])
    assert f"<s_{name}>" in row
    task = TASKS[name]
    assert task.more.replace("{question}", "…") in row
    assert ("as JSON" in row) == (not task.answer)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_has_a_row(name: str) -> None:
    (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    preset = PRESETS[name]
    assert (str(preset.max_new_tokens) in cells[3]) == (preset.max_new_tokens is not None)
    assert ("as its file says" in cells[2]) == (preset.image_class in ("", "MangaImageProcessor"))
