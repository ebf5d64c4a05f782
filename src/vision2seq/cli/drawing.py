"""``vision2seq read --overlay``: where the drawings go, and the pictures to draw on."""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vision2seq.errors import ImageError, MissingPackageError, OptionError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def files(path: Path, names: list[str]) -> list[Path] | str:
    """Where to draw each image, or what is wrong with the path; a folder is made if need be."""
    if path.suffix and not path.is_dir():
        if path.suffix.lower() not in ENDINGS:
            return f"expected a folder, or a file that ends in one of {' '.join(ENDINGS)}"
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}"
        if len(names) == 1:
            return [path]
        digits = len(str(len(names)))
        return [path.with_stem(f"{path.stem}-{number:0{digits}d}") for number in range(1, len(names) + 1)]
    if path.exists() and not path.is_dir():
        return "it is a file without a known ending; expected a folder"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"the folder cannot be made: {error.strerror}"
    found: list[Path] = []
    for name in names:
        stem = "stdin" if name == "-" else Path(name).stem[:100] or "image"
        free = (path / (f"{stem}.png" if number == 1 else f"{stem}~{number}.png") for number in itertools.count(1))
        found.append(next(file for file in free if file not in found))
    return found


def loaded(sources: Iterable[Any], kept: deque[Any], allow_url: bool) -> Iterator[Any]:
    """Give pictures rather than files, and keep them; what cannot be loaded is left to the reader to complain about."""
    from vision2seq.processing.image.pages import Page
    from vision2seq.processing.image.read import load_image

    for source in sources:
        load = source.load if isinstance(source, Page) else functools.partial(load_image, source)
        try:
            picture = load(allow_url=allow_url)
        except (ImageError, MissingPackageError, OSError):
            picture = None
            if hasattr(source, "seek"):
                source.seek(0)
        kept.append(picture)
        yield source if picture is None else picture


def draw(image: Any, reading: Any, path: Path) -> None:
    """Write an image with its words; nothing where it could not be read."""
    from vision2seq.overlay import draw_words

    if image is None or reading.error is not None:
        return
    try:
        draw_words(image, reading).save(path)
    except OSError as error:
        raise OptionError(f"--overlay {path} cannot be written: {error.strerror or error}") from None
