"""BERT for generation as a decoder.

Paper: Rothe et al. 2019, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks". Against BERT:

* there are no types of texts, and positions are added whatever else the config wants
* nothing stands between the layers and the projection to the vocabulary

The axis letters are those of `bert`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from vision2seq.models.decoders.bert import BertLMHeadModel, Embeddings, Head, Layers, Transformation, Trunk
from vision2seq.models.decoders.bert_config import BertGenerationConfig


class BertGenerationHead(Head):
    """The head of BERT for generation."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.project_from(config.hidden_size)


class BertGenerationDecoder(BertLMHeadModel):
    """BERT for generation with its language-model head."""

    config_class: ClassVar[Any] = BertGenerationConfig

    def make_trunk(self, config: Any) -> Trunk:
        return Trunk(Embeddings(config, config.hidden_size, typed=False), Layers(config))

    def make_head(self, config: Any) -> None:
        self.lm_head = BertGenerationHead(config)

    def transformation(self) -> Transformation | None:
        return None

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head.decoder
