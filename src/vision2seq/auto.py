"""The Auto classes: they look at a checkpoint's files and pick the class that its files name.

Source: the behaviour of transformers 4.57.6, and its page of ``AutoModelForVision2Seq``.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

from vision2seq import checkpoints, handover, hub, registry
from vision2seq.checkpoints.original import recognise
from vision2seq.configuration.base import CONFIG_NAME, Config, config_file, read_json
from vision2seq.errors import (
    CheckpointNotFoundError,
    ConfigError,
    NotInstantiableError,
    OptionError,
    RemoteCodeError,
    TokenizerError,
    nearest,
)

Path_ = str | os.PathLike[str]

# What a config's auto_map may call the model's class.
_MODEL_KEYS = ("AutoModelForVision2Seq", "AutoModelForImageTextToText")
# Attributes of configs that are options of loading all the same.
_NOT_OF_THE_CONFIG = ("dtype", "torch_dtype", "attn_implementation", "quantization_config")


def _cannot_instantiate(name: str, methods: str) -> NoReturn:
    raise NotInstantiableError(f"{name} is designed to be instantiated using the {methods}.")


def _own_code(source: hub.Source, values: Mapping[str, Any], auto_class: str, trusted: bool, known: bool) -> Any:
    """The class that a checkpoint brings along as code of its own, if the caller trusts it; None if there is none.

    Args:
        source: The checkpoint.
        values: The content of its file that may name one under ``auto_map``.
        auto_class: The key there.
        trusted: Whether its code may be run.
        known: Whether there is a class for it without that.

    Raises:
        RemoteCodeError: There is one, it is needed, and the caller did not say that it may be run.
    """
    table = values.get("auto_map")
    reference = table.get(auto_class) if isinstance(table, Mapping) else None
    if not reference or (known and not trusted):
        return None
    from vision2seq.hub.code import load_class, named_files

    if not trusted:
        raise RemoteCodeError(
            f"{source.where()} needs code of its own for {auto_class}, which is not run unless you say so: "
            f"{named_files(source, reference)}. Read it, and if you trust it, pass trust_remote_code=True, best with "
            "the revision=… that you read."
        )
    return load_class(source, reference)


def _from_place(chosen: Any, source: hub.Source, *args: Any, **kwargs: Any) -> Any:
    """Call ``from_pretrained`` of a class with the source, or with a name if the class is not from this package."""
    if any(base.__module__.partition(".")[0] == "vision2seq" for base in chosen.__mro__):
        return chosen.from_pretrained(source, *args, **kwargs)
    name, finding = source.for_others()
    return chosen.from_pretrained(name, *args, **finding, **kwargs)


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
            pretrained_model_name_or_path: A folder with config.json, a .json file, the name of a bundled model, a name
                on the hub, or a URL. Of an original Donut, Nougat or TrOCR, the weights are looked at as well.
            kwargs: Those of `hub.Options`; ``trust_remote_code``; attributes to set; ``return_unused_kwargs=True``
                returns ``(config, unused)``.

        Returns:
            A config of this package; of transformers, if that is installed and only it knows the type.

        Raises:
            CheckpointNotFoundError: No such folder or file.
            ConfigError: No ``model_type``, or one that nobody knows; the message lists the known ones.
            RemoteCodeError: The config needs code of the checkpoint's own, and ``trust_remote_code`` is not set.
        """
        source = hub.find(pretrained_model_name_or_path, kwargs)
        trusted = bool(kwargs.pop("trust_remote_code", None))
        values = checkpoints.original_config(source)
        if values is not None:
            return _placed(_config_class(values, source.where()).from_dict(values, **kwargs), source)
        file = config_file(source)
        values = read_json(file)
        known = registry.knows(values) or (not trusted and handover.takes(values))
        own = _own_code(source, values, "AutoConfig", trusted, known)
        if own is not None:
            return _placed(own.from_dict(values, **kwargs), source)
        if not registry.knows(values) and handover.takes(values):
            return handover.call("AutoConfig", source, **kwargs)
        chosen = _config_class(values, f"Unrecognized model in {source.where()}: {file.name}")
        return _placed(chosen.from_dict(values, **kwargs), source)

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
            config: A `VisionEncoderDecoderConfig`, or one of a registered class; it is copied. One of transformers is
                taken as ours where we have that kind, and else handed to transformers.
            kwargs: ``dtype`` or ``torch_dtype``, ``device``, ``attn_implementation``, ``trust_remote_code``.

        Raises:
            ConfigError: A config of another kind.
            RemoteCodeError: The model needs code of the checkpoint's own, and ``trust_remote_code`` is not set.
        """
        trusted = bool(kwargs.pop("trust_remote_code", None))
        config = _ours(config)
        chosen = cls._class_for(config, trusted)
        if chosen is None:
            return handover.build_model(config, **kwargs)
        return chosen._from_config(config, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Path_, *model_args: Any, **kwargs: Any) -> Any:
        """Load a model, in evaluation mode; ``model.train()`` makes it trainable.

        Args:
            pretrained_model_name_or_path: A folder with config.json and weights, a weight file, the name of a bundled
                model, a name on the hub, or a URL; None with ``config`` and ``state_dict``.
            model_args: Handed on to the model class.
            kwargs: As in `PreTrainedModel.from_pretrained`: ``config``, ``dtype``, ``device_map``, ``variant``, …, and
                any attribute of the config; those of `hub.Options`; ``trust_remote_code``.

        Returns:
            A model of this package; of transformers, if that is installed and only it has the kind.

        Raises:
            CheckpointNotFoundError: No such folder, or files missing in it.
            ConfigError: The config is of a kind that has no model here.
            RemoteCodeError: The model needs code of the checkpoint's own, and ``trust_remote_code`` is not set.
        """
        trusted = bool(kwargs.pop("trust_remote_code", None))
        config = kwargs.pop("config", None)
        in_hand = pretrained_model_name_or_path is None and config is not None  # and state_dict=, or it will be told
        source = hub.nowhere(kwargs) if in_hand else hub.find(pretrained_model_name_or_path, kwargs)
        if isinstance(config, dict):
            known = _config_class if not handover.takes(config) else handover.config_class
            config = known(config, "The dict given as config=").from_dict(config)
        elif config is None or isinstance(config, str | os.PathLike):
            place = source if config is None else hub.find_beside(source, config)
            config = AutoConfig.from_pretrained(place, trust_remote_code=trusted)
        config = _ours(config)
        chosen = cls._class_for(config, trusted, None if in_hand else source)
        if isinstance(config, Config) and chosen is not None and hasattr(chosen, "skeleton"):
            return chosen.from_pretrained(None if in_hand else source, *model_args, config=config, **kwargs)
        config = copy.deepcopy(config)
        for name in [name for name in kwargs if hasattr(config, name) and name not in _NOT_OF_THE_CONFIG]:
            setattr(config, name, kwargs.pop(name))
        if chosen is None:
            return handover.load_model(source, config, *model_args, **kwargs)
        return _from_place(chosen, source, *model_args, config=config, **kwargs)

    @classmethod
    def _class_for(cls, config: Any, trusted: bool = False, source: hub.Source | None = None) -> Any:
        """The model class of a config; None if transformers is to choose.

        Args:
            config: Of this package, of transformers, or of a checkpoint's own code.
            trusted: Whether code of the checkpoint may be run.
            source: The checkpoint; None looks where the config is from.
        """
        known = registry.COMPOSITE_MODELS
        name = type(config).__name__
        theirs = handover.is_theirs(config)
        table = getattr(config, "auto_map", None)
        if isinstance(table, Mapping) and (trusted or name not in known):
            place = getattr(config, "name_or_path", None)
            if source is None and place:
                source = hub.find(place, {"revision": getattr(config, "_commit_hash", None)})
            elsewhere = name in known or (theirs and handover.has_model(config))
            for key in _MODEL_KEYS:
                own = _own_code(source, {"auto_map": table}, key, trusted, elsewhere) if source is not None else None
                if own is not None:
                    return own
        if name in known and not theirs:
            return registry.resolve(known[name])
        if theirs:
            return None
        raise ConfigError(
            f"Unrecognized configuration class {type(config)} for this kind of AutoModel: {cls.__name__}. "
            f"Model type should be one of {', '.join(sorted(known))}."
        )

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


def _ours(config: Any) -> Any:
    """A config of transformers as one of this package, if it is of a kind that is built here; else what it was."""
    if isinstance(config, Config) or not handover.is_theirs(config):
        return config
    values = config.to_dict()
    if not registry.knows(values) or type(config).__module__.partition(".")[0] != "transformers":
        return config
    return registry.config_class(values["model_type"]).from_dict(values)


def _placed(made: Any, source: hub.Source) -> Any:
    """Note in a config where it is from."""
    config = made[0] if isinstance(made, tuple) else made
    config.name_or_path = source.name
    config._commit_hash = source.commit
    return made


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
            pretrained_model_name_or_path: A folder, a preprocessor_config.json, the name of a bundled model, a name on
                the hub, or a URL.
            kwargs: Those of `hub.Options`; ``trust_remote_code``; options that win over the file's.

        Raises:
            CheckpointNotFoundError: Neither preprocessor_config.json nor a config.json that tells what it would be.
            ConfigError: The file names a class that is not known.
            RemoteCodeError: It needs code of the checkpoint's own, and ``trust_remote_code`` is not set.
        """
        from vision2seq.processing.image.files import read_preprocessor

        source = hub.find(pretrained_model_name_or_path, kwargs)
        path = source.where()
        kwargs.pop("use_fast", None)
        trusted = bool(kwargs.pop("trust_remote_code", None))
        try:
            values = checkpoints.original_image_processor(source) or read_preprocessor(source)
        except CheckpointNotFoundError:
            return _inferred_image_processor(source, trusted, kwargs)
        name = values.get("image_processor_type") or values.get("feature_extractor_type")
        chosen = registry.image_processor(name)
        theirs = chosen is None and handover.has(name)
        own = _own_code(source, values, "AutoImageProcessor", trusted, chosen is not None or theirs)
        if own is not None:
            return _from_place(own, source, **kwargs)
        if theirs:
            return handover.call("AutoImageProcessor", source, **kwargs)
        if name is None:
            name = registry.IMAGE_PROCESSOR_OF_ENCODER.get(_encoder_type(source, trusted) or "")
            chosen = registry.image_processor(name)
        if name is None:
            raise ConfigError(
                f"{path}: preprocessor_config.json names no image processor, and there is no config.json whose encoder "
                "tells which. Set its image_processor_type. "
                f"Known: {', '.join(sorted(registry.IMAGE_PROCESSORS))}."
            )
        if chosen is None:
            raise ConfigError(
                f"{path} wants the image processor {name!r}, which is not known."
                f"{nearest(str(name), registry.IMAGE_PROCESSORS)} Known: "
                f"{', '.join(sorted(registry.IMAGE_PROCESSORS))}."
            )
        return chosen.from_dict(values, **kwargs)

    @staticmethod
    def register(
        config_class: Any,
        image_processor_class: Any = None,
        slow_image_processor_class: Any = None,
        fast_image_processor_class: Any = None,
        exist_ok: bool = False,
    ) -> None:
        """Make an image processor class of your own known.

        Args:
            config_class: The config of the encoder that it prepares images for.
            image_processor_class: Has ``from_dict``, and may be called with options.
            slow_image_processor_class: Another name of the same argument.
            fast_image_processor_class: Another name of the same argument.
            exist_ok: Whether one that is known may be replaced.

        Raises:
            OptionError: No class.
            ConfigError: The class's name is taken.
        """
        chosen = image_processor_class or slow_image_processor_class or fast_image_processor_class
        _register(registry.IMAGE_PROCESSORS, chosen, (getattr(chosen, "__name__", ""),), exist_ok)
        registry.IMAGE_PROCESSOR_OF_ENCODER[config_class.model_type] = chosen.__name__


def _register(table: dict[str, Any], chosen: Any, keys: tuple[str, ...], exist_ok: bool) -> None:
    """Put a class of a user's own into a table."""
    if not isinstance(chosen, type):
        raise OptionError(f"register() was given {chosen!r}; expected a class.")
    taken = [key for key in keys if key in table]
    if taken and not exist_ok:
        raise ConfigError(f"{taken[0]!r} is already used; pass exist_ok=True to replace it.")
    table.update(dict.fromkeys(keys, chosen))


def _encoder_config(source: hub.Source, trusted: bool) -> Any:
    if source.file is not None or source.get(CONFIG_NAME) is None:
        return None
    config = AutoConfig.from_pretrained(source, trust_remote_code=trusted)
    half = getattr(config, "encoder", None)
    return half if hasattr(half, "model_type") else config


def _encoder_type(source: hub.Source, trusted: bool) -> str | None:
    config = _encoder_config(source, trusted)
    return config.model_type if config is not None else None


def _inferred_image_processor(source: hub.Source, trusted: bool, options: dict[str, Any]) -> Any:
    """What the encoder's config implies, where no file says how images are to be prepared."""
    config = _encoder_config(source, trusted)
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
    warnings.warn(
        f"{path} holds no preprocessor_config.json; a {name} for {height}x{width} pixels with its default "
        "normalisation stands in for it. Copy the file there if the model was trained with other settings.",
        UserWarning,
        stacklevel=3,
    )
    return whole_pictures(name, height, width, **options)


def whole_pictures(name: str, height: int, width: int, **options: Any) -> Any:
    """An image processor that shows an encoder the whole of each picture.

    So has it small TrOCR; the family's own models may see the middle alone.

    Args:
        name: Of the image processor.
        height: Of what the encoder takes, in pixels.
        width: Likewise.
        options: Win over what follows from these.
    """
    chosen = registry.image_processor(name)
    uncut = {"do_center_crop": False} if "do_center_crop" in getattr(chosen, "defaults", ()) else {}
    return chosen(**{"size": {"height": height, "width": width}, **uncut, **options})


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
            pretrained_model_name_or_path: A folder, a tokenizer.json, the name of a bundled model, a name on the
                hub, or a URL.
            kwargs: Those of `hub.Options`; ``trust_remote_code``; keys of tokenizer_config.json, which win over the
                file's.

        Raises:
            TokenizerError: Files are missing or contradict each other.
            RemoteCodeError: It needs code of the checkpoint's own, and ``trust_remote_code`` is not set.
        """
        from vision2seq.processing.text.files import TOKENIZER_CONFIG
        from vision2seq.processing.text.load import CLASSES, load_tokenizer

        source = hub.find(pretrained_model_name_or_path, kwargs)
        kwargs.pop("use_fast", None)
        trusted = bool(kwargs.pop("trust_remote_code", None))
        values, config = _content(source, TOKENIZER_CONFIG), _content(source, CONFIG_NAME)
        registered = _registered(registry.TOKENIZERS, values.get("tokenizer_class"), config)
        try:
            own = _own_code(source, values, "AutoTokenizer", trusted, known=True) or registered
            if own is not None:
                return _from_place(own, source, **kwargs)
            implied = checkpoints.original_tokenizer(source)
            if implied:
                return CLASSES[implied.pop("tokenizer_class")].from_pretrained(source, **{**implied, **kwargs})
            return load_tokenizer(source, _decoder_type(config), **kwargs)
        except TokenizerError as error:
            _own_code(source, values, "AutoTokenizer", trusted, known=False)  # says that there is some
            if not handover.takes(config):
                raise
            try:
                return handover.call("AutoTokenizer", source, **kwargs)
            except Exception as theirs:  # whatever transformers raises
                first = str(theirs).strip().split("\n")[0]
                raise TokenizerError(f"{error} transformers cannot read it either: {first}") from theirs

    @staticmethod
    def register(
        config_class: Any, slow_tokenizer_class: Any = None, fast_tokenizer_class: Any = None, exist_ok: bool = False
    ) -> None:
        """Make a tokenizer class of your own known.

        Args:
            config_class: The config of the model that it belongs to.
            slow_tokenizer_class: Has ``from_pretrained``.
            fast_tokenizer_class: The same; wins if both are given.
            exist_ok: Whether one that is known may be replaced.

        Raises:
            OptionError: No class.
            ConfigError: The class's name or the config's ``model_type`` is taken.
        """
        chosen = fast_tokenizer_class or slow_tokenizer_class
        _register(registry.TOKENIZERS, chosen, (config_class.model_type, getattr(chosen, "__name__", "")), exist_ok)


def _content(source: hub.Source, name: str) -> dict[str, Any]:
    """What a JSON file of a checkpoint holds; nothing if there is none."""
    file = None if source.file is not None else source.get(name)
    return {} if file is None else read_json(file)


def _registered(table: dict[str, Any], class_name: Any, config: Mapping[str, Any]) -> Any:
    """The class that a user registered under a name, or for a config; None without one."""
    return table.get(str(class_name)) or table.get(str(config.get("model_type")))


def _decoder_type(config: Mapping[str, Any]) -> str | None:
    decoder = config.get("decoder")
    found = decoder.get("model_type") if isinstance(decoder, dict) else config.get("model_type")
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

        Args:
            pretrained_model_name_or_path: A folder, the name of a bundled model, or a name on the hub.
            kwargs: Those of `hub.Options`; ``trust_remote_code``.

        Raises:
            CheckpointNotFoundError: A part is missing and cannot be inferred; the message says which file.
            TokenizerError: The same for the tokenizer's files.
            RemoteCodeError: It needs code of the checkpoint's own, and ``trust_remote_code`` is not set.
        """
        from vision2seq.processing.image.files import PREPROCESSOR_NAME, PROCESSOR_NAME

        source = hub.find(pretrained_model_name_or_path, kwargs)
        trusted = bool(kwargs.get("trust_remote_code"))
        config = _content(source, CONFIG_NAME)
        values = _content(source, PROCESSOR_NAME) or _content(source, PREPROCESSOR_NAME)
        original = recognise(source) is not None  # transformers has Nougat's name, and cannot read its files
        theirs = handover.takes(config) and not original
        known = original or theirs or not config or registry.knows(config)
        chosen = _own_code(source, values, "AutoProcessor", trusted, known)
        chosen = chosen or _registered(registry.PROCESSORS, values.get("processor_class"), config)
        if chosen is not None:
            return _from_place(chosen, source, **kwargs)
        if theirs:
            return handover.call("AutoProcessor", source, **kwargs)
        return load_processor(source, **kwargs)

    @staticmethod
    def register(config_class: Any, processor_class: Any, exist_ok: bool = False) -> None:
        """Make a processor class of your own known.

        Args:
            config_class: The config of the model that it belongs to.
            processor_class: Has ``from_pretrained``.
            exist_ok: Whether one that is known may be replaced.

        Raises:
            OptionError: No class.
            ConfigError: The class's name or the config's ``model_type`` is taken.
        """
        keys = (config_class.model_type, getattr(processor_class, "__name__", ""))
        _register(registry.PROCESSORS, processor_class, keys, exist_ok)


def load_processor(name_or_path: Path_, *, processor_class: Any = None, **kwargs: Any) -> Any:
    """Pair an image processor and a tokenizer from one place.

    Args:
        name_or_path: As in `AutoProcessor.from_pretrained`.
        processor_class: What to make of them; if not given, what the files state and `registry.PROCESSOR_CLASSES`
            holds, else `TrOCRProcessor`.
        kwargs: About finding files only.

    Raises:
        OptionError: Another argument.
    """
    source = hub.find(name_or_path, kwargs)
    kwargs.pop("use_fast", None)
    trusted = bool(kwargs.pop("trust_remote_code", None))
    if kwargs:
        raise OptionError(
            f"AutoProcessor.from_pretrained does not take {', '.join(sorted(kwargs))}; load AutoImageProcessor and "
            "AutoTokenizer with such options and pair them by TrOCRProcessor(image_processor, tokenizer)."
        )
    image_processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=trusted)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trusted)
    except TokenizerError as error:
        raise TokenizerError(
            f"{source.where()} has an image processor but no tokenizer that can be read: {error}"
        ) from None
    return (processor_class or _processor_class(source))(image_processor, tokenizer)


def _processor_class(source: hub.Source) -> Any:
    """The class that a checkpoint's files state; the plain one if they state none, or one that is not known."""
    from vision2seq.processing.image.files import PREPROCESSOR_NAME, PROCESSOR_NAME
    from vision2seq.processing.text.files import TOKENIZER_CONFIG

    files = (PROCESSOR_NAME, PREPROCESSOR_NAME, TOKENIZER_CONFIG)
    implied = checkpoints.original_image_processor(source) or {}
    stated = [*(_content(source, file).get("processor_class") for file in files), implied.get("processor_class")]
    known = (registry.PROCESSOR_CLASSES[name] for name in stated if name in registry.PROCESSOR_CLASSES)
    return registry.resolve(next(known, registry.PROCESSOR_CLASSES["TrOCRProcessor"]))
