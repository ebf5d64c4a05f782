"""Config of RemBERT: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.configuration.base import Config


class RemBertConfig(Config):
    """The shape of a RemBERT, whose embeddings and projection to the vocabulary have widths of their own."""

    model_type: ClassVar[str] = "rembert"

    vocab_size: int = 250300
    hidden_size: int = 1152
    num_hidden_layers: int = 32
    num_attention_heads: int = 18
    input_embedding_size: int = 256
    output_embedding_size: int = 1664
    intermediate_size: int = 4608
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    use_cache: bool = True
    pad_token_id: Any = 0
    bos_token_id: Any = 312
    eos_token_id: Any = 313
    tie_word_embeddings: bool = False
    position_embedding_type = "absolute"  # no key of the family: its layers are BERT's

    def __init__(self, **values: Any) -> None:
        # Whatever a file says, as in the reference: the two have different widths.
        super().__init__(**values | {"tie_word_embeddings": False})
