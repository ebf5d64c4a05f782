"""The Auto classes: the contract of AutoModelForVision2Seq's page, and what is inferred where files are missing."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from vision2seq import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoModelForVision2Seq,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    TrOCRConfig,
    TrOCRProcessor,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
    registry,
)
from vision2seq.configuration.base import Config
from vision2seq.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    ConfigError,
    NotInstantiableError,
    OptionError,
    TokenizerError,
    UnknownOptionError,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint; tests do not write to it."""
    return tiny.readable(tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "model"))


@pytest.fixture
def tables() -> Iterator[None]:
    """Put the registry back as it was."""
    kept = {name: dict(table) for name, table in vars(registry).items() if name.isupper() and isinstance(table, dict)}
    yield
    for name, table in kept.items():
        getattr(registry, name).clear()
        getattr(registry, name).update(table)


def change(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    content |= values
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}), encoding="utf-8")


# --------------------------------------------------------------------------------------------- not by calling the class


def test_the_model_class_cannot_be_called() -> None:
    expected = (
        "AutoModelForVision2Seq is designed to be instantiated using the "
        "`AutoModelForVision2Seq.from_pretrained(pretrained_model_name_or_path)` or "
        "`AutoModelForVision2Seq.from_config(config)` methods."
    )
    for arguments in ((), (VisionEncoderDecoderConfig,)):
        with pytest.raises(OSError, match="designed to be instantiated") as caught:
            AutoModelForVision2Seq(*arguments)
        assert str(caught.value) == expected
        assert type(caught.value) is NotInstantiableError
    with pytest.raises(EnvironmentError, match="from_config"):
        AutoModelForVision2Seq(config=None)


@pytest.mark.parametrize("cls", [AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer])
def test_the_other_auto_classes_cannot_be_called(cls: Any) -> None:
    with pytest.raises(
        OSError,
        match=rf"^{cls.__name__} is designed to be instantiated using the `{cls.__name__}\.from_pretrained\("
        r"pretrained_model_name_or_path\)` method\.$",
    ):
        cls()


def test_both_names_are_the_same_class() -> None:
    assert AutoModelForImageTextToText is AutoModelForVision2Seq


# ------------------------------------------------------------------------------------------------------- from_config


def test_from_config_builds_the_architecture_and_loads_no_weights() -> None:
    config = tiny.config()
    before = config.to_dict()
    torch.manual_seed(1)
    one = AutoModelForVision2Seq.from_config(config)
    two = AutoModelForVision2Seq.from_config(config)
    assert type(one) is VisionEncoderDecoderModel
    assert config.to_dict() == before
    assert one.config is not config
    assert not torch.equal(one.decoder.get_input_embeddings().weight, two.decoder.get_input_embeddings().weight)
    assert all(parameter.isfinite().all() for parameter in one.parameters())
    assert one.training  # as in the reference: nothing was loaded that could be evaluated


def test_from_config_takes_a_dtype_and_the_old_name_of_it() -> None:
    assert AutoModelForVision2Seq.from_config(tiny.config(), dtype=torch.float64).dtype == torch.float64
    assert AutoModelForVision2Seq.from_config(tiny.config(), torch_dtype="bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize("config", [ViTConfig(), TrOCRConfig()])
def test_from_config_refuses_another_kind(config: Any) -> None:
    name = type(config).__name__
    with pytest.raises(
        ValueError,
        match=rf"^Unrecognized configuration class .*{name}.* for this kind of AutoModel: AutoModelForVision2Seq\. "
        r"Model type should be one of VisionEncoderDecoderConfig\.$",
    ):
        AutoModelForVision2Seq.from_config(config)


@pytest.mark.parametrize("config", [{"model_type": "vision-encoder-decoder"}, None, "folder"])
def test_from_config_refuses_what_is_no_config(config: Any) -> None:
    with pytest.raises(ConfigError, match=rf"class .*{type(config).__name__}.*VisionEncoderDecoderConfig"):
        AutoModelForVision2Seq.from_config(config)


# --------------------------------------------------------------------------------------------------- from_pretrained


def test_from_pretrained_picks_the_class_and_evaluates(folder: Path) -> None:
    model = AutoModelForVision2Seq.from_pretrained(folder)
    assert type(model) is VisionEncoderDecoderModel
    assert model.training is False
    assert not any(module.training for module in model.modules())
    assert model.train().training is True
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    expected = tiny.model().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_a_path_may_be_text(folder: Path) -> None:
    model = AutoModelForVision2Seq.from_pretrained(str(folder))
    assert model.config.name_or_path == str(folder)


def test_config_attributes_can_be_given(folder: Path) -> None:
    model = AutoModelForVision2Seq.from_pretrained(folder, output_attentions=True, decoder_start_token_id=5)
    assert model.config.output_attentions is True
    assert model.config.decoder_start_token_id == 5
    output = model(pixel_values=tiny.pixels(), decoder_input_ids=tiny.ids())
    assert len(output.decoder_attentions) == len(output.cross_attentions) == len(output.encoder_attentions) == 2


def test_dicts_for_the_halves_are_merged(folder: Path) -> None:
    model = AutoModelForVision2Seq.from_pretrained(
        folder, encoder={"hidden_dropout_prob": 0.25}, decoder={"activation_function": "relu"}
    )
    assert model.config.encoder.hidden_dropout_prob == 0.25
    assert model.config.encoder.hidden_size == 16
    assert model.config.decoder.activation_function == "relu"
    assert model.config.decoder.d_model == 12
    plain = AutoModelForVision2Seq.from_pretrained(folder)
    inputs = {"pixel_values": tiny.pixels(), "decoder_input_ids": tiny.ids()}
    assert not torch.allclose(model(**inputs).logits, plain(**inputs).logits)


def test_an_unknown_argument_is_refused_with_the_nearest_one(folder: Path) -> None:
    with pytest.raises(
        TypeError,
        match=r"from_pretrained got an unknown argument 'output_atentions'.*Did you mean 'output_attentions'\?",
    ) as caught:
        AutoModelForVision2Seq.from_pretrained(folder, output_atentions=True)
    assert type(caught.value) is UnknownOptionError
    with pytest.raises(UnknownOptionError, match=r"'torch_dtyp'.*Did you mean 'torch_dtype'\?"):
        AutoModelForVision2Seq.from_pretrained(folder, torch_dtyp="auto")


def test_a_config_object_is_used_and_not_changed(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    config.decoder.activation_function = "relu"
    before = config.to_dict()
    model = AutoModelForVision2Seq.from_pretrained(folder, config=config, num_beams=3)
    assert model.config.decoder.activation_function == "relu"
    assert config.to_dict() == before
    assert model.config.num_beams == 3


def test_a_config_may_be_a_dict_a_folder_or_a_file(folder: Path, own: Path) -> None:
    change(own / "config.json", decoder_start_token_id=7)
    values = json.loads((own / "config.json").read_text(encoding="utf-8"))
    for config in (values, own, str(own), own / "config.json"):
        model = AutoModelForVision2Seq.from_pretrained(folder, config=config)
        assert model.config.decoder_start_token_id == 7


def test_a_config_dict_must_say_what_it_is(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"config= has no `model_type` key\. Expected one of .*vit"):
        AutoModelForVision2Seq.from_pretrained(folder, config={"encoder": tiny.VIT, "decoder": tiny.TROCR})


def test_a_config_of_another_kind_is_refused(folder: Path, own: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unrecognized configuration class .*ViTConfig.*AutoModelForVision2Seq"):
        AutoModelForVision2Seq.from_pretrained(folder, config=ViTConfig())
    (own / "config.json").write_text(json.dumps(tiny.VIT), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"Unrecognized configuration class .*ViTConfig"):
        AutoModelForVision2Seq.from_pretrained(own)


def test_a_subfolder_and_hub_arguments(folder: Path) -> None:
    model = AutoModelForVision2Seq.from_pretrained(
        folder.parent, subfolder=folder.name, revision="main", local_files_only=True, token=None, cache_dir="/nowhere"
    )
    assert model.config.encoder.hidden_size == 16
    assert AutoProcessor.from_pretrained(folder.parent, subfolder=folder.name).tokenizer.pad_token_id == tiny.PAD
    with pytest.raises(CheckpointNotFoundError, match="has no subfolder 'other'"):
        AutoModelForVision2Seq.from_pretrained(folder, subfolder="other")


def test_trust_remote_code_needs_no_code(folder: Path) -> None:
    # Scripts pass it out of habit; a checkpoint of a known family needs no code of its own.
    assert AutoModelForVision2Seq.from_pretrained(folder, trust_remote_code=True).config.model_type
    assert AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type == "vision-encoder-decoder"
    assert AutoProcessor.from_pretrained(folder, trust_remote_code=True, use_fast=True)


def test_a_bundled_model_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["vision2seq.hub.locate"], "_HOME", tmp_path)
    with pytest.raises(CheckpointNotFoundError, match=r"'printed-line' is missing from this inst.*Install the package"):
        AutoModelForVision2Seq.from_pretrained("printed-line")


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"'printed_line' is not a local .*Did you mean 'printed-line'"):
        AutoModelForVision2Seq.from_pretrained("printed_line")
    with pytest.raises(CheckpointNotFoundError, match="is not a local folder"):
        AutoModelForVision2Seq.from_pretrained(tmp_path / "nothing")
    with pytest.raises(CheckpointNotFoundError, match=r"'owner/name' is not a local folder; we couldn't connect"):
        AutoModelForVision2Seq.from_pretrained("owner/name")
    with pytest.raises(OptionError, match=r"named by a folder's path or a name; found None"):
        AutoModelForVision2Seq.from_pretrained(None)
    with pytest.raises(CheckpointNotFoundError, match=r"holds no config.json.*found there: nothing"):
        AutoModelForVision2Seq.from_pretrained(tmp_path)
    (tmp_path / "readme").touch()
    with pytest.raises(CheckpointNotFoundError, match=r"holds no config.json.*found there: readme"):
        AutoModelForVision2Seq.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"encoder": {}}', r"Unrecognized model in .*config.json has no `model_type` key\. Expected one of .*vit"),
        ('{"model_type": 3}', r"config.json has no `model_type` key"),
        (
            '{"model_type": "vision-encoder-decodr"}',
            r"Did you mean 'vision-encoder-decoder'\?.*Known: .*deit, .*gpt2",
        ),
        ('{"model_type": "vision-encoder-decoder"}', r"missing: encoder and decoder"),
        ('{"model_type": "vision-encoder-decoder", "encoder": {"model_type": "vit"}}', r"missing: decoder"),
        (
            '{"model_type": "vision-encoder-decoder", "encoder": {}, "decoder": {"model_type": "gpt2"}}',
            r"The encoder config has no `model_type`",
        ),
        (
            '{"model_type": "vision-encoder-decoder", "encoder": {"model_type": "vit"}, '
            '"decoder": {"model_type": "x"}}',
            r"Unknown decoder of type 'x'.*Known: .*gpt2, .*trocr",
        ),
        ('{"model_type": "vision-encoder-decoder", "encoder": 3, "decoder": 4}', r"encoder config is a int"),
        ("[1]", r"holds a JSON list, expected an object"),
        ('{"model_type": ', r"is not valid JSON"),
    ],
)
def test_configs_that_cannot_be_used(own: Path, content: str, message: str) -> None:
    (own / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises((ConfigError, CheckpointCorruptError), match=message):
        AutoModelForVision2Seq.from_pretrained(own)


# --------------------------------------------------------------------------------------------------------- AutoConfig


def test_config_from_a_folder_and_from_a_file(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    assert type(config) is VisionEncoderDecoderConfig
    assert config == AutoConfig.from_pretrained(folder / "config.json")
    assert config == AutoConfig.from_pretrained(str(folder))


def test_a_config_of_one_half(tmp_path: Path) -> None:
    ViTConfig(hidden_size=48).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is ViTConfig
    assert config.hidden_size == 48


def test_config_arguments(folder: Path) -> None:
    config, unused = AutoConfig.from_pretrained(
        folder, output_attentions=True, decoder={"d_model": 24}, foo=False, return_unused_kwargs=True
    )
    assert config.output_attentions is True
    assert config.decoder.d_model == 24
    assert config.decoder.decoder_layers == 2
    assert unused == {"foo": False}


def test_config_round_trip(folder: Path, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    config.of_mine = {"kept": [1, None]}
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.of_mine == {"kept": [1, None]}
    assert type(config).from_dict(config.to_dict()) == config


def test_config_for_model() -> None:
    config = AutoConfig.for_model("trocr", d_model=64)
    assert (type(config), config.d_model) == (TrOCRConfig, 64)
    with pytest.raises(ConfigError, match=r"Unknown model type 'trocrr'\. Did you mean 'trocr'\?"):
        AutoConfig.for_model("trocrr")


class OwnConfig(Config):
    model_type = "own"
    width: int = 5


class OwnModel(VisionEncoderDecoderModel):
    config_class = OwnConfig


@pytest.mark.usefixtures("tables")
def test_register_a_config(tmp_path: Path) -> None:
    AutoConfig.register("own", OwnConfig)
    OwnConfig(width=9).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is OwnConfig
    assert config.width == 9
    with pytest.raises(ValueError, match=r"'own' is already used.*exist_ok=True"):
        AutoConfig.register("own", OwnConfig)
    AutoConfig.register("own", OwnConfig, exist_ok=True)
    with pytest.raises(ValueError, match=r"OwnConfig has model_type 'own', expected 'other'"):
        AutoConfig.register("other", OwnConfig)


@pytest.mark.usefixtures("tables")
def test_a_known_type_can_be_replaced() -> None:
    class Vit(ViTConfig):
        pass

    with pytest.raises(ConfigError, match="'vit' is already used"):
        AutoConfig.register("vit", Vit)
    AutoConfig.register("vit", Vit, exist_ok=True)
    assert type(AutoConfig.for_model("vit")) is Vit


@pytest.mark.usefixtures("tables")
def test_register_a_model() -> None:
    with pytest.raises(ConfigError, match="Model type should be one of VisionEncoderDecoderConfig"):
        AutoModelForVision2Seq.from_config(OwnConfig())
    with pytest.raises(
        ValueError,
        match=r"Model has config_class 'VisionEncoderDecoderConfig', expected 'OwnConfig'",
    ):
        AutoModelForVision2Seq.register(OwnConfig, VisionEncoderDecoderModel)
    AutoModelForVision2Seq.register(OwnConfig, OwnModel)
    assert AutoModelForVision2Seq._class_for(OwnConfig()) is OwnModel
    with pytest.raises(ConfigError, match=r"'OwnConfig' is already used"):
        AutoModelForVision2Seq.register(OwnConfig, OwnModel)
    AutoModelForVision2Seq.register(OwnConfig, OwnModel, exist_ok=True)
    with pytest.raises(ConfigError, match=r"should be one of OwnConfig, VisionEncoderDecoderConfig"):
        AutoModelForVision2Seq.from_config(ViTConfig())


class OwnImageProcessor(ViTImageProcessor):
    pass


class OwnTokenizer(PreTrainedTokenizerFast):
    pass


class OwnProcessor(TrOCRProcessor):
    pass


@pytest.mark.usefixtures("tables")
def test_register_processors_and_tokenizers(own: Path) -> None:
    AutoImageProcessor.register(OwnConfig, OwnImageProcessor)
    AutoTokenizer.register(OwnConfig, slow_tokenizer_class=None, fast_tokenizer_class=OwnTokenizer)
    AutoProcessor.register(OwnConfig, OwnProcessor)
    change(own / "preprocessor_config.json", image_processor_type="OwnImageProcessor", processor_class="OwnProcessor")
    change(own / "tokenizer_config.json", tokenizer_class="OwnTokenizer")
    assert type(AutoImageProcessor.from_pretrained(own)) is OwnImageProcessor
    assert type(AutoTokenizer.from_pretrained(own)) is OwnTokenizer
    processor = AutoProcessor.from_pretrained(own)
    assert [type(part) for part in (processor, processor.image_processor, processor.tokenizer)] == [
        OwnProcessor,
        OwnImageProcessor,
        OwnTokenizer,
    ]
    for register, chosen in (
        (AutoImageProcessor.register, OwnImageProcessor),
        (AutoTokenizer.register, OwnTokenizer),
        (AutoProcessor.register, OwnProcessor),
    ):
        with pytest.raises(ValueError, match=r"is already used; pass exist_ok=True to replace it"):
            register(OwnConfig, chosen)
        register(OwnConfig, chosen, exist_ok=True)
        with pytest.raises(OptionError, match=r"register\(\) was given None; expected a class"):
            register(OwnConfig, None)


@pytest.mark.usefixtures("tables")
def test_what_is_registered_is_found_by_the_model_type_as_well(own: Path) -> None:
    AutoConfig.register("own", OwnConfig)
    AutoTokenizer.register(OwnConfig, OwnTokenizer)
    AutoProcessor.register(OwnConfig, OwnProcessor)
    AutoImageProcessor.register(OwnConfig, OwnImageProcessor)
    change(own / "config.json", model_type="own")
    change(own / "preprocessor_config.json", image_processor_type=...)
    processor = AutoProcessor.from_pretrained(own)
    assert type(processor) is OwnProcessor
    assert type(processor.tokenizer) is OwnTokenizer


# ------------------------------------------------------------------------------------------------- AutoImageProcessor


def test_image_processor_by_its_file(folder: Path) -> None:
    for place in (folder, str(folder), folder / "preprocessor_config.json"):
        processor = AutoImageProcessor.from_pretrained(place)
        assert type(processor) is ViTImageProcessor
        assert processor.size == {"height": 16, "width": 16}
    assert AutoImageProcessor.from_pretrained(folder, do_resize=False, use_fast=True).do_resize is False


@pytest.mark.parametrize("key", ["image_processor_type", "feature_extractor_type"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DeiTImageProcessor", "DeiTImageProcessor"),
        ("DonutImageProcessor", "DonutImageProcessor"),
        ("CLIPImageProcessorFast", "CLIPImageProcessor"),
        ("ConvNextFeatureExtractor", "ConvNextImageProcessor"),
        ("ViTFeatureExtractor", "ViTImageProcessor"),
        ("ViTImageProcessorFast", "ViTImageProcessor"),
    ],
)
def test_image_processor_by_each_spelling(own: Path, key: str, name: str, expected: str) -> None:
    change(own / "preprocessor_config.json", image_processor_type=...)
    change(own / "preprocessor_config.json", **{key: name})
    assert type(AutoImageProcessor.from_pretrained(own)).__name__ == expected


def test_image_processor_without_a_name_is_the_encoders(own: Path) -> None:
    change(own / "preprocessor_config.json", image_processor_type=...)
    assert type(AutoImageProcessor.from_pretrained(own)) is ViTImageProcessor


def test_image_processor_without_a_file_is_inferred(own: Path) -> None:
    (own / "preprocessor_config.json").unlink()
    with pytest.warns(
        UserWarning,
        match=r"holds no preprocessor_config.json; a ViTImageProcessor for 16x16 .*Copy the file there",
    ):
        processor = AutoImageProcessor.from_pretrained(own)
    assert type(processor) is ViTImageProcessor
    assert processor.size == {"height": 16, "width": 16}


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("beit", "BeitImageProcessor"),
        ("clip_vision_model", "CLIPImageProcessor"),
        ("deit", "DeiTImageProcessor"),
        ("dinov2", "BitImageProcessor"),
        ("siglip_vision_model", "SiglipImageProcessor"),
        ("swin", "ViTImageProcessor"),
    ],
)
def test_an_inferred_image_processor_makes_what_the_encoder_takes(tmp_path: Path, encoder: str, expected: str) -> None:
    halves = {"encoder": {"model_type": encoder, "image_size": [16, 40]}, "decoder": {"model_type": "gpt2"}}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vision-encoder-decoder", **halves}))
    with pytest.warns(UserWarning, match=f"{expected} for 16x40 pixels"):
        processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor).__name__ == expected
    assert processor(tiny.picture(), return_tensors="pt")["pixel_values"].shape == (1, 3, 16, 40)
    geometry = processor.geometry(tiny.picture())
    assert geometry.box_to_original(0, 0, 40, 16) == (0, 0, *tiny.picture().size)  # the whole of it


def test_an_option_wins_over_what_is_inferred(own: Path) -> None:
    (own / "preprocessor_config.json").unlink()
    with pytest.warns(UserWarning, match="holds no preprocessor_config"):
        processor = AutoImageProcessor.from_pretrained(own, image_mean=[0.1, 0.2, 0.3])
    assert processor.image_mean == [0.1, 0.2, 0.3]


def test_image_processors_that_cannot_be_found(own: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        CheckpointNotFoundError,
        match=r"holds no preprocessor_config.json, and no config.json of an encoder .*found there: nothing",
    ):
        AutoImageProcessor.from_pretrained(empty)
    (empty / "config.json").write_text(json.dumps(tiny.GPT2), encoding="utf-8")
    with pytest.raises(CheckpointNotFoundError, match=r"holds no preprocessor_config.json.*found there: config.json"):
        AutoImageProcessor.from_pretrained(empty)
    change(own / "preprocessor_config.json", image_processor_type="ViTImageProcesor")
    with pytest.raises(
        ConfigError, match=r"'ViTImageProcesor', which is not known\. Did you mean 'ViTImageProcessor'\? Known: Beit"
    ):
        AutoImageProcessor.from_pretrained(own)
    change(own / "preprocessor_config.json", image_processor_type=...)
    (own / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"preprocessor_config.json .*names no image processor.*Known: Beit"):
        AutoImageProcessor.from_pretrained(own)
    (own / "preprocessor_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointCorruptError, match="is not valid JSON"):
        AutoImageProcessor.from_pretrained(own)


# ------------------------------------------------------------------------------------------------------ AutoTokenizer


def test_tokenizer_by_its_files(folder: Path) -> None:
    for place in (folder, str(folder)):
        tokenizer = AutoTokenizer.from_pretrained(place)
        assert type(tokenizer) is PreTrainedTokenizerFast
        assert tokenizer("ab c").input_ids == [tiny.START, 5, 6, 4, 7, tiny.EOS]
    assert AutoTokenizer.from_pretrained(folder, use_fast=False, padding_side="left").padding_side == "left"


def test_tokenizer_without_its_config_is_inferred(own: Path) -> None:
    (own / "tokenizer_config.json").unlink()
    tokenizer = AutoTokenizer.from_pretrained(own)
    assert tokenizer.eos_token_id == tiny.EOS
    assert tokenizer.decode(tokenizer("ab c").input_ids, skip_special_tokens=True) == "ab c"
    (own / "special_tokens_map.json").unlink()
    assert AutoTokenizer.from_pretrained(own).decode([tiny.START, 5, tiny.EOS], skip_special_tokens=True) == "a"


def test_tokenizer_that_is_not_there(own: Path) -> None:
    (own / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"holds no tokenizer: found .*Missing is tokenizer.json, or"):
        AutoTokenizer.from_pretrained(own)


# ------------------------------------------------------------------------------------------------------ AutoProcessor


def test_processor_pairs_both(folder: Path) -> None:
    for cls in (AutoProcessor, TrOCRProcessor):
        processor = cls.from_pretrained(folder)
        assert type(processor) is TrOCRProcessor
        assert type(processor.image_processor) is ViTImageProcessor
        assert processor.feature_extractor is processor.image_processor
        assert type(processor.tokenizer) is PreTrainedTokenizerFast


def test_a_processor_of_ones_own(folder: Path) -> None:
    class Own(TrOCRProcessor):
        pass

    assert type(Own.from_pretrained(folder)) is Own


def test_processor_calls(folder: Path) -> None:
    processor = AutoProcessor.from_pretrained(folder)
    pixels = processor(images=tiny.picture(), return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 16, 16)
    assert torch.equal(processor(tiny.picture(), return_tensors="pt")["pixel_values"], pixels)
    both = processor(images=[tiny.picture()] * 2, text=["ab", "abc"], padding=True, return_tensors="pt")
    assert both["pixel_values"].shape == (2, 3, 16, 16)
    assert both["labels"].tolist() == [[0, 5, 6, 2, 1], [0, 5, 6, 7, 2]]
    padded = processor(images=tiny.picture(), text="ab", padding="max_length", max_length=6, return_tensors="pt")
    assert padded.labels.tolist() == [[0, 5, 6, 2, 1, 1]]
    assert processor(text="ab").input_ids == [0, 5, 6, 2]
    assert processor.batch_decode([[2, 5, 6, 2], [2, 7, 1]], skip_special_tokens=True) == ["ab", "c"]
    assert processor.decode([5, 6, 2]) == "ab</s>"
    with processor.as_target_processor():
        assert processor.tokenizer("ab").input_ids == [0, 5, 6, 2]
    with pytest.raises(ValueError, match="either an `images` or `text` input.*both are None"):
        processor()


def test_processor_round_trip(folder: Path, tmp_path: Path) -> None:
    AutoProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    written = {file.name for file in tmp_path.iterdir()}
    assert {"preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"} <= written
    again = AutoProcessor.from_pretrained(tmp_path)
    own = AutoImageProcessor.from_pretrained(folder).to_dict()
    assert again.image_processor.to_dict() == {**own, "processor_class": "TrOCRProcessor"}
    assert again(text="ab").input_ids == [0, 5, 6, 2]


def test_processor_of_a_folder_with_weights_and_vocabulary_only(own: Path) -> None:
    for name in ("preprocessor_config.json", "tokenizer_config.json", "special_tokens_map.json"):
        (own / name).unlink()
    with pytest.warns(UserWarning, match="ViTImageProcessor for 16x16 pixels"):
        processor = AutoProcessor.from_pretrained(own)
    assert processor.image_processor.size == {"height": 16, "width": 16}
    assert processor.batch_decode([[2, 5, 6, 2]], skip_special_tokens=True) == ["ab"]


def test_processors_that_lack_a_part(own: Path) -> None:
    with pytest.raises(OptionError, match="A processor needs an image_processor and a tokenizer; missing: tokenizer"):
        TrOCRProcessor(ViTImageProcessor())
    with pytest.raises(OptionError, match="missing: image_processor"):
        TrOCRProcessor(tokenizer=AutoTokenizer.from_pretrained(own))
    with pytest.raises(OptionError, match=r"does not take do_resize, size; load AutoImageProcessor and"):
        AutoProcessor.from_pretrained(own, size=3, do_resize=False)
    (own / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"has an image processor but no tokenizer .*Missing is tokenizer.json"):
        AutoProcessor.from_pretrained(own)
    (own / "preprocessor_config.json").unlink()
    (own / "config.json").unlink()
    with pytest.raises(CheckpointNotFoundError, match="holds no preprocessor_config.json"):
        AutoProcessor.from_pretrained(own)


def test_a_whole_checkpoint_loads_without_a_word(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AutoModelForVision2Seq.from_pretrained(folder)
        AutoProcessor.from_pretrained(folder)
