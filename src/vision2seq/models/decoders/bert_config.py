"""Configs of BERT and of those that are built like it: the keys and defaults of transformers 4.57.6."""

from __future__ import annotations

from typing import Any, ClassVar

from vision2seq.configuration.base import Config


class BertConfig(Config):
    """The shape of a BERT; with ``add_cross_attention`` it looks at images."""

    model_type: ClassVar[str] = "bert"

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: Any = 0
    use_cache: bool = True
    classifier_dropout: float | None = None
    # No key of the family (not annotated, so written only where a file has it): transformers 5 has dropped it.
    position_embedding_type = "absolute"


class RobertaConfig(BertConfig):
    """The shape of a RoBERTa, whose positions are counted from ``pad_token_id + 1``."""

    model_type: ClassVar[str] = "roberta"

    vocab_size: int = 50265
    bos_token_id: Any = 0
    pad_token_id: Any = 1
    eos_token_id: Any = 2


class RobertaPreLayerNormConfig(RobertaConfig):
    """The shape of a RoBERTa with the norms before the branches."""

    model_type: ClassVar[str] = "roberta-prelayernorm"


class XLMRobertaConfig(RobertaConfig):
    """The shape of an XLM-RoBERTa."""

    model_type: ClassVar[str] = "xlm-roberta"

    vocab_size: int = 30522


class CamembertConfig(XLMRobertaConfig):
    """The shape of a CamemBERT."""

    model_type: ClassVar[str] = "camembert"


class ElectraConfig(BertConfig):
    """The shape of an ELECTRA, whose embeddings may have a width of their own."""

    model_type: ClassVar[str] = "electra"

    embedding_size: int = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str = "gelu"
    summary_last_dropout: float = 0.1


class BertGenerationConfig(Config):
    """The shape of a BERT for generation: neither types of tokens nor a transformation before the vocabulary."""

    model_type: ClassVar[str] = "bert-generation"

    vocab_size: int = 50358
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    bos_token_id: Any = 2
    pad_token_id: Any = 0
    eos_token_id: Any = 1
    use_cache: bool = True
    position_embedding_type = "absolute"
