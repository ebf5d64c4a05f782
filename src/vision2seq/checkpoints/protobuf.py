"""Fields of a protocol buffer message: number and value, without a schema.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, seven bits a byte and the lowest first, and where it ends.

    Raises:
        ValueError: It runs out of the data, or is longer than 64 bits.
    """
    value = shift = 0
    while shift < 64:
        if at >= len(data):
            raise ValueError("it ends in the middle of a number")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value & (2**64 - 1), at
        shift += 7
    raise ValueError("a number in it is longer than 64 bits")


def signed(value: int) -> int:
    """Read a 64-bit number as one that may be negative."""
    return value - 2**64 if value >= 2**63 else value


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field in order: an unsigned number, or the bytes of a text or inner message.

    Raises:
        ValueError: These bytes are no message.
    """
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _LENGTH:
            length, at = varint(message, at)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError(f"a message in it has a field of the unknown kind {kind}")
        if length > len(message) - at:
            raise ValueError("a message in it ends too early")
        content = message[at : at + length]
        at += length
        yield tag >> 3, content if kind == _LENGTH else int.from_bytes(content, "little")


def numbers(message: bytes) -> dict[int, int]:
    """Return the fields of a message that are numbers, the last of each."""
    return {number: value for number, value in fields(message) if isinstance(value, int)}


def inner(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the texts or messages that a field holds."""
    for found, value in fields(message):
        if found == number and isinstance(value, bytes):
            yield value
