"""How the recipe measures: error rates, confidence, confusions."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import evaluate
from vision2seq.training.metrics import edit_distance

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "goldens" / "lines"


def test_figures_of_a_few_lines() -> None:
    result = evaluate.figures(["abc", "xbcd", ""], ["abc", "abc", "ab"], [0.9, 0.8, 0.1], [0.7, 0.5, 0.2])
    assert result["lines"] == 3
    assert result["cer"] == 0.5  # one exchanged, one added, two left out, of eight characters
    assert result["exact"] == 1
    assert result["risk_coverage"] == round((0 + 1 / 2 + 2 / 3) / 3, 5)
    assert result["risk_coverage_at_best"] == result["risk_coverage"]
    assert result["calibration_error"] == round((0.1 + 0.8 + 0.1) / 3, 4)
    assert result["calibration_error_of_whole_line"] == round((0.3 + 0.5 + 0.2) / 3, 4)
    assert "risk_coverage" not in evaluate.figures(["a"], ["a"])
    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        evaluate.figures(["a"], ["a", "b"])


def test_the_risk_coverage_area_puts_sure_mistakes_worst() -> None:
    wrong = [False, False, True, False]
    areas = {
        order: evaluate.risk_coverage_area([wrong[index] for index in order], [4, 3, 2, 1])
        for order in itertools.permutations(range(4))
    }
    assert areas[0, 1, 3, 2] == 1 / 4 / 4 == min(areas.values())
    assert areas[2, 0, 1, 3] == (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4 == max(areas.values())
    # Not being sure of anything in particular is worth the mean of all orders, whichever stands first.
    for places in itertools.permutations(range(4)):
        equal = evaluate.risk_coverage_area([wrong[place] for place in places], [0.5] * 4)
        assert equal == pytest.approx(sum(areas.values()) / len(areas))
    assert evaluate.risk_coverage_area([], []) == 0
    assert evaluate.risk_coverage_area([False] * 3, [1, 1, 2]) == 0
    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        evaluate.risk_coverage_area([True], [])


def test_the_calibration_error_is_the_distance_from_being_right_as_often_as_said() -> None:
    chance = random.Random(5)
    sure = [chance.random() for _ in range(30_000)]
    honest = [chance.random() > one for one in sure]
    assert evaluate.expected_calibration_error(honest, sure) < 0.01
    # Always a tenth too sure.
    boasting = [chance.random() > max(0.0, one - 0.1) for one in sure]
    assert evaluate.expected_calibration_error(boasting, sure) == pytest.approx(0.1, abs=0.015)
    assert evaluate.expected_calibration_error([True, True], [1, 1]) == 1
    assert evaluate.expected_calibration_error([False, True], [1, 0]) == 0
    # One bin forgives what two do not: too sure of one half, not sure enough of the other.
    assert evaluate.expected_calibration_error([True, False], [0.4, 0.6], bins=1) == 0
    assert evaluate.expected_calibration_error([True, False], [0.4, 0.6], bins=2) == pytest.approx(0.4)
    assert evaluate.expected_calibration_error([], []) == 0


def test_edits_are_as_many_as_the_distance_and_lead_from_one_to_the_other() -> None:
    assert evaluate.edits("kitten", "sitting") == [("s", "k"), ("i", "e"), ("g", "")]
    assert evaluate.edits("ab", "") == [("", "a"), ("", "b")]
    assert evaluate.edits("", "ab") == [("a", ""), ("b", "")]
    assert evaluate.edits("same", "same") == []
    chance = random.Random(1)
    for _ in range(300):
        found, expected = ("".join(chance.choices("abc ", k=chance.randrange(9))) for _ in range(2))
        steps = evaluate.edits(found, expected)
        assert len(steps) == edit_distance(found, expected)
        assert all(stands != read for stands, read in steps)
        # What is gained and lost has to balance, sign by sign.
        balance = Counter(expected) + Counter(read for _, read in steps if read)
        assert balance - Counter(stands for stands, _ in steps if stands) == Counter(found)


def test_confusions_are_counted_by_group() -> None:
    found, expected = ["1ine", "lines", "a b"], ["line", "line", "ab"]
    assert evaluate.confusions(found, expected) == {"all": {("l", "1"): 1, ("", "s"): 1, ("", " "): 1}}
    groups = evaluate.confusions(found, expected, ["b", "a", "a"])
    assert list(groups) == ["a", "b"]
    assert groups["b"] == {("l", "1"): 1}


def test_the_confusion_table_goes_by_document_resolution_and_damage() -> None:
    rows: list[dict[str, Any]] = [
        {"document": "sbcl", "dpi": 100, "degraded": False},
        {"document": "octave", "dpi": 200, "degraded": True},
    ]
    lines = list(evaluate.confusion_table(["1ine", "a b"], ["line", "ab"], rows))
    assert lines == [
        "all: 2 edits (1 exchanged, 0 left out, 1 added), 33.33%: nothing → space 1, l → 1 1",
        "octave: Computer Modern (Texinfo): 1 edits (0 exchanged, 0 left out, 1 added), 50.00%: nothing → space 1",
        "sbcl: Computer Modern, with much typewriter (Texinfo): 1 edits (1 exchanged, 0 left out, 0 added), 25.00%: "
        "l → 1 1",
        "100 dpi: 1 edits (1 exchanged, 0 left out, 0 added), 25.00%: l → 1 1",
        "200 dpi: 1 edits (0 exchanged, 0 left out, 1 added), 50.00%: nothing → space 1",
        "clean: 1 edits (1 exchanged, 0 left out, 0 added), 25.00%: l → 1 1",
        "degraded: 1 edits (0 exchanged, 0 left out, 1 added), 50.00%: nothing → space 1",
    ]
    assert list(evaluate.confusion_table(["x"], ["x"])) == ["all: 0 edits (0 exchanged, 0 left out, 0 added), 0.00%: "]


def test_the_command_measures_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(GOLDENS), "--limit", "4", "--confusions", "--threads", "1"]) == 0
    first, *table = capsys.readouterr().out.splitlines()
    result = json.loads(first)
    assert result["lines"] == 4
    assert 0 <= result["cer"] < 1
    assert result["risk_coverage_at_best"] <= result["risk_coverage"]
    assert table[0].startswith("all: ")
    assert any(line.startswith("debmake-doc: Liberation") for line in table)
