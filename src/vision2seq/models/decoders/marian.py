"""Marian's and PEGASUS' decoders: BART's with fixed positions.

Papers: Junczys-Dowmunt et al. 2018, "Marian: Fast Neural Machine Translation in C++"; Zhang et al. 2019, "PEGASUS:
Pre-training with Extracted Gap-sentences for Abstractive Summarization". Against BART:

* positions are sines, then cosines, and lie in the checkpoints
* embeddings are not normed; given ones are scaled as looked-up ones are
* PEGASUS norms before each branch, and once more after the last layer

T tokens, D hidden size.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from vision2seq.models.decoders.bart import BartForCausalLM
from vision2seq.models.decoders.bart_config import MarianConfig, PegasusConfig
from vision2seq.models.decoders.trocr import LearnedPositions


class FixedPositions(LearnedPositions):
    """Positions that training leaves as they are."""

    OFFSET = 0

    def __init__(self, positions: int, channels: int) -> None:
        super().__init__(positions, channels)
        self.weight.requires_grad_(False)
        if not self.weight.is_meta:
            self.reset()

    def reset(self) -> None:
        """Compute the table (positions, D): sines in the first half of the columns, cosines in the second."""
        rows, columns = self.weight.shape
        rates = 10000.0 ** (-2 * torch.arange((columns + 1) // 2, dtype=torch.float64) / columns)
        angles = torch.arange(rows, dtype=torch.float64)[:, None] * rates
        with torch.no_grad():
            self.weight.copy_(torch.cat([angles.sin(), angles[:, : columns // 2].cos()], dim=1))


class MarianForCausalLM(BartForCausalLM):
    """The Marian decoder with its projection to the vocabulary."""

    config_class: ClassVar[Any] = MarianConfig
    norms_embeddings: ClassVar[bool] = False
    scaled: ClassVar[str] = "all"
    _not_needed: ClassVar[tuple[str, ...]] = (r"embed_positions\.weight$",)

    @classmethod
    def positions(cls, config: Any) -> Any:
        return FixedPositions(config.max_position_embeddings, config.hidden_size)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, FixedPositions):
            module.reset()
        else:
            super()._init_weights(module)


class PegasusForCausalLM(MarianForCausalLM):
    """The PEGASUS decoder with its projection to the vocabulary."""

    config_class: ClassVar[Any] = PegasusConfig
    norm_first: ClassVar[bool] = True
