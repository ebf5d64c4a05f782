"""`vision2seq finetune`: what it trains, prints and leaves behind, and with which status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lines
import pytest
import tiny
import torch

from vision2seq import Reader
from vision2seq.cli.main import main

torch.set_num_threads(1)

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.readable(tmp_path_factory.mktemp("cli") / "model", bos_token_id=tiny.START)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lines.folder_of_lines(tmp_path_factory.mktemp("data") / "lines")


def run(capsys: Captured, *arguments: Any) -> tuple[int, str, str]:
    status = main(["finetune", *map(str, arguments), "--quiet"])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_it_trains_and_goes_on(capsys: Captured, tmp_path: Path, model: Path, data: Path) -> None:
    table = data.parent / "more.csv"
    table.write_text("file_name,caption\nlines/00.png,ab\nlines/01.png,cd e\n", encoding="utf-8")
    arguments = [data, table, "--model", model, "--out", tmp_path / "out", "--validate", data, "--steps", 4]
    arguments += ["--batch-size", 3, "--rate", 1e-3, "--average", 0.5, "--validate-every", 2, "--bf16", "--workers", 1]
    status, out, err = run(capsys, *arguments)
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("4 steps in 0.")
    assert first.endswith(f": {tmp_path / 'out/final'}")
    assert second.startswith("best after step ")
    assert " of 8 texts exact: " in second
    assert second.endswith(str(tmp_path / "out/best"))
    assert len(list(Reader.from_pretrained(tmp_path / "out/best").read(sorted(data.glob("*.png"))))) == 8
    settings = json.loads((tmp_path / "out/run.json").read_text(encoding="utf-8"))
    assert settings["data"].startswith("10 examples")
    assert (settings["bf16"], settings["rate"], settings["decay"]) == (True, 1e-3, "cosine")
    assert main(["inspect", str(tmp_path / "out/best")]) == 0
    capsys.readouterr()
    assert run(capsys, *arguments) == (0, out, "")  # it is finished, and says so again
    status, out, err = run(capsys, *arguments, "--seed", 7)
    assert (status, out) == (1, "")
    assert err.startswith(f"vision2seq: {tmp_path / 'out'} holds a training with other settings: seed was 0, is 7. ")


def test_what_is_left_out_is_told(capsys: Captured, tmp_path: Path, model: Path, data: Path) -> None:
    table = data / "t.jsonl"
    table.write_text('{"image": "00.png", "text": "ab"}\n{"image": "gone.png", "text": "x"}\n{}\n', encoding="utf-8")
    status, out, err = run(capsys, table, "-m", model, "-o", tmp_path / "a", "--epochs", 1)
    assert (status, out) == (1, "")
    assert err.startswith(f"vision2seq: {table}: 2 of the examples cannot be used: 2 × missing image (")
    status, out, err = run(capsys, table, "-m", model, "-o", tmp_path / "a", "--epochs", 1, "--on-problem", "skip")
    assert status == 0
    assert out.startswith("1 steps in ")
    assert err.startswith(f"vision2seq: left out of the training set: 2 × missing image ({table}:2: there is no ")
    table.unlink()


def test_calls_that_are_wrong(capsys: Captured, tmp_path: Path, model: Path, data: Path) -> None:
    arguments = [data, "--model", model, "--out", tmp_path / "out"]
    status, _, err = run(capsys, *arguments, "--threads", 0)
    assert (status, err) == (2, "vision2seq: --threads is 0, expected a whole number from 1\n")
    status, _, err = run(capsys, *arguments, "--rate", -1)
    assert (status, err) == (1, "vision2seq: rate is -1.0, expected above 0.\n")
    status, _, err = run(capsys, tmp_path / "nowhere", "--model", model, "--out", tmp_path / "out")
    assert status == 1
    assert "There is no " in err
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").touch()
    status, _, err = run(capsys, data, "--model", model, "--out", tmp_path / "full")
    assert status == 1
    assert "is not empty and holds no training" in err
    for wrong in (["--steps", 2, "--minutes", 1], ["--validate", data, "--validation-share", 0.5], ["--freeze", "all"]):
        with pytest.raises(SystemExit):
            run(capsys, *arguments, *wrong)
        capsys.readouterr()
    assert not (tmp_path / "out").exists()


def test_it_can_be_stopped(capsys: Captured, tmp_path: Path, model: Path, data: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    arguments = [data, "--model", model, "--out", tmp_path / "out", "--minutes", 5, "--log-every", 1]
    try:
        status, out, err = run(capsys, *arguments)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (status, out) == (130, "")
    assert err == "vision2seq: stopped; the same command goes on from the last state that was saved\n"
    done = (tmp_path / "out/log.jsonl").read_text(encoding="utf-8").count("\n")
    state = torch.load(tmp_path / "out/last.pt", weights_only=True)
    assert state["progress"]["step"] == done > 1


@pytest.mark.parametrize("command", ["finetune", "new"])
def test_help_takes_no_time_and_loads_no_torch(command: str) -> None:
    code = (
        "import sys\nfrom vision2seq.cli.main import main\n"
        f"try: main([{command!r}, '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'tokenizers', 'PIL') if name in sys.modules])"
    )
    began = time.process_time()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.process_time() - began < 1
    assert done.stdout.splitlines()[-1] == "[]"
    assert ("--validation-share" if command == "finetune" else "--characters") in done.stdout
