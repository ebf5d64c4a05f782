"""Writers of the models' authors' own formats: a standard model, laid out as Donut's, Nougat's or TrOCR's code has it.

They follow the modules of that code (timm's, fairseq's), and share nothing with the tables that read them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vision2seq import VisionEncoderDecoderConfig, VisionEncoderDecoderModel

VOCABULARY = 41

Content = dict[str, Any]

DONUT: dict[str, Any] = {
    "architectures": ["DonutModel"],
    "model_type": "donut",
    "input_size": [128, 64],
    "align_long_axis": True,
    "window_size": 2,
    "encoder_layer": [1, 2, 1, 1],
    "decoder_layer": 2,
    "max_position_embeddings": None,
    "max_length": 24,
    "name_or_path": "",
    "torch_dtype": "float32",
    "transformers_version": "4.11.3",
}
NOUGAT: dict[str, Any] = {
    **{key: value for key, value in DONUT.items() if key != "align_long_axis"},
    "architectures": ["NougatModel"],
    "model_type": "nougat",
    "align_long_axis": False,
    "max_position_embeddings": 30,
    "patch_size": 4,
    "embed_dim": 4,
    "num_heads": [1, 2, 4, 4],
    "hidden_dimension": 32,
}
"""What the two config.json hold."""


def swin_mbart(**decoder: Any) -> VisionEncoderDecoderModel:
    """The standard model that `DONUT` describes."""
    encoder = {
        "model_type": "donut-swin",
        "image_size": [128, 64],
        "patch_size": 4,
        "embed_dim": 4,
        "depths": [1, 2, 1, 1],
        "num_heads": [1, 2, 4, 4],
        "window_size": 2,
    }
    mbart = {
        "model_type": "mbart",
        "vocab_size": VOCABULARY,
        "d_model": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 16,
        "decoder_ffn_dim": 20,
        "max_position_embeddings": 24,
        "scale_embedding": True,
        "is_decoder": True,
        "add_cross_attention": True,
    }
    return drawn(VisionEncoderDecoderConfig(encoder=encoder, decoder=mbart | decoder))


def vit_trocr(
    *, width: int = 128, distilled: bool = False, image_size: Any = 32, **decoder: Any
) -> VisionEncoderDecoderModel:
    """A standard TrOCR, of two heads in the encoder."""
    encoder = {
        "model_type": "deit" if distilled else "vit",
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "image_size": image_size,
        "patch_size": 8,
        "qkv_bias": distilled,
    }
    trocr = {
        "model_type": "trocr",
        "vocab_size": VOCABULARY,
        "d_model": 128,
        "decoder_layers": 3,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 40,
        "max_position_embeddings": 20,
        "cross_attention_hidden_size": width,
    }
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    return drawn(VisionEncoderDecoderConfig(encoder=encoder, decoder=trocr | decoder, **ids))


# What the decoders of the published files are: those that began as RoBERTa, the sinusoidal ones, and the small ones.
ROBERTA: dict[str, Any] = {"activation_function": "gelu", "scale_embedding": False}
SINUSOIDAL: dict[str, Any] = {
    "activation_function": "relu",
    "scale_embedding": True,
    "use_learned_position_embeddings": False,
    "layernorm_embedding": False,
    "tie_word_embeddings": False,
    "max_position_embeddings": 1024,
}
SMALL: dict[str, Any] = {
    "activation_function": "relu",
    "scale_embedding": True,
    "tie_word_embeddings": False,
    "decoder_attention_heads": 8,
}


def drawn(config: VisionEncoderDecoderConfig) -> VisionEncoderDecoderModel:
    """A model with weights wide enough that all of it shows in the output."""
    model = VisionEncoderDecoderModel._from_config(config)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            parameter.copy_(1 + 0.2 * noise if parameter.ndim == 1 and name.endswith("weight") else 0.2 * noise)
    return model.eval()


# ------------------------------------------------------------------------------------------------------- Donut, Nougat


def donut_tensors(model: VisionEncoderDecoderModel) -> dict[str, Tensor]:
    """The state dict of a DonutModel with timm 0.5.4, module by module."""
    state, found = model.state_dict(), {}

    def linear(new: str, old: str) -> None:
        found[f"{new}.weight"], found[f"{new}.bias"] = state[f"{old}.weight"], state[f"{old}.bias"]

    linear("encoder.model.patch_embed.proj", "encoder.embeddings.patch_embeddings.projection")
    linear("encoder.model.patch_embed.norm", "encoder.embeddings.norm")
    depths = model.config.encoder.depths
    for stage, depth in enumerate(depths):
        for number in range(depth):
            new, old = (
                f"encoder.model.layers.{stage}.blocks.{number}",
                f"encoder.encoder.layers.{stage}.blocks.{number}",
            )
            if number % 2:
                found[f"{new}.attn_mask"] = torch.full((4, 4, 4), -100.0)
            linear(f"{new}.norm1", f"{old}.layernorm_before")
            attention = f"{old}.attention.self"
            found[f"{new}.attn.relative_position_bias_table"] = state[f"{attention}.relative_position_bias_table"]
            found[f"{new}.attn.relative_position_index"] = state[f"{attention}.relative_position_index"]
            for kind in ("weight", "bias"):
                found[f"{new}.attn.qkv.{kind}"] = torch.cat(
                    [state[f"{attention}.{one}.{kind}"] for one in ("query", "key", "value")]
                )
            linear(f"{new}.attn.proj", f"{old}.attention.output.dense")
            linear(f"{new}.norm2", f"{old}.layernorm_after")
            linear(f"{new}.mlp.fc1", f"{old}.intermediate.dense")
            linear(f"{new}.mlp.fc2", f"{old}.output.dense")
        if stage < len(depths) - 1:
            name = f"layers.{stage}.downsample"
            found[f"encoder.model.{name}.reduction.weight"] = state[f"encoder.encoder.{name}.reduction.weight"]
            linear(f"encoder.model.{name}.norm", f"encoder.encoder.{name}.norm")
    last = model.config.encoder.hidden_size
    found["encoder.model.norm.weight"], found["encoder.model.norm.bias"] = torch.randn(last), torch.randn(last)
    for name, tensor in state.items():
        if name.startswith("decoder."):
            found[f"decoder.model.{name.removeprefix('decoder.')}"] = tensor
    return found


def write_donut(
    folder: Path, model: VisionEncoderDecoderModel, config: dict[str, Any], *, legacy: bool = False
) -> Path:
    """Write a folder as Donut's and Nougat's ``save_pretrained`` does; matrices that are one share their storage."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(donut_tensors(model), folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    return folder


# ---------------------------------------------------------------------------------------------------------------- TrOCR


def trocr_tensors(model: VisionEncoderDecoderModel) -> dict[str, Tensor]:
    """The state dict of unilm's TrOCR, module by module."""
    state, found = model.state_dict(), {}
    distilled = model.config.encoder.model_type == "deit"

    def linear(new: str, old: str) -> None:
        found[f"{new}.weight"], found[f"{new}.bias"] = state[f"{old}.weight"], state[f"{old}.bias"]

    found["encoder.deit.cls_token"] = state["encoder.embeddings.cls_token"]
    found["encoder.deit.pos_embed"] = state["encoder.embeddings.position_embeddings"]
    if distilled:
        found["encoder.deit.dist_token"] = state["encoder.embeddings.distillation_token"]
    linear("encoder.deit.patch_embed.proj", "encoder.embeddings.patch_embeddings.projection")
    for number in range(model.config.encoder.num_hidden_layers):
        new, old = f"encoder.deit.blocks.{number}", f"encoder.encoder.layer.{number}"
        linear(f"{new}.norm1", f"{old}.layernorm_before")
        for kind in ("weight", "bias") if distilled else ("weight",):
            found[f"{new}.attn.qkv.{kind}"] = torch.cat(
                [state[f"{old}.attention.attention.{one}.{kind}"] for one in ("query", "key", "value")]
            )
        linear(f"{new}.attn.proj", f"{old}.attention.output.dense")
        linear(f"{new}.norm2", f"{old}.layernorm_after")
        linear(f"{new}.mlp.fc1", f"{old}.intermediate.dense")
        linear(f"{new}.mlp.fc2", f"{old}.output.dense")
    linear("encoder.deit.norm", "encoder.layernorm")
    width = model.config.encoder.hidden_size
    for head in ("head", "head_dist") if distilled else ("head",):
        found[f"encoder.deit.{head}.weight"], found[f"encoder.deit.{head}.bias"] = torch.randn(9, width), torch.randn(9)
    found["decoder.version"] = torch.tensor([3.0])
    for name, tensor in state.items():
        if name.startswith("decoder.model.decoder."):
            found[name.replace("decoder.model.decoder.", "decoder.", 1)] = tensor
    if not model.config.decoder.use_learned_position_embeddings:
        found["decoder.embed_positions._float_tensor"] = torch.zeros(1)
    found["decoder.output_projection.weight"] = state["decoder.output_projection.weight"].clone()
    return found


def settings(**changes: Any) -> argparse.Namespace:
    """What fairseq keeps of the arguments of a training: a few of its hundreds."""
    values = {
        "arch": "beit_base_decoder_large",
        "deit_arch": "beit_base_patch16_384",
        "input_size": 32,
        "ape": False,
        "activation_fn": "relu",
        "decoder_learned_pos": False,
        "decoder_normalize_before": False,
        "decoder_attention_heads": 2,
        "decoder_layers": 3,
        "no_scale_embedding": False,
        "layernorm_embedding": False,
        "share_decoder_input_output_embed": False,
        "max_target_positions": 1024,
        "decoder_pretrained": "roberta2",
        "lr": [2e-05],
        "data": "somewhere",
        "tokens_per_sample": None,
    }
    return argparse.Namespace(**values | changes)


def write_trocr(
    path: Path, model: VisionEncoderDecoderModel, kept: Any = None, *, form: str = "cfg", legacy: bool = False
) -> Path:
    """Write a file as fairseq does.

    Args:
        path: Of the ``.pt`` file.
        model: In the standard form.
        kept: The arguments of the training.
        form: Where they are: under ``cfg`` as in newer releases, under ``args`` as in older ones, or nowhere.
        legacy: Write the older of torch's containers.
    """
    content = {
        "args": kept if form == "args" else None,
        "cfg": {"_name": None, "common": {"seed": 1, "fp16": True}, "model": kept, "task": kept}
        if form == "cfg"
        else None,
        "model": trocr_tensors(model),
        "criterion": None,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "lr_scheduler_state": {"best": 0.5}, "num_updates": 3}],
        "task_state": {},
        "extra_state": {"train_iterator": {"epoch": 2}, "val_loss": 0.5, "metrics": [(0, "loss", "AverageMeter", {})]},
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.zeros(3), "step": 3}}, "param_groups": [{"lr": 0.1}]},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


# ----------------------------------------------------------------------------------------------------------- comparing


@torch.no_grad()
def logits(model: Any) -> Tensor:
    """What a model says to random pixels and tokens."""
    size = model.config.encoder.image_size
    height, width = (size, size) if isinstance(size, int) else size
    draw = torch.Generator().manual_seed(3)
    pixels, ids = torch.randn(2, 3, height, width, generator=draw), torch.randint(4, VOCABULARY, (2, 7), generator=draw)
    return model(pixel_values=pixels, decoder_input_ids=ids).logits  # type: ignore[no-any-return]


def same(found: Any, model: VisionEncoderDecoderModel) -> bool:
    """Whether two models have equal tensors and say the same."""
    ours, theirs = found.state_dict(), model.state_dict()
    needed = [name for name in theirs if "pooler" not in name]
    return (
        ours.keys() == theirs.keys()
        and all(torch.equal(ours[name], theirs[name]) for name in needed)
        and torch.equal(logits(found), logits(model))
    )


def rewrite(path: Path, change: Callable[[Content], object]) -> Path:
    """Change what a weight file holds, and write it anew."""
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)
    return path


def without(*names: str) -> Callable[[Content], object]:
    """A change for `rewrite`: take these out."""
    return lambda content: [content.pop(name) for name in names]
