"""Where a checkpoint's files are: a folder or file, what the package itself brings along, a repository, or a URL."""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import Any

from vision2seq.errors import CheckpointNotFoundError, OptionError, nearest
from vision2seq.hub.source import Options, Source

_HOME = Path(__file__).resolve().parent.parent / "bundled"
BUNDLED: tuple[str, ...] = ("printed-line",)
"""Names of the checkpoints inside the package."""

_OF_A_FILE = re.compile(r"/(?P<repo>[^/]+(?:/[^/]+)?)/(?:resolve|blob|raw)/(?P<revision>[^/]+)/(?P<file>.+)")
_SMALL = (".json", ".txt", ".model", ".jinja")


def find(name_or_path: Any, arguments: dict[str, Any] | None = None) -> Source:
    """Find what a name or path means.

    Args:
        name_or_path: The first that fits: a folder or file, a bundled checkpoint, a URL, a hub id. A source is
            returned as it is.
        arguments: Keyword arguments of a ``from_pretrained``; those of `Options` are taken out.

    Raises:
        CheckpointNotFoundError: There is no such thing, see also `Repository`.
        OptionError: No text and no path, or arguments that cannot be.
    """
    options = Options.take({} if arguments is None else arguments)
    if isinstance(name_or_path, Source):
        return name_or_path
    if not isinstance(name_or_path, str | os.PathLike) or not str(name_or_path).strip():
        raise OptionError(f"A checkpoint is named by a folder's path or a name; found {name_or_path!r}.")
    name = os.fspath(name_or_path)
    path = Path(name).expanduser()
    if not path.exists() and name in BUNDLED:
        path = _HOME / name
        if not path.is_dir():
            raise CheckpointNotFoundError(
                f"The bundled model {name!r} is missing from this installation: there is no {path}. Install the "
                "package again."
            )
    found = _on_disk(name, path, options)
    if found is not None:
        return found
    if name.lower().startswith(("http://", "https://")):
        return _on_the_web(name, options)
    hint = f"{nearest(name, BUNDLED)} Bundled with this package: {', '.join(BUNDLED)}."
    if (
        isinstance(name_or_path, str)
        and not path.is_absolute()
        and not (path.parent != Path() and path.parent.exists())
    ):
        from vision2seq.hub.repository import Repository, is_id

        if is_id(name):
            return Repository(name, options, hint=hint)
    raise CheckpointNotFoundError(
        f"{name!r} is not a local folder, and no bundled model of this package has that name; nor is it a name that a "
        f"model on the hub could have, such as user/name.{hint}"
    )


def nowhere(arguments: dict[str, Any]) -> Source:
    """A place without files, for callers who have them in hand; arguments as in `find`."""
    return Source("", Path(os.devnull), None, Options.take(arguments))


def locate(name_or_path: Any, arguments: dict[str, Any] | None = None) -> Path:
    """The folder (or single file) that a name or path means, as `find` does.

    Of a repository, the small files are fetched: configs and tokenizers.
    """
    source = find(name_or_path, arguments)
    if source.file is None:
        source.get_all(tuple(name for name in source.names() if name.endswith(_SMALL)))
    return source.named()


def _on_disk(name: str, path: Path, options: Options) -> Source | None:
    if path.is_dir():
        folder = path / options.subfolder
        if not folder.is_dir():
            raise CheckpointNotFoundError(f"{path} has no subfolder {options.subfolder!r}.")
        return Source(name, folder, None, options)
    if path.is_file():
        return Source(name, path.parent, path.name, options)
    index = path.with_name(f"{path.name}.index")  # of a TensorFlow checkpoint, which is named by what its files share
    return Source(name, index.parent, index.name, options) if path.name and index.is_file() else None


def _on_the_web(url: str, options: Options) -> Source:
    """A file by its URL. One on the hub is a file of a repository like any other."""
    from huggingface_hub import constants

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT
    if url.startswith(f"{endpoint}/"):
        match = _OF_A_FILE.fullmatch(urllib.parse.urlsplit(url).path.removeprefix(urllib.parse.urlsplit(endpoint).path))
        if match is not None:
            from vision2seq.hub.repository import Repository

            revision = urllib.parse.unquote(match["revision"])
            if options.revision not in (None, revision):
                raise OptionError(f"{url} says revision {revision!r}, and revision={options.revision!r} another one.")
            if options.subfolder:
                raise OptionError(f"subfolder= is for names on the hub; {url} says itself where its file is.")
            folder, _, file = urllib.parse.unquote(match["file"]).rpartition("/")
            return Repository(match["repo"], replace(options, revision=revision, subfolder=folder), file, name=url)
    from vision2seq.hub.address import Address

    return Address(url, options)


def find_beside(source: Source, name_or_path: Any) -> Source:
    """Find something else with the same token, cache and proxies; its revision and subfolder are its own affair."""
    if isinstance(name_or_path, Source) or str(name_or_path) == source.name:
        return name_or_path if isinstance(name_or_path, Source) else source
    arguments = source.options.as_arguments()
    return find(
        name_or_path, {k: v for k, v in arguments.items() if k not in ("revision", "code_revision", "subfolder")}
    )
