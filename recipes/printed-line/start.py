"""Where training starts from: attention that looks at neighbours before it has learned anything.

A plain ViT has to find out that what stands beside a column matters more than what stands far away, which takes many
lines. So positions start as sines and cosines in a few channels of their own, and queries and keys of the lower layers
as rotations of these: each head looks at the column a fixed number of steps away. These are ordinary weights that
training goes on to change; the architecture stays as it is.

Sources of the idea: d'Ascoli et al. 2021, "ConViT"; Trockman and Kolter 2023, "Mimetic Initialization of
Self-Attention Layers". That a turn of the waves is a step along the line is seen in Vaswani et al. 2017, section 3.5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

# How many columns (or characters) away each head of a layer looks at first; heads without a number start at random.
ENCODER = ((-2, -1, 0, 1, 2), (-2, -1, 0, 1, 2), (-3, -1, 1, 3), (-4, -2, 2, 4), (-1, 1))
DECODER = ((0, -1, -2, -3), (-1, -2, -4))
SHARPNESS = 1.3


def _rates(count: int) -> Tensor:
    return (
        math.pi * ((torch.arange(count) + 0.5) / count) ** 1.3
    )  # radians a step, unevenly, so that no distance looks like 0


def _waves(length: int, rates: Tensor) -> Tensor:
    """(length, 2 * rates): sine and cosine of each rate side by side."""
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _shift(rates: Tensor, steps: int) -> Tensor:
    """The matrix that makes the waves of place i those of place i + steps."""
    turns = [torch.tensor([[a.cos(), a.sin()], [-a.sin(), a.cos()]]) for a in rates * steps]
    return torch.block_diag(*turns)


def _look(query: Tensor, key: Tensor, distances: tuple[int, ...], rates: Tensor) -> None:
    channels = 2 * len(rates)  # of the waves, and of a head
    for head, steps in enumerate(distances):
        rows = slice(head * channels, (head + 1) * channels)
        query[rows, :channels] += SHARPNESS * _shift(rates, steps)
        key[rows, :channels] += SHARPNESS * torch.eye(channels)


@torch.no_grad()
def look_around(model: VisionEncoderDecoderModel) -> None:
    """Changes a new ViT + TrOCR model so that its heads start at fixed distances.

    Args:
        model: Freshly initialised, with heads of the same number of channels in encoder and decoder.
    """
    channels = model.config.encoder.hidden_size // model.config.encoder.num_attention_heads
    rates = _rates(channels // 2)
    embeddings = model.encoder.embeddings
    positions = embeddings.position_embeddings
    positions[0, 1:, :channels] = _waves(positions.shape[1] - 1, rates)
    embeddings.patch_embeddings.projection.weight[:channels] = 0
    for layer, distances in zip(model.encoder.encoder.layer, ENCODER, strict=False):
        _look(layer.attention.attention.query.weight, layer.attention.attention.key.weight, distances, rates)
    for layer in model.encoder.encoder.layer:
        # What layers add would drown the waves.
        layer.attention.output.dense.weight[:channels] *= 0.1
        layer.output.dense.weight[:channels] *= 0.1
    decoder = model.decoder.model.decoder
    # In the scale of the embeddings: the norm that follows brings both to one.
    table = decoder.embed_positions.weight
    table[2:, :channels] = 1.5 * model.config.decoder.init_std * _waves(table.shape[0] - 2, rates)
    table[:, channels:] *= 0.3
    decoder.embed_tokens.weight[:, :channels] = 0
    for layer, distances in zip(decoder.layers, DECODER, strict=False):
        _look(layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight, distances, rates)
