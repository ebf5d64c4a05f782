"""Cuts the lines that the repository keeps: `examples/lines`, and the tests' sample `tests/goldens/lines`.

They come from documents whose licences let anybody pass parts of them on, and from none of the documents that the
published table is computed on.

Usage: `python examples.py [--documents FOLDER]`, with FOLDER as for `documents.py`.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from documents import (
    DOCUMENTS,
    Document,
    Line,
    choose,
    crop,
    degrade,
    draw_page,
    has_drawn_gap,
    locate,
    read_lines,
    write,
)

ROOT = Path(__file__).resolve().parents[2]

# File name, document, page, resolution and the whole text.
EXAMPLES: tuple[tuple[str, str, int, int, str], ...] = (
    ("serif-200", "debmake-doc", 59, 200, "to the first binary package listed in the debian/control."),
    ("serif-150", "debmake-doc", 59, 150, "Here are a few reminders for the above list."),
    ("serif-100", "debmake-doc", 131, 100, "Let’s get the source and make the Debian package."),
    ("modern-100", "sbcl", 74, 100, "A continuable error is signaled otherwise."),
    ("modern-bold-200", "sbcl", 95, 200, "11.3.5 Output stream methods"),
    ("modern-300", "gnuplot", 168, 300, "A cartesian coordinate system is used by default."),
    ("numbers-150", "charis-history", 1, 150, "9 Feb 2022 (SIL WSTech Team) Charis SIL version 6.101"),
    ("sans-200", "charis-faq", 1, 200, "Why does the font have some Greek characters, but not all?"),
)

# How many lines of the tests' sample come from which document; a fifth of them is degraded.
SAMPLE: tuple[tuple[str, int], ...] = (("debmake-doc", 14), ("sbcl", 13), ("gnuplot", 8), ("charis-history", 5))
_RESOLUTIONS = (100, 150, 200, 300)


def _unpacked(document: Document, folders: Sequence[Path], temporary: Path) -> Path:
    path = locate(document, folders)
    if path is None:
        raise FileNotFoundError(
            f"Found no {document.path}: install the Debian package {document.package}, or give --documents FOLDER with "
            "it unpacked."
        )
    if path.suffix != ".gz":
        return path
    plain = temporary / f"{document.name}.pdf"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    return plain


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def examples(folders: Sequence[Path], temporary: Path) -> Iterator[tuple[str, Image.Image, str]]:
    """Cuts the examples.

    Args:
        folders: Where unpacked packages lie.
        temporary: Room for unpacked files.

    Yields:
        File name without ending, crop and text.

    Raises:
        FileNotFoundError: A document is not on this machine.
        ValueError: A document has another text on the page than it had.
    """
    named = {document.name: document for document in DOCUMENTS}
    for name, document_name, page, dpi, text in EXAMPLES:
        document = named[document_name]
        pdf = _unpacked(document, folders, temporary)
        lines = [line for some in read_lines(document, pdf, pages=(page, page)) for line in some if line.text == text]
        if len(lines) != 1:
            raise ValueError(
                f"Found {len(lines)} lines {text!r} on page {page} of {pdf}, expected one: this version of the package "
                f"{document.package} is another than Debian 12 has."
            )
        yield name, crop(draw_page(pdf, page, dpi), lines[0].box, dpi, 3), text


def sample(folders: Sequence[Path], temporary: Path) -> Iterator[tuple[str, Image.Image, Line, int, bool]]:
    """Cuts the tests' sample: moderate lines at all resolutions, every fifth degraded.

    Args:
        folders: Where unpacked packages lie.
        temporary: Room for unpacked files.

    Yields:
        File name without ending, crop, line, resolution, and whether it is degraded.

    Raises:
        FileNotFoundError: A document is not on this machine.
    """
    named = {document.name: document for document in DOCUMENTS}
    shown = {text for *_, text in EXAMPLES}
    number = 0
    for document_name, count in SAMPLE:
        document = named[document_name]
        pdf = _unpacked(document, folders, temporary)

        def accept(line: Line, pdf: Path = pdf) -> bool:
            moderate = 2 <= len(line.text.split()) <= 11 and line.text not in shown
            return moderate and not has_drawn_gap(line, draw_page(pdf, line.page, 150), 150)

        for line in choose(list(read_lines(document, pdf)), count, f"sample {document_name}", accept, most=4):
            dpi = _RESOLUTIONS[number % len(_RESOLUTIONS)]
            degraded = number % 5 == 3
            image = crop(draw_page(pdf, line.page, dpi), line.box, dpi, 3)
            if degraded:
                image = degrade(image, dpi, random.Random(f"sample {number}"))
            yield f"{number:02d}-{document_name}-{dpi}{'-degraded' if degraded else ''}", image, line, dpi, degraded
            number += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes both folders anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, action="append", default=[], help="folder with unpacked packages")
    parser.add_argument("--examples", type=Path, default=ROOT / "examples" / "lines")
    parser.add_argument("--sample", type=Path, default=ROOT / "tests" / "goldens" / "lines")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        for name, image, text in examples(options.documents, Path(temporary)):
            write(options.examples / f"{name}.png", _png(image))
            write(options.examples / f"{name}.gt.txt", (text + "\n").encode())
        rows = []
        for name, image, line, dpi, degraded in sample(options.documents, Path(temporary)):
            write(options.sample / f"{name}.png", _png(image))
            write(options.sample / f"{name}.gt.txt", (line.text + "\n").encode())
            row = {"image": f"{name}.png", "text": line.text, "document": line.document.name, "page": line.page}
            rows.append({**row, "dpi": dpi, "degraded": degraded})
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write(options.sample / "manifest.jsonl", text.encode())
    print(f"{len(EXAMPLES)} examples in {options.examples}, {len(rows)} lines in {options.sample}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
