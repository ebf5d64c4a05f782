"""A decoder's step for one new token a row, as a list of operations that compiled code runs in one call.

The Python of a family says which operations, once a generation; `native/program.cpp` runs them. It reads the modules'
own parameters where they lie, so whoever changes those in place changes what comes out. Without the compiled library
(no compiler when the package was built) the modules run.

R rows, V vocabulary.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vision2seq.layers.activations import ACTIVATIONS
from vision2seq.layers.cache import DecoderCache

_LINEAR, _NORM, _SELF, _CROSS = range(4)
_NUMBERS = ("identity", "relu", "gelu", "gelu_new", "silu", "quick_gelu", "tanh", "sigmoid")
_ACTIVATIONS: dict[Callable[[Tensor], Tensor] | None, int] = {
    None if name == "identity" else ACTIVATIONS[name]: number for number, name in enumerate(_NUMBERS)
}
_ACTIVATIONS[ACTIVATIONS["gelu_pytorch_tanh"]] = _NUMBERS.index("gelu_new")
_RESULT = -1


class _Part(ctypes.Structure):
    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p), ("outputs", ctypes.c_int64))


class _Operation(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int32),
        ("activation", ctypes.c_int32),
        ("source", ctypes.c_int64),
        ("target", ctypes.c_int64),
        ("added", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("layer", ctypes.c_int64),
        ("number", ctypes.c_float),
        ("transposed", ctypes.c_int32),
        ("parts_count", ctypes.c_int32),
        ("parts", _Part * 3),
    )


class _State(ctypes.Structure):
    _fields_ = (
        ("scratch", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("result", ctypes.c_void_p),
        ("result_width", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("capacity", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("cross_keys", ctypes.c_void_p),
        ("cross_values", ctypes.c_void_p),
        ("group", ctypes.c_int64),
        ("sights", ctypes.c_int64),
    )


@functools.cache
def library() -> Any:
    """The compiled code, or None where the package was built without it."""
    folder = Path(__file__).parent
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = folder / f"_program{suffix}"
        if not path.is_file():
            continue
        try:
            found = ctypes.CDLL(str(path))
            sizes = (ctypes.c_int64 * 3)()
            found.v2s_layout(sizes)
        except (OSError, AttributeError):
            continue
        found.v2s_isa.restype = ctypes.c_char_p
        found.v2s_run.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int32)
        if list(sizes) == [ctypes.sizeof(kind) for kind in (_Part, _Operation, _State)]:
            _lend_threads(found)
            return found
    return None


def _lend_threads(compiled: Any) -> None:
    """Let the compiled code run on torch's own threads, which are those of the OpenMP runtime that torch has loaded."""
    process = ctypes.CDLL(None)
    try:
        names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
        functions = [ctypes.cast(getattr(process, name), ctypes.c_void_p) for name in names]
    except AttributeError:
        return  # another runtime: one thread does it all
    compiled.v2s_use_openmp(*functions)


def instruction_set() -> str | None:
    """Which instructions the compiled code uses here: ``"avx512"``, ``"avx2"``, ``"portable"``; None without it."""
    compiled = library()
    return None if compiled is None else compiled.v2s_isa().decode()


class Unsuitable(Exception):
    """The compiled code cannot run this: another dtype, device, memory order or activation."""


class Program:
    """Operations on buffers, each so many numbers a row; buffer 0 takes the embedded tokens."""

    def __init__(self, width: int) -> None:
        """Start with the one buffer that the embedded tokens go to, ``width`` numbers a row."""
        self._compiled = library()
        if self._compiled is None:
            raise Unsuitable("there is no compiled code")
        self.embedded = 0
        self._width = self._embedded_width = width
        self._operations: list[_Operation] = []
        self._packed: Any = None
        self._result_width = 0
        self._kept: list[Tensor] = []  # parameters whose addresses are in the operations
        self._scratch: Tensor | None = None

    def buffer(self, width: int) -> int:
        """Make room for ``width`` numbers a row."""
        # Rows start at a multiple of 64 bytes where the memory does.
        place = self._width = (self._width + 15) // 16 * 16
        self._width += width
        return place

    def _address(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise Unsuitable("parameters must be contiguous float32 in the memory of the CPU")
        self._kept.append(tensor.detach())
        return tensor.data_ptr()

    def linear(
        self,
        source: int,
        target: int | None,
        *parts: tuple[Tensor, Tensor | None],
        activation: Callable[[Tensor], Tensor] | None = None,
        added: int | None = None,
        transposed: bool = False,
    ) -> None:
        """``target = activation(source @ weight.T + bias) + added``.

        Args:
            source: Buffer.
            target: Buffer, or None for the logits.
            parts: One to three weights (outputs, inputs) with bias or None, whose results lie side by side.
            activation: One of `layers.activations`, or None.
            added: Buffer to add.
            transposed: The weights lie (inputs, outputs).

        Raises:
            Unsuitable: The compiled code has no such activation, dtype or memory order.
        """
        if activation not in _ACTIVATIONS:
            raise Unsuitable("an activation that the compiled code does not have")
        axis = 1 if transposed else 0
        operation = _Operation(_LINEAR, _ACTIVATIONS[activation], source, _RESULT if target is None else target)
        operation.added = -1 if added is None else added
        operation.inputs = parts[0][0].shape[1 - axis]
        operation.outputs = sum(weight.shape[axis] for weight, _ in parts)
        operation.transposed = transposed
        operation.parts_count = len(parts)
        for place, (weight, bias) in enumerate(parts):
            operation.parts[place] = _Part(self._address(weight), self._address(bias), weight.shape[axis])
        self._operations.append(operation)
        if target is None:
            self._result_width = operation.outputs

    def norm(self, source: int, target: int, module: nn.LayerNorm) -> None:
        """``target = module(source)``; both may be the same buffer."""
        operation = _Operation(_NORM, 0, source, target)
        operation.inputs = module.normalized_shape[0]
        operation.number = module.eps
        if module.weight is None or module.bias is None:
            raise Unsuitable("a norm without weight or bias")
        operation.parts[0] = _Part(self._address(module.weight), self._address(module.bias), operation.inputs)
        self._operations.append(operation)

    def attend_self(self, source: int, target: int, *, layer: int, heads: int, channels: int, scale: float) -> None:
        """Store key and value of the new token, attend to all so far; query, key, value lie side by side in source."""
        self._attend(_SELF, source, target, layer, heads, channels, scale)

    def attend_cross(self, source: int, target: int, *, layer: int, heads: int, channels: int, scale: float) -> None:
        """Attend from the query in source to the row's image."""
        self._attend(_CROSS, source, target, layer, heads, channels, scale)

    def _attend(self, kind: int, source: int, target: int, layer: int, heads: int, channels: int, scale: float) -> None:
        operation = _Operation(kind, 0, source, target)
        operation.inputs, operation.outputs, operation.layer, operation.number = heads, channels, layer, scale
        self._operations.append(operation)

    def run(self, embedded: Tensor, cache: DecoderCache) -> Tensor:
        """Run the operations for one new token a row.

        Args:
            embedded: (R, D), what goes into the first operation.
            cache: Holds the images and all tokens before; takes the new one.

        Returns:
            The logits, (R, V).

        Raises:
            MemoryError: There is none left.
        """
        rows = embedded.shape[0]
        if self._packed is None:
            self._packed = (_Operation * len(self._operations))(*self._operations)
            self._width = (self._width + 15) // 16 * 16
        if self._scratch is None or self._scratch.shape[0] < rows:
            self._scratch = torch.empty(rows, self._width)
        self._scratch[:rows, : self._embedded_width] = embedded
        logits = torch.empty(rows, self._result_width)
        keys, values = cache.room_for_token(rows)
        images, group = cache.images
        cross_keys = (ctypes.c_void_p * len(images))(*(one.data_ptr() for one, _ in images))
        cross_values = (ctypes.c_void_p * len(images))(*(one.data_ptr() for _, one in images))
        state = _State(
            self._scratch.data_ptr(),
            self._width,
            logits.data_ptr(),
            self._result_width,
            rows,
            keys.data_ptr(),
            values.data_ptr(),
            keys.shape[3],
            cache.length,
            ctypes.addressof(cross_keys),
            ctypes.addressof(cross_values),
            group,
            images[0][0].shape[2],
        )
        if self._compiled.v2s_run(self._packed, len(self._packed), ctypes.addressof(state), torch.get_num_threads()):
            raise MemoryError("No memory is left for a decoding step.")
        cache.advance(1)
        return logits
