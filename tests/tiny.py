"""Tiny models and checkpoints that tests share; no transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from PIL import Image
from torch import Tensor

from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.layers.activations import ACTIVATIONS
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

START, PAD, EOS, VOCABULARY = 0, 1, 2, 37
CHARACTERS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

VIT: dict[str, Any] = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 16,
    "patch_size": 8,
}
TROCR: dict[str, Any] = {
    "model_type": "trocr",
    "vocab_size": VOCABULARY,
    "d_model": 12,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 16,
    "cross_attention_hidden_size": 16,
    "dropout": 0.0,
}
GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "vocab_size": VOCABULARY,
    "n_embd": 12,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 16,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": START,
    "eos_token_id": EOS,
}
MBART: dict[str, Any] = {
    "model_type": "mbart",
    "vocab_size": VOCABULARY,
    "d_model": 12,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 16,
    "dropout": 0.0,
    "forced_eos_token_id": None,
}
BERT: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": VOCABULARY,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
}
_IDS: dict[str, Any] = {"bos_token_id": START, "pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": EOS}
XGLM: dict[str, Any] = {
    "model_type": "xglm",
    "vocab_size": VOCABULARY,
    "d_model": 12,
    "num_layers": 2,
    "attention_heads": 2,
    "ffn_dim": 20,
    "max_position_embeddings": 16,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
DECODERS = {
    "trocr": TROCR,
    "trocr-sinusoidal": TROCR | {"use_learned_position_embeddings": False, "tie_word_embeddings": False},
    "gpt2": GPT2,
    "mbart": MBART,
    "bart": MBART | {"model_type": "bart"},
    "marian": MBART | _IDS | {"model_type": "marian"},
    "pegasus": MBART | _IDS | {"model_type": "pegasus"},
    "blenderbot": MBART | _IDS | {"model_type": "blenderbot"},
    "blenderbot-small": MBART | _IDS | {"model_type": "blenderbot-small"},
    "xglm": XGLM,
    "bert": BERT,
    "bert-generation": BERT | {"model_type": "bert-generation"},
    "electra": BERT | {"model_type": "electra", "embedding_size": 8},
    "roberta": BERT | {"model_type": "roberta", "max_position_embeddings": 18},
    "roberta-prelayernorm": BERT | {"model_type": "roberta-prelayernorm", "max_position_embeddings": 18},
}


def config(
    decoder: str = "trocr", *, encoder: dict[str, Any] | None = None, more: dict[str, Any] | None = None, **top: Any
) -> VisionEncoderDecoderConfig:
    """A config of a tiny model.

    Args:
        decoder: A key of `DECODERS`.
        encoder: Keys to change in the encoder.
        more: Keys to change in the decoder.
        top: Keys beside the halves; the three ids that training needs are set unless named here.
    """
    values = {"decoder_start_token_id": EOS, "pad_token_id": PAD, "eos_token_id": EOS} | top
    return VisionEncoderDecoderConfig(encoder=VIT | (encoder or {}), decoder=DECODERS[decoder] | (more or {}), **values)


def model(decoder: str = "trocr", *, seed: int = 0, **changes: Any) -> VisionEncoderDecoderModel:
    """A tiny model in evaluation mode with weights wide enough that all of it shows in the output."""
    built = VisionEncoderDecoderModel._from_config(config(decoder, **changes))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            parameter.copy_(1 + 0.2 * noise if parameter.ndim == 1 and name.endswith("weight") else 0.3 * noise)
    return built.eval()


def checkpoint(folder: Path, decoder: str = "trocr", **changes: Any) -> Path:
    """Save a tiny model and return its folder."""
    model(decoder, **changes).save_pretrained(folder)
    return folder


def pixels(count: int = 2, size: tuple[int, int] = (16, 16), seed: int = 1) -> Tensor:
    """Random pixels for the tiny models."""
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def ids(count: int = 2, length: int = 6, seed: int = 2) -> Tensor:
    """Random token ids, the start token first, none of them padding."""
    tokens = torch.randint(4, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0] = EOS
    return tokens


def write_tokenizer(folder: Path, *, count: int = VOCABULARY, longest: int = 16) -> None:
    """Write a tokenizer of one token a character, with the ids `START`, `PAD` and `EOS`, as `printed-line` has one.

    Args:
        folder: Made where it does not exist.
        count: Tokens, the four special ones included.
        longest: Its ``model_max_length``.
    """
    special = ("<s>", "<pad>", "</s>", "<unk>")
    vocabulary = {token: number for number, token in enumerate((*special, *CHARACTERS[: count - len(special)]))}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    backend.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in special])
    backend.decoder = tokenizers.decoders.Fuse()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", START), ("</s>", EOS)]
    )
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    named |= {"cls_token": "<s>", "sep_token": "</s>"}
    about = {"clean_up_tokenization_spaces": False, "model_max_length": longest}
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    for name, values in (
        ("tokenizer_config.json", {**about, "tokenizer_class": "PreTrainedTokenizerFast", **named}),
        ("special_tokens_map.json", named),
    ):
        (folder / name).write_text(json.dumps(values), encoding="utf-8")


def readable(folder: Path, decoder: str = "trocr", **changes: Any) -> Path:
    """Save all that a `Reader` needs, a tiny model with its image processor and tokenizer, and return the folder."""
    checkpoint(folder, decoder, **changes)
    write_tokenizer(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


def picture(seed: int = 0, size: tuple[int, int] = (40, 24)) -> Image.Image:
    """A picture of coloured noise, width by height."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST)


# Decoders for the compiled steps. Wider than any vector, and no multiple of one.
WIDE: dict[str, Any] = {"vocab_size": 301, "max_position_embeddings": 40}
WIDE_TROCR = WIDE | {"d_model": 88, "decoder_ffn_dim": 203}
WIDE_BERT = WIDE | {"hidden_size": 88, "intermediate_size": 203}
WIDE_GPT2 = {"vocab_size": 301, "n_embd": 88, "n_inner": 203}
STEP_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "learned": ("trocr", {}),
    "sinusoidal": ("trocr", {"use_learned_position_embeddings": False}),
    "no norm of embeddings": ("trocr", {"layernorm_embedding": False}),
    "untied": ("trocr", {"tie_word_embeddings": False}),
    "scaled": ("trocr", {"scale_embedding": True}),
    "projected": ("trocr", {"cross_attention_hidden_size": None}),
    "wide feed-forward": ("trocr", {"decoder_ffn_dim": 40, "decoder_layers": 3}),
    "wide": ("trocr", WIDE_TROCR),
    **{name: ("trocr", WIDE_TROCR | {"activation_function": name}) for name in ACTIVATIONS},
    "gpt2": ("gpt2", {}),
    "gpt2, wide": ("gpt2", WIDE_GPT2),
    "gpt2, unscaled": ("gpt2", WIDE_GPT2 | {"scale_attn_weights": False}),
    "bart": ("bart", {}),
    "bart, wide": ("bart", WIDE_TROCR | {"scale_embedding": True}),
    "mbart": ("mbart", {}),
    "mbart, wide": ("mbart", WIDE_TROCR | {"scale_embedding": True, "tie_word_embeddings": False}),
    **{name: (name, {}) for name in ("marian", "pegasus", "blenderbot", "xglm")},
    **{
        f"{name}, wide": (name, WIDE_TROCR | {"scale_embedding": True})
        for name in ("marian", "pegasus", "blenderbot", "xglm")
    },
    **{name: (name, {}) for name in ("bert", "bert-generation", "electra", "roberta")},
    **{f"{name}, wide": (name, WIDE_BERT) for name in ("bert", "bert-generation", "electra", "roberta")},
    "bert, untied": ("bert", WIDE_BERT | {"tie_word_embeddings": False, "hidden_act": "gelu_new"}),
    "gpt2, layer by layer": ("gpt2", WIDE_GPT2 | {"scale_attn_by_inverse_layer_idx": True, "n_layer": 3}),
}
