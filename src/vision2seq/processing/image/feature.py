"""What an image processor returns: arrays by name, which become tensors and move to devices together."""

from __future__ import annotations

from typing import Any

import numpy as np

from vision2seq.errors import OptionError
from vision2seq.processing.batch import Batch
from vision2seq.processing.image.ops import Pixels


class BatchFeature(Batch):
    """What an image processor returns.

    Args:
        data: The values, as ``{"pixel_values": …}``.
        tensor_type: ``"pt"`` or ``"np"`` to convert lists of arrays, ``None`` to leave them.
    """

    def convert_to_tensors(self, tensor_type: Any = None) -> BatchFeature:
        """Convert lists of arrays into batches, in place.

        Args:
            tensor_type: ``"pt"``, ``"np"`` or ``None``.

        Raises:
            OptionError: Another type, or arrays of different shapes.
        """
        kind = tensor_kind(tensor_type)
        if kind is not None:
            for key, value in self.items():
                if isinstance(value, (list, np.ndarray)):
                    self[key] = _as_tensor(_stack(value) if isinstance(value, list) else value, kind)
        return self

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """Move tensors to a device, cast those of floats to a dtype, in place.

        Args:
            args: A device, a dtype, or both, as ``Tensor.to`` takes them.
            kwargs: ``device``, ``dtype``, ``non_blocking``, likewise.

        Returns:
            This object.

        Raises:
            OptionError: The first argument is neither a device nor a dtype.
        """
        import torch  # here, so that making a batch of numpy arrays needs none

        if args and not isinstance(args[0], (str, int, torch.device, torch.dtype)):
            raise OptionError(f"Cannot move a batch to {args[0]!r}. Expected a device or a dtype.")
        device = kwargs.get("device")
        if device is None and args and not isinstance(args[0], torch.dtype):
            device = args[0]
        for key, value in self.items():
            if not isinstance(value, torch.Tensor):
                continue
            if value.is_floating_point():
                self[key] = value.to(*args, **kwargs)
            elif device is not None:  # ids and masks stay integers
                self[key] = value.to(device=device, non_blocking=kwargs.get("non_blocking", False))
        return self


def tensor_kind(value: Any) -> str | None:
    """The kind of tensors that ``return_tensors`` asks for: ``"pt"``, ``"np"`` or ``None``.

    Raises:
        OptionError: Another one.
    """
    value = getattr(value, "value", value)  # an enum member of transformers
    if value not in (None, "pt", "np"):
        raise OptionError(f"return_tensors is {value!r}. Expected 'pt', 'np' or None.")
    return None if value is None else str(value)


def _stack(arrays: list[Any]) -> Pixels:
    shapes = sorted({tuple(np.shape(array)) for array in arrays})
    if len(shapes) > 1:
        raise OptionError(
            f"Images of different shapes cannot be one batch: {', '.join(map(str, shapes))}. "
            "Let the processor resize them (do_resize=True) or pass return_tensors=None for a list."
        )
    return np.stack(arrays)


def _as_tensor(batch: Pixels, kind: str) -> Any:
    if kind == "np":
        return batch
    import torch

    return torch.from_numpy(batch)
