"""Code that a checkpoint brings along: never run unasked, and then from the files of one commit only."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import server
import tiny
import torch

from vision2seq import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForVision2Seq,
    AutoProcessor,
    AutoTokenizer,
    Reader,
    VisionEncoderDecoderModel,
    pipeline,
)
from vision2seq.errors import CheckpointNotFoundError, MissingPackageError, RemoteCodeError

torch.set_num_threads(1)
ID = "somebody/own-code"
CONFIGURATION = """
from vision2seq import VisionEncoderDecoderConfig
from .parts.numbers import BONUS

class OwnConfig(VisionEncoderDecoderConfig):
    model_type = "own-code"
    bonus: int = BONUS
"""
MODELING = """
from vision2seq import VisionEncoderDecoderModel
from .configuration_own import OwnConfig
from . import parts
from .parts import numbers

class OwnModel(VisionEncoderDecoderModel):
    config_class = OwnConfig

    def __init__(self, config, *rest):
        super().__init__(config)
        self.sum = config.bonus + numbers.BONUS
"""
NUMBERS = "from ..more import *\n"
MORE = "BONUS = 5\n"


def files(**changes: str | None) -> dict[str, str]:
    """The code, by file name with ``__`` for ``/``; None leaves one out."""
    all_of_it: dict[str, str | None] = {
        "configuration_own": CONFIGURATION,
        "modeling_own": MODELING,
        "parts/numbers": NUMBERS,
        "more": MORE,
        "unrelated": "raise SystemExit('this was not asked for')",
    }
    all_of_it |= {name.replace("__", "/"): text for name, text in changes.items()}
    return {f"{name}.py": text for name, text in all_of_it.items() if text is not None}


AUTO_MAP = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForVision2Seq": "modeling_own.OwnModel"}


def write(folder: Path, auto_map: Any = AUTO_MAP, **changes: str | None) -> Path:
    """A checkpoint with code of its own."""
    tiny.checkpoint(folder)
    values = json.loads((folder / "config.json").read_text()) | {"model_type": "own-code", "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(values))
    for name, text in files(**changes).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[server.Hub]:
    made = server.Hub()
    with made.running() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        yield made


def test_it_is_not_run_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "own", more="import os; os.environ['V2S_WAS_RUN'] = 'yes'\nBONUS = 1")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    for options in ({}, {"trust_remote_code": False}, {"trust_remote_code": None}):
        for loader in (AutoConfig, AutoModelForVision2Seq):
            with pytest.raises(
                ValueError,
                match=r"own needs code of its own for AutoConfig, which is not run unless you say so: "
                r"configuration_own.py, more.py, parts/numbers.py of .*Read it.*pass trust_remote_code=True",
            ) as caught:
                loader.from_pretrained(folder, **options)
            assert type(caught.value) is RemoteCodeError
    assert "V2S_WAS_RUN" not in os.environ
    assert not any("own_" in name for name in sys.modules)


def test_it_is_run_when_trusted(tmp_path: Path) -> None:
    folder = write(tmp_path / "own")
    before = set(folder.rglob("*"))
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert (type(config).__name__, config.bonus) == ("OwnConfig", 5)
    model = AutoModelForVision2Seq.from_pretrained(folder, 1, trust_remote_code=True, bonus=7)
    assert (type(model).__name__, model.sum) == ("OwnModel", 12)
    assert isinstance(model, VisionEncoderDecoderModel)
    expected = tiny.model().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert type(model.config) is type(config)  # the same files are the same classes
    built = AutoModelForVision2Seq.from_config(config, trust_remote_code=True)
    assert type(built) is type(model)
    with pytest.raises(RemoteCodeError, match="needs code of its own for AutoModelForVision2Seq"):
        AutoModelForVision2Seq.from_config(config)
    assert set(folder.rglob("*")) == before  # no byte code
    (folder / "more.py").write_text("BONUS = 6\n")
    assert AutoConfig.from_pretrained(folder, trust_remote_code=True).bonus == 6


def test_a_known_type_needs_no_code(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", {"AutoModelForVision2Seq": "modeling_own.OwnModel"}, configuration_own=None)
    values = json.loads((folder / "config.json").read_text()) | {"model_type": "vision-encoder-decoder"}
    (folder / "config.json").write_text(json.dumps(values))
    assert type(AutoModelForVision2Seq.from_pretrained(folder)) is VisionEncoderDecoderModel
    (folder / "modeling_own.py").write_text(
        "from vision2seq import VisionEncoderDecoderModel\nclass OwnModel(VisionEncoderDecoderModel): pass\n"
    )
    assert type(AutoModelForVision2Seq.from_pretrained(folder, trust_remote_code=True)).__name__ == "OwnModel"


def test_it_is_from_the_commit_that_was_asked_for(net: server.Hub, tmp_path: Path) -> None:
    first = net.commit(ID, write(tmp_path / "one"))
    second = net.commit(ID, write(tmp_path / "two", more="BONUS = 50\n"))
    options: dict[str, Any] = {"cache_dir": tmp_path / "cache", "trust_remote_code": True}

    def move(seen: server.Seen) -> None:
        if "config.json" in seen.path:
            net.commit(ID, {"config.json": b"{}"})

    net.on_request = move
    assert AutoModelForVision2Seq.from_pretrained(ID, **options).sum == 100
    assert "unrelated.py" not in net.fetched()
    assert sorted(name for name in net.fetched() if name.endswith(".py")) == [
        "configuration_own.py",
        "modeling_own.py",
        "more.py",
        "numbers.py",
    ]
    net.on_request = None
    assert AutoModelForVision2Seq.from_pretrained(ID, revision=first, **options).sum == 10
    mixed = AutoModelForVision2Seq.from_pretrained(ID, revision=first, code_revision=second, **options)
    assert mixed.config._commit_hash == first
    assert mixed.sum == 100
    with pytest.raises(
        RemoteCodeError, match=rf"configuration_own.py, .* of 'somebody/own-code' on .* commit {second}"
    ):
        AutoConfig.from_pretrained(ID, cache_dir=tmp_path / "cache", revision=second)


def test_it_may_be_in_another_repository(net: server.Hub, tmp_path: Path) -> None:
    net.commit("else/where", {name: text.encode() for name, text in files().items()})
    names = {key: f"else/where--{value}" for key, value in AUTO_MAP.items()}
    net.commit(ID, write(tmp_path / "own", names, configuration_own=None, modeling_own=None))
    options: dict[str, Any] = {"cache_dir": tmp_path / "cache"}
    assert AutoModelForVision2Seq.from_pretrained(ID, trust_remote_code=True, **options).sum == 10
    with pytest.raises(RemoteCodeError, match=r"configuration_own.py, .* of 'else/where' on"):
        AutoConfig.from_pretrained(ID, **options)
    local = AutoConfig.from_pretrained(tmp_path / "own", trust_remote_code=True, code_revision="main", **options)
    assert local.bonus == 5


@pytest.mark.parametrize(
    "reference",
    [
        "../../x.OwnConfig",
        "/etc/x.OwnConfig",
        "a/b.OwnConfig",
        "..x.OwnConfig",
        "x",
        "",
        "x.Own-Config",
        3,
        {},
        "a\\b.C",
    ],
)
def test_references_that_lead_out_are_refused(tmp_path: Path, reference: Any) -> None:
    (tmp_path / "x.py").write_text("raise SystemExit('run')")
    folder = write(tmp_path / "deep" / "own", {"AutoConfig": reference})
    if not reference:
        return
    for trusted in (True, False):
        with pytest.raises(RemoteCodeError, match=r"auto_map of .* says .*; expected 'module.Class'.*Nothing was run"):
            AutoConfig.from_pretrained(folder, trust_remote_code=trusted)


def test_imports_that_lead_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("raise SystemExit('run')")
    for line in ("from .. import secret", "from ..secret import x", "def f():\n    from ...a import b"):
        folder = write(tmp_path / "own", more=f"BONUS = 5\n{line}\n")
        with pytest.raises(
            RemoteCodeError, match=r"more.py of .* imports \.\..* in line \d, which leads out of the che"
        ):
            AutoConfig.from_pretrained(folder, trust_remote_code=True)


def test_code_that_cannot_be_run(tmp_path: Path) -> None:
    def load(name: str, auto_map: Any = AUTO_MAP, **changes: str | None) -> None:
        AutoConfig.from_pretrained(write(tmp_path / name, auto_map, **changes), trust_remote_code=True)

    with pytest.raises(
        CheckpointNotFoundError, match=r"has no configuration_own.py, which its auto_map names. Files th"
    ):
        load("a", configuration_own=None)
    with pytest.raises(RemoteCodeError, match=r"has no 'OwnConfg', which its auto_map names. Did you mean 'OwnConfig'"):
        load("b", {"AutoConfig": "configuration_own.OwnConfg"})
    with pytest.raises(RemoteCodeError, match=r"more.py of .* is not Python: .*Nothing was run"):
        load("c", more="BONUS = = 5")
    with pytest.raises(RemoteCodeError, match=r"cannot be run: ZeroDivisionError: division by zero. Tell its authors"):
        load("d", more="BONUS = 1 / 0")
    with pytest.raises(
        ImportError, match=r"imports 'no_such_package', which is not installed: pip install no_such_pack"
    ):
        load("e", more="import no_such_package.deep\nBONUS = 5")
    with pytest.raises(MissingPackageError, match=r"imports 'no_such_package'"):
        load("f", more="from no_such_package import x\nBONUS = 5")
    with pytest.raises(RemoteCodeError, match=r"cannot be run: No module named .*absent"):
        load("g", more="from .absent import x\nBONUS = 5")
    load("h", more="try:\n    from .absent import x\nexcept ImportError:\n    pass\nBONUS = 5")
    load("i", parts____init__="from .numbers import BONUS\n", parts__numbers="from ..more import BONUS\n")


def test_readers_and_pipelines_pass_the_trust_on(tmp_path: Path) -> None:
    folder = tiny.readable(tmp_path / "own")
    write(folder)
    with pytest.raises(RemoteCodeError, match="needs code of its own for AutoConfig"):
        Reader.from_pretrained(folder)
    reader = Reader.from_pretrained(folder, trust_remote_code=True)
    assert type(reader.model).__name__ == "OwnModel"
    assert next(reader.read(tiny.picture())).ok
    assert type(pipeline("image-to-text", str(folder), trust_remote_code=True).model).__name__ == "OwnModel"


def test_processors_bring_code_as_well(tmp_path: Path) -> None:
    folder = tiny.readable(tmp_path / "own")
    (folder / "processing.py").write_text(
        "from vision2seq import PreTrainedTokenizerFast, TrOCRProcessor, ViTImageProcessor\n"
        "class OwnProcessor(TrOCRProcessor): pass\nclass OwnImages(ViTImageProcessor): pass\n"
        "class OwnTokenizer(PreTrainedTokenizerFast): pass\n"
    )
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings |= {"auto_map": {"AutoProcessor": "processing.OwnProcessor", "AutoImageProcessor": "processing.OwnImages"}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    about = json.loads((folder / "tokenizer_config.json").read_text())
    about["auto_map"] = {"AutoTokenizer": [None, "processing.OwnTokenizer"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    own = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    assert type(own).__name__ == "OwnProcessor"
    for loader, name in ((AutoImageProcessor, "OwnImages"), (AutoTokenizer, "OwnTokenizer")):
        assert type(loader.from_pretrained(folder, trust_remote_code=True)).__name__ == name
    assert type(AutoProcessor.from_pretrained(folder)).__name__ == "TrOCRProcessor"  # it can be done without
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"image_processor_type": "OwnImages"}))
    with pytest.raises(RemoteCodeError, match=r"code of its own for AutoImageProcessor.*processing.py"):
        AutoImageProcessor.from_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(RemoteCodeError, match=r"code of its own for AutoTokenizer.*processing.py"):
        AutoTokenizer.from_pretrained(folder)


def test_code_written_against_transformers_says_so_where_that_is_missing(tmp_path: Path) -> None:
    if "transformers" in sys.modules:
        pytest.skip("transformers is installed")
    folder = write(tmp_path / "own", configuration_own="from transformers import PretrainedConfig as OwnConfig\n")
    with pytest.raises(
        MissingPackageError, match=r"imports 'transformers', which is not installed: pip install transf"
    ):
        AutoConfig.from_pretrained(folder, trust_remote_code=True)
