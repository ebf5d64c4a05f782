"""GPT-2 with cross-attention: a pre-norm transformer decoder that reads an image.

Paper: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". Against the plain transformer
decoder:

* weights of its layers lie transposed (input, output), as in the original TensorFlow release
* one matrix makes query, key and value; for cross-attention one makes the query, one key and value
* cross-attention, where the config asks for it, stands between self-attention and feed-forward, with its own norm

B rows, T new tokens, D hidden size, H heads, K channels of a head, S image tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.errors import ConfigError, OptionError
from vision2seq.layers.activations import activation
from vision2seq.layers.cache import DecoderCache
from vision2seq.models.decoders.base import Decoder, DecoderInputs
from vision2seq.models.decoders.gpt2_config import GPT2Config


class Conv1D(nn.Module):
    """A linear layer whose weight is stored as (input, output)."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.t(), self.bias)


class Attention(nn.Module):
    """Projections of a self- or cross-attention; what is kept between steps lies in the cache that is passed."""

    def __init__(self, config: GPT2Config, index: int, *, cross: bool) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        if width % self.heads:
            raise ConfigError(f"n_embd {width} is no multiple of n_head {self.heads}; expected one.")
        self.scale = (width // self.heads) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= index + 1
        if cross:
            self.c_attn = Conv1D(2 * width, width)
            self.q_attn = Conv1D(width, width)
        else:
            self.c_attn = Conv1D(3 * width, width)
        self.c_proj = Conv1D(width, width)
        self.dropout = config.attn_pdrop

    def split(self, x: Tensor) -> Tensor:
        """(B, T, D) → (B, H, T, K)."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the image, (B, H, S, K) each."""
        keys, values = self.c_attn(source).chunk(2, dim=-1)
        return self.split(keys), self.split(values)


class MLP(nn.Module):
    """Feed-forward."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        inner = config.n_inner if config.n_inner is not None else 4 * config.hidden_size
        self.c_fc = Conv1D(inner, config.hidden_size)
        self.c_proj = Conv1D(config.hidden_size, inner)
        self.act = activation(config.activation_function)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.act(self.c_fc(x)))


class Block(nn.Module):
    """Self-attention, cross-attention if there is any, feed-forward; a norm before each."""

    def __init__(self, config: GPT2Config, index: int) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_epsilon
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(config, index, cross=False)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        if config.add_cross_attention:
            self.crossattention = Attention(config, index, cross=True)
            self.ln_cross_attn = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(config)
        self.dropout = config.resid_pdrop

    def forward(self, x: Tensor, inputs: DecoderInputs, index: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Returns the new states (B, T, D) and, if asked for, self- and cross-attention weights."""
        attention = self.attn
        query, keys, values = (attention.split(part) for part in attention.c_attn(self.ln_1(x)).chunk(3, dim=-1))
        dropout = attention.dropout if self.training else 0.0
        mixed, weights = inputs.attend_self(index, query, keys, values, attention.scale, dropout)
        x = x + self._drop(attention.c_proj(mixed))
        cross_weights = None
        if inputs.has_memory:
            attention = self.crossattention
            query = attention.split(attention.q_attn(self.ln_cross_attn(x)))
            mixed, cross_weights = inputs.attend_cross(index, query, attention.keys_values, attention.scale, dropout)
            x = x + self._drop(attention.c_proj(mixed))
        return x + self._drop(self.mlp(self.ln_2(x))), weights, cross_weights

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training else x


class GPT2Model(nn.Module):
    """Embeddings, blocks and the last norm, under the names that checkpoints give them."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
        self.wpe = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.h = nn.ModuleList(Block(config, index) for index in range(config.num_hidden_layers))
        self.ln_f = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)


class GPT2LMHeadModel(Decoder):
    """GPT-2 with its language-model head."""

    config_class: ClassVar[Any] = GPT2Config
    image_projections: ClassVar[str | None] = r"\.crossattention\.c_attn$"
    base_model_prefix: ClassVar[str] = "transformer"

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie_weights()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings."""
        return self.transformer.wte

    def get_output_embeddings(self) -> nn.Linear:
        """The projection to the vocabulary."""
        return self.lm_head

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Embedding | Conv1D):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, Conv1D):
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, MLP | Attention):
            # GPT-2 scales what is added to the residual stream by the number of additions.
            nn.init.normal_(module.c_proj.weight, std=std / (2 * self.config.num_hidden_layers) ** 0.5)

    def embed(self, inputs: DecoderInputs) -> Tensor:
        embedded = inputs.embeddings if inputs.ids is None else self.transformer.wte(inputs.ids)
        assert embedded is not None
        x = embedded + self.transformer.wpe.weight[inputs.past : inputs.past + inputs.length]
        if inputs.memory is not None and not self.config.add_cross_attention:
            raise OptionError(
                "This GPT-2 has no cross-attention and cannot read images; its config needs add_cross_attention=True."
            )
        return F.dropout(x, self.config.embd_pdrop) if self.training else x

    def layers(self) -> nn.ModuleList:
        return self.transformer.h

    def end(self, x: Tensor) -> Tensor:
        return self.transformer.ln_f(x)

    def head(self, x: Tensor) -> Tensor:
        return self.lm_head(x)

    def put_cross(self, cache: DecoderCache, memory: Tensor) -> None:
        for index, block in enumerate(self.layers()):
            assert isinstance(block, Block)
            cache.put_cross(index, *block.crossattention.keys_values(memory))
