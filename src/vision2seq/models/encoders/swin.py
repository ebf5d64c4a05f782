"""Swin, and Donut's Swin: attention within windows of a map of patches that shrinks from stage to stage.

Papers: Liu et al. 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"; Kim et al. 2022,
"OCR-free Document Understanding Transformer" (Donut). Against ViT:

* no token in front; any image size, patches and windows at the edge are filled up with zeros
* attention only within windows of w by w patches, with a learned bias for each offset between two patches
* every second layer shifts the map by half a window, so that neighbouring windows mix; what a window then holds of the
  map's opposite edge is masked
* between stages, 2 by 2 patches become one of twice the width
* Donut's has no norm at the end

B images, H W rows and columns of the map, C channels of the stage, N heads, K channels of a head; the map is cut into
Y by X windows of w by w patches, A = w * w.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.layers.activations import activation
from vision2seq.layers.drop_path import drop_path, rates
from vision2seq.layers.outputs import EncoderOutput
from vision2seq.layers.patches import PatchEmbeddings, PatchGrid, stretched
from vision2seq.models.encoders.base import Encoder
from vision2seq.models.encoders.swin_attention import SelfAttention, shift_masks
from vision2seq.models.encoders.swin_config import DonutSwinConfig, SwinConfig


class Embeddings(nn.Module):
    """Patches, their norm, and positions where the config wants them."""

    def __init__(self, config: DonutSwinConfig) -> None:
        super().__init__()
        patches = PatchEmbeddings(config, config.embed_dim)
        self.position_embeddings: nn.Parameter | None = None
        if config.use_absolute_embeddings:
            # One row more than patches, as in the reference; the first belongs to no patch and is not read.
            self.position_embeddings = nn.Parameter(torch.zeros(1, patches.num_patches + 1, config.embed_dim))
        self.patch_embeddings = patches
        self.norm = nn.LayerNorm(config.embed_dim)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool) -> tuple[Tensor, tuple[int, int]]:
        any_size = interpolate_pos_encoding or self.position_embeddings is None
        x = self.norm(self.patch_embeddings(pixel_values, any_size=any_size, pad=True))
        patch = self.patch_embeddings.patch_size
        size = (-(-pixel_values.shape[2] // patch[0]), -(-pixel_values.shape[3] // patch[1]))
        if self.position_embeddings is not None:
            old = tuple(-(-s // p) for s, p in zip(self.patch_embeddings.image_size, patch, strict=True))
            known = old if old[0] * old[1] == self.patch_embeddings.num_patches else self.patch_embeddings.grid
            x = x + stretched(self.position_embeddings, 1, known, size)[:, 1:]
        return self.dropout(x), size


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

    def __init__(self, config: DonutSwinConfig, width: int, heads: int) -> None:
        super().__init__()
        self.self = SelfAttention(config, width, heads)
        self.output = Projection(width, width, config.attention_probs_dropout_prob)

    def forward(self, x: Tensor, masks: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self(x, masks, need_weights)
        return self.output(mixed), weights


class Layer(nn.Module):
    """Attention within windows and feed-forward, each with its norm before and its residual around."""

    def __init__(self, config: DonutSwinConfig, width: int, heads: int, shifted: bool, drop_rate: float) -> None:
        super().__init__()
        self.window, self.shift = config.window_size, config.window_size // 2 if shifted else 0
        self.drop_rate = drop_rate
        inner = int(config.mlp_ratio * width)
        self.layernorm_before = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attention = Attention(config, width, heads)
        self.layernorm_after = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.intermediate = Projection(width, inner, 0.0)
        self.output = Projection(inner, width, config.hidden_dropout_prob)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor, size: tuple[int, int], need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Apply the layer to a map (B, H * W, C) of the size (H, W)."""
        mixed, weights = self.attend(self.layernorm_before(x), size, need_weights)
        x = x + drop_path(mixed, self.drop_rate, self.training)
        return x + self.output(self.act(self.intermediate(self.layernorm_after(x)))), weights

    def window_for(self, height: int, width: int) -> tuple[int, int]:
        """The window of a map of that size, and the shift."""
        # A map that is no larger than a window is one, and nothing is to be gained by a shift.
        small = min(height, width) <= self.window
        return (min(height, width), 0) if small else (self.window, self.shift)

    def attend(self, x: Tensor, size: tuple[int, int], need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Attend within the windows of a map (B, H * W, C) of the size (H, W)."""
        height, width = size
        x = x.view(x.shape[0], height, width, -1)
        window, shift = self.window_for(height, width)
        below, beside = -height % window, -width % window
        if below or beside:
            x = F.pad(x, (0, 0, 0, beside, 0, below))
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
        rows, columns = x.shape[1] // window, x.shape[2] // window
        x = x.reshape(x.shape[0], rows, window, columns, window, -1).transpose(2, 3)  # B Y X w w C
        around = x.shape
        masks = shift_masks(window, shift, x) if shift else None
        mixed, weights = self.attention(x.flatten(3, 4), masks, need_weights)
        mixed = mixed.view(around).transpose(2, 3).flatten(3, 4).flatten(1, 2)  # B H W C, with what was added
        if shift:
            mixed = mixed.roll((shift, shift), (1, 2))
        return mixed[:, :height, :width].flatten(1, 2), weights


class PatchMerging(nn.Module):
    """2 by 2 patches become one of twice the width; odd sides are filled up with zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        x = x.view(x.shape[0], *size, -1)  # B H W C
        if size[0] % 2 or size[1] % 2:
            x = F.pad(x, (0, 0, 0, size[1] % 2, 0, size[0] % 2))
        smaller = (x.shape[1] // 2, x.shape[2] // 2)
        x = x.reshape(x.shape[0], smaller[0], 2, smaller[1], 2, -1).permute(0, 1, 3, 4, 2, 5)  # B H/2 W/2 right down C
        return self.merge(x.flatten(3).flatten(1, 2)), smaller

    def merge(self, patches: Tensor) -> Tensor:
        """From four patches side by side, (B, S, 4 * C), to one, (B, S, 2 * C)."""
        return self.reduction(self.norm(patches))


class Stage(nn.Module):
    """Some layers on maps of one size, and what leads to the next stage."""

    def __init__(self, config: DonutSwinConfig, stage: int) -> None:
        super().__init__()
        width, before = int(config.embed_dim * 2**stage), sum(config.depths[:stage])
        drop_rates = rates(config.drop_path_rate, sum(config.depths))
        self.blocks = nn.ModuleList(
            Layer(config, width, config.num_heads[stage], index % 2 == 1, drop_rates[before + index])
            for index in range(config.depths[stage])
        )
        self.downsample = PatchMerging(width) if stage + 1 < len(config.depths) else None


class Stages(nn.Module):
    """The stages, under the name that checkpoints give them."""

    def __init__(self, config: DonutSwinConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Stage(config, stage) for stage in range(len(config.depths)))


class DonutSwinModel(Encoder):
    """Donut's Swin as an encoder: pixels (B, C, H, W) → hidden states (B, patches of the last stage, D)."""

    config_class: ClassVar[Any] = DonutSwinConfig
    base_model_prefix: ClassVar[str] = "donut"
    extra_tokens: int = 0
    last_norm: ClassVar[bool] = False
    _not_needed: ClassVar[tuple[str, ...]] = (r"relative_position_index$",)
    _harmless_unexpected: ClassVar[tuple[str, ...]] = (r"embeddings\.mask_token$",)

    def __init__(self, config: DonutSwinConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = self.make_stages(config)
        self.layernorm: nn.Module | None = None
        if self.last_norm:
            self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def make_stages(self, config: Any) -> Any:
        """Make the stages: under ``layers``, each with its ``blocks`` and its ``downsample``."""
        return Stages(config)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, Embeddings) and module.position_embeddings is not None:
            nn.init.zeros_(module.position_embeddings)
        elif isinstance(module, SelfAttention):
            nn.init.zeros_(module.relative_position_bias_table)

    def patch_grid(self, height: int, width: int) -> PatchGrid:
        """As for any encoder: that of the last stage, with what was filled up at the right and at the bottom."""
        high, wide = self.embeddings.patch_embeddings.patch_size
        rows, columns = -(-height // high), -(-width // wide)
        for _ in self.config.depths[1:]:
            rows, columns, high, wide = -(-rows // 2), -(-columns // 2), 2 * high, 2 * wide
        return PatchGrid(rows, columns, high, wide, self.extra_tokens)

    def forward(
        self,
        pixel_values: Tensor,
        *,
        interpolate_pos_encoding: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Encode images.

        Args:
            pixel_values: (B, C, H, W), in any floating-point dtype, of any size unless there are absolute positions.
            interpolate_pos_encoding: Accept any size then too, by stretching the positions.
            output_attentions: Return the attention weights of the last layer of each stage, (B * Y * X, N, A, A).
            output_hidden_states: Return the embeddings and what each stage hands on, (B, H * W, C).
            return_dict: False returns a tuple.

        Raises:
            ImageError: The images have another number of channels than the model, or a size that it does not take.
        """
        want_weights = self.config.output_attentions if output_attentions is None else output_attentions
        want_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        pixel_values = pixel_values.to(self.embeddings.patch_embeddings.projection.weight.dtype)
        x, size = self.embeddings(pixel_values, interpolate_pos_encoding)
        states, weights = [x], []
        stage: Any
        for stage in self.encoder.layers:
            attention = None
            for index, layer in enumerate(stage.blocks):
                last = index + 1 == len(stage.blocks)
                x, attention = self.checkpointed(layer, x, size, bool(want_weights) and last)
            if stage.downsample is not None:
                x, size = stage.downsample(x, size)
            states.append(x)
            weights.append(attention)
        x = x if self.layernorm is None else self.layernorm(x)
        output = EncoderOutput(
            last_hidden_state=x,
            pooler_output=x.mean(1),
            hidden_states=tuple(states) if want_states else None,
            attentions=tuple(weights) if want_weights else None,
        )
        return self.returned(output, return_dict)


class SwinModel(DonutSwinModel):
    """Swin as an encoder: Donut's with a norm at the end."""

    config_class: ClassVar[Any] = SwinConfig
    base_model_prefix: ClassVar[str] = "swin"
    last_norm: ClassVar[bool] = True
