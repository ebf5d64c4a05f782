"""Bytes of a weight file as tensors, without reading them before somebody looks."""

from __future__ import annotations

import io
import mmap

import torch
from torch import Tensor

RELEASE_BYTES = 64 * 2**20
"""How much of a mapped file may stay in memory before its pages are given back, when the caller copies everything."""

_ALIGNMENT = 8  # of the widest numbers; half of a complex one counts


class MappedFile:
    """Private views of a file: they may be written to, which copies the page and leaves the file alone."""

    def __init__(self, file: io.BufferedReader, *, will_copy: bool = False) -> None:
        """Map nothing yet.

        Args:
            file: Open for reading in binary; has to stay open.
            will_copy: The caller keeps none of the tensors, so that pages can be given back from time to time.
        """
        self._file = file
        self._will_copy = will_copy
        self._served = 0
        self._map: mmap.mmap | None = None

    def read(self, start: int, length: int) -> Tensor:
        """Return bytes of the file (uint8): mapped where they lie as numbers have to, copied where they do not."""
        if not length:
            return torch.empty(0, dtype=torch.uint8)
        if start % _ALIGNMENT:
            tensor = torch.empty(length, dtype=torch.uint8)
            self._file.seek(start)
            if self._file.readinto(memoryview(tensor.numpy().data)) != length:
                raise OSError("the file has become shorter while it was read")
            return tensor
        if self._map is None or (self._will_copy and self._served > RELEASE_BYTES):
            # The old mapping goes with its last tensor.
            self._map, self._served = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY), 0
        self._served += length
        return torch.frombuffer(self._map, dtype=torch.uint8, count=length, offset=start)
