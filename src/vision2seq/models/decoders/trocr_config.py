"""Config of the TrOCR decoder: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.configuration.base import Config


class TrOCRConfig(Config):
    """The shape of a TrOCR decoder."""

    model_type: ClassVar[str] = "trocr"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_attention_heads": "decoder_attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "decoder_layers",
    }

    vocab_size: int = 50265
    d_model: int = 1024
    decoder_layers: int = 12
    decoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    activation_function: str = "gelu"
    max_position_embeddings: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    decoder_start_token_id: Any = 2
    init_std: float = 0.02
    decoder_layerdrop: float = 0.0
    use_cache: bool = True
    scale_embedding: bool = False
    use_learned_position_embeddings: bool = True
    layernorm_embedding: bool = True
    pad_token_id: Any = 1
    bos_token_id: Any = 0
    eos_token_id: Any = 2
