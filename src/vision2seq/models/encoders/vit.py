"""ViT, DeiT and ViT-MSN: an image cut into patches, then a pre-norm transformer encoder.

Papers: Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words"; Touvron et al. 2020, "Training data-efficient image
transformers & distillation through attention"; Assran et al. 2022, "Masked Siamese Networks for Label-Efficient
Learning" (ViT-MSN: a ViT trained otherwise, without a pooler). Against the plain transformer encoder:

* a convolution with stride = kernel = patch makes the tokens; positions are learned
* one token in front that belongs to no patch (ViT: cls; DeiT: cls and distillation), passed on to the decoder as well
* image and patch may be of any height and width
* a pooler hangs on the cls token; no decoder reads it, and many checkpoints come without

B images, C channels, H W pixels, S tokens, D hidden size, N heads, K channels of a head.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vision2seq.errors import ConfigError
from vision2seq.layers.activations import activation
from vision2seq.layers.attention import attend
from vision2seq.layers.patches import PatchEmbeddings, stretched
from vision2seq.models.encoders.base import Encoder
from vision2seq.models.encoders.vit_config import DeiTConfig, ViTConfig, ViTMSNConfig


class Embeddings(nn.Module):
    """Patches, the tokens in front of them, and positions."""

    def __init__(self, config: ViTConfig, extra_tokens: int) -> None:
        super().__init__()
        self.extra_tokens = extra_tokens
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        if extra_tokens == 2:
            self.distillation_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.patch_embeddings = PatchEmbeddings(config)
        positions = self.patch_embeddings.num_patches + extra_tokens
        self.position_embeddings = nn.Parameter(torch.zeros(1, positions, config.hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool = False) -> Tensor:
        patches = self.patch_embeddings(pixel_values, any_size=interpolate_pos_encoding)
        front = [self.cls_token] + ([self.distillation_token] if self.extra_tokens == 2 else [])
        tokens = torch.cat([token.expand(patches.shape[0], -1, -1) for token in front] + [patches], dim=1)
        positions: Tensor = self.position_embeddings
        if interpolate_pos_encoding:
            positions = self._positions_for(pixel_values.shape[2], pixel_values.shape[3])
        return self.dropout(tokens + positions)

    def _positions_for(self, height: int, width: int) -> Tensor:
        """Stretch the learned grid of positions (bicubic) over an image of another size."""
        patch, old = self.patch_embeddings.patch_size, self.patch_embeddings.grid
        return stretched(self.position_embeddings, self.extra_tokens, old, (height // patch[0], width // patch[1]))


class SelfAttention(nn.Module):
    """Query, key and value projections and the attention between tokens."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        if config.hidden_size % self.heads:
            raise ConfigError(
                f"hidden_size {config.hidden_size} is no multiple of num_attention_heads {self.heads}; expected one."
            )
        self.scale = (config.hidden_size // self.heads) ** -0.5
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.key = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.value = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)

    def forward(self, x: Tensor, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        query, keys, values = (
            projection(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # B N S K
            for projection in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        return attend(query, keys, values, scale=self.scale, dropout=dropout, need_weights=need_weights)


class Projection(nn.Module):
    """A linear layer called ``dense``, and dropout."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.dense(x))


class Attention(nn.Module):
    """Self-attention and its output projection."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.output = Projection(config.hidden_size, config.hidden_size, config.hidden_dropout_prob)

    def forward(self, x: Tensor, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attention(x, need_weights)
        return self.output(mixed), weights


class Layer(nn.Module):
    """Attention and feed-forward, each with its norm before and its residual around."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Projection(config.hidden_size, config.intermediate_size, 0.0)
        self.output = Projection(config.intermediate_size, config.hidden_size, config.hidden_dropout_prob)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attention(self.layernorm_before(x), need_weights)
        x = x + mixed
        return x + self.output(self.act(self.intermediate(self.layernorm_after(x)))), weights


class Layers(nn.Module):
    """The stack of layers, under the name that checkpoints give it."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Pooler(nn.Module):
    """A dense layer on the cls token."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.pooler_output_size or config.hidden_size)
        self.act = activation(config.pooler_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.dense(x[:, 0]))


class ViTModel(Encoder):
    """The Vision Transformer as an encoder: pixels (B, C, H, W) → hidden states (B, 1 + patches, D)."""

    config_class: ClassVar[Any] = ViTConfig
    base_model_prefix: ClassVar[str] = "vit"
    extra_tokens: int = 1
    has_pooler: ClassVar[bool] = True
    _not_needed: ClassVar[tuple[str, ...]] = (r"^pooler\.",)
    _harmless_unexpected: ClassVar[tuple[str, ...]] = (r"embeddings\.mask_token$",)

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config, self.extra_tokens)
        self.encoder = Layers(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler: Pooler | None = Pooler(config) if self.has_pooler else None

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, Embeddings):
            nn.init.trunc_normal_(module.position_embeddings, std=std)
            nn.init.trunc_normal_(module.cls_token, std=std)
            if self.extra_tokens == 2:
                nn.init.trunc_normal_(module.distillation_token, std=std)

    def embed(self, pixel_values: Tensor, interpolate_pos_encoding: bool) -> Tensor:
        pixel_values = pixel_values.to(self.embeddings.patch_embeddings.projection.weight.dtype)
        return self.embeddings(pixel_values, interpolate_pos_encoding)

    def layers(self) -> nn.ModuleList:
        return self.encoder.layer

    def end(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self.layernorm(x)
        return x, self.pooler(x) if self.pooler is not None else None


class DeiTModel(ViTModel):
    """DeiT as an encoder: pixels (B, C, H, W) → hidden states (B, 2 + patches, D)."""

    config_class: ClassVar[Any] = DeiTConfig
    base_model_prefix: ClassVar[str] = "deit"
    extra_tokens: int = 2


class ViTMSNModel(ViTModel):
    """ViT-MSN as an encoder: pixels (B, C, H, W) → hidden states (B, 1 + patches, D)."""

    config_class: ClassVar[Any] = ViTMSNConfig
    has_pooler: ClassVar[bool] = False

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Embeddings):
            nn.init.zeros_(module.cls_token)
            nn.init.zeros_(module.position_embeddings)
        else:
            super()._init_weights(module)
