"""RoBERTa as a decoder, and what differs from it in names: XLM-RoBERTa and CamemBERT.

Papers: Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach"; Conneau et al. 2019, "Unsupervised
Cross-lingual Representation Learning at Scale"; Martin et al. 2019, "CamemBERT: a Tasty French Language Model".
Against BERT:

* positions are counted from ``pad_token_id + 1`` over tokens that are not padding
* the head's activation is GELU, whatever the layers have

The axis letters are those of `bert`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn
from torch.nn import functional as F

from vision2seq.models.decoders.bert import BertLMHeadModel, Head, Transformation
from vision2seq.models.decoders.bert_config import CamembertConfig, RobertaConfig, XLMRobertaConfig


class RobertaHead(Head):
    """The head of RoBERTa."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.project_from(config.hidden_size)


class RobertaForCausalLM(BertLMHeadModel):
    """RoBERTa with its language-model head."""

    config_class: ClassVar[Any] = RobertaConfig
    base_model_prefix: ClassVar[str] = "roberta"
    positions_counted: ClassVar[bool] = True

    def make_head(self, config: Any) -> None:
        self.lm_head = RobertaHead(config)

    def transformation(self) -> Transformation | None:
        return self.lm_head.dense, F.gelu, self.lm_head.layer_norm

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head.decoder


class XLMRobertaForCausalLM(RobertaForCausalLM):
    """XLM-RoBERTa with its language-model head."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class CamembertForCausalLM(RobertaForCausalLM):
    """CamemBERT with its language-model head."""

    config_class: ClassVar[Any] = CamembertConfig
