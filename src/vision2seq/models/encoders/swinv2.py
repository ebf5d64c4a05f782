"""Swin v2: Swin for larger images.

Paper: Liu et al. 2021, "Swin Transformer V2: Scaling Up Capacity and Resolution". Against Swin:

* attention compares directions only (the cosine), times a learned number for each head, which is at most 100
* a small network tells the bias of an offset from its logarithm, so that other windows than the trained ones work
* norms stand after the branches, before the residual
* windows and shifts follow from the config's image size, whatever the image's; where two patches should not see each
  other, the reference hides them twice, and so do we
* when 2 by 2 patches become one, the norm comes last

The axis letters are those of `swin`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.errors import ConfigError
from vision2seq.layers.activations import activation
from vision2seq.layers.attention import attend
from vision2seq.layers.drop_path import drop_path, rates
from vision2seq.models.encoders.swin import Attention, Layer, PatchMerging, Projection, SwinModel
from vision2seq.models.encoders.swin_config import Swinv2Config

LARGEST_SCALE = 100.0
# Offsets are brought to -8 … 8 before their logarithm is taken, and the bias to 0 … 16.
OFFSETS, BIASES = 8.0, 16.0


class CosineAttention(nn.Module):
    """Projections and the attention within windows of one size."""

    def __init__(self, config: Swinv2Config, width: int, heads: int, window: int, trained: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"A stage's width {width} is no multiple of its num_heads {heads}; expected one.")
        self.heads, self.window, self.trained = heads, window, trained
        self.dropout = config.attention_probs_dropout_prob
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        self.continuous_position_bias_mlp = nn.Sequential(
            nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, heads, bias=False)
        )
        self.query = nn.Linear(width, width, bias=config.qkv_bias)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=config.qkv_bias)

    def bias(self) -> Tensor:
        """What is added to the products, (N, A, A)."""
        window, weight = self.window, self.logit_scale
        offsets = torch.arange(1 - window, window, device=weight.device).float()
        offsets = offsets * (OFFSETS / max((self.trained or window) - 1, 1))
        offsets = offsets.sign() * (offsets.abs() + 1).log2() / math.log2(OFFSETS)
        table = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), dim=-1)  # 2w-1 2w-1 2
        told = BIASES * torch.sigmoid(self.continuous_position_bias_mlp(table.to(weight.dtype)))
        at = torch.arange(window, device=weight.device)
        apart = at[:, None] - at[None, :] + window - 1  # w w
        pairs = told[apart[:, None, :, None], apart[None, :, None, :]]  # w w w w N
        return pairs.reshape(window**2, window**2, self.heads).permute(2, 0, 1)

    def forward(self, x: Tensor, masks: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Attend in windows (B, Y, X, A, C); as `swin_attention.SelfAttention`."""
        images, rows, columns, area, _ = x.shape
        count = rows * columns
        query, keys, values = (
            # Each window's heads stand side by side, so that all images share the bias: B Y*X*N A K.
            part(x).view(images, count, area, self.heads, -1).transpose(2, 3).flatten(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scale = self.logit_scale.clamp(max=math.log(LARGEST_SCALE)).exp().repeat(count, 1, 1)  # Y*X*N 1 1
        added = self.bias()[None].expand(count, -1, -1, -1)  # Y*X N A A
        if masks is not None:
            kinds = torch.zeros(rows, columns, dtype=torch.long, device=x.device)
            kinds[:, -1] += 1
            kinds[-1] += 2
            added = added + 2 * masks[kinds.flatten(), None]
        mixed, weights = attend(
            F.normalize(query, dim=-1) * scale,
            F.normalize(keys, dim=-1),
            values,
            scale=1.0,
            mask=added.flatten(0, 1)[None],
            dropout=self.dropout if self.training else 0.0,
            need_weights=need_weights,
        )
        mixed = mixed.view(images, area, rows, columns, -1).permute(0, 2, 3, 1, 4)
        return mixed, None if weights is None else weights.view(images * count, self.heads, area, area)


class CosineAttentionBlock(Attention):
    """Self-attention and its output projection."""

    def __init__(self, config: Swinv2Config, width: int, heads: int, window: int, trained: int) -> None:
        nn.Module.__init__(self)
        self.self = CosineAttention(config, width, heads, window, trained)  # type: ignore[assignment]
        self.output = Projection(width, width, config.attention_probs_dropout_prob)


class Swinv2Layer(Layer):
    """Attention within windows and feed-forward, each with its norm after and its residual around both."""

    def __init__(self, config: Swinv2Config, stage: int, side: int, shifted: bool, drop_rate: float) -> None:
        nn.Module.__init__(self)
        width, inner = int(config.embed_dim * 2**stage), int(config.mlp_ratio * config.embed_dim * 2**stage)
        self.window = min(side, config.window_size)
        self.shift = config.window_size // 2 if shifted and side > self.window else 0
        self.drop_rate = drop_rate
        self.attention = CosineAttentionBlock(
            config, width, config.num_heads[stage], self.window, config.pretrained_window_sizes[stage]
        )
        self.layernorm_before = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.intermediate = Projection(width, inner, 0.0)
        self.output = Projection(inner, width, config.hidden_dropout_prob)
        self.layernorm_after = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.act = activation(config.hidden_act)

    def window_for(self, height: int, width: int) -> tuple[int, int]:
        return self.window, self.shift

    def forward(self, x: Tensor, size: tuple[int, int], need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attend(x, size, need_weights)
        x = x + drop_path(self.layernorm_before(mixed), self.drop_rate, self.training)
        inner = self.output(self.act(self.intermediate(x)))
        return x + drop_path(self.layernorm_after(inner), self.drop_rate, self.training), weights


class NormedMerging(PatchMerging):
    """2 by 2 patches become one of twice the width, which is normed."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.norm = nn.LayerNorm(2 * width)

    def merge(self, patches: Tensor) -> Tensor:
        return self.norm(self.reduction(patches))


class Swinv2Stage(nn.Module):
    """Some layers on maps of one size, and what leads to the next stage."""

    def __init__(self, config: Swinv2Config, stage: int, side: int) -> None:
        super().__init__()
        before, drop_rates = sum(config.depths[:stage]), rates(config.drop_path_rate, sum(config.depths))
        self.blocks = nn.ModuleList(
            Swinv2Layer(config, stage, side, index % 2 == 1, drop_rates[before + index])
            for index in range(config.depths[stage])
        )
        last = stage + 1 == len(config.depths)
        self.downsample = None if last else NormedMerging(int(config.embed_dim * 2**stage))


class Swinv2Stages(nn.Module):
    """The stages, under the name that checkpoints give them."""

    def __init__(self, config: Swinv2Config, side: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Swinv2Stage(config, stage, side // 2**stage) for stage in range(len(config.depths)))


class Swinv2Model(SwinModel):
    """Swin v2 as an encoder: pixels (B, C, H, W) → hidden states (B, patches of the last stage, D)."""

    config_class: ClassVar[Any] = Swinv2Config
    base_model_prefix: ClassVar[str] = "swinv2"
    _harmless_unexpected: ClassVar[tuple[str, ...]] = (
        r"embeddings\.mask_token$",
        r"relative_coords_table$",
        r"relative_position_index$",
    )

    def make_stages(self, config: Any) -> Any:
        return Swinv2Stages(config, self.embeddings.patch_embeddings.grid[0])

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, CosineAttention):
            nn.init.constant_(module.logit_scale, math.log(10.0))
        else:
            super()._init_weights(module)
