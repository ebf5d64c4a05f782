"""The files that say how pictures are prepared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vision2seq import hub
from vision2seq.configuration.base import read_json
from vision2seq.errors import CheckpointNotFoundError

PREPROCESSOR_NAME = "preprocessor_config.json"
PROCESSOR_NAME = "processor_config.json"


def read_preprocessor(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a folder's preprocessor_config.json holds, or that part of the newer processor_config.json.

    Args:
        path: A folder, or the .json file itself; a source brings it here first.

    Raises:
        CheckpointNotFoundError: No such folder, or none of the files in it.
        CheckpointCorruptError: The file is not a JSON object.
    """
    if isinstance(path, hub.Source):
        if path.file is not None:
            path.named()
        elif path.get(PREPROCESSOR_NAME) is None:
            path.get(PROCESSOR_NAME)
    path = Path(path)
    if not path.exists():
        raise CheckpointNotFoundError(f"No folder {path}. Expected one that holds {PREPROCESSOR_NAME}.")
    if not path.is_dir():
        values = read_json(path)
    elif (path / PREPROCESSOR_NAME).is_file():
        values = read_json(path / PREPROCESSOR_NAME)
    else:
        both = path / PROCESSOR_NAME
        values = read_json(both) if both.is_file() else {}
        if "image_processor" not in values:
            raise CheckpointNotFoundError(
                f"{path} holds no {PREPROCESSOR_NAME}. Copy it there from the model that this one was trained from, "
                "or make the image processor yourself and save_pretrained() it."
            )
    nested = values.get("image_processor")
    return nested if isinstance(nested, dict) else values
