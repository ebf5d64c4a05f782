"""What the tests of compiled code share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny


@pytest.fixture
def on_lesser_processor() -> Callable[[str, str], str]:
    """Runs code, in a process of its own that can import this folder's tests, with lesser instructions."""

    def run(instructions: str, code: str) -> str:
        folders = [str(Path(__file__).parent), str(Path(tiny.__file__).parent)]
        result = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = sys.argv[1:]; {code}", *folders],
            env=os.environ | {"VISION2SEQ_ISA": instructions},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run
