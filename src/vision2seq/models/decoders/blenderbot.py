"""The decoders of Blenderbot and of its small model: BART's with other norms.

Paper: Roller et al. 2020, "Recipes for building an open-domain chatbot". Against BART:

* positions are stored from row 0 on
* Blenderbot norms before each branch, and once more after the last layer; its embeddings are not normed
* the small one norms its embeddings before positions are added, and never scales them

B rows, T tokens, D hidden size.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from vision2seq.models.decoders.bart import BartForCausalLM
from vision2seq.models.decoders.bart_config import BlenderbotConfig, BlenderbotSmallConfig
from vision2seq.models.decoders.trocr import LearnedPositions


class Positions(LearnedPositions):
    """Learned positions, all of which are in use."""

    OFFSET = 0


class BlenderbotForCausalLM(BartForCausalLM):
    """The Blenderbot decoder with its projection to the vocabulary."""

    config_class: ClassVar[Any] = BlenderbotConfig
    norm_first: ClassVar[bool] = True
    norms_embeddings: ClassVar[bool] = False

    @classmethod
    def positions(cls, config: Any) -> Any:
        return Positions(config.max_position_embeddings, config.hidden_size)


class BlenderbotSmallForCausalLM(BlenderbotForCausalLM):
    """The small Blenderbot decoder with its projection to the vocabulary."""

    config_class: ClassVar[Any] = BlenderbotSmallConfig
    norm_first: ClassVar[bool] = False
    norms_embeddings: ClassVar[bool] = True
    scaled: ClassVar[str] = "none"

    def with_positions(self, embedded: Tensor, positions: Tensor) -> Tensor:
        norm = self.trunk.layernorm_embedding
        assert norm is not None
        return norm(embedded) + positions
