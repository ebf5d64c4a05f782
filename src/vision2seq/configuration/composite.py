"""VisionEncoderDecoderConfig: two sub-configs and the ids that generation needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from vision2seq import registry
from vision2seq.configuration.base import Config
from vision2seq.errors import ConfigError


class VisionEncoderDecoderConfig(Config):
    """The configuration of a `VisionEncoderDecoderModel`.

    Args:
        encoder: A config object or a dict with ``model_type``.
        decoder: The same for the decoder.
        values: Top-level keys: ``decoder_start_token_id``, ``pad_token_id``, …

    Raises:
        ConfigError: A half is missing, has no ``model_type``, or one that is not known.

    Source: transformers 4.57.6 ``VisionEncoderDecoderConfig``.
    """

    model_type: ClassVar[str] = "vision-encoder-decoder"

    def __init__(self, encoder: Any = None, decoder: Any = None, **values: Any) -> None:
        if encoder is None or decoder is None:
            missing = " and ".join(name for name, half in (("encoder", encoder), ("decoder", decoder)) if half is None)
            raise ConfigError(
                f"A vision-encoder-decoder config needs both `encoder` and `decoder` sub-configs; missing: {missing}. "
                "VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder_config, decoder_config) makes one."
            )
        values.pop("is_encoder_decoder", None)
        super().__init__(**values)
        self.encoder = _half(encoder, "encoder")
        self.decoder = _half(decoder, "decoder")
        self.is_encoder_decoder = True
        # The halves tie their own embeddings; the reference sets this at the top whatever a file says.
        if "tie_word_embeddings" not in values:
            self.tie_word_embeddings = False

    @classmethod
    def from_encoder_decoder_configs(
        cls, encoder_config: Config, decoder_config: Config, **values: Any
    ) -> VisionEncoderDecoderConfig:
        """Pair two configs; copies are taken, and the decoder's copy is made a cross-attending decoder."""
        encoder, decoder = _half(encoder_config, "encoder"), _half(decoder_config, "decoder")
        decoder.is_decoder = True
        decoder.add_cross_attention = True
        return cls(encoder=encoder, decoder=decoder, **values)


def _half(value: Any, role: str) -> Any:
    if isinstance(value, Config):
        return value.copy()
    if not isinstance(value, Mapping):
        raise ConfigError(f"The {role} config is a {type(value).__name__}, expected a config object or a dict.")
    model_type = value.get("model_type")
    if not isinstance(model_type, str):
        raise ConfigError(f"The {role} config has no `model_type`; expected one such as 'vit' or 'trocr'.")
    return registry.config_class(model_type, role).from_dict(value)
