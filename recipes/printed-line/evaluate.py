"""Measures a model on lines with known text: character error rate, exact lines, what the confidence is worth, time.

Usage: `python evaluate.py [--model FOLDER] [--held-out] [--confusions] [FOLDER …]`, each folder with images and
`.gt.txt` beside them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from documents import DOCUMENTS
from render import held_out_lines
from vision2seq import Reader
from vision2seq.training.metrics import edit_distance

BINS = 15
"""Bins of the calibration error."""


def measure(reader: Reader, images: Sequence[Any], texts: Sequence[str], *, batch_size: int = 16) -> dict[str, Any]:
    """Reads images and compares.

    Args:
        reader: What reads.
        images: Anything that a reader takes.
        texts: What stands in them.
        batch_size: Images at a time.

    Returns:
        What `figures` gives, seconds a line, the five worst lines, and the readings as `readings`.
    """
    began = time.perf_counter()
    readings = list(reader.read(images, batch_size=batch_size))
    seconds = time.perf_counter() - began
    found = [reading.text for reading in readings]
    edits = [edit_distance(one, text) for one, text in zip(found, texts, strict=True)]
    worst = sorted(range(len(texts)), key=lambda index: -edits[index])[:5]
    return {
        **figures(
            found, texts, [reading.confidence for reading in readings], [reading.probability for reading in readings]
        ),
        "seconds_a_line": round(seconds / len(texts), 4),
        "worst": [{"expected": texts[index], "found": found[index]} for index in worst],
        "readings": readings,
    }


def figures(
    found: Sequence[str],
    expected: Sequence[str],
    confidence: Sequence[float] | None = None,
    whole_line: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Compares readings with the truth.

    Args:
        found: What was read.
        expected: What stands there, one for each of `found`.
        confidence: How sure of each, 0 to 1.
        whole_line: The probability of each whole line.

    Returns:
        `lines`, `cer` (edits over characters of the truth) and `exact` lines. With confidences the area under the
        risk-coverage curve, and what it would be for an order that knows the truth, and the calibration error; the same
        for `whole_line`.
    """
    edits = [0 if one == text else edit_distance(one, text) for one, text in zip(found, expected, strict=True)]
    wrong = [edit > 0 for edit in edits]
    result: dict[str, Any] = {
        "lines": len(edits),
        "cer": round(sum(edits) / max(1, sum(map(len, expected))), 5),
        "exact": wrong.count(False),
    }
    if confidence is not None:
        result["risk_coverage"] = round(risk_coverage_area(wrong, confidence), 5)
        result["risk_coverage_at_best"] = round(risk_coverage_area(wrong, [float(not one) for one in wrong]), 5)
        result["calibration_error"] = round(expected_calibration_error(wrong, confidence), 4)
    if whole_line is not None:
        result["risk_coverage_of_whole_line"] = round(risk_coverage_area(wrong, whole_line), 5)
        result["calibration_error_of_whole_line"] = round(expected_calibration_error(wrong, whole_line), 4)
    return result


def risk_coverage_area(wrong: Sequence[bool], confidence: Sequence[float]) -> float:
    """The area under the risk-coverage curve: the mean share of wrong lines among the surest 1, 2, … n.

    Lines of equal confidence could stand in any order; the area is the mean over all of them (Geifman and El-Yaniv 2017
    for the curve).

    Args:
        wrong: Which lines have a mistake.
        confidence: How sure each is; any scale.

    Returns:
        0 to 1; smaller is better. 0 without lines.

    Raises:
        ValueError: Not one confidence a line.
    """
    ranked = sorted(zip(confidence, wrong, strict=True), key=lambda pair: -pair[0])
    place, mistakes, area = 0, 0.0, 0.0
    for _, group in itertools.groupby(ranked, key=lambda pair: pair[0]):
        members = [one for _, one in group]
        share = sum(members) / len(members)
        for _ in members:
            place, mistakes = place + 1, mistakes + share
            area += mistakes / place
    return area / max(1, len(ranked))


def expected_calibration_error(wrong: Sequence[bool], confidence: Sequence[float], bins: int = BINS) -> float:
    """How far a confidence of p is from being right in p of the lines, by bins with equal numbers of lines.

    Bins of equal width, as they are usual, would hold nearly all lines of a good reader in the last one; these follow
    the lines (Nguyen and O'Connor 2015). Lines of equal confidence stay in the order given.

    Args:
        wrong: Which lines have a mistake.
        confidence: The probability that each has none, 0 to 1.
        bins: How many bins; at most one a line is used.

    Returns:
        The mean over bins, weighted by their lines, of the distance between mean confidence and share of right lines.

    Raises:
        ValueError: Not one confidence a line.
    """
    ranked = sorted(zip(confidence, wrong, strict=True), key=lambda pair: pair[0])
    count, error = len(ranked), 0.0
    for index in range(bins):
        members = ranked[index * count // bins : (index + 1) * count // bins]
        error += abs(sum(sure - (not bad) for sure, bad in members))
    return error / max(1, count)


def edits(found: str, expected: str) -> list[tuple[str, str]]:
    """The edits of one shortest way from the truth to a reading.

    Args:
        found: What was read.
        expected: What stands there.

    Returns:
        Pairs of what stands there and what was read, in the order of the line: one sign for another, `(sign, "")`
        for one left out, `("", sign)` for one added. Where ways are equally short, an exchange goes before two others.
    """
    table = [list(range(len(expected) + 1))]
    for i, sign in enumerate(found, 1):
        above, row = table[-1], [i]
        for j, other in enumerate(expected, 1):
            row.append(min(above[j - 1] + (sign != other), above[j] + 1, row[j - 1] + 1))
        table.append(row)
    steps = []
    i, j = len(found), len(expected)
    while i or j:
        if i and j and table[i][j] == table[i - 1][j - 1] + (found[i - 1] != expected[j - 1]):
            i, j = i - 1, j - 1
            if found[i] != expected[j]:
                steps.append((expected[j], found[i]))
        elif j and table[i][j] == table[i][j - 1] + 1:
            j -= 1
            steps.append((expected[j], ""))
        else:
            i -= 1
            steps.append(("", found[i]))
    return steps[::-1]


def confusions(
    found: Sequence[str], expected: Sequence[str], groups: Sequence[str] | None = None
) -> dict[str, Counter[tuple[str, str]]]:
    """Counts which signs are read as which.

    Args:
        found: What was read.
        expected: What stands there.
        groups: What each line belongs to, such as its resolution; one group `all` unless given.

    Returns:
        For each group, in alphabetical order, how often each pair of `edits` comes.

    Raises:
        ValueError: Not one text, or not one group, a line.
    """
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for one, text, group in zip(found, expected, groups or ["all"] * len(expected), strict=True):
        counts.setdefault(group, Counter()).update(edits(one, text))
    return dict(sorted(counts.items()))


def confusion_table(
    found: Sequence[str], expected: Sequence[str], rows: Sequence[Mapping[str, Any]] | None = None, most: int = 20
) -> Iterator[str]:
    """Lays out the confusions of a set: all of them, then by document and type, resolution, and clean or degraded.

    Args:
        found: What was read.
        expected: What stands there.
        rows: Rows of the set's manifest, if it has one.
        most: Most pairs a group; a quarter of them for the groups of the manifest.

    Yields:
        One line a group: edits, error rate, then pairs with their numbers.
    """
    types = {document.name: document.type for document in DOCUMENTS}
    views: list[tuple[int, list[str]]] = [(most, ["all"] * len(expected))]
    if rows is not None:
        views += [
            (most // 4, [f"{row['document']}: {types.get(str(row['document']), '?')}" for row in rows]),
            (most // 4, [f"{row['dpi']:>3} dpi" for row in rows]),
            (most // 4, ["degraded" if row["degraded"] else "clean" for row in rows]),
        ]
    names = {" ": "space", "": "nothing"}
    for count, groups in views:
        characters: Counter[str] = Counter()
        for group, text in zip(groups, expected, strict=True):
            characters[group] += len(text)
        for group, pairs in confusions(found, expected, groups).items():
            left_out = sum(times for (_, read), times in pairs.items() if not read)
            added = sum(times for (stands, _), times in pairs.items() if not stands)
            shown = ", ".join(
                f"{names.get(stands, stands)} → {names.get(read, read)} {times}"
                for (stands, read), times in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:count]
            )
            total = sum(pairs.values())
            yield (
                f"{group}: {total} edits ({total - left_out - added} exchanged, {left_out} left out, {added} added), "
                f"{total / max(1, characters[group]):.2%}: {shown}"
            )


def manifest_rows(folder: Path, paths: Sequence[Path]) -> list[dict[str, Any]] | None:
    """The rows of `manifest.jsonl` for images of a folder, in their order; None without such a file."""
    path = folder / "manifest.jsonl"
    if not path.is_file():
        return None
    rows = {row["image"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    return [rows[image.name] for image in paths]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a JSON object a set, and its confusions if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--model", default="printed-line")
    parser.add_argument("--held-out", action="store_true", help="500 rendered lines in font families never trained on")
    parser.add_argument("--confusions", action="store_true", help="also print which signs are read as which")
    parser.add_argument("--limit", type=int, help="at most so many lines of each set, evenly spaced")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    reader = Reader.from_pretrained(options.model)

    def show(name: str, images: Sequence[Any], texts: Sequence[str], rows: list[dict[str, Any]] | None = None) -> None:
        chosen = range(len(texts))
        if options.limit and len(texts) > options.limit:
            chosen = [index * len(texts) // options.limit for index in range(options.limit)]
        images, texts = [images[index] for index in chosen], [texts[index] for index in chosen]
        result = measure(reader, images, texts)
        readings = result.pop("readings")
        print(json.dumps({"set": name, **result}, ensure_ascii=False), flush=True)
        if options.confusions:
            rows = rows and [rows[index] for index in chosen]
            for line in confusion_table([reading.text for reading in readings], texts, rows):
                print(line, flush=True)

    if options.held_out:
        for degrade in (True, False):
            lines = held_out_lines(degrade=degrade)
            images = [Image.fromarray(array) for array, _ in lines]
            show("held-out" if degrade else "held-out, clean", images, [text for _, text in lines])
    for folder in options.folders:
        paths = sorted(folder.glob("*.png"))
        texts = [path.with_suffix(".gt.txt").read_text(encoding="utf-8").rstrip("\n") for path in paths]
        show(str(folder), paths, texts, manifest_rows(folder, paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
