"""What is wrong with a weight file that cannot be read, told from its first bytes."""

from __future__ import annotations

import os
from pathlib import Path

from vision2seq.errors import CheckpointCorruptError

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def corrupt(path: str | os.PathLike[str], expected: str, found: str) -> CheckpointCorruptError:
    """Build the error for a file that is there but is not what its name claims.

    Args:
        path: The file.
        expected: What it should be, e.g. ``"a safetensors file"``.
        found: What the reader stumbled over, replaced by something plainer where the first bytes tell more.
    """
    return CheckpointCorruptError(
        f"{os.fspath(path)} cannot be read as {expected}: {_plainer(Path(path)) or found}. "
        "Download or save the file again."
    )


def _plainer(path: Path) -> str | None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        return f"the system says {error.strerror or error}"
    if size == 0:
        return "it is empty (0 bytes)"
    if head.startswith(_LFS_POINTER):
        return "it is a Git LFS pointer, not the weights themselves (run `git lfs pull`)"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page, probably an error page saved by a download"
    return None
