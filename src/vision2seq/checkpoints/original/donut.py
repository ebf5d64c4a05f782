"""Donut's own checkpoints (github.com/clovaai/donut): timm's Swin and transformers' mBART side by side.

- The encoder's names are those of timm 0.5.4, with queries, keys and values packed; its last norm is not used.
- The decoder's names are those of transformers, one level deeper.
- config.json has a ``model_type`` of its own and says little: what its code has as constants is read from the shapes.

Source: ``donut/model.py`` there, and the names and config that ``convert_donut_to_pytorch.py`` of transformers gives
the same tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vision2seq.checkpoints.original.table import Table
from vision2seq.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = "encoder.model.layers.#.blocks.#"
_NEW_BLOCK = "encoder.encoder.layers.#.blocks.#"
_DECODER = "decoder.model.decoder"
TABLE = Table(
    {
        "encoder.model.patch_embed.proj.*": "encoder.embeddings.patch_embeddings.projection.*",
        "encoder.model.patch_embed.norm.*": "encoder.embeddings.norm.*",
        f"{_BLOCK}.norm1.*": f"{_NEW_BLOCK}.layernorm_before.*",
        f"{_BLOCK}.attn.qkv.*": tuple(f"{_NEW_BLOCK}.attention.self.{one}.*" for one in ("query", "key", "value")),
        f"{_BLOCK}.attn.proj.*": f"{_NEW_BLOCK}.attention.output.dense.*",
        f"{_BLOCK}.attn.relative_position_bias_table": f"{_NEW_BLOCK}.attention.self.relative_position_bias_table",
        f"{_BLOCK}.attn.relative_position_index": f"{_NEW_BLOCK}.attention.self.relative_position_index",
        f"{_BLOCK}.norm2.*": f"{_NEW_BLOCK}.layernorm_after.*",
        f"{_BLOCK}.mlp.fc1.*": f"{_NEW_BLOCK}.intermediate.dense.*",
        f"{_BLOCK}.mlp.fc2.*": f"{_NEW_BLOCK}.output.dense.*",
        f"{_BLOCK}.attn_mask": (),  # follows from the window and the size of the image
        "encoder.model.layers.#.downsample.*": "encoder.encoder.layers.#.downsample.*",
        "encoder.model.norm.*": (),  # timm's Swin has it, and Donut goes around it
        "decoder.model.*": "decoder.*",
    }
)

# The keys of config.json and their defaults. What is not said follows from the shapes.
_DEFAULTS: dict[str, Any] = {
    "input_size": [2560, 1920],
    "align_long_axis": False,
    "window_size": 10,
    "encoder_layer": [2, 2, 14, 2],
    "decoder_layer": 4,
    "max_position_embeddings": None,
    "max_length": 1536,
}
DECODER_HEADS = 16  # mBART's, which is the one number that neither the file nor the shapes tell
START, PAD, EOS, UNKNOWN = 0, 1, 2, 3  # of XLM-RoBERTa's tokenizer and Nougat's
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def config(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what a standard config.json of the checkpoint would hold.

    Args:
        values: What its own holds.
        tensors: Its tensors by PyTorch's names.

    Raises:
        ConfigError: The two contradict each other.
    """
    found = swin_mbart(values, tensors, _DEFAULTS)
    # Loading a Donut to train it on leaves its two matrices apart, whatever its config says.
    embedded, head = tensors.get(f"{_DECODER}.embed_tokens.weight"), tensors.get("decoder.lm_head.weight")
    found["decoder"]["tie_word_embeddings"] = embedded is None or head is None or same(embedded, head)
    return found


def swin_mbart(values: Mapping[str, Any], tensors: Mapping[str, Tensor], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config that Donut and Nougat have in common; see `config`."""
    stated = {name: values.get(name, default) for name, default in defaults.items()}
    for name in ("window_size", "decoder_layer", "max_length", "max_position_embeddings"):
        number = stated[name]
        if not (type(number) is int and number > 0) and (name, number) != ("max_position_embeddings", None):
            raise ConfigError(f"config.json has {name} {number!r}; expected a number above 0.")
    patches = tensors.get("encoder.embeddings.patch_embeddings.projection.weight")
    embedded = tensors.get(f"{_DECODER}.embed_tokens.weight", tensors.get("decoder.lm_head.weight"))
    inner = tensors.get(f"{_DECODER}.layers.0.fc1.weight")
    depths = stated["encoder_layer"]
    bias = "encoder.encoder.layers.{}.blocks.0.attention.self.relative_position_bias_table"
    tables = [tensors.get(bias.format(stage)) for stage in range(len(depths) if isinstance(depths, list) else 0)]
    needed = {"patch_embed.proj.weight": patches, "embed_tokens.weight": embedded, "layers.0.fc1.weight": inner}
    needed |= {
        f"layers.{stage}.blocks.0.attn.relative_position_bias_table": table for stage, table in enumerate(tables)
    }
    if not tables or not all(type(depth) is int and depth > 0 for depth in depths):
        raise ConfigError(f"config.json has encoder_layer {depths!r}; expected the number of layers in each stage.")
    absent = [name for name, tensor in needed.items() if tensor is None or tensor.ndim < 2]
    if absent:
        raise ConfigError(
            f"The weights lack {', '.join(absent)}, without which the shape of the model cannot be told. Download them "
            "again, or use the config.json that belongs to them."
        )
    assert patches is not None and embedded is not None and inner is not None
    window = (math.isqrt(len(tables[0])) + 1) // 2  # type: ignore[arg-type]
    if window != stated["window_size"]:
        raise ConfigError(
            f"config.json has window_size {stated['window_size']!r}, but the weights are those of windows of {window} "
            "patches. Use the config.json that belongs to the weights."
        )
    size = _size(stated["input_size"])
    positions = stated["max_position_embeddings"]
    encoder = {
        "model_type": "donut-swin",
        "image_size": size,
        "patch_size": patches.shape[-1],
        "num_channels": patches.shape[1],
        "embed_dim": patches.shape[0],
        "depths": depths,
        "num_heads": [table.shape[1] for table in tables if table is not None],
        "window_size": window,
    }
    decoder = {
        "model_type": "mbart",
        "is_decoder": True,
        "is_encoder_decoder": False,
        "add_cross_attention": True,
        "vocab_size": len(embedded),
        "d_model": embedded.shape[1],
        "decoder_layers": stated["decoder_layer"],
        "decoder_ffn_dim": len(inner),
        "decoder_attention_heads": DECODER_HEADS,
        "max_position_embeddings": stated["max_length"] if positions is None else positions,
        "scale_embedding": True,
        "add_final_layer_norm": True,
    }
    # How the original generates: until its own length, and never the unknown token.
    generation = {"max_length": stated["max_length"], "bad_words_ids": [[UNKNOWN]]}
    generation |= {"pad_token_id": PAD, "eos_token_id": EOS}
    return {"model_type": "vision-encoder-decoder", "encoder": encoder, "decoder": decoder, **generation}


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or equal."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.data_ptr() == other.data_ptr() or one.equal(other)


def image_processor(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a preprocessor_config.json would hold: ImageNet's colours, as the original normalises."""
    height, width = _size(values.get("input_size", _DEFAULTS["input_size"]))
    return {
        "image_processor_type": "DonutImageProcessor",
        "processor_class": "DonutProcessor",
        "size": {"height": height, "width": width},
        "do_align_long_axis": bool(values.get("align_long_axis", False)),
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
    }


def _size(value: Any) -> list[int]:
    """Height and width of the canvas."""
    if not (isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)):
        raise ConfigError(f"config.json has input_size {value!r}; expected [height, width] in pixels.")
    return value
