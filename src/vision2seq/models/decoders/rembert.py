"""RemBERT as a decoder.

Paper: Chung et al. 2020, "Rethinking Embedding Coupling in Pre-trained Language Models". Against BERT:

* embeddings are narrower than the layers, with a projection between, which checkpoints count to the layers
* the head's linear layer leads to a width of its own; the projection to the vocabulary is never tied, its bias has one
  name

The axis letters are those of `bert`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from vision2seq.layers.activations import activation
from vision2seq.models.decoders.bert import BertLMHeadModel, Embeddings, Layer, Layers, Transformation, Trunk
from vision2seq.models.decoders.rembert_config import RemBertConfig


class WideningLayers(Layers):
    """The projection from the embeddings, and the layers."""

    def __init__(self, config: RemBertConfig) -> None:
        nn.Module.__init__(self)
        self.embedding_hidden_mapping_in = nn.Linear(config.input_embedding_size, config.hidden_size)
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class RemBertTrunk(Trunk):
    """Embeddings and layers."""

    def __init__(self, config: RemBertConfig) -> None:
        super().__init__(Embeddings(config, config.input_embedding_size), WideningLayers(config))

    def embed(self, ids: Tensor | None, embedded: Tensor | None, length: int, past: int, dropout: float) -> Tensor:
        assert isinstance(self.encoder, WideningLayers)
        return self.encoder.embedding_hidden_mapping_in(super().embed(ids, embedded, length, past, dropout))


class Predictions(nn.Module):
    """What comes after the layers."""

    def __init__(self, config: RemBertConfig) -> None:
        super().__init__()
        width = config.output_embedding_size
        self.dense = nn.Linear(config.hidden_size, width)
        self.decoder = nn.Linear(width, config.vocab_size)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)


class Heads(nn.Module):
    """One more level in the names of the checkpoints."""

    def __init__(self, config: RemBertConfig) -> None:
        super().__init__()
        self.predictions = Predictions(config)


class RemBertForCausalLM(BertLMHeadModel):
    """RemBERT with its language-model head."""

    config_class: ClassVar[Any] = RemBertConfig
    base_model_prefix: ClassVar[str] = "rembert"

    def make_trunk(self, config: Any) -> Trunk:
        return RemBertTrunk(config)

    def make_head(self, config: Any) -> None:
        self.cls = Heads(config)  # type: ignore[assignment]

    def transformation(self) -> Transformation | None:
        head: Any = self.cls.predictions
        return head.dense, activation(self.config.hidden_act), head.LayerNorm
