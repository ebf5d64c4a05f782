"""Bytes of a weight file as tensors, without reading them before somebody looks."""

from __future__ import annotations

import io
import mmap
import os

import torch
from torch import Tensor

RELEASE_BYTES = 64 * 2**20
"""How much of a mapped file may stay in memory before its pages are given back, when the caller copies everything."""

_ALIGNMENT = 8  # of the widest numbers; half of a complex one counts
_WORTH_A_MAPPING = 64 * 2**10  # bytes


class MappedFile:
    """Private views of a file: they may be written to, which copies the page and leaves the file alone."""

    def __init__(self, file: io.BufferedReader, *, will_copy: bool = False, apart: bool = False) -> None:
        """Map nothing yet.

        Args:
            file: Open for reading in binary; has to stay open.
            will_copy: The caller keeps none of the tensors, so that pages can be given back from time to time.
            apart: Give each tensor a mapping of its own, which goes with it, and copy small ones: for files of which
                the caller keeps some tensors and turns others into another layout.
        """
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._will_copy = will_copy
        self._apart = apart
        self._served = 0
        self._map: mmap.mmap | None = None

    def read(self, start: int, length: int, alignment: int = _ALIGNMENT) -> Tensor:
        """Return bytes of the file (uint8): mapped where they lie as numbers have to, copied where they do not.

        Args:
            start: The first byte.
            length: How many.
            alignment: What ``start`` has to be a multiple of to be mapped.

        Raises:
            ValueError: The file ends before.
        """
        if not length:
            return torch.empty(0, dtype=torch.uint8)
        if start + length > self._size:
            raise ValueError(f"it has {self._size} bytes, and its numbers would reach to byte {start + length}")
        if start % alignment or (self._apart and length < _WORTH_A_MAPPING):
            tensor = torch.empty(length, dtype=torch.uint8)
            self._file.seek(start)
            if self._file.readinto(memoryview(tensor.numpy().data)) != length:
                raise OSError("the file has become shorter while it was read")
            return tensor
        if self._apart:
            skipped = start % mmap.ALLOCATIONGRANULARITY
            own = mmap.mmap(self._file.fileno(), skipped + length, access=mmap.ACCESS_COPY, offset=start - skipped)
            return torch.frombuffer(own, dtype=torch.uint8, count=length, offset=skipped)
        if self._map is None or (self._will_copy and self._served > RELEASE_BYTES):
            # The old mapping goes with its last tensor.
            self._map, self._served = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY), 0
        self._served += length
        return torch.frombuffer(self._map, dtype=torch.uint8, count=length, offset=start)
