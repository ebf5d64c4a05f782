"""Config of the vision tower of SigLIP: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import ClassVar

from vision2seq.configuration.base import Config


class SiglipVisionConfig(Config):
    """The shape of SigLIP's vision tower; ``image_size`` and ``patch_size`` are a number or (height, width).

    A key ``vision_use_head`` that is false, which few files have, leaves out the head that no decoder reads.
    """

    model_type: ClassVar[str] = "siglip_vision_model"

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int | list[int] = 224
    patch_size: int | list[int] = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
