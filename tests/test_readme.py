"""The README: every example in it runs, and every file that it points to is there.

Blocks of ``python`` are executed; lines of ``console`` (after ``$``) and ``bash`` blocks that call ``vision2seq`` go
through its `main`. Output that stands below a command has to be what it prints, ``…`` standing for anything. A block
below ``<!-- not run: reason -->`` is left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vision2seq.cli.main import main

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
LEFT_OUT = re.compile(r"<!-- not run: \S.* -->\s*$")


@dataclass
class Block:
    """A fenced block of the README."""

    language: str
    text: str
    line: int
    left_out: bool

    @property
    def name(self) -> str:
        return f"line-{self.line}-{self.language}"


def blocks(text: str) -> Iterator[Block]:
    """All fenced blocks of a Markdown text."""
    for found in FENCE.finditer(text):
        before = text[: found.start()]
        yield Block(found[1], found[2], before.count("\n") + 1, bool(LEFT_OUT.search(before)))


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """The command lines of a block, and what the block says that each prints."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if block.language == "console":
            if line.startswith("$ "):
                found.append((line[2:].strip(), []))
            elif line.strip():
                assert found, f"{block.name}: output before any command: {line}"
                found[-1][1].append(line)
        elif line.strip() and not line.lstrip().startswith("#"):
            found.append((line.strip(), []))
    return found


BLOCKS = list(blocks(TEXT))
PYTHON = [block for block in BLOCKS if block.language == "python" and not block.left_out]
SHELL = [block for block in BLOCKS if block.language in ("console", "bash", "sh", "shell") and not block.left_out]


def test_there_are_examples() -> None:
    assert PYTHON
    assert any(command.startswith("vision2seq read ") for block in SHELL for command, _ in commands(block))
    # Only text that is no example may stand in a block without a language that is run.
    assert {block.language for block in BLOCKS} <= {"python", "console", "bash", "sh", "shell", "text", "json"}


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python(block: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    # The line numbers of a traceback are the README's.
    exec(compile("\n" * block.line + block.text, "README.md", "exec"), {"__name__": "__main__"})
    if "print(" in block.text:
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_commands(block: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    for command, shown in commands(block):
        words = shlex.split(command, comments=True)
        assert words[0] == "vision2seq", f"{command}: cannot be run here; put <!-- not run: reason --> above the block"
        assert not {"|", ">", "<", "&&", ";"} & set(words), f"{command}: needs a shell; say <!-- not run: reason -->"
        assert main(words[1:]) == 0, command
        printed = capsys.readouterr().out.rstrip("\n")
        if shown:
            pattern = ".*".join(map(re.escape, "\n".join(shown).split("…")))
            assert re.fullmatch(pattern, printed, re.DOTALL), f"{command} prints\n{printed}"
        else:
            assert printed, f"{command} prints nothing"


def test_the_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:\$ |`)make ([\w-]+)", TEXT))
    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_links_lead_to_files() -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)", TEXT) if "://" not in target]
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_what_this_test_understands() -> None:
    text = (
        "a\n\n<!-- not run: slow -->\n```python\n1 / 0\n```\n```console\n$ one \\\n  two  # why\nout\n\n$ three\n```\n"
    )
    first, second = blocks(text)
    assert (first.language, first.left_out, first.line) == ("python", True, 4)
    assert not second.left_out
    assert commands(second) == [("one two  # why", ["out"]), ("three", [])]
    assert commands(Block("bash", "# a\none\n\ntwo\n", 1, False)) == [("one", []), ("two", [])]
