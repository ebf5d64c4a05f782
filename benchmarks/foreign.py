"""Reading TensorFlow's and Flax' files: time, memory and megabytes installed, beside transformers with the framework.

Usage: `make bench-foreign`, or `python benchmarks/foreign.py [--shape base] [--rounds 5] [--out FILE.json]`. A ViT-GPT2
model of random weights (239 M parameters) is written under `outputs/` by the frameworks themselves, in the environments
that `make fixtures` makes (4 GB on the disk). What cannot be measured is left out, and the reason named.

Every loading is a process of its own, with the files in the system's cache. It ends when every weight has been touched,
so that mapped files count; the yardstick is safetensors of the same numbers, read and copied. Memory is the growth of
the process's peak over what the imports took. Medians over rounds in which all take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import describe, keep

ROOT = Path(__file__).resolve().parents[1]
OWN = Path(sys.executable)
ENVIRONMENTS = {
    "TensorFlow": ROOT / ".venv-fixtures" / "bin" / "python",
    "Flax": ROOT / ".venv-fixtures-flax" / "bin" / "python",
}
WRITERS = {"safetensors": None, "h5": "TensorFlow", "bundle": "TensorFlow", "msgpack": "Flax"}
ARGUMENTS = {"h5": "from_tf=True", "bundle": "from_tf=True", "msgpack": "from_flax=True"}
# What an environment needs to read the files, on top of torch, which both need.
ROOTS = {
    "vision2seq": ("vision2seq", "h5py", "msgpack"),
    "TensorFlow": ("transformers", "tensorflow-cpu", "tf-keras"),
    "Flax": ("transformers", "flax", "jax", "jaxlib"),
}

_LOAD = """
import json, time
{imports}

def peak():  # in kilobytes; getrusage would count the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

before = peak()
began = time.perf_counter()
model = {load}
loaded = time.perf_counter() - began
{touch}
print(json.dumps({{"loaded": loaded, "seconds": time.perf_counter() - began, "bytes": (peak() - before) * 1024}}))
"""
_SUM = "total = sum(float(p.detach().sum()) for p in model.parameters())"
_COPY = "for p in model.parameters():\n    p.data = p.data.clone()"
_SUM_TENSORFLOW = "total = sum(float(weight.numpy().sum()) for weight in model.weights)"

_INSTALLED = """
import importlib.metadata as metadata, json, os, sys
from pathlib import Path
from packaging.requirements import Requirement

def closure(names):
    found, left = {}, list(names)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for line in found[name].requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                left.append(wanted.name)
    return found

def size(name, distribution):
    if name == "vision2seq":  # installed in place
        import vision2seq
        paths = Path(vision2seq.__file__).parent.rglob("*")
    else:
        paths = (Path(distribution.locate_file(file)) for file in distribution.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")

torch = closure(["torch"])
print(json.dumps({name: size(name, d) for name, d in closure(sys.argv[1:]).items() if name not in torch}))
"""


class Failed(Exception):
    """A process ended with an error, the last line of which this is."""


@dataclass(frozen=True)
class Case:
    """One way to load one file.

    Attributes:
        name: Of the row.
        format: Of the file.
        python: The interpreter of the environment.
        imports: What is imported before the clock starts.
        load: The expression that makes the model.
        touch: What goes through all its weights.
    """

    name: str
    format: str
    python: Path
    imports: str
    load: str
    touch: str = _SUM


def cases(home: Path, formats: list[str]) -> list[Case]:
    """Everything that is measured on the formats that are there, the yardstick first."""
    ours = "import torch\nfrom vision2seq import VisionEncoderDecoderModel"
    theirs = "import torch\n{framework}\nfrom transformers import {cls}\n{cls}"
    found = [Case("safetensors, copied", "safetensors", OWN, ours, _call(home, "safetensors"), _COPY)]
    for kind in formats:
        found.append(Case(f"{kind}: vision2seq", kind, OWN, ours, _call(home, kind)))
        framework = WRITERS[kind]
        assert framework is not None
        imports = theirs.format(framework=f"import {framework.lower()}", cls="VisionEncoderDecoderModel")
        python = ENVIRONMENTS[framework]
        found.append(Case(f"{kind}: transformers", kind, python, imports, _call(home, kind)))
        if kind == "h5":  # does not end with a model of torch, which is less to do
            imports = theirs.format(framework="import tensorflow", cls="TFVisionEncoderDecoderModel")
            load = f"TFVisionEncoderDecoderModel.from_pretrained({str(home / kind)!r})"
            found.append(Case("h5: transformers, TensorFlow's model", kind, python, imports, load, _SUM_TENSORFLOW))
    return found


def _call(home: Path, kind: str) -> str:
    return f"VisionEncoderDecoderModel.from_pretrained({str(home / kind)!r}, {ARGUMENTS.get(kind, '')})"


def process(python: Path, arguments: list[str], threads: int) -> Any:
    """Run an interpreter; the JSON of the last line that it prints.

    Raises:
        Failed: It ended otherwise.
    """
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    env |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    env |= {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([str(python), *arguments], env=env, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Failed(lines[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def make(shape: str, home: Path, threads: int) -> tuple[list[str], dict[str, str]]:
    """Write the files that are not there yet.

    Returns:
        The foreign formats at hand, and why others are not.
    """
    script = str(Path(__file__).with_name("foreign_files.py"))
    there, left_out = [], {}
    for kind, framework in WRITERS.items():
        python = OWN if framework is None else ENVIRONMENTS[framework]
        if not python.exists():
            left_out[kind] = f"there is no {python.parents[1].name}; `make fixtures` makes it"
            continue
        try:
            process(python, [script, kind, str(home), "--shape", shape], threads)
        except Failed as failed:
            if framework is None:
                raise
            left_out[kind] = str(failed)
            continue
        if framework is not None:
            there.append(kind)
    return there, left_out


def load(chosen: list[Case], home: Path, rounds: int, threads: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure each case; a first round that does not count brings the files into memory.

    Returns:
        Figures by row, and the errors of cases that cannot be measured.
    """
    results: dict[str, list[dict[str, float]]] = {case.name: [] for case in chosen}
    failures: dict[str, str] = {}
    for number in range(rounds + 1):
        for case in chosen:
            if case.name in failures:
                continue
            code = _LOAD.format(imports=case.imports, load=case.load, touch=case.touch)
            try:
                result = process(case.python, ["-c", code], threads)
            except Failed as failed:
                failures[case.name] = str(failed)
                continue
            if number:
                results[case.name].append(result)
    rows: dict[str, Any] = {}
    for case in chosen:
        if case.name in failures:
            continue
        taken = {key: statistics.median(r[key] for r in results[case.name]) for key in ("loaded", "seconds", "bytes")}
        size = sum(path.stat().st_size for path in (home / case.format).iterdir() if path.suffix != ".json")
        rows[case.name] = {
            "file (MB)": size / 1e6,
            "loaded (s)": taken["loaded"],
            "every weight touched (s)": taken["seconds"],
            "x safetensors": taken["seconds"] / rows[chosen[0].name]["every weight touched (s)"] if rows else 1.0,
            "peak (MB)": taken["bytes"] / 1e6,
            "peak x file": taken["bytes"] / size,
        }
    return rows, failures


def installed(threads: int) -> tuple[dict[str, float], dict[str, str]]:
    """Megabytes of the packages that reading takes on top of torch, and what cannot be told."""
    sizes, left_out = {}, {}
    for name, roots in ROOTS.items():
        python = ENVIRONMENTS.get(name, OWN)
        if not python.exists():
            left_out[name] = f"there is no {python.parents[1].name}; `make fixtures` makes it"
            continue
        found = process(python, ["-c", _INSTALLED, *roots], threads)
        sizes[" + ".join(roots)] = sum(found.values()) / 1e6
    return sizes, left_out


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    rows = figures["load"]
    keys = list(next(iter(rows.values())))
    lines = [f"{'':<40}" + "".join(f"{key:>26}" for key in keys)]
    lines += [f"{name:<40}" + "".join(f"{row[key]:>26.2f}" for key in keys) for name, row in rows.items()]
    lines += ["", "installed on top of torch (MB)"]
    lines += [f"{name:<60}{size:>8.1f}" for name, size in figures["installed (MB)"].items()]
    lines += [f"left out: {name}: {why}" for name, why in figures["left out"].items()]
    return "\n".join(lines)


def main() -> int:
    """Make the files, measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("base", "tiny"), default="base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    home = ROOT / "outputs" / "checkpoints" / f"vit-gpt2-{options.shape}"
    about = describe(options.threads, ("torch", "vision2seq", "h5py", "msgpack"))
    formats, left_out = make(options.shape, home, options.threads)
    rows, failures = load(cases(home, formats), home, options.rounds, options.threads)
    sizes, unknown = installed(options.threads)
    figures = {
        "machine": about | {"rounds": options.rounds, "shape": options.shape},
        "load": rows,
        "installed (MB)": sizes,
        # Where the repository lies is nobody's business.
        "left out": {name: why.replace(f"{ROOT}/", "") for name, why in (left_out | failures | unknown).items()},
    }
    print(table(figures))
    if options.out:
        keep(figures, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
