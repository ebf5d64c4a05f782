"""A tiny Donut: random weights, real tags, and a way to have it write what a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tiny
import torch
from torch import Tensor

from vision2seq import Reader
from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

ENCODER: dict[str, Any] = {
    "model_type": "donut-swin",
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "window_size": 2,
    "image_size": [16, 24],
    "patch_size": 2,
}
CHARACTERS = len(tiny.CHARACTERS) + 4


def donut(folder: Path, *tags: str, start: str | None = None, special: bool = False) -> Path:
    """Save a model with its processor and return the folder.

    Args:
        folder: Made.
        tags: Tokens to add to the tokenizer.
        start: The one of them that texts begin with unless told.
        special: Whether the tags are special tokens.
    """
    vocabulary = CHARACTERS + len(tags)
    decoder = tiny.MBART | {"vocab_size": vocabulary, "max_position_embeddings": 96}
    ids = {"decoder_start_token_id": tiny.EOS, "pad_token_id": tiny.PAD, "eos_token_id": tiny.EOS}
    if start is not None:
        ids["decoder_start_token_id"] = CHARACTERS + tags.index(start)
    config = VisionEncoderDecoderConfig(encoder=ENCODER, decoder=decoder, **ids)
    torch.manual_seed(0)
    VisionEncoderDecoderModel._from_config(config).save_pretrained(folder)
    tiny.write_tokenizer(folder, count=CHARACTERS, longest=96)
    about = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    about["added_tokens_decoder"] = {str(CHARACTERS + n): {"content": tag, **plain} for n, tag in enumerate(tags)}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    images = {"image_processor_type": "DonutImageProcessor", "size": [24, 16], "processor_class": "DonutProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(images), encoding="utf-8")
    return folder


def saying(reader: Reader, text: str, *, end: bool = True) -> Callable[[int, Tensor], list[int]]:
    """An option ``prefix_allowed_tokens_fn`` that leaves the model nothing to write but a text.

    Attributes:
        prompts: What the texts were asked to begin with, as decoded.
    """
    ids: Sequence[int] = [*reader.tokenizer(text, add_special_tokens=False).input_ids, *([tiny.EOS] if end else [])]
    prompts: list[str] = []
    lengths: list[int] = []

    def allowed(image: int, sofar: Tensor) -> list[int]:
        if not lengths:
            lengths.append(len(sofar))
        if len(sofar) == lengths[0]:
            prompts.append(reader.tokenizer.decode(sofar.tolist()))
        return [ids[len(sofar) - lengths[0]]]

    allowed.prompts = prompts  # type: ignore[attr-defined]
    return allowed
