"""Where images and their texts come from: a folder, a CSV, TSV, JSONL or Parquet table.

Everything that is wrong with a data set is found in one pass, named by kind, counted, and told with the first places;
then it is skipped or refused, as was asked. Images are opened only when they are needed; what cannot be read then is
told in the same report.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vision2seq.errors import CheckpointNotFoundError, MissingPackageError, OptionError, TrainingDataError, nearest
from vision2seq.processing.image import SUFFIXES

IMAGE_COLUMNS = ("image", "image_path", "file", "file_name", "path")
"""Names that a table's column of images is looked for under, in this order."""
TEXT_COLUMNS = ("text", "transcription", "label", "ground_truth", "caption")
"""The same for the texts."""
TEXT_SUFFIX = ".gt.txt"
"""Takes the place of an image's own ending in the name of the file that holds its text."""

TABLES = (".csv", ".jsonl", ".parquet", ".tsv")
MISSING_IMAGE, MISSING_TEXT, BROKEN_ROW = "missing image", "missing text", "broken row"
UNREADABLE_IMAGE, TOO_LONG = "unreadable image", "too long text"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Example:
    """An image and its text.

    Attributes:
        image: A path, or the bytes of an image file.
        text: What is to be read in it; may be empty.
        place: Where it was found, for messages: ``lines/a.png`` or ``table.csv:12``.
        name: What tells it from others wherever the data set lies: the path as the data set spells it.
    """

    image: Path | bytes
    text: str
    place: str
    name: str


class Problems:
    """A report of what was wrong with a data set: kinds, counts, and the first few places of each.

    Attributes:
        counts: How often, by kind.
        places: The first few places of each kind, with what was found there.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.places: dict[str, list[str]] = {}

    def add(self, kind: str, place: str, found: str) -> None:
        """Count one more.

        Args:
            kind: Such as ``"missing text"``.
            place: File and line.
            found: What is wrong there.
        """
        self.counts[kind] = self.counts.get(kind, 0) + 1
        shown = self.places.setdefault(kind, [])
        if len(shown) < _SHOWN:
            shown.append(f"{place}: {found}")

    def merge(self, other: Problems) -> None:
        """Add another report's."""
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
            shown = self.places.setdefault(kind, [])
            shown.extend(other.places[kind][: _SHOWN - len(shown)])

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __str__(self) -> str:
        """``2 × missing text (a.png: …; b.png: …), 1 × broken row (t.csv:7: …)``."""
        parts = []
        for kind, count in self.counts.items():
            more = "; …" if count > len(self.places[kind]) else ""
            parts.append(f"{count} × {kind} ({'; '.join(self.places[kind])}{more})")
        return ", ".join(parts)


@dataclass
class DataSet(Sequence[Example]):
    """Examples in the order of their source, and what was left out."""

    examples: list[Example] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: Any) -> Any:
        return self.examples[index]

    def split(self, share: float, seed: int = 0) -> tuple[DataSet, DataSet]:
        """Divide into what is learned from and what is held back.

        Which examples are held back follows from their names, texts and the seed, not from their order: an example
        that is added later moves few others.

        Args:
            share: Of the examples to hold back, above 0 and below 1; at least one is.
            seed: Another one holds back others.

        Raises:
            OptionError: Another share.
            TrainingDataError: Fewer than two examples.
        """
        if not 0 < share < 1:
            raise OptionError(f"The share to validate on is {share!r}, expected a number above 0 and below 1.")
        if len(self) < 2:
            raise TrainingDataError(f"{len(self)} example cannot be divided; expected at least 2, or a set of its own.")
        count = min(len(self) - 1, max(1, round(share * len(self))))
        keys = [hashlib.sha256(f"{seed}\0{each.name}\0{each.text}".encode(errors="replace")) for each in self.examples]
        order = sorted(range(len(self)), key=lambda index: keys[index].digest())
        held = set(order[:count])
        return (
            DataSet([each for index, each in enumerate(self.examples) if index not in held], self.problems),
            DataSet([each for index, each in enumerate(self.examples) if index in held]),
        )

    def digest(self) -> str:
        """A short text that differs if the names, texts or their order do."""
        sums = hashlib.sha256()
        for each in self.examples:
            sums.update(f"{each.name}\0{each.text}\0".encode(errors="replace"))
        return f"{len(self)} examples, {sums.hexdigest()[:16]}"


def read_examples(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    image_column: str | None = None,
    text_column: str | None = None,
    on_problem: str = "raise",
) -> DataSet:
    """Read the images' places and the texts of one source or several.

    Args:
        sources: A folder, in which each image (also in folders below) has its text beside it, ``a.png`` in
            ``a.gt.txt``; or a ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file with a column of images and one of
            texts. Images are paths from the table's folder on, or absolute ones; in Parquet also bytes, or the
            structs of bytes and path that the ``datasets`` library writes.
        image_column: The column's name; the first of `IMAGE_COLUMNS` that is there if not given.
        text_column: Likewise, of `TEXT_COLUMNS`.
        on_problem: ``"raise"`` refuses a source with anything wrong in it, after it was read to the end; ``"skip"``
            leaves those examples out and reports them.

    Returns:
        The examples; ``problems`` of it says what was left out.

    Raises:
        CheckpointNotFoundError: No such folder or file.
        TrainingDataError: No examples, or problems with ``on_problem="raise"``.
        MissingPackageError: Parquet without pyarrow.
        OptionError: A file of another kind, a column that is not there.
    """
    if on_problem not in ("raise", "skip"):
        raise OptionError(f"on_problem is {on_problem!r}, expected 'raise' or 'skip'.")
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    paths = [Path(source) for source in sources]
    data = DataSet()
    for path in paths:
        if not path.exists():
            raise CheckpointNotFoundError(
                f"There is no {path}. Expected a folder of images with {TEXT_SUFFIX} files, or a table "
                f"({', '.join(TABLES)})."
            )
        rows = _folder(path) if path.is_dir() else _table(path, image_column, text_column)
        for row in rows:
            if isinstance(row, Example):
                data.examples.append(row)
            else:
                data.problems.add(*row)
    named = ", ".join(map(str, paths))
    if data.problems and on_problem == "raise":
        raise TrainingDataError(
            f"{named}: {len(data.problems)} of the examples cannot be used: {data.problems}. Repair them, or leave "
            "them out with on_problem='skip' (--on-problem skip)."
        )
    if not data.examples:
        raise TrainingDataError(
            f"{named or 'The list of sources'}: there are no examples"
            + (f" but only {data.problems}" if data.problems else "")
            + f". Expected images with {TEXT_SUFFIX} files beside them, or a table with rows."
        )
    return data


Row = Example | tuple[str, str, str]
"""An example, or kind, place and finding of a problem."""


def _folder(folder: Path) -> Iterator[Row]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    wanted = {path.with_name(path.stem + TEXT_SUFFIX) for path in images}
    for path in images:
        beside = path.with_name(path.stem + TEXT_SUFFIX)
        try:
            text = beside.read_bytes().decode("utf-8-sig").rstrip("\r\n")
        except FileNotFoundError:
            yield MISSING_TEXT, str(path), f"there is no {beside.name} beside it"
        except (OSError, UnicodeDecodeError) as error:
            yield MISSING_TEXT, str(beside), f"cannot be read as UTF-8 ({error})"
        else:
            yield Example(path, text, str(path), path.relative_to(folder).as_posix())
    for path in files:
        if path.name.endswith(TEXT_SUFFIX) and path not in wanted:
            yield MISSING_IMAGE, str(path), "there is no image beside it"


def _table(path: Path, image_column: str | None, text_column: str | None) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise OptionError(f"{path} is no table that is known here; expected a folder or {', '.join(TABLES)}.")
    reader = {".jsonl": _jsonl, ".parquet": _parquet}.get(suffix, _csv)
    empty_counts = reader is not _csv  # CSV has no way to tell an empty text from a text that is not there
    rows = list(reader(path))
    names = list(dict.fromkeys(name for _, row in rows if isinstance(row, dict) for name in row))
    columns = ("", "")
    if names:  # otherwise there are only broken rows, or none
        columns = (
            _column(path, names, image_column, IMAGE_COLUMNS, "image"),
            _column(path, names, text_column, TEXT_COLUMNS, "text"),
        )
    for line, row in rows:
        place = f"{path}:{line}"
        yield (BROKEN_ROW, place, row) if isinstance(row, str) else _example(path, place, row, columns, empty_counts)


def _column(path: Path, names: Sequence[str], given: str | None, known: Sequence[str], what: str) -> str:
    """The one of a table's columns that holds the images, or the texts."""
    has = f"It has: {', '.join(map(repr, names))}."
    if given is not None:
        if given not in names:
            raise OptionError(f"{path} has no column {given!r}.{nearest(given, names)} {has}")
        return given
    for name in known:
        if name in names:
            return name
    raise OptionError(
        f"{path} has no column that is known to hold the {what}s ({', '.join(known)}). {has} Name one with "
        f"{what}_column (--{what}-column)."
    )


def _example(path: Path, place: str, row: Mapping[str, Any], columns: tuple[str, str], empty_counts: bool) -> Row:
    image, text = (row.get(column) for column in columns)
    if isinstance(image, Mapping):  # as the datasets library puts images into Parquet
        image = image["bytes"] if image.get("bytes") is not None else image.get("path")
    if image is None or image in ("", b""):
        return MISSING_IMAGE, place, f"{columns[0]} is empty"
    if text is None or (text == "" and not empty_counts):
        return MISSING_TEXT, place, f"{columns[1]} is empty"
    if not isinstance(text, str) or _damage(text):
        return BROKEN_ROW, place, f"{columns[1]} is {_short(text)}, expected a text"
    if isinstance(image, bytes):
        return Example(image, text, place, hashlib.sha256(image).hexdigest())
    if not isinstance(image, str):
        return BROKEN_ROW, place, f"{columns[0]} is {_short(image)}, expected a path"
    file = path.parent / image
    try:
        there = file.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        there = False
    if not there:
        return MISSING_IMAGE, place, f"there is no {_short(str(file))}"
    return Example(file, text, place, image)


def _lines(path: Path) -> Iterator[str]:
    """Lines as text; bytes that are no UTF-8 become lone surrogates, which `_damage` finds."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from file


def _damage(text: str) -> str | None:
    return "is not UTF-8" if any("\ud800" <= sign <= "\udfff" for sign in text) else None


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line and row of a table with a header; a text instead of a row says what is wrong with it."""
    header = next(_lines(path), "")
    # Tables of spreadsheets in much of Europe are called .csv and divided by semicolons.
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    rows = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, str(error)
            continue
        if not row:
            continue
        if names is None:
            names = [name.strip() for name in row]
        elif (damage := _damage("".join(row))) is not None:
            yield line, damage
        elif len(row) != len(names):
            yield line, f"has {len(row)} fields, the header {len(names)}"
        else:
            yield line, dict(zip(names, row, strict=True))


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for line, text in enumerate(_lines(path), 1):
        if not text.strip():
            continue
        if (damage := _damage(text)) is not None:
            yield line, damage
            continue
        try:
            row = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            yield line, f"is not JSON: {error}"
            continue
        yield line, row if isinstance(row, dict) else f"is {_short(row)}, expected an object {{…}}"


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Row numbers from 1 on, and the rows. Images that are bytes are kept in memory."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        lowest: Any = importlib.import_module("pyarrow").ArrowInvalid
    except ImportError as error:
        raise MissingPackageError(
            f"{path}: reading Parquet needs pyarrow, which is not installed ({error}). Type: "
            "pip install 'vision2seq[parquet]'"
        ) from None
    try:
        table = parquet.ParquetFile(path)
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (lowest, OSError) as error:
        raise TrainingDataError(f"{path} cannot be read as Parquet ({error}). Write or fetch it again.") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"
