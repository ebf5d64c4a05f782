"""Stochastic depth: in training, leave a branch out for some images.

Source: Huang et al. 2016, "Deep Networks with Stochastic Depth".
"""

from __future__ import annotations

from torch import Tensor


def drop_path(branch: Tensor, rate: float, training: bool) -> Tensor:
    """A residual branch (B, …), zero for a share of the images and scaled up for the rest; itself outside training."""
    if not training or rate == 0.0:
        return branch
    kept = branch.new_empty(branch.shape[0], *[1] * (branch.ndim - 1)).bernoulli_(1.0 - rate)
    return branch * kept / (1.0 - rate)


def rates(last: float, layers: int) -> list[float]:
    """A rate for each layer: growing evenly from 0 to that of the last."""
    return [last * layer / max(layers - 1, 1) for layer in range(layers)]
