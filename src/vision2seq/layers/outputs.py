"""ModelOutput: what a forward pass returns; a dataclass that is a mapping and a tuple as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any


@dataclass
class ModelOutput:
    """Fields by attribute, by name (``output["logits"]``) or by position among those that are not None (``output[0]``).

    Source: the behaviour of transformers 4.57.6 ``ModelOutput``.
    """

    def _present(self) -> dict[str, Any]:
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are not None, in their order."""
        return tuple(self._present().values())

    def keys(self) -> list[str]:
        """Names of the fields that are not None."""
        return list(self._present())

    def values(self) -> list[Any]:
        """The fields that are not None."""
        return list(self._present().values())

    def items(self) -> list[tuple[str, Any]]:
        """Name and value of the fields that are not None."""
        return list(self._present().items())

    def get(self, key: str, default: Any = None) -> Any:
        """The field of that name, or a default if it is None or unknown."""
        return self._present().get(key, default)

    def __getitem__(self, key: str | int | slice) -> Any:
        return self._present()[key] if isinstance(key, str) else self.to_tuple()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._present())

    def __len__(self) -> int:
        return len(self._present())

    def __contains__(self, key: object) -> bool:
        return key in self._present()


@dataclass
class EncoderOutput(ModelOutput):
    """What an encoder returns; B images, S image tokens, D channels.

    Attributes:
        last_hidden_state: (B, S, D).
        pooler_output: (B, P), or None where the encoder has no pooler.
        hidden_states: The embeddings and what each layer made of them, each (B, S, D).
        attentions: For each layer (B, H, S, S).
    """

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass
class DecoderOutput(ModelOutput):
    """What a decoder returns; B rows, T tokens, V vocabulary, S image tokens.

    Attributes:
        logits: (B, T, V).
        past_key_values: A `DecoderCache`, if one was asked for.
        hidden_states: The embeddings and what each layer made of them, each (B, T, D).
        attentions: For each layer (B, H, T, past + T).
        cross_attentions: For each layer (B, H, T, S).
    """

    logits: Any = None
    past_key_values: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None


@dataclass
class Seq2SeqOutput(ModelOutput):
    """What a vision-encoder-decoder returns: the decoder's fields, then the encoder's. Shapes as above.

    Attributes:
        loss: Scalar, if labels were given.
        logits: (B, T, V).
        past_key_values: A `DecoderCache`, if one was asked for.
        decoder_hidden_states: See `DecoderOutput`.
        decoder_attentions: See `DecoderOutput`.
        cross_attentions: See `DecoderOutput`.
        encoder_last_hidden_state: (B, S, D) as the encoder returned it, before any projection.
        encoder_hidden_states: See `EncoderOutput`.
        encoder_attentions: See `EncoderOutput`.
    """

    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    decoder_hidden_states: tuple[Any, ...] | None = None
    decoder_attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None
    encoder_last_hidden_state: Any = None
    encoder_hidden_states: tuple[Any, ...] | None = None
    encoder_attentions: tuple[Any, ...] | None = None
