"""Config of XGLM: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.configuration.base import Config


class XGLMConfig(Config):
    """The shape of an XGLM; with ``add_cross_attention`` it looks at images."""

    model_type: ClassVar[str] = "xglm"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_attention_heads": "attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        # What BART says for the same things, whose layers these are.
        "decoder_attention_heads": "attention_heads",
        "decoder_ffn_dim": "ffn_dim",
        "decoder_layerdrop": "layerdrop",
        "decoder_layers": "num_layers",
    }

    vocab_size: int = 256008
    max_position_embeddings: int = 2048
    d_model: int = 1024
    ffn_dim: int = 4096
    num_layers: int = 24
    attention_heads: int = 16
    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    layerdrop: float = 0.0
    init_std: float = 0.02
    scale_embedding: bool = True
    use_cache: bool = True
    decoder_start_token_id: Any = 2
    pad_token_id: Any = 1
    bos_token_id: Any = 0
    eos_token_id: Any = 2
