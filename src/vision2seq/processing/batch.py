"""What processors and tokenizers return: a dict whose values can also be read as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Batch(dict[str, Any]):
    """Values by name, as ``batch["input_ids"]`` or ``batch.input_ids``.

    Args:
        data: The values.
        tensor_type: ``"pt"`` or ``"np"`` to convert them, ``None`` to leave them.
    """

    def __init__(self, data: Mapping[str, Any] | None = None, tensor_type: Any = None) -> None:
        super().__init__(data or {})
        self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}. It has: {', '.join(self)}.") from None

    @property
    def data(self) -> dict[str, Any]:
        """The values as a dict, which is this object."""
        return self

    def convert_to_tensors(self, tensor_type: Any = None) -> Batch:
        """Convert the values in place, as the kind of batch does."""
        raise NotImplementedError
