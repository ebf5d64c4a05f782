"""Where a checkpoint's files are: a folder, or what the package itself brings along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vision2seq.errors import CheckpointNotFoundError, OptionError, nearest

_HOME = Path(__file__).resolve().parent.parent / "bundled"
BUNDLED: tuple[str, ...] = ("printed-line",)
"""Names of the checkpoints inside the package."""

# Arguments about the hub. They are accepted and change nothing for local files.
_HUB_ARGUMENTS = (
    "cache_dir",
    "code_revision",
    "force_download",
    "local_files_only",
    "proxies",
    "resume_download",
    "revision",
    "token",
    "use_auth_token",
)


def locate(name_or_path: str | os.PathLike[str], arguments: dict[str, Any] | None = None) -> Path:
    """Find the folder (or single file) that a name or path means.

    Args:
        name_or_path: An existing folder or file, or a name of `BUNDLED`.
        arguments: Keyword arguments of a ``from_pretrained``; those about the hub and ``subfolder`` are taken out.

    Raises:
        CheckpointNotFoundError: There is no such folder, and no bundled checkpoint of that name. What reads like a hub
            name ends here as well: downloads are not built in this release.
        OptionError: No text and no path.
    """
    arguments = {} if arguments is None else arguments
    for argument in _HUB_ARGUMENTS:
        arguments.pop(argument, None)
    subfolder = arguments.pop("subfolder", None) or ""
    if not isinstance(name_or_path, str | os.PathLike) or not str(name_or_path).strip():
        raise OptionError(f"A checkpoint is named by a folder's path or a name; found {name_or_path!r}.")
    path = Path(name_or_path).expanduser()
    if not path.exists() and str(name_or_path) in BUNDLED:
        path = _HOME / str(name_or_path)
    found = path / subfolder if subfolder else path
    if found.exists():
        return found
    name = str(name_or_path)
    if name in BUNDLED:
        raise CheckpointNotFoundError(
            f"The bundled model {name!r} is missing from this installation: there is no {found}. Install the package "
            "again."
        )
    if subfolder and path.exists():
        raise CheckpointNotFoundError(f"{path} has no subfolder {subfolder!r}.")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not path.parent.exists():
        raise CheckpointNotFoundError(
            f"{name!r} is no local folder. It may be a model on the hub, but downloads are not built in this release: "
            "fetch the repository (`hf download` of huggingface_hub) and pass the folder."
        )
    raise CheckpointNotFoundError(
        f"{name!r} is not a local folder, and no bundled model of this package has that name."
        f"{nearest(name, BUNDLED)} Bundled: {', '.join(BUNDLED)}."
    )
