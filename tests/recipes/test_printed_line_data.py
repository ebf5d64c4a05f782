"""The data side of the recipe: what the renderer draws, what the texts say, which document lines count."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import documents
import examples
import fonts
import render
import texts
import tokenizer
from charset import CHARACTERS, CHARSET, is_readable, tidy

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "printed-line"


PARAGRAPHS = [
    "The quick brown fox jumps over the lazy dog, and nobody minds.",
    'It costs "5 dollars" -- or so they said in 1999; file the offer.',
    "Numbers such as 3.14, 42 and 1,000,000 stand in most documents that people print.",
]


@pytest.fixture(scope="session")
def bundled_font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The font inside Pillow, as a file: it is there wherever Pillow is."""
    font = ImageFont.load_default(12)
    data = getattr(getattr(font, "path", None), "getvalue", None)
    if data is None:
        pytest.skip("this Pillow has no font of its own (built without FreeType)")
    path = tmp_path_factory.mktemp("fonts") / "Bundled-Regular.ttf"
    path.write_bytes(data())
    return path


@pytest.fixture(scope="session")
def installed_faces() -> list[fonts.Face]:
    faces = fonts.list_faces()
    if len({face.family for face in faces}) < 5:
        pytest.skip("fewer than five font families are installed (recipes/printed-line/README.md lists the packages)")
    return faces


def digest(lines: list[tuple[np.ndarray, str]]) -> str:
    return hashlib.sha256(b"".join(repr((a.shape, t)).encode() + a.tobytes() for a, t in lines)).hexdigest()


# Renderer


def test_a_line_depends_on_seed_and_index_alone(bundled_font: Path) -> None:
    renderer = render.LineRenderer([bundled_font], PARAGRAPHS, seed=7)
    forwards = [renderer.render(index) for index in range(40)]
    backwards = [render.LineRenderer([bundled_font], PARAGRAPHS, seed=7).render(index) for index in (31, 5, 0)]
    for index, (array, text) in zip((31, 5, 0), backwards, strict=True):
        assert text == forwards[index][1]
        np.testing.assert_array_equal(array, forwards[index][0])
    other = render.LineRenderer([bundled_font], PARAGRAPHS, seed=8)
    assert digest([other.render(index) for index in range(40)]) != digest(forwards)
    assert len({text for _, text in forwards}) > 30


def test_another_process_draws_the_same_pixels(bundled_font: Path) -> None:
    script = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import render; from pathlib import Path\n"
        "r = render.LineRenderer([Path(sys.argv[2])], sys.argv[3:], seed=3)\n"
        "lines = [r.render(i) for i in range(25)]\n"
        "print(hashlib.sha256(b''.join(repr((a.shape, t)).encode() + a.tobytes() for a, t in lines)).hexdigest())"
    )
    command = [sys.executable, "-c", script, str(RECIPE), str(bundled_font), *PARAGRAPHS]
    other = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    renderer = render.LineRenderer([bundled_font], PARAGRAPHS, seed=3)
    assert other == digest([renderer.render(index) for index in range(25)])


def test_installed_fonts_draw_the_same_pixels_whatever_was_drawn_before(installed_faces: list[fonts.Face]) -> None:
    paths = [face.path for face in installed_faces]
    renderer = render.LineRenderer(paths, PARAGRAPHS, seed=1)
    first = [renderer.render(index) for index in range(12)]
    again = render.LineRenderer(list(reversed(paths)), PARAGRAPHS, seed=1)
    for index in (90, 60, 11):
        again.render(index)
    assert digest([again.render(index) for index in range(12)]) == digest(first)


def test_lines_have_the_height_of_the_canvas_and_at_most_its_width(bundled_font: Path) -> None:
    renderer = render.LineRenderer([bundled_font], PARAGRAPHS, seed=5, height=32, max_width=300)
    lines = [renderer.render(index) for index in range(60)]
    assert {array.dtype for array, _ in lines} == {np.dtype(np.uint8)}
    assert {array.shape[0] for array, _ in lines} == {32}
    widths = [array.shape[1] for array, _ in lines]
    assert max(widths) == 300
    assert min(widths) < 100
    assert all(is_readable(text) and text == text.strip() for _, text in lines)


def test_max_words_gives_short_lines(bundled_font: Path) -> None:
    renderer = render.LineRenderer([bundled_font], PARAGRAPHS, seed=5)
    for words in (1, 3):
        lines = [renderer.render(index, words)[1] for index in range(80)]
        assert max(len(text.split()) for text in lines) == words


def test_clean_lines_are_dark_on_an_even_light_ground(bundled_font: Path) -> None:
    renderer = render.LineRenderer([bundled_font], PARAGRAPHS, seed=2)
    for index in range(30):
        array, text = renderer.crop(index, degrade=False)
        ground = int(array.max())
        assert ground >= 225
        assert (array == ground).mean() > 0.4
        assert not text or array.min() < 140


def test_some_lines_are_light_on_dark_and_about_one_in_a_hundred_is_empty(bundled_font: Path) -> None:
    renderer = render.LineRenderer([bundled_font], PARAGRAPHS, seed=2)
    lines = [renderer.crop(index, 2) for index in range(600)]
    dark = sum(float(np.median(array)) < 128 for array, _ in lines)
    assert 20 <= dark <= 120
    assert 1 <= sum(not text for _, text in lines) <= 20


def test_signs_that_a_font_lacks_are_not_in_the_text(bundled_font: Path) -> None:
    face = fonts.read_face(bundled_font)
    assert face is not None
    missing = min(face.missing)
    renderer = render.LineRenderer([bundled_font], [f"one {missing} two {missing}three {missing}{missing}"], seed=4)
    texts_seen = [renderer.render(index)[1] for index in range(60)]
    assert any("two" in text for text in texts_seen)
    assert not any(missing in text for text in texts_seen)


def test_no_usable_font_is_named(tmp_path: Path) -> None:
    path = tmp_path / "not-a-font.ttf"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"Found no usable font among 1 files: each must be a TrueType or OpenType"):
        render.LineRenderer([path], PARAGRAPHS, seed=0)


def test_no_usable_text_is_named(bundled_font: Path) -> None:
    with pytest.raises(ValueError, match=r"Found no text to render: every text was empty or had characters outside"):
        render.LineRenderer([bundled_font], ["", "Ελληνικά"], seed=0)


@pytest.mark.parametrize("size", [(40, 900), (64, 700), (21, 640), (33, 33), (50, 20), (9, 3), (32, 1024), (30, 2000)])
def test_crops_are_scaled_exactly_as_the_image_processor_does(size: tuple[int, int]) -> None:
    from vision2seq.processing.image.donut import DonutImageProcessor

    array = np.random.default_rng(size[0]).integers(0, 256, size, dtype=np.uint8)
    processor = DonutImageProcessor(
        size={"height": 32, "width": 1024}, do_rescale=False, do_normalize=False, do_align_long_axis=False
    )
    pixels = np.asarray(processor(Image.fromarray(array).convert("RGB"))["pixel_values"][0])
    scaled = render.scale_to_canvas(array)
    left = (1024 - scaled.shape[1]) // 2
    canvas = np.zeros((32, 1024), np.uint8)
    canvas[:, left : left + scaled.shape[1]] = scaled
    np.testing.assert_array_equal(np.broadcast_to(canvas, (3, 32, 1024)), pixels)


# Fonts


def test_training_never_sees_the_held_out_families(installed_faces: list[fonts.Face]) -> None:
    families = {face.family for face in installed_faces}
    assert not families & fonts.HELD_OUT_FAMILIES
    assert not any(word in family for family in families for word in ("FreeSerif", "FreeSans", "Nimbus", "Garamond"))
    held_out = {face.family for face in fonts.list_faces(held_out=True)}
    assert held_out <= fonts.HELD_OUT_FAMILIES


def test_held_out_lines_are_fixed() -> None:
    if {face.family for face in fonts.list_faces(held_out=True)} != fonts.HELD_OUT_FAMILIES:
        pytest.skip("not all held-out font families are installed (recipes/printed-line/README.md lists the packages)")
    lines = render.held_out_lines(30)
    assert digest(lines) == digest(render.held_out_lines(30))
    assert digest(lines[:10]) == digest(render.held_out_lines(10))
    assert all(array.shape[0] == 32 and is_readable(text) for array, text in lines)


def test_missing_held_out_families_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Found no font of Cabin, Caladea, Comfortaa, EB Garamond, JetBrains Mono in "
    ):
        render.held_out_lines(folders=[tmp_path])


def test_weights_and_widths_are_no_part_of_a_family() -> None:
    assert fonts.plain_family("Noto Sans SemiCondensed ExtraBold") == "Noto Sans"
    assert fonts.plain_family("Latin Modern Mono 10") == "Latin Modern Mono"
    assert fonts.plain_family("Open Sans") == "Open Sans"


def test_a_font_file_is_read(bundled_font: Path) -> None:
    face = fonts.read_face(bundled_font)
    assert face is not None
    assert (face.family, face.style, face.monospaced, face.held_out) == ("Aileron", "Regular", False, False)
    assert face.missing < CHARACTERS
    assert "€" in face.missing
    assert "A" not in face.missing


def test_what_is_not_a_font_is_left_out(tmp_path: Path, bundled_font: Path) -> None:
    shutil.copy(bundled_font, tmp_path / "good.ttf")
    (tmp_path / "cut.ttf").write_bytes(bundled_font.read_bytes()[:300])
    (tmp_path / "notes.txt").write_text("no font")
    assert [face.path.name for face in fonts.list_faces([tmp_path])] == ["good.ttf"]


# Charset and tokenizer


def test_the_charset_has_each_sign_once_and_those_of_the_task() -> None:
    assert len(CHARSET) == len(CHARACTERS) == 108
    assert CHARACTERS.issuperset("“”‘’–—•…€£°%§$ azAZ09~")


def test_texts_are_spelled_with_the_charset() -> None:
    assert tidy(" The\u00a0of\ufb01ce \n of\u202fan\u2011other\u00ad ") == "The office of an-other"
    assert is_readable(tidy("\ufb03 \u2212 1"))
    assert not is_readable("naïve")


def test_the_tokenizer_gives_every_text_back() -> None:
    built = tokenizer.build()
    rng = random.Random(1)
    samples = ["".join(CHARSET), "a  b", " a ", "", "<s> is a tag? </s"]
    samples += ["".join(rng.choices(CHARSET, k=40)) for _ in range(50)]
    for text in samples[:4] + samples[5:]:
        encoded = built.encode(text)
        assert len(encoded.ids) == len(text) + 2
        assert (encoded.ids[0], encoded.ids[-1]) == (0, 2)
        assert built.decode(encoded.ids, skip_special_tokens=True) == text
    assert built.encode("é").tokens == ["<s>", "<unk>", "</s>"]


def test_the_tokenizer_files_are_complete(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer.write(tmp_path / "new", longest=99)
    folder = tmp_path / "new"
    assert sorted(path.name for path in folder.iterdir()) == [
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert loaded.get_vocab_size() == 112
    assert loaded.decode(loaded.encode("“Ab” 1–2…").ids) == "“Ab” 1–2…"
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert (config["model_max_length"], config["pad_token"], config["eos_token"]) == (99, "<pad>", "</s>")


# Texts


def test_sampled_lines_keep_to_their_limits() -> None:
    sampler = texts.TextSampler(PARAGRAPHS)
    rng = random.Random(0)
    lines = [sampler.line(rng) for _ in range(2000)]
    assert all(line and line == " ".join(line.split()) and is_readable(line) for line in lines)
    assert 100 < max(map(len, lines)) <= texts.LONGEST
    assert sum(len(line) > 60 for line in lines) > 200
    assert set("".join(lines)) == set(CHARSET)
    assert lines[:50] == [sampler.line(again) for again in (random.Random(0),) for _ in range(50)]


def test_made_up_strings_are_readable_and_varied() -> None:
    rng = random.Random(0)
    made = [texts.make_up(rng) for _ in range(3000)]
    assert all(text.strip() and is_readable(text) for text in made)
    assert len(set(made)) > 2500
    for sign in "€£$@%°§©":
        assert any(sign in text for text in made)


def test_manual_pages_become_prose() -> None:
    source = '.TH A 1\n.SH "THE NAME"\na \\- the \\fBbold\\fR word\n.BR ls (1)\nlists \\(lqfiles\\(rq.\n.PP\nNext.'
    assert list(texts._from_roff(source)) == ["THE NAME", "a - the bold word ls(1) lists “files”.", "Next."]


# Documents

PAGE = """ width="595" height="842">
<flow><block xMin="70" yMin="90" xMax="500" yMax="400">
<line xMin="70" yMin="100" xMax="190" yMax="112">
<word xMin="70" yMin="100" xMax="100" yMax="112">Plain</word>
<word xMin="104" yMin="100" xMax="190" yMax="112">of&#xfb01;ce &amp; co.</word></line>
<line xMin="70" yMin="120" xMax="180" yMax="132">
<word xMin="70" yMin="120" xMax="130" yMax="132">Footnote</word>
<word xMin="134" yMin="120" xMax="138" yMax="127">1</word></line>
<line xMin="70" yMin="140" xMax="180" yMax="152">
<word xMin="70" yMin="140" xMax="180" yMax="152">sum \u2211 of it</word></line>
<line xMin="70" yMin="160" xMax="300" yMax="172">
<word xMin="70" yMin="160" xMax="120" yMax="172">Contents</word>
<word xMin="124" yMin="160" xMax="280" yMax="172">. . . . . . .</word>
<word xMin="290" yMin="160" xMax="300" yMax="172">42</word></line>
<line xMin="70" yMin="180" xMax="180" yMax="192">
<word xMin="70" yMin="180" xMax="120" yMax="192">torn</word>
<word xMin="120.4" yMin="180" xMax="180" yMax="192">apart</word></line>
<line xMin="70" yMin="200" xMax="180" yMax="212">
<word xMin="70" yMin="200" xMax="180" yMax="212">over lapping</word></line>
<line xMin="150" yMin="203" xMax="260" yMax="215">
<word xMin="150" yMin="203" xMax="260" yMax="215">one another</word></line>
<line xMin="4" yMin="220" xMax="90" yMax="232">
<word xMin="4" yMin="220" xMax="90" yMax="232">at the edge</word></line>
<line xMin="70" yMin="240" xMax="82" yMax="400">
<word xMin="70" yMin="240" xMax="82" yMax="400">turned text</word></line>
<line xMin="70" yMin="420" xMax="76" yMax="432">
<word xMin="70" yMin="420" xMax="76" yMax="432">…</word></line>
<line xMin="70" yMin="440" xMax="200" yMax="452">
<word xMin="70" yMin="440" xMax="130" yMax="452">Last</word>
<word xMin="140" yMin="440" xMax="200" yMax="452">line\u2010end</word></line>
</block></flow>"""
DOCUMENT = documents.Document("made-up", "no-such-package", "usr/share/doc/none.pdf", "tune", "none", "none", (1, 2))


def test_only_lines_with_exact_text_are_used() -> None:
    lines = list(documents.usable_lines(DOCUMENT, 3, PAGE))
    assert [line.text for line in lines] == ["Plain office & co."]
    lines = list(documents.usable_lines(DOCUMENT, 3, PAGE.replace("\u2010", "-")))
    assert [line.text for line in lines] == ["Plain office & co.", "Last line-end"]
    assert lines[1].box == (70, 440, 200, 452)
    assert lines[1].page == 3
    assert lines[1].words == ((70, 440, 130, 452), (140, 440, 200, 452))


def test_ink_that_the_text_does_not_have_is_seen() -> None:
    line = list(documents.usable_lines(DOCUMENT, 1, PAGE.replace("\u2010", "-")))[1]
    page = Image.new("L", (595, 842), 255)
    assert not documents.has_drawn_gap(line, page, 72)
    for box in ((131, 450, 139, 451), (62, 442, 67, 450), (202, 443, 204, 449)):
        marked = page.copy()
        ImageDraw.Draw(marked).rectangle(box, fill=0)
        assert documents.has_drawn_gap(line, marked, 72), box


def test_lines_are_chosen_from_all_pages_and_once_each() -> None:
    pages = [
        [
            documents.Line(DOCUMENT, page, text, (0, y, 9, y + 9), ())
            for y, text in enumerate(("Title", f"p{page}", "7"))
        ]
        for page in range(30)
    ]
    chosen = documents.choose(pages, 12, "seed")
    assert chosen == documents.choose(pages, 12, "seed") != documents.choose(pages, 12, "other")
    assert [line.text for line in chosen].count("Title") == 1
    assert len(chosen) == 12
    assert not any(line.text == "7" for line in chosen)
    assert [line.page for line in chosen] == sorted(line.page for line in chosen)
    assert documents.choose(pages, 12, "seed", lambda line: line.text == "p4")[0].page == 4


def test_crops_have_a_margin_and_stay_on_the_page() -> None:
    page = Image.new("L", (200, 100), 255)
    assert documents.crop(page, (10.2, 20.5, 50.1, 30), 72, 3).size == (51 - 10 + 6, 30 - 20 + 6)
    assert documents.crop(page, (0, 0, 100, 50), 144, 4).size == (200, 100)


def test_degraded_crops_are_the_same_each_time_and_higher() -> None:
    crop = Image.new("L", (400, 40), 255)
    ImageDraw.Draw(crop).rectangle((20, 10, 380, 30), fill=0)
    first = documents.degrade(crop, 200, random.Random("a"))
    assert first.mode == "L"
    assert first.height > crop.height
    assert first.tobytes() == documents.degrade(crop, 200, random.Random("a")).tobytes()
    assert first.tobytes() != documents.degrade(crop, 200, random.Random("b")).tobytes()


def test_absent_documents_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"Found none of the documents \(no-such-package\)\. Install them, or give"
    ):
        documents.make([DOCUMENT], [tmp_path], tmp_path / "out", dpi=(100,), limit=5)
    assert "made-up: not found; install no-such-package" in capsys.readouterr().err


def test_documents_of_the_table_are_never_tuned_on() -> None:
    splits: dict[str, set[str]] = {}
    for document in documents.DOCUMENTS:
        splits.setdefault(document.split, set()).add(document.package)
    assert set(splits) == {"tune", "sample", "test"}
    assert len(splits["test"]) >= 4
    assert len(splits["tune"]) >= 4
    assert not splits["test"] & (splits["tune"] | splits["sample"])
    assert any("never in training" in document.type for document in documents.DOCUMENTS if document.split == "test")
    # Their texts are no training texts either.
    assert all(texts._VALIDATION.search(package) for package in splits["test"] | splits["tune"])


def test_crops_of_a_real_document(tmp_path: Path) -> None:
    document = next(document for document in documents.DOCUMENTS if document.name == "charis-faq")
    if shutil.which("pdftotext") is None or shutil.which("pdftoppm") is None:
        pytest.skip("poppler-utils is not installed")
    if documents.locate(document, []) is None:
        pytest.skip(f"the package {document.package} is not installed")
    rows = documents.make([document], [], tmp_path, dpi=(100, 200), limit=5, every_dpi=True)
    assert len(rows) == 10
    assert {row["dpi"] for row in rows} == {100, 200}
    assert rows == [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    for row in rows:
        crop = Image.open(tmp_path / str(row["image"]))
        _, top, _, bottom = row["box"]  # type: ignore[misc]
        assert abs(crop.height - (bottom - top) * int(str(row["dpi"])) / 72 - 7) < 4
        assert (tmp_path / str(row["image"])).with_suffix(".gt.txt").read_text() == f"{row['text']}\n"
    assert sorted(path.suffix for path in tmp_path.iterdir()).count(".part") == 0


def test_the_committed_lines_are_whole_and_from_no_document_of_the_table() -> None:
    folder = ROOT / "tests" / "goldens" / "lines"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    splits = {document.name: document.split for document in documents.DOCUMENTS}
    assert len(rows) == 40 == len(list(folder.glob("*.png"))) == len(list(folder.glob("*.gt.txt")))
    assert sum(row["degraded"] for row in rows) == 8
    assert {row["dpi"] for row in rows} == {100, 150, 200, 300}
    assert {splits[row["document"]] for row in rows} == {"tune", "sample"}
    for row in rows:
        text = (folder / row["image"]).with_suffix(".gt.txt").read_text(encoding="utf-8")
        assert text == row["text"] + "\n"
        assert is_readable(row["text"])
        assert Image.open(folder / row["image"]).mode == "L"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 400_000


def test_the_examples_are_the_listed_ones() -> None:
    folder = ROOT / "examples" / "lines"
    listed = {name: text for name, _, _, _, text in examples.EXAMPLES}
    assert {path.stem for path in folder.glob("*.png")} == set(listed)
    splits = {document.name: document.split for document in documents.DOCUMENTS}
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for name, document, page, dpi, text in examples.EXAMPLES:
        assert (folder / f"{name}.gt.txt").read_text(encoding="utf-8") == text + "\n"
        assert splits[document] != "test"
        assert f"| `{name}.png` | {document} | {page} | {dpi} |" in readme
