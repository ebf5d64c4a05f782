"""ELECTRA as a decoder, with the head of its generator.

Paper: Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators". Against BERT:

* embeddings may be narrower than the layers, with a projection between
* the head narrows the states again, with GELU whatever the layers have; its bias has one name

The axis letters are those of `bert`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn
from torch.nn import functional as F

from vision2seq.models.decoders.bert import BertLMHeadModel, Embeddings, Layers, Transformation, Trunk
from vision2seq.models.decoders.bert_config import ElectraConfig


class GeneratorPredictions(nn.Module):
    """ELECTRA's linear layer and norm before the projection to the vocabulary."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)


class ElectraForCausalLM(BertLMHeadModel):
    """ELECTRA with its language-model head."""

    config_class: ClassVar[Any] = ElectraConfig
    base_model_prefix: ClassVar[str] = "electra"

    def make_trunk(self, config: Any) -> Trunk:
        width = config.embedding_size
        projection = nn.Linear(width, config.hidden_size) if width != config.hidden_size else None
        return Trunk(Embeddings(config, width), Layers(config), projection)

    def make_head(self, config: Any) -> None:
        self.generator_predictions = GeneratorPredictions(config)
        self.generator_lm_head = nn.Linear(config.embedding_size, config.vocab_size)

    def transformation(self) -> Transformation | None:
        return self.generator_predictions.dense, F.gelu, self.generator_predictions.LayerNorm

    def get_output_embeddings(self) -> nn.Linear:
        return self.generator_lm_head
