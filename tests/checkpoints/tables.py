"""Writers of the formats that this package only reads, simple and slow: for files that TensorFlow would not write."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def crc32c(data: bytes) -> int:
    """Bit by bit, as the definition has it."""
    value = 0xFFFFFFFF
    for octet in data:
        value ^= octet
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(value: int) -> bytes:
    value %= 2**64
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed32(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 5) + value


def entry(
    dtype: int, shape: Iterable[int], offset: int, size: int, checksum: bytes, *, shard: int = 0, more: bytes = b""
) -> bytes:
    """A BundleEntryProto."""
    axes = b"".join(field(2, field(1, axis)) for axis in shape)
    place = field(3, shard) + field(4, offset) + field(5, size)
    return field(1, dtype) + field(2, axes) + place + fixed32(6, checksum) + more


def snappy(data: bytes) -> bytes:
    """Compressed in name only: literals."""
    found = varint(len(data))
    for start in range(0, len(data), 60):
        part = data[start : start + 60]
        found += bytes([(len(part) - 1) << 2]) + part
    return found


def block(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Entries with shared beginnings, and one restart."""
    found, last = b"", b""
    for key, value in entries:
        kept = 0
        while kept < min(len(last), len(key)) and last[kept] == key[kept]:
            kept += 1
        found += varint(kept) + varint(len(key) - kept) + varint(len(value)) + key[kept:] + value
        last = key
    return found + struct.pack("<II", 0, 1)


def table(entries: Iterable[tuple[bytes, bytes]], *, compressed: bool = False, kind: int | None = None) -> bytes:
    """A sorted string table of one data block an entry or two."""
    rows, data, places = list(entries), b"", []

    def put(content: bytes) -> bytes:
        nonlocal data
        stored = snappy(content) if compressed else content
        tag = bytes([int(compressed) if kind is None else kind])
        handle = varint(len(data)) + varint(len(stored))
        data += stored + tag + masked(stored + tag)
        return handle

    for start in range(0, len(rows), 2):
        part = rows[start : start + 2]
        places.append((part[-1][0], put(block(part))))
    footer = put(block([])) + put(block(places))
    return data + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


HEADER = field(1, 1) + field(3, field(1, 1))
