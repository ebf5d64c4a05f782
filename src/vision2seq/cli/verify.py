"""``vision2seq verify``: what a lower precision changes in the texts that a model reads, on images of one's own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision2seq.errors import ImageError, OptionError
from vision2seq.processing.image import SUFFIXES

if TYPE_CHECKING:
    from vision2seq.reading import Reading

_TEXT_SUFFIX = ".gt.txt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="a checkpoint: a folder, or a name")
    parser.add_argument(
        "--images",
        required=True,
        type=Path,
        metavar="DIR",
        help=f"a folder of images; texts may lie in NAME{_TEXT_SUFFIX}",
    )
    parser.add_argument("--precision", choices=("bf16", "int8", "auto"), default="int8", help="default: %(default)s")
    parser.add_argument("--limit", type=int, metavar="N", help="only so many of the images, spread over the folder")
    parser.add_argument("--batch-size", "-b", type=int, default=8, metavar="N", help="images at a time (default: 8)")
    parser.add_argument(
        "--most", type=float, metavar="POINTS", help="fail if the character error rate grows by more (in points of 100)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


@dataclass(frozen=True, slots=True)
class Difference:
    """What the readings of the same images by two models have in common.

    Attributes:
        images: How many were compared.
        same: How many texts are the same.
        tokens: Share of the tokens of the first that the second has at the same place.
        distance: Character error rate of the second's texts against the first's.
        drift: Mean change of the confidence, from the first to the second.
        widest: The largest change of a confidence.
        before: Character error rate of the first against the true texts; None without these.
        after: That of the second.
    """

    images: int
    same: int
    tokens: float
    distance: float
    drift: float
    widest: float
    before: float | None
    after: float | None

    @property
    def growth(self) -> float | None:
        """By how much the character error rate grows, in points of 100."""
        return None if self.before is None or self.after is None else 100 * (self.after - self.before)


def compare(first: Sequence[Reading], second: Sequence[Reading], expected: Sequence[str] | None) -> Difference:
    """Hold readings of the same images against each other.

    Args:
        first: By the model that counts.
        second: By the other.
        expected: The true texts, or None.
    """
    from vision2seq.training.metrics import character_error_rate

    places = [
        (len(one.tokens), zip(one.tokens, other.tokens, strict=False)) for one, other in zip(first, second, strict=True)
    ]
    total = sum(count for count, _ in places)
    agreed = sum(a.id == b.id for _, pairs in places for a, b in pairs)
    texts, others = [one.text for one in first], [other.text for other in second]
    drifts = [other.confidence - one.confidence for one, other in zip(first, second, strict=True)]
    return Difference(
        images=len(first),
        same=sum(a == b for a, b in zip(texts, others, strict=True)),
        tokens=agreed / total if total else 1.0,
        distance=character_error_rate(others, texts) if any(texts) else float(any(others)),
        drift=sum(drifts) / len(drifts),
        widest=max(drifts, key=abs),
        before=None if expected is None else character_error_rate(texts, expected),
        after=None if expected is None else character_error_rate(others, expected),
    )


def run(options: argparse.Namespace) -> int:
    """Read the images twice and tell the difference; 1 if it is more than was allowed."""
    if options.limit is not None and options.limit < 1:
        raise OptionError(f"--limit is {options.limit}, expected a whole number from 1.")
    images = _images(options.images)
    if options.limit is not None and options.limit < len(images):
        images = [images[place * len(images) // options.limit] for place in range(options.limit)]
    texts = [path.with_name(path.name.removesuffix(path.suffix) + _TEXT_SUFFIX) for path in images]
    known = [text.is_file() for text in texts]
    if any(known) and not all(known):
        missing = texts[known.index(False)]
        raise OptionError(
            f"{missing} is missing, though other images of {options.images} have their texts beside them. Add it, or "
            "take the others away to compare without texts."
        )
    expected = [text.read_text(encoding="utf-8").rstrip("\n") for text in texts] if all(known) else None
    if options.most is not None and expected is None:
        raise OptionError(f"--most needs true texts: write them into files NAME{_TEXT_SUFFIX} beside the images.")
    if expected is not None and not any(expected):
        raise OptionError(
            f"All texts beside the images of {options.images} are empty; expected some to count errors in."
        )

    first = _read(options, "fp32", images)
    second = _read(options, options.precision, images)
    broken = next((reading for reading in first if reading.error is not None), None)
    if broken is not None:
        raise ImageError(f"{broken.source}: {broken.error}")
    difference = compare(first, second, expected)
    growth = difference.growth
    failed = options.most is not None and growth is not None and growth > options.most
    if options.json:
        print(json.dumps({"precision": options.precision, **asdict(difference), "growth": growth}, indent=2))
    else:
        _print(options.precision, difference)
    if failed:
        print(
            f"vision2seq: the character error rate grows by {growth:.2f} points, more than --most {options.most:g}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise OptionError(f"--images {folder} is no folder; expected one with images in it.")
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not images:
        raise OptionError(f"--images {folder} holds no images; known endings: {' '.join(SUFFIXES)}.")
    return images


def _read(options: argparse.Namespace, precision: str, images: list[Path]) -> list[Any]:
    from tqdm import tqdm

    from vision2seq.reader import Reader

    reader = Reader.from_pretrained(options.model, precision=precision, batch_size=options.batch_size)
    hidden = True if options.quiet else None
    return list(tqdm(reader.read(images), desc=precision, total=len(images), unit="image", disable=hidden, leave=False))


def _print(precision: str, found: Difference) -> None:
    rows = [
        ("same text", f"{found.same} of {found.images} images"),
        ("same tokens", f"{100 * found.tokens:.2f} %"),
        ("characters that differ", f"{100 * found.distance:.2f} %"),
        ("confidence", f"{found.drift:+.4f} on average, {found.widest:+.4f} at most"),
    ]
    if found.before is not None and found.after is not None:
        rate = f"{100 * found.before:.2f} % → {100 * found.after:.2f} % ({found.growth:+.2f} points)"
        rows.append(("character error rate", rate))
    print(f"fp32 → {precision}")
    for name, value in rows:
        print(f"{name + ':':<24}{value}")
