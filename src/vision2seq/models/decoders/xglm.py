"""XGLM as a decoder: a multilingual language model whose layers are mBART's.

Paper: Lin et al. 2021, "Few-shot Learning with Multilingual Language Models". Against mBART:

* positions are sines, then cosines, computed and not stored, from row 2 on; padding counts as any token
* embeddings are not normed
* cross-attention is there where the config asks for it
* checkpoints have one level less in their names

T tokens, D hidden size.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from vision2seq.errors import OptionError
from vision2seq.layers.activations import activation
from vision2seq.models.decoders.bart import BartDecoder, BartForCausalLM
from vision2seq.models.decoders.base import DecoderInputs
from vision2seq.models.decoders.trocr import Attention, Layer, SinusoidalPositions
from vision2seq.models.decoders.xglm_config import XGLMConfig


class Positions(SinusoidalPositions):
    """Fixed positions, all of which are counted; the first two rows stay unused."""

    OFFSET = 2

    def forward(self, ids: Tensor | None, length: int, past: int) -> Tensor:
        first = past + self.OFFSET
        return self.rows(first + length)[first : first + length]  # T D


class XGLMLayer(Layer):
    """mBART's layer with its parts in another order; cross-attention may be missing."""

    def __init__(self, config: XGLMConfig) -> None:
        nn.Module.__init__(self)
        width = config.hidden_size
        self.self_attn = Attention(config)
        if config.add_cross_attention:
            self.encoder_attn = Attention(config)
            self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.act = activation(config.activation_function)
        self.norm_first = True
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout


class XGLMForCausalLM(BartForCausalLM):
    """The XGLM decoder with its projection to the vocabulary."""

    config_class: ClassVar[Any] = XGLMConfig
    norm_first: ClassVar[bool] = True
    norms_embeddings: ClassVar[bool] = False
    _harmless_unexpected: ClassVar[tuple[str, ...]] = (r"embed_positions\.weights$",)

    def make_trunk(self, config: Any) -> nn.Module:
        return BartDecoder(config, type(self))

    @classmethod
    def positions(cls, config: Any) -> Any:
        rows = config.max_position_embeddings + Positions.OFFSET
        # Padding's row is zero, which shows where it is not one of the first two; without padding, none that is read.
        return Positions(rows, config.hidden_size, config.pad_token_id or 0)

    @classmethod
    def layer(cls, config: Any) -> Layer:
        return XGLMLayer(config)

    @property
    def trunk(self) -> BartDecoder:
        assert isinstance(self.model, BartDecoder)
        return self.model

    def embed(self, inputs: DecoderInputs) -> Tensor:
        if inputs.memory is not None and not self.config.add_cross_attention:
            raise OptionError(
                "This xglm has no cross-attention and cannot read images; its config needs add_cross_attention=True."
            )
        return super().embed(inputs)
