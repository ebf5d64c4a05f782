"""The compiled code: what it is told with, and where it is. The structures are those of `native/program.h`."""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
from pathlib import Path
from typing import Any

FLOAT32, BFLOAT16, INT8 = range(3)


class Part(ctypes.Structure):
    """A weight matrix with its bias, a table, or the numbers of a norm."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("format", ctypes.c_int64),
    )


class Operation(ctypes.Structure):
    """One step of the way from tokens to logits."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("activation", ctypes.c_int32),
        ("source", ctypes.c_int64),
        ("target", ctypes.c_int64),
        ("added", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("layer", ctypes.c_int64),
        ("number", ctypes.c_float),
        ("transposed", ctypes.c_int32),
        ("parts_count", ctypes.c_int32),
        ("parts", Part * 3),
    )


class State(ctypes.Structure):
    """Where one generation keeps what it has."""

    _fields_ = (
        ("tokens", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("result", ctypes.c_void_p),
        ("result_width", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("slots_count", ctypes.c_int64),
        ("capacity", ctypes.c_int64),
        ("slots", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("cross_keys", ctypes.c_void_p),
        ("cross_values", ctypes.c_void_p),
        ("cross_format", ctypes.c_int64),
        ("group", ctypes.c_int64),
        ("sights", ctypes.c_int64),
    )


class Greedy(ctypes.Structure):
    """Several steps in one call."""

    _fields_ = (
        ("steps", ctypes.c_int64),
        ("tokens", ctypes.c_void_p),
        ("logprobs", ctypes.c_void_p),
        ("ends", ctypes.c_void_p),
        ("ends_count", ctypes.c_int64),
        ("done", ctypes.c_void_p),
    )


@functools.cache
def library() -> Any:
    """The compiled code, or None where the package was built without it."""
    folder = Path(__file__).parent
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = folder / f"_program{suffix}"
        if not path.is_file():
            continue
        try:
            found = ctypes.CDLL(str(path))
            sizes = (ctypes.c_int64 * 4)()
            found.v2s_layout(sizes)
        except (OSError, AttributeError):
            continue
        found.v2s_isa.restype = ctypes.c_char_p
        found.v2s_run.restype = ctypes.c_int64
        found.v2s_run.argtypes = (
            ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32
        )  # fmt: skip
        if list(sizes) == [ctypes.sizeof(kind) for kind in (Part, Operation, State, Greedy)]:
            _lend_threads(found)
            return found
    return None


def _lend_threads(compiled: Any) -> None:
    """Let the compiled code run on torch's own threads, which are those of the OpenMP runtime that torch has loaded."""
    process = ctypes.CDLL(None)
    try:
        names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
        functions = [ctypes.cast(getattr(process, name), ctypes.c_void_p) for name in names]
    except AttributeError:
        return  # another runtime: one thread does it all
    compiled.v2s_use_openmp(*functions)


def instruction_set() -> str | None:
    """Which instructions the compiled code uses here: ``"avx512vnni"``, ``"avx512"``, ``"avx2"``, ``"portable"``; None
    without it."""
    compiled = library()
    return None if compiled is None else compiled.v2s_isa().decode()
