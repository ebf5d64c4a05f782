"""Where a text was read from: the decoder's attention to the image, mapped back to pixels of the original picture.

The decoder runs once more over the finished text, so that reading itself stays as fast as it is. Of each token counts
the attention with which it was picked, that is, the one of the position before it. Then:

1. Heads. Many look nowhere in particular, or always at the same place. A head tells places as far as the place that it
   looks at tells which token it is: by the mutual information of token and patch, the entropy of its mean attention
   less the mean of its entropies, weighed by how much of it falls on patches at all. Heads with at least half of the
   best one's information stay; they are chosen anew for each image.
2. The median of those heads, patch by patch: one that looks at the character before, or jumps, changes little.
3. Around its peak, the mean and the deviation of what is left give the middle and the half sides of a box, as large as
   an even spread of that deviation is.
4. Tokens that follow each other and whose boxes overlap share the way between their middles by the lengths of their
   texts, a space counting half, which takes off what attention is wider than characters.

Patches that show only a border which the processor added do not count. Measured on `printed-line`, of whose heads half
were trained to look at the character to come: see docs/reading.md. Of other models nothing is known but that the same
arithmetic applies: their boxes are where they looked, which need not be where the ink is.

Sources: Bahdanau et al. 2015, "Neural Machine Translation by Jointly Learning to Align and Translate" (attention as
alignment); Radford et al. 2023, "Robust Speech Recognition via Large-Scale Weak Supervision", whose timestamps of words
come from a few heads that align; the choice of heads by mutual information is this package's.

T tokens, G heads of all layers together, S patches, row by row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vision2seq.errors import UnsupportedError
from vision2seq.layers.patches import PatchGrid
from vision2seq.processing.image.geometry import Geometry
from vision2seq.reading import Box

_AT_ONCE = 128  # tokens; a Donut has 64 heads that look at 4,800 patches, which are 160 MB then
_INFORMED = 0.5  # share of the best head's information that another one needs
_REACH = 2  # patches around the peak, each way
_SPREAD = math.sqrt(3)  # an even spread reaches so many of its deviations to each side
_SPACE = 0.5  # of a character: measured to leave words neither too wide nor too narrow, see docs/reading.md
_THINNEST = 1 / 8  # of a patch: half of a box's side at least


def check_locatable(model: Any, image_processor: Any) -> None:
    """Raise where boxes cannot be had, before anything is read.

    Raises:
        UnsupportedError: The encoder does not tell where its tokens stand, or the image processor what it does.
    """
    for what, method in ((getattr(model, "encoder", model), "patch_grid"), (image_processor, "geometry")):
        if not callable(getattr(what, method, None)):
            raise UnsupportedError(
                f"locate=True needs to know what the parts of the image became, but {type(what).__name__} has no "
                f"{method}(). The encoders and image processors of this package have it; read without locate."
            )


@torch.no_grad()
def locate_tokens(
    model: Any, memory: Tensor, size: tuple[int, int], ids: Sequence[int], texts: Sequence[str], geometry: Geometry
) -> list[Box | None]:
    """Find the boxes of the tokens of one text.

    Args:
        model: A `VisionEncoderDecoderModel`.
        memory: (1, S', D'), what the decoder looked at, tokens in front included.
        size: Height and width of the pixels that the encoder was given.
        ids: What the decoder was begun with, then the tokens.
        texts: What each token adds to the text: as many as there are tokens.
        geometry: From those pixels to the picture's.

    Returns:
        For each token a box in the picture, in pixels; None for tokens without text.

    Raises:
        UnsupportedError: The encoder has other tokens than its grid says.
    """
    grid = model.encoder.patch_grid(*size)
    if memory.shape[1] != grid.skipped + grid.rows * grid.columns:
        raise UnsupportedError(
            f"{type(model.encoder).__name__} gave {memory.shape[1]} tokens for an image of {size[0]}×{size[1]}, but "
            f"its patch_grid() speaks of {grid.skipped} + {grid.rows}×{grid.columns}; its boxes cannot be known."
        )
    first = len(ids) - len(texts)
    if first < 1 or not any(texts):
        return [None] * len(texts)
    memory = memory.to(model.decoder.device)  # the halves may be on two
    looked = attention(model.decoder, memory, ids, first, grid, _shown(grid, geometry))
    found = iter(boxes(looked.view(-1, grid.rows, grid.columns), grid, texts))
    located = []
    for text in texts:
        box = next(found)
        located.append(_rounded(geometry.box_to_original(*box)) if text else None)
    return located


def attention(decoder: Any, memory: Tensor, ids: Sequence[int], first: int, grid: PatchGrid, shown: Tensor) -> Tensor:
    """How much each token after the first ones looked at each patch: (T, S), rows of sum 1.

    Args:
        decoder: A `Decoder`.
        memory: (1, S', D').
        ids: The whole text.
        first: How many of the ids were given.
        grid: The patches.
        shown: (S,), False for patches that do not count.
    """
    cache = decoder.new_cache(capacity=len(ids))
    decoder.put_cross(cache, memory)
    given = torch.tensor([ids[:-1]], device=memory.device)
    parts: list[Tensor] = []
    chosen: Tensor | None = None
    for start in range(0, given.shape[1], _AT_ONCE):
        output = decoder(
            given[:, start : start + _AT_ONCE],
            past_key_values=cache,
            use_cache=True,
            output_attentions=True,
            return_dict=True,
            last_only=True,
        )
        weights = torch.cat([layer[0] for layer in output.cross_attentions])  # G T S'
        weights = weights[:, max(0, first - 1 - start) :, grid.skipped :].float().cpu() * shown
        if not weights.shape[1]:
            continue
        if chosen is None:
            chosen = telling(weights)
        weights = weights[chosen]
        middle, mean = weights.median(0).values, weights.mean(0)
        parts.append(torch.where(middle.sum(-1, keepdim=True) > 0, middle, mean))
    looked = torch.cat(parts)
    return looked / looked.sum(-1, keepdim=True).clamp(min=torch.finfo(looked.dtype).tiny)


def telling(weights: Tensor) -> Tensor:
    """Which heads tell places, (G,): see the top of this file.

    Args:
        weights: (G, T, S) attention, of which a part may have gone elsewhere.
    """
    share = weights.sum(-1)  # G T
    spread = weights / share.clamp(min=torch.finfo(weights.dtype).tiny)[..., None]
    information = torch.special.entr(spread.mean(1)).sum(-1) - torch.special.entr(spread).sum(-1).mean(1)
    information = information * share.mean(1)
    return information >= _INFORMED * information.max()


def boxes(looked: Tensor, grid: PatchGrid, texts: Sequence[str]) -> list[Box]:
    """Boxes in pixels of what the encoder was given.

    Args:
        looked: (T, rows, columns), see `attention`.
        grid: The patches.
        texts: Of the tokens; those without one push nobody aside.
    """
    middles, halves = _spread(looked, grid)
    sides = halves.repeat(2, 1, 1)  # towards the start and the end of each axis: 2 T 2
    patch = torch.tensor([grid.patch_width, grid.patch_height], dtype=torch.float32)
    cut = torch.zeros_like(sides, dtype=torch.bool)
    spoken = [place for place, text in enumerate(texts) if text]
    for one, other in itertools.pairwise(spoken):
        way = middles[other] - middles[one]
        apart = way.abs() / (halves[one] + halves[other])
        axis = int(apart.argmax())
        if not 0 < apart[axis] < 1:
            continue
        end = int(way[axis] > 0)  # which side of the one meets the other
        share = _length(texts[one]) / (_length(texts[one]) + _length(texts[other]))
        for place, side, part in ((one, end, share), (other, 1 - end, 1 - share)):
            half = torch.maximum(way[axis].abs() * part, patch[axis] * _THINNEST)
            sides[side, place, axis] = torch.minimum(sides[side, place, axis], half)
            cut[side, place, axis] = True
    # Where a token has a neighbour on one side only, it is no wider on the other.
    alone = cut.flip(0) & ~cut
    sides = torch.where(alone, torch.minimum(sides, sides.flip(0)), sides)
    edges = torch.cat([middles - sides[0], middles + sides[1]], dim=1)
    return [tuple(row) for row in edges.tolist()]


def _length(text: str) -> float:
    """In characters, of which a space is worth half in most fonts."""
    return sum(_SPACE if sign.isspace() else 1.0 for sign in text)


def _spread(looked: Tensor, grid: PatchGrid) -> tuple[Tensor, Tensor]:
    """Middles and half sides around the peaks, (T, 2) each, x first, in pixels."""
    count, rows, columns = looked.shape
    peak = looked.flatten(1).argmax(1)
    across = torch.arange(columns).expand(count, columns)
    down = torch.arange(rows).expand(count, rows)
    near_x = (across - (peak % columns)[:, None]).abs() <= _REACH
    near_y = (down - (peak // columns)[:, None]).abs() <= _REACH
    near = looked * near_y[:, :, None] * near_x[:, None, :]
    near = near / near.sum((1, 2), keepdim=True).clamp(min=torch.finfo(near.dtype).tiny)
    found = []
    for part, places, side in ((near.sum(1), across, grid.patch_width), (near.sum(2), down, grid.patch_height)):
        at = (places + 0.5) * side
        middle = (part * at).sum(1)
        variance = (part * (at - middle[:, None]) ** 2).sum(1) + side**2 / 12  # that of a patch within itself
        found.append((middle, _SPREAD * variance.sqrt()))
    (x, half_x), (y, half_y) = found
    return torch.stack([x, y], 1), torch.stack([half_x, half_y], 1)


def _shown(grid: PatchGrid, geometry: Geometry) -> Tensor:
    """Which patches show some of the picture, (S,); all, if none does."""
    found = []
    for row, column in itertools.product(range(grid.rows), range(grid.columns)):
        left, top = column * grid.patch_width, row * grid.patch_height
        box = geometry.box_to_original(left, top, left + grid.patch_width, top + grid.patch_height)
        found.append(box[2] > box[0] and box[3] > box[1])
    return torch.tensor(found) if any(found) else torch.ones(len(found), dtype=torch.bool)


def _rounded(box: Box) -> Box:
    """To tenths of a pixel, which is finer than anything that attention tells."""
    left, top, right, bottom = (round(edge, 1) for edge in box)
    return left, top, right, bottom
