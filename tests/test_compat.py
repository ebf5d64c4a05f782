"""Where transformers is missing, what would need it says what to install."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from vision2seq import AutoConfig, AutoModelForVision2Seq
from vision2seq.errors import ConfigError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is not None, reason="is about environments without transformers"
)


def test_the_old_name_needs_transformers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import vision2seq.compat.transformers5"], capture_output=True, text=True, timeout=60
    )
    assert "MissingPackageError: vision2seq.compat.transformers5 gives transformers a name back" in done.stderr
    assert "pip install transformers. Or import AutoModelForVision2Seq from vision2seq" in done.stderr


@pytest.mark.parametrize("loader", [AutoConfig, AutoModelForVision2Seq])
def test_other_model_types_say_what_to_install(tmp_path: Path, loader: type) -> None:
    for content, what in (
        ('{"model_type": "blip"}', "model type 'blip'"),
        (
            '{"model_type": "vision-encoder-decoder", "encoder": {"model_type": "nobodys"}, '
            '"decoder": {"model_type": "gpt2"}}',
            "encoder of type 'nobodys'",
        ),
    ):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ConfigError, match=rf"Unknown {what}.*If transformers knows it, `pip install transformers`"):
            loader.from_pretrained(tmp_path)
