"""docs/loading.md is current: every test that it names exists, and every argument has its row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from vision2seq import errors, hub
from vision2seq.models import arguments, base

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "loading.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TEXT.splitlines() if line.startswith("| ")]

# What the page of AutoModelForVision2Seq lists for from_pretrained.
OF_THE_PAGE = (
    "pretrained_model_name_or_path model_args config state_dict cache_dir from_tf force_download resume_download "
    "proxies output_loading_info local_files_only revision trust_remote_code kwargs"
).split()


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in functions(file)


def test_every_row_names_a_test() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        if row[-1] != "test":
            assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", row[-1]), row


@pytest.mark.parametrize("name", [*OF_THE_PAGE, *hub.ARGUMENTS, *base._OPTIONS, *base._PLACES, *base._MORE_OPTIONS])
def test_every_argument_has_a_row(name: str) -> None:
    assert sum(row[0] == f"`{name}`" for row in ROWS) == 1, name


@pytest.mark.parametrize("name", [*arguments.NO_LONGER_NEEDED, *arguments._ABSENT])
def test_every_other_argument_is_named(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_errors_are_what_the_table_says() -> None:
    rows = [row for row in ROWS if len(row) == 4 and row[0] != "trouble"]
    assert rows
    for _, raised, theirs, _ in rows:
        ours = getattr(errors, re.findall(r"`(\w+)`", raised)[0])
        assert issubclass(ours, {"OSError": OSError, "ValueError": ValueError}[theirs.strip("`")])
