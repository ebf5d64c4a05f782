"""BART's and mBART's decoders: transformer decoders that read an image by cross-attention; Donut's and Nougat's.

Papers: Lewis et al. 2019, "BART: Denoising Sequence-to-Sequence Pre-training"; Liu et al. 2020, "Multilingual Denoising
Pre-training for Neural Machine Translation". Against the plain transformer decoder:

* positions are learned, stored from row 2 on
* embeddings may be scaled by √D, and are normed before the first layer
* BART norms after each residual; mBART before each branch, and once more after the last layer

B rows, T new tokens, D hidden size, H heads, K channels of a head, S image tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.layers.cache import DecoderCache
from vision2seq.models.decoders.bart_config import BartConfig, MBartConfig
from vision2seq.models.decoders.base import Decoder, DecoderInputs
from vision2seq.models.decoders.trocr import Layer, LearnedPositions, ScaledEmbedding


class BartDecoder(nn.Module):
    """Embeddings and layers, under the names that checkpoints give them."""

    def __init__(self, config: BartConfig, *, norm_first: bool) -> None:
        super().__init__()
        width = config.hidden_size
        scale = math.sqrt(width) if config.scale_embedding else 1.0
        self.embed_tokens = ScaledEmbedding(config.vocab_size, width, config.pad_token_id, scale)
        self.embed_positions = LearnedPositions(config.max_position_embeddings, width)
        self.layers = nn.ModuleList(Layer(config, norm_first=norm_first) for _ in range(config.decoder_layers))
        self.layernorm_embedding = nn.LayerNorm(width)
        self.layer_norm = nn.LayerNorm(width) if norm_first else None


class DecoderWrapper(nn.Module):
    """One more level in the names of the checkpoints."""

    def __init__(self, config: BartConfig, *, norm_first: bool) -> None:
        super().__init__()
        self.decoder = BartDecoder(config, norm_first=norm_first)


class BartForCausalLM(Decoder):
    """The BART decoder with its projection to the vocabulary."""

    config_class: ClassVar[Any] = BartConfig
    image_projections: ClassVar[str | None] = r"\.encoder_attn\.[kv]_proj$"
    base_model_prefix: ClassVar[str] = "model"
    norm_first: ClassVar[bool] = False

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.model = DecoderWrapper(config, norm_first=self.norm_first)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie_weights()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings."""
        return self.model.decoder.embed_tokens

    def get_output_embeddings(self) -> nn.Linear:
        """The projection to the vocabulary."""
        return self.lm_head

    def _renamed(
        self, tensors: Iterable[tuple[str, Tensor]], converted: list[tuple[str, str]] | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Also find the token embeddings of files of whole models, which hold them as what both halves share."""
        new = "model.decoder.embed_tokens.weight"

        def owned() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in tensors:
                shared = name in ("shared.weight", "model.shared.weight")
                if shared and converted is not None:
                    converted.append((name, new))
                yield new if shared else name, tensor

        return super()._renamed(owned(), converted)

    def _init_weights(self, module: nn.Module) -> None:
        if module is self.lm_head and module.weight is self.get_input_embeddings().weight:
            return  # tied: the embeddings set it, with zeros for padding
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    def embed(self, inputs: DecoderInputs) -> Tensor:
        decoder = self.model.decoder
        embedded = inputs.embeddings if inputs.ids is None else decoder.embed_tokens(inputs.ids)
        assert embedded is not None
        x = decoder.layernorm_embedding(embedded + decoder.embed_positions(inputs.ids, inputs.length, inputs.past))
        return F.dropout(x, self.config.dropout) if self.training else x

    def layers(self) -> nn.ModuleList:
        return self.model.decoder.layers

    def skips_layer(self) -> bool:
        return self.training and bool(torch.rand([]) < self.config.decoder_layerdrop)

    def end(self, x: Tensor) -> Tensor:
        norm = self.model.decoder.layer_norm
        return x if norm is None else norm(x)

    def head(self, x: Tensor) -> Tensor:
        return self.lm_head(x)

    def put_cross(self, cache: DecoderCache, memory: Tensor) -> None:
        for index, layer in enumerate(self.layers()):
            assert isinstance(layer, Layer)
            cache.put_cross(index, *layer.encoder_attn.keys_values(memory))


class MBartForCausalLM(BartForCausalLM):
    """The mBART decoder with its projection to the vocabulary."""

    config_class: ClassVar[Any] = MBartConfig
    norm_first: ClassVar[bool] = True
