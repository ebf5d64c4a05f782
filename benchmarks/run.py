"""Side by side with transformers 4.57.6: start, loading, greedy decoding, precisions. Writes tables that README quotes.

Usage: `make bench`, or `python benchmarks/run.py [--threads 2] [--rounds 5] [--only start] [--out FILE.json]` in an
environment that has both. Every figure is a median over rounds in which the two take turns; each start and each
load is a process of its own. Checkpoints of real shapes with random weights are made under `outputs/` (1.6 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import describe, keep

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "outputs" / "checkpoints"
PEERS = ("vision2seq", "transformers")
NEW_TOKENS = 32

_START = {
    "torch": "import torch",
    "import vision2seq": "import vision2seq",
    "vision2seq": "import torch; import vision2seq; vision2seq.AutoModelForVision2Seq, vision2seq.AutoProcessor, "
    "vision2seq.VisionEncoderDecoderModel",
    "transformers": "import torch; from transformers import AutoModelForVision2Seq, AutoProcessor, "
    "VisionEncoderDecoderModel",
}

_LOAD = """
import sys, time, json
import torch
import {peer} as peer

def peak():  # in kilobytes; getrusage would count the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

peer.VisionEncoderDecoderModel
before = peak()
began = time.perf_counter()
model = peer.VisionEncoderDecoderModel.from_pretrained({folder!r})
took = time.perf_counter() - began
# Touch every weight, so that mapped files are really in memory when the peak is read.
total = sum(float(p.detach().sum()) for p in model.parameters())
touched = time.perf_counter() - began
after = peak()
print(json.dumps({{"seconds": took, "touched": touched, "bytes": (after - before) * 1024}}))
"""


def process(code: str, threads: int) -> tuple[float, str]:
    """Run code in a fresh interpreter; its wall time and what it printed."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # else one peer is compiled anew each time, and the installed one is not
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def start(threads: int, rounds: int) -> dict[str, Any]:
    """Seconds of a fresh interpreter that imports, less those of one that does nothing."""
    times: dict[str, list[float]] = {name: [] for name in ("nothing", *_START)}
    for _ in range(rounds):
        for name in times:
            times[name].append(process(_START.get(name, "pass"), threads)[0])
    medians = {name: statistics.median(values) for name, values in times.items()}
    nothing, torch_alone = medians["nothing"], medians["torch"]
    loaded = process("import sys, vision2seq; print('torch' in sys.modules)", threads)[1].strip()
    return {
        "import vision2seq (s)": medians["import vision2seq"] - nothing,
        "torch loaded by it": loaded,
        "import torch (s)": torch_alone - nothing,
        "first use on top of torch: vision2seq (s)": medians["vision2seq"] - torch_alone,
        "first use on top of torch: transformers (s)": medians["transformers"] - torch_alone,
    }


def load(threads: int, rounds: int) -> dict[str, Any]:
    """Loading a TrOCR-base checkpoint: seconds, and the peak of memory against the size of the file."""
    from shapes import make

    folder = make("base", FOLDER)
    size = (folder / "model.safetensors").stat().st_size
    results: dict[str, list[dict[str, float]]] = {peer: [] for peer in PEERS}
    for _ in range(rounds):
        for peer in PEERS:
            results[peer].append(json.loads(process(_LOAD.format(peer=peer, folder=str(folder)), threads)[1]))
    figures: dict[str, Any] = {"file (GB)": size / 1e9}
    for key, scale, unit in (("seconds", 1.0, "s"), ("touched", 1.0, "s"), ("bytes", 1 / size, "x file")):
        for peer in PEERS:
            figures[f"{key}: {peer} ({unit})"] = statistics.median(r[key] for r in results[peer]) * scale
        ours, theirs = (figures[f"{key}: {peer} ({unit})"] for peer in PEERS)
        figures[f"{key}: ratio"] = ours / theirs
    return figures


def greedy(threads: int, rounds: int) -> dict[str, Any]:
    """Greedy decoding of 32 tokens for one image, fp32, a cache for both: milliseconds a token, encoder left out."""
    import torch

    from shapes import SHAPES, make

    torch.set_num_threads(threads)
    figures: dict[str, Any] = {}
    for shape in SHAPES:
        folder = make(shape, FOLDER)
        options = {"min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS, "num_beams": 1, "use_cache": True}
        calls = _calls(folder, options)
        texts = {peer: call() for peer, call in calls.items()}
        if not torch.equal(texts["vision2seq"], texts["transformers"]):
            raise SystemExit(f"{shape}: the two generated different tokens; their times say nothing")
        times: dict[str, list[float]] = {peer: [] for peer in PEERS}
        for _ in range(2 * rounds):
            for peer in PEERS:
                began = time.perf_counter()
                calls[peer]()
                times[peer].append((time.perf_counter() - began) / NEW_TOKENS * 1e3)
        for peer in PEERS:
            figures[f"{shape}: {peer} (ms/token)"] = statistics.median(times[peer])
        ratios = [ours / theirs for ours, theirs in zip(times["vision2seq"], times["transformers"], strict=True)]
        figures[f"{shape}: ratio"] = statistics.median(ratios)
    return figures


def _calls(folder: Path, options: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """For each peer, a call that decodes the same encoded image."""
    import torch
    import transformers

    import vision2seq

    ours = vision2seq.VisionEncoderDecoderModel.from_pretrained(folder)
    theirs = transformers.VisionEncoderDecoderModel.from_pretrained(folder).eval()
    with torch.no_grad():
        memory = ours.encoder(torch.rand(1, 3, 384, 384)).last_hidden_state
    wrapped = transformers.modeling_outputs.BaseModelOutput(memory)
    return {
        "vision2seq": lambda: ours.generate(encoder_outputs=(memory,), **options),
        "transformers": lambda: theirs.generate(encoder_outputs=wrapped, **options),
    }


def precision(threads: int, rounds: int) -> dict[str, Any]:
    """One image and eight, with 32 tokens each, in each precision: milliseconds, and images a second."""
    import torch
    import transformers

    import vision2seq
    from shapes import SHAPES, make

    torch.set_num_threads(threads)
    options = {"min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS, "use_cache": True}
    tasks = {
        "encode, one image (ms)": lambda model, x: model.encoder(x[:1]),
        "one image, all of it (ms)": lambda model, x: model.generate(x[:1], num_beams=1, **options),
        "one image, 4 beams (ms)": lambda model, x: model.generate(x[:1], num_beams=4, **options),
        "eight images together (ms)": lambda model, x: model.generate(x, num_beams=1, **options),
    }
    figures: dict[str, Any] = {}
    for shape in SHAPES:
        folder = make(shape, FOLDER)
        load_theirs = transformers.VisionEncoderDecoderModel.from_pretrained
        models: dict[str, Any] = {
            "transformers fp32": load_theirs(folder).eval(),
            "transformers bf16": load_theirs(folder, torch_dtype=torch.bfloat16).eval(),
        }
        for kind in ("fp32", "bf16", "int8"):
            models[f"vision2seq {kind}"] = vision2seq.AutoModelForVision2Seq.from_pretrained(folder, precision=kind)
        pixels = torch.rand(8, 3, 384, 384)
        for task, run in tasks.items():
            times: dict[str, list[float]] = {name: [] for name in models}
            for _ in range(rounds):
                for name, model in models.items():
                    x = pixels.to(model.encoder.dtype)
                    with torch.no_grad():
                        run(model, x)
                        began = time.perf_counter()
                        run(model, x)
                    times[name].append((time.perf_counter() - began) * 1e3)
            for name, values in times.items():
                figures[f"{shape}: {task}: {name}"] = statistics.median(values)
                ratios = [one / base for one, base in zip(values, times["transformers fp32"], strict=True)]
                figures[f"{shape}: {task}: {name}, ratio"] = statistics.median(ratios)
        for name in models:
            whole, alone = (figures[f"{shape}: {task}: {name}"] for task in list(tasks)[1::-1])
            figures[f"{shape}: a token (ms): {name}"] = (whole - alone) / NEW_TOKENS
    return figures


PARTS = {"start": start, "load": load, "greedy": greedy, "precision": precision}


def main() -> int:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": describe(options.threads, ("torch", "transformers", "vision2seq"))}
    for name, part in PARTS.items():
        if options.only is None or name in options.only:
            figures[name] = part(options.threads, options.rounds)
    for name, values in figures.items():
        print(f"\n{name}")
        for key, value in values.items():
            print(f"  {key:<64}{value:.3f}" if isinstance(value, float) else f"  {key:<64}{value}")
    if options.out:
        keep(figures, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
