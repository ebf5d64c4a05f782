"""Layers whose weights take less memory than float32, so that a step has less to read.

* ``bf16``: weights as they are, in bfloat16.
* ``int8``: whole numbers from -127 to 127 times a number for each output (symmetric, per channel), packed as
  `native/program.h` says. Inputs are not rounded to 8 bits, but to 16.

What goes in and what comes out is float32. Gradients do not go through.

O outputs, I inputs, B blocks of 16 outputs, F groups of four inputs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.engine.library import BFLOAT16, INT8
from vision2seq.engine.program import Program, Unsuitable
from vision2seq.errors import UnsupportedError

_BLOCK, _GROUP = 16, 4


def pack(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Round weights (O, I) to 8 bits and put them into blocks.

    Returns:
        Whole numbers, int8 of shape (B, F, 16, 4); what an output's are multiples of, (16 * B,) in float32; their sums,
        (16 * B,) in int32.
    """
    outputs, inputs = weight.shape
    weight = weight.detach().float()
    scales = weight.abs().amax(1) / 127
    whole = (weight / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).round().to(torch.int8)
    whole = F.pad(whole, (0, -inputs % _GROUP, 0, -outputs % _BLOCK))
    blocks = whole.view(-1, _BLOCK, whole.shape[1] // _GROUP, _GROUP).transpose(1, 2).contiguous()
    return blocks, F.pad(scales, (0, -outputs % _BLOCK)), whole.sum(1, dtype=torch.int32)


def unpack(blocks: Tensor, scales: Tensor, outputs: int, inputs: int) -> Tensor:
    """The weights that `pack` has rounded, (O, I) in float32."""
    whole = blocks.transpose(1, 2).reshape(-1, blocks.shape[1] * _GROUP)[:outputs, :inputs]
    return whole.float() * scales[:outputs, None]


class _Packed(nn.Module):
    """Weights in one of the two formats.

    Args:
        outputs: O.
        inputs: I.
        kind: ``"bf16"`` or ``"int8"``.
    """

    weight: Tensor
    scales: Tensor | None
    sums: Tensor | None
    bias: Tensor | None
    KINDS: ClassVar[dict[str, int]] = {"bf16": BFLOAT16, "int8": INT8}

    def __init__(self, outputs: int, inputs: int, kind: str) -> None:
        super().__init__()
        self.outputs, self.inputs, self.kind, self.format = outputs, inputs, kind, self.KINDS[kind]
        if kind == "bf16":
            self.register_buffer("weight", torch.empty(outputs, inputs, dtype=torch.bfloat16))
            self.scales = self.sums = None
            return
        blocks = -(-outputs // _BLOCK)
        self.register_buffer("weight", torch.empty(blocks, -(-inputs // _GROUP), _BLOCK, _GROUP, dtype=torch.int8))
        self.register_buffer("scales", torch.empty(blocks * _BLOCK))
        self.register_buffer("sums", torch.empty(blocks * _BLOCK, dtype=torch.int32))

    def fill(self, weight: Tensor) -> None:
        """Take over weights (O, I)."""
        if self.kind == "bf16":
            self.weight = weight.detach().to(torch.bfloat16, copy=True).contiguous()
        else:
            self.weight, self.scales, self.sums = pack(weight)

    def unpacked(self) -> Tensor:
        """The weights in float32, (O, I)."""
        if self.scales is None:
            return self.weight.float()
        return unpack(self.weight, self.scales, self.outputs, self.inputs)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Go to another device, but not to another dtype.

        Raises:
            UnsupportedError: A dtype was asked for.
        """
        for buffer in self._buffers.values():
            if buffer is not None and fn(buffer.new_empty(0)).dtype != buffer.dtype:
                raise UnsupportedError(
                    f"Weights that are packed as {self.kind} cannot become another dtype; load the checkpoint that "
                    "they were made from."
                )
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> _Packed:
        """Refuse to train.

        Raises:
            UnsupportedError: ``mode`` is true.
        """
        if mode:
            raise UnsupportedError(
                f"Weights that are packed as {self.kind} cannot be trained: load the model with precision='fp32'."
            )
        super().train(False)
        return self

    def extra_repr(self) -> str:
        """What printing a model shows."""
        return f"inputs={self.inputs}, outputs={self.outputs}, kind={self.kind}"


class PackedLinear(_Packed):
    """A linear layer with packed weights.

    Args:
        inputs: I.
        outputs: O.
        bias: Whether there is one, which stays in float32.
        kind: ``"bf16"`` or ``"int8"``.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool, kind: str) -> None:
        super().__init__(outputs, inputs, kind)
        self.in_features, self.out_features = inputs, outputs
        self.register_buffer("bias", torch.empty(outputs) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) → (…, O), both in float32.

        Raises:
            UnsupportedError: Gradients are wanted.
        """
        if torch.is_grad_enabled() and x.requires_grad:
            raise UnsupportedError(
                f"Gradients do not go through weights that are packed as {self.kind}: load the model with "
                "precision='fp32'."
            )
        rows = x.reshape(-1, self.inputs).float()
        try:
            program = Program(self.inputs)
            program.linear(program.embedded, None, self)
        except Unsuitable:
            return F.linear(x.float(), self.unpacked(), self.bias)
        return program.apply(rows).view(*x.shape[:-1], self.outputs)


class PackedEmbedding(_Packed):
    """A table of token embeddings with packed weights, such as those of a `PackedLinear` to the vocabulary.

    Args:
        tokens: V.
        channels: D.
        kind: ``"bf16"`` or ``"int8"``.
        scale: What the embeddings are multiplied with.
    """

    def __init__(self, tokens: int, channels: int, kind: str, scale: float = 1.0) -> None:
        super().__init__(tokens, channels, kind)
        self.num_embeddings, self.embedding_dim, self.scale = tokens, channels, scale

    def tie(self, linear: PackedLinear) -> None:
        """Use the weights of a layer."""
        self.weight, self.scales, self.sums = linear.weight, linear.scales, linear.sums

    def forward(self, ids: Tensor) -> Tensor:
        """(…) ids → (…, D) in float32."""
        if self.scales is None:
            rows = F.embedding(ids, self.weight).float()
        else:
            blocks = self.weight[ids // _BLOCK, :, ids % _BLOCK]  # … F 4
            rows = blocks.flatten(-2)[..., : self.inputs].float() * self.scales[ids][..., None]
        return rows * self.scale
