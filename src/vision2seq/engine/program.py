"""A decoder's step for one new token a row, as a list of operations that compiled code runs in one call.

The Python of a family says which operations, once a generation; `native/program.cpp` runs them. It reads the modules'
own parameters where they lie, so whoever changes those in place changes what comes out. Without the compiled library
(no compiler when the package was built) the modules run.

R rows, V vocabulary, N steps.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vision2seq.engine.library import BFLOAT16, FLOAT32, Greedy, Operation, Part, State, library
from vision2seq.layers.activations import ACTIVATIONS
from vision2seq.layers.cache import Places
from vision2seq.models.decoders.gpt2 import Conv1D

_LINEAR, _NORM, _SELF, _CROSS, _EMBED = range(5)
_NUMBERS = ("identity", "relu", "gelu", "gelu_new", "silu", "quick_gelu", "tanh", "sigmoid")
_ACTIVATIONS: dict[Callable[[Tensor], Tensor] | None, int] = {
    None if name == "identity" else ACTIVATIONS[name]: number for number, name in enumerate(_NUMBERS)
}
_ACTIVATIONS[ACTIVATIONS["gelu_pytorch_tanh"]] = _NUMBERS.index("gelu_new")
_FORMATS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}
_RESULT = -1


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
        self._operations: list[Operation] = []
        self._packed: ctypes.Array[Operation] | None = None
        self._result_width = 0
        self._vocabulary = 0
        self._kept: list[Tensor] = []  # parameters whose addresses are in the operations
        self._scratch: Tensor | None = None
        self._logits: Tensor | None = None

    def buffer(self, width: int) -> int:
        """Make room for ``width`` numbers a row."""
        # Rows start at a multiple of 64 bytes where the memory does.
        place = self._width = (self._width + 15) // 16 * 16
        self._width += width
        return place

    def _address(self, tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> int | None:
        if tensor is None:
            return None
        if tensor.dtype != dtype or tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise Unsuitable("parameters must be contiguous float32 in the memory of the CPU")
        self._kept.append(tensor.detach())
        return tensor.data_ptr()

    def _part(self, module: Any) -> Part:
        bias = self._address(getattr(module, "bias", None))
        if (form := getattr(module, "format", None)) is not None:  # packed, see `engine.packed`
            weight = self._address(module.weight, module.weight.dtype)
            scales, sums = self._address(module.scales), self._address(module.sums, torch.int32)
            return Part(weight, bias, scales, sums, module.outputs, form)
        outputs = module.weight.shape[1 if isinstance(module, Conv1D) else 0]
        return Part(self._address(module.weight), bias, None, None, outputs, FLOAT32)

    def embed(
        self,
        target: int,
        table: Any,
        positions: Tensor | None,
        *,
        first: int = 0,
        padding: int | None = None,
        scale: float = 1.0,
        extra: Tensor | None = None,
    ) -> None:
        """``target = scale * table[token] + extra + positions[first + tokens before it]``.

        Args:
            target: Buffer.
            table: An embedding (V, D).
            positions: (positions, D).
            first: The row of ``positions`` for a text's first token.
            padding: A token whose position is the row of that number, whatever stands before it.
            scale: What the tokens' embeddings are multiplied with.
            extra: (D,), such as a token type.
        """
        operation = Operation(_EMBED, 0, 0, target)
        operation.added = -1 if padding is None else padding
        operation.layer, operation.number = first, scale
        operation.parts[0] = self._part(table)
        operation.parts[1].weight = self._address(positions)
        operation.parts[2].weight = self._address(extra)
        operation.inputs = table.embedding_dim
        self._vocabulary = operation.parts[0].outputs
        self._operations.append(operation)

    def linear(
        self,
        source: int,
        target: int | None,
        *modules: nn.Module,
        activation: Callable[[Tensor], Tensor] | None = None,
        added: int | None = None,
    ) -> None:
        """``target = activation(module(source)) + added``.

        Args:
            source: Buffer.
            target: Buffer, or None for the logits.
            modules: One to three linear layers, whose results lie side by side.
            activation: One of `layers.activations`, or None.
            added: Buffer to add.

        Raises:
            Unsuitable: The compiled code has no such activation, dtype or memory order.
        """
        if activation not in _ACTIVATIONS:
            raise Unsuitable("an activation that the compiled code does not have")
        operation = Operation(_LINEAR, _ACTIVATIONS[activation], source, _RESULT if target is None else target)
        operation.added = -1 if added is None else added
        operation.transposed = isinstance(modules[0], Conv1D)
        first: Any = modules[0]
        operation.inputs = first.in_features if hasattr(first, "in_features") else first.weight.shape[0]
        operation.parts_count = len(modules)
        for place, module in enumerate(modules):
            operation.parts[place] = self._part(module)
            operation.outputs += operation.parts[place].outputs
        self._operations.append(operation)
        if target is None:
            self._result_width = operation.outputs

    def norm(self, source: int, target: int, module: nn.LayerNorm) -> None:
        """``target = module(source)``; both may be the same buffer."""
        operation = Operation(_NORM, 0, source, target)
        operation.inputs = module.normalized_shape[0]
        operation.number = module.eps
        if module.weight is None or module.bias is None:
            raise Unsuitable("a norm without weight or bias")
        operation.parts[0] = self._part(module)
        self._operations.append(operation)

    def attend_self(self, source: int, target: int, *, layer: int, heads: int, channels: int, scale: float) -> None:
        """Store key and value of the new token, attend to all so far; query, key, value lie side by side in source."""
        self._attend(_SELF, source, target, layer, heads, channels, scale)

    def attend_cross(self, source: int, target: int, *, layer: int, heads: int, channels: int, scale: float) -> None:
        """Attend from the query in source to the row's image."""
        self._attend(_CROSS, source, target, layer, heads, channels, scale)

    def _attend(self, kind: int, source: int, target: int, layer: int, heads: int, channels: int, scale: float) -> None:
        operation = Operation(kind, 0, source, target)
        operation.inputs, operation.outputs, operation.layer, operation.number = heads, channels, layer, scale
        self._operations.append(operation)

    def step(self, tokens: Tensor, places: Places) -> Tensor:
        """Run the operations for one new token a row.

        Args:
            tokens: (R,) ids.
            places: Of the images and all tokens before; there is room for the new one.

        Returns:
            The logits, (R, V).

        Raises:
            IndexError: A token that the vocabulary does not have.
            MemoryError: There is none left.
        """
        logits = torch.empty(tokens.shape[0], self._result_width)
        self._run(tokens, places, logits, None)
        return logits

    def greedy(
        self, tokens: Tensor, places: Places, steps: int, ends: Sequence[int], running: Sequence[bool]
    ) -> tuple[Tensor, Tensor]:
        """Go on from the likeliest token each time.

        Args:
            tokens: (R,) ids.
            places: As in `step`, with room for so many steps.
            steps: At most so many; fewer if all rows end before.
            ends: Tokens that end a row.
            running: Which rows have not ended.

        Returns:
            What each step found and its log-probability by the plain softmax, (N, R) both.

        Raises:
            IndexError: As in `step`.
            MemoryError: As in `step`.
        """
        rows = tokens.shape[0]
        if self._logits is None or self._logits.shape[0] < rows:
            self._logits = torch.empty(rows, self._result_width)
        found = torch.empty(steps, rows, dtype=torch.long)
        logprobs = torch.empty(steps, rows)
        last = (ctypes.c_int64 * len(ends))(*ends)
        done = (ctypes.c_uint8 * rows)(*(not runs for runs in running))
        greedy = Greedy(
            steps,
            found.data_ptr(),
            logprobs.data_ptr(),
            ctypes.addressof(last),
            len(ends),
            ctypes.addressof(done),
        )
        count = self._run(tokens, places, self._logits, greedy)
        return found[:count], logprobs[:count]

    def apply(self, values: Tensor) -> Tensor:
        """Run operations that need no cache on what buffer 0 takes, (R, D); returns the result, (R, V)."""
        assert self._compiled is not None
        result = torch.empty(values.shape[0], self._result_width)
        scratch = self._room(values.shape[0])
        scratch[: values.shape[0], : self._embedded_width] = values
        state = State(None, scratch.data_ptr(), self._width, result.data_ptr(), self._result_width, values.shape[0])
        state.group = 1
        self._call(state, None)
        return result

    def _run(self, tokens: Tensor, places: Places, logits: Tensor, greedy: Greedy | None) -> int:
        rows = tokens.shape[0]
        tokens = tokens.contiguous()
        if rows and not 0 <= int(tokens.min()) <= int(tokens.max()) < self._vocabulary:
            raise IndexError(
                f"Found the tokens {tokens.tolist()}, expected 0 to {self._vocabulary - 1}, the vocabulary's. Give a "
                "pad_token_id and decoder_start_token_id that are in it."
            )
        scratch = self._room(rows)
        keys, images = places.keys, places.images
        cross_keys = (ctypes.c_void_p * len(images))(*(one.data_ptr() for one, _ in images))
        cross_values = (ctypes.c_void_p * len(images))(*(one.data_ptr() for _, one in images))
        state = State(
            tokens.data_ptr(),
            scratch.data_ptr(),
            self._width,
            logits.data_ptr(),
            self._result_width,
            rows,
            keys.data_ptr(),
            places.values.data_ptr(),
            keys.shape[1],
            keys.shape[3],
            places.slots.data_ptr(),
            places.lengths.data_ptr(),
            ctypes.addressof(cross_keys),
            ctypes.addressof(cross_values),
            _FORMATS[images[0][0].dtype],
            places.group,
            images[0][0].shape[2],
        )
        return self._call(state, greedy)

    def _room(self, rows: int) -> Tensor:
        if self._packed is None:
            self._packed = (Operation * len(self._operations))(*self._operations)
            self._width = (self._width + 15) // 16 * 16
        if self._scratch is None or self._scratch.shape[0] < rows:
            self._scratch = torch.empty(rows, self._width)
        return self._scratch

    def _call(self, state: State, greedy: Greedy | None) -> int:
        assert self._compiled is not None
        after = None if greedy is None else ctypes.addressof(greedy)
        steps = self._compiled.v2s_run(
            self._packed, len(self._operations), ctypes.addressof(state), after, torch.get_num_threads()
        )
        if steps < 0:
            raise MemoryError("No memory is left for a decoding step.")
        return int(steps)
