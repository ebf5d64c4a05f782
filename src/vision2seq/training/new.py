"""New models to train: an encoder, a decoder and a tokenizer, put together so that all configs and ids agree.

Each half is a family's name, which gives fresh weights, or a folder, which gives its weights. What joins the halves,
cross-attention and perhaps a projection, is fresh unless the decoder's folder has it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vision2seq import registry
from vision2seq.auto import AutoConfig, AutoImageProcessor, AutoModelForVision2Seq, AutoTokenizer, whole_pictures
from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import CheckpointNotFoundError, ConfigError, OptionError, UnknownOptionError, nearest
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel
from vision2seq.processing.processor import TrOCRProcessor
from vision2seq.processing.text.characters import character_tokenizer

Name = str | os.PathLike[str]
Size = tuple[int, int]

DEFAULT_POSITIONS = 128
_IDS = {
    "bos_token_id": ("bos_token_id", "cls_token_id"),
    "eos_token_id": ("eos_token_id", "sep_token_id"),
    "pad_token_id": ("pad_token_id", "eos_token_id", "sep_token_id"),
    "decoder_start_token_id": ("bos_token_id", "cls_token_id", "eos_token_id"),
}


def new_checkpoint(
    folder: Name,
    encoder: Name,
    decoder: Name,
    *,
    tokenizer: Name | None = None,
    characters: Name | None = None,
    image_size: Size | None = None,
    patch_size: Size | None = None,
    max_length: int | None = None,
    keep_aspect: bool = False,
    encoder_values: Mapping[str, Any] | None = None,
    decoder_values: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> VisionEncoderDecoderModel:
    """Write a new checkpoint: model, configs, tokenizer, image processor.

    Args:
        folder: Where to; made if it is not there, refused if something is in it.
        encoder: ``"vit"``, ``"deit"``, or the folder of an encoder or of a whole model, whose encoder is taken.
        decoder: ``"trocr"``, ``"gpt2"``, or a folder likewise.
        tokenizer: The folder of one; if neither this nor ``characters`` is given, the one in the decoder's folder.
        characters: A text file; the tokenizer gets one token for each character that is in it.
        image_size: Height and width of the pictures that the encoder takes, in pixels.
        patch_size: Height and width of its patches.
        max_length: Most tokens of a text, start and end token included; 128, or the positions of a decoder from a
            folder.
        keep_aspect: Fit pictures into the size and pad them, rather than stretch them: what lines of text need.
        encoder_values: Other values of the encoder's config, such as ``{"hidden_size": 192}``.
        decoder_values: The same for the decoder's.
        seed: Of the fresh weights.

    Returns:
        The model, in evaluation mode.

    Raises:
        OptionError: A folder that is not empty; not one source of a tokenizer; a size that cannot be.
        UnknownOptionError: A value that the family's config does not have.
        ConfigError: A tokenizer that does not fit the decoder; families that are not known.
        CheckpointNotFoundError: A folder or file that is not there.
    """
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise OptionError(f"{place} is there already and is no empty folder. Name another one for the new model.")
    if tokenizer is not None and characters is not None:
        raise OptionError("Both a tokenizer and a file of characters are given; expected one of them.")
    if max_length is not None and max_length < 3:
        raise OptionError(f"max_length is {max_length}, expected from 3: a start token, one of text, an end token.")
    values: dict[str, dict[str, Any]] = {"encoder": dict(encoder_values or {}), "decoder": dict(decoder_values or {})}
    for key, size in (("image_size", image_size), ("patch_size", patch_size)):
        if size is not None:
            if min(size) < 1:
                raise OptionError(f"{key} is {size[0]}x{size[1]}, expected pixels from 1 (height x width).")
            values["encoder"][key] = list(size)
    names = {"encoder": encoder, "decoder": decoder}
    trained = {role: _trained(name, role) for role, name in names.items()}
    fresh = trained["decoder"] is None
    if characters is not None and not fresh:
        raise OptionError(
            "A file of characters is given, but a decoder from a folder has a vocabulary of its own. Leave the file "
            "out, or take a fresh decoder."
        )
    spelled = _tokenizer(tokenizer, characters, None if fresh else decoder)
    _ids(spelled)  # a tokenizer that will not do is found out before any weights are made
    if fresh:
        aliases = registry.config_class(str(decoder), "decoder").attribute_map
        chosen = {aliases.get(key, key) for key in values["decoder"]}
        implied = {"max_position_embeddings": max_length or DEFAULT_POSITIONS, "vocab_size": len(spelled)}
        values["decoder"].update({k: v for k, v in implied.items() if aliases.get(k, k) not in chosen})

    torch.manual_seed(seed)
    halves: dict[str, Any] = {}
    for role, name in names.items():
        halves.update(_half(name, role, values[role], trained[role]))
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(**halves)
    _agree(model, spelled, max_length, starts=not fresh)
    pictures = _image_processor(
        None if trained["encoder"] is None else encoder, model.config.encoder, keep_aspect=keep_aspect
    )
    TrOCRProcessor(pictures, spelled).save_pretrained(place)
    model.save_pretrained(place)
    return model


def _trained(name: Name, role: str) -> Any:
    """The config of the checkpoint that a half is taken from; None if the name is that of a family.

    Raises:
        CheckpointNotFoundError: It is neither.
    """
    families = registry.ENCODERS if role == "encoder" else registry.DECODERS
    if str(name) in families:
        return None
    try:
        return AutoConfig.from_pretrained(name)
    except CheckpointNotFoundError as error:
        raise CheckpointNotFoundError(
            f"{str(name)!r} is no family of {role}s ({', '.join(sorted(families))}) and no checkpoint."
            f"{nearest(str(name), families)} {error}"
        ) from None


def _tokenizer(tokenizer: Name | None, characters: Name | None, decoder: Name | None) -> Any:
    if characters is not None:
        try:
            text = Path(characters).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointNotFoundError(
                f"{characters} cannot be read ({error}). Expected a UTF-8 text with the characters to be read."
            ) from None
        signs = sorted(sign for sign in set(text) if sign == " " or sign.isprintable())
        if not signs:
            raise OptionError(f"{characters} holds no characters. Expected a text with all that are to be read.")
        return character_tokenizer(signs)
    if tokenizer is None and decoder is None:
        raise OptionError(
            "Nothing says how texts are spelled: name the folder of a tokenizer, or a file of characters (--tokenizer, "
            "--characters)."
        )
    return AutoTokenizer.from_pretrained(decoder if tokenizer is None else tokenizer)  # type: ignore[arg-type]


def _ids(tokenizer: Any) -> dict[str, int]:
    """What a decoder has to know of a tokenizer's special tokens.

    Raises:
        ConfigError: There is no token to end a text with.
    """
    found = {}
    for name, sources in _IDS.items():
        value = next((each for source in sources if (each := getattr(tokenizer, source)) is not None), None)
        if value is None:
            raise ConfigError(
                f"The tokenizer has no token for {name} (looked for {', '.join(sources)}). Give it special tokens in "
                "tokenizer_config.json: bos_token, eos_token, pad_token."
            )
        found[name] = value
    return found


def _half(name: Name, role: str, values: dict[str, Any], trained: Any) -> dict[str, Any]:
    """What `from_encoder_decoder_pretrained` has to be told of an encoder or a decoder.

    Args:
        name: A family or a checkpoint.
        role: ``"encoder"`` or ``"decoder"``.
        values: To set in its config.
        trained: The checkpoint's config, of the half alone or of a whole model; None for a family.

    Raises:
        UnknownOptionError: A value that its config does not have.
        ConfigError: A checkpoint of something else.
    """
    if trained is None:
        config_class = registry.config_class(str(name), role)
        _check(values, config_class, role)
        config = config_class(**values)
        if role == "decoder":
            config.is_decoder = config.add_cross_attention = True
        return {f"{role}_model": registry.model_class(str(name), role)._from_config(config)}
    if trained.model_type in registry.COMPOSITES:
        _check(values, type(getattr(trained, role)), role)
        model = AutoModelForVision2Seq.from_pretrained(name, dtype="float32", **({role: values} if values else {}))
        half = getattr(model, role)
        if role == "decoder" and trained.decoder_start_token_id is not None:
            half.config.decoder_start_token_id = trained.decoder_start_token_id
        return {f"{role}_model": half}
    _check(values, registry.config_class(trained.model_type, role), role)
    told = {f"{role}_{key}": value for key, value in {**values, "dtype": "float32"}.items()}
    return {f"{role}_pretrained_model_name_or_path": name, **told}


def _check(values: Mapping[str, Any], config_class: Any, role: str) -> None:
    known = sorted(config_class.known_keys())
    for key in values:
        if key not in known:
            raise UnknownOptionError(
                f"The config of a {config_class.model_type} {role} has no {key!r}.{nearest(key, known)} It has: "
                f"{', '.join(sorted(config_class.family_keys()))}."
            )


def _agree(model: VisionEncoderDecoderModel, tokenizer: Any, longest: int | None, *, starts: bool) -> None:
    """Make the joint config, the generation config and the tokenizer say the same.

    Args:
        model: Its configs are changed.
        tokenizer: Its limit is, and its padding token if it has none.
        longest: Most tokens of a text; the decoder's positions if not given.
        starts: Whether the decoder knows already with which token it starts.

    Raises:
        ConfigError: More tokens than the decoder has embeddings for, or texts longer than its positions.
    """
    decoder = model.config.decoder
    if len(tokenizer) > decoder.vocab_size:
        raise ConfigError(
            f"The tokenizer has {len(tokenizer)} tokens, the decoder {decoder.vocab_size}. Expected no more: use the "
            "tokenizer that the decoder was made with, or a fresh decoder."
        )
    positions = model.decoder.max_positions
    longest = longest or positions
    if longest > positions:
        raise ConfigError(f"max_length is {longest}, but the decoder has {positions} positions; expected at most that.")
    for name, value in _ids(tokenizer).items():
        if name == "decoder_start_token_id" and starts and isinstance(model.config.decoder_start_token_id, int):
            continue
        setattr(model.config, name, value)
        setattr(decoder, name, value)
    ids = {name: getattr(model.config, name) for name in _IDS}
    model.generation_config = GenerationConfig(max_length=longest, **ids)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token if tokenizer.eos_token is not None else tokenizer.sep_token
    tokenizer.model_max_length = longest


def _image_processor(encoder: Name | None, config: Any, *, keep_aspect: bool) -> Any:
    """The one of the encoder's checkpoint with the new size, or what the encoder's family implies."""
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    if keep_aspect:
        return whole_pictures("DonutImageProcessor", height, width)
    if encoder is not None:
        return AutoImageProcessor.from_pretrained(encoder, size={"height": height, "width": width})
    name = registry.IMAGE_PROCESSOR_OF_ENCODER.get(config.model_type, "ViTImageProcessor")
    return whole_pictures(name, height, width)
