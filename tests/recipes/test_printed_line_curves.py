"""The picture of a training log."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import curves


def training(step: int, loss: float) -> dict[str, Any]:
    shown = {"text": loss, "standing": loss / 2, "stray": 2.0, "lines": 40.0}
    return {"kind": "training", "step": step, "minutes": step / 10, "loss": 3 * loss, **shown}


def validation(step: int, tune: float, held_out: float) -> dict[str, Any]:
    rates = {"cer": tune, "tune": tune, "held-out": held_out}
    return {"kind": "validation", "step": step, "minutes": step / 10, **rates, "best": True, "seconds": 1.0}


LOG = [training(10, 3.0), training(20, 2.0), validation(20, 0.4, 0.5), training(30, 1.5), validation(35, 0.1, 0.0)]


def text(records: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(record) + "\n" for record in records]


def test_a_line_that_was_cut_off_is_left_out() -> None:
    records = curves.read_log([*text(LOG), '{"minutes": 4.3, "st'])
    assert records == LOG
    assert curves.errors(records) == {"tune": ([2.0, 3.5], [40.0, 10.0]), "held-out": ([2.0, 3.5], [50.0, 0.0])}


def test_a_log_becomes_a_picture(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(text(LOG)))
    picture = tmp_path / "docs" / "curves.png"
    assert curves.main([str(log), "--out", str(picture)]) == 0
    image = Image.open(picture)
    assert image.size == (round(curves.WIDTH * curves.DPI), round(curves.HEIGHT * curves.DPI))
    assert image.convert("L").getpixel((0, 0)) == 255
    assert len(image.convert("RGB").getcolors(1 << 20) or []) > 50  # more than an empty frame
    # Before the first validation there are no errors to draw.
    assert Image.open(io.BytesIO(curves.draw(LOG[:2]))).size == image.size


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(ValueError, match="no record of training yet"):
        curves.draw(curves.read_log([]))
