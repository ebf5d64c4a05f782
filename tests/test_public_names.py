"""The public names: what they are, that each is there, and that asking for none of them costs nothing."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vision2seq

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "numpy", "PIL", "tokenizers", "safetensors", "huggingface_hub", "tqdm", "transformers")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60
    )


def loaded_by(code: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after running some code."""
    done = python("-c", f"{code}\nimport sys; print('\\n' + ' '.join(n for n in {HEAVY!r} if n in sys.modules))")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_all_is_sorted_and_holds_each_name_once() -> None:
    assert vision2seq.__all__ == sorted(set(vision2seq.__all__))


@pytest.mark.parametrize("name", vision2seq.__all__)
def test_each_name_is_there(name: str) -> None:
    value = getattr(vision2seq, name)
    today = name.replace("AutoModelForImageTextToText", "AutoModelForVision2Seq")
    assert value.__name__ == today.replace("FeatureExtractor", "ImageProcessor")
    assert value.__module__.startswith("vision2seq.")
    assert inspect.getdoc(value)
    assert vars(vision2seq)[name] is value  # the second time it costs nothing


def test_star_import_brings_exactly_all() -> None:
    space: dict[str, object] = {}
    exec("from vision2seq import *", space)
    assert set(space) - {"__builtins__"} == set(vision2seq.__all__)


def test_dir_lists_names_before_they_are_used() -> None:
    done = python("-c", "import vision2seq; print(*dir(vision2seq))")
    listed = done.stdout.split()
    assert listed == sorted(listed)
    assert {*vision2seq.__all__, "__version__"} <= set(listed)


def test_the_names_that_old_scripts_use_are_public() -> None:
    old = """
    AutoConfig AutoModelForVision2Seq AutoModelForImageTextToText AutoProcessor AutoImageProcessor
    AutoTokenizer VisionEncoderDecoderConfig VisionEncoderDecoderModel TrOCRProcessor ViTImageProcessor
    ViTFeatureExtractor DeiTImageProcessor DeiTFeatureExtractor DonutFeatureExtractor BeitFeatureExtractor
    CLIPFeatureExtractor CLIPImageProcessor ConvNextFeatureExtractor NougatImageProcessor SiglipImageProcessor
    GPT2TokenizerFast RobertaTokenizer XLMRobertaTokenizer
    GenerationConfig TextStreamer TextIteratorStreamer pipeline Reader read""".split()
    assert set(old) <= set(vision2seq.__all__)


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        AttributeError,
        match=r"'vision2seq' has no attribute 'AutoModelForVision2seq'\. Did you mean 'AutoModelForVision2Seq'\?",
    ):
        vision2seq.AutoModelForVision2seq  # noqa: B018
    with pytest.raises(AttributeError, match=r"^module 'vision2seq' has no attribute 'zzzzzz'\.$"):
        vision2seq.zzzzzz  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Bert'"):
        from vision2seq import Bert  # noqa: F401


def test_type_checkers_see_exactly_the_public_names_and_where_they_live() -> None:
    tree = ast.parse(Path(vision2seq.__file__).read_text(encoding="utf-8"))
    block = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    homes = {
        name.name: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for name in statement.names
    }
    assert sorted(homes) == vision2seq.__all__
    assert {name: f"vision2seq.{home}" for name, home in vision2seq._HOMES.items()} == homes


def test_the_version_is_the_packages() -> None:
    stated = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert stated is not None
    assert vision2seq.__version__ == stated[1]


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import vision2seq") == set()


@pytest.mark.parametrize("name", ["AutoConfig", "VisionEncoderDecoderConfig", "GenerationConfig", "Vision2SeqError"])
def test_names_about_settings_load_no_torch(name: str) -> None:
    assert "torch" not in loaded_by(f"from vision2seq import {name}")


def test_processing_loads_no_torch() -> None:
    assert "torch" not in loaded_by("from vision2seq import AutoProcessor, TrOCRProcessor, ViTImageProcessor")


def test_nothing_loads_transformers() -> None:
    code = "import vision2seq\nfor name in vision2seq.__all__: getattr(vision2seq, name)"
    assert "transformers" not in loaded_by(code)


@pytest.mark.parametrize("arguments", [["--help"], ["read", "--help"], ["inspect", "--help"], ["--version"]])
def test_help_loads_no_torch(arguments: list[str]) -> None:
    code = (
        f"import sys, runpy; sys.argv[1:] = {arguments!r}\n"
        "try: runpy.run_module('vision2seq', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: assert not end.code, end.code"
    )
    assert loaded_by(code) == set()


def test_help_names_the_commands_and_their_options() -> None:
    done = python("-m", "vision2seq", "--help")
    assert done.returncode == 0
    assert "usage: vision2seq" in done.stdout
    assert "read the text in images" in done.stdout
    assert "inspect" in done.stdout
    done = python("-m", "vision2seq", "read", "--help")
    assert done.returncode == 0
    for option in ("--model", "--batch-size", "--beams", "--json", "--jsonl", "-o"):
        assert option in done.stdout
