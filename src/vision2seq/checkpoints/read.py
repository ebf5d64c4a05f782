"""Every tensor of a set of weight files, one at a time, whatever their format."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vision2seq.checkpoints.find import WeightFiles
from vision2seq.checkpoints.pickle_reader import pickle_dtypes, read_pickle
from vision2seq.checkpoints.safetensors_reader import read_safetensors, safetensors_dtypes


def read_tensors(files: WeightFiles, *, will_copy: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of everything in the files.

    The tensors are private, copy-on-write views of the mapped files: they may be written to and trained without a file
    ever changing, and cost no memory until they are touched.

    Args:
        files: What :func:`~vision2seq.checkpoints.find.find_weights` found.
        will_copy: The caller keeps none of the tensors (casts them, or moves them to another device). Mapped pages are
            then given back from time to time, so that the peak is one copy and not two.

    Raises:
        CheckpointCorruptError: A file is truncated, garbled or of another format.
        UnsafePickleError: A pickle asks for code to be run; nothing of it was.
        UnsupportedError: Weights in the layout of another framework.
    """
    read = read_safetensors if files.format == "safetensors" else read_pickle
    weight_map = files.weight_map or {}
    for path in files.files:
        here = path.relative_to(files.index.parent).as_posix() if files.index else path.name
        for name, tensor in read(path, will_copy=will_copy):
            if weight_map.get(name, here) == here:  # a name that two shards hold: the index decides
                yield name, tensor


def stored_dtype(files: WeightFiles) -> torch.dtype | None:
    """Return the dtype of the first floating-point tensor in the files (what ``dtype="auto"`` means), None without one.

    Reads headers only. Raises what :func:`read_tensors` raises.
    """
    dtypes = safetensors_dtypes if files.format == "safetensors" else pickle_dtypes
    for path in files.files:
        for dtype in dtypes(path):
            if dtype.is_floating_point:
                return dtype
    return None
