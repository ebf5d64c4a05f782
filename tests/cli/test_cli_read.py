"""`vision2seq read`: what it prints, where, and with which status."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import vision2seq.cli.read as command
from vision2seq import Reader
from vision2seq.cli.main import main

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.readable(tmp_path_factory.mktemp("cli") / "model", seed=3))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, some below it, and a file that is none."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "sub").mkdir()
    for number, name in enumerate(["a.png", "b.jpg", "sub/c.PNG", "sub/d.tif"]):
        tiny.picture(number).save(folder / name)
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def texts(model: str, images: Path) -> dict[str, str]:
    names = ["a.png", "b.jpg", "sub/c.PNG", "sub/d.tif"]
    readings = Reader.from_pretrained(model).read([images / name for name in names])
    return {str(images / name): reading.text for name, reading in zip(names, readings, strict=True)}


Captured = pytest.CaptureFixture[str]


def run(capsys: Captured, *arguments: Any) -> tuple[int, str, str]:
    status = main(["read", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


# ---------------------------------------------------------------------------------------------------------- formats


def test_one_image_prints_its_text_alone(capsys: Captured, model: str, images: Path, texts: dict[str, str]) -> None:
    name = images / "a.png"
    assert texts[str(name)]
    assert run(capsys, name, "--model", model) == (0, texts[str(name)] + "\n", "")


def test_several_print_a_line_each(capsys: Captured, model: str, images: Path, texts: dict[str, str]) -> None:
    status, out, err = run(capsys, images / "sub/c.PNG", images / "a.png", "-m", model)
    assert status == 0
    assert out.splitlines() == [f"{images / name}\t{texts[str(images / name)]}" for name in ("sub/c.PNG", "a.png")]
    assert err == ""


def test_json(capsys: Captured, model: str, images: Path, texts: dict[str, str]) -> None:
    status, out, _ = run(capsys, images, "--model", model, "--json")
    assert status == 0
    found = json.loads(out)
    assert {entry["source"]: entry["text"] for entry in found} == texts
    for entry in found:
        assert list(entry) == [
            "text",
            "confidence",
            "probability",
            "score",
            "words",
            "tokens",
            "finish_reason",
            "seconds",
            "source",
            "error",
            "repetition",
            "alternatives",
            "data",
            "page",
        ]
        assert entry["error"] is None
        assert 0 < entry["confidence"] <= 1
        assert "".join(token["text"] for token in entry["tokens"]) == entry["text"]
    status, out, _ = run(capsys, images / "a.png", "--model", model, "--json")
    assert [entry["source"] for entry in json.loads(out)] == [str(images / "a.png")]


def test_jsonl(capsys: Captured, model: str, images: Path, texts: dict[str, str]) -> None:
    status, out, _ = run(capsys, images, "--model", model, "--jsonl", "--batch-size", 3)
    assert status == 0
    assert {entry["source"]: entry["text"] for entry in map(json.loads, out.splitlines())} == texts


def test_text_with_line_breaks_stays_one_line_of_several(capsys: Captured) -> None:
    out = io.StringIO()
    write = command._Writer(out, "text", several=True)
    tokens: Any = ()
    from vision2seq import Reading

    write("x.png", Reading("one\ntwo", 1.0, tokens, "eos", 0.1))
    write.end()
    assert out.getvalue() == "x.png\tone two\n"
    out = io.StringIO()
    write = command._Writer(out, "text", several=False)
    write("x.png", Reading("one\ntwo", 1.0, tokens, "eos", 0.1))
    assert out.getvalue() == "one\ntwo\n"


def test_no_character_is_lost(capsys: Captured) -> None:
    from vision2seq import Reading

    for form in ("json", "jsonl"):
        out = io.StringIO()
        write = command._Writer(out, form, several=False)
        write("ß.png", Reading("“日”\n", 1.0, (), "eos", 0.1))
        write.end()
        assert "日" in out.getvalue()
        assert entries(out.getvalue())[0]["text"] == "“日”\n"
        plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")  # a terminal without these signs
        write = command._Writer(plain, form, several=False)
        write("ß.png", Reading("“😀”\n", 1.0, (), "eos", 0.1))
        write.end()
        plain.seek(0)
        assert entries(plain.read())[0]["text"] == "“😀”\n"


# ------------------------------------------------------------------------------------------------------ what is read


def test_a_folder_is_read_through_and_in_order(
    capsys: Captured, model: str, images: Path, texts: dict[str, str]
) -> None:
    status, out, _ = run(capsys, images, "--model", model)
    assert status == 0
    assert [line.split("\t") for line in out.splitlines()] == [[name, texts[name]] for name in sorted(texts)]


def test_globs(capsys: Captured, model: str, images: Path, texts: dict[str, str]) -> None:
    _, out, _ = run(capsys, images / "*.png", images / "**/*.tif", "--model", model, "--jsonl")
    assert [json.loads(line)["source"] for line in out.splitlines()] == [
        str(images / "a.png"),
        str(images / "sub/d.tif"),
    ]


def test_a_file_whose_name_looks_like_a_glob(capsys: Captured, model: str, tmp_path: Path) -> None:
    name = tmp_path / "page[1].png"
    tiny.picture().save(name)
    status, out, _ = run(capsys, name, "--model", model, "--jsonl")
    assert status == 0
    assert json.loads(out)["source"] == str(name)


def test_stdin(
    capsys: Captured, model: str, images: Path, texts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(images / "a.png")

    class Stdin:
        buffer = io.BytesIO(Path(name).read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    status, out, _ = run(capsys, "-", name, "--model", model)
    assert status == 0
    assert out.splitlines() == [f"-\t{texts[name]}", f"{name}\t{texts[name]}"]


def test_a_data_url(capsys: Captured, model: str, images: Path, texts: dict[str, str]) -> None:
    import base64

    name = images / "a.png"
    url = "data:image/png;base64," + base64.b64encode(name.read_bytes()).decode()
    assert run(capsys, url, "--model", model)[:2] == (0, texts[str(name)] + "\n")


# ---------------------------------------------------------------------------------------------------------- options


def test_beams_and_lengths(capsys: Captured, model: str, images: Path) -> None:
    name = images / "a.png"
    (expected,) = Reader.from_pretrained(model).read(name, num_beams=4)
    status, out, _ = run(capsys, name, "--model", model, "--beams", 4)
    assert (status, out) == (0, expected.text + "\n")
    status, out, _ = run(capsys, name, "--model", model, "--max-new-tokens", 3, "--jsonl")
    entry = json.loads(out)
    assert (len(entry["tokens"]), entry["finish_reason"]) == (3, "length")


def test_dtype_and_threads(capsys: Captured, model: str, images: Path) -> None:
    before = torch.get_num_threads()
    try:
        status, out, _ = run(
            capsys, images / "a.png", "-m", model, "--dtype", "float64", "--threads", 1, "--device", "cpu"
        )
        assert (status, torch.get_num_threads()) == (0, 1)
        assert out.strip()
    finally:
        torch.set_num_threads(before)


def test_precision(capsys: Captured, model: str, images: Path) -> None:
    status, out, _ = run(capsys, images / "a.png", "-m", model, "--precision", "int8")
    assert status == 0
    assert out.strip()
    status, _, err = run(capsys, images / "a.png", "-m", model, "--precision", "bf16", "--dtype", "float16")
    assert status == 1
    assert "precision='bf16' and dtype='float16' were given; give one of them" in err


# ----------------------------------------------------------------------------------------------------------- failures


def test_a_bad_image_among_good_ones(capsys: Captured, model: str, images: Path, texts: dict[str, str]) -> None:
    good = images / "a.png"
    status, out, err = run(capsys, good, images / "notes.txt", images / "absent.png", good, "--model", model)
    assert status == 1
    assert out.splitlines() == [f"{good}\t{texts[str(good)]}"] * 2
    lines = err.splitlines()
    assert lines[0].startswith(f"vision2seq: {images / 'notes.txt'}: ")
    assert lines[1].startswith(f"vision2seq: {images / 'absent.png'}: ")
    assert lines[-1] == "vision2seq: 2 of 4 images could not be read"
    status, out, _ = run(capsys, good, images / "absent.png", "--model", model, "--json")
    assert status == 1
    assert [entry["error"] is None for entry in json.loads(out)] == [True, False]
    assert json.loads(out)[1]["source"] == str(images / "absent.png")


def test_one_bad_image_prints_no_text(capsys: Captured, model: str, images: Path) -> None:
    status, out, err = run(capsys, images / "absent.png", "--model", model)
    assert (status, out) == (1, "")
    assert "absent.png" in err


@pytest.mark.parametrize("given", ["empty", "*.nothing"])
def test_nothing_to_read(capsys: Captured, model: str, tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    status, out, err = run(capsys, tmp_path / given, "--model", model)
    assert (status, out) == (2, "")
    assert err.startswith(f"vision2seq: no images in {tmp_path / given}; known endings: .bmp")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "0"], "--batch-size is 0, expected a whole number from 1"),
        (["--beams", "-1"], "--beams is -1, expected a whole number from 1"),
        (["--threads", "0"], "--threads is 0, expected a whole number from 1"),
        (["--max-new-tokens", "0"], "--max-new-tokens is 0, expected a whole number from 1"),
        (["-o", "absent/out.txt"], "-o absent/out.txt: there is no folder absent"),
        (["-o", "."], "-o .: it is a folder, expected a file"),
    ],
)
def test_wrong_values(capsys: Captured, model: str, images: Path, arguments: list[str], message: str) -> None:
    status, out, err = run(capsys, images / "a.png", "--model", model, *arguments)
    assert (status, out, err) == (2, "", f"vision2seq: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: IMAGE"),
        (["x.png", "--json", "--jsonl"], "not allowed with argument"),
        (["x.png", "--batch-size", "many"], "invalid int value: 'many'"),
        (["x.png", "--bems", "2"], "unrecognized arguments: --bems 2"),
    ],
)
def test_wrong_calls(capsys: Captured, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["read", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_no_command_and_an_unknown_one(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "the following arguments are required: COMMAND" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["raed", "x.png"])
    assert end.value.code == 2
    assert "invalid choice: 'raed'" in capsys.readouterr().err


def test_an_image_with_the_name_of_a_command(
    capsys: Captured, model: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.open(images / "a.png").save("inspect", format="PNG")
    status, out, _ = run(capsys, "inspect", "--model", model)
    assert status == 0
    assert out.strip()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "'absent' is not a local folder"),
        ("printed-lines", "Did you mean 'printed-line'?"),
        ("owner/model", "we couldn't connect to"),
    ],
)
def test_a_model_that_is_not_there(capsys: Captured, images: Path, name: str, message: str) -> None:
    status, out, err = run(capsys, images / "a.png", "--model", name)
    assert (status, out) == (1, "")
    assert err.startswith("vision2seq: ")
    assert message in err
    assert "Traceback" not in err


def test_devices_and_dtypes_that_do_not_exist(capsys: Captured, model: str, images: Path) -> None:
    status, _, err = run(capsys, images / "a.png", "--model", model, "--device", "gpu")
    assert status == 1
    assert "device 'gpu'" in err
    status, _, err = run(capsys, images / "a.png", "--model", model, "--dtype", "float31")
    assert status == 1
    assert "dtype='float31'" in err


# ------------------------------------------------------------------------------------------------------------- output


@pytest.mark.parametrize("form", [[], ["--json"], ["--jsonl"]])
def test_a_file_holds_what_would_be_printed(
    capsys: Captured, model: str, images: Path, tmp_path: Path, form: list[str]
) -> None:
    _, printed, _ = run(capsys, images, "--model", model, *form)
    target = tmp_path / "out.txt"
    target.write_text("old", encoding="utf-8")
    status, out, err = run(capsys, images, "--model", model, *form, "-o", target)
    assert (status, out, err) == (0, "", "")
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()
    written = target.read_text(encoding="utf-8")
    if form:
        assert [without_time(entry) for entry in entries(written)] == [without_time(e) for e in entries(printed)]
    else:
        assert written == printed


def entries(text: str) -> list[dict[str, Any]]:
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def without_time(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "seconds"}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_is_written_even_if_images_failed(capsys: Captured, model: str, images: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    status, _, _ = run(capsys, images / "a.png", "absent.png", "--model", model, "--jsonl", "-o", target)
    assert status == 1
    assert len(target.read_text(encoding="utf-8").splitlines()) == 2


def test_interrupted_leaves_no_file(
    capsys: Captured, model: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.jsonl"
    seen = []

    def interrupt(self: Any, name: str, reading: Any, page: Any) -> None:
        seen.append(name)
        self.out.write("half\n")
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command._Writer, "__call__", interrupt)
    status, out, err = run(capsys, images, "--model", model, "--jsonl", "-o", target)
    assert (status, out, err) == (130, "", "vision2seq: interrupted\n")
    assert list(tmp_path.iterdir()) == []
    target.write_text("old", encoding="utf-8")
    seen.clear()
    assert run(capsys, images, "--model", model, "--jsonl", "-o", target)[0] == 130
    assert target.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_folder_that_may_not_be_written(
    capsys: Captured, model: str, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> Any:
        raise PermissionError(13, "Permission denied", "/out.txt")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    status, out, err = run(capsys, images / "a.png", "--model", model, "-o", "out.txt")
    assert (status, out) == (1, "")
    assert err == f"vision2seq: -o {Path('out.txt').resolve()} cannot be written: Permission denied\n"


def test_a_full_disk(capsys: Captured, model: str, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, name: str, reading: Any, page: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command._Writer, "__call__", refuse)
    status, out, err = run(capsys, images / "a.png", "--model", model)
    assert (status, out, err) == (1, "", "vision2seq: [Errno 28] No space left on device\n")


def test_links_and_pipes_are_written_through(
    capsys: Captured, model: str, images: Path, texts: dict[str, str], tmp_path: Path
) -> None:
    name = images / "a.png"
    link, target = tmp_path / "link.txt", tmp_path / "target.txt"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    assert run(capsys, name, "--model", model, "-o", link) == (0, "", "")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == texts[str(name)] + "\n"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        assert run(capsys, name, "--model", model, "-o", pipe) == (0, "", "")
        assert reader.communicate(timeout=60)[0] == texts[str(name)] + "\n"
    assert pipe.is_fifo()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.txt", "pipe", "target.txt"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_bar_is_for_terminals_and_lists(
    capsys: Captured, model: str, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, images, "--model", model)[2] == ""
    for arguments, expected in (([images], True), ([images, "--quiet"], False), ([images / "a.png"], False)):
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", screen)
            assert main(["read", *map(str, arguments), "--model", model]) == 0
        assert ("image" in screen.getvalue()) is expected, screen.getvalue()


# ------------------------------------------------------------------------------------------------------ as a process


def start(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command_line = [sys.executable, "-m", "vision2seq", *map(str, arguments)]
    return subprocess.Popen(
        command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def test_as_a_process_with_stdin(model: str, images: Path, texts: dict[str, str]) -> None:
    name = images / "a.png"
    with name.open("rb") as file:
        process = start("read", "-", images / "absent.png", "--model", model, stdin=file)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == f"-\t{texts[str(name)]}\n"
    assert "absent.png" in err
    assert "Traceback" not in err


def test_a_terminal_without_the_signs(model: str, images: Path, tmp_path: Path) -> None:
    name = tmp_path / "é“.png"
    name.write_bytes((images / "a.png").read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "ascii"}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "vision2seq", "read", name, name, "--model", model],
        capture_output=True,
        env=environment,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert r"\xe9\u201c.png" in done.stdout.decode("ascii")


def test_a_reader_of_the_output_that_goes_away(model: str, images: Path) -> None:
    process = start("read", *[images / "a.png"] * 300, "--model", model, "--jsonl", "--batch-size", 1)
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["text"]
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert err == ""


def test_control_c(model: str, images: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    # Where the tests run in a shell's background, processes are born deaf to it.
    listen = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start("read", *[images / "a.png"] * 5000, "--model", model, "--batch-size", 1, "-o", target, **listen)
    for _ in range(600):
        if list(tmp_path.iterdir()):  # its temporary file: it is reading
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err) == ("", "vision2seq: interrupted\n")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------- boxes and overlays

LINES = sorted((ROOT / "examples" / "lines").glob("*.png"))


def test_boxes_in_json(capsys: Captured) -> None:
    status, out, err = run(capsys, LINES[0], "--jsonl", "--locate")
    assert (status, err) == (0, "")
    entry = json.loads(out)
    assert [word["text"] for word in entry["words"]] == entry["text"].split()
    width, height = Image.open(LINES[0]).size
    for word in entry["words"]:
        left, top, right, bottom = word["box"]
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    status, out, _ = run(capsys, LINES[0], "--jsonl")
    assert all(word["box"] is None for word in json.loads(out)["words"])


def test_an_overlay_of_one_image(capsys: Captured, tmp_path: Path) -> None:
    for name in ("out.png", "out.JPG", "out.webp"):
        status, out, err = run(capsys, LINES[0], "--overlay", tmp_path / name)
        assert (status, err) == (0, "")
        assert out == next(Reader().read(LINES[0])).text + "\n"
        drawn = Image.open(tmp_path / name)
        assert drawn.width >= Image.open(LINES[0]).width
    blue = (np.asarray(Image.open(tmp_path / "out.png").convert("RGB")) == (0, 119, 187)).all(-1)
    assert blue.any()  # at least one sure word


def test_overlays_of_several_images(capsys: Captured, tmp_path: Path) -> None:
    status, _, err = run(capsys, *LINES[:3], "--overlay", tmp_path / "all.png", "-b", 2)
    assert (status, err) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["all-1.png", "all-2.png", "all-3.png"]
    twin = tmp_path / LINES[0].name
    twin.write_bytes(LINES[0].read_bytes())
    folder = tmp_path / "made" / "here"
    status, _, err = run(capsys, *LINES[:2], twin, tmp_path / "absent.png", "--overlay", folder)
    assert status == 1
    assert "absent.png" in err
    stems = [LINES[0].stem, f"{LINES[0].stem}~2", LINES[1].stem]
    assert sorted(os.listdir(folder)) == sorted(f"{stem}.png" for stem in stems)
    assert Image.open(folder / f"{stems[0]}.png").tobytes() == Image.open(folder / f"{stems[1]}.png").tobytes()
    first = Image.open(tmp_path / "all-1.png")
    assert first.tobytes() == Image.open(folder / f"{stems[0]}.png").tobytes()  # a batch mixes nothing up


def test_an_overlay_of_standard_input(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(LINES[0].read_bytes())

    monkeypatch.setattr(sys, "stdin", Input())
    assert run(capsys, "-", "--overlay", tmp_path)[0] == 0
    assert os.listdir(tmp_path) == ["stdin.png"]
    Input.buffer = io.BytesIO(b"nothing")
    status, _, err = run(capsys, "-", "--overlay", tmp_path / "no.png")
    assert status == 1
    assert "vision2seq: -:" in err
    assert not (tmp_path / "no.png").exists()


def test_wrong_overlays(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    for path, message in (
        ("out.gif", r"--overlay .*out.gif: expected a folder, or a file that ends in one of \.png \.jpg \.jpeg \.webp"),
        ("none/out.png", r"--overlay .*out.png: there is no folder .*none"),
        ("file", r"--overlay .*file: it is a file without a known ending; expected a folder"),
        ("file/folder", r"--overlay .*folder: the folder cannot be made: Not a directory"),
    ):
        status, out, err = run(capsys, LINES[0], "--overlay", tmp_path / path)
        assert (status, out) == (2, "")
        assert re.search(message, err), err
    status, out, err = run(capsys, LINES[0], "--locate")
    assert (status, out) == (2, "")
    assert "--locate gives boxes, which text cannot show; add --json or --jsonl" in err
    monkeypatch.setattr(Image.Image, "save", _full)
    status, _, err = run(capsys, LINES[0], "--overlay", tmp_path / "out.png")
    assert status != 0
    assert re.search(r"--overlay .*out.png cannot be written: No space left", err)


def _full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


# ------------------------------------------------------------------------------------------------ pages, constraints


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for name in ("doc.pdf", "scan.tif", "moving.gif"):
        first, *others = (tiny.picture(number) for number in range(4))
        first.save(folder / name, save_all=True, append_images=others)
    return folder


def test_pages_of_documents(capsys: Captured, model: str, documents: Path) -> None:
    pdf, tif, gif = (documents / name for name in ("doc.pdf", "scan.tif", "moving.gif"))
    status, out, err = run(capsys, documents, "-m", model)
    assert (status, err) == (0, "")
    labels = [f"{pdf}#{number}" for number in range(1, 5)] + [str(gif)] + [f"{tif}#{number}" for number in range(1, 5)]
    assert [line.split("\t")[0] for line in out.splitlines()] == labels
    by_label = dict(line.split("\t") for line in out.splitlines())

    assert run(capsys, f"{pdf}#3", "-m", model) == (0, f"{by_label[f'{pdf}#3']}\n", "")
    assert run(capsys, tif, "--pages", "2", "-m", model) == (0, f"{by_label[f'{tif}#2']}\n", "")
    status, out, _ = run(capsys, pdf, gif, "--pages", "2-3", "--jsonl", "-m", model)
    found = [json.loads(line) for line in out.splitlines()]
    assert [(each["source"], each["page"]) for each in found] == [(str(f), n) for f in (pdf, gif) for n in (2, 3)]
    assert [each["text"] for each in found[:2]] == [by_label[f"{pdf}#{number}"] for number in (2, 3)]

    status, out, err = run(capsys, pdf, "--pages", "4-9", "-m", model)
    assert status == 1 and out.startswith(f"{pdf}#4\t")
    assert f"vision2seq: {pdf}#5: No pages 5 to 9 in " in err and "1 of 2 images could not be read" in err
    assert run(capsys, pdf, "--pages", "x", "-m", model)[2].startswith("vision2seq: pages are 'x', expected numbers")
    assert run(capsys, pdf, "--dpi", "0", "-m", model)[0] == 2


def test_a_document_from_standard_input(
    capsys: Captured, model: str, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((documents / "doc.pdf").read_bytes())))
    status, out, _ = run(capsys, "-", "--pages", "3-", "-m", model)
    assert status == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["-#3", "-#4"]


def test_overlays_of_pages(capsys: Captured, tmp_path: Path) -> None:
    first, second = (Image.open(path).convert("RGB") for path in LINES[:2])
    first.save(tmp_path / "two.pdf", save_all=True, append_images=[second], resolution=200)
    status, out, err = run(capsys, tmp_path / "two.pdf", "--overlay", tmp_path / "drawn", "--jsonl")
    assert (status, err) == (0, "")
    assert [json.loads(line)["page"] for line in out.splitlines()] == [1, 2]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["two.png", "two~2.png"]


def test_choices_and_patterns(capsys: Captured, model: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_text("yes\n\n no \n", encoding="utf-8")
    for given in (tmp_path / "answers.txt", "yes, no"):
        status, out, _ = run(capsys, images / "a.png", images / "b.jpg", "--choices", given, "-m", model)
        assert status == 0
        assert {line.split("\t")[1] for line in out.splitlines()} <= {"yes", "no"}
    status, out, _ = run(capsys, images / "a.png", "--pattern", "[xyz]{3}", "-m", model)
    assert status == 0 and len(out) == 4 and set(out) <= set("xyz\n")
    assert "lookaround" in run(capsys, images / "a.png", "--pattern", "(?=x)", "-m", model)[2]
    with pytest.raises(SystemExit):
        run(capsys, images / "a.png", "--pattern", "x", "--choices", "y", "-m", model)


def test_a_schema(capsys: Captured, images: Path, tmp_path: Path) -> None:
    import donut_folder

    made = donut_folder.donut(tmp_path / "donut", "<s_cord-v2>", "<s_nm>", "</s_nm>", "<sep/>", start="<s_cord-v2>")
    (tmp_path / "schema.json").write_text('{"nm": ["ab", "cd"]}', encoding="utf-8")
    status, out, err = run(capsys, images / "a.png", "--schema", tmp_path / "schema.json", "-m", made, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)[0]["data"]["nm"] in ("ab", "cd")
    (tmp_path / "schema.json").write_text("{nm", encoding="utf-8")
    status, _, err = run(capsys, images / "a.png", "--schema", tmp_path / "schema.json", "-m", made)
    assert status == 1 and "is no JSON" in err
    assert "No such file" in run(capsys, images / "a.png", "--schema", tmp_path / "none.json", "-m", made)[2]
