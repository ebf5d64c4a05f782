"""How weights lie in memory, for products of a big matrix with one or a few rows, whose cost is reading the matrix.

Parameters stay the truth: they keep their shapes, names and values and become views of the new memory, so that whoever
changes them in place changes what the engine reads. Nothing is kept twice.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

_LOCK = threading.Lock()
"""Two first generations at once must not lay out the same weights against each other."""


def lay_out(linear: nn.Linear) -> None:
    """Store a weight input by input where it has at least as many outputs as inputs; BLAS reads it faster so."""
    weight = linear.weight
    if weight.shape[0] >= weight.shape[1] and not weight.t().is_contiguous():
        with _LOCK:
            weight.data = weight.data.t().contiguous().t()


def join(*linears: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Store layers with the same input side by side, so that one product does the work of all.

    Args:
        linears: Layers of one shape.

    Returns:
        The weight (n * outputs, inputs) and the bias (n * outputs,) of all, views of the layers' own memory.
    """
    with _LOCK:
        weights: list[Tensor] = [linear.weight for linear in linears]
        biases: list[Tensor] = [linear.bias for linear in linears]
        outputs = weights[0].shape[0]
        count = len(linears)
        joint = _joined(weights, (1, count * outputs))
        if joint is None:
            joint = torch.cat([weight.data for weight in weights]).t().contiguous().t()  # n*outputs inputs
            for place, weight in enumerate(weights):
                weight.data = joint[place * outputs : (place + 1) * outputs]
        if any(bias is None for bias in biases):
            return joint, None
        joint_bias = _joined(biases, (1,))
        if joint_bias is None:
            joint_bias = torch.cat([bias.data for bias in biases])
            for place, bias in enumerate(biases):
                bias.data = joint_bias[place * outputs : (place + 1) * outputs]
        return joint, joint_bias


def _joined(parts: list[Tensor], stride: tuple[int, ...]) -> Tensor | None:
    """All parts as one tensor if they lie side by side already: part i starts where part i - 1 has its next row."""
    first = parts[0].data
    outputs = first.shape[0]
    for place, part in enumerate(parts):
        beside = first.data_ptr() + place * outputs * first.element_size()
        same = part.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not same or part.data_ptr() != beside or part.stride() != stride or part.dtype != first.dtype:
            return None
    return first.as_strided((len(parts) * outputs, *first.shape[1:]), stride)
