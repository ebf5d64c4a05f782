"""PreTrainedModel: what every model of this package can do besides computing: be loaded, saved, initialised, asked."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from vision2seq import checkpoints, hub, registry
from vision2seq.configuration.base import IN_MODEL_CONFIGS, Config, merge
from vision2seq.errors import ConfigError, OptionError, UnsupportedError
from vision2seq.models.arguments import GivenWeights, check_attention, refuse_what_is_absent, sort_out
from vision2seq.models.devices import Spread, device_of, place_for, whole_state

Model = TypeVar("Model", bound="PreTrainedModel")

_OPTIONS = ("config", "dtype", "torch_dtype", "variant", "use_safetensors")
_PLACES = ("device", "device_map", "max_memory", "offload_folder")
_MORE_OPTIONS = (
    "ignore_mismatched_sizes",
    "output_loading_info",
    "attn_implementation",
    "state_dict",
    "generation_config",
    "from_tf",
    "from_flax",
    "precision",
)


class _Undrawn(TorchFunctionMode):
    """While modules are built on meta, leave out their random numbers.

    There is nothing to draw there, and PyTorch's normal distribution on meta imports a compiler, which costs seconds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Put off the search for cyclic garbage: thousands of new objects set it off again and again, and find none.

    Going through all objects of a process that has imported torch takes as long as everything else here.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def packed_as(config: Any, name: str) -> str | None:
    """The precision that a checkpoint's weights are packed in; None if they are not.

    Raises:
        UnsupportedError: Another library has quantised them.
    """
    stored = getattr(config, "quantization_config", None)
    if not stored:
        return None
    if not isinstance(stored, dict) or stored.get("quant_method") != "vision2seq":
        raise UnsupportedError(
            f"The weights of {name} are quantised (its config has a quantization_config), which is not built in "
            "this release. Load the checkpoint that they were made from."
        )
    return str(stored.get("precision"))


def _packing(config: Any, options: dict[str, Any], name: str) -> tuple[Callable[[Any], None] | None, bool]:
    """What packs the weights, or None; and whether they lie packed in the files already.

    Raises:
        OptionError: A precision and a dtype; or another precision than that of the files.
        UnsupportedError: Weights that another library has quantised.
    """
    precision, dtype = options["precision"], options["dtype"] or options["torch_dtype"]
    stored = packed_as(config, name)
    if stored:
        if precision not in (None, "auto", stored) or dtype:
            asked = f"precision={precision!r}" if precision else f"dtype={dtype!r}"
            raise OptionError(
                f"{name} is packed as {stored}, which cannot be undone, but {asked} was asked for. Leave "
                "it out, or load the checkpoint that it was made from."
            )
        precision = stored
    if precision is None:
        return None, False
    if dtype:
        raise OptionError(f"precision={precision!r} and dtype={dtype!r} were given; give one of them.")
    return functools.partial(registry.resolve(registry.PRECISION), precision=precision), bool(stored)


class PreTrainedModel(nn.Module):
    """A module with a config, whose parameters have the names of the checkpoints."""

    config_class: ClassVar[Any] = Config
    base_model_prefix: ClassVar[str] = ""
    main_input_name: ClassVar[str] = "pixel_values"
    _not_needed: ClassVar[tuple[str, ...]] = ()
    """Patterns of own parameters that nothing which counts depends on: no word is said if a checkpoint lacks them."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ConfigError(
                f"{type(self).__name__} was given a {type(config).__name__}; expected a {self.config_class.__name__}."
            )
        self.config = config
        self.gradient_checkpointing = False

    # --------------------------------------------------------------------------------------------------- making one

    @classmethod
    def skeleton(cls: type[Model], config: Any, *model_args: Any, **for_init: Any) -> Model:
        """Build the architecture on the meta device: names and shapes, no memory, no numbers."""
        with torch.device("meta"), _Undrawn():
            return cls(config, *model_args, **for_init)

    @classmethod
    def _from_config(
        cls: type[Model],
        config: Any,
        *,
        dtype: Any = None,
        torch_dtype: Any = None,
        device: Any = None,
        attn_implementation: str | None = None,
    ) -> Model:
        """Build the architecture with fresh weights from a copy of the config; in training mode, as the reference."""
        check_attention(attn_implementation)
        wanted = _dtype(dtype if dtype is not None else torch_dtype, None) or torch.float32
        model = cls.skeleton(config.copy())
        model._apply(  # type: ignore[no-untyped-call]
            lambda old: torch.empty(
                old.shape, dtype=wanted if old.is_floating_point() else old.dtype, device=device or "cpu"
            )
        )
        for module in model.modules():
            reset_buffers = getattr(module, "reset_buffers", None)
            if callable(reset_buffers):
                reset_buffers()
        model.tie_weights()
        model.init_weights()
        return model.to(device=device or "cpu", dtype=wanted)

    @classmethod
    def from_pretrained(
        cls: type[Model], pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a model from a folder, in evaluation mode.

        Args:
            pretrained_model_name_or_path: A folder with config.json and weights, or the name of a bundled model.
            model_args: Passed to the model's ``__init__``, after the config.
            kwargs: ``config`` (object, dict, folder or file), ``dtype`` or ``torch_dtype`` (a dtype, its name or
                ``"auto"``; default float32), ``device`` or ``device_map`` (a device, or how to spread the model over
                several, with ``max_memory`` and ``offload_folder``, see `vision2seq.models.devices`), ``variant``,
                ``use_safetensors``, ``from_tf`` and ``from_flax`` (look for weights of that framework first),
                ``ignore_mismatched_sizes``, ``output_loading_info`` (return ``(model, info)``),
                ``precision`` (``"fp32"``, ``"bf16"``, ``"int8"`` or ``"auto"``: what weights are kept in on the CPU,
                see `vision2seq.engine.precision`; instead of ``dtype``);
                any attribute of the config, which is set; dicts meant for sub-configs are merged into them.

        Raises:
            CheckpointNotFoundError: No such folder, or no config or weights in it.
            CheckpointCorruptError: A file that cannot be read; UnsafePickleError if it asks to run code.
            WeightsMismatchError: Tensors whose shapes disagree with the config.
            UnknownOptionError: An argument that nobody knows.
        """
        config, given = kwargs.pop("config", None), kwargs.pop("state_dict", None)
        source = _source(pretrained_model_name_or_path, config, given, kwargs)
        options = {name: kwargs.pop(name, None) for name in (*_OPTIONS[1:], *_MORE_OPTIONS)}
        places = {name: kwargs.pop(name, None) for name in _PLACES}
        refuse_what_is_absent(kwargs)
        check_attention(options["attn_implementation"])
        config, for_init = cls._config(source, config, model_args, kwargs)
        weights = None if given is None else GivenWeights(given)
        pack, packed = _packing(config, options, source.name)
        if weights is None:
            files = checkpoints.find_weights(
                source,
                variant=options["variant"],
                use_safetensors=options["use_safetensors"],
                from_tf=bool(options["from_tf"]),
                from_flax=bool(options["from_flax"]),
            )
        requested = options["dtype"] if options["dtype"] is not None else options["torch_dtype"]
        stored = checkpoints.stored_dtype(files) if weights is None else weights.dtype
        # Weights that are to be packed come as they are stored: each layer is packed by itself.
        dtype = stored if pack is not None else None
        dtype = dtype or _dtype(requested, lambda: config.dtype or stored) or torch.float32
        converted: list[tuple[str, str]] = []
        with _without_collector():
            model = cls.skeleton(config, *model_args, **for_init)
            if pack is not None and packed:
                pack(model)
            place = place_for(**places, size=model.num_parameters() * dtype.itemsize)
            device = place if isinstance(place, torch.device) else torch.device("cpu")
            copied = stored != dtype or device.type != "cpu"
            report = checkpoints.fill(
                model,
                model._renamed(
                    checkpoints.read_tensors(files, will_copy=copied, converted=converted)
                    if weights is None
                    else weights,
                    converted,
                ),
                dtype=None if packed else dtype,
                device=device,
                ignore_mismatched_sizes=bool(options["ignore_mismatched_sizes"]),
            )
        config = model.config
        report.missing_keys = [name for name in report.missing_keys if not model._is_not_needed(name)]
        if weights is None and files.original is not None:
            report.refuse_gaps(source.name, files.original.name)
        report.converted_keys = converted + report.converted_keys
        if pack is not None and not packed:
            with torch.no_grad():
                pack(model)
        config.dtype = str(model.dtype if pack else dtype).removeprefix("torch.")
        config.name_or_path = source.name
        config._commit_hash = source.commit
        model.eval()
        model._loaded_from(source)
        if isinstance(place, Spread):
            place.apply(model)
        if options["generation_config"] is not None:
            model.generation_config = options["generation_config"]
        text = report.warning_text(source.name)
        if text and not options["output_loading_info"]:
            warnings.warn(text, UserWarning, stacklevel=2)
        return (model, report.to_dict()) if options["output_loading_info"] else model

    @classmethod
    def _config(
        cls, source: hub.Source, config: Any, model_args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The config that a loading is to use, always a new one, with the changes that a caller wants.

        Returns:
            It, and what of ``named`` is for the model's ``__init__``.
        """
        if isinstance(config, Config):
            config = config.copy()
        elif config is None or isinstance(config, str | os.PathLike):
            place = source if config is None else hub.find_beside(source, config)
            values = checkpoints.original_config(place)
            if values is not None and values["model_type"] == cls.config_class.model_type:
                config = cls.config_class.from_dict(values)
            else:
                config = cls.config_class.from_pretrained(place)
        elif isinstance(config, dict):
            config = cls.config_class.from_dict(config)
        else:
            raise ConfigError(
                f"config is a {type(config).__name__}; expected a config object, a dict, a folder or file."
            )
        if not isinstance(config, cls.config_class):
            raise ConfigError(
                f"{cls.__name__} cannot use a {type(config).__name__}; expected {cls.config_class.__name__}."
            )
        known = cls.config_class.known_keys() | IN_MODEL_CONFIGS | set(config)
        changes, for_init = sort_out(cls, model_args, named, known, (*_OPTIONS, *_PLACES, *_MORE_OPTIONS))
        merge(config, changes)
        return config, for_init

    def _renamed(
        self, tensors: Iterable[tuple[str, Tensor]], converted: list[tuple[str, str]] | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Give tensors the names that the model has for them, as far as a file calls them otherwise."""
        known = set(self.state_dict())
        for name, tensor in tensors:
            new = name if name in known else self._name_here(name, known)
            if new != name and converted is not None:
                converted.append((name, new))
            yield new, tensor

    def _name_here(self, name: str, known: set[str]) -> str:
        """What a name is here that only files have: with the base model's prefix, or without, as the file was saved."""
        prefix = f"{self.base_model_prefix}."
        if len(prefix) > 1 and prefix + name in known:
            return prefix + name
        return name.removeprefix(prefix) if name.startswith(prefix) and name.removeprefix(prefix) in known else name

    def _is_not_needed(self, name: str) -> bool:
        return any(re.search(pattern, name) for pattern in self._not_needed)

    def _loaded_from(self, source: hub.Source) -> None:
        """Called at the end of loading: a place for what else there is beside the weights."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        max_shard_size: int | str = "5GB",
        variant: str | None = None,
        safe_serialization: bool = True,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """Write config.json and the weights; transformers reads them.

        Args:
            save_directory: A folder, made if missing.
            max_shard_size: Bytes, or a text such as ``"200MB"``: larger models are written in several files.
            variant: Becomes part of the file names.
            safe_serialization: False writes ``pytorch_model.bin``.
            state_dict: Weights to write instead of the model's own.
        """
        directory = Path(save_directory)
        if directory.is_file():
            raise OptionError(f"{directory} is a file; expected a folder to save the model into.")
        config = self.config.copy()
        config.architectures = [type(self).__name__]
        config.dtype = str(self.dtype).removeprefix("torch.")
        config.to_json_string()  # a config that cannot be written is found out before any file is touched
        if state_dict is None:
            state_dict = whole_state(self)
        checkpoints.save_weights(
            self if state_dict is None else state_dict,
            directory,
            max_shard_size=max_shard_size,
            variant=variant,
            safe_serialization=safe_serialization,
        )
        config.save_pretrained(directory)

    # ------------------------------------------------------------------------------------------------------ weights

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise one module's own parameters as the family's paper or reference does."""

    def init_weights(self) -> None:
        """Initialise all weights anew."""
        with torch.no_grad():
            self.apply(self._init_weights)

    def get_input_embeddings(self) -> Any:
        """The token embeddings, or None."""
        return None

    def get_output_embeddings(self) -> Any:
        """The projection to the vocabulary, or None."""
        return None

    def tie_weights(self) -> None:
        """Make the output projection and the token embeddings one matrix, if the config says so."""
        embeddings, head = self.get_input_embeddings(), self.get_output_embeddings()
        if embeddings is not None and head is not None and self.config.tie_word_embeddings:
            if hasattr(embeddings, "tie"):  # packed
                embeddings.tie(head)
            else:
                head.weight = embeddings.weight

    @property
    def device(self) -> torch.device:
        """Where the parameters are; of a model that is spread over several devices, where it begins."""
        return device_of(self)

    @property
    def dtype(self) -> torch.dtype:
        """What the parameters are."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    def num_parameters(self, only_trainable: bool = False) -> int:
        """How many numbers the model has; tied ones count once."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    # ------------------------------------------------------------------------------------------------------ running

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """In training, compute each layer a second time instead of keeping what is inside it."""
        for module in self.modules():
            if isinstance(module, PreTrainedModel):
                module.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep everything again."""
        for module in self.modules():
            if isinstance(module, PreTrainedModel):
                module.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether it is on anywhere."""
        return any(isinstance(m, PreTrainedModel) and m.gradient_checkpointing for m in self.modules())

    def checkpointed(self, layer: nn.Module, *args: Any) -> Any:
        """Call a layer, in training with gradient checkpointing if that is on."""
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(layer, *args, use_reentrant=False)
        return layer(*args)

    def returned(self, output: Any, return_dict: bool | None) -> Any:
        """The output as it was asked for: as an object, or as a tuple."""
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()


def _source(name: Any, config: Any, state_dict: Any, arguments: dict[str, Any]) -> hub.Source:
    """Where files are taken from; nowhere for ``from_pretrained(None, config=…, state_dict=…)``."""
    if name is not None:
        return hub.find(name, arguments)
    if config is None or state_dict is None:
        raise OptionError(
            "from_pretrained(None, …) has no files to read, so it needs both config= and state_dict=. Pass them, or a "
            "folder or name as the first argument."
        )
    return hub.nowhere(arguments)


def _dtype(value: Any, auto: Any) -> torch.dtype | None:
    """Turn a dtype, its name or ``"auto"`` into a dtype."""
    if value == "auto" and auto is not None:
        value = auto()
    if value is None:
        return None
    found = value if isinstance(value, torch.dtype) else getattr(torch, str(value).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise OptionError(
            f"dtype={value!r}; expected a floating-point torch dtype such as torch.float16, its name, or 'auto'."
        )
    return found
