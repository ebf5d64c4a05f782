"""What the files of an original checkpoint would hold if it were a standard one."""

from __future__ import annotations

from typing import Any

from vision2seq import hub
from vision2seq.checkpoints.find import find_weights
from vision2seq.checkpoints.original import TROCR, recognise
from vision2seq.checkpoints.read import read_tensors
from vision2seq.errors import ConfigError, UnsupportedError


def original_config(source: hub.Source) -> dict[str, Any] | None:
    """Return what a standard config.json would hold; None if the checkpoint has one, or is none of the known formats.

    Its weights are asked for their shapes, so they have to be there: of a name on the hub they are fetched.

    Raises:
        CheckpointNotFoundError: There are no weights.
        CheckpointCorruptError: They cannot be read.
        ConfigError: They contradict the checkpoint's own config.
        UnsupportedError: A variant that no model here is made for.
    """
    found = recognise(source)
    if found is None:
        return None
    original, values = found
    place = source
    if source.file is not None and source.file.endswith(".json"):  # its config.json was named
        place = hub.Source(source.name, source.folder, None, source.options)
    tensors = dict(read_tensors(find_weights(place)))
    try:
        return original.config(values, tensors)
    except (ConfigError, UnsupportedError) as error:
        raise type(error)(f"{source}, a checkpoint of {original.name}: {error}") from None


def original_image_processor(source: hub.Source) -> dict[str, Any] | None:
    """Return what a preprocessor_config.json would hold; None if there is one, or the checkpoint is a standard one."""
    if source.file is None and source.get("preprocessor_config.json") is not None:
        return None
    found = recognise(source)
    if found is None:
        return None
    original, values = found
    return original.image_processor(original_config(source) or {} if original is TROCR else values)


def original_tokenizer(source: hub.Source) -> dict[str, Any]:
    """Return what a tokenizer_config.json would hold that the checkpoint's own files leave to its code, or nothing."""
    found = recognise(source)
    if found is None or found[0].tokenizer is None:
        return {}
    return found[0].tokenizer(found[1])
