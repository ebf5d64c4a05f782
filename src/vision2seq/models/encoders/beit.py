"""BEiT: a ViT whose tokens also know how far they are from each other.

Paper: Bao et al. 2021, "BEiT: BERT Pre-Training of Image Transformers". Against ViT:

* a learned bias for each offset between two patches is added to their product, in each layer its own, or one for all
* positions of patches are there only if the config says so
* no bias on keys; what attention and feed-forward add is scaled channel by channel
* with mean pooling, which is the default, there is no norm at the end (the pooler, which no decoder reads, has it)
* images of other sizes need no switch: positions and biases are stretched

B images, C channels, H W pixels, S tokens (the cls token and h * w patches), D hidden size, N heads, K channels of a
head.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.errors import ConfigError
from vision2seq.layers.activations import activation
from vision2seq.layers.attention import attend
from vision2seq.layers.drop_path import drop_path, rates
from vision2seq.layers.outputs import EncoderOutput
from vision2seq.layers.patches import PatchEmbeddings, square_grid, stretched
from vision2seq.models.encoders.base import Encoder
from vision2seq.models.encoders.beit_config import BeitConfig


class Embeddings(nn.Module):
    """The cls token, patches, and positions where the config wants them."""

    def __init__(self, config: BeitConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        if config.use_mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        patches = PatchEmbeddings(config)
        self.position_embeddings: nn.Parameter | None = None
        if config.use_absolute_position_embeddings:
            self.position_embeddings = nn.Parameter(torch.zeros(1, patches.num_patches + 1, config.hidden_size))
        self.patch_embeddings = patches
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, tuple[int, int]]:
        patches = self.patch_embeddings(pixel_values, any_size=True)
        patch = self.patch_embeddings.patch_size
        grid = (pixel_values.shape[2] // patch[0], pixel_values.shape[3] // patch[1])
        x = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        if self.position_embeddings is not None:
            x = x + stretched(self.position_embeddings, 1, square_grid(self.patch_embeddings.grid), grid)
        return self.dropout(x), grid


class RelativePositionBias(nn.Module):
    """A bias for each offset between two patches, and three for the pairs with the cls token."""

    def __init__(self, config: BeitConfig, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.rows, self.columns = 2 * grid[0] - 1, 2 * grid[1] - 1
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros(self.rows * self.columns + 3, config.num_attention_heads)
        )

    def forward(self, grid: tuple[int, int]) -> Tensor:
        """What is added to the products of the tokens of an image of h by w patches: (1, N, S, S)."""
        table: Tensor = self.relative_position_bias_table
        rows, columns = 2 * grid[0] - 1, 2 * grid[1] - 1
        if (rows, columns) != (self.rows, self.columns) or rows != columns:
            # Columns before rows, as the reference has it: it matters only where a config's image is not square, and
            # there models have been trained so.
            offsets = table[:-3].view(1, self.columns, self.rows, -1).permute(0, 3, 1, 2)  # 1 N columns rows
            offsets = F.interpolate(offsets, size=(rows, columns), mode="bilinear")
            table = torch.cat([offsets[0].flatten(1).T, table[-3:]])
        return table[_offsets(grid, table.device)].permute(2, 0, 1)[None]


def _offsets(grid: tuple[int, int], device: torch.device) -> Tensor:
    """For each pair of tokens the row of the table: their offset, down and right; (S, S)."""
    down, right = (torch.arange(side, device=device) for side in grid)
    rows = (down[:, None] - down[None, :] + grid[0] - 1) * (2 * grid[1] - 1)  # h h
    columns = right[:, None] - right[None, :] + grid[1] - 1  # w w
    patches = grid[0] * grid[1]
    known = (2 * grid[0] - 1) * (2 * grid[1] - 1)
    index = torch.empty(patches + 1, patches + 1, dtype=torch.long, device=device)
    index[1:, 1:] = (rows[:, None, :, None] + columns[None, :, None, :]).view(patches, patches)
    index[0, :] = known  # from the cls token to a patch
    index[:, 0] = known + 1  # from a patch to the cls token
    index[0, 0] = known + 2
    return index


class SelfAttention(nn.Module):
    """Query, key and value projections and the attention between tokens."""

    def __init__(self, config: BeitConfig, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        if config.hidden_size % self.heads:
            raise ConfigError(
                f"hidden_size {config.hidden_size} is no multiple of num_attention_heads {self.heads}; expected one."
            )
        self.scale = (config.hidden_size // self.heads) ** -0.5
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.relative_position_bias: RelativePositionBias | None = None
        if config.use_relative_position_bias:
            self.relative_position_bias = RelativePositionBias(config, grid)

    def forward(
        self, x: Tensor, grid: tuple[int, int], shared: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        query, keys, values = (
            projection(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # B N S K
            for projection in (self.query, self.key, self.value)
        )
        bias = shared
        if self.relative_position_bias is not None:
            own = self.relative_position_bias(grid)
            bias = own if shared is None else own + shared
        dropout = self.dropout if self.training else 0.0
        return attend(query, keys, values, scale=self.scale, mask=bias, dropout=dropout, need_weights=need_weights)


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

    def __init__(self, config: BeitConfig, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.attention = SelfAttention(config, grid)
        self.output = Projection(config.hidden_size, config.hidden_size, config.hidden_dropout_prob)

    def forward(
        self, x: Tensor, grid: tuple[int, int], shared: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attention(x, grid, shared, need_weights)
        return self.output(mixed), weights


class Layer(nn.Module):
    """Attention and feed-forward, each with its norm before, its scale after and its residual around."""

    def __init__(self, config: BeitConfig, grid: tuple[int, ...], drop_rate: float) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.lambda_1: nn.Parameter | None = None
        self.lambda_2: nn.Parameter | None = None
        if config.layer_scale_init_value > 0:
            self.lambda_1 = nn.Parameter(torch.full((config.hidden_size,), config.layer_scale_init_value))
            self.lambda_2 = nn.Parameter(torch.full((config.hidden_size,), config.layer_scale_init_value))
        self.attention = Attention(config, grid)
        self.intermediate = Projection(config.hidden_size, config.intermediate_size, 0.0)
        self.output = Projection(config.intermediate_size, config.hidden_size, config.hidden_dropout_prob)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.act = activation(config.hidden_act)

    def forward(
        self, x: Tensor, grid: tuple[int, int], shared: Tensor | None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attention(self.layernorm_before(x), grid, shared, need_weights)
        x = self._added(x, mixed, self.lambda_1)
        return self._added(x, self.output(self.act(self.intermediate(self.layernorm_after(x)))), self.lambda_2), weights

    def _added(self, x: Tensor, branch: Tensor, scale: Tensor | None) -> Tensor:
        branch = branch if scale is None else branch * scale
        return x + drop_path(branch, self.drop_rate, self.training)


class Layers(nn.Module):
    """The stack of layers, under the name that checkpoints give it, and the bias that they share."""

    def __init__(self, config: BeitConfig, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.relative_position_bias: RelativePositionBias | None = None
        if config.use_shared_relative_position_bias:
            self.relative_position_bias = RelativePositionBias(config, grid)
        drop_rates = rates(config.drop_path_rate, config.num_hidden_layers)
        self.layer = nn.ModuleList(Layer(config, grid, rate) for rate in drop_rates)


class Pooler(nn.Module):
    """The mean of the patches and its norm, or the cls token."""

    def __init__(self, config: BeitConfig) -> None:
        super().__init__()
        self.layernorm: nn.LayerNorm | None = None
        if config.use_mean_pooling:
            self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0] if self.layernorm is None else self.layernorm(x[:, 1:].mean(1))


class BeitModel(Encoder):
    """BEiT as an encoder: pixels (B, C, H, W) → hidden states (B, 1 + patches, D)."""

    config_class: ClassVar[Any] = BeitConfig
    base_model_prefix: ClassVar[str] = "beit"
    extra_tokens: int = 1
    _not_needed: ClassVar[tuple[str, ...]] = (r"^pooler\.", r"^embeddings\.mask_token$")
    _harmless_unexpected: ClassVar[tuple[str, ...]] = (r"embeddings\.mask_token$", r"relative_position_index")

    def __init__(self, config: BeitConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config, self.embeddings.patch_embeddings.grid)
        self.layernorm: nn.LayerNorm | None = None
        if not config.use_mean_pooling:
            self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = Pooler(config)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, Embeddings | RelativePositionBias):
            for parameter in module.parameters(recurse=False):
                nn.init.zeros_(parameter)
        elif isinstance(module, Layer):
            for parameter in module.parameters(recurse=False):
                nn.init.constant_(parameter, self.config.layer_scale_init_value)

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
            pixel_values: (B, C, H, W), in any floating-point dtype, of any size.
            interpolate_pos_encoding: Changes nothing: other sizes are always accepted.
            output_attentions: Return the attention weights of each layer, (B, N, S, S).
            output_hidden_states: Return the embeddings and each layer's result, (B, S, D).
            return_dict: False returns a tuple.

        Raises:
            ImageError: The images have another number of channels than the model, or not one patch.
        """
        want_weights = self.config.output_attentions if output_attentions is None else output_attentions
        want_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        pixel_values = pixel_values.to(self.embeddings.patch_embeddings.projection.weight.dtype)
        x, grid = self.embeddings(pixel_values)
        bias = self.encoder.relative_position_bias
        shared = None if bias is None else bias(grid)
        states, weights = [x], []
        for layer in self.encoder.layer:
            x, attention = self.checkpointed(layer, x, grid, shared, bool(want_weights))
            states.append(x)
            weights.append(attention)
        x = x if self.layernorm is None else self.layernorm(x)
        output = EncoderOutput(
            last_hidden_state=x,
            pooler_output=self.pooler(x),
            hidden_states=tuple(states) if want_states else None,
            attentions=tuple(weights) if want_weights else None,
        )
        return self.returned(output, return_dict)
