"""Checkpoints as the models' authors wrote them, read as they are.

One file a format, each with one table of tensor-level rules and what its config.json would be in the standard form.
Loads no torch, but to look into a ``.pt`` file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vision2seq import hub
from vision2seq.checkpoints.original import donut, nougat, unilm
from vision2seq.checkpoints.original.table import Table
from vision2seq.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

_CONFIG = "config.json"
_FAIRSEQ = ".pt"


@dataclass(frozen=True)
class Original:
    """A format.

    Attributes:
        name: What people call it.
        table: PyTorch's names for its tensors.
        config: Its own config and its tensors → the content of a standard config.json.
        image_processor: Its own config (of one file with no such: the standard one) → that of a
            preprocessor_config.json.
        tokenizer: The same for a tokenizer_config.json; None where its files say it all.
    """

    name: str
    table: Table
    config: Callable[[Mapping[str, Any], Mapping[str, Tensor]], dict[str, Any]]
    image_processor: Callable[[Mapping[str, Any]], dict[str, Any]]
    tokenizer: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None


# By the model_type of its config.json.
_IN_FOLDERS = {
    "donut": Original("the original Donut (clovaai)", donut.TABLE, donut.config, donut.image_processor),
    "nougat": Original(
        "the original Nougat (facebookresearch)",
        nougat.TABLE,
        nougat.config,
        nougat.image_processor,
        nougat.tokenizer,
    ),
}
TROCR = Original("the original TrOCR (unilm, fairseq)", unilm.TABLE, unilm.config, unilm.image_processor)
FORMATS: tuple[Original, ...] = (*_IN_FOLDERS.values(), TROCR)
"""All of them."""


def recognise(source: hub.Source) -> tuple[Original, dict[str, Any]] | None:
    """Return the format of a checkpoint and its own config; None of one in the standard form.

    Args:
        source: A folder, or a file: beside weights, config.json tells; a ``.pt`` file is looked into.

    Raises:
        CheckpointNotFoundError: No such file.
        CheckpointCorruptError: A ``.pt`` file that cannot be read; UnsafePickleError if it asks to run code.
        UnsupportedError: fairseq's checkpoint of another model.
    """
    name = source.file or ""
    if name.endswith(_FAIRSEQ):
        from vision2seq.checkpoints.pickle_reader import fairseq_settings

        settings, names = fairseq_settings(source.named())
        if settings is not None and not any(each.startswith(unilm.RECOGNISED_BY) for each in names):
            raise UnsupportedError(
                f"{source} is a checkpoint of fairseq, but not of TrOCR: none of its tensors is called "
                f"{unilm.RECOGNISED_BY}…, the first are {', '.join(names[:3])}. Only TrOCR's are read."
            )
        if settings is not None:
            return TROCR, settings
    config = source.named() if name.endswith(".json") and ".index." not in name else source.get(_CONFIG)
    if config is None:
        return None
    content = config.read_text(encoding="utf-8", errors="replace")
    # Most are standard ones, and some of those are long: they are not parsed a second time.
    if not any(f'"{model_type}"' in content for model_type in _IN_FOLDERS):
        return None
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return None  # whoever needs the config says it
    found = _IN_FOLDERS.get(str(values.get("model_type"))) if isinstance(values, dict) else None
    return None if found is None else (found, values)
