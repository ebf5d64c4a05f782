"""Draws a training log as one picture: losses, and character error rates of the validation sets, over the minutes.

Usage: `python curves.py run/log.jsonl [--out docs/printed-line-training.png]` (needs matplotlib).
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from documents import write

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "printed-line-training.png"
LOSSES = {
    "text": "decoder: the next character",
    "standing": "encoder: who stands where",
    "stray": "attention off its place",
}
_NO_SETS = {"kind", "step", "minutes", "seconds", "best", "cer"}
DPI = 150
WIDTH, HEIGHT = 9.0, 3.9  # inches: shown at 900 pixels, letters keep their size


def read_log(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Reads what the training wrote; a line that is still being written, or was cut off by a kill, is left out.

    Args:
        lines: Lines of `log.jsonl`.

    Returns:
        Its records.
    """
    records: list[dict[str, Any]] = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def errors(records: Sequence[dict[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """For each validation set, minutes and character error rates in per cent."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        if record["kind"] == "validation":
            for name in record.keys() - _NO_SETS:
                minutes, rates = found.setdefault(name, ([], []))
                minutes.append(record["minutes"])
                rates.append(100 * record[name])
    return dict(sorted(found.items(), reverse=True))


def draw(records: Sequence[dict[str, Any]]) -> bytes:
    """Draws the curves.

    Args:
        records: What `read_log` gives.

    Returns:
        A PNG.

    Raises:
        ValueError: No record of training.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    training = [record for record in records if record["kind"] == "training"]
    if not training:
        raise ValueError("The log has no record of training yet.")
    minutes = [record["minutes"] for record in training]
    steps = [0, *(record["step"] for record in training)]
    counts = [now - before for before, now in itertools.pairwise(steps)]
    lines = sum(count * record["lines"] for count, record in zip(counts, training, strict=True))
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained", facecolor="white")
    losses, rates = figure.subplots(1, 2)
    for name, label in LOSSES.items():
        losses.plot(minutes, [record[name] for record in training], label=label, linewidth=1.2)
    losses.set_title("Loss on training lines, nats")
    for name, (times, values) in errors(records).items():
        rates.plot(times, values, label=name, marker="o", markersize=3.5, linewidth=1.2)
    rates.set_title("Character error rate on validation lines, %")
    for axes in (losses, rates):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0, minutes[-1])
        axes.set_xlabel(f"minutes of training ({lines / 1e6:.2g} million lines in all)")
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws one log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, help="log.jsonl of train.py")
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args(arguments)
    with options.log.open(encoding="utf-8") as lines:
        write(options.out, draw(read_log(lines)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
