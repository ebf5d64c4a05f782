"""Where a model goes: one device, or several by way of `accelerate`, an optional package.

On several, each piece computes where its weights are, and what goes from one to the next is moved. What is called
"cpu" beside a GPU, and "disk" anywhere, lies there and is brought to the first device for each use: that makes a model
run that does not fit, slowly.

A piece is what is never divided: a decoder, whose cache is one block, and a layer or the embeddings of an encoder.

Source: device maps as ``accelerate.dispatch_model`` has them.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vision2seq.errors import MissingPackageError, OptionError, nearest

_STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
_DISK = "disk"
_ROOM = 1.25
"""How much more than its weights a model needs on a GPU, at the least."""


class Spread:
    """Several devices, and what goes to which.

    Args:
        device_map: Name of a module to its device, ``""`` for all else; or a strategy: ``"balanced"`` (as much on each
            GPU as on the others), ``"balanced_low_0"`` (less on the first), ``"sequential"`` and ``"auto"`` (the first
            is filled first, then the next, then the CPU and the disk).
        max_memory: Device to bytes or a text such as ``"10GiB"``; None is what is free.
        offload_folder: Where weights are put that are to lie on the disk. They go into a folder of their own there,
            which goes with the model.

    Raises:
        MissingPackageError: `accelerate` is not installed.
    """

    def __init__(
        self,
        device_map: str | Mapping[str, Any],
        max_memory: Mapping[Any, Any] | None,
        offload_folder: str | os.PathLike[str] | None,
    ) -> None:
        try:
            self._accelerate: Any = importlib.import_module("accelerate")
            self._measures: Any = importlib.import_module("accelerate.utils")
        except ImportError as error:
            raise MissingPackageError(
                f"device_map={device_map!r} puts a model on several devices, which needs accelerate, and that is not "
                f"installed ({error}). Type: pip install 'vision2seq[accelerate]'. Or name one device."
            ) from None
        self._map = device_map
        self._max_memory = max_memory
        self._folder = offload_folder

    def apply(self, model: nn.Module) -> None:
        """Put a model that is on the CPU where its pieces belong.

        Args:
            model: Is changed: its modules get hooks that move what they need, and it an ``hf_device_map``.

        Raises:
            OptionError: A map that leaves modules out, names some that are not there or divides a piece; weights for
                the disk and no folder for them.
        """
        pieces = dict(_pieces(model))
        classes = sorted({type(piece).__name__ for piece in pieces.values()})
        names = self._inferred(model, classes) if isinstance(self._map, str) else self._map
        found = _checked({name: _device_of(place) for name, place in names.items()}, model, pieces)
        main = _main(found)
        self._accelerate.dispatch_model(
            model,
            device_map=found,
            main_device=main,
            state_dict=_part(model, found, "cpu") if main != "cpu" and "cpu" in found.values() else None,
            offload_dir=self._on_disk(model, found) if _DISK in found.values() else None,
            preload_module_classes=classes,
        )
        for module in model.modules():
            for hook in _hooks(module):
                # accelerate knows tied weights by their addresses, which other weights may have got since.
                hook.tied_params_map, hook.tied_params_names = None, set()
        for piece in pieces.values():
            method: Any = getattr(piece, "put_cross", None)
            if method is not None and hasattr(piece, "_hf_hook"):
                piece.put_cross = _hooked(piece, method)  # type: ignore[assignment]
        model.hf_device_map = found  # type: ignore[assignment]

    def _inferred(self, model: nn.Module, classes: list[str]) -> dict[str, Any]:
        arguments = {"no_split_module_classes": classes, "max_memory": self._max_memory}
        try:
            if self._map in ("balanced", "balanced_low_0"):
                arguments["max_memory"] = self._measures.get_balanced_memory(
                    model, low_zero=self._map == "balanced_low_0", **arguments
                )
            else:
                arguments["max_memory"] = self._measures.get_max_memory(self._max_memory)
            inferred: dict[str, Any] = self._accelerate.infer_auto_device_map(model, **arguments)
        except (ValueError, AttributeError, TypeError) as error:
            raise OptionError(
                f"max_memory={self._max_memory!r} cannot be used ({error}); expected a dict from devices to bytes or "
                "texts, such as {0: '10GiB', 'cpu': '30GiB'}."
            ) from None
        return inferred

    def _on_disk(self, model: nn.Module, device_map: dict[str, str]) -> Path:
        """Write what is to lie on the disk, into a folder that is removed with the model."""
        part = _part(model, device_map, _DISK)
        if self._folder is None:
            raise OptionError(
                f"device_map puts {len(part)} weights on the disk, such as {next(iter(part))}; pass offload_folder=…, "
                "a folder with room for them, or more max_memory."
            )
        parent = Path(self._folder)
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="weights-", dir=parent))
        weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
        self._measures.offload_state_dict(folder, part)
        return folder


def place_for(
    device: Any,
    device_map: Any,
    max_memory: Mapping[Any, Any] | None = None,
    offload_folder: str | os.PathLike[str] | None = None,
    *,
    size: int = 0,
) -> torch.device | Spread:
    """The device, or the devices, that the arguments of a ``from_pretrained`` mean.

    Args:
        device: One, which wins.
        device_map: One, a strategy, or a dict from modules to devices, see `Spread`.
        max_memory: See `Spread`.
        offload_folder: See `Spread`.
        size: Bytes of the model: what fits on the first GPU goes there, unless ``max_memory`` or ``"balanced"`` asks
            for more.

    Raises:
        OptionError: None that there is.
        MissingPackageError: Several, and `accelerate` is not installed.
    """
    if device is not None:
        return _one(device)
    if isinstance(device_map, str) and device_map in _STRATEGIES:
        cards = torch.cuda.device_count()
        evenly = device_map.startswith("balanced") and cards > 1
        if max_memory is None and not evenly and (not cards or size * _ROOM < torch.cuda.mem_get_info(0)[0]):
            return _one("cuda" if cards else "cpu")
        return Spread(device_map, max_memory, offload_folder)
    if isinstance(device_map, Mapping) and device_map:
        places = {_device_of(place) for place in device_map.values()}
        if len(places) > 1 or _DISK in places:
            return Spread(device_map, max_memory, offload_folder)
        device_map = places.pop()
    if max_memory is not None:
        raise OptionError(
            f"max_memory={max_memory!r} is for a device_map that says how to spread a model, such as 'auto'; found "
            f"{device_map!r}."
        )
    return _one(device_map)


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes, wherever its weights lie meanwhile."""
    place = next((hook.execution_device for hook in _hooks(module) if hasattr(hook, "execution_device")), None)
    return next(module.parameters()).device if place is None else torch.device(place)


def whole_state(model: nn.Module) -> dict[str, Tensor] | None:
    """The state dict of a model of which some weights lie elsewhere, each once; None where all are here."""
    state = model.state_dict()
    if not hasattr(model, "hf_device_map") or not any(tensor.is_meta for tensor in state.values()):
        return None
    for prefix, module in model.named_modules():
        for hook in _hooks(module):
            if getattr(hook, "offload", False):
                for name, _ in module.named_parameters(recurse=hook.place_submodules):
                    state[f"{prefix}.{name}" if prefix else name] = hook.weights_map[name]
    once = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return {name: tensor for name, tensor in state.items() if name in once}


def _one(chosen: Any) -> torch.device:
    if isinstance(chosen, str) and chosen.isdigit():
        chosen = int(chosen)
    try:
        found = torch.device("cpu" if chosen is None else chosen)
    except (RuntimeError, TypeError) as error:
        raise OptionError(
            f"device {chosen!r} is none that torch knows ({error}); expected 'cpu' or 'cuda:0'."
        ) from None
    count = torch.cuda.device_count() if found.type == "cuda" else 0
    if found.type == "cuda" and (found.index or 0) >= count:
        raise OptionError(
            f"device {chosen!r} was asked for, but torch finds {count} CUDA devices here; use 'cpu', or install a "
            "torch and a driver that see the card."
        )
    return found


def _device_of(place: Any) -> str:
    """A device in one spelling: 0, "0", "cuda:0" and the device object are one."""
    if place == _DISK:
        return _DISK
    found = _one(place)
    return f"cuda:{found.index or 0}" if found.type == "cuda" else str(found)


def _pieces(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of what is never divided."""
    wholes: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{whole}.") for whole in wholes):
            continue
        parent = model.get_submodule(name.rpartition(".")[0])
        own = next(module.parameters(recurse=False), None) is not None and next(module.children(), None) is not None
        layer = isinstance(parent, nn.ModuleList) and not any(isinstance(m, nn.ModuleList) for m in module.modules())
        embeddings = name.rpartition(".")[2] == "embeddings"  # whose table of positions is read, not called
        if name and (hasattr(module, "put_cross") or own or layer or embeddings):
            wholes.append(name)
            yield name, module


def _checked(device_map: dict[str, str], model: nn.Module, pieces: Iterable[str]) -> dict[str, str]:
    """A map that names each piece as a whole, or what it is in."""
    modules = {name for name, _ in model.named_modules()}
    for name in device_map:
        if name not in modules:
            raise OptionError(
                f"device_map names {name!r}, which is no module of a {type(model).__name__}.{nearest(name, modules)}"
            )
    left = [name for name, _ in model.named_parameters() if _covering(name, device_map) is None]
    if left:
        raise OptionError(
            f"device_map says nothing about {len(left)} weights, such as {left[0]}; name their modules too, or give "
            "a device for all else as ''."
        )
    found = dict(device_map)
    for piece in pieces:
        inside = [name for name in device_map if name.startswith(f"{piece}.")]
        names = [f"{piece}.{name}" for name, _ in model.get_submodule(piece).named_parameters()] if inside else []
        places = {device_map[str(_covering(name, device_map))] for name in names}
        if len(places) > 1:
            raise OptionError(
                f"device_map divides {piece} between {' and '.join(sorted(places))}; it runs in one piece, name one "
                "device for it."
            )
        for name in inside:
            del found[name]
        if inside:
            found[piece] = places.pop()
    return dict(_disjoint("", model, found, found.get("")))


def _disjoint(name: str, module: nn.Module, device_map: dict[str, str], place: str | None) -> Iterator[tuple[str, str]]:
    """The same map with no module inside another: accelerate lets the outer one count for all that is in it."""
    place = device_map.get(name, place)
    prefix = f"{name}." if name else ""
    if place is not None and not any(each and each.startswith(prefix) for each in device_map if each != name):
        yield name, place
        return
    for child_name, child in module.named_children():
        if child.state_dict():
            yield from _disjoint(prefix + child_name, child, device_map, place)


def _main(device_map: dict[str, str]) -> str:
    """Where a model begins: on the first device that computes, which is a GPU if there is any."""
    return next((place for place in device_map.values() if place not in ("cpu", _DISK)), "cpu")


def _part(model: nn.Module, device_map: dict[str, str], place: str) -> dict[str, Tensor]:
    """The weights that a map puts in one place."""
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if device_map[str(_covering(name, device_map))] == place}


def _covering(name: str, names: Iterable[str]) -> str | None:
    """The longest of some modules' names that a weight is in; None if it is in none."""
    return max((each for each in names if not each or name.startswith(f"{each}.")), key=len, default=None)


def _hooks(module: nn.Module) -> tuple[Any, ...]:
    """What accelerate hung on a module: nothing, one, or several in a row."""
    hook: Any = getattr(module, "_hf_hook", None)
    return () if hook is None else tuple(getattr(hook, "hooks", (hook,)))


def _hooked(module: nn.Module, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that needs a module's weights and inputs where its forward pass does."""

    def call(*args: Any, **kwargs: Any) -> Any:
        hook: Any = module._hf_hook
        args, kwargs = hook.pre_forward(module, *args, **kwargs)
        try:
            return method(*args, **kwargs)
        finally:
            hook.post_forward(module, None)

    return call
