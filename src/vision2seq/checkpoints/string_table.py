"""Keys and values of a sorted string table, the file format of LevelDB as TensorFlow writes it for a bundle's index.

From the end: a footer of 48 bytes with the place of the index block; the index block with the places of the data
blocks; data blocks. A block is a row of entries (how much of the last key is kept, what is added to it, the value), the
places of the entries that keep nothing, a byte that says how it is compressed, and a checksum.

Source: https://github.com/google/leveldb/blob/main/doc/table_format.md; TensorFlow's ``core/lib/io/format.h``.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

from vision2seq.checkpoints.crc32c import crc32c, masked
from vision2seq.checkpoints.protobuf import varint
from vision2seq.checkpoints.snappy import decompress

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5  # compression, checksum
_PLAIN, _SNAPPY = 0, 1
_LONGEST_KEY = 2048  # names of variables are shorter by far; a bound, since each key may repeat all of the one before


def read_table(data: bytes | mmap.mmap) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values, in the order of the keys.

    Args:
        data: The whole file.

    Raises:
        ValueError: These bytes are no such table; the text says where they stop being one.
    """
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise ValueError("it does not end as such a file does, so it is incomplete or of another kind")
    footer = data[-_FOOTER:]
    _, at = _handle(footer, 0)  # of the block about the file, which nobody writes anything into
    place, _ = _handle(footer, at)
    last = None
    for _, value in _entries(_block(data, place)):
        for key, content in _entries(_block(data, _handle(value, 0)[0])):
            if last is not None and key <= last:
                raise ValueError("its keys are not in order")
            yield key, content
            last = key


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """A block's offset and size."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: bytes | mmap.mmap, place: tuple[int, int]) -> bytes:
    offset, size = place
    end = offset + size
    if end + _TRAILER > len(data) - _FOOTER:
        raise ValueError(f"a block is said to lie at bytes {offset} to {end}, outside the file")
    kind, stored = data[end], int.from_bytes(data[end + 1 : end + _TRAILER], "little")
    if masked(crc32c(data[offset : end + 1])) != stored:
        raise ValueError(f"the block at byte {offset} does not match its checksum")
    if kind not in (_PLAIN, _SNAPPY):
        raise ValueError(f"the block at byte {offset} is compressed in the unknown way {kind}")
    return data[offset:end] if kind == _PLAIN else decompress(data[offset:end])


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if len(block) < 4 or end < 0:
        raise ValueError("a block is shorter than the list at its end")
    at, key = 0, b""
    while at < end:
        kept, at = varint(block, at)
        added, at = varint(block, at)
        size, at = varint(block, at)
        if kept > len(key) or at + added + size > end:
            raise ValueError("an entry reaches out of its block")
        if kept + added > _LONGEST_KEY:
            raise ValueError(f"a key has {kept + added} bytes; expected at most {_LONGEST_KEY}")
        key = key[:kept] + block[at : at + added]
        at += added
        yield key, block[at : at + size]
        at += size
