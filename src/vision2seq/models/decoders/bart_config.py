"""Configs of BART and mBART: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.configuration.base import Config


class BartConfig(Config):
    """The shape of a BART decoder, and of the encoder that it had, whose keys count for nothing here.

    ``num_hidden_layers`` and ``num_attention_heads`` are the encoder's, as in the reference.
    """

    model_type: ClassVar[str] = "bart"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
    }

    vocab_size: int = 50265
    max_position_embeddings: int = 1024
    d_model: int = 1024
    encoder_ffn_dim: int = 4096
    encoder_layers: int = 12
    encoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    decoder_layers: int = 12
    decoder_attention_heads: int = 16
    encoder_layerdrop: float = 0.0
    decoder_layerdrop: float = 0.0
    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    classifier_dropout: float = 0.0
    use_cache: bool = True
    num_hidden_layers: int = 12
    scale_embedding: bool = False
    is_encoder_decoder: bool = True
    bos_token_id: Any = 0
    pad_token_id: Any = 1
    eos_token_id: Any = 2
    decoder_start_token_id: Any = 2
    forced_eos_token_id: Any = 2

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"num_hidden_layers": values.get("encoder_layers", 12), **values})


class MBartConfig(BartConfig):
    """The shape of an mBART decoder: the keys of BART."""

    model_type: ClassVar[str] = "mbart"

    decoder_start_token_id: Any = None
