"""TrOCR's decoder: a post-norm transformer decoder that reads an image by cross-attention.

Paper: Li et al. 2021, "TrOCR: Transformer-based Optical Character Recognition with Pre-trained Models". It is the
decoder of BART/RoBERTa (fairseq). Against the plain transformer decoder:

* positions are learned, stored from row 2 on, or sinusoidal, counted from ``pad_token_id + 1`` over tokens that are
  not padding
* embeddings may be scaled by √D and normed before the first layer
* cross-attention reads encoder states of another width, if the config names one (``cross_attention_hidden_size``)
* the output projection may or may not be the embedding matrix

B rows, T new tokens, D hidden size, H heads, K channels of a head, S image tokens, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.errors import ConfigError
from vision2seq.layers.activations import activation
from vision2seq.layers.cache import DecoderCache
from vision2seq.models.decoders.base import Decoder, DecoderInputs
from vision2seq.models.decoders.trocr_config import TrOCRConfig


class ScaledEmbedding(nn.Embedding):
    """Token embeddings times a constant."""

    def __init__(self, num_embeddings: int, channels: int, padding_idx: int | None, scale: float) -> None:
        super().__init__(num_embeddings, channels, padding_idx)
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        embedded = super().forward(input)
        return embedded * self.scale if self.scale != 1.0 else embedded


class LearnedPositions(nn.Embedding):
    """Learned positions; the first two rows were fairseq's padding rows and stay unused."""

    OFFSET = 2

    def __init__(self, positions: int, channels: int) -> None:
        super().__init__(positions + self.OFFSET, channels)

    def forward(self, ids: Tensor | None, length: int, past: int) -> Tensor:  # type: ignore[override]
        first = past + self.OFFSET
        return self.weight[first : first + length]  # T D


class SinusoidalPositions(nn.Module):
    """Fixed positions: sines, then cosines; padding gets zeros and is not counted."""

    table: Tensor

    def __init__(self, positions: int, channels: int, padding_idx: int) -> None:
        super().__init__()
        self.positions, self.channels, self.padding_idx = positions, channels, padding_idx
        self.register_buffer("table", torch.empty(positions, channels), persistent=False)
        if not self.table.is_meta:  # there nothing can be computed; `reset_buffers` does it afterwards
            self.table = self._table(positions)

    def reset_buffers(self) -> None:
        """Compute the table, which no file holds."""
        with torch.device("cpu"):
            self.table = self._table(self.positions)

    def rows(self, count: int) -> Tensor:
        """The table with at least so many rows."""
        if count > self.table.shape[0]:
            self.table = self._table(count).to(self.table)
        return self.table

    def _table(self, rows: int) -> Tensor:
        half = self.channels // 2
        rates = torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))
        angles = torch.arange(rows).float()[:, None] * rates[None, :]
        table = torch.cat([angles.sin(), angles.cos()], dim=1)
        table = F.pad(table, (0, self.channels - table.shape[1]))  # an odd width ends in a column of zeros
        table[self.padding_idx] = 0
        return table

    def forward(self, ids: Tensor, length: int, past: int) -> Tensor:
        table = self.rows(self.padding_idx + 1 + past + length)
        real = ids.ne(self.padding_idx).int()
        numbers = (real.cumsum(1) + past) * real + self.padding_idx
        return table[numbers]  # B T D


class Attention(nn.Module):
    """Projections of a self- or cross-attention; what is kept between steps lies in the cache that is passed."""

    def __init__(self, config: Any, source_width: int | None = None) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.decoder_attention_heads
        if width % self.heads:
            raise ConfigError(f"d_model {width} is no multiple of decoder_attention_heads {self.heads}; expected one.")
        self.scale = (width // self.heads) ** -0.5
        self.dropout = config.attention_dropout
        self.k_proj = nn.Linear(source_width or width, width)
        self.v_proj = nn.Linear(source_width or width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, D) → (B, H, T, K)."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of what is looked at, (B, H, S, K) each."""
        return self.split(self.k_proj(source)), self.split(self.v_proj(source))


class Layer(nn.Module):
    """Self-attention, cross-attention, feed-forward, each with a residual around it and a norm after (or before) it.

    BART's and mBART's as well.
    """

    def __init__(self, config: Any, source_width: int | None = None, *, norm_first: bool = False) -> None:
        super().__init__()
        width = config.hidden_size
        self.self_attn = Attention(config)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(config, source_width)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.act = activation(config.activation_function)
        self.norm_first = norm_first
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout

    def forward(self, x: Tensor, inputs: DecoderInputs, index: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Returns the new states (B, T, D) and, if asked for, self- and cross-attention weights."""
        attention, norm = self.self_attn, self.self_attn_layer_norm
        source = self._before(norm, x)
        keys, values = attention.keys_values(source)
        query = attention.split(attention.q_proj(source))
        mixed, weights = inputs.attend_self(index, query, keys, values, attention.scale, self._p(attention.dropout))
        x = self._after(norm, x + self._drop(attention.out_proj(mixed)))
        cross_weights = None
        if inputs.has_memory:
            attention, norm = self.encoder_attn, self.encoder_attn_layer_norm
            query = attention.split(attention.q_proj(self._before(norm, x)))
            mixed, cross_weights = inputs.attend_cross(
                index, query, attention.keys_values, attention.scale, self._p(attention.dropout)
            )
            x = self._after(norm, x + self._drop(attention.out_proj(mixed)))
        inner = self.act(self.fc1(self._before(self.final_layer_norm, x)))
        if self.training:
            inner = F.dropout(inner, self.activation_dropout)
        return self._after(self.final_layer_norm, x + self._drop(self.fc2(inner))), weights, cross_weights

    def _before(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        return norm(x) if self.norm_first else x

    def _after(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        return x if self.norm_first else norm(x)

    def _p(self, dropout: float) -> float:
        return dropout if self.training else 0.0

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training else x


class TrOCRDecoder(nn.Module):
    """Embeddings and layers, under the names that checkpoints give them."""

    def __init__(self, config: TrOCRConfig) -> None:
        super().__init__()
        width = config.hidden_size
        scale = math.sqrt(width) if config.scale_embedding else 1.0
        padding = config.pad_token_id
        self.embed_tokens = ScaledEmbedding(config.vocab_size, width, padding, scale)
        self.embed_positions: LearnedPositions | SinusoidalPositions
        if config.use_learned_position_embeddings:
            self.embed_positions = LearnedPositions(config.max_position_embeddings, width)
        else:
            if padding is None:
                raise ConfigError("Sinusoidal positions are counted from pad_token_id, which is None; set it.")
            self.embed_positions = SinusoidalPositions(config.max_position_embeddings + padding + 1, width, padding)
        self.layernorm_embedding = nn.LayerNorm(width) if config.layernorm_embedding else None
        self.layers = nn.ModuleList(
            Layer(config, config.cross_attention_hidden_size) for _ in range(config.decoder_layers)
        )


class DecoderWrapper(nn.Module):
    """One more level in the names of the checkpoints."""

    def __init__(self, config: TrOCRConfig) -> None:
        super().__init__()
        self.decoder = TrOCRDecoder(config)


class TrOCRForCausalLM(Decoder):
    """The TrOCR decoder with its output projection."""

    config_class: ClassVar[Any] = TrOCRConfig
    image_projections: ClassVar[str | None] = r"\.encoder_attn\.[kv]_proj$"
    base_model_prefix: ClassVar[str] = "model"
    _harmless_unexpected: ClassVar[tuple[str, ...]] = (r"embed_positions\._float_tensor$", r"embed_positions\.weights$")

    def __init__(self, config: TrOCRConfig) -> None:
        super().__init__(config)
        self.model = DecoderWrapper(config)
        self.output_projection = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie_weights()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings."""
        return self.model.decoder.embed_tokens

    def get_output_embeddings(self) -> nn.Linear:
        """The projection to the vocabulary."""
        return self.output_projection

    def _init_weights(self, module: nn.Module) -> None:
        if module is self.output_projection and module.weight is self.get_input_embeddings().weight:
            return  # tied: the embeddings set it, with zeros for padding
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    def embed(self, inputs: DecoderInputs) -> Tensor:
        decoder = self.model.decoder
        embedded = inputs.embeddings if inputs.ids is None else decoder.embed_tokens(inputs.ids)
        assert embedded is not None
        if inputs.ids is None and not self.config.use_learned_position_embeddings:
            raise ConfigError(
                "Sinusoidal positions are counted over token ids, which decoder_inputs_embeds do not tell; pass "
                "decoder_input_ids instead."
            )
        x = embedded + decoder.embed_positions(inputs.ids, inputs.length, inputs.past)
        if decoder.layernorm_embedding is not None:
            x = decoder.layernorm_embedding(x)
        return F.dropout(x, self.config.dropout) if self.training else x

    def layers(self) -> nn.ModuleList:
        return self.model.decoder.layers

    def skips_layer(self) -> bool:
        return self.training and bool(torch.rand([]) < self.config.decoder_layerdrop)

    def head(self, x: Tensor) -> Tensor:
        return self.output_projection(x)

    def put_cross(self, cache: DecoderCache, memory: Tensor) -> None:
        for index, layer in enumerate(self.layers()):
            assert isinstance(layer, Layer)
            cache.put_cross(index, *layer.encoder_attn.keys_values(memory))
