"""`vision2seq inspect`: what a checkpoint is, and what is wrong with each of many broken ones."""

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
import safetensors.torch
import tiny
import torch

from vision2seq import AutoModelForVision2Seq, registry
from vision2seq.cli.main import main
from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.readable(tmp_path_factory.mktemp("inspect") / "model")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def inspect(capsys: Captured, *arguments: Any) -> tuple[int, str, str]:
    status = main(["inspect", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def findings(capsys: Captured, folder: Path) -> dict[str, Any]:
    """The JSON of an inspection, whose status has to fit."""
    status, out, err = inspect(capsys, folder, "--json")
    found: dict[str, Any] = json.loads(out)
    assert status == (1 if found["problems"] else 0)
    assert err == ""
    return found


def change(file: Path, **values: Any) -> None:
    """Set keys of a JSON file; ``...`` takes one away."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    content |= values
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}), encoding="utf-8")


# --------------------------------------------------------------------------------------------------------- good ones


def test_a_good_checkpoint(capsys: Captured, whole: Path) -> None:
    status, out, err = inspect(capsys, whole)
    assert (status, err) == (0, "")
    lines = dict(line.split(":", 1) for line in out.splitlines() if ":" in line)
    said = {name: text.strip() for name, text in lines.items()}
    size = f"{(whole / 'model.safetensors').stat().st_size / 1e6:.1f}"
    parameters = f"{tiny.model().num_parameters() / 1e6:.2f}"
    assert said == {
        "checkpoint": str(whole),
        "model type": "vision-encoder-decoder",
        "encoder": "vit, 2 layers of width 16, 2 heads, image 16x16, patch 8x8",
        "decoder": "trocr, 2 layers of width 12, 2 heads, 37 tokens, 16 positions",
        "weights": f"safetensors, model.safetensors, {size} MB of float32, {parameters} M parameters",
        "image processor": "ViTImageProcessor, size 16x16, resample 2, image_mean [0.5, 0.5, 0.5], "
        "image_std [0.5, 0.5, 0.5]",
        "tokenizer": "PreTrainedTokenizerFast, 37 tokens",
        "generation": "from generation_config.json, pad_token_id 1, bos_token_id 0, eos_token_id 2, "
        "decoder_start_token_id 2",
    }
    assert out.splitlines()[-1] == "nothing is wrong with it"


def test_as_json(capsys: Captured, whole: Path) -> None:
    found = findings(capsys, whole)
    assert found["problems"] == found["notes"] == []
    assert found["encoder"] == {
        "family": "vit",
        "layers": 2,
        "width": 16,
        "heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    assert found["decoder"]["vocabulary"] == 37
    assert found["weights"]["files"] == ["model.safetensors"]
    assert found["weights"]["parameters"] == tiny.model().num_parameters()
    assert found["generation"]["decoder_start_token_id"] == tiny.EOS


@pytest.mark.parametrize("decoder", ["gpt2", "trocr-sinusoidal"])
def test_other_families(capsys: Captured, decoder: str, tmp_path: Path) -> None:
    tiny.readable(tmp_path, decoder, encoder={"model_type": "deit", "image_size": [16, 32], "patch_size": [8, 16]})
    change(tmp_path / "preprocessor_config.json", size={"height": 16, "width": 32})
    status, out, _ = inspect(capsys, tmp_path)
    assert (status, out.splitlines()[-1]) == (0, "nothing is wrong with it")
    assert "deit, 2 layers of width 16, 2 heads, image 16x32, patch 8x16" in out


@pytest.mark.parametrize("decoder", sorted(tiny.DECODERS))
def test_every_decoder_is_named(capsys: Captured, decoder: str, tmp_path: Path) -> None:
    tiny.readable(tmp_path, decoder)
    status, out, _ = inspect(capsys, tmp_path, "--json")
    found = json.loads(out)
    assert (status, found["problems"]) == (0, [])
    assert found["decoder"]["family"] == tiny.DECODERS[decoder]["model_type"]
    assert (found["decoder"]["layers"], found["decoder"]["heads"], found["decoder"]["width"]) == (2, 2, 12)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_packed_weights(capsys: Captured, folder: Path, precision: str) -> None:
    AutoModelForVision2Seq.from_pretrained(folder, precision=precision).save_pretrained(folder)
    found = findings(capsys, folder)
    assert found["problems"] == []
    assert found["weights"]["dtype"] == precision
    assert found["weights"]["parameters"] == tiny.model().num_parameters()
    change(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    (problem,) = findings(capsys, folder)["problems"]
    assert "are quantised (its config has a quantization_config)" in problem


@pytest.mark.parametrize("encoder", sorted(registry.ENCODERS))
def test_every_encoder_is_named(capsys: Captured, encoder: str, tmp_path: Path) -> None:
    flat = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    staged = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2}
    family = registry.config_class(encoder, "encoder")
    half = family(image_size=16, patch_size=4, **(staged if "depths" in family.family_keys() else flat))
    model = tiny.model()
    whole = VisionEncoderDecoderConfig.from_encoder_decoder_configs(half, model.config.decoder)
    VisionEncoderDecoderModel._from_config(whole).save_pretrained(tmp_path)
    tiny.write_tokenizer(tmp_path)
    _, out, _ = inspect(capsys, tmp_path, "--json")
    found = json.loads(out)
    assert found["encoder"]["family"] == encoder
    assert not [problem for problem in found["problems"] if "encoder" in problem]


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ({"safe_serialization": False}, ["pytorch_model.bin"]),
        ({"max_shard_size": "20KB"}, None),
    ],
)
def test_other_files(capsys: Captured, tmp_path: Path, options: dict[str, Any], files: list[str] | None) -> None:
    tiny.readable(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    tiny.model().save_pretrained(tmp_path, **options)
    found = findings(capsys, tmp_path)
    assert found["problems"] == []
    assert found["weights"]["parameters"] == tiny.model().num_parameters()
    if files is None:
        assert len(found["weights"]["files"]) > 1
    else:
        assert found["weights"]["files"] == files


@pytest.mark.parametrize(
    ("framework", "form", "kind", "name", "argument"),
    [
        ("tensorflow", "h5", "h5", "TensorFlow", "from_tf"),
        ("tensorflow", "objects", "bundle", "TensorFlow", "from_tf"),
        ("flax", "msgpack", "msgpack", "Flax", "from_flax"),
    ],
)
def test_weights_of_other_frameworks(
    capsys: Captured,
    golden: Callable[[str, str], Path],
    tmp_path: Path,
    framework: str,
    form: str,
    kind: str,
    name: str,
    argument: str,
) -> None:
    tiny.readable(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "generation_config.json").unlink()
    tiny.write_tokenizer(tmp_path, count=31)
    shutil.copytree(golden(framework, "vit-gpt2") / form, tmp_path, dirs_exist_ok=True)
    shutil.copy(golden(framework, "vit-gpt2") / "config.json", tmp_path)
    found = findings(capsys, tmp_path)
    weights = found["weights"]
    assert (weights["format"], weights["framework"], weights["dtype"]) == (kind, name, "float32")
    assert not any("weights" in problem.lower() for problem in found["problems"])
    advice = (
        f"The weights are those of {name}: pass {argument}=True to from_pretrained, or make safetensors of them with "
        f"`vision2seq convert {tmp_path} DEST`."
    )
    assert advice in found["notes"]
    _, out, _ = inspect(capsys, tmp_path)
    assert f"{'weights:':<18}{kind} of {name}, {weights['files'][0]}" in out
    assert f"{'note:':<18}{advice}" in out


def test_weights_of_a_framework_whose_reader_is_not_installed(
    capsys: Captured, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    found = findings(capsys, folder)
    assert any("those of TensorFlow" in note for note in found["notes"])
    assert any("h5py" in problem for problem in found["problems"])
    assert "h5 of TensorFlow, tf_model.h5, " in inspect(capsys, folder)[1]


def test_halves_that_are_stored_in_half_precision(capsys: Captured, tmp_path: Path) -> None:
    tiny.readable(tmp_path)
    tiny.model().half().save_pretrained(tmp_path)
    assert findings(capsys, tmp_path)["weights"]["dtype"] == "float16"


def test_weights_are_not_read_into_memory(capsys: Captured, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("tensors were loaded")

    for way in ("clone", "copy_", "read"):
        monkeypatch.setattr(torch.Tensor, way, refuse, raising=False)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert findings(capsys, whole)["problems"] == []


# --------------------------------------------------------------------------------------------------------- broken ones


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"garbage" * 100)


def absent_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"encoder.layernorm.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def wrong_shapes(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values["decoder"]["decoder_ffn_dim"] = 24
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")


def tensors_missing(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    safetensors.torch.save_file({k: v for k, v in tensors.items() if "decoder.layers.1" not in k}, file)


def tensors_over(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    safetensors.torch.save_file({**tensors, "decoder.strange.weight": torch.ones(2)}, file)


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def garbled_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ', encoding="utf-8")


def no_model_type(folder: Path) -> None:
    change(folder / "config.json", model_type=...)


def unknown_decoder(folder: Path) -> None:
    change(folder / "config.json", decoder={"model_type": "gpt3"})


def no_decoder(folder: Path) -> None:
    change(folder / "config.json", decoder=...)


def encoder_alone(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(tiny.VIT), encoding="utf-8")


def width_contradiction(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values["decoder"]["cross_attention_hidden_size"] = 20
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")


def impossible_heads(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values["encoder"]["num_attention_heads"] = 3
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")


def text_for_a_number(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values["encoder"]["hidden_size"] = "sixteen"
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")


def large_tokenizer(folder: Path) -> None:
    tiny.write_tokenizer(folder, count=50)


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def garbled_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 1}', encoding="utf-8")


def other_size(folder: Path) -> None:
    change(folder / "preprocessor_config.json", size={"height": 16, "width": 24})


def other_crop(folder: Path) -> None:
    change(
        folder / "preprocessor_config.json",
        image_processor_type="DeiTImageProcessor",
        do_center_crop=True,
        crop_size={"height": 8, "width": 8},
    )


def unknown_image_processor(folder: Path) -> None:
    change(folder / "preprocessor_config.json", image_processor_type="VitImageProcessor")


def nothing_to_start_with(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del values["decoder_start_token_id"]
    values["decoder"]["bos_token_id"] = values["decoder"]["decoder_start_token_id"] = None
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")


def impossible_generation(folder: Path) -> None:
    change(folder / "generation_config.json", num_beams=0)


def id_beyond_the_vocabulary(folder: Path) -> None:
    change(folder / "generation_config.json", decoder_start_token_id=50)


def malicious(folder: Path) -> None:
    import pickle

    class Bad:
        def __reduce__(self) -> Any:
            return os.system, ("touch " + str(folder / "ran"),)

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Bad()}))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (no_weights, "No weights in"),
        (truncated, "model.safetensors"),
        (garbage, "model.safetensors"),
        (absent_shard, "model-00001-of-00002.safetensors"),
        (wrong_shapes, "decoder.model.decoder.layers.0.fc1.weight"),
        (tensors_missing, "decoder.model.decoder.layers.1"),
        (no_config, "holds no config.json"),
        (garbled_config, "is not valid JSON"),
        (no_model_type, "no `model_type`"),
        (unknown_decoder, "Unknown decoder of type 'gpt3'. Did you mean 'gpt2'?"),
        (no_decoder, "missing: decoder"),
        (encoder_alone, "'vit', not of a vision-encoder-decoder: there is no encoder"),
        (width_contradiction, "cross_attention_hidden_size is 20, the encoder's hidden_size is 16"),
        (impossible_heads, "3"),
        (text_for_a_number, "sixteen"),
        (large_tokenizer, "The tokenizer has 50 tokens, the decoder 37"),
        (no_tokenizer, "holds no tokenizer"),
        (garbled_tokenizer, "tokenizer.json"),
        (other_size, "makes 16x24 pixels (height x width), the encoder expects 16x16"),
        (other_crop, "makes 8x8 pixels (height x width), the encoder expects 16x16"),
        (unknown_image_processor, "Did you mean 'ViTImageProcessor'?"),
        (nothing_to_start_with, "Neither decoder_start_token_id nor bos_token_id is set"),
        (impossible_generation, "num_beams is 0"),
        (id_beyond_the_vocabulary, "decoder_start_token_id is 50, but the decoder's tokens are 0 to 36"),
        (malicious, "pytorch_model.bin"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_broken_checkpoints(capsys: Captured, folder: Path, break_it: Callable[[Path], None], message: str) -> None:
    break_it(folder)
    found = findings(capsys, folder)
    assert any(message in problem for problem in found["problems"]), found["problems"]
    assert len(found["problems"]) == len(set(found["problems"]))
    status, out, _ = inspect(capsys, folder)
    assert status == 1
    for problem in found["problems"]:
        assert f"{'PROBLEM:':<18}{problem}" in out
    assert "nothing is wrong" not in out
    assert not (folder / "ran").exists()


def test_one_fault_does_not_hide_the_others(capsys: Captured, folder: Path) -> None:
    for break_it in (no_weights, other_size, large_tokenizer, impossible_generation):
        break_it(folder)
    found = findings(capsys, folder)
    assert len(found["problems"]) == 4
    assert found["encoder"]["family"] == "vit"


def test_a_config_fault_is_said_once(capsys: Captured, folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    (folder / "preprocessor_config.json").unlink()
    unknown_decoder(folder)
    assert len(findings(capsys, folder)["problems"]) == 1


def test_notes_are_no_problems(capsys: Captured, folder: Path) -> None:
    tensors_over(folder)
    (folder / "preprocessor_config.json").unlink()
    change(folder / "config.json", pad_token_id=...)
    change(folder / "generation_config.json", eos_token_id=...)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("eos_token_id", None)
    config["decoder"].pop("eos_token_id", None)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    status, out, _ = inspect(capsys, folder)
    assert status == 0
    notes = "\n".join(line for line in out.splitlines() if line.startswith("note:"))
    for part in (
        "decoder.strange.weight",
        "holds no preprocessor_config.json; a ViTImageProcessor for 16x16 pixels",
        "no top-level pad_token_id; training needs it",
        "No eos_token_id is set: texts end only at the length limit",
    ):
        assert part in notes


def test_what_is_not_there(capsys: Captured, tmp_path: Path) -> None:
    status, out, err = inspect(capsys, tmp_path / "absent")
    assert (status, out) == (1, "")
    assert err.startswith("vision2seq: ")
    assert "is not a local folder" in err
    (tmp_path / "file.bin").write_bytes(b"x")
    status, out, err = inspect(capsys, tmp_path / "file.bin")
    assert (status, out) == (1, "")
    assert "is a file, expected a checkpoint folder" in err


def test_an_empty_folder(capsys: Captured, tmp_path: Path) -> None:
    found = findings(capsys, tmp_path)
    assert any("holds no config.json" in problem for problem in found["problems"])
    assert any("holds no tokenizer" in problem for problem in found["problems"])


def test_as_a_process(whole: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "vision2seq", "inspect", str(whole)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("nothing is wrong with it\n")


def test_of_a_bart_the_decoder_counts(capsys: Captured, tmp_path: Path) -> None:
    encoder = {"encoder_layers": 5, "encoder_attention_heads": 3}
    tiny.readable(tmp_path, "mbart", more=encoder | {"decoder_layers": 3, "decoder_attention_heads": 4})
    decoder = findings(capsys, tmp_path)["decoder"]
    assert (decoder["family"], decoder["layers"], decoder["heads"]) == ("mbart", 3, 4)


# ----------------------------------------------------------------------------------------- the models' authors' formats


def test_original_formats_are_named(tmp_path: Path, capsys: Captured) -> None:
    donut = originals.write_donut(tmp_path / "donut", originals.swin_mbart(), originals.DONUT)
    nougat = originals.write_donut(
        tmp_path / "nougat",
        originals.swin_mbart(tie_word_embeddings=False, max_position_embeddings=30),
        originals.NOUGAT,
    )
    trocr = originals.write_trocr(tmp_path / "trocr.pt", originals.vit_trocr(**originals.ROBERTA), originals.settings())
    expected = (
        (donut, "the original Donut (clovaai)", "donut-swin", "mbart", "DonutImageProcessor"),
        (nougat, "the original Nougat (facebookresearch)", "donut-swin", "mbart", "NougatImageProcessor"),
        (trocr, "the original TrOCR (unilm, fairseq)", "vit", "trocr", "ViTImageProcessor"),
    )
    for place, name, encoder, decoder, images in expected:
        if place.is_dir():
            tiny.write_tokenizer(place, count=originals.VOCABULARY)
        found = findings(capsys, place)
        assert found["problems"] == [], place
        assert found["weights"]["framework"] == name
        assert (found["encoder"]["family"], found["decoder"]["family"]) == (encoder, decoder)
        assert found["image_processor"]["class"] == images
        assert any(
            f"It is a checkpoint of {name}: from_pretrained reads it as it is" in note for note in found["notes"]
        )
        _, out, _ = inspect(capsys, place)
        assert f"pickle of {name}, " in out and "nothing is wrong with it" in out


def test_an_original_that_is_not_complete(tmp_path: Path, capsys: Captured) -> None:
    path = originals.write_trocr(tmp_path / "x.pt", originals.vit_trocr(**originals.ROBERTA), originals.settings())
    originals.rewrite(path, lambda content: content["model"].pop("decoder.layers.1.fc2.bias"))
    (problem,) = findings(capsys, path)["problems"]
    assert problem.startswith(
        "The checkpoint is not complete as a checkpoint of the original TrOCR (unilm, fairseq): 1 te"
    )
    path.write_bytes(path.read_bytes()[:1000])
    status, _, err = inspect(capsys, path)
    assert status == 1 and "x.pt cannot be read as PyTorch weights" in err
