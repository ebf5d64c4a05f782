"""The picture of a training log: what a kill leaves in it, and that it can be drawn."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import curves


def training(minutes: float, loss: float) -> dict[str, Any]:
    return {"minutes": minutes, "lines": round(1000 * minutes), "loss": loss, "standing": loss / 2, "stray": 2.0}


def validation(minutes: float, name: str, cer: float) -> dict[str, Any]:
    return {"minutes": minutes, "set": name, "cer": cer, "wrong": []}


LOG = [
    training(1, 3.0),
    training(2, 2.0),
    validation(2, "tune", 0.4),
    validation(2, "held-out", 0.5),
    training(3, 1.5),
    training(4, 1.0),
    validation(4, "tune", 0.1),
    validation(4, "held-out", 0.0),
]


def text(records: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(record) + "\n" for record in records]


def test_what_a_kill_undid_counts_once() -> None:
    # Killed after minute 4, with its last line half written; the checkpoint was of minute 2.
    again = [training(3, 1.4), training(4.5, 0.9), validation(4.5, "tune", 0.2)]
    records = curves.read_log([*text(LOG), '{"minutes": 4.3, "st', *text(again)])
    assert records == [*LOG[:5], *again]
    assert curves.errors(records) == {"tune": ([2, 4.5], [40.0, 20.0]), "held-out": ([2], [50.0])}


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
