"""What a fast step of any family is: a program that compiled code runs, or none."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import nn

from vision2seq.engine.packed import PackedEmbedding, PackedLinear
from vision2seq.engine.program import Program, Unsuitable
from vision2seq.models.decoders.base import Decoder


def step_from(
    decoder: Decoder, plain: Collection[type[nn.Module]], record: Callable[[Program], None]
) -> Program | None:
    """A program for this decoder as it is now, or None where the modules have to run.

    They have to in training, off the CPU, in other dtypes than float32 (but for weights that are packed), without
    compiled code, and where somebody put other modules or hooks into them (adapters).

    Args:
        decoder: Its parameters are read where they lie, in each step; nothing is copied.
        plain: Module types whose work the program knows how to do.
        record: Writes the operations into a new program.
    """
    if decoder.training or decoder.device.type != "cpu":
        return None
    for module in decoder.modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return None
        if type(module) not in plain and not isinstance(module, PackedLinear | PackedEmbedding):
            return None
    try:
        program = Program(decoder.config.hidden_size)
        record(program)
    except Unsuitable:
        return None
    return program
