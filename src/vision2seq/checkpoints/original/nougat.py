"""Nougat's own checkpoints (github.com/facebookresearch/nougat): those of Donut, with more said in config.json.

- The token embeddings and the output projection are two matrices.
- tokenizer.json does not name its special tokens; the original's code does.

Source: ``nougat/model.py`` there, and the names and config that ``convert_nougat_to_hf.py`` of transformers gives the
same tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vision2seq.checkpoints.original import donut

if TYPE_CHECKING:
    from torch import Tensor

TABLE = donut.TABLE

_DEFAULTS: dict[str, Any] = {
    "input_size": [896, 672],
    "align_long_axis": False,
    "window_size": 7,
    "encoder_layer": [2, 2, 14, 2],
    "decoder_layer": 10,
    "max_position_embeddings": None,
    "max_length": 4096,
}


def config(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what a standard config.json of the checkpoint would hold.

    Args:
        values: What its own holds. ``patch_size``, ``embed_dim``, ``num_heads`` and ``hidden_dimension`` are read from
            the shapes, which have the last word.
        tensors: Its tensors by PyTorch's names.

    Raises:
        ConfigError: The two contradict each other.
    """
    found = donut.swin_mbart(values, tensors, _DEFAULTS)
    found["decoder"]["tie_word_embeddings"] = not {
        "decoder.model.decoder.embed_tokens.weight",
        "decoder.lm_head.weight",
    } <= set(tensors)
    found["decoder_start_token_id"] = donut.START  # Donut's is the prompt of a task
    return found


def image_processor(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a preprocessor_config.json would hold."""
    found = donut.image_processor({"input_size": _DEFAULTS["input_size"], **values})
    return found | {"image_processor_type": "NougatImageProcessor", "processor_class": "NougatProcessor"}


def tokenizer(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a tokenizer_config.json would hold."""
    return {
        "tokenizer_class": "NougatTokenizerFast",
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": values.get("max_length", _DEFAULTS["max_length"]),
    }
