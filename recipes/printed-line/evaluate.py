"""Measures a model on lines with known text: character error rate, exact lines, what the confidence is worth, time.

Usage: `python evaluate.py [--model FOLDER] [--held-out] [FOLDER …]`, each folder with images and `.gt.txt` beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from render import held_out_lines
from train import distance
from vision2seq import Reader


def measure(reader: Reader, images: Sequence[Any], texts: Sequence[str], *, batch_size: int = 16) -> dict[str, Any]:
    """Reads images and compares.

    Args:
        reader: What reads.
        images: Anything that a reader takes.
        texts: What stands in them.
        batch_size: Images at a time.

    Returns:
        Lines, CER, exact lines, and for the confidence the area under the risk-coverage curve (the mean share of wrong
        lines among the most confident 1, 2, … n), and the same for an order that knows the truth; seconds a line.
    """
    began = time.perf_counter()
    readings = list(reader.read(images, batch_size=batch_size))
    seconds = time.perf_counter() - began
    edits = [distance(reading.text, text) for reading, text in zip(readings, texts, strict=True)]
    order = sorted(range(len(texts)), key=lambda index: -readings[index].confidence)
    return {
        "lines": len(texts),
        "cer": round(sum(edits) / max(1, sum(map(len, texts))), 4),
        "exact": sum(not edit for edit in edits),
        "risk_coverage": round(_area([bool(edits[index]) for index in order]), 4),
        "risk_coverage_at_best": round(_area(sorted(bool(edit) for edit in edits)), 4),
        "seconds_a_line": round(seconds / len(texts), 4),
        "worst": [
            {"expected": texts[index], "found": readings[index].text}
            for index in sorted(range(len(texts)), key=lambda index: -edits[index])[:5]
        ],
    }


def _area(wrong: Sequence[bool]) -> float:
    total, area = 0, 0.0
    for count, one in enumerate(wrong, 1):
        total += one
        area += total / count
    return area / max(1, len(wrong))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a JSON object a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--model", default="printed-line")
    parser.add_argument("--held-out", action="store_true", help="500 rendered lines in font families never trained on")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    reader = Reader.from_pretrained(options.model)
    if options.held_out:
        for degrade in (True, False):
            lines = held_out_lines(degrade=degrade)
            images = [Image.fromarray(array) for array, _ in lines]
            name = "held-out" if degrade else "held-out, clean"
            print(json.dumps({"set": name, **measure(reader, images, [text for _, text in lines])}), flush=True)
    for folder in options.folders:
        paths = sorted(folder.glob("*.png"))
        texts = [path.with_suffix(".gt.txt").read_text(encoding="utf-8").rstrip("\n") for path in paths]
        print(json.dumps({"set": str(folder), **measure(reader, paths, texts)}, ensure_ascii=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
