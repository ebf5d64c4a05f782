"""Config of BEiT: the keys and defaults of transformers 4.57.6, less those of its segmentation heads."""

from __future__ import annotations

from typing import ClassVar

from vision2seq.configuration.base import Config


class BeitConfig(Config):
    """The shape of a BEiT; ``image_size`` and ``patch_size`` are a number or (height, width)."""

    model_type: ClassVar[str] = "beit"

    vocab_size: int = 8192
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
    use_mask_token: bool = False
    use_absolute_position_embeddings: bool = False
    use_relative_position_bias: bool = False
    use_shared_relative_position_bias: bool = False
    layer_scale_init_value: float = 0.1
    drop_path_rate: float = 0.1
    use_mean_pooling: bool = True
