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

    def __init__(self, config: Any, kind: type[BartForCausalLM]) -> None:
        super().__init__()
        width = config.hidden_size
        scale = math.sqrt(width) if config.scale_embedding else 1.0
        # Marian may have another vocabulary than its encoder's, and says so.
        vocabulary = getattr(config, "decoder_vocab_size", None) or config.vocab_size
        self.embed_tokens = ScaledEmbedding(
            vocabulary, width, config.pad_token_id, scale if kind.scaled == "looked up" else 1.0
        )
        self.scale = scale if kind.scaled == "all" else 1.0
        self.embed_positions = kind.positions(config)
        self.layers = nn.ModuleList(kind.layer(config) for _ in range(config.decoder_layers))
        self.layernorm_embedding = nn.LayerNorm(width) if kind.norms_embeddings else None
        self.layer_norm = nn.LayerNorm(width) if kind.norm_first else None


class DecoderWrapper(nn.Module):
    """One more level in the names of the checkpoints."""

    def __init__(self, config: Any, kind: type[BartForCausalLM]) -> None:
        super().__init__()
        self.decoder = BartDecoder(config, kind)


class BartForCausalLM(Decoder):
    """The BART decoder with its projection to the vocabulary; its kin say where they differ."""

    config_class: ClassVar[Any] = BartConfig
    image_projections: ClassVar[str | None] = r"\.encoder_attn\.[kv]_proj$"
    base_model_prefix: ClassVar[str] = "model"
    norm_first: ClassVar[bool] = False
    """Whether branches are normed before, and all once more after the last layer; else after each residual."""
    norms_embeddings: ClassVar[bool] = True
    scaled: ClassVar[str] = "looked up"
    """Which embeddings are scaled if the config says so: those looked up, all (given ones, too) or none."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = self.make_trunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie_weights()

    def make_trunk(self, config: Any) -> nn.Module:
        """Make the embeddings and the layers."""
        return DecoderWrapper(config, type(self))

    @classmethod
    def positions(cls, config: Any) -> Any:
        """Make the positions: called with ids, length and past, they tell (T, D) or (B, T, D)."""
        return LearnedPositions(config.max_position_embeddings, config.hidden_size)

    @classmethod
    def layer(cls, config: Any) -> Layer:
        """Make a layer."""
        return Layer(config, norm_first=cls.norm_first)

    @property
    def trunk(self) -> BartDecoder:
        """Embeddings and layers, wherever checkpoints have them."""
        found = self.model.decoder
        assert isinstance(found, BartDecoder)
        return found

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings."""
        return self.trunk.embed_tokens

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
        trunk = self.trunk
        embedded = inputs.embeddings if inputs.ids is None else trunk.embed_tokens(inputs.ids)
        assert embedded is not None
        positions = trunk.embed_positions(inputs.ids, inputs.length, inputs.past)
        x = self.with_positions(embedded if trunk.scale == 1.0 else embedded * trunk.scale, positions)
        return F.dropout(x, self.config.dropout) if self.training else x

    def with_positions(self, embedded: Tensor, positions: Tensor) -> Tensor:
        """Join tokens and positions to what goes into the first layer, (B, T, D)."""
        norm, x = self.trunk.layernorm_embedding, embedded + positions
        return x if norm is None else norm(x)

    def layers(self) -> nn.ModuleList:
        return self.trunk.layers

    def skips_layer(self) -> bool:
        return self.training and bool(torch.rand([]) < self.config.decoder_layerdrop)

    def end(self, x: Tensor) -> Tensor:
        norm = self.trunk.layer_norm
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
