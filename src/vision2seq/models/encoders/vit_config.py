"""Configs of ViT, DeiT and ViT-MSN: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import ClassVar

from vision2seq.configuration.base import Config


class ViTConfig(Config):
    """The shape of a Vision Transformer; ``image_size`` and ``patch_size`` are a number or (height, width)."""

    model_type: ClassVar[str] = "vit"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    image_size: int | list[int] = 224
    patch_size: int | list[int] = 16
    num_channels: int = 3
    qkv_bias: bool = True
    encoder_stride: int = 16
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"


class DeiTConfig(ViTConfig):
    """The shape of a DeiT: a ViT with one more token in front, the distillation token."""

    model_type: ClassVar[str] = "deit"


class ViTMSNConfig(Config):
    """The shape of a ViT-MSN: a ViT without a pooler."""

    model_type: ClassVar[str] = "vit_msn"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-6
    image_size: int | list[int] = 224
    patch_size: int | list[int] = 16
    num_channels: int = 3
    qkv_bias: bool = True
