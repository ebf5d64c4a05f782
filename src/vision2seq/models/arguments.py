"""The arguments of ``from_pretrained``: which of them mean something, and to whom the rest goes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vision2seq.errors import OptionError, UnknownOptionError, UnsupportedError, nearest

NO_LONGER_NEEDED = (
    "low_cpu_mem_usage",
    "_fast_init",
    "mirror",
    "offload_state_dict",
    "offload_buffers",
    "trust_remote_code",
    "use_kernels",
    "weights_only",
    "_from_auto",
    "_from_pipeline",
    "_commit_hash",
)
"""What old scripts pass to ask for what is always so here, or has been dealt with before."""

_ABSENT = {
    "quantization_config": "quantised weights",
    "load_in_8bit": "quantised weights",
    "load_in_4bit": "quantised weights",
    "gguf_file": "reading GGUF files",
    "key_mapping": "renaming weights while they are loaded (rename the keys of a state_dict=… instead)",
    "adapter_kwargs": "loading adapters (load the model, then PeftModel.from_pretrained(model, …))",
    "adapter_name": "loading adapters (load the model, then PeftModel.from_pretrained(model, …))",
    "tp_plan": "tensor parallelism",
    "tp_size": "tensor parallelism",
    "device_mesh": "tensor parallelism",
    "distributed_config": "tensor parallelism",
}
_ATTENTION = ("eager", "sdpa")


def refuse_what_is_absent(arguments: dict[str, Any]) -> None:
    """Take out what is of no consequence, and raise about what is known and not built here.

    Args:
        arguments: Of a call; is changed.

    Raises:
        UnsupportedError: One of them asks for something that this package does not do.
    """
    for name in NO_LONGER_NEEDED:
        arguments.pop(name, None)
    for name, what in _ABSENT.items():
        if arguments.pop(name, None):
            raise UnsupportedError(f"{name}=… was given, but {what} is not built in this release; leave it out.")


def check_attention(implementation: Any) -> None:
    """Refuse a way to compute attention that is not built here.

    The two that are mean the same: the fused kernel, or plain products where attention weights are to be returned.

    Raises:
        UnsupportedError: One that transformers has.
        OptionError: One that nobody has.
    """
    if implementation is None or implementation in _ATTENTION:
        return
    expected = "leave it out, or pass 'eager' or 'sdpa', which mean the same here"
    if isinstance(implementation, str) and (
        "flash" in implementation or "flex" in implementation or "/" in implementation
    ):
        raise UnsupportedError(f"attn_implementation={implementation!r} is not built in this release; {expected}.")
    raise OptionError(f"attn_implementation={implementation!r} is unknown; {expected}.")


def sort_out(
    model_class: type[nn.Module],
    positional: tuple[Any, ...],
    named: dict[str, Any],
    config_keys: set[str],
    known: Iterable[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part keyword arguments into changes of the config and arguments of the model's ``__init__``.

    Args:
        model_class: Its ``__init__`` takes a config first.
        positional: What it will be given after the config.
        named: The keyword arguments.
        config_keys: Names that mean something in the config. They win, but for ready modules.
        known: Other names, for the message.

    Returns:
        Changes, and arguments.

    Raises:
        UnknownOptionError: A name that neither knows; OptionError if there are too many positional arguments.
    """
    parameters = list(inspect.signature(model_class.__init__).parameters.values())[2:]  # self, config
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) > len(places) and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise OptionError(
            f"{len(positional)} positional arguments after the name, but {model_class.__name__}.__init__ takes "
            f"{len(places)} after the config: {', '.join(p.name for p in places) or 'none'}."
        )
    free = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    free -= {p.name for p in places[: len(positional)]}
    changes: dict[str, Any] = {}
    for_init: dict[str, Any] = {}
    for name, value in named.items():
        if name in free and (name not in config_keys or isinstance(value, nn.Module)):
            for_init[name] = value
        elif name in config_keys:
            changes[name] = value
        elif takes_any:
            for_init[name] = value
        else:
            raise UnknownOptionError(
                f"{model_class.__name__}.from_pretrained got an unknown argument {name!r}: it is neither an option, an "
                f"attribute of the config nor an argument of the model's __init__."
                f"{nearest(name, (*config_keys, *free, *known))}"
            )
    return changes, for_init


class GivenWeights:
    """Weights that a caller has in hand, as ``state_dict=``; the model gets tensors of its own.

    Args:
        state_dict: Name to tensor.

    Raises:
        OptionError: It is something else.
    """

    def __init__(self, state_dict: Any) -> None:
        if not isinstance(state_dict, Mapping):
            raise OptionError(
                f"state_dict is a {type(state_dict).__name__}; expected a dict from names to tensors. A file is passed "
                "as the first argument."
            )
        for name, tensor in state_dict.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                raise OptionError(
                    f"state_dict holds {name!r}: a {type(tensor).__name__}; expected names and tensors. A "
                    "whole training state has them under a key such as 'model' or 'state_dict'."
                )
        self._tensors: Mapping[str, Tensor] = state_dict

    @property
    def dtype(self) -> torch.dtype | None:
        """That of the first tensor of fractions."""
        return next((tensor.dtype for tensor in self._tensors.values() if tensor.is_floating_point()), None)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self._tensors.items():
            yield name, tensor.detach().clone()
