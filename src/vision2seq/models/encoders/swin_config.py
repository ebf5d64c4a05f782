"""Configs of Swin, Swin v2 and Donut's Swin: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.configuration.base import Config
from vision2seq.errors import ConfigError


class DonutSwinConfig(Config):
    """The shape of a Swin encoder without a norm at its end.

    ``hidden_size`` (the width of the last stage) and ``num_layers`` (stages) follow from ``embed_dim`` and ``depths``,
    whatever a file says.
    """

    model_type: ClassVar[str] = "donut-swin"
    attribute_map: ClassVar[dict[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}

    image_size: int | list[int] = 224
    patch_size: int | list[int] = 4
    num_channels: int = 3
    embed_dim: int = 96
    depths: list[int] = [2, 2, 6, 2]  # noqa: RUF012  # copied for each config
    num_heads: list[int] = [3, 6, 12, 24]  # noqa: RUF012
    num_layers: int = 4
    window_size: int = 7
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    drop_path_rate: float = 0.1
    hidden_act: str = "gelu"
    use_absolute_embeddings: bool = False
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    hidden_size: int = 768

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        if not self.depths or len(self.depths) > len(self.num_heads):
            raise ConfigError(
                f"depths {self.depths!r} and num_heads {self.num_heads!r} of a Swin encoder; expected at least one "
                "stage, and a number of heads for each."
            )
        self.num_layers = len(self.depths)
        self.hidden_size = int(self.embed_dim * 2 ** (self.num_layers - 1))


class SwinConfig(DonutSwinConfig):
    """The shape of a Swin encoder."""

    model_type: ClassVar[str] = "swin"

    encoder_stride: int = 32


class Swinv2Config(SwinConfig):
    """The shape of a Swin v2 encoder, and the windows that its stages were trained with before (0: these)."""

    model_type: ClassVar[str] = "swinv2"

    pretrained_window_sizes: list[int] = [0, 0, 0, 0]  # noqa: RUF012
