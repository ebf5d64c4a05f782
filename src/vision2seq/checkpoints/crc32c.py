"""CRC-32C of large arrays, by numpy alone.

A checksum is a remainder modulo a polynomial, and the polynomial of CRC-32C divides x^5685 + x^1362 + x^426 + 1. So
what stands 5685 units before the end of the data may be moved on, by exclusive or, to where 1362, 426 and 0 units are
left, and the remainder stays. Squaring doubles every exponent and leaves the sum a multiple, so that a unit may be a
byte or a word as well as a bit. Moving takes three exclusive ors a word, over thousands of words at once; what is left
is summed bit by bit from a table of powers. Some 2 GB a second, in half a megabyte of working memory.

Source: Castagnoli et al., "Optimization of Cyclic Redundancy-Check Codes with 24 and 32 Parity Bits"; RFC 3720, B.4.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78  # without x^32, lowest bit first
_DEGREE = 5685
_MOVES = (_DEGREE - 1362, _DEGREE - 426, _DEGREE)  # how far ahead, in units
_STEP = _MOVES[0]  # so many units do not reach each other
_STEPS_AT_ONCE = 8  # keeps the working memory within a processor's cache
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8
_FOUR_ZEROS = np.zeros(4, np.uint8)  # make room for the remainder


def crc32c(data: Any) -> int:
    """Return the checksum of anything with a contiguous buffer, such as bytes, a memory map or a numpy array."""
    octets = np.frombuffer(data, dtype=np.uint8)
    if len(octets) >= 8:
        words = octets[: len(octets) // 8 * 8].view("<u8")
        octets = np.concatenate([_folded(words, _ONES).view(np.uint8), octets[len(words) * 8 :], _FOUR_ZEROS])
    else:
        octets = np.concatenate([octets, _FOUR_ZEROS])
        octets[:4] ^= 0xFF
    return _ONES ^ _remainder(_folded(octets))


def masked(checksum: int) -> int:
    """Return a checksum as TensorFlow stores it: data that holds its own checksum would check too easily."""
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & _ONES


def _folded(units: Any, flip: int = 0) -> Any:
    """Return at most 5685 units with the remainder of all; ``flip`` changes the first unit beforehand."""
    body, tail = units[: max(len(units) - _DEGREE, 0)], units[-_DEGREE:].copy()
    if not len(body):
        tail[0] ^= flip
        return tail
    # The last 5685 units that were moved on, and after them those that are being worked on.
    work = np.zeros(_DEGREE + _STEP * _STEPS_AT_ONCE, units.dtype)
    for start in range(0, len(body), _STEP * _STEPS_AT_ONCE):
        end = _DEGREE + min(len(body) - start, _STEP * _STEPS_AT_ONCE)
        work[_DEGREE:end] = body[start : start + end - _DEGREE]
        if not start:
            work[_DEGREE] ^= flip
        for left in range(_DEGREE, end, _STEP):
            right = min(left + _STEP, end)
            block = work[left:right]
            for move in _MOVES:
                block ^= work[left - move : right - move]
        work[:_DEGREE] = work[end - _DEGREE : end].copy()
    for move in _MOVES:
        tail[:move] ^= work[_DEGREE - move : _DEGREE]
    return tail


def _remainder(octets: Any) -> int:
    bits = np.unpackbits(octets, bitorder="little")
    return int(np.bitwise_xor.reduce(_powers()[-len(bits) :] * bits))


@functools.cache
def _powers() -> Any:
    """Remainders of x^n, the highest first, n from that of the first bit of 5689 bytes down to 0."""
    powers = np.empty((_DEGREE + 4) * 8, np.uint32)
    value = 1 << 31
    for index in range(len(powers)):
        powers[-1 - index] = value
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return powers
