"""Loading and saving whole models: what is accepted, what is written, what is said when it cannot be."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from vision2seq.auto import AutoConfig
from vision2seq.configuration.base import read_json, write_json
from vision2seq.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    ConfigError,
    OptionError,
    UnknownOptionError,
    UnsafePickleError,
    UnsupportedError,
    WeightsMismatchError,
)
from vision2seq.models.decoders.trocr import TrOCRForCausalLM
from vision2seq.models.encoders.vit import ViTModel
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

torch.set_num_threads(1)

Model = VisionEncoderDecoderModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.checkpoint(tmp_path / "model")


# ------------------------------------------------------------------------------------------------------------- loading


@pytest.mark.parametrize("decoder", sorted(tiny.DECODERS))
def test_round_trip(decoder: str, tmp_path: Path) -> None:
    built = tiny.model(decoder)
    built.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = Model.from_pretrained(tmp_path)
    assert not loaded.training
    assert not any(module.training for module in loaded.modules())
    assert loaded.state_dict().keys() == built.state_dict().keys()
    assert all(torch.equal(value, built.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert not any(tensor.is_meta for tensor in [*loaded.parameters(), *loaded.buffers()])
    assert torch.equal(loaded(tiny.pixels(), tiny.ids()).logits, built(tiny.pixels(), tiny.ids()).logits)
    assert loaded.config.name_or_path == str(tmp_path)
    fixed = 16 * 12 if decoder in ("marian", "pegasus") else 0  # their positions
    assert loaded.num_parameters() == built.num_parameters() == loaded.num_parameters(only_trainable=True) + fixed
    assert loaded.config.architectures == ["VisionEncoderDecoderModel"]


def test_config_arguments(folder: Path, tmp_path: Path) -> None:
    by_default = Model.from_pretrained(folder)
    assert by_default.config.output_attentions is False
    changed = Model.from_pretrained(folder, output_attentions=True, max_length=9, encoder={"hidden_dropout_prob": 0.5})
    assert (changed.config.output_attentions, changed.config.max_length) == (True, 9)
    assert changed.config.encoder.hidden_dropout_prob == changed.encoder.config.hidden_dropout_prob == 0.5
    assert changed.config.encoder.hidden_size == 16

    given = tiny.config(pad_token_id=7)
    before = given.to_dict()
    loaded = Model.from_pretrained(folder, config=given, use_cache=False, encoder={"image_size": 16})
    assert (loaded.config.pad_token_id, loaded.config.use_cache) == (7, False)
    assert loaded.config is not given
    assert given.to_dict() == before
    assert "name_or_path" not in vars(given)

    as_dict = Model.from_pretrained(folder, config=before)
    assert as_dict.config.pad_token_id == 7
    given.save_pretrained(tmp_path / "other")
    for place in (tmp_path / "other", str(tmp_path / "other" / "config.json")):
        assert Model.from_pretrained(folder, config=place).config.pad_token_id == 7
    assert (
        Model.from_pretrained(folder, low_cpu_mem_usage=True, revision="main", token=None).config == by_default.config
    )


def test_building_takes_a_copy_of_the_config() -> None:
    given = tiny.config(tie_word_embeddings=True)
    given.decoder.is_decoder = False
    before = given.to_dict()
    for built in (Model(given), Model._from_config(given)):
        assert built.config.decoder.is_decoder is True
        assert built.config.tie_word_embeddings is False
        assert built.encoder.config is built.config.encoder
        assert built.decoder.config is built.config.decoder
        built.config.pad_token_id = 9
        assert given.to_dict() == before


def test_halves_alone(folder: Path, tmp_path: Path) -> None:
    whole = Model.from_pretrained(folder)
    for half, kind in ((whole.encoder, ViTModel), (whole.decoder, TrOCRForCausalLM)):
        half.save_pretrained(tmp_path / kind.__name__)
        again, info = kind.from_pretrained(tmp_path / kind.__name__, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert all(torch.equal(value, half.state_dict()[key]) for key, value in again.state_dict().items())
    joined = Model(None, whole.encoder, whole.decoder)
    assert torch.equal(joined(tiny.pixels(), tiny.ids()).logits, whole(tiny.pixels(), tiny.ids()).logits)


def test_names_with_and_without_the_base_models_prefix(tmp_path: Path) -> None:
    encoder = tiny.model().encoder
    encoder.save_pretrained(tmp_path)
    state = encoder.state_dict()
    encoder.save_pretrained(tmp_path, state_dict={f"vit.{key}": value for key, value in state.items()})
    again, info = ViTModel.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == info["unexpected_keys"] == []
    assert torch.equal(again.layernorm.weight, encoder.layernorm.weight)
    decoder = tiny.model("gpt2").decoder
    state = {
        key.removeprefix("transformer."): value for key, value in decoder.state_dict().items() if "lm_head" not in key
    }
    decoder.save_pretrained(tmp_path / "gpt2", state_dict=state)
    again, info = type(decoder).from_pretrained(tmp_path / "gpt2", output_loading_info=True)
    assert info["missing_keys"] == info["unexpected_keys"] == []
    assert torch.equal(again.lm_head.weight, decoder.lm_head.weight)


def test_missing_tensors_are_drawn_and_told(folder: Path, tmp_path: Path) -> None:
    built = tiny.model()
    state = {key: value for key, value in built.state_dict().items() if "encoder_attn.k_proj" not in key}
    built.save_pretrained(tmp_path / "less", state_dict=state)
    with pytest.warns(
        UserWarning, match=r"4 not in the files and newly initialised .*encoder_attn\.k_proj.*train the model"
    ):
        loaded = Model.from_pretrained(tmp_path / "less")
    layer = loaded.decoder.model.decoder.layers[0].encoder_attn
    assert 0.005 < layer.k_proj.weight.std() < 0.05
    assert layer.k_proj.bias.eq(0).all()
    assert torch.equal(layer.v_proj.weight, built.decoder.model.decoder.layers[0].encoder_attn.v_proj.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, info = Model.from_pretrained(tmp_path / "less", output_loading_info=True)
    assert len(info["missing_keys"]) == 4
    # A pooler that no text depends on is no loss, and one that was never asked for is none either.
    state = {key: value for key, value in built.state_dict().items() if "pooler" not in key}
    built.save_pretrained(tmp_path / "no-pooler", state_dict=state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Model.from_pretrained(tmp_path / "no-pooler")


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_dtypes(key: str, folder: Path) -> None:
    assert Model.from_pretrained(folder, **{key: "float16"}).dtype == torch.float16
    assert Model.from_pretrained(folder, **{key: torch.bfloat16}).dtype == torch.bfloat16
    Model.from_pretrained(folder, **{key: torch.float16}).save_pretrained(folder)
    assert read_json(folder / "config.json")["torch_dtype"] == "float16"
    assert Model.from_pretrained(folder).dtype == torch.float32
    assert Model.from_pretrained(folder, **{key: "auto"}).dtype == torch.float16
    for wrong in ("int8", torch.int8, "float17", 16, "nn"):
        with pytest.raises(OptionError, match=r"dtype=.*expected a floating-point torch dtype such as"):
            Model.from_pretrained(folder, **{key: wrong})


@pytest.mark.parametrize(
    "options", [{"device": "cpu"}, {"device_map": "cpu"}, {"device_map": {"": "cpu"}}, {"device": torch.device("cpu")}]
)
def test_devices(options: dict[str, Any], folder: Path) -> None:
    assert Model.from_pretrained(folder, **options).device == torch.device("cpu")


def test_devices_that_are_not_there(folder: Path) -> None:
    with pytest.raises(OptionError, match=r"device 'gpu' is none that torch knows .*expected 'cpu' or 'cuda:0'"):
        Model.from_pretrained(folder, device="gpu")
    with pytest.raises(OptionError, match=r"device \{\} is none that torch knows"):
        Model.from_pretrained(folder, device_map={})
    for wanted in ("cuda:77", 77, "77", {"": 77}):
        with pytest.raises(
            OptionError, match=r"was asked for, but torch finds \d+ CUDA devices here; use 'cpu'|none that torch"
        ):
            Model.from_pretrained(folder, device_map=wanted)


# ------------------------------------------------------------------------------------------------------------ messages


def test_nothing_to_load(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"nowhere' is not a local folder"):
        Model.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(
        CheckpointNotFoundError,
        match=r"holds no config\.json\. It is no checkpoint of a model, unless a config is passed",
    ):
        Model.from_pretrained(tmp_path)
    tiny.config().save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointNotFoundError, match=r"No weights in .*expected model\.safetensors or pytorch_model\.bin"
    ):
        Model.from_pretrained(tmp_path)


def test_configs_that_name_no_model(folder: Path) -> None:
    values = read_json(folder / "config.json")
    write_json(folder / "config.json", values | {"model_type": "bert"})
    with pytest.raises(ConfigError, match=r"config of a 'bert' model, expected 'vision-encoder-decoder'"):
        Model.from_pretrained(folder)
    write_json(folder / "config.json", values | {"decoder": {"model_type": "brat"}})
    with pytest.raises(ConfigError, match=r"Unknown decoder of type 'brat'.*Known: "):
        Model.from_pretrained(folder)
    reasons = dict.fromkeys(("opt", "bloom", "llama", "gpt_neox"), "has no cross-attention") | {
        "big_bird": "looks at the image where it should look at its own text",
        "gpt_bigcode": "has a cross-attention that cannot run",
    }
    for unfit, reason in reasons.items():
        write_json(folder / "config.json", values | {"decoder": {"model_type": unfit}})
        for load in (Model.from_pretrained, AutoConfig.from_pretrained):
            with pytest.raises(
                ConfigError, match=rf"'{unfit}' {reason} and so cannot read images.*Expected one of bart, bert, .*xglm"
            ):
                load(folder)
    half = {key: value for key, value in values["encoder"].items() if key != "model_type"}
    write_json(folder / "config.json", values | {"encoder": half})
    with pytest.raises(ConfigError, match=r"encoder config has no `model_type`; expected one such as"):
        Model.from_pretrained(folder)
    with pytest.raises(ConfigError, match=r"config is a int; expected a config object, a dict, a folder or file"):
        Model.from_pretrained(folder, config=3)
    with pytest.raises(ConfigError, match=r"cannot use a ViTConfig; expected VisionEncoderDecoderConfig"):
        Model.from_pretrained(folder, config=tiny.config().encoder)
    with pytest.raises(ConfigError, match=r"was given a ViTConfig; expected a VisionEncoderDecoderConfig"):
        Model(tiny.config().encoder)  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_decoder_of_a_whole_bart(tmp_path: Path, prefix: str) -> None:
    """Its files hold the embeddings as what both halves share; the encoder's tensors are unexpected."""
    decoder = tiny.model("bart", more={"d_model": 16}).decoder
    tensors = {name.removeprefix("model."): tensor for name, tensor in decoder.state_dict().items()}
    del tensors["lm_head.weight"]
    tensors["shared.weight"] = tensors.pop("decoder.embed_tokens.weight")
    tensors["encoder.layernorm_embedding.bias"] = torch.ones(16)
    tiny.model().encoder.save_pretrained(tmp_path / "encoder")
    decoder.save_pretrained(tmp_path / "bart", state_dict={f"{prefix}{name}": t for name, t in tensors.items()})
    with pytest.warns(UserWarning, match=r"encoder\.layernorm_embedding\.bias"):
        joined = Model.from_encoder_decoder_pretrained(tmp_path / "encoder", tmp_path / "bart")
    assert all(torch.equal(value, joined.decoder.state_dict()[key]) for key, value in decoder.state_dict().items())


@pytest.mark.parametrize("decoder", ["bert", "roberta", "electra", "bert-generation"])
def test_a_half_without_cross_attention(tmp_path: Path, decoder: str) -> None:
    """What the file has is taken over, old buffers and poolers are no matter, and cross-attention is drawn."""
    whole = tiny.model(decoder).decoder
    tensors = {name: tensor for name, tensor in whole.state_dict().items() if "crossattention" not in name}
    prefix = whole.base_model_prefix
    tensors[f"{prefix}.embeddings.position_ids"] = torch.arange(16)[None]
    tensors[f"{prefix}.pooler.dense.bias"] = torch.zeros(12)
    tiny.model().encoder.save_pretrained(tmp_path / "encoder")
    whole.save_pretrained(tmp_path / "half", state_dict=tensors)
    values = read_json(tmp_path / "half" / "config.json")
    write_json(tmp_path / "half" / "config.json", values | {"is_decoder": False, "add_cross_attention": False})
    with pytest.warns(UserWarning, match="crossattention") as caught:
        joined = Model.from_encoder_decoder_pretrained(tmp_path / "encoder", tmp_path / "half")
    assert not any("pooler" in str(w.message) or "position_ids" in str(w.message) for w in caught)
    found = joined.decoder.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.state_dict().items() if name in tensors)
    drawn = found[f"{prefix}.encoder.layer.1.crossattention.self.key.weight"]
    assert 0.01 < float(drawn.std()) < 0.03
    assert found[f"{prefix}.encoder.layer.1.crossattention.self.key.bias"].eq(0).all()
    assert joined.config.decoder.add_cross_attention is True
    assert joined(tiny.pixels(), tiny.ids()).logits.isfinite().all()
    alone = type(whole).from_pretrained(tmp_path / "half")
    with pytest.raises(OptionError, match=rf"This {decoder} has no cross-attention and cannot read images"):
        alone(tiny.ids(), encoder_hidden_states=torch.zeros(2, 3, 12))


@pytest.mark.parametrize("decoder", ["marian", "pegasus"])
def test_fixed_positions_that_a_file_lacks(tmp_path: Path, decoder: str) -> None:
    """Old files leave them out: they are computed, without a word."""
    whole = tiny.model(decoder, more={"d_model": 13, "decoder_attention_heads": 1}).decoder
    key = "model.decoder.embed_positions.weight"
    whole.save_pretrained(tmp_path, state_dict={n: t for n, t in whole.state_dict().items() if n != key})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = type(whole).from_pretrained(tmp_path).state_dict()[key]
    for column, rate in ((0, 1.0), (3, 10000 ** (-6 / 13))):
        assert float(table[5, column]) == pytest.approx(math.sin(5 * rate), abs=1e-6)
        assert float(table[5, 7 + column]) == pytest.approx(math.cos(5 * rate), abs=1e-6)
    assert not type(whole).from_pretrained(tmp_path).model.decoder.embed_positions.weight.requires_grad


def test_an_xglm_without_cross_attention(tmp_path: Path) -> None:
    alone = type(tiny.model("xglm").decoder)._from_config(tiny.config("xglm").decoder)
    assert not any("encoder_attn" in name for name in alone.state_dict())
    with pytest.raises(OptionError, match="This xglm has no cross-attention and cannot read images"):
        alone(tiny.ids(), encoder_hidden_states=torch.zeros(2, 3, 12))


def test_a_wish_to_tie_the_halves() -> None:
    """There is nothing to tie, as tests/parity/test_warm_start_parity.py shows of transformers."""
    with pytest.warns(UserWarning, match="tie_encoder_decoder is True.*nothing is tied, as in transformers 4.57.6"):
        built = tiny.model("bert", tie_encoder_decoder=True)
    halves = [{id(p) for p in half.parameters()} for half in (built.encoder, built.decoder)]
    assert not halves[0] & halves[1]


def test_positions_that_are_not_built() -> None:
    with pytest.raises(
        ConfigError, match=r"position_embedding_type is 'rotary'; expected 'absolute', 'relative_key' or"
    ):
        tiny.model("bert", more={"position_embedding_type": "rotary"})
    with pytest.raises(ConfigError, match=r"hidden_size 12 is no multiple of num_attention_heads 5"):
        tiny.model("bert", more={"num_attention_heads": 5})
    with pytest.raises(ConfigError, match=r"d_model 12 is no multiple of decoder_attention_heads 5"):
        tiny.model("mbart", more={"decoder_attention_heads": 5})
    with pytest.raises(ConfigError, match=r"counted from pad_token_id, which is None"):
        tiny.model("roberta", more={"pad_token_id": None})


def test_unknown_arguments(folder: Path) -> None:
    with pytest.raises(
        UnknownOptionError, match=r"unknown argument 'output_atentions'.*Did you mean 'output_attentions'\?"
    ):
        Model.from_pretrained(folder, output_atentions=True)
    with pytest.raises(TypeError, match=r"unknown argument 'use_safetensor'.*Did you mean 'use_safetensors'\?"):
        Model.from_pretrained(folder, use_safetensor=True)
    with pytest.raises(OptionError, match=r"The encoder is a int; expected a ready model, or None to build one"):
        Model.from_pretrained(folder, 1)
    for name in ("from_flax", "load_in_8bit", "gguf_file", "trust_remote_code"):
        try:
            Model.from_pretrained(folder, **{name: False})
        except UnsupportedError:  # pragma: no cover
            pytest.fail("False asks for nothing")


def test_shapes_that_disagree(folder: Path) -> None:
    changes = {"encoder": {"intermediate_size": 30}}
    with pytest.raises(WeightsMismatchError) as caught:
        Model.from_pretrained(folder, **changes)
    text = str(caught.value)
    assert "encoder.encoder.layer.0.intermediate.dense.weight: [24, 16] in the file, [30, 16] in the model" in text
    assert text.startswith("6 tensors of the checkpoint have another shape")
    assert "ignore_mismatched_sizes=True" in text
    with pytest.warns(UserWarning, match=r"6 of another shape than the config asks for and newly initialised"):
        loaded = Model.from_pretrained(folder, ignore_mismatched_sizes=True, **changes)
    dense = loaded.encoder.encoder.layer[0].intermediate.dense
    assert dense.weight.shape == (30, 16)
    assert 0.01 < dense.weight.std() < 0.03
    assert dense.bias.eq(0).all()
    assert loaded(tiny.pixels(), tiny.ids()).logits.isfinite().all()
    _, info = Model.from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True, **changes)
    assert ("encoder.encoder.layer.1.intermediate.dense.bias", (24,), (30,)) in info["mismatched_keys"]


def test_damaged_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    for damaged in (content[: len(content) // 2], content[:5], b"", b"not a weight file at all" * 9):
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(CheckpointCorruptError, match=r"model\.safetensors"):
            Model.from_pretrained(folder)


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_malicious_pickle_runs_nothing(folder: Path, tmp_path: Path) -> None:
    os.remove(folder / "model.safetensors")
    torch.save({"a": Evil(tmp_path / "was_here")}, folder / "pytorch_model.bin")
    with pytest.raises(UnsafePickleError, match="nothing of it was run"):
        Model.from_pretrained(folder)
    assert not (tmp_path / "was_here").exists()


def test_widths_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match=r"cross_attention_hidden_size is 20, the encoder's hidden_size is 16"):
        Model(tiny.config(more={"cross_attention_hidden_size": 20}))
    with pytest.raises(ConfigError, match="Either a config or both an encoder and a decoder have to be given"):
        Model()
    with pytest.raises(ConfigError, match="hidden_size 16 is no multiple of num_attention_heads 3"):
        Model(tiny.config(encoder={"num_attention_heads": 3}))
    with pytest.raises(ConfigError, match="d_model 12 is no multiple of decoder_attention_heads 5"):
        Model(tiny.config(more={"decoder_attention_heads": 5}))
    with pytest.raises(ConfigError, match="n_embd 12 is no multiple of n_head 5"):
        Model(tiny.config("gpt2", more={"n_head": 5}))
    with pytest.raises(ConfigError, match=r"patch_size \[32, 32\] does not fit into image_size \[16, 16\]"):
        Model(tiny.config(encoder={"patch_size": 32}))
    with pytest.raises(ConfigError, match=r"image_size or patch_size is \[3, 16, 16\]; expected a number of pixels or"):
        Model(tiny.config(encoder={"image_size": [3, 16, 16]}))
    with pytest.raises(ConfigError, match=r"Unknown activation function 'gelo'\. Did you mean 'gelu'\? Known: gelu"):
        Model(tiny.config(more={"activation_function": "gelo"}))
    with pytest.raises(ConfigError, match=r"counted from pad_token_id, which is None; set it"):
        Model(tiny.config("trocr-sinusoidal", more={"pad_token_id": None}))


# -------------------------------------------------------------------------------------------------------------- saving


def test_what_is_written(tmp_path: Path) -> None:
    built = tiny.model()
    built.save_pretrained(tmp_path)
    assert {"config.json", "model.safetensors"} <= set(os.listdir(tmp_path))
    written = read_json(tmp_path / "config.json")
    assert written["architectures"] == ["VisionEncoderDecoderModel"]
    assert written["torch_dtype"] == "float32"
    assert built.config.architectures is None, "saving must not write to the model's config"
    built.save_pretrained(tmp_path / "sharded", max_shard_size="4KB", variant="fp16")
    assert Model.from_pretrained(tmp_path / "sharded", variant="fp16").num_parameters() == built.num_parameters()
    built.save_pretrained(tmp_path / "pickle", safe_serialization=False)
    assert Model.from_pretrained(tmp_path / "pickle", use_safetensors=False).num_parameters() == built.num_parameters()


def test_saving_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OptionError, match="is a file; expected a folder to save"):
        tiny.model().save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


def test_a_failed_save_leaves_what_was_there(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    built = tiny.model(seed=5)
    built.config.thing = object()
    with pytest.raises(TypeError, match="has no JSON form"):
        built.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_saving_over_the_files_that_are_mapped(folder: Path) -> None:
    loaded = Model.from_pretrained(folder)
    with torch.no_grad():
        loaded.encoder.layernorm.bias.fill_(3.0)
    loaded.save_pretrained(folder)
    again = Model.from_pretrained(folder)
    assert again.encoder.layernorm.bias.eq(3.0).all()
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in again.state_dict().items())
