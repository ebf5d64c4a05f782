"""The arguments of from_pretrained: each does what the page of AutoModelForVision2Seq says, or says that it cannot."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from vision2seq import AutoConfig, AutoModelForVision2Seq, GenerationConfig, VisionEncoderDecoderModel, ViTModel
from vision2seq.errors import (
    ConfigError,
    OptionError,
    UnknownOptionError,
    UnsupportedError,
    WeightsMismatchError,
)

torch.set_num_threads(1)
Loader = Any
LOADERS = [AutoModelForVision2Seq, VisionEncoderDecoderModel]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint; tests do not write to it."""
    return tiny.checkpoint(tmp_path_factory.mktemp("arguments") / "model")


def same(model: Any, expected: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


# ------------------------------------------------------------------------------------------ model_args and the keywords


class Wider(VisionEncoderDecoderModel):
    """A model whose ``__init__`` takes more."""

    def __init__(self, config: Any, bonus: int = 1, *, label: str = "none") -> None:
        super().__init__(config)
        self.bonus, self.label = bonus, label


class Anything(VisionEncoderDecoderModel):
    """A model whose ``__init__`` takes whatever comes."""

    def __init__(self, config: Any, *rest: Any, **more: Any) -> None:
        super().__init__(config)
        self.rest, self.more = rest, more


def test_model_args_go_to_init(folder: Path) -> None:
    model = Wider.from_pretrained(folder, 7, label="mine")
    assert (model.bonus, model.label) == (7, "mine")
    assert same(model, tiny.model().state_dict())
    assert Wider.from_pretrained(folder, bonus=5).bonus == 5
    wide = Anything.from_pretrained(folder, 1, "b", colour="red", num_beams=3)
    assert (wide.rest, wide.more) == ((1, "b"), {"colour": "red"})
    assert wide.config.num_beams == 3
    with pytest.raises(OptionError, match=r"2 positional arguments.*Wider.__init__ takes 1 after the config: bonus\."):
        Wider.from_pretrained(folder, 1, 2)
    with pytest.raises(UnknownOptionError, match="unknown argument 'bonus'"):
        Wider.from_pretrained(folder, 1, bonus=2)


@pytest.mark.parametrize("loader", LOADERS)
def test_ready_halves_may_be_model_args(loader: Loader, folder: Path) -> None:
    encoder = ViTModel(tiny.config().encoder)
    for arguments, named in (((encoder,), {}), ((), {"encoder": encoder})):
        model = loader.from_pretrained(folder, *arguments, **named)
        assert model.encoder is encoder
        assert same(model, tiny.model().state_dict())


@pytest.mark.parametrize("loader", LOADERS)
def test_keywords_change_the_config_or_are_unknown(loader: Loader, folder: Path) -> None:
    model = loader.from_pretrained(folder, output_attentions=True, encoder={"hidden_dropout_prob": 0.5})
    assert model.config.output_attentions
    assert model.config.encoder.hidden_dropout_prob == 0.5
    with pytest.raises(TypeError, match=r"unknown argument 'output_atentions'.*Did you mean 'output_attentions'\?"):
        loader.from_pretrained(folder, output_atentions=True)
    with pytest.raises(UnknownOptionError, match=r"'ignore_mismatched_size'.*Did you mean 'ignore_mismatched_sizes'\?"):
        loader.from_pretrained(folder, ignore_mismatched_size=True)
    with pytest.raises(UnknownOptionError, match=r"unknown argument 'lable'.*Did you mean 'label'\?"):
        Wider.from_pretrained(folder, lable="x")


@pytest.mark.parametrize("loader", LOADERS)
def test_a_config_that_is_handed_in_is_copied_and_keywords_change_the_copy(loader: Loader, folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    before = config.to_dict()
    model = loader.from_pretrained(folder, config=config, output_attentions=True, decoder={"dropout": 0.25})
    assert model.config is not config
    assert model.config.output_attentions is True
    assert model.config.decoder.dropout == 0.25
    assert config.to_dict() == before
    for other in (before, folder, str(folder / "config.json")):
        model = loader.from_pretrained(folder, config=other, output_attentions=True, decoder={"dropout": 0.25})
        assert (model.config.output_attentions, model.config.decoder.dropout) == (True, 0.25)
    assert before == config.to_dict()
    with pytest.raises(UnknownOptionError, match="unknown argument 'colour'"):
        loader.from_pretrained(folder, config=config, colour="red")
    with pytest.raises(ConfigError, match="config is a int; expected a config object, a dict, a folder or file"):
        VisionEncoderDecoderModel.from_pretrained(folder, config=3)


def test_return_unused_kwargs(folder: Path) -> None:
    config, unused = AutoConfig.from_pretrained(folder, return_unused_kwargs=True, num_beams=3, colour="red")
    assert config.num_beams == 3
    assert unused == {"colour": "red"}
    assert AutoConfig.from_pretrained(folder, colour="red").encoder.hidden_size == 16


# ----------------------------------------------------------------------------------------------------------- state_dict


@pytest.mark.parametrize("loader", LOADERS)
def test_weights_from_a_state_dict_config_from_the_folder(loader: Loader, folder: Path) -> None:
    other = tiny.model(seed=9).state_dict()
    model, info = loader.from_pretrained(folder, state_dict=other, output_loading_info=True)
    assert same(model, other)
    assert not model.training
    assert info["missing_keys"] == info["unexpected_keys"] == []
    assert model.config.name_or_path == str(folder)
    with torch.no_grad():  # the model's tensors are its own
        model.encoder.embeddings.cls_token.zero_()
    assert other["encoder.embeddings.cls_token"].abs().sum() > 0
    half = loader.from_pretrained(folder, state_dict=other, dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    assert loader.from_pretrained(folder, state_dict={k: v.half() for k, v in other.items()}, dtype="auto").dtype in (
        torch.float32,  # what the folder's config says comes first
        torch.float16,
    )


@pytest.mark.parametrize("loader", LOADERS)
def test_a_state_dict_and_a_config_need_no_folder(loader: Loader, tmp_path: Path) -> None:
    other = tiny.model(seed=9).state_dict()
    model = loader.from_pretrained(None, config=tiny.config(), state_dict=other, revision="main")
    assert same(model, other)
    assert model.generation_config.decoder_start_token_id == tiny.EOS
    assert model.config.name_or_path == ""
    tiny.config().save_pretrained(tmp_path)
    for config in (tiny.config().to_dict(), tmp_path, str(tmp_path / "config.json")):
        model = loader.from_pretrained(None, config=config, state_dict=other, output_attentions=True)
        assert same(model, other)
        assert model.config.output_attentions
    for arguments in ({"config": tiny.config()}, {"config": tmp_path}, {"state_dict": other}, {}):
        with pytest.raises(OptionError, match="needs both config= and state_dict=|found None"):
            loader.from_pretrained(None, **arguments)


def test_a_state_dict_is_accounted_for(folder: Path) -> None:
    other = dict(tiny.model().state_dict())
    del other["encoder.embeddings.cls_token"]
    other["strange"] = torch.zeros(2)
    with pytest.warns(UserWarning, match=r"1 not in the files and newly initialised \(encoder.embeddings.cls_token\)"):
        VisionEncoderDecoderModel.from_pretrained(folder, state_dict=other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, info = VisionEncoderDecoderModel.from_pretrained(folder, state_dict=other, output_loading_info=True)
    assert info["missing_keys"] == ["encoder.embeddings.cls_token"]
    assert info["unexpected_keys"] == ["strange"]
    other["encoder.embeddings.cls_token"] = torch.zeros(1, 1, 5)
    with pytest.raises(WeightsMismatchError, match=r"encoder.embeddings.cls_token: \[1, 1, 5\] in the file"):
        VisionEncoderDecoderModel.from_pretrained(folder, state_dict=other)


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        ("model.bin", "state_dict is a str; expected a dict from names to tensors. A file is passed as the first"),
        (
            {"model": {}},
            "state_dict holds 'model': a dict; expected names and tensors. A whole training state has them",
        ),
        ({3: torch.zeros(1)}, "state_dict holds 3: a Tensor"),
    ],
)
def test_what_is_no_state_dict(folder: Path, state_dict: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        VisionEncoderDecoderModel.from_pretrained(folder, state_dict=state_dict)


# ----------------------------------------------------------------------------------------------------------- the others


def test_the_loading_info_has_the_four_keys_and_more(folder: Path) -> None:
    _, info = AutoModelForVision2Seq.from_pretrained(folder, output_loading_info=True)
    assert {"missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs", "tied_keys", "harmless_keys"} <= set(
        info
    )
    assert info["tied_keys"] == ["decoder.output_projection.weight"]


def test_the_loading_info_says_what_was_called_otherwise(folder: Path, tmp_path: Path) -> None:
    encoder = tiny.model().encoder
    encoder.save_pretrained(tmp_path)
    state = {f"vit.{name}": tensor for name, tensor in encoder.state_dict().items()}
    encoder.save_pretrained(tmp_path, state_dict=state)
    _, info = ViTModel.from_pretrained(tmp_path, output_loading_info=True)
    assert sorted(info["converted_keys"]) == sorted((name, name.removeprefix("vit.")) for name in state)
    _, info = AutoModelForVision2Seq.from_pretrained(folder, output_loading_info=True)
    assert info["converted_keys"] == []


@pytest.mark.parametrize("loader", LOADERS)
def test_what_is_no_longer_needed_changes_nothing(loader: Loader, folder: Path) -> None:
    model = loader.from_pretrained(
        folder,
        low_cpu_mem_usage=True,
        _fast_init=False,
        mirror="x",
        offload_state_dict=True,
        weights_only=True,
        resume_download=True,
        trust_remote_code=True,
    )
    assert same(model, tiny.model().state_dict())


@pytest.mark.parametrize(
    ("argument", "what"),
    [
        ("quantization_config", "quantised weights"),
        ("load_in_8bit", "quantised weights"),
        ("load_in_4bit", "quantised weights"),
        ("gguf_file", "reading GGUF files"),
        ("key_mapping", "renaming weights"),
        ("adapter_kwargs", "loading adapters"),
        ("adapter_name", "loading adapters"),
        ("tp_plan", "tensor parallelism"),
        ("device_mesh", "tensor parallelism"),
    ],
)
def test_what_is_not_built_says_so(folder: Path, argument: str, what: str) -> None:
    with pytest.raises(NotImplementedError, match=rf"{argument}=… was given, but {what}.*is not built in this release"):
        AutoModelForVision2Seq.from_pretrained(folder, **{argument: "x"})
    assert AutoModelForVision2Seq.from_pretrained(folder, **{argument: None})


def test_a_quantised_checkpoint_says_so(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    config.quantization_config = {"quant_method": "bitsandbytes"}
    with pytest.raises(UnsupportedError, match="are quantised .*Load the checkpoint that they were made from"):
        AutoModelForVision2Seq.from_pretrained(folder, config=config)


def test_attention_implementations(folder: Path) -> None:
    inputs = {"pixel_values": tiny.pixels(), "decoder_input_ids": tiny.ids()}
    eager, sdpa = (
        AutoModelForVision2Seq.from_pretrained(folder, attn_implementation=name)(**inputs).logits
        for name in ("eager", "sdpa")
    )
    assert torch.equal(eager, sdpa)
    for name in ("flash_attention_2", "flex_attention", "kernels-community/flash-attn"):
        with pytest.raises(UnsupportedError, match=rf"attn_implementation='{name}' is not built.*'eager' or 'sdpa'"):
            AutoModelForVision2Seq.from_pretrained(folder, attn_implementation=name)
    with pytest.raises(OptionError, match="attn_implementation='speedy' is unknown"):
        AutoModelForVision2Seq.from_config(tiny.config(), attn_implementation="speedy")


def test_a_generation_config_may_be_given(folder: Path) -> None:
    own = GenerationConfig(num_beams=4, decoder_start_token_id=2)
    model = AutoModelForVision2Seq.from_pretrained(folder, generation_config=own)
    assert model.generation_config is own
