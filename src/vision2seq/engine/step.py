"""What a fast step of any family is: the modules embed the token, a program does the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from vision2seq.engine.program import Program, Unsuitable
from vision2seq.layers.cache import DecoderCache
from vision2seq.models.decoders.base import Decoder

Embed = Callable[[Tensor, int], Tensor]
Step = Callable[[Tensor, DecoderCache], Tensor]


def step_from(
    decoder: Decoder, plain: Collection[type[nn.Module]], embed: Embed, record: Callable[[Program], None]
) -> Step | None:
    """A step for this decoder as it is now, or None where the modules have to run.

    They have to in training, off the CPU, in other dtypes than float32, without compiled code, and where somebody put
    other modules or hooks into them (adapters).

    Args:
        decoder: Its parameters are read where they lie, in each step; nothing is copied.
        plain: Module types whose work the program knows how to do.
        embed: From tokens (R, 1) and the number of tokens before them to what the program starts with, (R, D).
        record: Writes the operations into a new program.

    Returns:
        Called with tokens (R, 1) and the cache, which holds the images and all tokens before, it returns the logits
        (R, V); or None.
    """
    if decoder.training or decoder.device.type != "cpu":
        return None
    for module in decoder.modules():
        if type(module) not in plain or module._forward_hooks or module._forward_pre_hooks:
            return None
    try:
        program = Program(decoder.config.hidden_size)
        record(program)
    except Unsuitable:
        return None

    @torch.no_grad()
    def step(tokens: Tensor, cache: DecoderCache) -> Tensor:
        return program.run(embed(tokens, cache.length), cache)

    return step
