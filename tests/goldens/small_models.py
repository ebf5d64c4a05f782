"""Small models of transformers, their weights and inputs, and zips: what the scripts that make goldens share."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

VOCABULARY = 31

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 16,
    "patch_size": 8,
}
BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 14,
}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12}
BART = {
    "vocab_size": VOCABULARY,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 14,
}
DECODERS = {
    "gpt2": transformers.GPT2Config(**GPT2),
    "bert": transformers.BertConfig(**BERT | {"hidden_size": 12}, is_decoder=True, add_cross_attention=True),
    "roberta": transformers.RobertaConfig(**BERT, is_decoder=True, add_cross_attention=True),
}


def joined(
    encoder: transformers.PretrainedConfig, decoder: transformers.PretrainedConfig
) -> transformers.VisionEncoderDecoderConfig:
    """The config of a pair."""
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = config.pad_token_id = 1
    return config


def draw_weights(model: torch.nn.Module) -> None:
    """Random weights of few digits, so that they pack well."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randint(-64, 65, parameter.shape, generator=draw) / 128
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + noise / 4 if norm else noise)


def inputs_for(config: transformers.PretrainedConfig) -> dict[str, torch.Tensor]:
    """Random pixels and ids, as a model takes them."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 3, 16, 16, generator=draw)
    ids = torch.randint(4, VOCABULARY, (2, 5), generator=draw, dtype=torch.int32)
    if config.model_type == "vision-encoder-decoder":
        return {"pixel_values": pixels, "decoder_input_ids": ids}
    if hasattr(config, "image_size"):
        return {"pixel_values": pixels}
    if config.is_encoder_decoder:
        return {"input_ids": ids, "decoder_input_ids": ids}
    return {"input_ids": ids}


def save_expected(model: torch.nn.Module, folder: Path) -> None:
    """The tensors as PyTorch saves them, tied ones once."""
    kept: dict[int, str] = {}
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(
        {key: value for key, value in state.items() if kept.setdefault(value.data_ptr(), key) == key},
        folder / "expected.safetensors",
        metadata={"format": "pt"},
    )


def pack(folder: Path, path: Path) -> None:
    """Put a folder into a zip file that is the same for the same content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, file.read_bytes())
