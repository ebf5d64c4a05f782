"""Flax' names and layouts of parameters as PyTorch's, for the models of transformers.

``decoder.transformer.h.0.ln_1.scale`` is ``decoder.transformer.h.0.ln_1.weight``.

Source: the naming of transformers 4.57.6's Flax classes, as the fixtures in tests/goldens show it.
"""

from __future__ import annotations

from torch import Tensor

_COLLECTIONS = ("params.", "batch_stats.")  # which files of models with batch normalisation tell apart
_LAST_PARTS = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
# By the number of axes: a dense layer's (in, out), a convolution's (width, in, out) or (height, width, in, out).
# GPT-2's are (out, in) in Flax and the other way round in PyTorch.
_KERNELS = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}


def from_flax(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Return the name and the tensor that PyTorch has for a parameter.

    Args:
        name: Its path, with dots.
        tensor: Its numbers; what is returned is a view of them.
    """
    for collection in _COLLECTIONS:
        name = name.removeprefix(collection)
    path, dot, last = name.rpartition(".")
    if last == "kernel" and tensor.ndim in _KERNELS:
        tensor = tensor.permute(_KERNELS[tensor.ndim])
    return path + dot + _LAST_PARTS.get(last, last), tensor
