"""Classes from the Python files of a checkpoint, for callers who trust it.

The files that a module needs are found by reading their relative imports, and fetched before anything of them is run.
They become modules of a package of their own, one a folder: asking twice gives the same classes, until a file changes.
Nothing is written beside them.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from vision2seq.errors import CheckpointNotFoundError, MissingPackageError, RemoteCodeError, nearest
from vision2seq.hub.locate import find
from vision2seq.hub.source import Source

_ROOT = "vision2seq_remote_code"


def load_class(source: Source, reference: Any) -> Any:
    """Run the code of a checkpoint and return one class of it.

    Args:
        source: The checkpoint. Code is from its commit, or from ``code_revision`` if the caller gave one.
        reference: What ``auto_map`` says: ``"module.Class"``, or ``"user/name--module.Class"`` of another repository.

    Raises:
        RemoteCodeError: The reference or an import leads out of the checkpoint, the code cannot be run, or has no such
            class.
        CheckpointNotFoundError: It has no such file.
        MissingPackageError: The code imports a package that is not installed.
    """
    home, module, name = _home(source, reference)
    files = _collect(home, module)
    package = _package(home, files)
    try:
        found = importlib.import_module(f"{package}.{module}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing == _ROOT:
            raise RemoteCodeError(f"The code of {home.where()} cannot be run: {error}.") from error
        raise MissingPackageError(
            f"The code of {home.where()} imports {missing!r}, which is not installed: pip install {missing}"
        ) from error
    except Exception as error:
        raise RemoteCodeError(
            f"The code of {home.where()} cannot be run: {type(error).__name__}: {error}. Tell its authors."
        ) from error
    if not hasattr(found, name):
        raise RemoteCodeError(
            f"{module}.py of {home.where()} has no {name!r}, which its auto_map names.{nearest(name, vars(found))}"
        )
    return getattr(found, name)


def named_files(source: Source, reference: Any) -> str:
    """What would be run for a reference, for a message: the names of the files, and where they are."""
    home, module, _ = _home(source, reference)
    return f"{', '.join(sorted(_collect(home, module)))} of {home.where()}"


def code_beside(source: Source, references: Iterable[Any]) -> dict[str, Path]:
    """The files of a checkpoint that references of an ``auto_map`` lead to: what belongs to it if it is copied.

    Args:
        source: The checkpoint. Nothing of it is run.
        references: As in `load_class`. What is in another repository, or not there at all, does not count.

    Raises:
        RemoteCodeError: As in `load_class`.
    """
    found: dict[str, Path] = {}
    for reference in references:
        for each in reference if isinstance(reference, list | tuple) else (reference,):
            if each and "--" not in str(each):
                home, module, _ = _home(source, each)
                with contextlib.suppress(CheckpointNotFoundError):
                    found |= _collect(home, module)
    return found


def _home(source: Source, reference: Any) -> tuple[Source, str, str]:
    """Where the code is, the module in it, and the class."""
    if isinstance(reference, list | tuple):  # tokenizers name a slow and a fast class
        reference = next((entry for entry in reversed(reference) if entry), None)
    repo, _, path = str(reference).rpartition("--")
    module, _, name = path.rpartition(".")
    if not isinstance(reference, str) or not all(part.isidentifier() for part in (*module.split("."), name)):
        raise RemoteCodeError(
            f"The auto_map of {source.where()} says {reference!r}; expected 'module.Class', the name of a .py file "
            "beside it and of a class in that. Nothing was run."
        )
    arguments = source.options.as_arguments()
    revision = arguments.pop("code_revision", None)
    if repo and repo != source.name:
        arguments = {name: value for name, value in arguments.items() if name not in ("revision", "subfolder")}
        return find(repo, arguments | ({"revision": revision} if revision else {})), module, name
    if revision and source.commit is not None and revision != source.commit:
        return find(source.name, arguments | {"revision": revision}), module, name
    return source, module, name


def _collect(home: Source, module: str) -> dict[str, Path]:
    """Fetch a module and all that it imports from beside it: name of the file to its path."""
    files: dict[str, Path] = {}
    waiting = [(module.split("."), True)]
    while waiting:
        parts, needed = waiting.pop()
        for depth in range(1, len(parts)):  # packages on the way
            _take(home, f"{'/'.join(parts[:depth])}/__init__.py", parts[:depth], files, waiting)
        plain = "/".join(parts)
        there = _take(home, f"{plain}.py", parts[:-1], files, waiting)
        there = there or _take(home, f"{plain}/__init__.py", parts, files, waiting)
        if needed and not there:
            raise CheckpointNotFoundError(
                f"{home.where()} has no {plain}.py, which its auto_map names. Files there: "
                f"{', '.join(home.names()[:30]) or 'none'}."
            )
    return files


def _take(
    home: Source, name: str, package: list[str], files: dict[str, Path], waiting: list[tuple[list[str], bool]]
) -> bool:
    """Fetch one file, and put down what it imports."""
    if name in files:
        return True
    path = home.get(name)
    if path is None:
        return False
    files[name] = path
    try:
        tree = ast.parse(path.read_bytes(), name)
    except (SyntaxError, ValueError) as error:
        raise RemoteCodeError(f"{name} of {home.where()} is not Python: {error}. Nothing was run.") from None
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        if node.level - 1 > len(package):
            raise RemoteCodeError(
                f"{name} of {home.where()} imports {'.' * node.level}{node.module or ''} in line {node.lineno}, which "
                "leads out of the checkpoint. Nothing was run."
            )
        base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
        if node.module:
            waiting.append((base, False))
        waiting.extend(([*base, alias.name], False) for alias in node.names if alias.name != "*")
    return True


class _Loader(importlib.machinery.SourceFileLoader):
    """Runs a file without leaving byte code beside it: the folder may be a cache that others use."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        pass

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)


class _Finder(MetaPathFinder):
    """Finds the modules that were collected, and no others."""

    def __init__(self) -> None:
        self.files: dict[str, Path | None] = {}  # None: a package without a file

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.files:
            return None
        file = self.files[fullname]
        if file is None:
            return importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        inside: list[str] | None = [] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, file, loader=_Loader(fullname, str(file)), submodule_search_locations=inside
        )


_finder = _Finder()
_packages: dict[Path, tuple[str, dict[str, str]]] = {}  # folder → package, and the digest of each file in it


def _package(home: Source, files: dict[str, Path]) -> str:
    """Make the collected files importable; the name of their package."""
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    package, there = _packages.get(home.folder, ("", {}))
    if not package or any(there.get(name, digest) != digest for name, digest in digests.items()):
        plain = re.sub(r"\W", "_", home.name.rsplit("/", 1)[-1], flags=re.ASCII)
        unique = hashlib.sha256("".join([str(home.folder), package, *digests.values()]).encode()).hexdigest()[:16]
        package, there = f"{_ROOT}.{plain}_{unique}", {}
    _packages[home.folder] = package, there | digests
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)
    for name, path in files.items():
        parts = name.removesuffix(".py").removesuffix("/__init__").split("/")
        for depth in range(1, len(parts)):
            _finder.files.setdefault(".".join([package, *parts[:depth]]), None)
        _finder.files[".".join([package, *parts])] = path
    _finder.files |= {_ROOT: None, package: None}
    return package
