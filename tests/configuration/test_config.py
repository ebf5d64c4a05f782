"""Configs keep every key, take copies, and say what is wrong with a file."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from vision2seq import registry
from vision2seq.configuration.base import Config, merge, read_json, write_json
from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, ConfigError
from vision2seq.models.decoders.gpt2_config import GPT2Config
from vision2seq.models.decoders.trocr_config import TrOCRConfig
from vision2seq.models.encoders.vit_config import DeiTConfig, ViTConfig

UNKNOWN = {
    "id2label": {"0": "a", "1": "b"},
    "_private": 1,
    "_attn_implementation_autoset": True,
    "somebody_elses": {"deep": [1, {"x": None}]},
    "nothing": None,
    "transformers_version": "4.12.0",
}


# ---------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("kind", [ViTConfig, DeiTConfig, TrOCRConfig, GPT2Config])
def test_every_key_is_kept(kind: type[Config], tmp_path: Path) -> None:
    values = {**UNKNOWN, "model_type": kind.model_type, "num_hidden_layers": 3, "torch_dtype": "float16"}
    given = copy.deepcopy(values)
    config = kind.from_dict(values)
    assert values == given
    config.save_pretrained(tmp_path)
    written = read_json(tmp_path / "config.json")
    own_name = kind.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    assert {**given, own_name: 3}.items() >= {key: value for key, value in written.items() if key in given}.items()
    assert [key for key in given if key not in written and key != "num_hidden_layers"] == []
    assert written[own_name] == 3
    again = kind.from_pretrained(tmp_path)
    assert again == config
    assert again.to_json_string() == (tmp_path / "config.json").read_text()


def test_both_halves_and_the_top_keep_every_key(tmp_path: Path) -> None:
    config = tiny.config(encoder=UNKNOWN, more=UNKNOWN, **UNKNOWN)
    config.save_pretrained(tmp_path)
    written = read_json(tmp_path / "config.json")
    for part in (written, written["encoder"], written["decoder"]):
        assert part.items() >= UNKNOWN.items()
    assert (written["model_type"], written["encoder"]["model_type"]) == ("vision-encoder-decoder", "vit")
    assert VisionEncoderDecoderConfig.from_pretrained(tmp_path) == config
    assert written["is_encoder_decoder"] is True


@pytest.mark.parametrize("key", ["name_or_path", "_name_or_path", "_commit_hash"])
def test_where_a_copy_came_from_is_not_written(key: str) -> None:
    config = tiny.config(encoder={key: "here"}, **{key: "there"})
    assert getattr(config, key) == "there"
    assert key not in config.to_dict()
    assert key not in config.to_dict()["encoder"]


def test_names_of_other_families_lead_to_the_same_key() -> None:
    config = GPT2Config(hidden_size=8, n_layer=2)
    assert (config.n_embd, config.hidden_size, config.num_hidden_layers) == (8, 8, 2)
    config.num_attention_heads = 4
    assert config.n_head == 4
    assert config.max_position_embeddings == config.n_positions == 1024
    assert "hidden_size" not in config.to_dict()
    assert "hidden_size" in config
    assert TrOCRConfig(d_model=3).hidden_size == 3
    assert GPT2Config.from_dict({"hidden_size": 6, "n_embd": 4}).n_embd == 6
    with pytest.raises(AttributeError, match="GPT2Config has no 'widht'"):
        config.widht  # noqa: B018


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": "float16"}, "float16"),
        ({"dtype": torch.bfloat16}, torch.bfloat16),
        ({"dtype": None, "torch_dtype": "float16"}, "float16"),
        ({"dtype": "bfloat16", "torch_dtype": "float16"}, "bfloat16"),
        ({"torch_dtype": None}, None),
    ],
)
def test_two_spellings_of_dtype(values: dict[str, Any], expected: Any) -> None:
    config = ViTConfig(**values)
    assert config.dtype == config.torch_dtype == expected
    written = config.to_dict()
    assert "dtype" not in written
    assert written["torch_dtype"] == (None if expected is None else str(expected).removeprefix("torch."))
    config.torch_dtype = "float32"
    assert config.dtype == "float32"
    assert json.loads(config.to_json_string())["torch_dtype"] == "float32"


# -------------------------------------------------------------------------------------------------------------- copies


def test_configs_given_are_copied_not_written_to() -> None:
    vit, trocr = ViTConfig(**tiny.VIT, labels=["a"]), TrOCRConfig(**tiny.TROCR)
    before = vit.to_dict(), trocr.to_dict()
    joint = VisionEncoderDecoderConfig.from_encoder_decoder_configs(vit, trocr, pad_token_id=1)
    assert (joint.decoder.is_decoder, joint.decoder.add_cross_attention, joint.pad_token_id) == (True, True, 1)
    joint.encoder.hidden_size = 99
    joint.encoder.labels.append("b")
    joint.decoder.d_model = 99
    assert (vit.to_dict(), trocr.to_dict()) == before
    duplicate = joint.copy()
    duplicate.encoder.labels.append("c")
    assert joint.encoder.labels == ["a", "b"]
    values = {"encoder": dict(tiny.VIT), "decoder": dict(tiny.TROCR)}
    given = copy.deepcopy(values)
    VisionEncoderDecoderConfig.from_dict(values)
    VisionEncoderDecoderConfig(**values)
    assert values == given
    out = joint.to_dict()
    out["encoder"]["labels"].append("d")
    assert joint.encoder.labels == ["a", "b"]


def test_configs_can_be_pickled_compared_and_printed() -> None:
    config = tiny.config(dtype=torch.float16)
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config
    assert config != tiny.config()
    assert config != config.to_dict()
    assert config != ViTConfig()
    assert repr(config).startswith("VisionEncoderDecoderConfig {")
    assert '"torch_dtype": "float16"' in repr(config)
    with pytest.raises(TypeError):
        hash(config)
    assert {"encoder", "decoder", "pad_token_id"} <= set(config)


# --------------------------------------------------------------------------------------------------------------- merge


def test_dicts_merge_into_halves_and_dicts() -> None:
    config = tiny.config(params={"a": 1, "b": {"x": 1}})
    merge(config, {"encoder": {"image_size": 32}, "params": {"a": 2}, "pad_token_id": 9, "new": {"y": 1}})
    assert (config.encoder.image_size, config.encoder.patch_size) == (32, 8)
    assert config.params == {"a": 2, "b": {"x": 1}}
    assert (config.pad_token_id, config.new) == (9, {"y": 1})
    config.update({"decoder": {"hidden_size": 4}})
    assert config.decoder.d_model == 4
    assert isinstance(config.encoder, ViTConfig)


def test_from_pretrained_sets_what_it_knows_and_returns_the_rest(tmp_path: Path) -> None:
    tiny.config().save_pretrained(tmp_path)
    config, unused = VisionEncoderDecoderConfig.from_pretrained(
        tmp_path, return_unused_kwargs=True, encoder={"image_size": 48}, output_attentions=True, unheard_of=1
    )
    assert unused == {"unheard_of": 1}
    assert config.output_attentions is True
    assert config.encoder.image_size == 48
    assert config.encoder.hidden_size == 16
    assert VisionEncoderDecoderConfig.from_pretrained(tmp_path / "config.json").encoder.image_size == 16


# ------------------------------------------------------------------------------------------------------------ messages


def test_a_half_is_missing() -> None:
    with pytest.raises(
        ConfigError, match=r"needs both `encoder` and `decoder`.*missing: decoder\..*from_encoder_decoder"
    ):
        VisionEncoderDecoderConfig(encoder=tiny.VIT)
    with pytest.raises(ValueError, match="missing: encoder and decoder"):
        VisionEncoderDecoderConfig.from_dict({"pad_token_id": 1})


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_half_without_or_with_an_unknown_type(role: str) -> None:
    halves: dict[str, Any] = {"encoder": tiny.VIT, "decoder": tiny.TROCR}
    for model_type in (None, 3, ""):
        with pytest.raises(ConfigError, match=rf"{role} (config has no `model_type`; expected one such as|of type '')"):
            VisionEncoderDecoderConfig(**halves | {role: {"hidden_size": 4, "model_type": model_type}})
    first = {"encoder": "Known: beit, ", "decoder": "Known: bart, "}[role]
    with pytest.raises(ConfigError, match=rf"Unknown {role} of type 'resnet'\. (Did you mean '\w+'\? )?{first}"):
        VisionEncoderDecoderConfig(**halves | {role: {"model_type": "resnet"}})
    with pytest.raises(ConfigError, match=rf"The {role} config is a list, expected a config object or a dict"):
        VisionEncoderDecoderConfig(**halves | {role: [1]})


def test_unknown_type_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"Unknown model type 'trocrr'\. Did you mean 'trocr'\?") as caught:
        registry.config_class("trocrr")
    for name in ("deit", "gpt2", "trocr", "vision-encoder-decoder", "vit"):
        assert name in str(caught.value)
    with pytest.raises(ConfigError, match="Unknown encoder of type 'gpt2'"):
        registry.model_class("gpt2", "encoder")


def test_the_file_of_another_family(tmp_path: Path) -> None:
    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(
        ConfigError, match=r"'vit' model, expected 'deit' for DeiTConfig.*AutoConfig\.from_pretrained picks"
    ):
        DeiTConfig.from_pretrained(tmp_path)


def test_files_that_are_not_there_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"nowhere' is not a local folder"):
        Config.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(OSError, match=r"holds no config\.json\. It is no checkpoint of a model"):
        Config.from_pretrained(tmp_path)
    for content, what in ((b"{", "Expecting"), (b"\xff\xfe\x00", "utf-8"), (b"", "Expecting value")):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(
            CheckpointCorruptError, match=rf"config\.json is not valid JSON: .*{what}.*download it again"
        ):
            Config.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CheckpointCorruptError, match=r"holds a JSON list, expected an object"):
        Config.from_pretrained(tmp_path)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(CheckpointNotFoundError, match=r"folder\.json cannot be read .*expected a JSON file"):
        read_json(tmp_path / "folder.json")


def test_saving_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file, expected a folder to save the config into"):
        tiny.config().save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


# ------------------------------------------------------------------------------------------------------------- writing


def test_a_config_without_a_json_form_leaves_the_old_file(tmp_path: Path) -> None:
    config = ViTConfig(hidden_size=1)
    config.save_pretrained(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    config.thing = object()
    with pytest.raises(TypeError, match="a config cannot hold <object object at .*it has no JSON form"):
        config.save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["config.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "config.json", {"a": 1})

    def no_room(_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "config.json", {"a": 2})
    assert read_json(tmp_path / "config.json") == {"a": 1}
    assert os.listdir(tmp_path) == ["config.json"]


def test_written_files_may_be_read_by_others(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_json(tmp_path / "deep" / "config.json", {"é": "ü"})
    finally:
        os.umask(old)
    assert (tmp_path / "deep" / "config.json").stat().st_mode & 0o777 == 0o644
    assert "ü" in (tmp_path / "deep" / "config.json").read_text(encoding="utf-8")


def test_large_label_maps_are_no_trouble(tmp_path: Path) -> None:
    labels = {str(number): f"LABEL_{number}" for number in range(50_000)}
    tiny.config(encoder={"id2label": labels}).save_pretrained(tmp_path)
    assert len(VisionEncoderDecoderConfig.from_pretrained(tmp_path).encoder.id2label) == 50_000
