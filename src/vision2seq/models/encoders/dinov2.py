"""DINOv2, without and with registers: a ViT trained without labels.

Papers: Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision"; Darcet et al. 2023, "Vision
Transformers Need Registers". Against ViT:

* what attention and feed-forward add is scaled channel by channel; the largest models have a gated feed-forward
* images of other sizes need no switch: positions are stretched
* with registers, some tokens that belong to no patch and have no position stand between the cls token and the patches,
  and are passed on to the decoder as well
* no pooler; what would be its result is the cls token

B images, C channels, H W pixels, S tokens, D hidden size, N heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.layers.activations import activation
from vision2seq.layers.drop_path import drop_path
from vision2seq.layers.patches import PatchEmbeddings, square_grid, stretched
from vision2seq.models.encoders.base import Encoder
from vision2seq.models.encoders.dinov2_config import Dinov2Config, Dinov2WithRegistersConfig
from vision2seq.models.encoders.vit import Attention


class Embeddings(nn.Module):
    """The cls token, registers, patches, and positions."""

    def __init__(self, config: Any, registers: int, mask_token: bool) -> None:
        super().__init__()
        self.registers = registers
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        if mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, config.hidden_size))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, config.hidden_size))
        patches = PatchEmbeddings(config)
        self.position_embeddings = nn.Parameter(torch.zeros(1, patches.num_patches + 1, config.hidden_size))
        self.patch_embeddings = patches
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor) -> Tensor:
        patches = self.patch_embeddings(pixel_values, any_size=True)
        patch = self.patch_embeddings.patch_size
        grid = (pixel_values.shape[2] // patch[0], pixel_values.shape[3] // patch[1])
        count = patches.shape[0]
        x = torch.cat([self.cls_token.expand(count, -1, -1), patches], dim=1)
        x = x + self._positions(grid)
        if self.registers:
            x = torch.cat([x[:, :1], self.register_tokens.expand(count, -1, -1), x[:, 1:]], dim=1)
        return self.dropout(x)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        positions: Tensor = self.position_embeddings
        known = square_grid(self.patch_embeddings.grid)
        # The models with registers were trained with smoothed positions, the others without.
        exact = stretched(positions.float(), 1, known, grid, antialias=self.registers > 0)
        return exact.to(positions.dtype)


class LayerScale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.full((config.hidden_size,), float(config.layerscale_value)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.lambda1


class FeedForward(nn.Module):
    """Two linear layers and a nonlinearity."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        inner = int(config.hidden_size * config.mlp_ratio)
        self.fc1 = nn.Linear(config.hidden_size, inner)
        self.fc2 = nn.Linear(inner, config.hidden_size)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class GatedFeedForward(nn.Module):
    """SwiGLU: one half of the inner channels decides how much of the other half counts."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        inner = int(int(config.hidden_size * config.mlp_ratio) * 2 / 3)
        inner += -inner % 8
        self.weights_in = nn.Linear(config.hidden_size, 2 * inner)
        self.weights_out = nn.Linear(inner, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        gate, values = self.weights_in(x).chunk(2, dim=-1)
        return self.weights_out(F.silu(gate) * values)


class Layer(nn.Module):
    """Attention and feed-forward, each with its norm before, its scale after and its residual around."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.drop_rate = config.drop_path_rate
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.layer_scale1 = LayerScale(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = GatedFeedForward(config) if config.use_swiglu_ffn else FeedForward(config)
        self.layer_scale2 = LayerScale(config)

    def forward(self, x: Tensor, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attention(self.norm1(x), need_weights)
        x = x + drop_path(self.layer_scale1(mixed), self.drop_rate, self.training)
        return x + drop_path(self.layer_scale2(self.mlp(self.norm2(x))), self.drop_rate, self.training), weights


class Layers(nn.Module):
    """The stack of layers, under the name that checkpoints give it."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Dinov2Model(Encoder):
    """DINOv2 as an encoder: pixels (B, C, H, W) → hidden states (B, 1 + patches, D)."""

    config_class: ClassVar[Any] = Dinov2Config
    base_model_prefix: ClassVar[str] = "dinov2"
    _not_needed: ClassVar[tuple[str, ...]] = (r"^embeddings\.mask_token$",)
    _harmless_unexpected: ClassVar[tuple[str, ...]] = (r"embeddings\.mask_token$",)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        registers = config.num_register_tokens if "num_register_tokens" in config.family_keys() else 0
        mask_token = config.use_mask_token if "use_mask_token" in config.family_keys() else True
        self.extra_tokens = 1 + registers
        self.embeddings = Embeddings(config, registers, mask_token)
        self.encoder = Layers(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, LayerScale):
            nn.init.constant_(module.lambda1, self.config.layerscale_value)
        elif isinstance(module, Embeddings):
            for parameter in module.parameters(recurse=False):
                nn.init.zeros_(parameter)
            nn.init.trunc_normal_(module.position_embeddings, std=std)
            nn.init.trunc_normal_(module.cls_token, std=std)

    def embed(self, pixel_values: Tensor, interpolate_pos_encoding: bool) -> Tensor:
        # Other sizes than the config's are always accepted.
        return self.embeddings(pixel_values.to(self.embeddings.patch_embeddings.projection.weight.dtype))

    def layers(self) -> nn.ModuleList:
        return self.encoder.layer

    def end(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self.layernorm(x)
        return x, x[:, 0]


class Dinov2WithRegistersModel(Dinov2Model):
    """DINOv2 with registers as an encoder: pixels (B, C, H, W) → hidden states (B, 1 + registers + patches, D)."""

    config_class: ClassVar[Any] = Dinov2WithRegistersConfig
    base_model_prefix: ClassVar[str] = "dinov2_with_registers"
