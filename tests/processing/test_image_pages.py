"""Files of several pictures: which pages there are, that each is the right one, and that a bad one stops no other."""

from __future__ import annotations

import base64
import builtins
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import vision2seq
from vision2seq import Reader
from vision2seq.errors import ImageError, OptionError
from vision2seq.processing.image.pages import Page, chosen, expand
from vision2seq.processing.image.read import load_image

torch.set_num_threads(1)

COLOURS = [(200, 30, 30), (30, 160, 30), (30, 30, 200), (190, 190, 20), (20, 180, 180)]


def _pictures(count: int = 5) -> list[Image.Image]:
    return [Image.new("RGB", (72, 36), colour) for colour in COLOURS[:count]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    for name in ("doc.pdf", "scan.tif", "moving.gif", "moving.png", "moving.webp"):
        first, *others = _pictures()
        first.save(made / name, save_all=True, append_images=others, **({"resolution": 72} if "pdf" in name else {}))
    for name in ("one.pdf", "one.tif", "one.png"):
        _pictures(1)[0].save(made / name, **({"resolution": 72} if "pdf" in name else {}))
    return made


def _numbers(source: Any, pages: Any = None) -> list[int | None]:
    """The pages that a source is parted into, each being of its colour."""
    found: list[int | None] = []
    for item in expand(source, pages):
        if not isinstance(item, Page):
            found.append(None)
            continue
        found.append(item.number)
        pixel = item.load().getpixel((30, 15))
        assert item.number is not None
        assert np.abs(np.subtract(pixel, COLOURS[item.number - 1])).max() < 20
    return found


@pytest.mark.parametrize("name", ["doc.pdf", "scan.tif"])
def test_documents_are_parted(folder: Path, name: str) -> None:
    everything = [1, 2, 3, 4, 5]
    path = folder / name
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), io.BytesIO(path.read_bytes())):
        assert _numbers(source) == everything
    kind = "application/pdf" if "pdf" in name else "image/tiff"
    assert _numbers(f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}") == everything
    assert _numbers(f"{path}#3") == [3]
    assert _numbers(Path(f"{path}#2-3, 5")) == [2, 3, 5]
    assert _numbers(f"{path}#4-") == [4, 5]
    assert _numbers(path, "-2,5") == [1, 2, 5]
    assert _numbers(path, 4) == [4]
    assert _numbers(path, [3, 1]) == [3, 1]
    assert _numbers(path, "all") == everything
    assert _numbers(f"{path}#2", "4") == [2]  # what a name tells is nearer


@pytest.mark.parametrize("name", ["moving.gif", "moving.png", "moving.webp"])
def test_an_animation_is_one_picture_unless_frames_are_asked_for(folder: Path, name: str) -> None:
    assert _numbers(folder / name) == [None]
    assert _numbers(folder / name, "all") == [1, 2, 3, 4, 5]
    assert _numbers(f"{folder / name}#4") == [4]
    assert _numbers((folder / name).read_bytes(), "2-3") == [2, 3]


def test_what_is_one_picture_stays_as_it_is(folder: Path) -> None:
    for source in (folder / "one.png", folder / "one.tif", _pictures(1)[0], np.zeros((4, 4, 3), np.uint8), object()):
        for pages in (None, "2-3"):
            (item,) = expand(source, pages)
            assert item is source
    content = (folder / "one.tif").read_bytes()
    (item,) = expand(content)
    assert item is content
    (item,) = expand(io.BytesIO(content))
    assert isinstance(item, Page) and item.number is None and item.load().size == (72, 36)
    assert _numbers(f"{folder / 'one.png'}#1") == [1]
    (item,) = expand(f"{folder / 'one.png'}#2")
    with pytest.raises(ImageError, match="No page 2 in .*one.png', which has 1 page"):
        item.load()


def test_a_name_with_a_number_sign(folder: Path, tmp_path: Path) -> None:
    _pictures(1)[0].save(tmp_path / "a#3.png")
    (item,) = expand(tmp_path / "a#3.png")
    assert item == tmp_path / "a#3.png" and load_image(item).size == (72, 36)
    (item,) = expand(tmp_path / "b#x.png")
    assert item == tmp_path / "b#x.png"
    (item,) = expand(f"{folder}/doc.pdf#0")
    with pytest.raises(ImageError, match="No image file .*doc.pdf#0"):
        load_image(item)


def test_load_image_takes_pages(folder: Path) -> None:
    for name in ("doc.pdf", "scan.tif"):
        for number in (1, 4):
            pixel = load_image(f"{folder / name}#{number}").getpixel((30, 15))
            assert np.abs(np.subtract(pixel, COLOURS[number - 1])).max() < 20
        assert np.abs(np.subtract(load_image(folder / name).getpixel((3, 3)), COLOURS[0])).max() < 20
    with pytest.raises(ImageError, match="No page 9 in .*doc.pdf', which has 5 pages"):
        load_image(f"{folder}/doc.pdf#9")


def test_reduced_copies_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    from PIL import TiffImagePlugin

    about = TiffImagePlugin.ImageFileDirectory_v2()
    about[254] = 1
    first, second, third = _pictures(3)
    second.encoderinfo = {"tiffinfo": about}
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second, third])
    with Image.open(tmp_path / "a.tif") as opened:
        assert opened.n_frames == 3
    pages = list(expand(tmp_path / "a.tif"))
    assert [page.number for page in pages] == [1, 2]
    assert pages[1].load().getpixel((3, 3)) == COLOURS[2]


def test_dots_an_inch(folder: Path) -> None:
    for dpi, size in ((72, (72, 36)), (150, (150, 75)), (200, (200, 100))):
        (page,) = expand(folder / "one.pdf", dpi=dpi)
        assert page.number == 1 and page.load().size == size
    assert next(expand(folder / "doc.pdf")).load().size == (200, 100)
    (page,) = expand(folder / "one.pdf", dpi=300)
    with pytest.raises(ImageError, match=r"page 1 of .* has 300x150 = 45000 pixels at 300 dpi, more than the limit"):
        page.load(max_pixels=1000)
    with pytest.raises(OptionError, match="dpi is 0, expected a number from 1 to 2400"):
        next(expand(folder / "one.pdf", dpi=0))


@pytest.mark.parametrize("wrong", ["", "x", "3-2", "0", "1,,2", "-", 0, -1, 1.5, []])
def test_pages_that_are_none(wrong: Any) -> None:
    with pytest.raises(OptionError, match="pages are .*(expected numbers and ranges|no range of pages|empty list)"):
        chosen(wrong)


# ------------------------------------------------------------------------------------------------------------- reader


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader.from_pretrained(tiny.readable(tmp_path_factory.mktemp("model") / "model", seed=3), batch_size=3)


def _told(readings: Any) -> list[tuple[str | None, int | None, bool]]:
    return [(None if r.source is None else Path(r.source).name, r.page, r.ok) for r in readings]


def test_readings_of_pages(reader: Reader, folder: Path) -> None:
    readings = list(reader.read([folder / "one.png", folder / "doc.pdf", folder / "moving.gif"]))
    assert _told(readings) == [
        ("one.png", None, True),
        *[("doc.pdf", number, True) for number in range(1, 6)],
        ("moving.gif", None, True),
    ]
    single = [next(iter(reader.read(f"{folder}/doc.pdf#{number}"))).text for number in range(1, 6)]
    assert [reading.text for reading in readings[1:6]] == single
    assert [reading.to_dict()["page"] for reading in readings[:2]] == [None, 1]
    assert _told(reader.read(folder / "scan.tif", pages="2-3")) == [("scan.tif", 2, True), ("scan.tif", 3, True)]
    assert _told(reader.read(folder / "scan.tif", pages="first")) == [("scan.tif", None, True)]
    assert _told(reader.read(folder.joinpath("doc.pdf").read_bytes(), pages=2)) == [(None, 2, True)]
    with pytest.raises(OptionError, match="pages are 'x'"):
        reader.read(folder / "one.png", pages="x")


def test_one_reading_or_several(reader: Reader, folder: Path) -> None:
    read = vision2seq.read
    assert isinstance(read(folder / "one.png", reader), vision2seq.Reading)
    assert isinstance(read(folder / "one.tif", reader), vision2seq.Reading)
    assert isinstance(read(f"{folder}/doc.pdf#2", reader), vision2seq.Reading)
    assert isinstance(read(folder / "doc.pdf", reader, pages=2), vision2seq.Reading)
    assert len(read(folder / "one.pdf", reader)) == 1  # a list, however many pages there are
    assert len(read(folder / "scan.tif", reader)) == 5
    assert len(read([folder / "one.png"], reader)) == 1


def test_a_bad_page_stops_no_other(reader: Reader, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4\n" + bytes(300))
    (tmp_path / "locked.pdf").write_bytes(_locked((folder / "one.pdf").read_bytes()))
    scan = (folder / "scan.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(scan[: len(scan) // 2])
    sources = [
        tmp_path / "broken.pdf",
        tmp_path / "locked.pdf",
        f"{folder}/doc.pdf#4-8",
        tmp_path / "missing.pdf",
        f"{tmp_path}/missing.pdf#2",
        tmp_path / "cut.tif",
        folder / "one.png",
    ]
    readings = list(reader.read(sources))
    by_name: dict[str, list[vision2seq.Reading]] = {}
    for reading in readings:
        by_name.setdefault(Path(str(reading.source)).name, []).append(reading)
    assert "cannot be read as a PDF, it may be damaged" in str(by_name["broken.pdf"][0].error)
    assert "is encrypted and needs a password. Decrypt it first" in str(by_name["locked.pdf"][0].error)
    assert [(r.page, r.ok) for r in by_name["doc.pdf"]] == [(4, True), (5, True), (6, False)]
    assert "No pages 6 to 8 in " in str(by_name["doc.pdf"][2].error)
    assert all("No image file" in str(r.error) for r in by_name["missing.pdf"]) and len(by_name["missing.pdf"]) == 2
    assert not by_name["cut.tif"][-1].ok
    assert by_name["one.png"][0].ok and readings[-1].ok


def _locked(plain: bytes) -> bytes:
    """A PDF whose trailer asks for a password that nobody has: pdfium checks it before anything else."""
    lock = (
        b"/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <"
        + b"41" * 32
        + b"> /U <"
        + b"42" * 32
        + b"> >> /ID [<00> <00>]"
    )
    return plain.replace(b"trailer\n<<", b"trailer\n<< " + lock, 1)


def test_a_page_at_a_time_is_in_memory(reader: Reader, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[Any] = []
    import weakref

    load = Page.load

    def watched(self: Page, **options: Any) -> Image.Image:
        picture = load(self, **options)
        assert sum(one() is not None for one in alive) <= 1  # that of the page before may wait for its name
        alive.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(Page, "load", watched)
    readings = reader.read(folder / "doc.pdf", batch_size=2)
    next(readings)
    assert len(alive) == 2  # nothing is rendered before its batch
    assert len(list(readings)) == 4 and len(alive) == 5


def test_without_the_package(reader: Reader, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("pypdfium2"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "pypdfium2", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    bad, good = reader.read([folder / "doc.pdf", folder / "one.png"])
    assert good.ok
    assert "pypdfium2, which is not installed. Type: pip install 'vision2seq[pdf]'" in str(bad.error)
