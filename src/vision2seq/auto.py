"""The Auto classes: they look at a checkpoint's files and pick the class that its files name.

Source: the behaviour of transformers 4.57.6, and its page of ``AutoModelForVision2Seq``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

from vision2seq import hub, registry
from vision2seq.configuration.base import CONFIG_NAME, Config, config_file, read_json
from vision2seq.errors import (
    CheckpointNotFoundError,
    ConfigError,
    NotInstantiableError,
    OptionError,
    TokenizerError,
    nearest,
)

Path_ = str | os.PathLike[str]


def _cannot_instantiate(name: str, methods: str) -> NoReturn:
    raise NotInstantiableError(f"{name} is designed to be instantiated using the {methods}.")


def _config_class(values: Mapping[str, Any], what: str) -> Any:
    """The class that the content of a config.json names; ``what`` begins the message if it names none."""
    model_type = values.get("model_type")
    if not isinstance(model_type, str):
        known = sorted({*registry.COMPOSITES, *registry.ENCODERS, *registry.DECODERS})
        raise ConfigError(f"{what} has no `model_type` key. Expected one of {', '.join(known)}.")
    return registry.config_class(model_type)


class AutoConfig:
    """Picks the config class by ``model_type``."""

    def __init__(self) -> None:
        """Always refuse.

        Raises:
            NotInstantiableError: Always; use `from_pretrained`.
        """
        _cannot_instantiate("AutoConfig", "`AutoConfig.from_pretrained(pretrained_model_name_or_path)` method")

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: Path_, **kwargs: Any) -> Any:
        """Load a config.

        Args:
            pretrained_model_name_or_path: A folder with config.json, a .json file, or the name of a bundled model.
            kwargs: Attributes to set; ``return_unused_kwargs=True`` returns ``(config, unused)``.

        Raises:
            CheckpointNotFoundError: No such folder or file.
            ConfigError: No ``model_type``, or one that nobody knows; the message lists the known ones.
        """
        source = hub.find(pretrained_model_name_or_path, kwargs)
        kwargs.pop("trust_remote_code", None)
        file = config_file(source)
        values = read_json(file)
        return _config_class(values, f"Unrecognized model in {source.where()}: {file.name}").from_dict(values, **kwargs)

    @staticmethod
    def for_model(model_type: str, **kwargs: Any) -> Any:
        """A config of a model type with its defaults and the given attributes."""
        return registry.config_class(model_type)(**kwargs)

    @staticmethod
    def register(model_type: str, config: type[Config], exist_ok: bool = False) -> None:
        """Make a config class of your own known.

        Args:
            model_type: As in config.json.
            config: A subclass of `Config` with the same ``model_type``.
            exist_ok: Whether one that is known may be replaced.

        Raises:
            ConfigError: The class says another type, or the type is taken.
        """
        stated = getattr(config, "model_type", None)
        if stated != model_type:
            raise ConfigError(f"{config.__name__} has model_type {stated!r}, expected {model_type!r}.")
        if model_type in {*registry.COMPOSITES, *registry.ENCODERS, *registry.DECODERS} and not exist_ok:
            raise ConfigError(
                f"'{model_type}' is already used; pass exist_ok=True to replace it, or choose another name."
            )
        for halves in (registry.ENCODERS, registry.DECODERS):
            if model_type in halves:  # a replacement; the module stays
                halves[model_type] = (config, halves[model_type][1])
                return
        registry.COMPOSITES[model_type] = config


class AutoModelForVision2Seq:
    """Picks the model class by the config, and loads or builds it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Always refuse.

        Raises:
            NotInstantiableError: Always; use `from_pretrained` or `from_config`.
        """
        _cannot_instantiate(
            "AutoModelForVision2Seq",
            "`AutoModelForVision2Seq.from_pretrained(pretrained_model_name_or_path)` or "
            "`AutoModelForVision2Seq.from_config(config)` methods",
        )

    @classmethod
    def from_config(cls, config: Any, **kwargs: Any) -> Any:
        """Build the architecture of a config with fresh weights; loads none, and leaves it in training mode.

        Args:
            config: A `VisionEncoderDecoderConfig`, or one of a registered class; it is copied.
            kwargs: ``dtype`` or ``torch_dtype``, ``device``, ``attn_implementation``.

        Raises:
            ConfigError: A config of another kind.
        """
        kwargs.pop("trust_remote_code", None)
        return cls._class_for(config)._from_config(config, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Path_, *model_args: Any, **kwargs: Any) -> Any:
        """Load a model, in evaluation mode; ``model.train()`` makes it trainable.

        Args:
            pretrained_model_name_or_path: A folder with config.json and weights, or the name of a bundled model.
            model_args: Handed on to the model class.
            kwargs: As in `PreTrainedModel.from_pretrained`: ``config``, ``dtype``, ``device_map``, ``variant``, …, and
                any attribute of the config.

        Raises:
            CheckpointNotFoundError: No such folder, or files missing in it.
            ConfigError: The config is of a kind that has no model here.
        """
        kwargs.pop("trust_remote_code", None)  # no family here needs code from a checkpoint
        config = kwargs.get("config")
        if pretrained_model_name_or_path is None and isinstance(config, Config):  # with state_dict=, or it will say so
            return cls._class_for(config).from_pretrained(None, *model_args, **kwargs)
        source = hub.find(pretrained_model_name_or_path, kwargs)
        if not isinstance(config, Config):
            if isinstance(config, dict):
                kwargs["config"] = config = _config_class(config, "The dict given as config=").from_dict(config)
            else:
                config = AutoConfig.from_pretrained(source if config is None else hub.find_beside(source, config))
                kwargs["config"] = config
        model_class = cls._class_for(config)
        from vision2seq.models.base import PreTrainedModel

        if not (isinstance(model_class, type) and issubclass(model_class, PreTrainedModel)):
            name, finding = source.for_others()
            return model_class.from_pretrained(name, *model_args, **finding, **kwargs)
        return model_class.from_pretrained(source, *model_args, **kwargs)

    @classmethod
    def _class_for(cls, config: Any) -> Any:
        known = registry.COMPOSITE_MODELS
        name = type(config).__name__
        if name not in known:
            raise ConfigError(
                f"Unrecognized configuration class {type(config)} for this kind of AutoModel: {cls.__name__}. "
                f"Model type should be one of {', '.join(sorted(known))}."
            )
        return registry.resolve(known[name])

    @classmethod
    def register(cls, config_class: type[Config], model_class: Any, exist_ok: bool = False) -> None:
        """Make a model class of your own known.

        Args:
            config_class: Its config's class.
            model_class: Has ``config_class``, ``from_pretrained`` and ``_from_config``.
            exist_ok: Whether one that is known may be replaced.

        Raises:
            ConfigError: The model class names another config class, or that is taken.
        """
        stated = getattr(model_class, "config_class", None)
        if getattr(stated, "__name__", None) != config_class.__name__:
            raise ConfigError(
                f"{model_class.__name__} has config_class {getattr(stated, '__name__', stated)!r}, expected "
                f"{config_class.__name__!r}."
            )
        if config_class.__name__ in registry.COMPOSITE_MODELS and not exist_ok:
            raise ConfigError(f"'{config_class.__name__}' is already used; pass exist_ok=True to replace it.")
        registry.COMPOSITE_MODELS[config_class.__name__] = model_class


AutoModelForImageTextToText = AutoModelForVision2Seq


class AutoImageProcessor:
    """Picks the image processor by preprocessor_config.json, or by the encoder where that file is missing."""

    def __init__(self) -> None:
        """Always refuse.

        Raises:
            NotInstantiableError: Always; use `from_pretrained`.
        """
        _cannot_instantiate(
            "AutoImageProcessor", "`AutoImageProcessor.from_pretrained(pretrained_model_name_or_path)` method"
        )

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: Path_, **kwargs: Any) -> Any:
        """Load an image processor.

        Args:
            pretrained_model_name_or_path: A folder, a preprocessor_config.json, or the name of a bundled model.
            kwargs: Options that win over the file's.

        Raises:
            CheckpointNotFoundError: Neither preprocessor_config.json nor a config.json that tells what it would be.
            ConfigError: The file names a class that is not known.
        """
        from vision2seq.processing.image.base import read_preprocessor

        source = hub.find(pretrained_model_name_or_path, kwargs)
        path = source.where()
        for ignored in ("trust_remote_code", "use_fast"):
            kwargs.pop(ignored, None)
        try:
            values = read_preprocessor(source)
        except CheckpointNotFoundError:
            return _inferred_image_processor(source, kwargs)
        name = values.get("image_processor_type") or values.get("feature_extractor_type")
        if name is None:
            name = registry.IMAGE_PROCESSOR_OF_ENCODER.get(_encoder_type(source) or "")
        if name is None:
            raise ConfigError(
                f"{path}: preprocessor_config.json names no image processor, and there is no config.json whose encoder "
                "tells which. Set its image_processor_type. "
                f"Known: {', '.join(sorted(registry.IMAGE_PROCESSORS))}."
            )
        if name not in registry.IMAGE_PROCESSORS:
            raise ConfigError(
                f"{path} wants the image processor {name!r}, which is not known."
                f"{nearest(str(name), registry.IMAGE_PROCESSORS)} Known: "
                f"{', '.join(sorted(registry.IMAGE_PROCESSORS))}."
            )
        return registry.resolve(registry.IMAGE_PROCESSORS[name]).from_dict(values, **kwargs)


def _encoder_config(source: hub.Source) -> Config | None:
    if source.file is not None or source.get(CONFIG_NAME) is None:
        return None
    config = AutoConfig.from_pretrained(source)
    return getattr(config, "encoder", config)


def _encoder_type(source: hub.Source) -> str | None:
    config = _encoder_config(source)
    return config.model_type if config is not None else None


def _inferred_image_processor(source: hub.Source, options: dict[str, Any]) -> Any:
    """What the encoder's config implies, where no file says how images are to be prepared."""
    config = _encoder_config(source)
    path = source.where()
    name = registry.IMAGE_PROCESSOR_OF_ENCODER.get(config.model_type) if config is not None else None
    if config is None or name is None:
        raise CheckpointNotFoundError(
            f"{path} holds no preprocessor_config.json, and no config.json of an encoder that tells what it would be. "
            f"Copy the file there from the model that this one was trained from; found there: "
            f"{', '.join(source.names()[:12]) or 'nothing'}."
        )
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    implied: dict[str, Any] = {"size": {"height": height, "width": width}}
    if name.startswith("DeiT"):
        implied["do_center_crop"] = False  # as small TrOCR has it: the whole picture is read
    warnings.warn(
        f"{path} holds no preprocessor_config.json; a {name} for {height}x{width} pixels with its default "
        "normalisation stands in for it. Copy the file there if the model was trained with other settings.",
        UserWarning,
        stacklevel=3,
    )
    return registry.resolve(registry.IMAGE_PROCESSORS[name])(**{**implied, **options})


class AutoTokenizer:
    """Picks the tokenizer by the files of a folder."""

    def __init__(self) -> None:
        """Always refuse.

        Raises:
            NotInstantiableError: Always; use `from_pretrained`.
        """
        _cannot_instantiate("AutoTokenizer", "`AutoTokenizer.from_pretrained(pretrained_model_name_or_path)` method")

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: Path_, **kwargs: Any) -> Any:
        """Load a tokenizer.

        Args:
            pretrained_model_name_or_path: A folder, a tokenizer.json, or the name of a bundled model.
            kwargs: Keys of tokenizer_config.json, which win over the file's.

        Raises:
            TokenizerError: Files are missing or contradict each other.
        """
        from vision2seq.processing.text.load import load_tokenizer

        source = hub.find(pretrained_model_name_or_path, kwargs)
        for ignored in ("trust_remote_code", "use_fast"):
            kwargs.pop(ignored, None)
        return load_tokenizer(source, _decoder_type(source), **kwargs)


def _decoder_type(source: hub.Source) -> str | None:
    file = None if source.file is not None else source.get(CONFIG_NAME)
    if file is None:
        return None
    values = read_json(file)
    decoder = values.get("decoder")
    found = decoder.get("model_type") if isinstance(decoder, dict) else values.get("model_type")
    return found if isinstance(found, str) else None


class AutoProcessor:
    """Pairs a folder's image processor and tokenizer."""

    def __init__(self) -> None:
        """Always refuse.

        Raises:
            NotInstantiableError: Always; use `from_pretrained`.
        """
        _cannot_instantiate("AutoProcessor", "`AutoProcessor.from_pretrained(pretrained_model_name_or_path)` method")

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: Path_, **kwargs: Any) -> Any:
        """Load both parts of a processor; either is inferred from config.json where its own file is missing.

        Raises:
            CheckpointNotFoundError: A part is missing and cannot be inferred; the message says which file.
            TokenizerError: The same for the tokenizer's files.
        """
        return load_processor(pretrained_model_name_or_path, **kwargs)


def load_processor(name_or_path: Path_, *, processor_class: Any = None, **kwargs: Any) -> Any:
    """Pair an image processor and a tokenizer from one place.

    Args:
        name_or_path: As in `AutoProcessor.from_pretrained`.
        processor_class: What to make of them; `TrOCRProcessor` if not given.
        kwargs: About finding files only.

    Raises:
        OptionError: Another argument.
    """
    from vision2seq.processing.processor import TrOCRProcessor

    source = hub.find(name_or_path, kwargs)
    for ignored in ("trust_remote_code", "use_fast"):
        kwargs.pop(ignored, None)
    if kwargs:
        raise OptionError(
            f"AutoProcessor.from_pretrained does not take {', '.join(sorted(kwargs))}; load AutoImageProcessor and "
            "AutoTokenizer with such options and pair them by TrOCRProcessor(image_processor, tokenizer)."
        )
    image_processor = AutoImageProcessor.from_pretrained(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except TokenizerError as error:
        raise TokenizerError(
            f"{source.where()} has an image processor but no tokenizer that can be read: {error}"
        ) from None
    return (processor_class or TrOCRProcessor)(image_processor, tokenizer)
