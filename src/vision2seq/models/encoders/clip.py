"""CLIP's vision tower: a ViT trained together with a text encoder.

Paper: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision". Against ViT:

* patches are projected without a bias, and there is a norm before the first layer
* no norm at the end: the one that is there is for the pooled cls token, which no decoder reads

B images, C channels, H W pixels, S tokens, D hidden size, N heads, K channels of a head.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vision2seq.errors import ConfigError, ImageError
from vision2seq.layers.activations import activation
from vision2seq.layers.attention import attend
from vision2seq.layers.patches import pair, stretched
from vision2seq.models.encoders.base import Encoder
from vision2seq.models.encoders.clip_config import CLIPVisionConfig


class Embeddings(nn.Module):
    """The cls token, patches and positions."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.image_size, self.patch_size = pair(config.image_size), pair(config.patch_size)
        self.grid = tuple(size // patch for size, patch in zip(self.image_size, self.patch_size, strict=True))
        self.class_embedding = nn.Parameter(torch.zeros(config.hidden_size))
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, self.patch_size, self.patch_size, bias=False
        )
        self.position_embedding = nn.Embedding(self.grid[0] * self.grid[1] + 1, config.hidden_size)

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool) -> Tensor:
        size = tuple(pixel_values.shape[2:])
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.patch_embedding.in_channels:
            raise ImageError(
                f"pixel_values have the shape {list(pixel_values.shape)}; this model expects [images, "
                f"{self.patch_embedding.in_channels}, {self.image_size[0]}, {self.image_size[1]}]."
            )
        new = tuple(side // patch for side, patch in zip(size, self.patch_size, strict=True))
        if size != self.image_size and (not interpolate_pos_encoding or 0 in new):
            raise ImageError(
                f"pixel_values are {size[0]}×{size[1]} (height×width); this model was built for "
                f"{self.image_size[0]}×{self.image_size[1]}. Use the checkpoint's image processor, or pass "
                "interpolate_pos_encoding=True to read other sizes of at least one patch."
            )
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)  # B S D
        x = torch.cat([self.class_embedding.expand(patches.shape[0], 1, -1), patches], dim=1)
        return x + stretched(self.position_embedding.weight[None], 1, self.grid, new)


class Attention(nn.Module):
    """Self-attention with its projections."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        if config.hidden_size % self.heads:
            raise ConfigError(
                f"hidden_size {config.hidden_size} is no multiple of num_attention_heads {self.heads}; expected one."
            )
        self.scale = (config.hidden_size // self.heads) ** -0.5
        self.dropout = config.attention_dropout
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        query, keys, values = (
            projection(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # B N S K
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        mixed, weights = attend(query, keys, values, scale=self.scale, dropout=dropout, need_weights=need_weights)
        return self.out_proj(mixed), weights


class FeedForward(nn.Module):
    """Two linear layers and a nonlinearity."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Layer(nn.Module):
    """Attention and feed-forward, each with its norm before and its residual around."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = FeedForward(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self_attn(self.layer_norm1(x), need_weights)
        x = x + mixed
        return x + self.mlp(self.layer_norm2(x)), weights


class Layers(nn.Module):
    """The stack of layers, under the name that checkpoints give it."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Tower(nn.Module):
    """All parts, under the name that checkpoints give them."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)  # so spelled in checkpoints
        self.encoder = Layers(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class CLIPVisionModel(Encoder):
    """CLIP's vision tower as an encoder: pixels (B, C, H, W) → hidden states (B, 1 + patches, D)."""

    config_class: ClassVar[Any] = CLIPVisionConfig
    base_model_prefix: ClassVar[str] = "vision_model"  # transformers 5 writes the names without it
    extra_tokens: int = 1
    _not_needed: ClassVar[tuple[str, ...]] = (r"^vision_model\.post_layernorm\.",)

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        self.vision_model = Tower(config)

    def _init_weights(self, module: nn.Module) -> None:
        config, factor = self.config, self.config.initializer_factor
        outer = config.hidden_size**-0.5 * factor
        inner = outer * (2 * config.num_hidden_layers) ** -0.5
        if isinstance(module, Embeddings):
            nn.init.normal_(module.class_embedding, std=outer)
            nn.init.normal_(module.patch_embedding.weight, std=config.initializer_range * factor)
            nn.init.normal_(module.position_embedding.weight, std=config.initializer_range * factor)
        elif isinstance(module, Attention):
            for projection in (module.q_proj, module.k_proj, module.v_proj):
                nn.init.normal_(projection.weight, std=inner)
            nn.init.normal_(module.out_proj.weight, std=outer)
        elif isinstance(module, FeedForward):
            nn.init.normal_(module.fc1.weight, std=(2 * config.hidden_size) ** -0.5 * factor)
            nn.init.normal_(module.fc2.weight, std=inner)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def embed(self, pixel_values: Tensor, interpolate_pos_encoding: bool) -> Tensor:
        tower = self.vision_model
        pixel_values = pixel_values.to(tower.embeddings.patch_embedding.weight.dtype)
        return tower.pre_layrnorm(tower.embeddings(pixel_values, interpolate_pos_encoding))

    def layers(self) -> nn.ModuleList:
        return self.vision_model.encoder.layers

    def end(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return x, self.vision_model.post_layernorm(x[:, 0])
