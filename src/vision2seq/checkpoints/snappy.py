"""Decompressing a block of Snappy.

Source: https://github.com/google/snappy/blob/main/format_description.txt.
"""

from __future__ import annotations

from vision2seq.checkpoints.protobuf import varint

_MOST_FROM_THREE_BYTES = 64  # what an element of three bytes can stand for, and none stands for more a byte


def decompress(data: bytes) -> bytes:
    """Return what a block stands for.

    Raises:
        ValueError: These bytes are no Snappy block.
    """
    length, at = varint(data, 0)
    if length > (len(data) - at) * _MOST_FROM_THREE_BYTES:
        raise ValueError(f"a compressed block of {len(data)} bytes claims to hold {length}")
    found = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:  # bytes as they are
            count = tag >> 2
            if count >= 60:  # the length stands in the next one to four bytes
                size = count - 59
                count = int.from_bytes(data[at : at + size], "little")
                at += size
            literal = data[at : at + count + 1]
            if len(literal) != count + 1:
                raise ValueError("a compressed block ends too early")
            found += literal
            at += count + 1
        else:  # bytes that were there before
            size = (0, 1, 2, 4)[tag & 3]
            back = int.from_bytes(data[at : at + size], "little")
            count = (tag >> 2) + 1
            if tag & 3 == 1:
                back |= (tag >> 5) << 8
                count = (tag >> 2 & 7) + 4
            at += size
            if at > len(data) or not 0 < back <= len(found):
                raise ValueError("a compressed block refers to bytes before its beginning")
            start = len(found) - back
            if count <= back:
                found += found[start : start + count]
            else:  # what is copied is part of what it makes
                pattern = found[start:]
                found += (pattern * (count // back + 1))[:count]
        if len(found) > length:
            break
    if len(found) != length:
        raise ValueError(f"a compressed block claims to hold {length} bytes and holds {len(found)}")
    return bytes(found)
