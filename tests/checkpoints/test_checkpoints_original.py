"""Donut's and Nougat's own checkpoints: the same model as the standard one, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import originals
import pytest
import tiny
import torch
from originals import Content, rewrite, same, without
from safetensors.torch import save_file

from vision2seq import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForVision2Seq,
    AutoProcessor,
    AutoTokenizer,
    DonutProcessor,
    NougatImageProcessor,
    NougatProcessor,
    NougatTokenizerFast,
    VisionEncoderDecoderModel,
)
from vision2seq.checkpoints import find_weights, framework_name
from vision2seq.checkpoints.original.table import Table
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, ConfigError, WeightsMismatchError

torch.set_num_threads(1)


@pytest.mark.parametrize("legacy", [False, True])
def test_donut(tmp_path: Path, legacy: bool) -> None:
    model = originals.swin_mbart()
    folder = originals.write_donut(tmp_path, model, originals.DONUT, legacy=legacy)
    found, info = AutoModelForVision2Seq.from_pretrained(folder, output_loading_info=True)
    assert type(found) is VisionEncoderDecoderModel and not found.training
    assert same(found, model)
    assert found.decoder.lm_head.weight is found.decoder.model.decoder.embed_tokens.weight
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert info[kind] == [], kind
    assert sorted(info["harmless_keys"]) == [
        "encoder.model.layers.1.blocks.1.attn_mask",
        "encoder.model.norm.bias",
        "encoder.model.norm.weight",
    ]
    assert (
        "encoder.model.layers.1.blocks.0.attn.qkv.bias",
        "encoder.encoder.layers.1.blocks.0.attention.self.key.bias",
    ) in info["converted_keys"]
    assert same(VisionEncoderDecoderModel.from_pretrained(folder), model)
    assert same(AutoModelForVision2Seq.from_pretrained(folder / "pytorch_model.bin"), model)


def test_config_of_donut(tmp_path: Path) -> None:
    folder = originals.write_donut(tmp_path, originals.swin_mbart(), originals.DONUT)
    config = AutoConfig.from_pretrained(folder)
    assert config.model_type == "vision-encoder-decoder"
    assert (config.encoder.model_type, config.decoder.model_type) == ("donut-swin", "mbart")
    expected = originals.swin_mbart().config
    for half in ("encoder", "decoder"):
        assert getattr(config, half) == getattr(AutoConfig.from_pretrained(saved(tmp_path / half, expected)), half)
    assert config.max_length == 24 and config.bad_words_ids == [[3]]  # as the original generates
    assert config.name_or_path == str(folder)
    assert AutoConfig.from_pretrained(folder / "config.json").to_dict() == config.to_dict()
    unused = AutoConfig.from_pretrained(folder, max_length=9, nonsense=1, return_unused_kwargs=True)
    assert unused[0].max_length == 9 and unused[1] == {"nonsense": 1}


def saved(folder: Path, config: Any) -> Path:
    """A standard config.json, with what the format has besides."""
    values = config.to_dict()
    values["decoder"] |= {"add_final_layer_norm": True, "is_encoder_decoder": False}
    values["decoder"].setdefault("tie_word_embeddings", True)
    values["encoder"].setdefault("num_channels", 3)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def test_donut_as_other_files(tmp_path: Path) -> None:
    """As safetensors, in shards, and in half precision."""
    model = originals.swin_mbart()
    tensors = originals.donut_tensors(model)
    folder = originals.write_donut(tmp_path / "bin", model, originals.DONUT)
    (folder / "pytorch_model.bin").unlink()
    for tied in ("decoder.model.model.decoder.embed_tokens.weight", "decoder.model.lm_head.weight"):
        once = {name: tensor.contiguous() for name, tensor in tensors.items() if name != tied}
        save_file(once, folder / "model.safetensors")  # which holds what is one once
        assert same(AutoModelForVision2Seq.from_pretrained(folder), model)

    shards = originals.write_donut(tmp_path / "shards", model, originals.DONUT)
    (shards / "pytorch_model.bin").unlink()
    names = list(tensors)
    parts = {"pytorch_model-00001-of-00002.bin": names[:60], "pytorch_model-00002-of-00002.bin": names[60:]}
    for file, inside in parts.items():
        torch.save({name: tensors[name] for name in inside}, shards / file)
    weight_map = {name: file for file, inside in parts.items() for name in inside}
    (shards / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert same(AutoModelForVision2Seq.from_pretrained(shards), model)

    half = originals.write_donut(tmp_path / "half", model.half(), originals.DONUT)
    found = AutoModelForVision2Seq.from_pretrained(half, dtype="auto")
    assert found.dtype is torch.float16
    assert same(AutoModelForVision2Seq.from_pretrained(half), model.float())


def test_matrices_of_a_donut_that_came_apart(tmp_path: Path) -> None:
    """Donut's own code unties them when it loads a model to train it on."""
    model = originals.swin_mbart(tie_word_embeddings=False)
    folder = originals.write_donut(tmp_path, model, originals.DONUT)
    found, info = AutoModelForVision2Seq.from_pretrained(folder, output_loading_info=True)
    assert same(found, model) and info["error_msgs"] == []
    assert found.config.decoder.tie_word_embeddings is False


def test_nougat(tmp_path: Path) -> None:
    model = originals.swin_mbart(tie_word_embeddings=False, max_position_embeddings=30)
    folder = originals.write_donut(tmp_path, model, originals.NOUGAT)
    found = AutoModelForVision2Seq.from_pretrained(folder)
    assert same(found, model)
    assert found.decoder.lm_head.weight is not found.decoder.model.decoder.embed_tokens.weight
    assert framework_name(find_weights(folder)) == "the original Nougat (facebookresearch)"


def test_it_trains_and_saves_as_a_standard_one(tmp_path: Path) -> None:
    model = originals.swin_mbart()
    found = AutoModelForVision2Seq.from_pretrained(originals.write_donut(tmp_path / "old", model, originals.DONUT))
    with torch.no_grad():
        found.encoder.encoder.layers[0].blocks[0].attention.self.query.weight.add_(1)  # a part of what was packed
    block = model.encoder.encoder.layers[0].blocks[0].attention.self
    ours = found.encoder.encoder.layers[0].blocks[0].attention.self
    assert torch.equal(ours.key.weight, block.key.weight) and torch.equal(ours.query.weight, block.query.weight + 1)
    found.save_pretrained(tmp_path / "new")
    again, info = VisionEncoderDecoderModel.from_pretrained(tmp_path / "new", output_loading_info=True)
    assert torch.equal(originals.logits(again), originals.logits(found)) and info["converted_keys"] == []
    assert json.loads((tmp_path / "new" / "config.json").read_text())["model_type"] == "vision-encoder-decoder"


def test_the_processor_of_donut(tmp_path: Path) -> None:
    folder = originals.write_donut(tmp_path, originals.swin_mbart(), originals.DONUT)
    tiny.write_tokenizer(folder, count=originals.VOCABULARY)
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor) is DonutProcessor
    images = processor.image_processor
    assert images.size == {"height": 128, "width": 64} and images.do_align_long_axis is True
    # As its code has it: timm's numbers, not those that other Donuts are trained with.
    assert images.image_mean == [0.485, 0.456, 0.406] and images.image_std == [0.229, 0.224, 0.225]
    assert images(tiny.picture(), return_tensors="pt").pixel_values.shape == (1, 3, 128, 64)
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "DonutImageProcessor", "size": [8, 16]}')
    assert AutoImageProcessor.from_pretrained(folder).size == {"height": 16, "width": 8}


def test_the_processor_of_nougat(tmp_path: Path) -> None:
    """Its code names the special tokens, where its files do not."""
    model = originals.swin_mbart(tie_word_embeddings=False, max_position_embeddings=30)
    folder = originals.write_donut(tmp_path, model, originals.NOUGAT)
    tiny.write_tokenizer(folder, count=originals.VOCABULARY)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (folder / "special_tokens_map.json").unlink()
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor) is NougatProcessor
    tokenizer = processor.tokenizer
    assert type(tokenizer) is NougatTokenizerFast
    ids = (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    assert ids == (0, 1, 2, 3) and tokenizer.model_max_length == 24
    assert AutoTokenizer.from_pretrained(folder, model_max_length=7).model_max_length == 7
    assert type(processor.image_processor) is NougatImageProcessor
    assert processor.image_processor.size == {"height": 128, "width": 64}
    config = AutoConfig.from_pretrained(folder)
    assert (config.decoder_start_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)


def test_generation_follows_the_original(tmp_path: Path) -> None:
    found = AutoModelForVision2Seq.from_pretrained(
        originals.write_donut(tmp_path, originals.swin_mbart(), originals.DONUT)
    )
    assert found.generation_config.max_length == 24
    pixels = torch.randn(1, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    ids = found.generate(pixels)
    assert ids.shape[1] <= 24 and 3 not in ids.tolist()[0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"window_size": 3}, r"config\.json has window_size 3, but the weights are those of windows of 2 patches"),
        ({"input_size": 64}, r"config\.json has input_size 64; expected \[height, width\]"),
        ({"encoder_layer": 4}, r"config\.json has encoder_layer 4; expected the number of layers in each stage"),
        ({"encoder_layer": []}, r"config\.json has encoder_layer \[\]; expected"),
        ({"decoder_layer": "two"}, r"config\.json has decoder_layer 'two'; expected a number above 0"),
        ({"max_length": None}, r"config\.json has max_length None; expected a number above 0"),
    ],
)
def test_a_config_that_cannot_be(tmp_path: Path, change: Content, match: str) -> None:
    folder = originals.write_donut(tmp_path, originals.swin_mbart(), originals.DONUT | change)
    with pytest.raises(ConfigError, match=match):
        AutoConfig.from_pretrained(folder)
    with pytest.raises(ConfigError, match=match):
        AutoModelForVision2Seq.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"encoder_layer": [1, 2, 2, 1]},
            r"1[0-9] tensors of the model are missing \(encoder\.encoder\.layers\.2\.blocks\.1",
        ),
        ({"encoder_layer": [1, 1, 1, 1]}, r"1[0-9] are none of the model's \(encoder\.encoder\.layers\.1\.blocks\.1"),
        ({"decoder_layer": 3}, r"26 tensors of the model are missing \(decoder\.model\.decoder\.layers\.2"),
        ({"max_length": 25}, r"embed_positions\.weight: \[26, 32\] in the file, \[27, 32\] in the model"),
    ],
)
def test_a_config_of_another_model(tmp_path: Path, change: Content, match: str) -> None:
    folder = originals.write_donut(tmp_path, originals.swin_mbart(), originals.DONUT | change)
    with pytest.raises(WeightsMismatchError, match=match):
        AutoModelForVision2Seq.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            without("encoder.model.layers.1.blocks.1.attn.qkv.weight"),
            r"not complete as a checkpoint of the original Donut \(clovaai\): 3 tensors of the model are missing "
            r"\(encoder\.encoder\.layers\.1\.blocks\.1\.attention\.self\.query\.weight",
        ),
        (without("decoder.model.model.decoder.layers.1.fc2.bias"), r"1 tensors of the model are missing \(decoder\."),
        (
            lambda c: c.update({"encoder.model.extra.weight": torch.ones(2)}),
            r"1 are none of the model's \(encoder\.model\.",
        ),
        (
            lambda c: c.update({"decoder.model.adapter.weight": torch.ones(2)}),
            r"1 are none of the model's \(decoder\.adapt",
        ),
        (
            lambda c: c.update({"encoder.model.layers.0.blocks.0.attn.qkv.weight": torch.ones(11, 4)}),
            r"query\.weight: \[4, 4\] in the file|value\.weight: \[3, 4\] in the file, \[4, 4\] in the model",
        ),
        (
            lambda c: c.update({"encoder.model.layers.0.blocks.0.attn.qkv.weight": torch.ones(12, 5)}),
            r"query\.weight: \[4, 5\] in the file, \[4, 4\] in the model",
        ),
        (
            lambda c: c.update({"encoder.model.layers.0.blocks.0.attn.qkv.bias": torch.tensor(1.0)}),
            r"query\.bias: \[\] in the file, \[4\] in the model",
        ),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, change: Callable[[Content], object], match: str) -> None:
    folder = originals.write_donut(tmp_path, originals.swin_mbart(), originals.DONUT)
    rewrite(folder / "pytorch_model.bin", change)
    with pytest.raises(WeightsMismatchError, match=match):
        AutoModelForVision2Seq.from_pretrained(folder)


@pytest.mark.parametrize(
    "name", ["encoder.model.patch_embed.proj.weight", "decoder.model.model.decoder.layers.0.fc1.weight"]
)
def test_weights_without_what_the_shape_follows_from(tmp_path: Path, name: str) -> None:
    folder = originals.write_donut(tmp_path, originals.swin_mbart(), originals.DONUT)
    rewrite(folder / "pytorch_model.bin", without(name))
    with pytest.raises(ConfigError, match=r"The weights lack (patch_embed|layers\.0\.fc1).*cannot be told"):
        AutoModelForVision2Seq.from_pretrained(folder)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(originals.DONUT))
    for load in (AutoConfig.from_pretrained, AutoModelForVision2Seq.from_pretrained):
        with pytest.raises(CheckpointNotFoundError, match="No weights in"):
            load(tmp_path)


def test_a_truncated_donut(tmp_path: Path) -> None:
    folder = originals.write_donut(tmp_path, originals.swin_mbart(), originals.DONUT)
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointCorruptError, match=r"pytorch_model\.bin cannot be read as PyTorch weights"):
        AutoModelForVision2Seq.from_pretrained(folder)


def test_the_first_rule_that_fits_counts() -> None:
    rules = Table({"a.#.b.#.*": "x.#.y.#.*", "a.*": "z.*", "p.*": ("q.*", "k.*"), "gone": ()})
    tensor = torch.arange(6.0)
    assert [name for name, _ in rules.renamed("a.1.b.22.c.d", tensor)] == ["x.1.y.22.c.d"]
    assert [name for name, _ in rules.renamed("a.one.b", tensor)] == ["z.one.b"]
    assert [name for name, _ in rules.renamed("ab", tensor)] == ["ab"]
    assert [(name, part.tolist()) for name, part in rules.renamed("p.w", tensor)] == [
        ("q.w", [0, 1, 2]),
        ("k.w", [3, 4, 5]),
    ]
    assert [name for name, _ in rules.renamed("gone", tensor)] == ["gone"] and rules.dropped == ("^gone$",)
