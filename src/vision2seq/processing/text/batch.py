"""What a tokenizer returns: a dict of id lists, arrays or tensors that can also be read by attribute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vision2seq.errors import OptionError, TokenizerError
from vision2seq.processing.batch import Batch


class BatchEncoding(Batch):
    """Ids and masks of one text or a batch of texts.

    Args:
        data: Lists of ints (one text) or lists of lists (a batch).
        tensor_type: ``"pt"`` or ``"np"`` to convert them, ``None`` to leave them.

    Raises:
        OptionError: Another tensor type, or rows of different lengths.
    """

    def convert_to_tensors(self, tensor_type: Any = None) -> BatchEncoding:
        """Convert every list into an int64 array or tensor, in place.

        Args:
            tensor_type: ``"pt"``, ``"np"`` or ``None``.

        Raises:
            OptionError: Another type, or rows of different lengths.
        """
        tensor_type = getattr(tensor_type, "value", tensor_type)  # an enum member of transformers
        if tensor_type is None:
            return self
        if tensor_type not in ("pt", "np"):
            raise OptionError(f"return_tensors is {tensor_type!r}. Expected 'pt', 'np' or None.")
        import numpy as np

        for key, rows in self.items():
            try:
                array = np.asarray(rows, dtype=np.int64)
            except ValueError:
                lengths = sorted({len(row) for row in rows})
                raise OptionError(
                    f"{key} has rows of different lengths, {lengths}, which cannot be one tensor. "
                    "Pass padding=True, and truncation=True if they may be cut."
                ) from None
            if tensor_type == "np":
                self[key] = array
            else:
                import torch  # here, so that a tokenizer without tensors needs none

                self[key] = torch.from_numpy(array)
        return self

    def to(self, device: Any, **kwargs: Any) -> BatchEncoding:
        """Move the tensors to a device, in place.

        Args:
            device: As ``Tensor.to`` takes it.
            kwargs: ``non_blocking``, likewise.

        Returns:
            This object.
        """
        for key, value in self.items():
            if hasattr(value, "to"):
                self[key] = value.to(device=device, **kwargs)
        return self


@contextmanager
def no_panic(action: str) -> Iterator[None]:
    """Turn a breakdown inside the tokenizers library, which ``except Exception`` lets through, into an error.

    Raises:
        TokenizerError: It broke down, as it does on some damaged normalisers and decoders.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the library exports no such class
            raise
        raise TokenizerError(
            f"The tokenizers library broke down while {action}: {error}. The tokenizer's files seem to be damaged. "
            "Restore or download them again."
        ) from None


def plain_ids(ids: Any) -> Any:
    """Arrays and tensors as lists, numbers of any kind as ints."""
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    if isinstance(ids, tuple):
        ids = list(ids)
    return ids


def checked_id(index: Any) -> int:
    if hasattr(index, "item"):
        index = index.item()
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 2**32:
        raise OptionError(
            f"{index!r} is no token id. Expected a number from 0 on; labels hold -100 where there is none, which "
            "pad_token_id has to replace before decoding."
        )
    return index
