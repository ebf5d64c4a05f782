"""Handing a call over to transformers, where that is installed and the model is one that this package does not have.

The only place that imports transformers, and only when it comes to that.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Mapping
from typing import Any

from vision2seq import hub, registry

_MODELS = ("AutoModelForImageTextToText", "AutoModelForVision2Seq")
"""The name since 4.46, and the one until 4.57, whose table has a few more models."""


def transformers() -> Any:
    """The library, or None where it is not installed."""
    if importlib.util.find_spec("transformers") is None:
        return None
    return importlib.import_module("transformers")


def takes(values: Mapping[str, Any]) -> bool:
    """Whether a config.json's content is none of ours and one of theirs."""
    if registry.knows(values) or not isinstance(values.get("model_type"), str):
        return False
    library = transformers()
    return library is not None and values["model_type"] in library.CONFIG_MAPPING


def config_class(values: Mapping[str, Any], _: str) -> Any:
    """Their class for a config.json's content that `takes` is true of."""
    return transformers().CONFIG_MAPPING[values["model_type"]]


def has(name: Any) -> bool:
    """Whether they have a class of that name."""
    return (
        isinstance(name, str) and name.isidentifier() and transformers() is not None and hasattr(transformers(), name)
    )


def is_theirs(config: Any) -> bool:
    """Whether an object is a config of transformers, or of code that was written against it."""
    return any(base.__module__.partition(".")[0] == "transformers" for base in type(config).__mro__)


def call(name: str, source: hub.Source, *args: Any, **kwargs: Any) -> Any:
    """Call ``from_pretrained`` of one of their Auto classes for the same files.

    Args:
        name: Of the class.
        source: The checkpoint.
        args: Further arguments.
        kwargs: Further arguments.
    """
    place, finding = source.for_others()
    return getattr(transformers(), name).from_pretrained(place, *args, **finding, **kwargs)


def load_model(source: hub.Source, config: Any, *args: Any, **kwargs: Any) -> Any:
    """Load a model by the Auto class that has its config."""
    place, finding = source.for_others()
    with _without_farewell():
        return model_class(config).from_pretrained(place, *args, config=config, **finding, **kwargs)


def build_model(config: Any, **kwargs: Any) -> Any:
    """Build a model with fresh weights by the Auto class that has its config."""
    with _without_farewell():
        return model_class(config).from_config(config, **kwargs)


def model_class(config: Any) -> Any:
    """The Auto class that has a config; the first if none has it, which then says so."""
    classes = [getattr(transformers(), name) for name in _MODELS if hasattr(transformers(), name)]
    return next((found for found in classes if type(config) in found._model_mapping), classes[0])


def has_model(config: Any) -> bool:
    """Whether one of their Auto classes has a model for a config."""
    return type(config) in model_class(config)._model_mapping


class _without_farewell(warnings.catch_warnings):  # noqa: N801
    """Keep back what 4.57 says about the class that people call here because it is gone there."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.filterwarnings("ignore", message=".*AutoModelForVision2Seq.* is deprecated", category=FutureWarning)
        return entered
