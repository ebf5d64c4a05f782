"""Several processes: that they learn what one does with their batches together."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lines
import pytest
import torch
from test_finetune import CHILD, ROOT, fresh
from test_loop import log_of

from vision2seq.training import Processes, finetune, processes_for

torch.set_num_threads(1)


def test_one_process() -> None:
    alone = processes_for("cpu")
    assert type(alone) is Processes
    assert (alone.index, alone.count, alone.is_main, alone.device.type) == (0, 1, True, "cpu")
    assert alone.sum([1, 2.5]) == [1, 2.5]
    assert alone.gather(["a"]) == ["a"]


@pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="the extra [accelerate] is not installed")
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    data = lines.folder_of_lines(tmp_path / "lines")
    model = fresh(tmp_path / "model", encoder={"hidden_dropout_prob": 0.0})
    options: dict[str, Any] = {"steps": 4, "accumulate": 2, "rate": 1e-3, "log_every": 2, "device": "cpu"}
    paths = [sys.path[0], str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    script = tmp_path / "child.py"
    script.write_text(CHILD, encoding="utf-8")
    arguments = [script, model, data, tmp_path / "two", json.dumps({**options, "batch_size": 2})]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    finetune(model, data, tmp_path / "one", validation=data, batch_size=4, hidden=True, **options)
    two, one = (log_of(tmp_path / name) for name in ("two", "one"))
    for name in ("loss", "gradient_norm", "rate"):
        assert [record[name] for record in two] == pytest.approx([record[name] for record in one], rel=1e-5)
    two, one = (log_of(tmp_path / name, "validation")[-1] for name in ("two", "one"))
    assert (two["cer"], two["texts"]) == (one["cer"], one["texts"])
    weights = [torch.load(tmp_path / name / "last.pt", weights_only=True)["average"] for name in ("two", "one")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-5)
