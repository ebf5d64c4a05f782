"""Config of the vision tower of CLIP: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import ClassVar

from vision2seq.configuration.base import Config


class CLIPVisionConfig(Config):
    """The shape of CLIP's vision tower; ``image_size`` and ``patch_size`` are a number or (height, width)."""

    model_type: ClassVar[str] = "clip_vision_model"

    hidden_size: int = 768
    intermediate_size: int = 3072
    projection_dim: int = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int | list[int] = 224
    patch_size: int | list[int] = 32
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    initializer_factor: float = 1.0
