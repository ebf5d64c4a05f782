"""Putting tensors into a module that was built on the meta device: one at a time, without a second copy.

A tensor that has the wanted dtype and device becomes the parameter itself. For files read by this package that means:
the parameter is a private, copy-on-write view of the mapped file. It can be trained and written to (a written page
becomes the process's own), the file never changes, and weights that are only read cost no memory besides the system's
file cache.

Every tensor is accounted for: used, tied, missing, unexpected, harmless or of another shape.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vision2seq.checkpoints.original import FORMATS
from vision2seq.checkpoints.report import LoadingReport, mismatch_text, some
from vision2seq.errors import CheckpointCorruptError, OptionError, UnsupportedError, WeightsMismatchError

# Buffers that old releases wrote and that follow from the config, heads that this package's models do without, and what
# the models' authors left in their files.
HARMLESS: tuple[str, ...] = (
    r"\.(attn|crossattention)\.(masked_)?bias$",
    r"masked_bias",
    r"position_ids$",
    r"_float_tensor$",
    r"pooler\.",
    *dict.fromkeys(pattern for original in FORMATS for pattern in original.table.dropped),
)

# TensorFlow's names for the two halves of a layer norm, which BERT-era PyTorch files kept.
_OLD_ENDINGS = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))


@dataclass
class _Place:
    """Where one tensor of the model hangs."""

    name: str
    module: nn.Module
    attribute: str

    @property
    def owner(self) -> str:
        return self.name.rpartition(".")[0]


@dataclass
class _Slot:
    """One tensor of the model, with every name that it has."""

    wanted: Tensor
    places: list[_Place]
    file_names: list[str] = field(default_factory=list)
    filled_by: str | None = None

    @property
    def name(self) -> str:
        return self.places[0].name

    @property
    def is_parameter(self) -> bool:
        return isinstance(self.wanted, nn.Parameter)

    def put(self, tensor: Tensor) -> None:
        """Hang the tensor up under all names, as the same object."""
        if self.is_parameter:
            grad = self.wanted.requires_grad and (tensor.is_floating_point() or tensor.is_complex())
            tensor = nn.Parameter(tensor, requires_grad=grad)
            for place in self.places:
                place.module._parameters[place.attribute] = tensor
        else:
            for place in self.places:
                place.module._buffers[place.attribute] = tensor

    @property
    def current(self) -> Tensor:
        place = self.places[0]
        held = place.module._parameters if self.is_parameter else place.module._buffers
        tensor = held[place.attribute]
        assert tensor is not None
        return tensor


def fill(
    model: nn.Module,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    ignore_mismatched_sizes: bool = False,
    harmless: Iterable[str | re.Pattern[str]] = HARMLESS,
) -> LoadingReport:
    """Give every parameter and buffer of a module its tensor, and say what became of each.

    What the model may bring along, all optional:

    * ``_harmless_unexpected``: a tuple of patterns, on the model or any submodule, in addition to ``harmless``.
    * ``tie_weights()``: called first, on the empty model; names that then lead to the same object are one tensor.
    * ``_tied_weights_keys`` as a dict {name: name of the one that it is}: ties that are not the same object yet.
    * ``init_missing(names)``, else ``_init_weights(module)`` on the nearest module above the tensor's owner,
      else the owner's ``reset_parameters()``: initialises what no file had.
    * ``reset_buffers()`` on any module: computes its buffers that no file holds, since those on meta hold nothing.

    Args:
        model: The module, usually on the meta device. After an exception it is of no use any more.
        tensors: Name and tensor pairs, read one at a time. Kept as they are where dtype and device agree.
        dtype: What floating-point parameters and buffers become; None keeps the model's own.
        device: Where everything goes.
        ignore_mismatched_sizes: Initialise tensors of another shape anew instead of raising.
        harmless: Patterns (searched for) of names that are in files and carry nothing. Default: :data:`HARMLESS`.

    Returns:
        The account. The model is in the mode (training or not) that it was in.

    Raises:
        WeightsMismatchError: Shapes disagree and ``ignore_mismatched_sizes`` is not set; lists all of them.
        CheckpointCorruptError: A tensor of fractions for a place of whole numbers.
        OptionError: ``dtype`` is no floating-point dtype.
        UnsupportedError: A module has a non-persistent buffer on meta and no ``reset_buffers()``.
    """
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise OptionError(f"dtype={dtype!r}; expected a floating-point torch dtype such as torch.float32, or None.")
    device = torch.device(device)
    tie_weights = getattr(model, "tie_weights", None)
    if callable(tie_weights):
        tie_weights()
    slots = _slots(model)
    patterns = [re.compile(p) for p in (*harmless, *_declared_harmless(model))]
    by_name = {place.name: slot for slot in slots for place in slot.places}
    report = LoadingReport()
    mismatched: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {}
    memory = _Memory()

    for file_name, tensor in tensors:
        name = _current_name(file_name, by_name)
        slot = by_name.get(name)
        if slot is None:
            kind = report.harmless_keys if any(p.search(file_name) for p in patterns) else report.unexpected_keys
            kind.append(file_name)
            continue
        slot.file_names.append(name)
        if name != file_name:
            report.converted_keys.append((file_name, name))
        if tensor.shape != slot.wanted.shape:
            mismatched[name] = (name, tuple(tensor.shape), tuple(slot.wanted.shape))
            continue
        if slot.filled_by is not None:
            # Two names of one tensor, both in the files: the model's first name counts, as it does when weights are
            # tied after loading.
            if _equal(slot.current, tensor):
                continue
            kept = name if name == slot.name else slot.filled_by
            report.error_msgs.append(
                f"{slot.filled_by} and {name} are one tensor in this model but differ in the files; {kept} was kept"
            )
            if kept != name:
                continue
        ready = _converted(name, tensor, slot.wanted, dtype, device)
        slot.put(memory.unshared(ready))
        slot.filled_by = name
        del tensor, ready

    if mismatched and not ignore_mismatched_sizes:
        raise WeightsMismatchError(
            f"{len(mismatched)} tensors of the checkpoint have another shape than the config asks for: "
            f"{some([mismatch_text(*entry) for entry in mismatched.values()], 20)}. Use the config that belongs to the "
            "checkpoint, or pass ignore_mismatched_sizes=True to initialise these tensors anew."
        )
    report.mismatched_keys = list(mismatched.values())

    for slot in slots:
        if slot.filled_by is None and not slot.file_names:
            report.missing_keys.append(slot.name)
        report.tied_keys.extend(place.name for place in slot.places[1:])
    empty = [slot for slot in slots if slot.filled_by is None]
    with torch.no_grad():
        _initialise(model, empty, dtype, device, report)
        _rebuild_buffers(model, dtype, device)
    on_meta = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    if on_meta:
        raise UnsupportedError(
            f"Nothing computes the buffers {some(on_meta)}: no file holds them, and their modules, which were built "
            "on the meta device, have no reset_buffers(). Define it there, or make the buffers persistent."
        )
    return report


# --------------------------------------------------------------------------------------------------- the model's places


def _slots(model: nn.Module) -> list[_Slot]:
    """Group the names of the state dict by the tensor behind them."""
    slots: dict[int, _Slot] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for held, persistent in ((module._parameters, None), (module._buffers, module._non_persistent_buffers_set)):
            for attribute, tensor in held.items():
                if tensor is None or (persistent is not None and attribute in persistent):
                    continue
                place = _Place(f"{prefix}.{attribute}" if prefix else attribute, module, attribute)
                slots.setdefault(id(tensor), _Slot(tensor, [])).places.append(place)

    ties = getattr(model, "_tied_weights_keys", None)
    if isinstance(ties, dict):
        by_name = {place.name: slot for slot in slots.values() for place in slot.places}
        for name, source in ties.items():
            alias, root = by_name.get(name), by_name.get(source)
            if alias is not None and root is not None and alias is not root:
                root.places.extend(alias.places)
                by_name.update((place.name, root) for place in alias.places)
                del slots[id(alias.wanted)]
    return list(slots.values())


def _declared_harmless(model: nn.Module) -> Iterator[str | re.Pattern[str]]:
    for module in model.modules():
        yield from getattr(module, "_harmless_unexpected", ())


def _current_name(name: str, known: dict[str, Any]) -> str:
    if name not in known:
        for old, new in _OLD_ENDINGS:
            if name.endswith(old) and name[: -len(old)] + new in known:
                return name[: -len(old)] + new
    return name


# ---------------------------------------------------------------------------------------------------------- the tensors


class _Memory:
    """The memory that the model already lives in, so that tensors tied in a file but not in the model come apart."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def unshared(self, tensor: Tensor) -> Tensor:
        """Return the tensor, or a copy if it overlaps one that came before."""
        if tensor.is_meta or not tensor.numel():
            return tensor
        start = tensor.data_ptr()
        end = start + tensor.numel() * tensor.element_size()
        at = bisect.bisect_left(self._starts, end)
        if at and self._ends[at - 1] > start:
            tensor = tensor.clone()
            start = tensor.data_ptr()
            end = start + tensor.numel() * tensor.element_size()
            at = bisect.bisect_left(self._starts, end)
        self._starts.insert(at, start)
        self._ends.insert(at, end)
        return tensor


def _converted(name: str, tensor: Tensor, wanted: Tensor, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """Bring a tensor to dtype, device and plain layout; the same object if it has all three."""
    target = wanted.dtype
    if target.is_floating_point:
        target = dtype or target
    elif tensor.is_floating_point():
        raise CheckpointCorruptError(
            f"{name} is {tensor.dtype} in the checkpoint, but the model has {target} there. The file does not "
            "belong to this config, or is damaged; use the config that belongs to it."
        )
    return tensor.detach().to(device=device, dtype=target).contiguous()


def _equal(ours: Tensor, theirs: Tensor) -> bool:
    if ours.dtype == theirs.dtype and ours.data_ptr() == theirs.data_ptr():
        return True
    return torch.equal(ours, theirs.to(device=ours.device, dtype=ours.dtype))


# ----------------------------------------------------------------------------------------------------- what no file had


def _initialise(
    model: nn.Module, empty: list[_Slot], dtype: torch.dtype | None, device: torch.device, report: LoadingReport
) -> None:
    if not empty:
        return
    for slot in empty:
        floating = slot.wanted.is_floating_point()
        slot.put(
            torch.zeros(slot.wanted.shape, dtype=(dtype if floating and dtype else slot.wanted.dtype), device=device)
        )
    names = [slot.name for slot in empty]
    init_missing = getattr(model, "init_missing", None)
    if callable(init_missing):
        init_missing(names)
        return

    fresh = {slot.name for slot in empty}
    done: set[tuple[int, bool]] = set()
    for slot in empty:
        place = slot.places[0]
        if (id(place.module), slot.is_parameter) in done:
            continue
        done.add((id(place.module), slot.is_parameter))
        initialise = _initialiser(model, place, slot.is_parameter)
        if initialise is None:
            report.error_msgs.append(f"{slot.name} is in no file and nothing initialises it; it was left at zero")
        else:
            with _Kept(place.module, place.owner, fresh):
                initialise()


def _initialiser(model: nn.Module, place: _Place, is_parameter: bool) -> Any:
    """Find who sets a tensor: buffers their module, parameters the nearest ``_init_weights(module)`` above them."""
    if not is_parameter:
        return getattr(place.module, "reset_buffers", None)
    path = place.owner.split(".") if place.owner else []
    for depth in range(len(path), -1, -1):
        init_weights = getattr(model.get_submodule(".".join(path[:depth])), "_init_weights", None)
        if callable(init_weights):
            return functools.partial(init_weights, place.module)
    return getattr(place.module, "reset_parameters", None)


class _Kept:
    """While a module is initialised, put its loaded tensors aside: an initialiser writes to all that a module has."""

    def __init__(self, module: nn.Module, prefix: str, fresh: set[str]) -> None:
        self.kept: list[tuple[dict[str, Any], str, Tensor]] = []
        self.homes: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        self.prefix = f"{prefix}." if prefix else ""
        self.fresh = fresh

    def __enter__(self) -> None:
        for home in self.homes:
            for attribute, tensor in home.items():
                if tensor is not None and self.prefix + attribute not in self.fresh:
                    self.kept.append((home, attribute, tensor))
                    stand_in = torch.zeros_like(tensor, device="cpu" if tensor.is_meta else tensor.device)
                    home[attribute] = nn.Parameter(stand_in, False) if isinstance(tensor, nn.Parameter) else stand_in

    def __exit__(self, *_: object) -> None:
        for home, attribute, tensor in self.kept:
            home[attribute] = tensor


def _rebuild_buffers(model: nn.Module, dtype: torch.dtype | None, device: torch.device) -> None:
    """Compute the buffers that no file holds, then treat them as ``model.to(device, dtype)`` would."""
    for module in model.modules():
        if any(buffer is not None and buffer.is_meta for buffer in module._buffers.values()):
            reset_buffers = getattr(module, "reset_buffers", None)
            if callable(reset_buffers):
                reset_buffers()
        for attribute, buffer in module._buffers.items():
            if buffer is not None and not buffer.is_meta:
                target = dtype if dtype and buffer.is_floating_point() else buffer.dtype
                module._buffers[attribute] = buffer.to(device=device, dtype=target)
