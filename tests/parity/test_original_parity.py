"""The models' authors' own files against transformers, which gets their tensors by the steps of its conversion scripts.

Those scripts are no part of the installed package. What they do is done here on the same file: plain replacements in
the names, packed projections cut at the width, strict loading into a model of the config that they write down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import originals
import pytest
import tiny
import torch
import transformers
from torch import Tensor

from vision2seq import AutoModelForVision2Seq, AutoProcessor
from vision2seq.cli.convert import convert

torch.set_num_threads(1)

SWIN_NAMES = [
    ("encoder.model.", "encoder."),
    ("decoder.model.", "decoder."),
    ("encoder.layers", "encoder.encoder.layers"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("patch_embed.norm", "embeddings.norm"),
    (".attn.proj", ".attention.output.dense"),
    (".attn.", ".attention.self."),
    (".norm1", ".layernorm_before"),
    (".norm2", ".layernorm_after"),
    (".mlp.fc1", ".intermediate.dense"),
    (".mlp.fc2", ".output.dense"),
]
VIT_NAMES = [
    ("encoder.deit.blocks", "encoder.encoder.layer"),
    ("encoder.deit.norm", "encoder.layernorm"),
    ("encoder.deit.patch_embed.proj", "encoder.embeddings.patch_embeddings.projection"),
    ("encoder.deit.cls_token", "encoder.embeddings.cls_token"),
    ("encoder.deit.dist_token", "encoder.embeddings.distillation_token"),
    ("encoder.deit.pos_embed", "encoder.embeddings.position_embeddings"),
    (".attn.qkv", ".attention.attention"),
    (".attn.proj", ".attention.output.dense"),
    (".norm1", ".layernorm_before"),
    (".norm2", ".layernorm_after"),
    (".mlp.fc1", ".intermediate.dense"),
    (".mlp.fc2", ".output.dense"),
]


def replaced(name: str, pairs: list[tuple[str, str]]) -> str:
    for old, new in pairs:
        name = name.replace(old, new)
    return name


def cut(name: str, packed: Tensor, pairs: list[tuple[str, str]]) -> dict[str, Tensor]:
    width = len(packed) // 3
    parts = (packed[:width], packed[width : 2 * width], packed[-width:])
    stem, _, kind = replaced(name, pairs).replace(".qkv", "").rpartition(".")
    return {f"{stem}.{one}.{kind}": part for one, part in zip(("query", "key", "value"), parts, strict=True)}


def loaded_by_transformers(encoder: Any, decoder: Any, state: dict[str, Tensor]) -> Any:
    """A model of transformers with these tensors, all of them and no others."""
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = transformers.VisionEncoderDecoderModel(config)
    model.encoder.pooler = None  # add_pooling_layer=False
    model.load_state_dict(state)
    return model.eval()


def converted_swin(path: Path, config: dict[str, Any], **decoder: Any) -> Any:
    state: dict[str, Tensor] = {}
    for name, tensor in torch.load(path / "pytorch_model.bin").items():
        if "qkv" in name:
            state |= cut(name, tensor, SWIN_NAMES)
        elif "attn_mask" not in name and not name.startswith("encoder.model.norm."):
            state[replaced(name, SWIN_NAMES)] = tensor
    encoder = transformers.DonutSwinConfig(
        image_size=config["input_size"],
        patch_size=4,
        depths=config["encoder_layer"],
        num_heads=[1, 2, 4, 4],
        window_size=config["window_size"],
        embed_dim=4,
    )
    mbart = transformers.MBartConfig(
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
        decoder_layers=config["decoder_layer"],
        max_position_embeddings=config["max_position_embeddings"] or config["max_length"],
        vocab_size=originals.VOCABULARY,
        d_model=32,
        decoder_ffn_dim=20,
        scale_embedding=True,
        add_final_layer_norm=True,
        **decoder,
    )
    return loaded_by_transformers(encoder, mbart, state)


def agree(path: Path, theirs: Any, folder: Path) -> None:
    """The same keys and tensors, the same logits and text, here and in transformers on what was converted."""
    ours = AutoModelForVision2Seq.from_pretrained(path)
    expected = theirs.state_dict()
    found = {name: tensor for name, tensor in ours.state_dict().items() if "pooler" not in name}
    absent = {name for name in expected if name.endswith("_float_tensor")}  # a buffer of theirs, and of fairseq
    assert found.keys() == expected.keys() - absent
    assert all(torch.equal(found[name], expected[name]) for name in found)
    torch.testing.assert_close(originals.logits(ours), originals.logits(theirs), atol=1e-4, rtol=0)

    convert(str(path), folder, hidden=True)
    again, info = transformers.AutoModelForVision2Seq.from_pretrained(folder, output_loading_info=True)
    assert not info["unexpected_keys"] and not info["mismatched_keys"]
    assert not [name for name in info["missing_keys"] if "pooler" not in name and name not in absent]
    torch.testing.assert_close(originals.logits(again), originals.logits(theirs), atol=1e-4, rtol=0)
    size = ours.config.encoder.image_size
    pixels = torch.randn(
        2, 3, *((size, size) if isinstance(size, int) else size), generator=torch.Generator().manual_seed(5)
    )
    for beams in (1, 3):
        assert torch.equal(
            ours.generate(pixels, max_length=12, num_beams=beams),
            again.generate(pixels, max_length=12, num_beams=beams),
        )


def test_donut(tmp_path: Path) -> None:
    path = originals.write_donut(tmp_path / "donut", originals.swin_mbart(), originals.DONUT)
    agree(path, converted_swin(path, originals.DONUT), tmp_path / "new")


def test_nougat(tmp_path: Path) -> None:
    model = originals.swin_mbart(tie_word_embeddings=False, max_position_embeddings=30)
    path = originals.write_donut(tmp_path / "nougat", model, originals.NOUGAT)
    agree(path, converted_swin(path, originals.NOUGAT, tie_word_embeddings=False), tmp_path / "new")


@pytest.mark.parametrize(
    ("decoder", "distilled", "kept"),
    [
        (originals.ROBERTA, False, originals.settings()),
        (originals.SINUSOIDAL, False, originals.settings(decoder_pretrained="roberta")),
        (
            originals.SMALL,
            True,
            originals.settings(decoder_pretrained="unilm", decoder_learned_pos=True, decoder_attention_heads=8),
        ),
    ],
    ids=["handwritten", "stage1", "small"],
)
def test_trocr(tmp_path: Path, decoder: dict[str, Any], distilled: bool, kept: Any) -> None:
    path = originals.write_trocr(tmp_path / "trocr.pt", originals.vit_trocr(distilled=distilled, **decoder), kept)
    state: dict[str, Tensor] = {}
    for name, tensor in torch.load(path, weights_only=False)["model"].items():
        if "qkv" in name:
            state |= cut(name, tensor, VIT_NAMES)
        elif name.startswith("decoder.") and "output_projection" not in name and name != "decoder.version":
            state[f"decoder.model.{name}"] = tensor
        elif ".head" not in name and name != "decoder.version":
            state[replaced(name, VIT_NAMES)] = tensor
    shape = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "image_size": 32,
        "patch_size": 8,
        "qkv_bias": distilled,
    }
    encoder = transformers.DeiTConfig(**shape) if distilled else transformers.ViTConfig(**shape)
    trocr = transformers.TrOCRConfig(
        vocab_size=originals.VOCABULARY,
        d_model=128,
        decoder_layers=3,
        decoder_ffn_dim=40,
        **{"decoder_attention_heads": 2, "max_position_embeddings": 20, "cross_attention_hidden_size": 128, **decoder},
    )
    agree(path, loaded_by_transformers(encoder, trocr, state), tmp_path / "new")


def test_transformers_reads_the_processor_that_was_written(tmp_path: Path) -> None:
    """Nougat's, whose tokenizer.json names no special tokens."""
    model = originals.swin_mbart(tie_word_embeddings=False, max_position_embeddings=30)
    path = originals.write_donut(tmp_path / "nougat", model, originals.NOUGAT)
    tiny.write_tokenizer(path, count=originals.VOCABULARY)
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (path / "special_tokens_map.json").unlink()
    ours = AutoProcessor.from_pretrained(path)
    convert(str(path), tmp_path / "new", hidden=True)
    theirs = transformers.NougatTokenizerFast.from_pretrained(tmp_path / "new")
    for name in ("bos_token_id", "pad_token_id", "eos_token_id", "unk_token_id", "model_max_length"):
        assert getattr(ours.tokenizer, name) == getattr(theirs, name), name
    assert ours.tokenizer("abc").input_ids == theirs("abc").input_ids
    images = transformers.NougatImageProcessor.from_pretrained(tmp_path / "new")
    picture = tiny.picture(size=(90, 140))
    assert (
        ours.image_processor(picture, return_tensors="np").pixel_values
        == images(picture, return_tensors="np").pixel_values
    ).all()
