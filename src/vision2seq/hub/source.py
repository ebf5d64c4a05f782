"""Source: where the files of one checkpoint are, each brought here when it is asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from vision2seq.errors import OptionError


@dataclass(frozen=True)
class Options:
    """Arguments of a ``from_pretrained`` that say where a checkpoint's files are, and how they may be fetched.

    Attributes:
        cache_dir: Where downloads are kept; None is the cache that all tools on huggingface_hub share.
        force_download: Fetch files again that are in the cache.
        local_files_only: Ask no server.
        proxies: Scheme (or ``scheme://host``) to the proxy's URL.
        revision: A branch, tag or commit; None is ``main``.
        code_revision: The same for a checkpoint's code; None is the commit of its weights.
        token: For private repositories; None is the one that the machine is logged in with, False is none at all.
        subfolder: Where in the repository or folder the checkpoint is.
    """

    cache_dir: str | os.PathLike[str] | None = None
    force_download: bool = False
    local_files_only: bool = False
    proxies: Mapping[str, str] | None = None
    revision: str | None = None
    code_revision: str | None = None
    token: str | bool | None = None
    subfolder: str = ""

    @classmethod
    def take(cls, arguments: dict[str, Any]) -> Options:
        """Take these arguments out of those of a call, under their old names as well.

        Args:
            arguments: Is changed: what is left is not about finding files.

        Raises:
            OptionError: Two that contradict each other, or a value of the wrong kind.
        """
        arguments.pop("resume_download", None)  # downloads are always resumed
        old_token = arguments.pop("use_auth_token", None)
        if old_token is not None:
            if arguments.get("token") is not None:
                raise OptionError("`token` and `use_auth_token` are both given; they mean the same, pass token= only.")
            warnings.warn("`use_auth_token` is the old name of `token`; pass token=…", FutureWarning, stacklevel=4)
            arguments["token"] = old_token
        taken = {field.name: arguments.pop(field.name, None) for field in fields(cls)}
        return cls(**{name: value for name, value in taken.items() if value is not None})

    def __post_init__(self) -> None:
        if self.force_download and self.local_files_only:
            raise OptionError(
                "force_download=True asks for a download and local_files_only=True forbids it; pass one of them."
            )
        proxies = self.proxies
        if proxies is not None and not (
            isinstance(proxies, Mapping) and all(isinstance(text, str) for pair in proxies.items() for text in pair)
        ):
            raise OptionError(
                f"proxies is {proxies!r}; expected a dict from scheme to URL such as "
                "{'https': 'http://10.0.0.1:3128'}."
            )
        for name in ("revision", "code_revision", "subfolder"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise OptionError(f"{name} is {value!r}; expected a text.")
        if not isinstance(self.token, str | bool | None):
            raise OptionError(f"token is a {type(self.token).__name__}; expected a text, True or False.")

    def as_arguments(self) -> dict[str, Any]:
        """Those that were given, as keyword arguments for another ``from_pretrained``."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value != getattr(Options, name)}


ARGUMENTS: tuple[str, ...] = (*(field.name for field in fields(Options)), "resume_download", "use_auth_token")
"""Names of the arguments that `Options.take` takes."""


class Source(os.PathLike[str]):
    """Where the files of one checkpoint are: a folder. Other kinds bring files into theirs when they are asked for.

    A source stands for its path wherever a path is expected, so that everything that reads folders reads sources.

    Args:
        name: What the caller wrote.
        folder: Holds the files, or will.
        file: The one file that the caller named, relative to the folder; None if it was the folder.
        options: How files may be fetched.
    """

    commit: ClassVar[str | None] = None
    """The commit that all files are from; None where there is no such thing."""

    def __init__(self, name: str, folder: Path, file: str | None = None, options: Options | None = None) -> None:
        self.name = name
        self.folder = folder
        self.file = file
        self.options = options or Options()

    @property
    def path(self) -> Path:
        """The file that was named, or the folder."""
        return self.folder / self.file if self.file else self.folder

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {str(self.path)!r})"

    def get(self, name: str) -> Path | None:
        """The local path of a file, relative to the folder; None if there is none of that name."""
        path = self.folder / name
        return path if path.is_file() else None

    def named(self) -> Path:
        """The local path of the file that the caller named, or of the folder."""
        return self.path

    def get_all(self, names: tuple[str, ...]) -> None:
        """Bring all of these here that there are."""
        for name in names:
            self.get(name)

    def names(self) -> list[str]:
        """The names in the folder itself, sorted, folders with a slash at the end."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name + ("/" if entry.is_dir() else "") for entry in self.folder.iterdir())

    def where(self) -> str:
        """What to call the place in a message."""
        return str(self.folder)

    def for_others(self) -> tuple[str, dict[str, Any]]:
        """A name and arguments with which the ``from_pretrained`` of another library finds the same files."""
        return str(self.named()), {}
