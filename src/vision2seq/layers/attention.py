"""Scaled dot-product attention, shared by every family, and the masks that go with it.

B rows, H heads, T queries, S keys, K channels of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    scale: float,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Mix values by the similarity of queries and keys.

    Args:
        query: (B, H, T, K).
        keys: (B, H, S, K).
        values: (B, H, S, K).
        scale: What the products are multiplied with.
        mask: Added to the products, broadcast to (B, 1, T, S).
        causal: Query i sees keys 0 … i; only without a mask and without a past (T = S).
        dropout: Share of weights dropped.
        need_weights: Return the weights also, which costs the fused kernel.

    Returns:
        The mixture (B, T, H * K), and the weights (B, H, T, S) or None.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.
    """
    if keys.dtype != query.dtype:  # stored compactly
        keys, values = keys.to(query.dtype), values.to(query.dtype)
    if not need_weights:
        mixed = F.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=causal, scale=scale
        )
        return mixed.transpose(1, 2).flatten(2), None
    products = torch.matmul(query * scale, keys.transpose(-1, -2))  # B H T S
    if causal:
        mask = causal_mask(query.shape[-2], 0, products.dtype, products.device)
    if mask is not None:
        products = products + mask
    weights = torch.softmax(products, dim=-1)
    mixed = torch.matmul(F.dropout(weights, dropout) if dropout else weights, values)
    return mixed.transpose(1, 2).flatten(2), weights


def causal_mask(length: int, past: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A (length, past + length) mask to add: 0 where a query may look, the dtype's lowest number where not."""
    mask = torch.full((length, past + length), torch.finfo(dtype).min, dtype=dtype, device=device)
    return mask.triu(past + 1)


def decoder_mask(
    padding: Tensor | None, length: int, past: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor | None, bool]:
    """What a decoder's self-attention needs for some new tokens.

    Args:
        padding: (B, past + length) with 1 for tokens and 0 for padding, or None.
        length: How many new tokens.
        past: How many tokens lie in the cache.
        dtype: Of the mask.
        device: Of the mask.

    Returns:
        A mask for `attend` or None, and whether to pass ``causal``.
    """
    if padding is None:
        if length == 1 or past == 0:
            return None, length > 1
        return causal_mask(length, past, dtype, device), False
    lowest = torch.finfo(dtype).min
    mask = causal_mask(length, past, dtype, device)[None, None]  # 1 1 T S
    # A row that may look nowhere (padding on the left) looks everywhere evenly, as in the reference, and not at NaN.
    return mask.masked_fill(padding[:, None, None, :].eq(0), lowest), False
