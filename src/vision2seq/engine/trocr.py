"""One step of the TrOCR decoder for one new token a row, without what only training and inspection need.

The same sums as `models.decoders.trocr`, fewer and larger products: query, key and value come from one.

R rows, D hidden size, H heads, K channels of a head, V vocabulary.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.engine.layout import join, lay_out
from vision2seq.layers.attention import attend
from vision2seq.layers.cache import DecoderCache
from vision2seq.models.decoders import trocr

_PLAIN = {
    nn.LayerNorm,
    nn.Linear,
    nn.ModuleList,
    trocr.Attention,
    trocr.DecoderWrapper,
    trocr.Layer,
    trocr.LearnedPositions,
    trocr.ScaledEmbedding,
    trocr.SinusoidalPositions,
    trocr.TrOCRDecoder,
    trocr.TrOCRForCausalLM,
}


def step_for(decoder: trocr.TrOCRForCausalLM) -> TrOCRStep | None:
    """A step for this decoder as it is now, or None where the modules have to run.

    They have to in training, off the CPU, and where somebody put other modules or hooks into them (adapters).
    """
    if decoder.training or decoder.device.type != "cpu":
        return None
    for module in decoder.modules():
        if type(module) not in _PLAIN or module._forward_hooks or module._forward_pre_hooks:
            return None
    return TrOCRStep(decoder)


class TrOCRStep:
    """References to a decoder's weights, gathered once a generation. It holds no state of the texts."""

    def __init__(self, decoder: trocr.TrOCRForCausalLM) -> None:
        """Lay the weights out, unless that has been done, and gather them."""
        inner = decoder.model.decoder
        self.embed, self.positions = inner.embed_tokens, inner.embed_positions
        self.norm = _norm(inner.layernorm_embedding) if inner.layernorm_embedding is not None else None
        self.layers = [_gather(layer) for layer in inner.layers]
        lay_out(decoder.output_projection)
        self.head = decoder.output_projection.weight

    def __call__(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """Feed a token a row, (R, 1); return the logits (R, V). The cache holds the images and all tokens before."""
        rows = tokens.shape[0]
        x = self.embed(tokens) + self.positions(tokens, 1, cache.length)  # R 1 D
        x = x.view(rows, -1)
        if self.norm is not None:
            x = F.layer_norm(x, *self.norm)
        for index, (heads, scale, qkv, out, norm, cross_q, cross_out, cross_norm, fc1, act, fc2, last) in enumerate(
            self.layers
        ):
            joint = F.linear(x, *qkv).view(rows, 3, heads, 1, -1)  # R 3 H 1 K
            keys, values = cache.append(index, joint[:, 1], joint[:, 2])
            mixed, _ = attend(joint[:, 0], keys, values, scale=scale)
            x = F.layer_norm(x + F.linear(mixed.view(rows, -1), *out), *norm)
            query = F.linear(x, *cross_q).view(rows, heads, 1, -1)
            mixed, _ = cache.attend_cross(index, query, scale=scale)
            x = F.layer_norm(x + F.linear(mixed.view(rows, -1), *cross_out), *cross_norm)
            x = F.layer_norm(x + F.linear(act(F.linear(x, *fc1)), *fc2), *last)
        cache.advance(1)
        return F.linear(x, self.head)


def _norm(module: nn.LayerNorm) -> tuple[Any, ...]:
    return module.normalized_shape, module.weight, module.bias, module.eps


def _linear(module: nn.Linear) -> tuple[Tensor, Tensor]:
    lay_out(module)
    return module.weight, module.bias


def _gather(layer: nn.Module) -> tuple[Any, ...]:
    assert isinstance(layer, trocr.Layer)
    own, cross = layer.self_attn, layer.encoder_attn
    return (
        own.heads,
        own.scale,
        join(own.q_proj, own.k_proj, own.v_proj),
        _linear(own.out_proj),
        _norm(layer.self_attn_layer_norm),
        _linear(cross.q_proj),
        _linear(cross.out_proj),
        _norm(layer.encoder_attn_layer_norm),
        _linear(layer.fc1),
        layer.act,
        _linear(layer.fc2),
        _norm(layer.final_layer_norm),
    )
