"""Activation functions by the names that configs use."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from vision2seq.errors import ConfigError, nearest


def _gelu_new(x: Tensor) -> Tensor:
    # Spelled out rather than F.gelu(approximate="tanh"): GPT-2's checkpoints were trained with these roundings.
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_new,
    "gelu_pytorch_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function of that name.

    Raises:
        ConfigError: Nobody knows the name.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"Unknown activation function {name!r}.{nearest(name, ACTIVATIONS)} Known: {', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]
