"""From images and texts to what a model is trained with: ``pixel_values`` and ``labels``.

What the decoder is given is the labels shifted by one, the start token first (`shift_tokens_right`). So labels are the
text's tokens and the end token: no start token, and no bos token either, which most tokenizers put before a text, for
then the model would learn to begin every text twice.

B images, C channels, H W pixels, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import ConfigError, OptionError, TrainingDataError
from vision2seq.models.vision_encoder_decoder import IGNORED_LABEL
from vision2seq.processing.image.read import load_image

LONG = ("raise", "truncate", "skip")
"""What can be done with texts that are too long."""


def prepare_ids(model: Any, tokenizer: Any) -> None:
    """Make sure that a model says with which tokens a text starts, ends and is padded; its config is changed.

    What counts is what the model generates with; what nothing says there comes from the tokenizer.

    Args:
        model: A `VisionEncoderDecoderModel`.
        tokenizer: Its tokenizer.

    Raises:
        ConfigError: Neither says one of them; or the tokenizer is another model's.
    """
    vocabulary = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > vocabulary:
        raise ConfigError(
            f"The tokenizer has {len(tokenizer)} tokens, the decoder {vocabulary}. Expected no more than the "
            "decoder's: use the tokenizer that the model was made with."
        )
    own = model.generation_config.following(model.config)
    end = own.eos_token_id[0] if isinstance(own.eos_token_id, list | tuple) else own.eos_token_id
    start = own.decoder_start_token_id
    start = start[0] if isinstance(start, list | tuple) else start
    candidates = {
        "decoder_start_token_id": (start, own.bos_token_id, tokenizer.bos_token_id, tokenizer.cls_token_id),
        "eos_token_id": (end, tokenizer.eos_token_id, tokenizer.sep_token_id),
        "pad_token_id": (own.pad_token_id, tokenizer.pad_token_id, end, tokenizer.eos_token_id),
    }
    for name, values in candidates.items():
        value = next((value for value in values if value is not None), None)
        if value is None:
            raise ConfigError(
                f"Neither the model nor its tokenizer says a {name}; training needs it. Set it in config.json, to the "
                "id of one of the tokenizer's tokens."
            )
        setattr(model.config, name, value)
        if getattr(model.generation_config, name) is None:
            setattr(model.generation_config, name, value)


def make_room(model: Any, labels: int) -> bool:
    """Let a model generate texts of some length, if its generation config has a lower limit.

    One without a limit gets the decoder's own, which changes nothing here; transformers would stop after 20 tokens.

    Args:
        model: A `VisionEncoderDecoderModel`; its ``generation_config`` is replaced where the limit is raised.
        labels: Tokens of the longest text, the end token included.

    Returns:
        Whether a limit was raised.
    """
    own = model.generation_config.following(model.config)
    name, limit, needed = "max_length", own.max_length, labels + 1
    if own.max_new_tokens is not None:
        name, limit, needed = "max_new_tokens", own.max_new_tokens, labels
    if limit is not None and limit >= needed:
        return False
    values = own.to_diff_dict()
    values.pop("_from_model_config", None)  # it is no longer what the model's config says
    values[name] = model.decoder.max_positions if limit is None else needed
    model.generation_config = GenerationConfig(**values)
    return limit is not None


@dataclass(frozen=True)
class Collator:
    """Prepares images and texts one by one, and puts them together into batches.

    Attributes:
        image_processor: Makes images what the encoder takes.
        tokenizer: Spells texts.
        end: The id of the token that ends a text.
        longest: Most labels of a text, the end token included.
        begin: The id of a token that is learned before each text, or None.
    """

    image_processor: Any
    tokenizer: Any
    end: int
    longest: int
    begin: int | None = None

    @classmethod
    def of(cls, model: Any, processor: Any, *, keep_bos: bool = False) -> Collator:
        """The one that fits a model, whose ids have to be set (`prepare_ids`).

        Args:
            model: A `VisionEncoderDecoderModel`.
            processor: Its processor.
            keep_bos: Learn the tokenizer's bos token as the first of each text, after a start token that is another
                one. Models that were trained so (many descendants of TrOCR were) go on from where they are.

        Raises:
            OptionError: ``keep_bos`` without a bos token, or with one that is the start token.
        """
        begin = processor.tokenizer.bos_token_id if keep_bos else None
        if keep_bos and begin in (None, model.config.decoder_start_token_id):
            raise OptionError(
                f"keep_bos was asked for, but the tokenizer's bos token is {processor.tokenizer.bos_token!r}, and the "
                f"model starts with token {model.config.decoder_start_token_id}. Expected a bos token that is another "
                "one than the start token, or it would be learned twice; leave keep_bos out."
            )
        end = model.config.eos_token_id
        end = end[0] if isinstance(end, list | tuple) else end
        # The start token has a position, too; and what cannot be generated need not be learned.
        longest = model.decoder.max_positions - 1
        return cls(processor.image_processor, processor.tokenizer, end, longest, begin)

    def spell(self, texts: Sequence[str]) -> list[list[int]]:
        """Labels of texts, not cut: their tokens and the end token."""
        rows = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
        first = [] if self.begin is None else [self.begin]
        return [[*first, *row, self.end] for row in rows]

    def labels(self, text: str) -> list[int]:
        """Labels of one text. Of one that is too long the first ones, without an end: the text goes on there."""
        return self.spell([text])[0][: self.longest]

    def pixels(self, image: Any) -> np.ndarray[Any, Any]:
        """One image as the encoder takes it, (C, H, W) in float32.

        Raises:
            ImageError: It cannot be read.
        """
        prepared: np.ndarray[Any, Any] = self.image_processor(load_image(image), return_tensors="np")["pixel_values"][0]
        return prepared

    def __call__(self, rows: Sequence[tuple[np.ndarray[Any, Any], Sequence[int]]]) -> dict[str, Tensor]:
        """Put prepared images and labels together.

        Args:
            rows: What `pixels` and `labels` returned, for each example.

        Returns:
            ``pixel_values`` (B, C, H, W) and ``labels`` (B, T), -100 after the end.

        Raises:
            TrainingDataError: Images of several sizes.
        """
        sizes = {pixels.shape for pixels, _ in rows}
        if len(sizes) > 1:
            named = ", ".join("×".join(map(str, size)) for size in sorted(sizes))
            raise TrainingDataError(
                f"The images of a batch have several sizes (channels, height, width: {named}). Expected one: let the "
                "image processor resize or pad them (preprocessor_config.json), or train with a batch size of 1."
            )
        width = max(len(labels) for _, labels in rows)
        padded = [[*labels, *[IGNORED_LABEL] * (width - len(labels))] for _, labels in rows]
        return {
            "pixel_values": torch.from_numpy(np.stack([pixels for pixels, _ in rows])),
            "labels": torch.tensor(padded),
        }
