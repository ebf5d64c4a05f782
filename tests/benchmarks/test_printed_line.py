"""How lines are shared out, measured and laid out beside one another, and what is said when a peer is not there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import machine
import printed_line
from printed_line import Answer, Engine, Missing


def engine(name: str, model: Path, wrong: dict[str, str], confidence: float | None = None) -> Engine:
    """Reads the stem of a file's name, but for some that it gets wrong."""

    def read(paths: Sequence[Path]) -> list[Answer]:
        return [Answer(wrong.get(path.stem, path.stem), confidence) for path in paths]

    return Engine(name, model, read)


def test_everybody_reads_every_line_and_goes_first_in_turn() -> None:
    plan = list(printed_line.turns(7, 3, ["a", "b"]))
    assert [who for who, _ in plan] == ["a", "b", "b", "a", "a", "b"]
    for name in "ab":
        assert [index for who, lines in plan if who == name for index in lines] == list(range(7))


@pytest.mark.parametrize(("limit", "kept"), [(None, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4]), (2, [0, 2])])
def test_a_limit_takes_evenly_spaced_lines(limit: int | None, kept: list[int]) -> None:
    assert printed_line.spread(range(5), limit) == kept
    assert printed_line.spread([], limit) == []


def test_answers_are_compared_with_their_own_lines(tmp_path: Path) -> None:
    model = tmp_path / "weights"
    lines = [(Path(f"{text}.png"), text) for text in ("abcd", "efgh", "ijkl")]
    ready = [engine("sure", model, {"efgh": "efgX"}, 0.5), engine("silent", model, {"abcd": "", "ijkl": "jkl"})]
    results = printed_line.measure(ready, lines)
    assert [results[name]["cer"] for name in ("sure", "silent")] == [round(1 / 12, 5), round(5 / 12, 5)]
    assert [results[name]["exact"] for name in ("sure", "silent")] == [2, 1]
    assert results["sure"]["cer_in_batches"] == results["sure"]["cer"]
    assert results["sure"]["calibration_error"] == 0.5
    assert "risk_coverage" not in results["silent"]
    assert all(len(result["ms"]) == 3 and len(result["rates"]) == 1 for result in results.values())


def test_quotes_count_as_they_are_and_alike(tmp_path: Path) -> None:
    lines = [(Path("line.png"), "It’s “so”")]
    ready = [engine("straight", tmp_path, {"line": 'It\'s "so"'})]
    result = printed_line.measure(ready, lines)["straight"]
    assert result["cer"] == round(3 / 9, 5)
    assert result["cer_quotes_alike"] == 0


def figures() -> dict[str, Any]:
    exact = {"lines": 2, "cer": 0.00333, "cer_quotes_alike": 0.002, "exact": 1}
    sure = {"risk_coverage": 0.25, "risk_coverage_at_best": 0.2, "calibration_error": 0.0371}
    return {
        "machine": {"cpu": "some", "threads": 2},
        "engines": {
            "ours": {"megabytes": 8.04, "ms_a_line": 14.96, "lines_a_second": 150.4},
            "theirs": {"megabytes": 21.23, "ms_a_line": 29.0, "lines_a_second": 30.0},
        },
        "left out": {"another": "it is not installed."},
        "sets": {"clean": {"ours": exact | sure, "theirs": exact}, "degraded": {"ours": exact | sure, "theirs": exact}},
    }


def test_the_table_in_markdown() -> None:
    assert list(printed_line.table(figures())) == [
        "| CER, exact lines | MB | clean | degraded | ms a line | lines a second |",
        "|---|---|---|---|---|---|",
        "| ours | 8.0 | 0.33 %, 1 | 0.33 %, 1 | 15.0 | 150 |",
        "| theirs | 21.2 | 0.33 %, 1 | 0.33 %, 1 | 29.0 | 30 |",
        "",
        "| area under risk-coverage (best possible), calibration error | clean | degraded |",
        "|---|---|---|",
        "| ours | 0.2500 (0.2000), 0.037 | 0.2500 (0.2000), 0.037 |",
        "",
        "CER with quotes of any shape alike, by set: ours 0.20 %, 0.20 %; theirs 0.20 %, 0.20 %.",
        "Lines: 2 clean, 2 degraded.",
        "cpu some, threads 2.",
        "another is left out: it is not installed.",
    ]


def test_peers_that_are_missing_are_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    ready, left_out = printed_line.engines(["tesseract", "rapidocr-small", "rapidocr-tiny"], 1, "printed-line")
    assert ready == []
    assert left_out["tesseract"] == "tesseract is not installed. On Debian: apt-get install tesseract-ocr"
    assert "rapidocr is not installed. pip install -c constraints-peers.txt" in left_out["rapidocr-tiny"]
    assert "rapidocr-small is left out: rapidocr is not installed." in capsys.readouterr().err
    assert printed_line.main(["--engines", "tesseract"]) == 1
    assert "None of the engines is installed." in capsys.readouterr().err


def test_tesseract_without_english(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        said = "tesseract 5.3.0\n" if "--version" in command else 'List of languages in "/some/folder/" (1):\nosd\n'
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr("shutil.which", lambda tool: tool)
    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(Missing, match="no data for English. On Debian: apt-get install tesseract-ocr-eng"):
        printed_line.tesseract(1)


def test_lines_without_poppler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(printed_line, "LINES", tmp_path)
    monkeypatch.setattr("shutil.which", lambda tool: None)
    with pytest.raises(Missing, match="pdftotext is not installed. On Debian: apt-get install poppler-utils"):
        printed_line.sets()


def test_a_set_of_only_some_documents_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def make(arguments: list[str]) -> None:
        out = Path(arguments[arguments.index("--out") + 1])
        out.mkdir(parents=True)
        (out / "manifest.jsonl").write_text(json.dumps({"image": "a.png", "document": "octave"}) + "\n")

    monkeypatch.setattr(printed_line, "LINES", tmp_path)
    monkeypatch.setattr("shutil.which", lambda tool: tool)
    monkeypatch.setattr("documents.main", make)
    with pytest.raises(Missing, match="No lines of bzip2, debian-policy, developers-reference, r-intro"):
        printed_line.sets()
    assert not (tmp_path / "clean").exists()


def test_the_sets_are_told_apart_by_resolution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(printed_line, "LINES", tmp_path)
    for folder, all_dpi in (("clean", (100, 200)), ("degraded", (200,))):
        (tmp_path / folder).mkdir()
        rows = [{"image": f"{n}-{dpi}.png", "text": f"line {n}", "dpi": dpi} for n in range(4) for dpi in all_dpi]
        (tmp_path / folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = printed_line.sets(2)
    assert lines == {
        "clean, 200 dpi": [(tmp_path / "clean" / f"{n}-200.png", f"line {n}") for n in (0, 2)],
        "clean, 100 dpi": [(tmp_path / "clean" / f"{n}-100.png", f"line {n}") for n in (0, 2)],
        "degraded, 200 dpi": [(tmp_path / "degraded" / f"{n}-200.png", f"line {n}") for n in (0, 2)],
    }


def test_the_machine_names_what_is_installed() -> None:
    described = machine.describe(3, ("numpy", "not-a-package"))
    assert described["threads"] == 3 and "numpy" in described and "not-a-package" not in described
