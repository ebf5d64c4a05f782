"""The benchmarks are scripts beside one another, no package: their folder is put on the path as it is when they run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
