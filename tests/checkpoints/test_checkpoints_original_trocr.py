"""TrOCR's own checkpoints, as fairseq saves them: the same model as the standard one, and nothing of theirs is run."""

from __future__ import annotations

import argparse
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import originals
import pytest
import torch
from originals import Content, rewrite, same, without

from vision2seq import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForVision2Seq,
    AutoProcessor,
    VisionEncoderDecoderModel,
    ViTImageProcessor,
)
from vision2seq.checkpoints import find_weights, framework_name
from vision2seq.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    ConfigError,
    TokenizerError,
    UnsafePickleError,
    UnsupportedError,
    WeightsMismatchError,
)

torch.set_num_threads(1)


SMALL = originals.settings(
    arch="trocr_small",
    decoder_pretrained="unilm",
    decoder_learned_pos=True,
    layernorm_embedding=True,
    decoder_attention_heads=8,
    max_target_positions=512,
)
PUBLISHED = {
    "handwritten": (originals.ROBERTA, False, originals.settings()),
    # Files older than the setting: a decoder whose positions are learned against its settings is RoBERTa's.
    "handwritten, old": (originals.ROBERTA, False, originals.settings(decoder_pretrained="roberta")),
    "stage1": (originals.SINUSOIDAL, False, originals.settings(decoder_pretrained="roberta")),
    "large-printed": (originals.SINUSOIDAL, False, originals.settings(decoder_pretrained="roberta2")),
    "small": (originals.SMALL, True, SMALL),
}
"""The decoder's keys, whether the encoder is a DeiT, and what fairseq kept."""


@pytest.mark.parametrize(("form", "legacy"), [("cfg", False), ("args", False), ("args", True)])
@pytest.mark.parametrize("kind", PUBLISHED)
def test_trocr(tmp_path: Path, kind: str, form: str, legacy: bool) -> None:
    decoder, distilled, kept = PUBLISHED[kind]
    model = originals.vit_trocr(distilled=distilled, **decoder)
    path = originals.write_trocr(tmp_path / "trocr.pt", model, kept, form=form, legacy=legacy)
    found, info = AutoModelForVision2Seq.from_pretrained(path, output_loading_info=True)
    assert same(found, model)
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert info[name] == [], name
    for name, value in decoder.items():
        assert getattr(found.config.decoder, name) == value, name
    assert found.config.encoder.model_type == ("deit" if distilled else "vit")
    assert (found.config.decoder_start_token_id, found.config.pad_token_id, found.config.eos_token_id) == (2, 1, 2)
    assert framework_name(find_weights(path)) == "the original TrOCR (unilm, fairseq)"
    assert found.generate(torch.randn(1, 3, 32, 32), min_new_tokens=3, max_new_tokens=3).shape == (1, 4)
    assert same(VisionEncoderDecoderModel.from_pretrained(path), model)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_trocr_whose_settings_were_taken_out(tmp_path: Path, kind: str) -> None:
    decoder, distilled, _ = PUBLISHED[kind]
    model = originals.vit_trocr(distilled=distilled, **decoder)
    assert same(
        AutoModelForVision2Seq.from_pretrained(originals.write_trocr(tmp_path / "x.pt", model, form="no")), model
    )


def test_the_image_processor_of_a_trocr(tmp_path: Path) -> None:
    """Bicubic, as its code has it; there is nothing to make a tokenizer of."""
    model = originals.vit_trocr(image_size=[16, 48], **originals.ROBERTA)
    path = originals.write_trocr(tmp_path / "x.pt", model, originals.settings(input_size=[16, 48]))
    found = AutoImageProcessor.from_pretrained(path)
    assert type(found) is ViTImageProcessor
    assert (found.size, found.resample) == ({"height": 16, "width": 48}, 3)
    with pytest.raises(TokenizerError, match=r"has an image processor but no tokenizer"):
        AutoProcessor.from_pretrained(path)


def test_settings_of_other_decoders(tmp_path: Path) -> None:
    decoder = {**originals.SINUSOIDAL, "activation_function": "gelu", "scale_embedding": False}
    decoder |= {"tie_word_embeddings": True, "max_position_embeddings": 77, "decoder_attention_heads": 4}
    kept = originals.settings(
        decoder_pretrained=None,
        activation_fn="gelu",
        no_scale_embedding=True,
        share_decoder_input_output_embed=True,
        max_target_positions=77,
        decoder_attention_heads=4,
    )
    model = originals.vit_trocr(**decoder)
    found = AutoModelForVision2Seq.from_pretrained(originals.write_trocr(tmp_path / "x.pt", model, kept))
    assert same(found, model)
    assert found.config.decoder.max_position_embeddings == 77


def test_pictures_that_are_no_squares(tmp_path: Path) -> None:
    model = originals.vit_trocr(image_size=[16, 48], **originals.ROBERTA)
    path = originals.write_trocr(tmp_path / "x.pt", model, originals.settings(input_size=[16, 48]))
    assert same(AutoModelForVision2Seq.from_pretrained(path), model)
    path = originals.write_trocr(tmp_path / "y.pt", model, originals.settings(input_size="16x48"))
    assert same(AutoModelForVision2Seq.from_pretrained(path), model)
    path = originals.write_trocr(tmp_path / "z.pt", model, originals.settings(input_size=384))
    with pytest.raises(ConfigError, match="positions for 12 patches, which are no square.*input_size 384"):
        AutoModelForVision2Seq.from_pretrained(path)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"ape": True}, UnsupportedError, "ape=True"),
        (
            {"decoder_normalize_before": True, "decoder_pretrained": None},
            UnsupportedError,
            "normalises before each part",
        ),
        ({"activation_fn": "swish"}, UnsupportedError, "activation_fn 'swish'; known are gelu"),
        ({"activation_fn": ["relu"]}, UnsupportedError, r"activation_fn \['relu'\]; known are"),
        ({"max_target_positions": "many"}, ConfigError, "max_target_positions 'many'; expected a number above 0"),
        ({"decoder_attention_heads": -1}, ConfigError, "decoder_attention_heads -1; expected a number above 0"),
        ({"decoder_attention_heads": 3}, ConfigError, "128 is no multiple of decoder_attention_heads 3"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, change: Content, error: type[Exception], match: str) -> None:
    model = originals.vit_trocr(**originals.SINUSOIDAL)
    kept = originals.settings(**{"decoder_pretrained": "roberta"} | change)
    path = originals.write_trocr(tmp_path / "x.pt", model, kept)
    with pytest.raises(error, match=match):
        AutoModelForVision2Seq.from_pretrained(path)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (without("encoder.deit.pos_embed"), ConfigError, "The file lacks encoder.embeddings.position_embeddings"),
        (
            without("encoder.deit.blocks.1.norm2.bias"),
            WeightsMismatchError,
            r"missing \(encoder.*layernorm_after\.bias",
        ),
        (without("decoder.layers.0.fc2.weight"), WeightsMismatchError, r"1 tensors of the model are missing \(decoder"),
        (
            without("decoder.layers.1.fc1.weight", "decoder.layers.1.fc1.bias"),
            WeightsMismatchError,
            "2 tensors of the mo",
        ),
        (
            lambda c: c.update({"decoder.layer_norm.weight": torch.ones(128)}),
            WeightsMismatchError,
            r"1 are none of the model's \(decoder\.model\.decoder\.layer_norm\.weight",
        ),
        (
            lambda c: c.update({"encoder.deit.blocks.0.attn.relative_position_bias_table": torch.ones(9, 2)}),
            WeightsMismatchError,
            r"1 are none of the model's \(encoder\.deit\.blocks\.0\.attn\.relative",
        ),
        (
            lambda c: c.update({"decoder.layers.2.fc2.weight": torch.ones(128, 41)}),
            WeightsMismatchError,
            r"fc2\.weight: \[128, 41\] in the file, \[128, 40\] in the model",
        ),
    ],
)
def test_tensors_of_a_trocr_that_do_not_fit(
    tmp_path: Path, change: Callable[[Content], object], error: type[Exception], match: str
) -> None:
    path = originals.write_trocr(tmp_path / "x.pt", originals.vit_trocr(**originals.ROBERTA), originals.settings())
    rewrite(path, lambda content: change(content["model"]))
    with pytest.raises(error, match=match):
        AutoModelForVision2Seq.from_pretrained(path)


def test_fairseqs_checkpoint_of_another_model(tmp_path: Path) -> None:
    content = {"args": None, "cfg": {"model": argparse.Namespace(arch="roberta_large")}, "model": {"w": torch.ones(2)}}
    torch.save(content, tmp_path / "x.pt")
    for load in (AutoConfig.from_pretrained, AutoModelForVision2Seq.from_pretrained):
        with pytest.raises(
            UnsupportedError, match=r"not of TrOCR: none of its tensors is called encoder\.deit\.….* w\."
        ):
            load(tmp_path / "x.pt")


def test_another_pt_file_is_what_it_was(tmp_path: Path) -> None:
    """Weights alone, with a config.json beside them."""
    model = originals.vit_trocr(**originals.ROBERTA)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    assert same(AutoModelForVision2Seq.from_pretrained(tmp_path / "model.pt"), model)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointNotFoundError, match="holds no config.json"):
        AutoModelForVision2Seq.from_pretrained(tmp_path / "model.pt")
    with pytest.raises(
        CheckpointNotFoundError, match=r"There is model\.pt: if that is the checkpoint, pass the path of"
    ):
        find_weights(tmp_path)


def test_a_truncated_trocr(tmp_path: Path) -> None:
    path = originals.write_trocr(tmp_path / "x.pt", originals.vit_trocr(**originals.ROBERTA), originals.settings())
    path.write_bytes(path.read_bytes()[:-3000])
    for load in (AutoConfig.from_pretrained, AutoModelForVision2Seq.from_pretrained):
        with pytest.raises(CheckpointCorruptError, match=r"x\.pt cannot be read as PyTorch weights"):
            load(path)


# ------------------------------------------------------------------------------------------ what else a pickle may hold


class Calls:
    """Pickles as a call of a function, with a state to be set on what it returns."""

    def __init__(self, function: Callable[..., Any], *args: Any, state: Any = None) -> None:
        self.of = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.of


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["args", "cfg", "inside", "extra_state", "state"])
def test_a_checkpoint_of_fairseq_that_wants_to_run_code(tmp_path: Path, place: str, legacy: bool) -> None:
    marker = tmp_path / "was_here"
    evil = Calls(os.system, f"touch {marker}")
    path = originals.write_trocr(tmp_path / "x.pt", originals.vit_trocr(**originals.ROBERTA), originals.settings())
    content = torch.load(path, weights_only=False)
    if place == "inside":
        content["cfg"]["model"] = originals.settings(evil=evil)
    elif place == "state":
        content["args"] = Calls(argparse.Namespace, state=evil)
    else:
        content[place] = evil
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    for load in (AutoConfig.from_pretrained, AutoModelForVision2Seq.from_pretrained):
        with pytest.raises(UnsafePickleError, match=r"asks for (posix|os|nt)\.system"):
            load(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("program", "asked_for"),
    [
        (b"cargparse\nArgumentParser\n)R.", r"argparse\.ArgumentParser"),
        (b"cnumpy\nload\n)R.", r"numpy\.load"),
        (b"cnumpy.core.multiarray\n_reconstruct\n)R.", r"_reconstruct"),
        (b"c_codecs\nlookup\n)R.", r"_codecs\.lookup"),
        (b"cbuiltins\ngetattr\n)R.", r"builtins\.getattr"),
        (b"cbuiltins\nlist\n)R.", r"a call of the name builtins\.list"),
        (b"cfairseq.checkpoint_utils\nload_checkpoint_to_cpu\n)R.", r"fairseq\.checkpoint_utils"),
    ],
)
def test_what_is_no_setting_stays_refused(tmp_path: Path, program: bytes, asked_for: str) -> None:
    (tmp_path / "x.pt").write_bytes(program)
    with pytest.raises(UnsafePickleError, match=asked_for):
        AutoConfig.from_pretrained(tmp_path / "x.pt")


def test_settings_as_omegaconf_pickles_them(tmp_path: Path) -> None:
    """A DictConfig keeps its values in nodes; fairseq wrote whole ones for a while."""
    modules = {name: types.ModuleType(name) for name in ("omegaconf", "omegaconf.dictconfig", "omegaconf.nodes")}

    def class_of(name: str, module: str) -> Any:
        made = type(name, (), {"__module__": module})
        setattr(modules[module], name, made)
        return made

    container, node = class_of("DictConfig", "omegaconf.dictconfig"), class_of("AnyNode", "omegaconf.nodes")

    def wrapped(value: Any) -> Any:
        found = container() if isinstance(value, dict) else node()
        if isinstance(value, dict):
            found.__dict__ = {"_metadata": None, "_content": {name: wrapped(inner) for name, inner in value.items()}}
        else:
            found.__dict__ = {"_val": value, "_metadata": None}
        return found

    kept = vars(originals.settings(decoder_pretrained="roberta", max_target_positions=77))
    model = originals.vit_trocr(**{**originals.SINUSOIDAL, "max_position_embeddings": 77})
    path = originals.write_trocr(tmp_path / "x.pt", model, None)
    content = torch.load(path, weights_only=False)
    content["cfg"] = wrapped({"common": {"seed": 1}, "model": kept})
    sys.modules.update(modules)
    try:
        torch.save(content, path)
    finally:
        for name in modules:
            del sys.modules[name]
    found = AutoModelForVision2Seq.from_pretrained(path)
    assert same(found, model) and found.config.decoder.max_position_embeddings == 77
