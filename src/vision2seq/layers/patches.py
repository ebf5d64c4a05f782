"""Images cut into patches, and learned grids of positions stretched over images of another size.

B images, C channels, H W pixels, S patches, D channels of a token, h w rows and columns of patches.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.errors import ConfigError, ImageError


def pair(value: Any, name: str = "image_size or patch_size") -> tuple[int, int]:
    """Height and width of what a config says as a number or as [height, width].

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(value, int):
        return value, value
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ConfigError(f"{name} is {value!r}; expected a number of pixels or [height, width].")
    return int(value[0]), int(value[1])


class PatchGrid(NamedTuple):
    """Where the tokens of an encoded image stand: row by row, behind those that stand for no place.

    Attributes:
        rows: How many rows of patches there are.
        columns: How many patches a row has.
        patch_height: Pixels from one row to the next; the first begins at the top.
        patch_width: Pixels from one column to the next.
        skipped: Tokens in front.
    """

    rows: int
    columns: int
    patch_height: int
    patch_width: int
    skipped: int


class PatchEmbeddings(nn.Module):
    """Cuts images (B, C, H, W) into patches and projects each: (B, S, D), row by row."""

    def __init__(self, config: Any, width: int | None = None) -> None:
        """Build it.

        Args:
            config: With ``image_size``, ``patch_size``, ``num_channels``, ``hidden_size``.
            width: D, if it is not the hidden size.
        """
        super().__init__()
        self.image_size, self.patch_size = pair(config.image_size), pair(config.patch_size)
        self.grid = tuple(size // patch for size, patch in zip(self.image_size, self.patch_size, strict=True))
        if 0 in self.grid:
            raise ConfigError(
                f"patch_size {list(self.patch_size)} does not fit into image_size {list(self.image_size)} (height, "
                "width); expected at least one patch each way."
            )
        self.num_patches = self.grid[0] * self.grid[1]
        self.projection = nn.Conv2d(config.num_channels, width or config.hidden_size, self.patch_size, self.patch_size)

    def forward(self, pixel_values: Tensor, any_size: bool = False, pad: bool = False) -> Tensor:
        """Cut and project.

        Args:
            pixel_values: (B, C, H, W).
            any_size: Accept other sizes than the config's.
            pad: Fill the last patches up with zeros instead of leaving out what is no whole patch.

        Raises:
            ImageError: Another number of channels, a size that is not accepted, or not one patch.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.projection.in_channels:
            raise ImageError(
                f"pixel_values have the shape {list(pixel_values.shape)}; this model expects [images, "
                f"{self.projection.in_channels}, {self.image_size[0]}, {self.image_size[1]}]."
            )
        size = tuple(pixel_values.shape[2:])
        if not any_size and size != self.image_size:
            raise ImageError(
                f"pixel_values are {size[0]}×{size[1]} (height×width); this model was built for "
                f"{self.image_size[0]}×{self.image_size[1]}. Use the checkpoint's image processor, or pass "
                "interpolate_pos_encoding=True to read other sizes."
            )
        if pad:
            below, beside = (-side % patch for side, patch in zip(size, self.patch_size, strict=True))
            pixel_values = F.pad(pixel_values, (0, beside, 0, below)) if below or beside else pixel_values
        elif any(side < patch for side, patch in zip(size, self.patch_size, strict=True)):
            raise ImageError(
                f"pixel_values are {size[0]}×{size[1]} (height×width), smaller than one patch of "
                f"{self.patch_size[0]}×{self.patch_size[1]}; resize the image."
            )
        return self.projection(pixel_values).flatten(2).transpose(1, 2)  # B S D


def square_grid(grid: tuple[int, ...]) -> tuple[int, ...]:
    """The grid that learned positions of so many patches span: a square if the number is one, whatever the config says.

    Families that stretch positions on their own take it so in the reference, and models have been trained so.
    """
    side = math.isqrt(grid[0] * grid[1])
    return (side, side) if side * side == grid[0] * grid[1] else grid


def stretched(
    positions: Tensor, front: int, old: tuple[int, ...], new: tuple[int, ...], *, antialias: bool = False
) -> Tensor:
    """Stretch a learned grid of positions (bicubic) over an image of another size.

    Args:
        positions: (1, front + h * w, D), row by row.
        front: How many positions belong to no patch; they stay as they are.
        old: h and w.
        new: Rows and columns wanted.
        antialias: Smooth the grid where it shrinks.
    """
    if new == old:
        return positions
    grid = positions[:, front:].view(1, *old, -1).permute(0, 3, 1, 2)  # 1 D h w
    grid = F.interpolate(grid, size=new, mode="bicubic", align_corners=False, antialias=antialias)
    return torch.cat([positions[:, :front], grid.flatten(2).transpose(1, 2)], dim=1)
