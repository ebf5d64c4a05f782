"""The arrows of docs/design.md: which room may import which, held over every import statement of the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "vision2seq"

# A room may import itself and the rows above its own. Rooms of one row never import each other.
ROWS = [
    ["errors"],
    ["registry"],
    ["hub"],
    ["configuration"],
    ["layers"],
    ["checkpoints", "generation", "processing"],
    ["models"],
    ["handover"],
    ["auto"],
    ["compat"],
    ["engine"],
    ["presets", "reading", "tasks"],
    ["locate", "overlay"],
    ["composing"],
    ["reader"],
    ["image_to_text"],
    ["training"],
    ["cli"],  # a command per file, so that training is among what it imports
    ["__main__"],
    ["__init__"],  # the lazy public names; nobody imports them back
]
RANK = {room: rank for rank, rooms in enumerate(ROWS) for room in rooms}
# Strings that name a module of the package, as for importlib, count as imports, but in the registry.
NAMES_A_MODULE = re.compile(r"vision2seq\.(\w+)(\.\w+)*\.?(:\w+)?")
MAY_NAME_WHAT_IS_ABOVE = "vision2seq.registry"
MAY_IMPORT_TRANSFORMERS = ("vision2seq.handover", "vision2seq.compat.transformers5")
# Names that the package itself holds, rather than one of its rooms.
OF_THE_PACKAGE = {"__version__"}


def imported(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, at its top, in functions or under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            if base == "vision2seq":  # the rooms are what is imported, not the package
                yield from ((node.lineno, f"{base}.{name.name}") for name in node.names)
            else:
                yield node.lineno, base
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and module != MAY_NAME_WHAT_IS_ABOVE:
            named = NAMES_A_MODULE.fullmatch(node.value)
            if named and named[1] in RANK:
                yield node.lineno, node.value.split(":")[0]


def complaints(source: str, file: str) -> list[str]:
    """What a file, named from the package's folder, imports against the arrows."""
    path = Path(file).with_suffix("")
    room = path.parts[0]
    is_package = path.name == "__init__"
    module = ".".join(("vision2seq", *(path.parts[:-1] if is_package else path.parts)))
    if room not in RANK:
        return [f"{file}: no row for {room}. Give it one here and in docs/design.md."]
    found = []
    for line, name in imported(ast.parse(source), module, is_package):
        top, _, rest = name.partition(".")
        if top == "transformers" and module not in MAY_IMPORT_TRANSFORMERS:
            found.append(f"{file}:{line} imports transformers")
        if top != "vision2seq":
            continue
        other = rest.split(".")[0]
        if other in OF_THE_PACKAGE:
            continue
        if other not in RANK:
            found.append(f"{file}:{line} imports {name}, which is in no room")
        elif other != room and RANK[other] >= RANK[room]:
            found.append(f"{file}:{line} imports {name}, which is not below {room}")
    return found


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def test_the_package_is_found() -> None:
    assert {"errors.py", "registry.py", "processing/image/base.py"} <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_imports_point_one_way(file: str) -> None:
    assert complaints((PACKAGE / file).read_text(encoding="utf-8"), file) == []


def test_every_target_of_the_registry_is_above_it() -> None:
    from vision2seq import registry

    tables = [table for name, table in vars(registry).items() if name.isupper() and isinstance(table, dict)]
    values = [value for table in tables for value in table.values()]
    targets = [target for value in values for target in ([value] if isinstance(value, str) else value)]
    modules = {target.split(":")[0] for target in targets if ":" in target}
    assert modules
    for module in modules:
        assert RANK[module.split(".")[1]] > RANK["registry"], module


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("layers/a.py", "import vision2seq.models", "not below layers"),
        ("layers/a.py", "from vision2seq.models.encoders.vit import ViTModel", "not below layers"),
        ("hub/a.py", "from vision2seq import layers", "not below hub"),
        ("layers/a.py", "from .. import models", "not below layers"),
        ("layers/__init__.py", "from ..models import vit", "not below layers"),
        ("layers/deep/a.py", "from ...models import vit", "not below layers"),
        ("processing/a.py", "def f():\n    from vision2seq.generation import loop", "a.py:2 .*not below processing"),
        ("checkpoints/a.py", "if TYPE_CHECKING:\n    import vision2seq.generation.loop", "not below checkpoints"),
        ("errors.py", "from vision2seq.registry import resolve", "not below errors"),
        ("registry.py", "from vision2seq.models import vit", "not below registry"),
        ("training/a.py", "from vision2seq.cli import main", "not below training"),
        ("reader.py", "import vision2seq", "in no room"),
        ("reader.py", "from vision2seq import read", "in no room"),
        ("models/a.py", "importlib.import_module('vision2seq.auto')", "not below models"),
        ("models/a.py", "TABLE = {'x': 'vision2seq.engine.packed:Packed'}", "not below models"),
        ("models/a.py", "PLACE = f'vision2seq.engine.{name}'", "not below models"),
        ("models/a.py", "import transformers", "imports transformers"),
        ("cli/a.py", "def f():\n    from transformers.models import vit", "a.py:2 imports transformers"),
        ("cli/a.py", "import_module('transformers')", "imports transformers"),
        ("utils.py", "", "no row for utils"),
    ],
)
def test_what_is_caught(file: str, source: str, complaint: str) -> None:
    assert re.search(complaint, "\n".join(complaints(source, file)))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cli/train.py", "from vision2seq.training.loop import train\nfrom vision2seq import __version__, reader"),
        ("layers/a.py", "from .b import c\nfrom . import d\nfrom ..errors import e\nimport torch, transformers_else"),
        ("layers/__init__.py", "from .a import b\nfrom ..configuration import base"),
        ("__main__.py", "from vision2seq.cli.main import main"),
        ("errors.py", "FILE = 'vision2seq.json'"),
        ("registry.py", "TABLE = {'vit': 'vision2seq.models.encoders.vit:ViTModel'}"),
        ("models/a.py", "'''Lives in vision2seq.auto, see transformers.'''\nfrom vision2seq.generation import loop"),
    ],
)
def test_what_is_allowed(file: str, source: str) -> None:
    assert complaints(source, file) == []
