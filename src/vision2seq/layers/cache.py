"""DecoderCache: the keys and values that a decoder has computed so far, for one generation.

R rows (running texts), I images, L layers, H heads, C capacity in tokens, S image tokens, K channels of a head.

* Self-attention: one preallocated block for all layers (L, R, H, C, K), whose capacity doubles when it is full.
* Cross-attention: computed once an image, (I, H, S, K) a layer. Rows of one image (beams, several samples) that stand
  side by side share it: their queries are attended to as more queries of the same image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vision2seq.layers.attention import attend

_FIRST_CAPACITY = 32


@dataclass(slots=True)
class Places:
    """Where the keys and values of some rows are.

    Attributes:
        keys: Of all layers, (L, N, H, C, K); N slots hold one row's each.
        values: Likewise.
        slots: (R,), each row's.
        lengths: (R,), tokens that each row has stored.
        images: Each layer's keys and values of the images, (I, H, S, K).
        group: Slots that share an image.
    """

    keys: Tensor
    values: Tensor
    slots: Tensor
    lengths: Tensor
    images: list[tuple[Tensor, Tensor]]
    group: int


class DecoderCache:
    """State of one generation, passed along and never hung on the model."""

    def __init__(self, num_layers: int, *, capacity: int = _FIRST_CAPACITY) -> None:
        """Start empty.

        Args:
            num_layers: Decoder layers.
            capacity: Tokens to make room for at first.
        """
        self.num_layers = num_layers
        self.length = 0
        """Tokens that every layer has stored."""
        self._capacity = max(1, capacity)
        self._keys: Tensor | None = None  # L R H C K
        self._values: Tensor | None = None
        self._cross: list[tuple[Tensor, Tensor]] = []  # a layer: I H S K each
        self._group = 1  # rows an image

    def get_seq_length(self) -> int:
        """Tokens that the cache holds."""
        return self.length

    @property
    def rows(self) -> int:
        """Texts that the cache holds."""
        return 0 if self._keys is None else self._keys.shape[1]

    # ------------------------------------------------------------------------------------------------ self-attention

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's keys and values (R, H, T, K) of new tokens; return all of that layer's, (R, H, past + T, K).

        `length` moves on by `advance`, once all layers are through. Gradients reach the new tokens' keys and values,
        not those of earlier calls.
        """
        if torch.is_grad_enabled() and (keys.requires_grad or values.requires_grad):
            # Autograd cannot follow a block that is written to again and again: it keeps the numbers only.
            with torch.no_grad():
                old = [part[:, :, : self.length].clone() for part in self.append(layer, keys, values)]
            return torch.cat([old[0], keys], dim=2), torch.cat([old[1], values], dim=2)
        end = self.length + keys.shape[2]
        if self._keys is None or self._values is None or end > self._keys.shape[3]:
            self._grow(keys, end)
        assert self._keys is not None
        assert self._values is not None
        self._keys[layer, :, :, self.length : end] = keys
        self._values[layer, :, :, self.length : end] = values
        return self._keys[layer, :, :, :end], self._values[layer, :, :, :end]

    def places(self, rows: int, tokens: int) -> Places:
        """Where to write so many new tokens of each row to, in float32, for whoever does so himself; see `advance`.

        The images' keys and values must be there; they say how many heads and channels there are.
        """
        if self._keys is None or self._values is None or self.length + tokens > self._keys.shape[3]:
            heads, _, channels = self._cross[0][0].shape[1:]
            like = self._cross[0][0].new_empty(rows, heads, 1, channels, dtype=torch.float32)
            self._grow(like, self.length + tokens)
        assert self._keys is not None
        assert self._values is not None
        slots, lengths = torch.arange(rows), torch.full((rows,), self.length)
        return Places(self._keys, self._values, slots, lengths, self._cross, self._group)

    def advance(self, tokens: int) -> None:
        """Say that all layers have stored that many new tokens."""
        self.length += tokens

    def _grow(self, like: Tensor, needed: int) -> None:
        rows, heads, _, channels = like.shape
        while self._capacity < needed:
            self._capacity *= 2
        shape = (self.num_layers, rows, heads, self._capacity, channels)
        for name in ("_keys", "_values"):
            old: Tensor | None = getattr(self, name)
            new = like.new_empty(shape)
            if old is not None:
                new[:, :, :, : self.length] = old[:, :, :, : self.length]
            setattr(self, name, new)

    # ----------------------------------------------------------------------------------------------- cross-attention

    def has_cross(self, layer: int) -> bool:
        """Whether a layer's keys and values of the images are there."""
        return layer < len(self._cross)

    def put_cross(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Store a layer's keys and values of the images, (I, H, S, K) each; layers come in order."""
        assert layer == len(self._cross)
        # Read again at every step, so worth one copy into the order that the attention kernel reads.
        self._cross.append((keys.contiguous(), values.contiguous()))

    def cross(self, layer: int) -> tuple[Tensor, Tensor]:
        """A layer's keys and values of the images, one entry a row, (R, H, S, K) each."""
        keys, values = self._cross[layer]
        if self._group == 1:
            return keys, values
        return keys.repeat_interleave(self._group, 0), values.repeat_interleave(self._group, 0)

    def attend_cross(
        self, layer: int, query: Tensor, *, scale: float, dropout: float = 0.0, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from each row's queries (R, H, T, K) to its own image; returns as `attend` does."""
        keys, values = self._cross[layer]
        group = self._group
        if group == 1:
            return attend(query, keys, values, scale=scale, dropout=dropout, need_weights=need_weights)
        rows, heads, length, channels = query.shape
        images = rows // group
        together = query.view(images, group, heads, length, channels).transpose(1, 2).flatten(2, 3)  # I H G*T K
        mixed, weights = attend(together, keys, values, scale=scale, dropout=dropout, need_weights=need_weights)
        mixed = mixed.view(rows, length, heads * channels)
        if weights is not None:
            weights = weights.view(images, heads, group, length, -1).transpose(1, 2).flatten(0, 1)
        return mixed, weights

    # ---------------------------------------------------------------------------------------------------------- rows

    def select(self, rows: Tensor) -> None:
        """Make row i what row ``rows[i]`` was: drops, repeats and reorders (beams, finished texts)."""
        index = rows.tolist()
        before = self.rows
        if self._keys is not None and self._values is not None and index != list(range(before)):
            moved = torch.as_tensor(index, dtype=torch.long, device=self._keys.device)
            self._keys = self._keys.index_select(1, moved)
            self._values = self._values.index_select(1, moved)
        if self._cross:
            self._select_images([row // self._group for row in index])

    def _select_images(self, images: list[int]) -> None:
        """Keep what the rows' images need, side by side rows of one image sharing it if all have equally many."""
        order = [image for position, image in enumerate(images) if position == 0 or images[position - 1] != image]
        group = len(images) // len(order) if order else 1
        if len(set(order)) != len(order) or [image for image in order for _ in range(group)] != images:
            order, group = images, 1  # unevenly many: each row gets its own copy
        held = self._cross[0][0].shape[0]
        if order != list(range(held)):
            chosen = torch.as_tensor(order, dtype=torch.long, device=self._cross[0][0].device)
            self._cross = [(keys.index_select(0, chosen), vals.index_select(0, chosen)) for keys, vals in self._cross]
        self._group = group


class SlotCache:
    """Keys and values of rows that come and go one by one: each has a slot, and its own length.

    Args:
        num_layers: Decoder layers.
        slots: Rows at a time.
    """

    def __init__(self, num_layers: int, slots: int) -> None:
        self.lengths = torch.zeros(slots, dtype=torch.long)
        self._layers, self._slots = num_layers, slots
        self._keys = self._values = torch.empty(0)
        self._cross: list[tuple[Tensor, Tensor]] = []

    def admit(self, slots: list[int], images: DecoderCache) -> None:
        """Begin new rows in some slots, whose images' keys and values a new cache holds."""
        fresh = images._cross
        if not self._cross:
            self._cross = [
                tuple(part.new_empty(self._slots, *part.shape[1:]) for part in pair)  # type: ignore[misc]
                for pair in fresh
            ]
        if fresh[0][0].shape[1:] != self._cross[0][0].shape[1:]:
            raise ValueError("images of one session must have the same size")
        index = torch.tensor(slots)
        for held, new in zip(self._cross, fresh, strict=True):
            for part, values in zip(held, new, strict=True):
                part[index] = values
        self.lengths[index] = 0

    def places(self, slots: list[int], tokens: int) -> Places:
        """Where to write so many new tokens of each of these rows to."""
        index = torch.tensor(slots)
        lengths = self.lengths[index]
        needed = int(lengths.max()) + tokens
        if not self._keys.numel() or needed > self._keys.shape[3]:
            self._grow(needed)
        return Places(self._keys, self._values, index, lengths, self._cross, 1)

    def advance(self, slots: list[int], tokens: int) -> None:
        """Say that these rows have stored that many new tokens."""
        self.lengths[torch.tensor(slots)] += tokens

    def _grow(self, needed: int) -> None:
        heads, _, channels = self._cross[0][0].shape[1:]
        capacity = _FIRST_CAPACITY
        while capacity < needed:
            capacity *= 2
        grown = []
        for old in (self._keys, self._values):
            new = torch.empty(self._layers, self._slots, heads, capacity, channels)
            if old.numel():
                new[:, :, :, : old.shape[3]] = old
            grown.append(new)
        self._keys, self._values = grown
