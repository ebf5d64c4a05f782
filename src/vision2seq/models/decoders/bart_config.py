"""Configs of BART, mBART, Marian, PEGASUS and Blenderbot: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.configuration.base import Config


class Seq2SeqConfig(Config):
    """The keys of BART's kin: the shape of the decoder, and of the encoder that it had, which counts for nothing here.

    ``num_hidden_layers`` and ``num_attention_heads`` are the encoder's, as in the reference.
    """

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
        layers = values.get("encoder_layers", type(self).encoder_layers)
        super().__init__(**{"num_hidden_layers": layers, **values})


class BartConfig(Seq2SeqConfig):
    """The shape of a BART decoder."""

    model_type: ClassVar[str] = "bart"

    classifier_dropout: float = 0.0


class MBartConfig(BartConfig):
    """The shape of an mBART decoder: the keys of BART."""

    model_type: ClassVar[str] = "mbart"

    decoder_start_token_id: Any = None


class MarianConfig(Seq2SeqConfig):
    """The shape of a Marian decoder, and the size of the decoder's own vocabulary."""

    model_type: ClassVar[str] = "marian"

    vocab_size: int = 58101
    decoder_vocab_size: int | None = None
    bos_token_id: Any = None
    pad_token_id: Any = 58100
    eos_token_id: Any = 0
    decoder_start_token_id: Any = 58100
    forced_eos_token_id: Any = 0
    share_encoder_decoder_embeddings: bool = True

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.decoder_vocab_size = self.decoder_vocab_size or self.vocab_size


class PegasusConfig(Seq2SeqConfig):
    """The shape of a PEGASUS decoder."""

    model_type: ClassVar[str] = "pegasus"

    bos_token_id: Any = None
    pad_token_id: Any = 0
    eos_token_id: Any = 1
    decoder_start_token_id: Any = 0
    forced_eos_token_id: Any = 1


class BlenderbotConfig(Seq2SeqConfig):
    """The shape of a Blenderbot decoder."""

    model_type: ClassVar[str] = "blenderbot"

    vocab_size: int = 8008
    max_position_embeddings: int = 128
    d_model: int = 2560
    encoder_ffn_dim: int = 10240
    encoder_layers: int = 2
    encoder_attention_heads: int = 32
    decoder_ffn_dim: int = 10240
    decoder_layers: int = 24
    decoder_attention_heads: int = 32
    num_hidden_layers: int = 2
    bos_token_id: Any = 1
    pad_token_id: Any = 0
    eos_token_id: Any = 2
    decoder_start_token_id: Any = 1
    encoder_no_repeat_ngram_size: int = 3
    forced_eos_token_id: Any = 2


class BlenderbotSmallConfig(Seq2SeqConfig):
    """The shape of a small Blenderbot's decoder."""

    model_type: ClassVar[str] = "blenderbot-small"

    max_position_embeddings: int = 512
    d_model: int = 512
    encoder_ffn_dim: int = 2048
    encoder_layers: int = 8
    decoder_ffn_dim: int = 2048
    decoder_layers: int = 8
    num_hidden_layers: int = 8
    bos_token_id: Any = 1
    pad_token_id: Any = 0
    eos_token_id: Any = 2
    decoder_start_token_id: Any = 1
    forced_eos_token_id: Any = 2
