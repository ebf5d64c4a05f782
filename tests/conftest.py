"""Lets tests import the helpers beside them (`tiny`, `tiny_decoder`, `families`, `option_sets`, `lines`)."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
for _folder in (_HERE, _HERE / "generation", _HERE / "parity", _HERE / "training"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
