"""What transformers 4.57.6 saves we load, and what we save it loads: all tensors and config keys, in each format."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="parity runs where transformers 4.57.6 is installed")

from families import NAMES, assert_same, essential, ids, load, pixels, reference_model  # noqa: E402

from vision2seq.configuration.base import read_json, write_json  # noqa: E402
from vision2seq.configuration.composite import VisionEncoderDecoderConfig  # noqa: E402
from vision2seq.errors import CheckpointNotFoundError, UnsafePickleError  # noqa: E402
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel  # noqa: E402

torch.set_num_threads(1)

# Which variants stand for which ways of storing: tied, untied with buffers, transposed weights and a projection.
STORED = ["trocr-small", "trocr-stage1", "gpt2-projected"]


@cache
def reference(name: str) -> Any:
    return reference_model(name)


def same_tensors(ours: Any, theirs: Any, dtype: torch.dtype = torch.float32) -> None:
    mine, other = ours.state_dict(), theirs.state_dict()
    assert essential(mine) == essential(other)
    for name in mine.keys() & other.keys():
        wanted = dtype if other[name].is_floating_point() else other[name].dtype
        assert mine[name].dtype == wanted, name
        assert torch.equal(mine[name], other[name].to(wanted)), name


def by_default(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)


def sharded(model: Any, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()


def variant(model: Any, folder: Path) -> None:
    model.save_pretrained(folder, variant="fp16")
    assert not (folder / "model.safetensors").exists()


def sharded_variant(model: Any, folder: Path) -> None:
    model.save_pretrained(folder, variant="fp16", max_shard_size="20KB")
    assert any(path.name.endswith("index.fp16.json") for path in folder.iterdir())


def zipped(model: Any, folder: Path) -> None:
    model.save_pretrained(folder, safe_serialization=False)
    assert (folder / "pytorch_model.bin").is_file()


def sharded_pickle(model: Any, folder: Path) -> None:
    model.save_pretrained(folder, safe_serialization=False, max_shard_size="20KB")
    assert (folder / "pytorch_model.bin.index.json").is_file()


def pickled_variant(model: Any, folder: Path) -> None:
    model.save_pretrained(folder, safe_serialization=False, variant="fp16")
    assert (folder / "pytorch_model.fp16.bin").is_file()


def legacy(model: Any, folder: Path) -> None:
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


FORMATS: dict[str, tuple[Callable[[Any, Path], None], dict[str, Any]]] = {
    "safetensors": (by_default, {}),
    "safetensors-asked-for": (by_default, {"use_safetensors": True}),
    "safetensors-sharded": (sharded, {}),
    "safetensors-variant": (variant, {"variant": "fp16"}),
    "safetensors-sharded-variant": (sharded_variant, {"variant": "fp16"}),
    "zip": (zipped, {}),
    "zip-asked-for": (zipped, {"use_safetensors": False}),
    "zip-sharded": (sharded_pickle, {}),
    "zip-variant": (pickled_variant, {"variant": "fp16"}),
    "legacy": (legacy, {}),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", STORED)
def test_theirs_to_ours(name: str, form: str, tmp_path: Path) -> None:
    write, options = FORMATS[form]
    theirs = reference(name)
    write(theirs, tmp_path)
    ours, info = VisionEncoderDecoderModel.from_pretrained(tmp_path, **options, output_loading_info=True)
    assert {key: value for key, value in info.items() if value and key not in ("tied_keys", "harmless_keys")} == {}
    same_tensors(ours, theirs)
    assert_same(ours(pixels(theirs), ids()).logits, theirs(pixels(theirs), ids()).logits)
    assert load(tmp_path, **options).training is False


@pytest.mark.parametrize(
    ("form", "loader"),
    [(form, "VisionEncoderDecoderModel") for form in FORMATS if form != "legacy"]
    + [("safetensors", "AutoModelForVision2Seq")],
)
@pytest.mark.parametrize("name", STORED)
def test_ours_to_theirs(name: str, form: str, loader: str, tmp_path: Path) -> None:
    write, options = FORMATS[form]
    theirs = reference(name)
    by_default(theirs, tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    write(ours, tmp_path / "ours")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # AutoModelForVision2Seq says that it is deprecated
        again, info = getattr(transformers, loader).from_pretrained(
            tmp_path / "ours", **options, output_loading_info=True
        )
    assert type(again).__name__ == "VisionEncoderDecoderModel"
    assert again.dtype == torch.float32
    # A buffer with a number that nobody reads: transformers itself writes it, and misses it in the official files too.
    missing = [key for key in info["missing_keys"] if not key.endswith("_float_tensor")]
    assert missing == info["unexpected_keys"] == info["mismatched_keys"] == info["error_msgs"] == []
    same_tensors(ours, again)
    if name != "trocr-stage1":  # 4.57.6 leaves the table of sinusoids on meta after loading
        assert_same(again.eval()(pixels(theirs), ids()).logits, ours(pixels(theirs), ids()).logits)
    # And back once more.
    same_tensors(load(tmp_path / "ours", **options), theirs)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_of_every_variant(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    same_tensors(load(tmp_path / "ours"), theirs)
    again, info = transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    same_tensors(ours, again)
    before, after = config_keys(tmp_path / "theirs"), config_keys(tmp_path / "ours")
    assert {key: after.get(key, "absent") for key in before} == before
    # transformers understands what we wrote as it understands its own: nothing gained, nothing lost.
    assert as_they_read_it(tmp_path / "ours") == as_they_read_it(tmp_path / "theirs")


def config_keys(folder: Path) -> dict[str, Any]:
    """A config.json with dotted names, and the two spellings of the dtype as one."""
    found: dict[str, Any] = {}

    def walk(values: dict[str, Any], prefix: str) -> None:
        for key, value in values.items():
            if key == "torch_dtype":
                key = "dtype"
            if isinstance(value, dict) and value:
                walk(value, f"{prefix}{key}.")
            else:
                found[prefix + key] = value

    walk(read_json(folder / "config.json"), "")
    return found


def as_they_read_it(folder: Path) -> dict[str, Any]:
    """Everything that transformers makes of a config.json, less where it was loaded from."""
    values = transformers.VisionEncoderDecoderConfig.from_pretrained(folder).to_dict()
    for part in (values, values["encoder"], values["decoder"]):
        part.pop("_name_or_path", None)
    found: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return found


# ------------------------------------------------------------------------------------------------------------- configs


def test_config_round_trip_keeps_every_key(tmp_path: Path) -> None:
    reference("gpt2").config.save_pretrained(tmp_path)
    values = read_json(tmp_path / "config.json")
    extra = {
        "id2label": {"0": "a", "1": "b"},
        "label2id": {"a": 0, "b": 1},
        "task_specific_params": {"text-generation": {"max_length": 50}},
        "_attn_implementation_autoset": True,
        "_my_own": [1, None, {"deep": ["é", 1.5e-7]}],
        "somebody_elses": {"a": {"b": [1, 2]}},
        "max_length": 33,
        "num_beams": 4,
        "processor_class": "TrOCRProcessor",
        "architectures": ["VisionEncoderDecoderModel"],
        "transformers_version": "4.12.0.dev0",
        "nothing": None,
        "torch_dtype": "float32",
    }
    for part in (values, values["encoder"], values["decoder"]):
        part.pop("dtype", None)
        part.update(extra)
    values["_name_or_path"] = values["encoder"]["_name_or_path"] = "somewhere/else"
    write_json(tmp_path / "config.json", values)
    config = VisionEncoderDecoderConfig.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path / "ours")
    written = read_json(tmp_path / "ours" / "config.json")
    for part in (values, values["encoder"]):
        del part["_name_or_path"]
    # What our config adds are defaults of keys that the file did not have.
    for mine, given in (
        (written, values),
        (written["encoder"], values["encoder"]),
        (written["decoder"], values["decoder"]),
    ):
        assert {key: mine.get(key, "absent") for key in given if key not in ("encoder", "decoder")} == {
            key: value for key, value in given.items() if key not in ("encoder", "decoder")
        }
        assert not [key for key in mine if "name_or_path" in key]
    assert as_they_read_it(tmp_path / "ours") == as_they_read_it(tmp_path)
    # And from their hand into ours.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it minds the options of generation in there
        transformers.VisionEncoderDecoderConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "theirs")
    back = VisionEncoderDecoderConfig.from_pretrained(tmp_path / "theirs").to_dict()
    for key, value in read_json(tmp_path / "theirs" / "config.json").items():
        if key in ("encoder", "decoder"):
            for inner, inner_value in value.items():
                if inner != "_name_or_path":
                    assert back[key]["torch_dtype" if inner == "dtype" else inner] == inner_value, (key, inner)
        elif key != "_name_or_path":
            assert back["torch_dtype" if key == "dtype" else key] == value, key


@pytest.mark.parametrize(
    "kind",
    [
        "ViTConfig",
        "DeiTConfig",
        "BeitConfig",
        "CLIPVisionConfig",
        "SiglipVisionConfig",
        "ViTMSNConfig",
        "Dinov2Config",
        "Dinov2WithRegistersConfig",
        "DonutSwinConfig",
        "SwinConfig",
        "TrOCRConfig",
        "GPT2Config",
    ],
)
def test_defaults_are_those_of_the_reference(kind: str) -> None:
    from vision2seq import registry

    theirs = getattr(transformers, kind)()
    ours = registry.config_class(theirs.model_type)()
    expected = theirs.to_dict()
    for key, value in ours.to_dict().items():
        if (kind, key) in (("ViTConfig", "pooler_output_size"), ("DeiTConfig", "pooler_output_size")):
            continue  # None means the hidden size, which the reference writes out
        assert expected.get(key, "absent") == value, key
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "tie_word_embeddings", "is_decoder"):
        assert getattr(ours, key) == getattr(theirs, key), key


# ------------------------------------------------------------------------------------------------------- dtype, device


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("value", ["auto", "float16", "torch.float16", torch.float16, torch.bfloat16, None])
def test_dtype(value: Any, key: str, tmp_path: Path) -> None:
    theirs = reference_model("trocr-small").half()
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path, **{key: value})
    wanted = {None: torch.float32, torch.bfloat16: torch.bfloat16}.get(value, torch.float16)
    assert ours.dtype == wanted
    assert all(tensor.dtype == wanted for tensor in [*ours.parameters(), *ours.buffers()])
    same_tensors(ours, theirs, wanted)
    assert str(wanted).endswith(ours.config.torch_dtype)
    output = ours(pixels(theirs), ids())
    assert output.logits.dtype == wanted
    exact = theirs.float()(pixels(theirs), ids()).logits
    assert (output.logits.float() - exact).abs().max() < 0.15 * exact.abs().max()


def test_auto_without_a_word_in_the_config_is_what_the_file_holds(tmp_path: Path) -> None:
    reference_model("gpt2").to(torch.bfloat16).save_pretrained(tmp_path)
    values = read_json(tmp_path / "config.json")
    for part in (values, values["encoder"], values["decoder"]):
        part.pop("dtype", None)
    write_json(tmp_path / "config.json", values)
    assert load(tmp_path, dtype="auto").dtype == torch.bfloat16
    assert load(tmp_path).dtype == torch.float32


@pytest.mark.parametrize(
    "options",
    [
        {"device": "cpu"},
        {"device": torch.device("cpu")},
        {"device_map": "cpu"},
        {"device_map": torch.device("cpu")},
        {"device_map": {"": "cpu"}},
        {"device_map": {"encoder": "cpu", "decoder": torch.device("cpu")}},
        {"device_map": "auto"},
    ],
    ids=str,
)
def test_one_device(options: dict[str, Any], tmp_path: Path) -> None:
    theirs = reference("trocr-small")
    theirs.save_pretrained(tmp_path)
    ours = load(tmp_path, **options)
    expected = "cuda" if options == {"device_map": "auto"} and torch.cuda.is_available() else "cpu"
    assert ours.device.type == expected
    same_tensors(ours.cpu(), theirs)


def test_both_formats_in_one_folder(tmp_path: Path) -> None:
    first, second = reference_model("gpt2", seed=1), reference_model("gpt2", seed=2)
    zipped(first, tmp_path)
    by_default(second, tmp_path / "b")
    shutil.copy(tmp_path / "b" / "model.safetensors", tmp_path)
    same_tensors(load(tmp_path), second)
    same_tensors(load(tmp_path, use_safetensors=True), second)
    same_tensors(load(tmp_path, use_safetensors=False), first)
    os.remove(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointNotFoundError, match="leave use_safetensors=True out"):
        load(tmp_path, use_safetensors=True)


# ----------------------------------------------------------------------------------------------------------- old files


@pytest.mark.parametrize("name", ["gpt2", "trocr-stage1", "vit"])
def test_buffers_of_old_files_are_harmless(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    theirs.config.save_pretrained(tmp_path)
    state = dict(theirs.state_dict())
    state["encoder.embeddings.position_ids"] = torch.arange(10)[None]
    for layer in range(3 if name == "gpt2" else 0):
        for kind in ("attn", "crossattention"):
            state[f"decoder.transformer.h.{layer}.{kind}.bias"] = torch.ones(1, 1, 20, 20).tril().byte()
            state[f"decoder.transformer.h.{layer}.{kind}.masked_bias"] = torch.tensor(-1e4)
    if name != "gpt2":
        state["decoder.model.decoder.embed_positions._float_tensor"] = torch.zeros(1)
    torch.save(state, tmp_path / "pytorch_model.bin")
    ours = load(tmp_path)  # a warning would be an error
    same_tensors(ours, theirs)
    assert_same(ours(pixels(theirs), ids()).logits, theirs(pixels(theirs), ids()).logits)


@pytest.mark.parametrize("name", ["trocr-stage1", "trocr-sinusoidal-tied", "trocr-odd"])
def test_sinusoids_are_there_right_after_loading(name: str, tmp_path: Path) -> None:
    theirs = reference(name)
    by_default(theirs, tmp_path)
    for dtype in (torch.float32, torch.float16):
        table = load(tmp_path, dtype=dtype).decoder.model.decoder.embed_positions.table
        assert table.device.type == "cpu"
        assert table.dtype == dtype
        assert_same(table, theirs.decoder.model.decoder.embed_positions.weights.to(dtype))
    fresh = VisionEncoderDecoderModel._from_config(VisionEncoderDecoderConfig.from_pretrained(tmp_path))
    expected = theirs.decoder.model.decoder.embed_positions.weights
    assert_same(fresh.decoder.model.decoder.embed_positions.table, expected)


@pytest.mark.parametrize("name", ["vit", "gpt2", "trocr-untied", "gpt2-unscaled"])
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy", "safetensors-sharded"])
def test_ties(name: str, form: str, tmp_path: Path) -> None:
    write, options = FORMATS[form]
    write(reference(name), tmp_path)
    ours = load(tmp_path, **options)
    tied = name in ("vit", "gpt2")
    embeddings, head = ours.get_input_embeddings(), ours.get_output_embeddings()
    assert (head.weight is embeddings.weight) == tied
    assert (head.weight.data_ptr() == embeddings.weight.data_ptr()) == tied
    with torch.no_grad():
        head.weight += 1
    assert torch.equal(head.weight, embeddings.weight) == tied
    ours.save_pretrained(tmp_path / "again")
    again = load(tmp_path / "again")
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) == tied
    assert torch.equal(again.get_output_embeddings().weight, head.weight)


@pytest.mark.parametrize("gone", ["head", "embeddings"])
def test_a_tied_matrix_may_be_stored_under_either_name(gone: str, tmp_path: Path) -> None:
    theirs = reference("vit")
    theirs.config.save_pretrained(tmp_path)
    state = dict(theirs.state_dict())
    ending = "output_projection.weight" if gone == "head" else "embed_tokens.weight"
    (absent,) = [key for key in state if key.endswith(ending)]
    del state[absent]
    torch.save(state, tmp_path / "pytorch_model.bin")
    same_tensors(load(tmp_path), theirs)


# ----------------------------------------------------------------------------------------------------------- bad files


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zip_file", [True, False])
def test_a_malicious_pickle_runs_nothing(zip_file: bool, tmp_path: Path) -> None:
    theirs, marker = reference("gpt2"), tmp_path / "was_here"
    theirs.config.save_pretrained(tmp_path)
    state = dict(theirs.state_dict()) | {"decoder.extra": Evil(marker)}
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zip_file)
    with pytest.raises(UnsafePickleError, match=r"asks for (posix|nt|os)\.system.*nothing of it was run"):
        load(tmp_path)
    assert not marker.exists()
