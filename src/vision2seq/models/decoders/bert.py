"""BERT as a decoder, and the parts of it that its kin take over: RoBERTa, ELECTRA, BERT for generation and RemBERT.

Papers: Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"; Rothe et
al. 2019, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks", which made decoders of them; Huang et al.
2020, "Improve Transformer Models with Better Relative Position Embeddings". Against the plain transformer decoder:

* embeddings of tokens, learned positions and the type of the text (always the first) are added and normed
* instead of positions, self-attention may add what a query (and a key) says of the distance between the two
* before the vocabulary come a linear layer, an activation and a norm
* the projection to the vocabulary has a bias, which checkpoints hold under two names

B rows, T new tokens, D hidden size, E width of the embeddings, H heads, K channels of a head, S image tokens,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision2seq.errors import ConfigError, OptionError
from vision2seq.layers.activations import activation
from vision2seq.layers.cache import DecoderCache
from vision2seq.models.decoders.base import Decoder, DecoderInputs
from vision2seq.models.decoders.bert_config import BertConfig

# What stands between the layers and the projection to the vocabulary.
Transformation = tuple[nn.Linear, Callable[[Tensor], Tensor], nn.LayerNorm]


class Embeddings(nn.Module):
    """Tokens, positions and types of texts.

    Args:
        config: The decoder's.
        width: Of the embeddings.
        counted: Positions are counted from ``pad_token_id + 1`` over tokens that are not padding.
        typed: There are types of texts; without them positions are added however the config wants them.
    """

    def __init__(self, config: Any, width: int, *, counted: bool = False, typed: bool = True) -> None:
        super().__init__()
        self.padding = config.pad_token_id
        self.counted = counted
        self.absolute = not typed or config.position_embedding_type == "absolute"
        if counted and self.padding is None:
            raise ConfigError("Positions are counted from pad_token_id, which is None; set it.")
        self.word_embeddings = nn.Embedding(config.vocab_size, width, self.padding)
        self.position_embeddings = nn.Embedding(
            config.max_position_embeddings, width, self.padding if counted else None
        )
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width) if typed else None
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor | None, embedded: Tensor | None, length: int, past: int) -> Tensor:
        """(B, T) ids, or (B, T, E) of them embedded already → (B, T, E)."""
        x = self.word_embeddings(ids) if embedded is None else embedded
        if self.token_type_embeddings is not None:
            x = x + self.token_type_embeddings.weight[0]
        return self.LayerNorm(x + self._positions(ids, length, past) if self.absolute else x)

    def _positions(self, ids: Tensor | None, length: int, past: int) -> Tensor:
        if ids is not None and self.counted:
            real = ids.ne(self.padding).long()
            return self.position_embeddings((real.cumsum(1) + past) * real + self.padding)  # B T E
        first = past + self.padding + 1 if self.counted else past
        return self.position_embeddings.weight[first : first + length]  # T E


class Projections(nn.Module):
    """Queries, keys and values of a self- or cross-attention."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        if width % self.heads:
            raise ConfigError(f"hidden_size {width} is no multiple of num_attention_heads {self.heads}; expected one.")
        self.scale = (width // self.heads) ** -0.5
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, D) → (B, H, T, K)."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of what is looked at, (B, H, S, K) each."""
        return self.split(self.key(source)), self.split(self.value(source))

    def bias(self, query: Tensor, keys: Tensor) -> Tensor | None:
        """What is added to the scaled products of queries (B, H, T, K) and keys (B, H, S, K)."""
        return None


class RelativeProjections(Projections):
    """Projections whose products also depend on the distance between two tokens."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.both = config.position_embedding_type == "relative_key_query"
        self.last = config.max_position_embeddings - 1
        self.distance_embedding = nn.Embedding(2 * self.last + 1, config.hidden_size // self.heads)

    def bias(self, query: Tensor, keys: Tensor) -> Tensor:
        """What the query says of the distance, and the key if the config wants it, (B, H, T, S); T are the last of S.

        The reference takes all queries for the last token when there is a cache, so that it can be given one at a time
        only; here each query knows its place.
        """
        at = torch.arange(keys.shape[2], device=keys.device)
        distances = at[-query.shape[2] :, None] - at[None, :]  # T S
        told = self.distance_embedding(distances + self.last)  # T S K
        products = torch.einsum("bhtk,tsk->bhts", query, told)
        if self.both:
            products = products + torch.einsum("bhsk,tsk->bhts", keys, told)
        return products * self.scale


class Output(nn.Module):
    """The end of a branch: a linear layer, the residual, a norm."""

    def __init__(self, config: Any, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = config.hidden_dropout_prob

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = self.dense(x)
        return self.LayerNorm((F.dropout(x, self.dropout) if self.training else x) + residual)


class Attention(nn.Module):
    """An attention with its end, under the names that checkpoints give them."""

    def __init__(self, config: Any, *, cross: bool = False) -> None:
        super().__init__()
        absolute = cross or config.position_embedding_type == "absolute"
        self.self = Projections(config) if absolute else RelativeProjections(config)
        self.output = Output(config, config.hidden_size)

    def read(self, x: Tensor) -> Tensor:
        """What the projections are given of the states (B, T, D)."""
        return x


class Intermediate(nn.Module):
    """The first half of the feed-forward."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.dense(x))


class Layer(nn.Module):
    """Self-attention, cross-attention if there is any, feed-forward; a norm after each residual."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attention = Attention(config)
        if config.add_cross_attention:
            self.crossattention = Attention(config, cross=True)
        self.intermediate = Intermediate(config)
        self.output = Output(config, config.intermediate_size)

    def forward(self, x: Tensor, inputs: DecoderInputs, index: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Returns the new states (B, T, D) and, if asked for, self- and cross-attention weights."""
        part = self.attention.self
        dropout = part.dropout if self.training else 0.0
        source = self.attention.read(x)
        query = part.split(part.query(source))
        mixed, weights = inputs.attend_self(index, query, *part.keys_values(source), part.scale, dropout, part.bias)
        x = self.attention.output(mixed, x)
        cross_weights = None
        if inputs.has_memory:
            part = self.crossattention.self
            query = part.split(part.query(self.crossattention.read(x)))
            mixed, cross_weights = inputs.attend_cross(index, query, part.keys_values, part.scale, dropout)
            x = self.crossattention.output(mixed, x)
        return self.output(self.intermediate(x), x), weights, cross_weights


class Layers(nn.Module):
    """One more level in the names of the checkpoints."""

    def __init__(self, config: Any, kind: type[Layer] = Layer) -> None:
        super().__init__()
        self.layer = nn.ModuleList(kind(config) for _ in range(config.num_hidden_layers))


class Trunk(nn.Module):
    """Embeddings and layers, and what leads from the width of the ones to that of the others, if they differ."""

    def __init__(self, embeddings: Embeddings, layers: Layers, projection: nn.Linear | None = None) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.embeddings_project = projection
        self.encoder = layers

    def embed(self, ids: Tensor | None, embedded: Tensor | None, length: int, past: int, dropout: float) -> Tensor:
        """What goes into the first layer, (B, T, D); see `Embeddings`."""
        x = self.embeddings(ids, embedded, length, past)
        if self.training:
            x = F.dropout(x, dropout)
        return x if self.embeddings_project is None else self.embeddings_project(x)


class Transform(nn.Module):
    """BERT's linear layer and norm before the projection to the vocabulary."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class Head(nn.Module):
    """A projection to the vocabulary whose bias has a second name."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def project_from(self, width: int) -> None:
        """Make the projection: after what comes before it, as checkpoints list them."""
        self.decoder = nn.Linear(width, self.bias.shape[0])


class BertHead(Head):
    """The head of BERT."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.transform = Transform(config)
        self.project_from(config.hidden_size)


class BertHeads(nn.Module):
    """One more level in the names of the checkpoints."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.predictions = BertHead(config)


class BertLMHeadModel(Decoder):
    """BERT with its language-model head; the others say where their head is and how they count positions."""

    config_class: ClassVar[Any] = BertConfig
    image_projections: ClassVar[str | None] = r"\.crossattention\.self\.(key|value)$"
    base_model_prefix: ClassVar[str] = "bert"
    _harmless_unexpected: ClassVar[tuple[str, ...]] = (r"cls\.seq_relationship\.", r"discriminator_predictions\.")
    positions_counted: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.position_embedding_type not in ("absolute", "relative_key", "relative_key_query"):
            raise ConfigError(
                f"position_embedding_type is {config.position_embedding_type!r}; expected 'absolute', 'relative_key' "
                "or 'relative_key_query'."
            )
        setattr(self, self.base_model_prefix, self.make_trunk(config))
        self.make_head(config)
        self.tie_weights()

    def make_trunk(self, config: Any) -> Trunk:
        """Make the embeddings and the layers."""
        return Trunk(Embeddings(config, config.hidden_size, counted=self.positions_counted), Layers(config))

    def make_head(self, config: Any) -> None:
        """Make what comes after the layers."""
        self.cls = BertHeads(config)

    def transformation(self) -> Transformation | None:
        """What comes between the layers and the projection to the vocabulary."""
        transform = self.cls.predictions.transform
        return transform.dense, activation(self.config.hidden_act), transform.LayerNorm

    def get_output_embeddings(self) -> nn.Linear:
        """The projection to the vocabulary."""
        return self.cls.predictions.decoder

    @property
    def trunk(self) -> Trunk:
        """Embeddings and layers, whatever checkpoints call them."""
        found = getattr(self, self.base_model_prefix)
        assert isinstance(found, Trunk)
        return found

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings."""
        return self.trunk.embeddings.word_embeddings

    def tie_weights(self) -> None:
        """Make one matrix of the token embeddings and the projection, if the config says so, and one bias of two."""
        super().tie_weights()
        for module in self.modules():
            if isinstance(module, Head):
                module.decoder.bias = module.bias

    def _init_weights(self, module: nn.Module) -> None:
        tied = module is self.get_output_embeddings() and module.weight is self.get_input_embeddings().weight
        if isinstance(module, nn.Linear | nn.Embedding) and not tied:  # the embeddings have zeros for padding
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.Linear | Head):
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    @property
    def max_positions(self) -> int:
        rows = int(self.config.max_position_embeddings)
        return rows - self.config.pad_token_id - 1 if self.positions_counted else rows

    def embed(self, inputs: DecoderInputs) -> Tensor:
        if inputs.memory is not None and not self.config.add_cross_attention:
            raise OptionError(
                f"This {self.config.model_type} has no cross-attention and cannot read images; its config needs "
                "add_cross_attention=True."
            )
        dropout = self.config.hidden_dropout_prob
        return self.trunk.embed(inputs.ids, inputs.embeddings, inputs.length, inputs.past, dropout)

    def layers(self) -> nn.ModuleList:
        return self.trunk.encoder.layer

    def head(self, x: Tensor) -> Tensor:
        transformation = self.transformation()
        if transformation is not None:
            dense, act, norm = transformation
            x = norm(act(dense(x)))
        return self.get_output_embeddings()(x)

    def put_cross(self, cache: DecoderCache, memory: Tensor) -> None:
        for index, layer in enumerate(self.layers()):
            assert isinstance(layer, Layer)
            cache.put_cross(index, *layer.crossattention.self.keys_values(memory))
