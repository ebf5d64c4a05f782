"""SigLIP's vision tower: CLIP's, trained with another loss.

Paper: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training". Against CLIP:

* no cls token, a bias where patches are projected
* a norm at the end and none before the first layer
* pooling is a head of its own: a learned query that attends to all patches; no decoder reads its result

B images, C channels, H W pixels, S patches, D hidden size, N heads.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vision2seq.errors import ImageError
from vision2seq.layers.patches import pair, stretched
from vision2seq.models.encoders.base import Encoder
from vision2seq.models.encoders.clip import Attention, FeedForward
from vision2seq.models.encoders.siglip_config import SiglipVisionConfig


class Embeddings(nn.Module):
    """Patches and positions."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.image_size, self.patch_size = pair(config.image_size), pair(config.patch_size)
        self.grid = tuple(size // patch for size, patch in zip(self.image_size, self.patch_size, strict=True))
        self.patch_embedding = nn.Conv2d(config.num_channels, config.hidden_size, self.patch_size, self.patch_size)
        self.position_embedding = nn.Embedding(self.grid[0] * self.grid[1], config.hidden_size)

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
        return patches + stretched(self.position_embedding.weight[None], 0, self.grid, new)


class Layer(nn.Module):
    """Attention and feed-forward, each with its norm before and its residual around."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self_attn(self.layer_norm1(x), need_weights)
        x = x + mixed
        return x + self.mlp(self.layer_norm2(x)), weights


class Layers(nn.Module):
    """The stack of layers, under the name that checkpoints give it."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Head(nn.Module):
    """A learned query attends to all patches, then a feed-forward: (B, D)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.attention(self.probe.expand(x.shape[0], -1, -1), x, x, need_weights=False)[0]
        return (pooled + self.mlp(self.layernorm(pooled)))[:, 0]


class Tower(nn.Module):
    """All parts, under the name that checkpoints give them."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head: Head | None = Head(config) if getattr(config, "vision_use_head", True) else None


class SiglipVisionModel(Encoder):
    """SigLIP's vision tower as an encoder: pixels (B, C, H, W) → hidden states (B, patches, D)."""

    config_class: ClassVar[Any] = SiglipVisionConfig
    base_model_prefix: ClassVar[str] = "vision_model"  # transformers 5 writes the names without it
    extra_tokens: int = 0
    _not_needed: ClassVar[tuple[str, ...]] = (r"^vision_model\.head\.",)

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__(config)
        self.vision_model = Tower(config)

    def _init_weights(self, module: nn.Module) -> None:
        # What is inside comes first: attention and feed-forward then draw their linear layers anew.
        if isinstance(module, Embeddings):
            nn.init.normal_(module.position_embedding.weight, std=self.config.hidden_size**-0.5)
        elif isinstance(module, Attention):
            for projection in (module.q_proj, module.k_proj, module.v_proj, module.out_proj):
                nn.init.xavier_uniform_(projection.weight)
        elif isinstance(module, FeedForward):
            for layer in (module.fc1, module.fc2):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.normal_(layer.bias, std=1e-6)
        elif isinstance(module, Head):
            nn.init.xavier_uniform_(module.probe)
            nn.init.xavier_uniform_(module.attention.in_proj_weight)
            nn.init.zeros_(module.attention.in_proj_bias)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            # 0.8796 is the deviation of a normal distribution that is cut off at twice its own.
            std = math.sqrt(1 / module.weight[0].numel()) / 0.87962566103423978
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    def embed(self, pixel_values: Tensor, interpolate_pos_encoding: bool) -> Tensor:
        tower = self.vision_model
        pixel_values = pixel_values.to(tower.embeddings.patch_embedding.weight.dtype)
        return tower.embeddings(pixel_values, interpolate_pos_encoding)

    def layers(self) -> nn.ModuleList:
        return self.vision_model.encoder.layers

    def end(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        tower = self.vision_model
        x = tower.post_layernorm(x)
        return x, None if tower.head is None else tower.head(x)
