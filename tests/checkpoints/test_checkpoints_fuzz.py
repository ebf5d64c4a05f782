"""500 cases of fuzz.py; `make fuzz` runs 10,000."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory the way Linux does")
def test_damaged_files_end_in_errors_of_ours() -> None:
    script = Path(__file__).with_name("fuzz.py")
    ran = subprocess.run([sys.executable, script, "--cases", "500"], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.strip().startswith("500 cases"), ran.stdout
