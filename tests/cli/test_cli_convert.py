"""`vision2seq convert`: the same tensors whatever wrote them, everything accounted for, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import originals
import pytest
import server
import tiny
import torch
from safetensors.torch import load_file, save_file

from vision2seq import (
    AutoModelForVision2Seq,
    AutoProcessor,
    DonutProcessor,
    NougatProcessor,
    VisionEncoderDecoderModel,
)
from vision2seq.checkpoints import save
from vision2seq.cli import convert as command
from vision2seq.cli.main import main

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]
Golden = Callable[[str, str], Path]


def convert(capsys: Captured, *arguments: Any) -> tuple[int, str, str]:
    status = main(["convert", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def account(capsys: Captured, *arguments: Any, status: int = 0) -> dict[str, Any]:
    """The JSON of a conversion."""
    ended, out, err = convert(capsys, *arguments, "--json")
    assert (ended, err) == (status, "")
    found: dict[str, Any] = json.loads(out)
    return found


def refused(capsys: Captured, *arguments: Any) -> str:
    """What a conversion that must not happen says."""
    status, out, err = convert(capsys, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("vision2seq: ")
    return err


def same(folder: Path, expected: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> bool:
    found = AutoModelForVision2Seq.from_pretrained(folder, dtype="auto").state_dict()
    return all(torch.equal(found[name], tensor.to(dtype)) for name, tensor in expected.items())


def only(folder: Path, *names: str) -> bool:
    """Whether a folder holds these names, and nothing else, hidden or not."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny.readable(tmp_path / "source")


# ----------------------------------------------------------------------------------------------------- other frameworks

FORMS = [
    ("tensorflow", "h5", "h5", "TensorFlow"),
    ("tensorflow", "h5-sharded", "h5", "TensorFlow"),
    ("tensorflow", "objects", "bundle", "TensorFlow"),
    ("tensorflow", "names", "bundle", "TensorFlow"),
    ("tensorflow", "saved-model", "bundle", "TensorFlow"),
    ("tensorflow", "safetensors", "safetensors", "TensorFlow"),
    ("flax", "msgpack", "msgpack", "Flax"),
    ("flax", "msgpack-sharded", "msgpack", "Flax"),
    ("flax", "safetensors", "safetensors", "Flax"),
]


@pytest.mark.parametrize(("framework", "form", "kind", "name"), FORMS)
def test_folders_of_other_frameworks(
    capsys: Captured, golden: Golden, tmp_path: Path, framework: str, form: str, kind: str, name: str
) -> None:
    origin = golden(framework, "vit-gpt2")
    shutil.copytree(origin / form, tmp_path / "old")
    shutil.copy(origin / "config.json", tmp_path / "old")
    done = account(capsys, tmp_path / "old", tmp_path / "new")
    expected = load_file(origin / "expected.safetensors")
    assert same(tmp_path / "new", expected)
    written = load_file(tmp_path / "new" / "model.safetensors")
    assert written.keys() == {name for name in expected if not name.endswith("lm_head.weight")}
    assert all(torch.equal(tensor, expected[key]) for key, tensor in written.items())
    assert (done["format"], done["framework"], done["dtype"]) == (kind, name, "float32")
    assert {new for _, new in done["mapped"]} <= set(written) | {"decoder.lm_head.weight"}
    assert sum(name.endswith("weight") for name in written) <= len(done["mapped"])
    assert done["tied"] == ["decoder.lm_head.weight"]
    assert done["missing"] == done["notes"] == []
    assert done["verified"] == len(written) + 1
    assert only(tmp_path / "new", "config.json", "generation_config.json", "model.safetensors")
    assert only(tmp_path, "old", "new")


@pytest.mark.parametrize(
    ("framework", "file", "flags"),
    [
        ("tensorflow", "h5/tf_model.h5", []),
        ("tensorflow", "objects/model.ckpt.index", []),
        ("tensorflow", "objects/model.ckpt", []),
        ("tensorflow", "trained/model.ckpt-1.index", ["--from-tf"]),
        ("flax", "msgpack/flax_model.msgpack", ["--from-flax"]),
    ],
)
def test_files_of_other_frameworks(
    capsys: Captured, golden: Golden, tmp_path: Path, framework: str, file: str, flags: list[str]
) -> None:
    origin = golden(framework, "vit-gpt2")
    account(capsys, origin / file, tmp_path / "new", "--config", origin / "config.json", *flags)
    assert same(tmp_path / "new", load_file(origin / "expected.safetensors"))


def test_which_weights_are_read_where_there_are_several(capsys: Captured, golden: Golden, tmp_path: Path) -> None:
    origin = golden("tensorflow", "vit-gpt2")
    old = tmp_path / "old"
    shutil.copytree(origin / "h5", old)
    shutil.copy(origin / "config.json", old)
    VisionEncoderDecoderModel.from_pretrained(old, from_tf=True, dtype="float16").save_pretrained(old)
    assert account(capsys, old, tmp_path / "own")["dtype"] == "float16"
    assert account(capsys, old, tmp_path / "theirs", "--from-tf")["dtype"] == "float32"


def test_weights_in_bfloat16_stay_so(capsys: Captured, golden: Golden, tmp_path: Path) -> None:
    origin = golden("flax", "vit-gpt2")
    shutil.copytree(origin / "bfloat16", tmp_path / "old")
    shutil.copy(origin / "config.json", tmp_path / "old")
    assert account(capsys, tmp_path / "old", tmp_path / "new")["dtype"] == "bfloat16"
    assert same(tmp_path / "new", load_file(origin / "expected.safetensors"), torch.bfloat16)


# ------------------------------------------------------------------------------------------------------- PyTorch's own


def test_what_is_said(capsys: Captured, source: Path, tmp_path: Path) -> None:
    model = VisionEncoderDecoderModel.from_pretrained(source)
    state = model.state_dict() | {"decoder.strange.weight": torch.ones(2)}
    (source / "model.safetensors").unlink()
    model.save_pretrained(source, state_dict=state, safe_serialization=False)
    status, out, err = convert(capsys, source, tmp_path / "new")
    assert (status, err) == (0, "")
    size = sum(path.stat().st_size for path in (tmp_path / "new").iterdir()) / 1e6
    parameters = f"{model.num_parameters() / 1e6:.2f}"
    assert out.splitlines() == [
        f"read:      {source}: pickle of PyTorch, pytorch_model.bin",
        "tied:      1 stored once: decoder.output_projection.weight",
        "dropped:   1 not used by the model: decoder.strange.weight",
        f"written:   {tmp_path / 'new'}: config.json, generation_config.json, model.safetensors, "
        "preprocessor_config.json, special_tokens_map.json, tokenizer.json, tokenizer_config.json",
        f"size:      {parameters} M parameters as float32, {size:.1f} MB",
        f"verified:  {len(model.state_dict())} tensors read back, each the same to the last bit",
    ]


def test_the_names_that_others_had(capsys: Captured, golden: Golden, tmp_path: Path) -> None:
    origin = golden("flax", "vit-gpt2")
    file = origin / "msgpack" / "flax_model.msgpack"
    _, out, _ = convert(capsys, file, tmp_path / "new", "--config", origin)
    (line,) = (line for line in out.splitlines() if line.startswith("mapped:"))
    assert " names: decoder.lm_head.kernel → decoder.lm_head.weight and " in line


def test_all_that_belongs_to_it_comes_along(capsys: Captured, source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "generation_config.json").read_text(encoding="utf-8"))
    (source / "generation_config.json").write_text(json.dumps(config | {"num_beams": 3}), encoding="utf-8")
    (source / "notes.txt").write_text("not a part of the model", encoding="utf-8")
    account(capsys, source, tmp_path / "new")
    for path in source.iterdir():
        if path.name in command.CARRIED:
            assert (tmp_path / "new" / path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path / "new" / "notes.txt").exists()
    old, new = (AutoProcessor.from_pretrained(folder) for folder in (source, tmp_path / "new"))
    assert old.tokenizer("abc").input_ids == new.tokenizer("abc").input_ids
    models = [AutoModelForVision2Seq.from_pretrained(folder) for folder in (source, tmp_path / "new")]
    assert models[0].config.to_dict() | {"dtype": 0} == models[1].config.to_dict() | {"dtype": 0}
    assert models[1].generation_config.num_beams == 3
    assert torch.equal(*(model.generate(tiny.pixels()) for model in models))


def test_shards_and_dtype(capsys: Captured, source: Path, tmp_path: Path) -> None:
    done = account(capsys, source, tmp_path / "new", "--max-shard-size", "10KB", "--dtype", "bfloat16")
    assert len([name for name in done["written"] if name.endswith(".safetensors")]) > 1
    assert "model.safetensors.index.json" in done["written"]
    assert json.loads((tmp_path / "new" / "config.json").read_text(encoding="utf-8"))["torch_dtype"] == "bfloat16"
    assert same(tmp_path / "new", tiny.model().state_dict(), torch.bfloat16)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_packed_weights(precision: str, capsys: Captured, source: Path, tmp_path: Path) -> None:
    done = account(capsys, source, tmp_path / "new", "--precision", precision)
    assert done["dtype"] == precision
    loaded = AutoModelForVision2Seq.from_pretrained(tmp_path / "new")
    assert loaded.precision == precision
    packed = AutoModelForVision2Seq.from_pretrained(source, precision=precision)
    assert torch.equal(*(model.generate(tiny.pixels()) for model in (loaded, packed)))
    status, _, err = convert(capsys, tmp_path / "new", tmp_path / "again")
    assert status == 1
    assert "are quantised already (quantization_config: {" in err
    assert not (tmp_path / "again").exists()


def test_only_a_whole_model_is_packed(capsys: Captured, source: Path, tmp_path: Path) -> None:
    tensors = load_file(source / "model.safetensors")
    del tensors["encoder.layernorm.bias"]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    status, _, err = convert(capsys, source, tmp_path / "new", "--precision", "int8")
    assert status == 1
    assert "lacks encoder.layernorm.bias, and only a whole model can be packed. Convert it without --precision" in err


def test_the_widest_of_several_dtypes(capsys: Captured, source: Path, tmp_path: Path) -> None:
    file = source / "model.safetensors"
    tensors = load_file(file)
    first = sorted(tensors)[0]
    save_file({**tensors, first: tensors[first].half()}, file, metadata={"format": "pt"})
    assert account(capsys, source, tmp_path / "new")["dtype"] == "float32"
    assert same(tmp_path / "new", tensors | {first: tensors[first].half().float()})


def test_progress_is_shown(capsys: Captured, source: Path, tmp_path: Path) -> None:
    command.convert(str(source), tmp_path / "new", hidden=False)
    err = capsys.readouterr().err
    assert "reading: " in err
    assert "checking: " in err


def test_numbers_that_are_none(capsys: Captured, source: Path, tmp_path: Path) -> None:
    """What is no number equals nothing, itself included, and is the same bits all the same."""
    file = source / "model.safetensors"
    tensors = load_file(file)
    tensors["encoder.layernorm.bias"][0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    assert account(capsys, source, tmp_path / "new")["verified"] == len(tiny.model().state_dict())


def test_a_bundled_model_and_a_variant(capsys: Captured, source: Path, tmp_path: Path) -> None:
    assert account(capsys, "printed-line", tmp_path / "bundled", "--dtype", "float16")["dtype"] == "float16"
    (source / "model.safetensors").rename(source / "model.fp16.safetensors")
    (source / "tf_model.h5").write_bytes(b"not to be looked at")
    assert account(capsys, source, tmp_path / "new", "--variant", "fp16")["read"] == ["model.fp16.safetensors"]
    assert (tmp_path / "new" / "model.safetensors").exists()


def test_names_on_the_hub_and_urls(
    capsys: Captured, source: Path, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A branch is what it was; of a URL, what belongs to the weights is looked for beside them."""
    origin = golden("flax", "vit-gpt2")
    hub = server.Hub()
    files = {"config.json": origin / "config.json", "flax_model.msgpack": origin / "msgpack" / "flax_model.msgpack"}
    old = hub.commit("someone/convertible", {name: path.read_bytes() for name, path in files.items()}, branch="flax")
    hub.commit("someone/convertible", source)
    with hub.running() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        done = account(capsys, "someone/convertible", tmp_path / "hub", "--revision", "flax", "--quiet")
        assert (done["commit"], done["framework"]) == (old, "Flax")
        assert done["source"] == "someone/convertible"
        _, out, _ = convert(capsys, "someone/convertible", tmp_path / "again", "--revision", "flax", "--quiet")
        assert f"read:      someone/convertible at commit {old}: msgpack of Flax, flax_model.msgpack\n" in out
        assert account(capsys, "someone/convertible", tmp_path / "main", "--quiet")["framework"] == "PyTorch"
    assert same(tmp_path / "hub", load_file(origin / "expected.safetensors"))
    assert (tmp_path / "main" / "tokenizer.json").exists()
    whole = {path.name: path.read_bytes() for path in source.iterdir()}
    with server.web({f"models/{name}": content for name, content in whole.items()}, hub) as url:
        account(capsys, f"{url}/models/model.safetensors", tmp_path / "web", "--quiet")
    assert (tmp_path / "web" / "tokenizer.json").read_bytes() == whole["tokenizer.json"]
    assert same(tmp_path / "web", tiny.model().state_dict())


# ------------------------------------------------------------------------------------------------------------ problems


def test_what_is_missing_stays_missing(capsys: Captured, source: Path, tmp_path: Path) -> None:
    file = source / "model.safetensors"
    tensors = load_file(file)
    lacking = "decoder.model.decoder.layers.1.fc1.weight"
    save_file({name: t for name, t in tensors.items() if name != lacking}, file, metadata={"format": "pt"})
    assert account(capsys, source, tmp_path / "new", status=1)["missing"] == [lacking]
    assert lacking not in load_file(tmp_path / "new" / "model.safetensors")
    with pytest.warns(UserWarning, match=lacking):
        AutoModelForVision2Seq.from_pretrained(tmp_path / "new")
    status, out, _ = convert(capsys, source, tmp_path / "again")
    assert status == 1
    assert f"missing:   1 NOT IN THE SOURCE: {lacking}\n" in out


def test_weights_of_something_else(capsys: Captured, source: Path, tmp_path: Path) -> None:
    save_file({"linear.weight": torch.ones(2, 2)}, source / "model.safetensors", metadata={"format": "pt"})
    said = refused(capsys, source, tmp_path / "new")
    assert f"No tensor of {source} belongs to the model of its config. Found linear.weight; expected encoder." in said
    assert "Pass the config that belongs to the weights as --config." in said
    assert only(tmp_path, "source")


@pytest.mark.parametrize("there", ["file", "folder"])
def test_nothing_is_overwritten(capsys: Captured, source: Path, tmp_path: Path, there: str) -> None:
    new = tmp_path / "new"
    if there == "file":
        new.write_text("mine", encoding="utf-8")
        assert f"{new} is a file; expected the name of a folder to make." in refused(capsys, source, new)
        assert new.read_text(encoding="utf-8") == "mine"
    else:
        new.mkdir()
        (new / ".mine").touch()
        message = f"{new} is not empty, and nothing is overwritten. Name a new folder, or empty it."
        assert message in refused(capsys, source, new)
        assert only(new, ".mine")
    assert f"{source} is not empty" in refused(capsys, source, source)


def test_an_empty_folder_and_folders_that_are_not_there(capsys: Captured, source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    account(capsys, source, tmp_path / "link")
    assert (tmp_path / "empty" / "config.json").exists()
    account(capsys, source, tmp_path / "a" / "b" / "new")
    assert only(tmp_path / "a" / "b", "new")


def test_a_disk_that_writes_something_else(
    capsys: Captured, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = save._write_safetensors

    def flip(tensors: dict[str, torch.Tensor], path: Path) -> None:
        write(tensors, path)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(save, "_write_safetensors", flip)
    said = refused(capsys, source, tmp_path / "new")
    assert f" read back otherwise than written for {tmp_path / 'new'}, which was not made. Try again" in said
    assert only(tmp_path, "source")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_conversion_that_ends_early_leaves_nothing(
    capsys: Captured, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(command, "_carry", fail)
    (tmp_path / "new").mkdir()
    status, out, err = convert(capsys, source, tmp_path / "new")
    assert (status, out) == (130 if isinstance(error, KeyboardInterrupt) else 1, "")
    assert "No space left" in err or "interrupted" in err
    assert only(tmp_path, "source", "new")
    assert only(tmp_path / "new")


def test_a_file_without_a_config(capsys: Captured, golden: Golden, tmp_path: Path) -> None:
    said = refused(capsys, golden("tensorflow", "vit-gpt2") / "objects" / "model.ckpt.index", tmp_path / "new")
    assert "holds no config.json" in said
    assert said.endswith(" To convert the file alone, pass --config.\n")
    assert only(tmp_path)


def test_models_of_other_types(capsys: Captured, source: Path, tmp_path: Path) -> None:
    (source / "config.json").write_text(json.dumps(tiny.VIT), encoding="utf-8")
    assert "Unrecognized configuration class" in refused(capsys, source, tmp_path / "new")
    assert only(tmp_path, "source")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"model_type": "blip", "encoder": None}, r"of type 'blip'"),
        (
            {"encoder": tiny.VIT | {"model_type": "owlvit"}},
            "of type 'vision-encoder-decoder', with an encoder of type 'owlvit' and a decoder of type 'trocr'",
        ),
    ],
)
def test_a_model_that_only_transformers_has(
    capsys: Captured, source: Path, tmp_path: Path, changes: dict[str, Any], kind: str
) -> None:
    values = json.loads((source / "config.json").read_text()) | changes
    if values["encoder"] is None:
        del values["encoder"], values["decoder"]
    (source / "config.json").write_text(json.dumps(values))
    assert (
        f"is {kind}, which this package does not have; it converts vision-encoder-decoder models with halves of its "
        "own. If transformers has it, load it there, and save it with save_pretrained."
        in refused(capsys, source, tmp_path / "new")
    )
    assert only(tmp_path, "source")


OWN_CODE = """
from vision2seq import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from .parts.more import LABEL

class OwnConfig(VisionEncoderDecoderConfig):
    model_type = "own-code"

class OwnModel(VisionEncoderDecoderModel):
    config_class = OwnConfig
    label = LABEL
"""


def test_code_of_its_own(capsys: Captured, source: Path, tmp_path: Path) -> None:
    values = json.loads((source / "config.json").read_text())
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForVision2Seq": "own.OwnModel"}
    (source / "config.json").write_text(json.dumps(values | {"model_type": "own-code", "auto_map": own}))
    (source / "own.py").write_text(OWN_CODE)
    (source / "parts").mkdir()
    (source / "parts" / "more.py").write_text("LABEL = 'mine'\n")
    (source / "unrelated.py").write_text("raise SystemExit")
    said = refused(capsys, source, tmp_path / "new")
    assert "needs code of its own for AutoConfig, which is not run unless you say so: own.py, parts/more.py of" in said
    done = account(capsys, source, tmp_path / "new", "--trust-remote-code", "--quiet")
    assert {name for name in done["written"] if name.endswith(".py")} == {"own.py", "parts/more.py"}
    model = AutoModelForVision2Seq.from_pretrained(tmp_path / "new", trust_remote_code=True)
    assert (type(model).__name__, model.label) == ("OwnModel", "mine")
    assert all(torch.equal(tensor, tiny.model().state_dict()[name]) for name, tensor in model.state_dict().items())


def test_code_written_against_transformers(capsys: Captured, source: Path, tmp_path: Path) -> None:
    values = json.loads((source / "config.json").read_text())
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForVision2Seq": "own.Other"}
    (source / "config.json").write_text(json.dumps(values | {"model_type": "own-code", "auto_map": own}))
    (source / "own.py").write_text(OWN_CODE.replace("from .parts.more import LABEL", "LABEL = ''\nclass Other: pass"))
    said = refused(capsys, source, tmp_path / "new", "--trust-remote-code")
    assert "brings along is written against transformers; only code written against this package can be" in said


def test_a_token(capsys: Captured, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = server.Hub()
    hub.commit("someone/private", source)
    hub.repos["someone/private"].token = "hf_mine"
    with hub.running() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert "not a valid model identifier" in refused(capsys, "someone/private", tmp_path / "new")
        account(capsys, "someone/private", tmp_path / "new", "--token", "hf_mine", "--quiet")
    assert same(tmp_path / "new", tiny.model().state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-shard-size", "lots"], "max_shard_size='lots'; expected a number of bytes"),
        (["--subfolder", "absent"], "has no subfolder 'absent'"),
        (["--config", "./absent.json"], "'./absent.json' is not a local folder"),
        (["--variant", "fp16"], "expected model.fp16.safetensors"),
        (["--from-flax"], "expected flax_model.msgpack"),
    ],
)
def test_wrong_values(capsys: Captured, source: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (source / "model.safetensors").rename(source / "other.safetensors")
    assert message in refused(capsys, source, tmp_path / "new", *arguments)
    assert only(tmp_path, "source")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "the following arguments are required: DEST"),
        (["a", "b", "--from-tf", "--from-flax"], "not allowed with argument"),
        (["a", "b", "--dtype", "int8"], "invalid choice: 'int8'"),
    ],
)
def test_wrong_calls(capsys: Captured, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["convert", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_help_loads_no_torch() -> None:
    code = "import sys\nfrom vision2seq.cli.main import main\ntry: main(['convert', '--help'])\n"
    code += "except SystemExit: print([name for name in ('torch', 'numpy', 'tokenizers') if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--max-shard-size" in done.stdout


# ----------------------------------------------------------------------------------------- the models' authors' formats


def test_an_original_donut(tmp_path: Path, capsys: Captured) -> None:
    model = originals.swin_mbart()
    old, new = originals.write_donut(tmp_path / "old", model, originals.DONUT), tmp_path / "new"
    tiny.write_tokenizer(old, count=originals.VOCABULARY)
    done = account(capsys, old, new)
    assert (done["format"], done["framework"]) == ("pickle", "the original Donut (clovaai)")
    assert done["missing"] == done["notes"] == [] and done["tied"] == ["decoder.lm_head.weight"]
    assert done["verified"] == len(model.state_dict()) == len(done["mapped"])
    assert "encoder.model.norm.weight" in done["dropped"]
    found = VisionEncoderDecoderModel.from_pretrained(new)
    assert torch.equal(originals.logits(found), originals.logits(model))
    before, after = AutoProcessor.from_pretrained(old), AutoProcessor.from_pretrained(new)
    assert type(before) is type(after) is DonutProcessor
    pictures = [made.image_processor(tiny.picture(), return_tensors="pt").pixel_values for made in (before, after)]
    assert torch.equal(*pictures)
    assert found.generation_config.max_length == 24
    _, out, _ = convert(capsys, old, tmp_path / "again", "--dtype", "float16")
    assert "pickle of the original Donut (clovaai), pytorch_model.bin" in out and "as float16" in out


def test_an_original_nougat(tmp_path: Path, capsys: Captured) -> None:
    """What its code says of the tokens is in the new files."""
    model = originals.swin_mbart(tie_word_embeddings=False, max_position_embeddings=30)
    old, new = originals.write_donut(tmp_path / "old", model, originals.NOUGAT), tmp_path / "new"
    tiny.write_tokenizer(old, count=originals.VOCABULARY)
    (old / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    (old / "special_tokens_map.json").unlink()
    account(capsys, old, new)
    assert torch.equal(originals.logits(AutoModelForVision2Seq.from_pretrained(new)), originals.logits(model))
    processor = AutoProcessor.from_pretrained(new)
    assert type(processor) is NougatProcessor
    assert (processor.tokenizer.pad_token_id, processor.tokenizer.eos_token_id) == (1, 2)


def test_an_original_trocr(tmp_path: Path, capsys: Captured) -> None:
    model = originals.vit_trocr(**originals.ROBERTA)
    old = originals.write_trocr(tmp_path / "trocr.pt", model, originals.settings())
    done = account(capsys, old, tmp_path / "new")
    assert (done["framework"], done["read"]) == ("the original TrOCR (unilm, fairseq)", ["trocr.pt"])
    assert only(
        tmp_path / "new", "config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"
    )
    found = AutoModelForVision2Seq.from_pretrained(tmp_path / "new")
    assert torch.equal(originals.logits(found), originals.logits(model))


def test_originals_that_are_not_complete(tmp_path: Path, capsys: Captured) -> None:
    old = originals.write_donut(tmp_path / "old", originals.swin_mbart(), originals.DONUT)
    originals.rewrite(old / "pytorch_model.bin", originals.without("encoder.model.patch_embed.norm.bias"))
    said = refused(capsys, old, tmp_path / "new")
    assert "not complete as a checkpoint of the original Donut (clovaai): 1 tensors of the model are missing" in said
    (old / "config.json").write_text(json.dumps(originals.DONUT | {"window_size": 5}), encoding="utf-8")
    assert "config.json has window_size 5, but the weights are those of windows of 2" in refused(
        capsys, old, tmp_path / "new"
    )
    assert not (tmp_path / "new").exists()
