"""What all decoders share: the forward pass around their layers, and what a layer is given.

B rows, T new tokens, D hidden size, H heads, K channels of a head, S image tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from vision2seq.errors import OptionError
from vision2seq.layers.attention import attend, causal_mask, decoder_mask
from vision2seq.layers.cache import DecoderCache
from vision2seq.layers.outputs import DecoderOutput
from vision2seq.models.base import PreTrainedModel

KeysValues = Callable[[Tensor], tuple[Tensor, Tensor]]
Bias = Callable[[Tensor, Tensor], Tensor | None]


@dataclass(slots=True)
class DecoderInputs:
    """What one forward pass gives to every layer.

    Attributes:
        ids: (B, T) token ids, or None where embeddings were given.
        embeddings: (B, T, D), or None.
        length: T.
        past: Tokens that lie in the cache already.
        mask: For self-attention, see `attend`.
        causal: See `attend`.
        memory: (B, S, D') encoder states, or None where the cache holds what is needed of them.
        memory_mask: Added to the cross-attention's products, or None.
        cache: Where keys and values are kept, or None.
        need_weights: Whether attention weights are wanted.
    """

    ids: Tensor | None
    embeddings: Tensor | None
    length: int
    past: int
    mask: Tensor | None
    causal: bool
    memory: Tensor | None
    memory_mask: Tensor | None
    cache: DecoderCache | None
    need_weights: bool

    @property
    def has_memory(self) -> bool:
        """Whether there is an image to look at."""
        return self.memory is not None or (self.cache is not None and self.cache.has_cross(0))

    def attend_self(
        self,
        layer: int,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        scale: float,
        dropout: float,
        bias: Bias | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend to the tokens so far; all (B, H, T, K). Returns (B, T, D) and the weights if wanted.

        ``bias``, called with the queries and all keys, tells what to add to their scaled products, (B, H, T, S).
        """
        if self.cache is not None:
            keys, values = self.cache.append(layer, keys, values)
        mask, causal = self.mask, self.causal
        added = None if bias is None else bias(query, keys)
        if added is not None:
            if causal:
                mask, causal = causal_mask(self.length, 0, added.dtype, added.device), False
            mask = added if mask is None else added + mask
        return attend(
            query,
            keys,
            values,
            scale=scale,
            mask=mask,
            causal=causal,
            dropout=dropout,
            need_weights=self.need_weights,
        )

    def attend_cross(
        self, layer: int, query: Tensor, keys_values: KeysValues, scale: float, dropout: float
    ) -> tuple[Tensor, Tensor | None]:
        """Attend to the image; keys and values are computed once if there is a cache."""
        cache = self.cache
        if cache is not None:
            if not cache.has_cross(layer):
                assert self.memory is not None
                cache.put_cross(layer, *keys_values(self.memory))
            if self.memory_mask is None:
                return cache.attend_cross(layer, query, scale=scale, dropout=dropout, need_weights=self.need_weights)
            keys, values = cache.cross(layer)
        else:
            assert self.memory is not None
            keys, values = keys_values(self.memory)
        return attend(
            query,
            keys,
            values,
            scale=scale,
            mask=self.memory_mask,
            dropout=dropout,
            need_weights=self.need_weights,
        )


def _plainly(layer: nn.Module, *args: Any) -> Any:
    return layer(*args)


class Decoder(PreTrainedModel):
    """A text decoder with a language-model head; families say how to embed, which layers, and how to end."""

    main_input_name: ClassVar[str] = "input_ids"
    image_projections: ClassVar[str | None] = None
    """A pattern of the names of the layers that see the image alone, once; None where weights cannot be packed."""

    def embed(self, inputs: DecoderInputs) -> Tensor:
        """Token and position embeddings, (B, T, D)."""
        raise NotImplementedError

    def layers(self) -> nn.ModuleList:
        """The layers, each called as ``layer(x, inputs, index)``."""
        raise NotImplementedError

    def skips_layer(self) -> bool:
        """Whether to leave out a layer (LayerDrop, in training only)."""
        return False

    def end(self, x: Tensor) -> Tensor:
        """What comes after the last layer and belongs to the hidden states."""
        return x

    def head(self, x: Tensor) -> Tensor:
        """Logits (…, V)."""
        raise NotImplementedError

    def put_cross(self, cache: DecoderCache, memory: Tensor) -> None:
        """Compute every layer's keys and values of the images, (I, S, D'), into a new cache."""
        raise NotImplementedError

    @property
    def max_positions(self) -> int:
        """Most tokens that a text can have, the start token included."""
        return int(self.config.max_position_embeddings)

    def new_cache(self, *, capacity: int = 32) -> DecoderCache:
        """An empty cache for this decoder."""
        return DecoderCache(len(self.layers()), capacity=capacity)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: DecoderCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        last_only: bool = False,
    ) -> Any:
        """Decode some new tokens.

        Args:
            input_ids: (B, T), those that are not in the cache yet.
            attention_mask: (B, past + T), 1 for tokens and 0 for padding.
            encoder_hidden_states: (B, S, D') what to look at; not needed once the cache holds it.
            encoder_attention_mask: (B, S), 1 for what may be looked at.
            past_key_values: A `DecoderCache` from an earlier call.
            inputs_embeds: (B, T, D) instead of ``input_ids``.
            use_cache: Return a cache to go on from. Default: as the config says, and off in training.
            output_attentions: Return the attention weights of all layers.
            output_hidden_states: Return the states before, between and after the layers.
            return_dict: False returns a tuple.
            last_only: Compute the logits of the last token only, (B, 1, V).

        Raises:
            OptionError: Both or neither of ids and embeddings; a cache of another kind; more tokens than positions.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise OptionError(
                "Pass either decoder_input_ids or decoder_inputs_embeds (input_ids or inputs_embeds to a decoder "
                f"alone); {'neither was' if input_ids is None else 'both were'} given."
            )
        config = self.config
        want_weights = bool(config.output_attentions if output_attentions is None else output_attentions)
        want_states = bool(config.output_hidden_states if output_hidden_states is None else output_hidden_states)
        cache = past_key_values
        if cache is not None and not isinstance(cache, DecoderCache):
            raise OptionError(
                f"past_key_values is a {type(cache).__name__}; expected the DecoderCache of an earlier output."
            )
        if cache is None:
            keep = bool(config.use_cache) and not self.training if use_cache is None else use_cache
            if keep and not (self.training and self.gradient_checkpointing):
                cache = self.new_cache()
        tokens = input_ids if inputs_embeds is None else inputs_embeds
        assert tokens is not None
        length, past = tokens.shape[1], cache.length if cache is not None else 0
        if past + length > self.max_positions:
            raise OptionError(
                f"{past + length} tokens are more than the {self.max_positions} positions that this decoder has; "
                "shorten the text, or set max_length accordingly."
            )
        mask, causal = decoder_mask(attention_mask, length, past, self.dtype, tokens.device)
        memory_mask = None
        if encoder_attention_mask is not None:
            shown = encoder_attention_mask[:, None, None, :].to(self.dtype)
            memory_mask = (1 - shown) * -3.0e38 if self.dtype.itemsize > 2 else (1 - shown) * -6.0e4
        inputs = DecoderInputs(
            input_ids,
            inputs_embeds,
            length,
            past,
            mask,
            causal,
            encoder_hidden_states,
            memory_mask,
            cache,
            want_weights,
        )
        x = self.embed(inputs)
        states, weights, cross_weights = [x], [], []
        for index, layer in enumerate(self.layers()):
            if self.training and cache is None and self.skips_layer():
                continue
            # A layer that is run twice must not write to the cache twice.
            run = self.checkpointed if cache is None else _plainly
            x, attention, cross = run(layer, x, inputs, index)
            if want_states:
                states.append(x)
            if want_weights:
                weights.append(attention)
                cross_weights.append(cross)
        x = self.end(x)
        states[-1] = x
        if cache is not None:
            cache.advance(length)
        output = DecoderOutput(
            logits=self.head(x[:, -1:] if last_only else x),
            past_key_values=cache if use_cache is not False else None,
            hidden_states=tuple(states) if want_states else None,
            attentions=tuple(weights) if want_weights else None,
            cross_attentions=tuple(cross_weights) if want_weights and inputs.has_memory else None,
        )
        return self.returned(output, return_dict)
