"""Attention within the windows of a map of patches, as `swin` has it.

The axis letters are those of `swin`: B images, C channels of the stage, N heads, K channels of a head; Y by X windows
of w by w patches, A = w * w.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vision2seq.errors import ConfigError
from vision2seq.layers.attention import attend
from vision2seq.models.encoders.swin_config import DonutSwinConfig

# What is added to the product of two patches that only the shift has made neighbours: not so low that it counts for
# nothing, and the checkpoints were trained with it.
HIDDEN = -100.0


class SelfAttention(nn.Module):
    """Projections and the attention within windows."""

    relative_position_index: Tensor

    def __init__(self, config: DonutSwinConfig, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"A stage's width {width} is no multiple of its num_heads {heads}; expected one.")
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.window = config.window_size
        self.dropout = config.attention_probs_dropout_prob
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * self.window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", torch.empty(self.window**2, self.window**2, dtype=torch.long))
        self.query = nn.Linear(width, width, bias=config.qkv_bias)
        self.key = nn.Linear(width, width, bias=config.qkv_bias)
        self.value = nn.Linear(width, width, bias=config.qkv_bias)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """For each pair of patches in a window, compute the row of the bias table: their offset, down and right."""
        at = torch.arange(self.window, device="cpu")
        offset = at[:, None] - at[None, :] + self.window - 1  # w w, from 0 on
        rows = offset[:, None, :, None] * (2 * self.window - 1)
        index = (rows + offset[None, :, None, :]).reshape(self.window**2, self.window**2)
        self.relative_position_index = index.to(self.relative_position_bias_table.device)

    def bias(self, window: int) -> Tensor:
        """What is added to the products of a window of that size, at most the config's: (1, N, A, A)."""
        index = self.relative_position_index
        if window != self.window:
            index = index.view([self.window] * 4)[:window, :window, :window, :window].reshape(window**2, window**2)
        return self.relative_position_bias_table[index].permute(2, 0, 1)[None]

    def forward(self, x: Tensor, masks: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Attend in windows (B, Y, X, A, C).

        Args:
            x: The windows.
            masks: What is hidden from what in the windows inside, at the right edge, at the bottom and in the corner,
                (4, A, A); None without a shift.
            need_weights: Return the weights also.

        Returns:
            The mixture, shaped like ``x``, and the weights (B * Y * X, N, A, A) or None.
        """
        shape = x.shape
        area = shape[3]
        bias = self.bias(int(area**0.5))
        parts = [projection(x).view(*shape[:4], self.heads, -1) for projection in (self.query, self.key, self.value)]

        def windows(rows: slice, columns: slice, mask: Tensor) -> tuple[Tensor, Tensor | None]:
            some = [part[:, rows, columns] for part in parts]  # B y x A N K
            mixed, weights = attend(
                *(part.flatten(0, 2).transpose(1, 2) for part in some),
                scale=self.scale,
                mask=mask,
                dropout=self.dropout if self.training else 0.0,
                need_weights=need_weights,
            )
            around = some[0].shape[:3]
            return mixed.view(*around, area, -1), None if weights is None else weights.view(*around, *weights.shape[1:])

        every, inside, edge = slice(None), slice(None, -1), slice(-1, None)
        if masks is None:
            mixed, weights = windows(every, every, bias)
        else:
            kinds = [(inside, inside), (inside, edge), (edge, inside), (edge, edge)]
            found = [windows(*kind, bias + mask) for kind, mask in zip(kinds, masks, strict=True)]
            mixed = _joined([part for part, _ in found])
            weights = _joined([part for _, part in found if part is not None]) if need_weights else None
        return mixed, None if weights is None else weights.flatten(0, 2)


def _joined(parts: list[Tensor]) -> Tensor:
    """Put the windows inside, at the right edge, at the bottom and in the corner together again: (B, Y, X, …)."""
    return torch.cat([torch.cat(parts[:2], dim=2), torch.cat(parts[2:], dim=2)], dim=1)


def shift_masks(window: int, shift: int, like: Tensor) -> Tensor:
    """Masks (4, A, A) for the windows of a shifted map: inside, at the right edge, at the bottom, in the corner.

    At the map's end, the last ``shift`` rows (columns) of a window come from the other end, and see only each other.
    """
    moved = torch.arange(window, device=like.device) >= window - shift
    apart = moved[:, None] != moved[None, :]
    down, right = apart[:, None, :, None], apart[None, :, None, :]  # w 1 w 1, 1 w 1 w
    kinds = (torch.zeros_like(down), right, down, down | right)
    hidden = torch.stack([kind.expand([window] * 4) for kind in kinds])
    return like.new_zeros(hidden.shape).masked_fill(hidden, HIDDEN).view(4, window**2, window**2)
