"""RoBERTa with the norms before the branches, as a decoder.

Paper: Wettig et al. 2022, "Should You Mask 15% in Masked Language Modeling?", after an option of
fairseq. Against RoBERTa:

* each branch reads normed states and adds to states that are not; a last norm follows the layers

The axis letters are those of `bert`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.layers.activations import activation
from vision2seq.models.decoders.bert import Attention, Embeddings, Intermediate, Layer, Layers, Output, Trunk
from vision2seq.models.decoders.bert_config import RobertaPreLayerNormConfig
from vision2seq.models.decoders.roberta import RobertaForCausalLM


class PlainOutput(Output):
    """The end of a branch: a linear layer and the residual."""

    def __init__(self, config: Any, inputs: int) -> None:
        nn.Module.__init__(self)
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.dropout = config.hidden_dropout_prob

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = self.dense(x)
        return (F.dropout(x, self.dropout) if self.training else x) + residual


class NormedAttention(Attention):
    """An attention that reads normed states."""

    def __init__(self, config: Any, *, cross: bool = False) -> None:
        super().__init__(config, cross=cross)
        self.output = PlainOutput(config, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def read(self, x: Tensor) -> Tensor:
        return self.LayerNorm(x)


class NormedIntermediate(Intermediate):
    """The first half of the feed-forward, which reads normed states."""

    def __init__(self, config: Any) -> None:
        nn.Module.__init__(self)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.dense(self.LayerNorm(x)))


class NormedLayer(Layer):
    """Self-attention, cross-attention if there is any, feed-forward; a norm before each."""

    def __init__(self, config: Any) -> None:
        nn.Module.__init__(self)
        self.attention = NormedAttention(config)
        if config.add_cross_attention:
            self.crossattention = NormedAttention(config, cross=True)
        self.intermediate = NormedIntermediate(config)
        self.output = PlainOutput(config, config.intermediate_size)


class NormedTrunk(Trunk):
    """Embeddings, layers and the last norm."""

    def __init__(self, config: Any) -> None:
        super().__init__(Embeddings(config, config.hidden_size, counted=True), Layers(config, NormedLayer))
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class RobertaPreLayerNormForCausalLM(RobertaForCausalLM):
    """RoBERTa with the norms before the branches, with its language-model head."""

    config_class: ClassVar[Any] = RobertaPreLayerNormConfig
    base_model_prefix: ClassVar[str] = "roberta_prelayernorm"

    def make_trunk(self, config: Any) -> Trunk:
        return NormedTrunk(config)

    def head(self, x: Tensor) -> Tensor:
        # The norm belongs to the head: hidden states that are returned are without it, as in the reference.
        assert isinstance(self.trunk, NormedTrunk)
        return super().head(self.trunk.LayerNorm(x))
