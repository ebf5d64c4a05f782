"""Which files are taken, in which order, and what is said when none can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vision2seq import hub
from vision2seq.checkpoints import find_weights, framework_argument
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, OptionError


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        if ".index" in name:
            suffix = "safetensors" if "safetensors" in name else "bin"
            path.write_text(json.dumps({"weight_map": {"a": f"s-1.{suffix}", "b": f"s-2.{suffix}"}}))
            make(folder, f"s-1.{suffix}", f"s-2.{suffix}")
        else:
            path.write_bytes(b"x")


def test_order_of_preference(tmp_path: Path) -> None:
    order = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"]
    make(tmp_path, *order)
    for name in order:
        found = find_weights(tmp_path)
        assert (found.index or found.files[0]).name == name
        assert found.format == ("safetensors" if "safetensors" in name else "pickle")
        (tmp_path / name).unlink()


def test_sharded_lists_every_shard_once(tmp_path: Path) -> None:
    make(tmp_path, "pytorch_model.bin.index.json")
    found = find_weights(str(tmp_path))
    assert [path.name for path in found.files] == ["s-1.bin", "s-2.bin"]
    assert found.weight_map == {"a": "s-1.bin", "b": "s-2.bin"}
    assert found.total_bytes == 2


def test_use_safetensors(tmp_path: Path) -> None:
    make(tmp_path, "model.safetensors", "pytorch_model.bin")
    assert find_weights(tmp_path, use_safetensors=False).format == "pickle"
    assert find_weights(tmp_path, use_safetensors=True).format == "safetensors"
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointNotFoundError, match=r"leave use_safetensors=True out to read it"):
        find_weights(tmp_path, use_safetensors=True)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointNotFoundError, match=r"leave use_safetensors=False out to read it"):
        find_weights(tmp_path, use_safetensors=False)
    with pytest.raises(OptionError, match=r"use_safetensors='yes'; expected True, False or None"):
        find_weights(tmp_path, use_safetensors="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "model.fp16.safetensors",
        "model.safetensors.index.fp16.json",
        "model.fp16.safetensors.index.json",
        "pytorch_model.fp16.bin",
        "pytorch_model.bin.index.fp16.json",
        "pytorch_model.fp16.bin.index.json",
    ],
)
def test_variant(tmp_path: Path, name: str) -> None:
    make(tmp_path, name)
    found = find_weights(tmp_path, variant="fp16")
    assert (found.index or found.files[0]).name == name
    with pytest.raises(CheckpointNotFoundError, match=r"No weights in .*expected model\.safetensors"):
        find_weights(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match=r"Variants there: fp16\. Did you mean 'fp16'\?"):
        find_weights(tmp_path, variant="fp61")


def test_variant_that_is_not_there_but_plain_weights_are(tmp_path: Path) -> None:
    make(tmp_path, "model.safetensors")
    with pytest.raises(CheckpointNotFoundError, match=r"leave variant= out"):
        find_weights(tmp_path, variant="fp16")


@pytest.mark.parametrize("variant", ["", "../x", "a/b", ".hidden"])
def test_variant_that_is_no_name(tmp_path: Path, variant: str) -> None:
    with pytest.raises(OptionError, match="cannot be part of a file name"):
        find_weights(tmp_path, variant=variant)


def test_one_file_may_be_named_itself(tmp_path: Path) -> None:
    make(tmp_path, "other.safetensors", "other.pt", "other.safetensors.index.json")
    assert find_weights(tmp_path / "other.safetensors").format == "safetensors"
    assert find_weights(tmp_path / "other.pt").format == "pickle"
    assert len(find_weights(tmp_path / "other.safetensors.index.json").files) == 2


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"No checkpoint folder '.*nowhere': it does not exist"):
        find_weights(tmp_path / "nowhere")
    with pytest.raises(
        CheckpointNotFoundError, match=r"expected model.safetensors or pytorch_model.bin.*folder is empty"
    ):
        find_weights(tmp_path)
    make(tmp_path, "config.json", "vocab.txt")
    with pytest.raises(OSError, match=r"Files there: config\.json, vocab\.txt"):
        find_weights(tmp_path)


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("tf_model.h5", r"TensorFlow: pass from_tf=True to read them"),
        ("model.ckpt.index", r"TensorFlow: pass from_tf=True to read them"),
        ("variables/variables.index", r"TensorFlow: pass from_tf=True to read them"),
        ("model.ckpt-100.data-00000-of-00001", r"TensorFlow \(model.*-00001\): pass the path of the file itself"),
        ("flax_model.msgpack", r"Flax: pass from_flax=True to read them"),
        ("other.msgpack", r"Flax \(other\.msgpack\): pass the path of the file itself"),
    ],
)
def test_foreign_weights(tmp_path: Path, name: str, framework: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointNotFoundError, match=f"There are weights of {framework}"):
        find_weights(tmp_path)


def shards(folder: Path, name: str, *files: str) -> None:
    (folder / name).write_text(json.dumps({"weight_map": {file: file for file in files}}))
    for file in files:
        (folder / file).write_bytes(b"x")


def test_order_of_foreign_weights(tmp_path: Path) -> None:
    """A bundle is looked into, so it has its own tests; variants and the absence of safetensors do not matter."""
    make(tmp_path, "model.safetensors", "model.fp16.safetensors", "tf_model.h5", "flax_model.msgpack")
    shards(tmp_path, "tf_model.h5.index.json", "tf-1.h5", "tf-2.h5")
    shards(tmp_path, "flax_model.msgpack.index.json", "flax-1.msgpack")
    for variant in (None, "fp16"):
        for argument, name, kind in (("from_tf", "tf_model.h5", "h5"), ("from_flax", "flax_model.msgpack", "msgpack")):
            found = find_weights(tmp_path, variant=variant, **{argument: True})  # type: ignore[arg-type]
            assert (found.files[0].name, found.format, found.index) == (name, kind, None)
            assert find_weights(tmp_path, use_safetensors=True, **{argument: True}).format == "safetensors"  # type: ignore[arg-type]
    (tmp_path / "tf_model.h5").unlink()
    (tmp_path / "flax_model.msgpack").unlink()
    assert [path.name for path in find_weights(tmp_path, from_tf=True).files] == ["tf-1.h5", "tf-2.h5"]
    assert [path.name for path in find_weights(tmp_path, from_flax=True).files] == ["flax-1.msgpack"]
    (tmp_path / "tf_model.h5.index.json").unlink()
    assert find_weights(tmp_path, from_tf=True).format == "safetensors"  # its header says whose layout it has
    assert find_weights(tmp_path).format == "safetensors"


def test_what_has_to_be_asked_for(tmp_path: Path) -> None:
    def argument(path: Path) -> str | None:
        return framework_argument(hub.find(path))

    assert argument(tmp_path) is None
    shards(tmp_path, "flax_model.msgpack.index.json", "flax-1.msgpack")
    assert argument(tmp_path) == "from_flax"
    (tmp_path / "variables").mkdir()
    make(tmp_path / "variables", "variables.index")
    assert argument(tmp_path) == "from_tf"
    make(tmp_path, "pytorch_model.bin", "x.h5", "x.ckpt.index")
    assert argument(tmp_path) is None
    for name, expected in (
        ("pytorch_model.bin", None),
        ("flax_model.msgpack.index.json", "from_flax"),
        ("x.h5", "from_tf"),
        ("x.ckpt.index", "from_tf"),
        ("x.ckpt", "from_tf"),
    ):
        assert argument(tmp_path / name) == expected


def test_foreign_files_by_name(tmp_path: Path) -> None:
    make(tmp_path, "x.h5", "x.msgpack", "x.bin")
    shards(tmp_path, "y.h5.index.json", "tf-1.h5")
    for name, kind in (("x.h5", "h5"), ("x.msgpack", "msgpack"), ("y.h5.index.json", "h5")):
        assert find_weights(tmp_path / name).format == kind
    assert find_weights(tmp_path / "x.h5", from_tf=True).format == "h5"
    for name, argument, text in (
        ("x.h5", "from_flax", "TensorFlow"),
        ("x.msgpack", "from_tf", "Flax"),
        ("x.bin", "from_tf", "PyTorch"),
    ):
        with pytest.raises(OptionError, match=rf"{argument}=True was given, but .*{name} holds weights of {text}\."):
            find_weights(tmp_path / name, **{argument: True})  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="from_tf=True and from_flax=True are both given"):
        find_weights(tmp_path, from_tf=True, from_flax=True)


def test_foreign_weights_that_are_not_there(tmp_path: Path) -> None:
    make(tmp_path, "other.h5")
    with pytest.raises(
        CheckpointNotFoundError,
        match=r"expected model\.ckpt\.index or tf_model\.h5 or variables/variables\.index or model\.safetensors or "
        r"pytorch_model\.bin .*There are weights of TensorFlow \(other\.h5\): pass the path of the file itself",
    ):
        find_weights(tmp_path, from_tf=True)


def test_index_that_names_an_absent_shard(tmp_path: Path) -> None:
    make(tmp_path, "model.safetensors.index.json")
    (tmp_path / "s-2.safetensors").unlink()
    with pytest.raises(
        CheckpointNotFoundError, match=r"names 2 shards, but 1 of them are not there: s-2\.safetensors\."
    ):
        find_weights(tmp_path)


@pytest.mark.parametrize("shard", ["../evil.bin", "/etc/passwd", "a/../../b", "..\\evil", "C:evil", "a\0b", ""])
def test_index_that_points_outside(tmp_path: Path, shard: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "evil.bin").write_bytes(b"x")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointCorruptError, match="lies outside its folder"):
        find_weights(folder)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "not valid JSON"),
        ("[]", "no weight_map"),
        ("{}", "no weight_map"),
        ('{"weight_map": {}}', "no weight_map"),
        ('{"weight_map": {"a": 1}}', "values that are not file names"),
        ("", "it is empty"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    ],
)
def test_index_that_is_none(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointCorruptError, match=found):
        find_weights(tmp_path)


def test_finding_files_loads_no_torch() -> None:
    code = "import sys; from vision2seq.checkpoints import find_weights; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
