"""TrOCR's own checkpoints (github.com/microsoft/unilm, trocr): what fairseq saves, in one ``.pt`` file.

- The encoder's names are those of timm, with queries, keys and values packed: a ViT without their biases that was a
  BEiT once, or a distilled DeiT with them. Classifiers' heads are left from the models that it started from.
- The decoder's names are those of fairseq, which transformers took over.
- There is no config.json. Shapes tell most of the model; the rest stands in the settings that fairseq keeps beside the
  weights, and those are not always the decoder's: with ``decoder_pretrained`` "roberta2" it was built with RoBERTa's.

Source: ``trocr/deit.py`` and ``trocr/trocr_models.py`` there, the defaults of fairseq's ``base_architecture``, and the
names and config that ``convert_trocr_unilm_to_pytorch.py`` of transformers gives the same tensors (a layer norm's
epsilon of 1e-12 in the encoder among them, where timm has 1e-6).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vision2seq.checkpoints.original.table import Table
from vision2seq.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK, _LAYER = "encoder.deit.blocks.#", "encoder.encoder.layer.#"
TABLE = Table(
    {
        "encoder.deit.cls_token": "encoder.embeddings.cls_token",
        "encoder.deit.dist_token": "encoder.embeddings.distillation_token",
        "encoder.deit.pos_embed": "encoder.embeddings.position_embeddings",
        "encoder.deit.patch_embed.proj.*": "encoder.embeddings.patch_embeddings.projection.*",
        f"{_BLOCK}.norm1.*": f"{_LAYER}.layernorm_before.*",
        f"{_BLOCK}.attn.qkv.*": tuple(f"{_LAYER}.attention.attention.{one}.*" for one in ("query", "key", "value")),
        f"{_BLOCK}.attn.proj.*": f"{_LAYER}.attention.output.dense.*",
        f"{_BLOCK}.norm2.*": f"{_LAYER}.layernorm_after.*",
        f"{_BLOCK}.mlp.fc1.*": f"{_LAYER}.intermediate.dense.*",
        f"{_BLOCK}.mlp.fc2.*": f"{_LAYER}.output.dense.*",
        "encoder.deit.norm.*": "encoder.layernorm.*",
        "encoder.deit.head.*": (),
        "encoder.deit.head_dist.*": (),
        "encoder.deit.mask_token": (),
        "decoder.version": (),
        "decoder.embed_positions._float_tensor": (),
        "decoder.output_projection.weight": "decoder.output_projection.weight",
        "decoder.*": "decoder.model.decoder.*",
    }
)
RECOGNISED_BY = "encoder.deit."

_EMBEDDINGS = "encoder.embeddings"
_DECODER = "decoder.model.decoder"
_HEAD_WIDTH = 64  # of all encoders there, and of RoBERTa
# What fairseq's Transformer is where its settings are silent.
_DEFAULTS: dict[str, Any] = {
    "activation_fn": "relu",
    "no_scale_embedding": False,
    "share_decoder_input_output_embed": False,
    "max_target_positions": 1024,
    "decoder_normalize_before": False,
}
# What it is with RoBERTa's settings instead.
_ROBERTA = _DEFAULTS | {"activation_fn": "gelu", "no_scale_embedding": True, "share_decoder_input_output_embed": True}
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_fast": "gelu_new", "gelu_accurate": "gelu_new", "tanh": "tanh"}


def config(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what a standard config.json of the checkpoint would hold.

    Args:
        values: The settings that fairseq kept; an empty dict if somebody took them out.
        tensors: Its tensors by PyTorch's names.

    Raises:
        ConfigError: The two contradict each other, or tensors are missing that the shape of the model follows from.
        UnsupportedError: A variant that transformers has no model for.
    """
    needed = (
        f"{_EMBEDDINGS}.position_embeddings",
        f"{_EMBEDDINGS}.patch_embeddings.projection.weight",
        "encoder.encoder.layer.0.intermediate.dense.weight",
        f"{_DECODER}.embed_tokens.weight",
        f"{_DECODER}.layers.0.fc1.weight",
    )
    absent = [name for name in needed if name not in tensors or tensors[name].ndim < 2]
    if absent:
        raise ConfigError(
            f"The file lacks {', '.join(absent)} (PyTorch's names), without which the shape of the model cannot be "
            "told. Download it again."
        )
    positions, patches, inner, embedded, decoder_inner = (tensors[name] for name in needed)
    distilled = f"{_EMBEDDINGS}.distillation_token" in tensors
    learned = f"{_DECODER}.embed_positions.weight" in tensors
    settings = _settings(values, learned, distilled)
    width, decoder_width = len(patches), embedded.shape[1]
    encoder = {
        "model_type": "deit" if distilled else "vit",
        "image_size": _image_size(positions.shape[1] - 1 - distilled, patches, values),
        "patch_size": patches.shape[-1],
        "num_channels": patches.shape[1],
        "hidden_size": width,
        "intermediate_size": len(inner),
        "num_hidden_layers": _count(tensors, r"encoder\.encoder\.layer\.(\d+)\."),
        "num_attention_heads": _heads(width, "encoder"),
        "qkv_bias": "encoder.encoder.layer.0.attention.attention.query.bias" in tensors,
    }
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    decoder = {
        "model_type": "trocr",
        "is_decoder": True,
        "add_cross_attention": True,
        "cross_attention_hidden_size": width,
        "vocab_size": len(embedded),
        "d_model": decoder_width,
        "decoder_layers": _count(tensors, r"decoder\.model\.decoder\.layers\.(\d+)\."),
        "decoder_attention_heads": settings["decoder_attention_heads"] or _heads(decoder_width, "decoder"),
        "decoder_ffn_dim": len(decoder_inner),
        "activation_function": settings["activation_fn"],
        "max_position_embeddings": len(tensors[f"{_DECODER}.embed_positions.weight"]) - 2
        if learned
        else settings["max_target_positions"],
        "use_learned_position_embeddings": learned,
        "layernorm_embedding": f"{_DECODER}.layernorm_embedding.weight" in tensors,
        "scale_embedding": not settings["no_scale_embedding"],
        "tie_word_embeddings": settings["share_decoder_input_output_embed"]
        or "decoder.output_projection.weight" not in tensors,
        **ids,
    }
    return {"model_type": "vision-encoder-decoder", "encoder": encoder, "decoder": decoder, **ids}


def image_processor(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a preprocessor_config.json would hold: bicubic, as the original resizes.

    Args:
        values: A standard config.json of the checkpoint.
    """
    size = values["encoder"]["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return {
        "image_processor_type": "ViTImageProcessor",
        "processor_class": "TrOCRProcessor",
        "size": {"height": height, "width": width},
        "resample": 3,
    }


def _settings(values: Mapping[str, Any], learned: bool, distilled: bool) -> dict[str, Any]:
    """The settings that the decoder was built with.

    Args:
        values: Those that fairseq kept.
        learned: Whether the decoder has learned positions.
        distilled: Whether the encoder is a DeiT, as in the small models, whose decoders were never RoBERTa's.
    """
    pretrained = str(values.get("decoder_pretrained") or "").lower()
    if values:
        # A decoder that has what its settings deny was not built with them.
        theirs = pretrained.startswith("roberta2") or not values.get("decoder_learned_pos")
        roberta = learned and theirs and pretrained != "unilm"
    else:
        roberta = learned and not distilled
    if values.get("ape"):
        raise UnsupportedError(
            "The file is of a model with ape=True, which stretches positions in a way that transformers has no model "
            "for. Train one without, or use the original code."
        )
    chosen = dict(_ROBERTA) if roberta else _DEFAULTS | {name: values.get(name, _DEFAULTS[name]) for name in _DEFAULTS}
    chosen["decoder_attention_heads"] = None if roberta else values.get("decoder_attention_heads")
    if not roberta and chosen["decoder_attention_heads"] is None and distilled:
        chosen["decoder_attention_heads"] = 8  # the small models'
    if chosen["max_target_positions"] is None:
        chosen["max_target_positions"] = _DEFAULTS["max_target_positions"]
    if chosen["decoder_normalize_before"]:
        raise UnsupportedError(
            "The file is of a decoder that normalises before each part (decoder_normalize_before), which TrOCR's in "
            "transformers does not. Use the original code."
        )
    activation = _ACTIVATIONS.get(str(chosen["activation_fn"]))
    if activation is None:
        raise UnsupportedError(
            f"The file is of a decoder with activation_fn {chosen['activation_fn']!r}; known are "
            f"{', '.join(sorted(_ACTIVATIONS))}."
        )
    chosen["activation_fn"] = activation
    for name in ("decoder_attention_heads", "max_target_positions"):
        if chosen[name] is not None and (type(chosen[name]) is not int or chosen[name] <= 0):
            raise ConfigError(f"The file's settings have {name} {chosen[name]!r}; expected a number above 0.")
    return chosen


def _image_size(count: int, patches: Tensor, values: Mapping[str, Any]) -> int | list[int]:
    """The size of the pictures, of which an encoder knows the number of patches alone."""
    side = math.isqrt(max(count, 0))
    if side and side * side == count:
        return side * int(patches.shape[-1])
    stated = values.get("input_size")
    if isinstance(stated, str):
        stated = [int(number) for number in re.findall(r"\d+", stated)]
    height, width = patches.shape[-2:]
    if (
        isinstance(stated, list | tuple)
        and len(stated) == 2
        and all(type(number) is int for number in stated)
        and (stated[0] // height) * (stated[1] // width) == count
    ):
        return list(stated)
    raise ConfigError(
        f"The encoder has positions for {count} patches, which are no square, and the file's settings have input_size "
        f"{values.get('input_size')!r}, which does not make as many. Pass a config with config=…."
    )


def _heads(width: int, half: str) -> int:
    if width % _HEAD_WIDTH:
        raise ConfigError(f"The {half} is {width} wide; expected a multiple of {_HEAD_WIDTH}, the width of its heads.")
    return width // _HEAD_WIDTH


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """How many layers there are, by the highest number."""
    return max(int(match[1]) for match in map(re.compile(pattern).match, tensors) if match) + 1
