"""Data sets: every kind of source, and every kind of problem, named and counted, skipped or refused."""

from __future__ import annotations

import builtins
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import lines
import pytest
import tiny

from vision2seq.errors import CheckpointNotFoundError, MissingPackageError, OptionError, TrainingDataError
from vision2seq.training import DataSet, Example, Problems, read_examples


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with four pictures, one of them below."""
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.JPG", "c.d.png", "sub/e.tif"):
        tiny.picture().save(tmp_path / name)
    return tmp_path


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pairs(data: DataSet) -> list[tuple[str, str]]:
    return [(each.name, each.text) for each in data]


# ----------------------------------------------------------------------------------------------------------- folders


def test_a_folder_with_texts_beside(images: Path) -> None:
    write(images / "a.gt.txt", "one\n")
    write(images / "b.gt.txt", "\ufefftwo  \r\n")
    write(images / "c.d.gt.txt", "")  # an empty image has an empty text
    write(images / "sub/e.gt.txt", "two\nlines\n\n")
    write(images / "notes.txt", "nothing")
    data = read_examples(images)
    assert pairs(data) == [("a.png", "one"), ("b.JPG", "two  "), ("c.d.png", ""), ("sub/e.tif", "two\nlines")]
    assert data[0].image == images / "a.png"
    assert data[0].place == str(images / "a.png")
    assert not data.problems


def test_problems_of_a_folder(images: Path) -> None:
    write(images / "a.gt.txt", "one")
    write(images / "b.gt.txt", b"caf\xe9")
    write(images / "gone.gt.txt", "x")
    data = read_examples(images, on_problem="skip")
    assert pairs(data) == [("a.png", "one")]
    assert data.problems.counts == {"missing text": 3, "missing image": 1}
    assert data.problems.places["missing image"] == [f"{images / 'gone.gt.txt'}: there is no image beside it"]
    assert f"{images / 'sub/e.tif'}: there is no e.gt.txt beside it" in data.problems.places["missing text"]
    assert "b.gt.txt: cannot be read as UTF-8" in str(data.problems)
    with pytest.raises(
        TrainingDataError, match=r"4 of the examples cannot be used: 3 × missing text .*e\.gt\.txt"
    ) as e:
        read_examples(images)
    assert "--on-problem skip" in str(e.value)


def test_sources_without_examples_are_refused(images: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"there are no examples but only 4 × missing text .*\.gt\.txt files"):
        read_examples(images, on_problem="skip")
    empty = images / "empty"
    empty.mkdir()
    with pytest.raises(TrainingDataError, match=r"empty: there are no examples\. Expected images"):
        read_examples(empty)
    with pytest.raises(TrainingDataError, match="The list of sources: there are no examples"):
        read_examples([])
    with pytest.raises(CheckpointNotFoundError, match=r"There is no .*nowhere\. Expected a folder of images"):
        read_examples(images / "nowhere")
    with pytest.raises(OptionError, match=r"notes\.txt is no table that is known here; expected a folder or \.csv"):
        read_examples(write(images / "notes.txt", "x"))
    with pytest.raises(OptionError, match="on_problem is 'ignore', expected 'raise' or 'skip'"):
        read_examples(images, on_problem="ignore")


# ------------------------------------------------------------------------------------------------------------ tables


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'file_name,text\na.png,"one, ""1"""\nsub/e.tif,"two\nlines"\n'),
        ("t.csv", '\ufefffile_name;text;source\r\na.png;"one, ""1""";x\r\nsub/e.tif;"two\nlines";\r\n\r\n'),
        ("t.tsv", 'path\tcaption\na.png\t"one, ""1"""\nsub/e.tif\t"two\nlines"\n'),
        ("t.jsonl", '{"image": "a.png", "text": "one, \\"1\\""}\n\n{"text": "two\\nlines", "image": "sub/e.tif"}\n'),
    ],
)
def test_tables(images: Path, name: str, content: str) -> None:
    data = read_examples(write(images / name, content))
    assert pairs(data) == [("a.png", 'one, "1"'), ("sub/e.tif", "two\nlines")]
    assert data[1].image == images / "sub/e.tif"
    assert data[1].place == f"{images / name}:3"


def test_absolute_paths_and_several_sources(images: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = write(tmp_path_factory.mktemp("x") / "t.csv", f"image,text\n{images / 'a.png'},one\n")
    other = lines.folder_of_lines(images / "more", ("ab",))
    assert [each.text for each in read_examples([elsewhere, other])] == ["one", "ab"]


def test_columns_are_guessed_in_order_or_named(images: Path) -> None:
    table = write(images / "t.csv", "path,image,label,note\nb.JPG,a.png,one,two\n")
    assert pairs(read_examples(table)) == [("a.png", "one")]
    assert pairs(read_examples(table, image_column="path", text_column="note")) == [("b.JPG", "two")]
    with pytest.raises(OptionError, match=r"has no column 'notes'\. Did you mean 'note'\? It has: 'path', 'image'"):
        read_examples(table, text_column="notes")
    table = write(images / "t.csv", "image,words\na.png,one\n")
    with pytest.raises(
        OptionError,
        match=r"no column that is known to hold the texts \(text, .*It has: 'image', 'words'.*--text-column",
    ):
        read_examples(table)


def test_problems_of_csv(images: Path) -> None:
    table = write(
        images / "t.csv",
        b'image,text\na.png,one\ngone.png,x\na.png,\n,x\na.png,x,y\na.png\na.png,caf\xe9\nb.JPG,"two"\n'
        b'a.png,"x"y\na.png,last\n',
    )
    data = read_examples(table, on_problem="skip")
    assert pairs(data) == [("a.png", "one"), ("b.JPG", "two"), ("a.png", "last")]
    assert data.problems.counts == {"missing image": 2, "missing text": 1, "broken row": 4}
    assert data.problems.places == {
        "missing image": [f"{table}:3: there is no {str(images / 'gone.png')!r}", f"{table}:5: image is empty"],
        "missing text": [f"{table}:4: text is empty"],
        "broken row": [
            f"{table}:6: has 3 fields, the header 2",
            f"{table}:7: has 1 fields, the header 2",
            f"{table}:8: is not UTF-8",
            f"{table}:10: ',' expected after '\"'",
        ],
    }
    with pytest.raises(TrainingDataError, match=r"7 of the examples cannot be used: 2 × missing image \(.*t\.csv:3:"):
        read_examples(table)


def test_problems_of_jsonl(images: Path) -> None:
    rows: list[Any] = [
        {"image": "a.png"},
        {"image": "a.png", "text": ""},
        {"image": "a.png", "text": None},
        {"image": "a.png", "text": 5},
        {"image": ["a.png"], "text": "x"},
        {"image": "a\0.png", "text": "x"},
        {"image": "a" * 5000, "text": "x"},
        {"image": "", "text": "x"},
        ["a.png", "x"],
        {"image": "a.png", "text": "\udcff"},
    ]
    content = "\n".join(map(json.dumps, rows)) + '\n{"image": \n{"image": "b.JPG", "text": "one"}\n'
    table = write(images / "t.jsonl", content)
    data = read_examples(table, on_problem="skip")
    assert pairs(data) == [("a.png", ""), ("b.JPG", "one")]  # an empty text that is there counts
    assert data.problems.counts == {"missing text": 2, "broken row": 5, "missing image": 3}
    assert f"{table}:4: text is 5, expected a text" in data.problems.places["broken row"]
    assert f"{table}:5: image is ['a.png'], expected a path" in data.problems.places["broken row"]
    assert f"{table}:9: is ['a.png', 'x'], expected an object {{…}}" in data.problems.places["broken row"]
    assert f"{table}:11: is not JSON" in str(data.problems)


def test_a_report_shows_the_first_few_places() -> None:
    problems, other = Problems(), Problems()
    assert not problems
    for number in range(9):
        (problems if number < 4 else other).add("broken row", f"t.csv:{number}", "is broken")
    problems.merge(other)
    assert len(problems) == 9
    assert problems.counts == {"broken row": 9}
    assert str(problems) == (
        "9 × broken row (" + "; ".join(f"t.csv:{number}: is broken" for number in range(5)) + "; …)"
    )


# ----------------------------------------------------------------------------------------------------------- Parquet


def test_parquet(images: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    parquet = importlib.import_module("pyarrow.parquet")
    raw = (images / "a.png").read_bytes()
    structs = [
        {"bytes": raw, "path": None},
        {"bytes": None, "path": "b.JPG"},
        {"bytes": None, "path": "gone.png"},
        None,
    ]
    table = images / "t.parquet"
    parquet.write_table(pyarrow.table({"image": structs, "text": ["one", "", "x", "y"]}), table)
    data = read_examples(table, on_problem="skip")
    assert [(each.image, each.text) for each in data] == [(raw, "one"), (images / "b.JPG", "")]
    assert data.problems.counts == {"missing image": 2}
    parquet.write_table(pyarrow.table({"image": [raw, raw], "text": ["one", None]}), table)
    with pytest.raises(TrainingDataError, match=r"1 × missing text \(.*t\.parquet:2: text is empty\)"):
        read_examples(table)
    with pytest.raises(TrainingDataError, match=r"t\.parquet cannot be read as Parquet \(.*Write or fetch it again"):
        read_examples(write(table, "no such thing"))


def test_parquet_needs_pyarrow(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(MissingPackageError, match=r"needs pyarrow, which is not .*pip install 'vision2seq\[parquet\]'"):
        read_examples(write(images / "t.parquet", "PAR1"))


# ------------------------------------------------------------------------------------------------- splits and digests


def examples(count: int) -> DataSet:
    return DataSet([Example(Path(f"{n}.png"), f"text {n}", f"/somewhere/{n}.png", f"{n}.png") for n in range(count)])


def test_splits_follow_from_what_is_there() -> None:
    data = examples(40)
    kept, held = data.split(0.1, seed=3)
    assert (len(kept), len(held)) == (36, 4)
    assert {each.name for each in kept} | {each.name for each in held} == {each.name for each in data}
    turned = DataSet([Example(each.image, each.text, "elsewhere", each.name) for each in reversed(data.examples)])
    assert {each.name for each in turned.split(0.1, seed=3)[1]} == {each.name for each in held}
    assert {each.name for each in data.split(0.1, seed=4)[1]} != {each.name for each in held}
    more = {each.name for each in examples(41).split(0.1, seed=3)[1]}
    assert len(more - {each.name for each in held}) <= 1
    assert [len(part) for part in examples(2).split(0.99)] == [1, 1]


def test_splits_that_cannot_be_made() -> None:
    with pytest.raises(OptionError, match="share to validate on is 1, expected a number above 0 and below 1"):
        examples(4).split(1)
    with pytest.raises(TrainingDataError, match="1 example cannot be divided; expected at least 2"):
        examples(1).split(0.5)


def test_digests_tell_data_sets_apart() -> None:
    data = examples(3)
    moved = DataSet([Example(b"", each.text, "elsewhere", each.name) for each in data])
    assert data.digest() == moved.digest() != examples(4).digest()
    assert data.digest().startswith("3 examples, ")
    assert data.digest() != DataSet(data.examples[::-1]).digest()


def test_reading_tables_opens_no_image(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(images / "t.csv", "image,text\na.png,one\n")
    opened = []
    plain = builtins.open
    monkeypatch.setattr(builtins, "open", lambda file, *rest, **more: opened.append(file) or plain(file, *rest, **more))
    (images / "a.png").write_bytes(b"no picture")
    assert len(read_examples(table)) == 1
    assert not any(str(file).endswith(".png") for file in opened)
