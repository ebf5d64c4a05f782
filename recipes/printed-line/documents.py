"""Cuts lines with exact text out of real documents: the validation and tuning sets of `printed-line`.

The documents are PDFs inside Debian packages, drawn by poppler (`pdftotext`, `pdftoppm`). They are never training text.

Usage:
    python documents.py --split tune --dpi 100 200 --limit 400 --out DIR [--degraded] [--download FOLDER]

writes PNG crops, `.gt.txt` files and `manifest.jsonl`. The same lines are chosen at every resolution, clean
or degraded.
"""

from __future__ import annotations

import argparse
import gzip
import html
import io
import itertools
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from charset import CHARACTERS, tidy


@dataclass(frozen=True)
class Document:
    """One PDF: where it is, what it may be used for, under which licence and in which type."""

    name: str
    package: str
    path: str
    split: str
    licence: str
    type: str
    pages: tuple[int, int]


DOCUMENTS: tuple[Document, ...] = (
    # For looking at errors, choosing settings and stopping early.
    Document(
        "debmake-doc", "debmake-doc", "usr/share/doc/debmake-doc/debmake-doc.en.pdf",
        "tune", "Expat", "Liberation Serif, Sans and Mono (XeTeX)", (8, 140),
    ),
    Document(
        "gnuplot", "gnuplot-doc", "usr/share/doc/gnuplot/gnuplot.pdf",
        "tune", "gnuplot", "Computer Modern (pdfTeX)", (20, 300),
    ),
    Document(
        "sbcl", "sbcl-doc", "usr/share/doc/sbcl/sbcl.pdf.gz",
        "tune", "public domain and Expat", "Computer Modern, with much typewriter (Texinfo)", (8, 160),
    ),
    Document(
        "c++-annotations", "c++-annotations-pdf", "usr/share/doc/c++-annotations/cplusplusus.pdf",
        "tune", "GPL-2+", "Century Schoolbook L and Nimbus Mono: never in training (Ghostscript)", (30, 1000),
    ),
    # For the examples and the tests' sample alone: short, but OFL and in another type.
    Document(
        "charis-history", "fonts-sil-charis", "usr/share/doc/fonts-sil-charis/documentation/pdf/history.pdf.gz",
        "sample", "OFL-1.1", "Roboto (printed by a browser through cairo)", (1, 7),
    ),
    Document(
        "charis-faq", "fonts-sil-charis", "usr/share/doc/fonts-sil-charis/documentation/pdf/faq.pdf.gz",
        "sample", "OFL-1.1", "Roboto (printed by a browser through cairo)", (1, 7),
    ),
    # For the published table only.
    Document(
        "developers-reference", "developers-reference", "usr/share/developers-reference/developers-reference.pdf",
        "test", "GPL-2+", "TeX Gyre Termes and Heros, TX typewriter (Sphinx)", (6, 110),
    ),
    Document(
        "debian-policy", "debian-policy", "usr/share/doc/debian-policy/policy.pdf.gz",
        "test", "GPL-2+", "GNU FreeSerif, FreeSans and FreeMono: never in training (Sphinx, XeTeX)", (10, 185),
    ),
    Document(
        "octave", "octave-doc", "usr/share/doc/octave/octave.pdf",
        "test", "verbatim copying", "Computer Modern (Texinfo)", (20, 1000),
    ),
    Document(
        "r-intro", "r-doc-pdf", "usr/share/doc/r-doc-pdf/manual/R-intro.pdf",
        "test", "GPL-2+", "Computer Modern (Texinfo)", (7, 100),
    ),
    Document(
        "bzip2", "bzip2", "usr/share/doc/bzip2/manual.pdf.gz",
        "test", "bzip2 (BSD style)", "URW Nimbus Roman, Sans and Mono: never in training (pdfTeX)", (4, 38),
    ),
)  # fmt: skip

_SUPERSCRIPT = 0.78
_LEADERS = re.compile(r"(\. ?){5}")
_ALLOWED = CHARACTERS | frozenset("\u00a0\ufb00\ufb01\ufb02\ufb03\ufb04")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Line:
    """One line of one page: its text and its box in points from the page's top left corner."""

    document: Document
    page: int
    text: str
    box: Box
    words: tuple[Box, ...]


def locate(document: Document, folders: Sequence[Path]) -> Path | None:
    """Finds a document's PDF on this machine or among unpacked packages.

    Args:
        document: What is wanted.
        folders: Folders that hold `PACKAGE/usr/share/…` or `usr/share/…`.

    Returns:
        The file, possibly compressed, or None.
    """
    for folder in (*folders, Path("/")):
        for base in (folder / document.package, folder):
            path = base / document.path
            for candidate in (path, path.with_name(path.name + ".gz"), path.with_name(path.name.removesuffix(".gz"))):
                if candidate.is_file():
                    return candidate
    return None


def download(packages: Sequence[str], folder: Path) -> None:
    """Fetches Debian packages with apt and unpacks them below a folder, without installing them.

    Args:
        packages: Names of packages.
        folder: Each is unpacked into `folder/NAME`.

    Raises:
        subprocess.CalledProcessError: apt or dpkg-deb failed; their own message is printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            subprocess.run(["apt-get", "download", package], cwd=temporary, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(temporary).glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / package)], check=True)


def _number(attributes: str, name: str) -> float:
    hit = re.search(rf'\b{name}="(-?[0-9.]+)"', attributes)
    return float(hit[1]) if hit else math.nan


def _box(attributes: str) -> Box:
    left, top, right, bottom = (_number(attributes, name) for name in ("xMin", "yMin", "xMax", "yMax"))
    return left, top, right, bottom


def read_lines(document: Document, pdf: Path, pages: tuple[int, int] | None = None) -> Iterator[list[Line]]:
    """Reads the usable lines of every page.

    Args:
        document: What the lines belong to.
        pdf: The uncompressed file.
        pages: First and last page; the document's own unless given.

    Yields:
        The lines of one page.

    Raises:
        subprocess.CalledProcessError: `pdftotext` failed.
    """
    first, last = pages or document.pages
    command = ["pdftotext", "-bbox-layout", "-f", str(first), "-l", str(last), str(pdf), "-"]
    layout = subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", "replace")
    for count, page in enumerate(re.findall(r"(?s)<page\b(.*?)</page>", layout)):
        yield list(usable_lines(document, first + count, page))


def usable_lines(document: Document, number: int, page: str) -> Iterator[Line]:
    """Reads the lines of one page that can be compared with a reading.

    Lines with footnote marks, signs outside the charset, rows of dots, turned text or boxes over one another are left
    out: their text would not be exactly what their crop shows.

    Args:
        document: What the page belongs to.
        number: The page's number.
        page: What `pdftotext -bbox-layout` writes between `<page` and `</page>`.

    Yields:
        Lines in the order of the page.
    """
    boxes = [_box(attributes) for attributes in re.findall(r"<line\b([^>]*)>", page)]
    for attributes, content in re.findall(r"(?s)<line\b([^>]*)>(.*?)</line>", page):
        box = _box(attributes)
        words = re.findall(r"(?s)<word\b([^>]*)>(.*?)</word>", content)
        raw = " ".join(html.unescape(word) for _, word in words)
        text = tidy(raw)
        if len(text) < 2 or not _ALLOWED.issuperset(raw) or not re.search(r"[A-Za-z0-9]", text):
            continue
        # Rows of dots in tables of contents: nobody reads their number, yet they would rule the error rate.
        if _LEADERS.search(text):
            continue
        word_boxes = tuple(_box(word) for word, _ in words)
        heights = [bottom - top for _, top, _, bottom in word_boxes]
        height = box[3] - box[1]
        if min(heights) < _SUPERSCRIPT * max(heights) or height > 1.25 * max(heights) or not 5 < height < 40:
            continue
        if box[2] - box[0] < 0.2 * height * len(text):
            continue
        # Signs of another font side by side are taken for words of their own: the text has spaces that nobody sees.
        gaps = [after[0] - before[2] for before, after in itertools.pairwise(word_boxes)]
        if gaps and min(gaps) < 0.12 * height:
            continue
        if box[0] < 12 or box[2] > _number(page[:200], "width") - 12:
            continue
        if any(other != box and _overlap(box, other) for other in boxes):
            continue
        yield Line(document, number, text, box, word_boxes)


def _overlap(box: Box, other: Box) -> bool:
    across = min(box[2], other[2]) - max(box[0], other[0])
    down = min(box[3], other[3]) - max(box[1], other[1])
    return across > -2 and down > 0.35 * min(box[3] - box[1], other[3] - other[1])


def has_drawn_gap(line: Line, page: Image.Image, dpi: int) -> bool:
    """Says whether a page shows something beside or between a line's words that its text does not have.

    That is TeX's underscores, which are rules, not letters, and signs without a code, such as roots.

    Args:
        line: Whose words.
        page: Its page, in gray.
        dpi: The resolution of the page.
    """
    pixels = np.asarray(page)
    points = dpi / 72
    top, bottom = math.floor(line.box[1] * points) + 1, math.ceil(line.box[3] * points) - 1
    for before, after in itertools.pairwise(line.words):
        # A rule between words has ink in nearly every column of the gap, an italic's overhang only at its ends.
        gap = pixels[top:bottom, math.ceil(before[2] * points) + 1 : math.floor(after[0] * points) - 1]
        if gap.size and (gap.min(axis=0) < int(np.median(gap)) - 60).mean() > 0.5:
            return True
    middle = slice(top + (bottom - top) // 4, bottom - (bottom - top) // 4)
    first, last = math.floor(line.box[0] * points), math.ceil(line.box[2] * points)
    ground = int(np.median(pixels[top:bottom, first:last]))
    reach = max(3, round(5 * points))
    sides = (pixels[middle, max(0, first - reach) : first - 1], pixels[middle, last + 1 : last + reach])
    return any(side.size and int(side.min()) < ground - 60 for side in sides)


def choose(
    pages: Sequence[list[Line]],
    count: int,
    seed: str,
    accept: Callable[[Line], bool] = lambda line: True,
    most: int = 8,
) -> list[Line]:
    """Chooses lines from all over a document, no text twice.

    Args:
        pages: The lines of each page.
        count: How many lines.
        seed: Which lines.
        accept: A last look at a line.
        most: Most lines of one page.

    Returns:
        At most `count` lines in the order of the document.
    """
    rng = random.Random(seed)
    order = [page for page in pages if page]
    rng.shuffle(order)
    chosen: list[Line] = []
    seen: set[str] = set()
    for page in order:
        # Page headings repeat on every page and would count many times.
        fresh = [line for line in page if line.text not in seen and not line.text.isdigit()]
        for line in rng.sample(fresh, min(most, len(fresh))):
            if line.text not in seen and accept(line):
                seen.add(line.text)
                chosen.append(line)
        if len(chosen) >= count:
            break
    return sorted(chosen[:count], key=lambda line: (line.page, line.box[1], line.box[0]))


def crop(page: Image.Image, box: Box, dpi: float, margin: int) -> Image.Image:
    """Cuts one line out of a drawn page."""
    left, top, right, bottom = (value * dpi / 72 for value in box)
    return page.crop(
        (
            max(0, math.floor(left) - margin),
            max(0, math.floor(top) - margin),
            min(page.width, math.ceil(right) + margin),
            min(page.height, math.ceil(bottom) + margin),
        )
    )


def degrade(image: Image.Image, dpi: float, rng: random.Random) -> Image.Image:
    """Makes a crop look like a bad scan: 1° of skew, blur, noise and JPEG at quality 40.

    Args:
        image: A gray crop.
        dpi: Its resolution; the blur is 0.8 px at 200 dpi and grows with it.
        rng: The only source of chance.

    Returns:
        A gray crop, higher by what the skew needs.
    """
    turned = image.rotate(rng.choice((-1.0, 1.0)), Image.Resampling.BICUBIC, expand=True, fillcolor=255)
    blurred = turned.filter(ImageFilter.GaussianBlur(0.8 * dpi / 200))
    noise = np.random.Generator(np.random.PCG64(rng.getrandbits(64))).normal(0, 10, (blurred.height, blurred.width))
    noisy = Image.fromarray(np.clip(np.asarray(blurred, dtype=np.float64) + noise, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    noisy.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("L")


def draw_page(pdf: Path, page: int, dpi: int) -> Image.Image:
    """Draws one page in gray with poppler."""
    # Packing pages as PNG would take ten times as long as drawing them.
    command = ["pdftoppm", "-r", str(dpi), "-gray", "-f", str(page), "-l", str(page), str(pdf)]
    return Image.open(io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)).convert("L")


def write(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all, with the folders that it needs.

    Args:
        path: Which file.
        data: All of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def make(
    documents: Sequence[Document],
    folders: Sequence[Path],
    out: Path,
    *,
    dpi: Sequence[int],
    limit: int,
    degraded: bool = False,
    every_dpi: bool = False,
    seed: int = 0,
) -> list[dict[str, object]]:
    """Writes the crops of some documents.

    Args:
        documents: Which documents; missing ones are named on the error stream and left out.
        folders: Where unpacked packages lie.
        out: Folder for `.png`, `.gt.txt` and `manifest.jsonl`.
        dpi: Resolutions, taken in turn from line to line.
        limit: Most lines in all, spread evenly over the documents.
        degraded: Whether to spoil the crops.
        every_dpi: Each line at each resolution instead of in turn.
        seed: Which lines.

    Returns:
        One row a crop, as in the manifest.

    Raises:
        FileNotFoundError: None of the documents was found.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = [(document, path) for document in documents if (path := locate(document, folders)) is not None]
    for document in documents:
        if document not in [other for other, _ in found]:
            print(f"{document.name}: not found; install {document.package} or use --download", file=sys.stderr)
    if not found:
        names = ", ".join(document.package for document in documents)
        raise FileNotFoundError(f"Found none of the documents ({names}). Install them, or give --download FOLDER.")
    rows: list[dict[str, object]] = []
    for index, (document, path) in enumerate(found):
        with tempfile.TemporaryDirectory() as temporary:
            pdf = Path(temporary, "document.pdf")
            if path.suffix == ".gz":
                pdf.write_bytes(gzip.decompress(path.read_bytes()))
            else:
                shutil.copyfile(path, pdf)
            # What a short document could not give is taken from the ones after it.
            share = math.ceil((limit - len({row["line"] for row in rows})) / (len(found) - index))
            looks: dict[int, Image.Image] = {}

            def accept(line: Line, pdf: Path = pdf, looks: dict[int, Image.Image] = looks) -> bool:
                if line.page not in looks:
                    looks.clear()
                    looks[line.page] = draw_page(pdf, line.page, 150)
                return not has_drawn_gap(line, looks[line.page], 150)

            lines = choose(list(read_lines(document, pdf)), share, f"{seed} {document.name}", accept)
            drawn: dict[int, Image.Image] = {}
            page = -1
            for count, line in enumerate(lines):
                if line.page != page:
                    page, drawn = line.page, {}
                for resolution in dpi if every_dpi else (dpi[count % len(dpi)],):
                    if resolution not in drawn:
                        drawn[resolution] = draw_page(pdf, page, resolution)
                    rng = random.Random(f"{seed} {document.name} {count} {resolution}")
                    image = crop(drawn[resolution], line.box, resolution, rng.choice((3, 4)))
                    if degraded:
                        image = degrade(image, resolution, rng)
                    name = f"{document.name}-{line.page:04d}-{count:04d}-{resolution}{'-degraded' if degraded else ''}"
                    buffer = io.BytesIO()
                    image.save(buffer, "PNG")
                    write(out / f"{name}.png", buffer.getvalue())
                    write(out / f"{name}.gt.txt", (line.text + "\n").encode())
                    rows.append(
                        {
                            "image": f"{name}.png",
                            "text": line.text,
                            "line": f"{document.name}-{line.page}-{count}",
                            "document": document.name,
                            "page": line.page,
                            "dpi": resolution,
                            "degraded": degraded,
                            "box": list(line.box),
                        }
                    )
            print(
                f"{document.name}: {len(lines)} lines from {len({line.page for line in lines})} pages", file=sys.stderr
            )
    write(out / "manifest.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes one set of crops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("tune", "test", "sample"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dpi", type=int, nargs="+", default=[200])
    parser.add_argument("--every-dpi", action="store_true", help="each line at each resolution, not in turn")
    parser.add_argument("--limit", type=int, default=400, help="most lines in all")
    parser.add_argument("--degraded", action="store_true", help="skew, blur, noise and JPEG 40")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--document", action="append", help="only this document of the split (may be repeated)")
    parser.add_argument("--documents", type=Path, action="append", default=[], help="folder with unpacked packages")
    parser.add_argument("--download", type=Path, help="fetch missing packages with apt and unpack them here")
    options = parser.parse_args(arguments)
    documents = [
        document
        for document in DOCUMENTS
        if document.split == options.split and (not options.document or document.name in options.document)
    ]
    folders = [*options.documents, *([options.download] if options.download else [])]
    if options.download:
        download([document.package for document in documents if locate(document, folders) is None], options.download)
    rows = make(
        documents,
        folders,
        options.out,
        dpi=options.dpi,
        limit=options.limit,
        degraded=options.degraded,
        every_dpi=options.every_dpi,
        seed=options.seed,
    )
    print(f"{len(rows)} crops in {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
