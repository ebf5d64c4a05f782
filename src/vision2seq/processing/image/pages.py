"""Files of several pictures, page by page: PDF, TIFF, animations. Only the page that is looked at is in memory.

What counts as a page:

- a PDF's pages, rendered at a resolution of one's choice, with the optional package ``pypdfium2``;
- a TIFF's pictures, since scanners write documents so; not the reduced copies that some keep beside a picture;
- the frames of a GIF, APNG or WebP only where pages are asked for: an animation is one picture otherwise, its first.

A file of one picture has no pages, and is read as ever. Pages count from 1. ``scan.pdf#3`` is a page, ``#2-5,7-`` are
some, unless a file has just that name.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import threading
import urllib.parse
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from vision2seq.errors import ImageError, MissingPackageError, OptionError
from vision2seq.processing.image import read

DPI = 200
"""Dots an inch: a page of A4 becomes 1654 by 2339 pixels, enough for ten-point print."""
ALL, FIRST = "all", "first"
_REDUCED = 254  # the TIFF tag that tells copies of another resolution
_ONE = re.compile(r"(\d+)|(\d*)-(\d*)")
_NAMED = re.compile(r"(?s)(.+)#([\d,\s-]+)")
_pdfium = threading.Lock()  # which is not safe in threads

Ranges = list[tuple[int, int | None]]
"""First and last page, None for the end."""


@dataclass(frozen=True)
class Page:
    """A page that is not read yet.

    Attributes:
        source: The file's name, if it was given by one.
        number: From 1 on; None for a file that cannot be opened.
    """

    source: str | None
    number: int | None
    _document: Any
    _index: int = 0
    _error: str = ""

    def load(self, *, max_pixels: int | None = read.MAX_PIXELS, allow_url: bool = False) -> Image.Image:
        """Read it and return it as an RGB image.

        Args:
            max_pixels: As for `load_image`.
            allow_url: Likewise.

        Raises:
            ImageError: It is damaged, too large, or not there.
        """
        if self._error:
            raise ImageError(self._error)
        picture: Image.Image = self._document.load(self._index, max_pixels)
        return picture


def chosen(pages: Any) -> Ranges | None:
    """Read what pages are asked for.

    Args:
        pages: A number, an iterable of numbers, a text such as ``"2-5,7,9-"``, ``"all"`` or ``"first"``; None for what
            is usual.

    Raises:
        OptionError: None of these, or a page before the first.
    """
    if pages is None:
        return None
    found: Ranges = []
    if isinstance(pages, str):
        parts = {ALL: ["1-"], FIRST: ["1"]}.get(pages) or [part.strip() for part in pages.split(",")]
    elif isinstance(pages, Iterable):
        parts = [str(page) if isinstance(page, int) and page > 0 else f"{page!r} " for page in pages]
    else:
        parts = [str(pages) if isinstance(pages, int) and pages > 0 else f"{pages!r} "]
    for part in parts:
        match = _ONE.fullmatch(part)
        if not match or part == "-":
            raise OptionError(
                f"pages are {pages!r}, expected numbers and ranges from 1 on, as '2-5,7,9-', 'all' or 'first'."
            )
        first = int(match[1] or match[2] or 1)
        last = first if match[1] else int(match[3]) if match[3] else None
        if first < 1 or (last is not None and last < first):
            raise OptionError(f"pages are {pages!r}: {part} is no range of pages, which count from 1.")
        found.append((first, last))
    if not found:
        raise OptionError("pages are an empty list, expected at least one number.")
    return found


def is_one(source: Any, pages: Any) -> bool:
    """Whether a call asks for a single page of whatever document it is about."""
    _, named = _split(source)
    ranges = chosen(pages) if named is None else named
    return ranges is not None and len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def expand(source: Any, pages: Any = None, dpi: float = DPI, *, allow_url: bool = False) -> Iterator[Any]:
    """Part a source into its pages; one that has none comes back as it is.

    Args:
        source: Anything that `load_image` takes, or a PDF in the same ways; a name may end in ``#`` and pages.
        pages: See `chosen`; pages that a name tells win.
        dpi: Of a PDF's pages.
        allow_url: Whether http(s) URLs may be fetched.

    Yields:
        `Page`, or the source. What cannot be opened, and pages that are not there, are pages that fail when loaded.
    """
    where, named = _split(source)
    wanted = named or chosen(pages)
    name = os.fspath(where) if isinstance(where, str | os.PathLike) else None
    name = os.fsdecode(name) if isinstance(name, bytes) else name
    try:
        document, source = _open(where if named else source, name, wanted is not None, dpi, allow_url)
    except (ImageError, MissingPackageError, OSError) as error:
        yield Page(name, None, None, _error=str(error))
        return
    if document is None:
        if named is None:
            # What was read from is no use any more: it becomes a page that knows its content.
            yield source if source is where else Page(name, None, _Single(source))
            return
        document = _Single(source)
    for first, last in wanted or [(1, None)]:
        there = document.count if last is None else min(last, document.count)
        for number in range(first, there + 1):
            yield Page(name, number, document, number - 1)
        if first > document.count or (last is not None and last > document.count):
            missing = max(first, document.count + 1)
            what = f"page {missing}" if last is None or last == missing else f"pages {missing} to {last}"
            has = "1 page" if document.count == 1 else f"{document.count} pages"
            yield Page(name, missing, None, _error=f"No {what} in {_shown(name)}, which has {has}.")


def load_first(encoded: Any, max_pixels: int | None, what: str) -> Image.Image:
    """The first page of a PDF.

    Args:
        encoded: An open file of it.
        max_pixels: As for `load_image`.
        what: Its name, for messages.
    """
    encoded.seek(0)
    return _Pdf(io.BytesIO(encoded.read()), what, DPI).load(0, max_pixels)


def is_pdf(head: bytes) -> bool:
    """Whether a file begins as a PDF does; some have other bytes before it."""
    return b"%PDF-" in head[:1024]


def _split(source: Any) -> tuple[Any, Ranges | None]:
    """A name without the pages at its end, and these."""
    if not isinstance(source, str | os.PathLike):
        return source, None
    name = os.fsdecode(os.fspath(source))
    match = _NAMED.fullmatch(name)
    if not match or name[:5].lower() == "data:" or os.path.exists(name):
        return source, None
    try:
        return match[1], chosen(match[2])
    except OptionError:
        return source, None


def _open(source: Any, name: str | None, asked: bool, dpi: float, allow_url: bool) -> tuple[Any, Any]:
    """The document that a source is, or None; and the source, or what was read from it."""
    content: Any = None
    file: Any = name
    if name is not None and name[:8].lower().startswith(("http://", "https://")):
        ending = urllib.parse.urlsplit(name).path.lower()
        if not (asked or ending.endswith((".pdf", ".tif", ".tiff"))):
            return None, source
        content = read.fetch(name, allow_url)
        source = _Named(content, name)
    elif name is not None and name[:5].lower() == "data:":
        if not name[5:40].lower().startswith(("application/pdf", "image/tiff")) and not asked:
            return None, source
        content = read.data_url(name)
    elif name is not None:
        if not os.path.isfile(name):
            if asked:
                read.load_image(name)  # says what is wrong with it
            return None, source
        with open(name, "rb") as opened:
            head = opened.read(1024)
    elif isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    elif hasattr(source, "read") and not isinstance(source, Image.Image):
        content = read.read_all(source)
        source = _Named(content, getattr(source, "name", None))
    else:
        return None, source
    if content is not None:
        head, file = content[:1024], io.BytesIO(content)
    what = _shown(name) if name is not None else "the document given"
    if is_pdf(head):
        return _Pdf(file, what, dpi), source
    if asked or head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        frames = _Frames(file, what)
        if frames.count > 1:
            return frames, source
    return None, source


class _Named(io.BytesIO):
    """Bytes of a file object that was read, with its name."""

    def __init__(self, content: bytes, name: Any) -> None:
        super().__init__(content)
        self.name = name


class _Single:
    """A file of one picture, as a document of one page."""

    count = 1

    def __init__(self, source: Any) -> None:
        self._source = source

    def load(self, index: int, max_pixels: int | None) -> Image.Image:
        return read.load_image(self._source, max_pixels=max_pixels)


class _Frames:
    """The pictures of a TIFF or an animation. One that cannot be opened counts none."""

    def __init__(self, file: Any, what: str) -> None:
        self._what = what
        self._places: list[int] = []
        self.count = 0
        try:
            self._image = Image.open(file)
        except Exception:  # load_image says what is wrong with it
            return
        weakref.finalize(self, self._image.close)
        try:
            for place in itertools.count():
                self._image.seek(place)
                if not int(getattr(self._image, "tag_v2", {}).get(_REDUCED, 0)) & 1:
                    self._places.append(place)
        except EOFError:
            pass
        except Exception:  # Pillow's readers raise whatever broken data makes them stumble over
            self._places.append(place)  # which says so when it is loaded
        self.count = len(self._places)

    def load(self, index: int, max_pixels: int | None) -> Image.Image:
        what = f"page {index + 1} of {self._what}"
        try:
            self._image.seek(self._places[index])
        except Exception as error:  # as above
            raise ImageError(f"{what} cannot be decoded: {error}") from error
        picture = read.finish(self._image, max_pixels, what)
        picture = picture.copy() if picture is self._image else picture
        picture.info = {}
        return picture


class _Pdf:
    """The pages of a PDF."""

    def __init__(self, file: Any, what: str, dpi: float) -> None:
        if not isinstance(dpi, int | float) or isinstance(dpi, bool) or not 1 <= dpi <= 2400:
            raise OptionError(f"dpi is {dpi!r}, expected a number from 1 to 2400.")
        try:
            import pypdfium2
        except ImportError:
            raise MissingPackageError(
                f"{what} is a PDF, whose pages are rendered by pypdfium2, which is not installed. Type: "
                "pip install 'vision2seq[pdf]'"
            ) from None
        self._what, self._scale = what, dpi / 72
        with _pdfium:
            try:
                self._pdf = pypdfium2.PdfDocument(file)
                self.count = len(self._pdf)
            except pypdfium2.PdfiumError as error:
                if "password" in str(error).lower():
                    raise ImageError(
                        f"{what} is encrypted and needs a password. Decrypt it first: qpdf --decrypt in.pdf out.pdf"
                    ) from None
                raise ImageError(f"{what} cannot be read as a PDF, it may be damaged: {error}") from None
            if self._pdf.get_formtype():  # what was filled in shows as well
                self._pdf.init_forms()
        if self.count == 0:
            raise ImageError(f"{what} has no pages.")

    def load(self, index: int, max_pixels: int | None) -> Image.Image:
        import pypdfium2

        what = f"page {index + 1} of {self._what}"
        with _pdfium:
            try:
                page = self._pdf[index]
                width, height = (max(1, round(side * self._scale)) for side in page.get_size())
                if max_pixels is not None and width * height > max_pixels:
                    raise ImageError(
                        f"{what} has {width}x{height} = {width * height} pixels at {self._scale * 72:g} dpi, more than "
                        f"the limit of {max_pixels}. Lower dpi, or pass a higher max_pixels."
                    )
                bitmap = page.render(scale=self._scale)
                picture = bitmap.to_pil().convert("RGB").copy()
                bitmap.close()
                page.close()
            except pypdfium2.PdfiumError as error:
                raise ImageError(f"{what} cannot be rendered, it may be damaged: {error}") from None
        picture.info = {}
        return picture


def _shown(name: str | None) -> str:
    return "the document given" if name is None else read.shorten(name)
