"""Lets tests import the helpers beside them (`tiny`, `server`, `families`, …), and keeps them off the net.

The hub that tests know is a port of this machine where nothing listens, or the server that a test starts; what is
downloaded goes into a folder of its own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent
for _folder in (_HERE, *(_HERE / name for name in ("checkpoints", "generation", "hub", "parity", "training"))):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

# Before anything imports huggingface_hub, which reads them once.
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hub-of-tests-")
for _name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
    os.environ.pop(_name, None)
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Unpacks another framework's checkpoint, as ``golden("tensorflow", "vit-gpt2")``; leave it as it is."""
    top = tmp_path_factory.mktemp("goldens")

    def unpack(framework: str, name: str) -> Path:
        folder = top / framework / name
        if not folder.exists():
            with zipfile.ZipFile(_HERE / "goldens" / framework / f"{name}.zip") as packed:
                packed.extractall(folder)
        return folder

    return unpack
