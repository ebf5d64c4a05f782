"""The checkpoints of other frameworks that tests/goldens holds, unpacked."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return a function that unpacks one, as ``golden("tensorflow", "vit-gpt2")``; leave it as it is."""
    top = tmp_path_factory.mktemp("goldens")

    def unpack(framework: str, name: str) -> Path:
        folder = top / framework / name
        if not folder.exists():
            with zipfile.ZipFile(GOLDENS / framework / f"{name}.zip") as packed:
                packed.extractall(folder)
        return folder

    return unpack
