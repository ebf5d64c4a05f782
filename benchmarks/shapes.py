"""Checkpoints of real shapes with random weights, since speed depends on the shape alone. Written by transformers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path


def small() -> dict[str, dict[str, object]]:
    """TrOCR-small: DeiT-small at 384 pixels, decoder of 6 layers of width 256, 64,044 tokens."""
    encoder = {
        "model_type": "deit",
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "intermediate_size": 1536,
        "image_size": 384,
    }
    decoder = {
        "model_type": "trocr",
        "vocab_size": 64044,
        "d_model": 256,
        "decoder_layers": 6,
        "decoder_attention_heads": 8,
        "decoder_ffn_dim": 1024,
        "activation_function": "relu",
        "scale_embedding": True,
        "tie_word_embeddings": False,
        "cross_attention_hidden_size": 384,
    }
    return {"encoder": encoder, "decoder": decoder}


def base() -> dict[str, dict[str, object]]:
    """TrOCR-base: ViT-base at 384 pixels, decoder of 12 layers of width 1024, 50,265 tokens."""
    encoder = {"model_type": "vit", "image_size": 384, "qkv_bias": False}
    decoder = {"model_type": "trocr", "cross_attention_hidden_size": 768, "tie_word_embeddings": True}
    return {"encoder": encoder, "decoder": decoder}


SHAPES = {"small": small, "base": base}


def make(shape: str, folder: Path) -> Path:
    """Write a checkpoint of that shape, unless it is there.

    Args:
        shape: A key of `SHAPES`.
        folder: Where checkpoints are kept.
    """
    target = folder / f"trocr-{shape}"
    if (target / "model.safetensors").exists():
        return target
    from transformers import TrOCRConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel
    from transformers.models.auto import CONFIG_MAPPING

    parts = {half: dict(values) for half, values in SHAPES[shape]().items()}
    encoder = CONFIG_MAPPING[str(parts["encoder"].pop("model_type"))](**parts["encoder"])
    parts["decoder"].pop("model_type")
    decoder = TrOCRConfig(**parts["decoder"], is_decoder=True, add_cross_attention=True)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, decoder, decoder_start_token_id=2, eos_token_id=2, pad_token_id=1
    )
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    VisionEncoderDecoderModel(config).save_pretrained(partial)
    generation = {"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}
    (partial / "generation_config.json").write_text(json.dumps(generation))
    os.replace(partial, target)
    return target
