"""What a benchmark's figures were measured on, and where they are kept."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def describe(threads: int, packages: Iterable[str]) -> dict[str, Any]:
    """Names the processor, its load before the measurement, the versions at hand and the command.

    Args:
        threads: How many the measurement uses.
        packages: Distributions whose versions matter; those that are not installed are left out.

    Returns:
        Plain JSON values.
    """
    cpu = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": threads,
        "load before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **versions,
        "command": " ".join(["python", *sys.argv]),
    }


def keep(figures: dict[str, Any], path: Path) -> None:
    """Writes the figures as JSON, all of them or none."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
