"""precision=: what a model's weights are kept in, on the CPU.

* ``fp32``: as they were trained.
* ``bf16``: the encoder, and what the decoder makes of an image, run in bfloat16 where the processor multiplies that
  natively, else in float32; the decoder's weights are stored in bfloat16 and multiplied in float32.
* ``int8``: the same, but the decoder's weights, and its vocabulary's, are stored in 8 bits, see `engine.packed`.
* ``auto``: int8 with the package's compiled code, else bf16 if the processor multiplies it natively, else fp32.

A step for one token reads all of the decoder's weights, so it takes as long as that; an encoder multiplies each of its
weights many times, so it takes as long as the products.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from vision2seq.engine.library import library
from vision2seq.engine.packed import PackedEmbedding, PackedLinear
from vision2seq.errors import OptionError, UnsupportedError, nearest
from vision2seq.models.decoders.base import Decoder
from vision2seq.models.decoders.gpt2 import Conv1D
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

PRECISIONS = ("fp32", "bf16", "int8", "auto")


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def settle(precision: str) -> str:
    """The precision that a name means here.

    Raises:
        OptionError: An unknown name.
    """
    if precision not in PRECISIONS:
        raise OptionError(
            f"precision={precision!r} is unknown.{nearest(str(precision), PRECISIONS)} Known: {', '.join(PRECISIONS)}."
        )
    if precision != "auto":
        return precision
    if library() is not None:
        return "int8"
    return "bf16" if multiplies_bfloat16() else "fp32"


def apply(model: Any, *, precision: str) -> None:
    """Change a model's weights in place.

    On the meta device the places for packed weights are made, which a packed checkpoint then fills.

    Args:
        model: A `VisionEncoderDecoderModel` in evaluation mode, on the CPU or on meta.
        precision: One of `PRECISIONS`; ``"fp32"`` makes all numbers float32.

    Raises:
        OptionError: An unknown precision.
        UnsupportedError: Another model, another device, or a decoder without compiled steps.
    """
    precision = settle(precision)
    if not isinstance(model, VisionEncoderDecoderModel):
        raise UnsupportedError(
            f"precision={precision!r} was asked of a {type(model).__name__}; only a VisionEncoderDecoderModel has it."
        )
    if model.device.type not in ("cpu", "meta"):
        raise UnsupportedError(
            f"precision={precision!r} is for the CPU, but the model is on {model.device}. Load it with "
            "dtype='bfloat16' there."
        )
    if precision == "fp32":
        model.float()
        return
    decoder = model.decoder
    of_image = getattr(decoder, "image_projections", None)
    if of_image is None:
        raise UnsupportedError(
            f"precision={precision!r} is not built for decoders of the type {decoder.config.model_type}; "
            "use precision='fp32'."
        )
    fast = torch.bfloat16 if multiplies_bfloat16() else torch.float32
    model.encoder.to(fast)
    if model.enc_to_dec_proj is not None:
        model.enc_to_dec_proj.to(fast)
    _pack(decoder, precision, re.compile(of_image), fast)
    model.precision = precision
    model.config.quantization_config = {"quant_method": "vision2seq", "precision": precision}


def _pack(decoder: Decoder, kind: str, of_image: re.Pattern[str], fast: torch.dtype) -> None:
    embeddings, head = decoder.get_input_embeddings(), decoder.get_output_embeddings()
    tied = head is not None and head.weight is embeddings.weight
    places = [(name, module) for name, module in decoder.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    packed_head: PackedLinear | None = None
    for name, module in places:
        if of_image.search(name):
            module.to(fast)
            continue
        packed = _packed_linear(module, kind)
        _put(decoder, name, packed)
        if module is head:
            packed_head = packed
    names = [name for name, module in decoder.named_modules() if module is embeddings]
    table = PackedEmbedding(
        embeddings.num_embeddings, embeddings.embedding_dim, kind, getattr(embeddings, "scale", 1.0)
    )
    with torch.no_grad():
        if not tied or packed_head is None:
            _fill(table, embeddings.weight)
    _put(decoder, names[0], table)
    if tied and packed_head is not None:
        table.tie(packed_head)
    for part in decoder.modules():
        if not isinstance(part, PackedLinear | PackedEmbedding | nn.Linear | Conv1D):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.float()
    decoder.tie_weights()


def _packed_linear(module: nn.Linear | Conv1D, kind: str) -> PackedLinear:
    weight = module.weight.t() if isinstance(module, Conv1D) else module.weight
    outputs, inputs = weight.shape
    packed = PackedLinear(inputs, outputs, bias=module.bias is not None, kind=kind)
    with torch.no_grad():
        _fill(packed, weight)
        if module.bias is not None:
            packed.bias = module.bias.detach().float()
    return packed


def _fill(packed: PackedLinear | PackedEmbedding, weight: torch.Tensor) -> None:
    if weight.is_meta:
        packed.to("meta")
    else:
        packed.fill(weight)


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    above, _, attribute = name.rpartition(".")
    setattr(root.get_submodule(above), attribute, module)
