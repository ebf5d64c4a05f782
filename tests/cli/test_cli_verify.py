"""`vision2seq verify`: what a lower precision changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny

from vision2seq import Reader
from vision2seq.cli.main import main
from vision2seq.cli.verify import compare
from vision2seq.reading import Reading, Token

Captured = pytest.CaptureFixture[str]
LINES = Path(__file__).parents[1] / "goldens" / "lines"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.readable(tmp_path_factory.mktemp("verify") / "model")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "below/c.png")):
        tiny.picture(number).save(folder / name)
    return folder


def verify(capsys: Captured, *arguments: Any) -> tuple[int, str, str]:
    status = main(["verify", *map(str, arguments), "--quiet"])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def reading(text: str, confidence: float) -> Reading:
    tokens = tuple(Token(ord(sign), sign, confidence) for sign in text)
    return Reading(text, confidence, tokens, "eos", 0.0)


def test_what_is_counted() -> None:
    first = [reading("abcd", 0.9), reading("xy", 0.5), reading("", 1.0)]
    second = [reading("abxd", 0.8), reading("xyz", 0.9), reading("", 1.0)]
    found = compare(first, second, ["abcd", "xyz", ""])
    assert (found.images, found.same) == (3, 1)
    assert found.tokens == pytest.approx(5 / 6)
    assert found.distance == pytest.approx(2 / 6)
    assert found.drift == pytest.approx(0.1)
    assert found.widest == pytest.approx(0.4)
    assert (found.before, found.after) == (pytest.approx(1 / 7), pytest.approx(1 / 7))
    assert found.growth == pytest.approx(0)
    assert compare(first, first, None).growth is None


def test_eight_bits_of_the_bundled_model_read_as_well(capsys: Captured) -> None:
    """The quality that is promised: no more than a tenth of a point on real lines."""
    status, out, err = verify(capsys, "printed-line", "--images", LINES, "--json", "--most", 0.1)
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert found["images"] == len(list(LINES.glob("*.png")))
    assert found["tokens"] > 0.99
    assert found["before"] < 0.02
    assert found["growth"] <= 0.1


def test_without_texts(capsys: Captured, model: Path, images: Path) -> None:
    status, out, _ = verify(capsys, model, "--images", images, "--precision", "bf16")
    assert status == 0
    assert out.startswith("fp32 → bf16\nsame text:              ")
    assert "of 3 images" in out
    assert "error rate" not in out
    status, out, _ = verify(capsys, model, "--images", images, "--limit", 2, "--json")
    assert (json.loads(out)["images"], json.loads(out)["before"]) == (2, None)


def test_a_rate_that_grows_too_much(capsys: Captured, model: Path, images: Path) -> None:
    reader = Reader.from_pretrained(model)
    for path in images.rglob("*.png"):
        (text,) = reader.read(path)
        path.with_suffix(".gt.txt").write_text(text.text + "\n", encoding="utf-8")
    status, _, err = verify(capsys, model, "--images", images, "--most", -1)
    assert status == 1
    assert "the character error rate grows by" in err
    assert "more than --most -1" in err


def test_wrong_calls(capsys: Captured, model: Path, images: Path, tmp_path: Path) -> None:
    def complaint(*arguments: Any) -> str:
        status, out, err = verify(capsys, model, *arguments)
        assert (status, out) == (1, "")
        return err

    assert "is no folder; expected one with images in it" in complaint("--images", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no images; known endings: " in complaint("--images", tmp_path / "empty")
    assert "--limit is 0, expected a whole number from 1" in complaint("--images", images, "--limit", 0)
    assert "--most needs true texts: write them into files NAME.gt.txt" in complaint("--images", images, "--most", 1)
    (images / "a.gt.txt").write_text("some\n", encoding="utf-8")
    assert "b.gt.txt is missing, though other images of" in complaint("--images", images)
    for name in ("a", "b", "below/c"):
        (images / f"{name}.gt.txt").write_text("\n", encoding="utf-8")
    assert "are empty; expected some to count errors in" in complaint("--images", images)
    for path in images.rglob("*.gt.txt"):
        path.unlink()
    shutil.copy(images / "a.png", images / "d.png")
    (images / "d.png").write_bytes(b"no image")
    assert "d.png: " in complaint("--images", images)
