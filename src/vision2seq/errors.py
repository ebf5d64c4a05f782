"""Every exception that this package raises on purpose.

Each one says what was found, what was expected and what to do, and subclasses what transformers raises in the same
place, so that ``except`` clauses written for it go on working::

    Vision2SeqError
    ├── NotInstantiableError      OSError       Auto* classes called with ()
    ├── CheckpointNotFoundError   OSError       a folder, file, repository or shard that is not there
    │   ├── AccessDeniedError                   … or may not be seen: gated, private, or a token that is refused
    │   └── NotCachedError                      … or not in the cache, while no server can or may be asked
    ├── DownloadError             OSError       a file that is there and could not be fetched whole, or not kept
    ├── CheckpointCorruptError    OSError       a file that is there and cannot be read as what it claims to be
    │   └── UnsafePickleError                   a pickle that asks for code to be run
    ├── WeightsMismatchError      RuntimeError  tensors whose shapes disagree with the config
    ├── RemoteCodeError           ValueError    code of a checkpoint that is not trusted, or cannot be run
    ├── ConfigError               ValueError    a config that names no known model, or contradicts itself
    ├── OptionError               ValueError    an argument with a value that cannot be honoured
    │   └── UnknownOptionError    TypeError     an argument that nobody knows
    ├── ImageError                ValueError, OSError    something that is not a readable image
    ├── TokenizerError            ValueError, OSError    tokenizer files that are missing or contradict themselves
    ├── TrainingDataError         ValueError    a data set that cannot be trained on
    ├── TrainingError             RuntimeError  a training that cannot go on
    ├── MissingPackageError       ImportError   an optional package that is not installed
    └── UnsupportedError          NotImplementedError    known, but not built here
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Vision2SeqError(Exception):
    """Root of all exceptions raised by this package."""


class NotInstantiableError(Vision2SeqError, OSError):
    """An ``Auto…`` class was called instead of its ``from_pretrained()`` or ``from_config()``."""


class CheckpointNotFoundError(Vision2SeqError, OSError):
    """A checkpoint folder, or a file that it must hold, does not exist."""


class AccessDeniedError(CheckpointNotFoundError):
    """A repository is gated or private, or the token is refused; private ones look like ones that do not exist."""


class NotCachedError(CheckpointNotFoundError):
    """Files are not in the cache, and no server could be asked for them, or none was to be."""


class DownloadError(Vision2SeqError, OSError):
    """A file exists on a server but could not be fetched whole, or could not be written to the cache."""


class CheckpointCorruptError(Vision2SeqError, OSError):
    """A checkpoint file exists but is truncated, garbled or of another format."""


class UnsafePickleError(CheckpointCorruptError):
    """A pickle asks to import or call something that is no tensor; nothing of it was run."""


class WeightsMismatchError(Vision2SeqError, RuntimeError):
    """Tensors of a checkpoint have other shapes than the config asks for."""


class RemoteCodeError(Vision2SeqError, ValueError):
    """A checkpoint brings code of its own that nobody allowed to run, or that cannot be run."""


class ConfigError(Vision2SeqError, ValueError):
    """A configuration names no known model, lacks something needed, or contradicts itself."""


class OptionError(Vision2SeqError, ValueError):
    """An argument has a value that cannot be honoured."""


class UnknownOptionError(OptionError, TypeError):
    """An argument that no part of the call knows."""


class ImageError(Vision2SeqError, ValueError, OSError):
    """The input cannot be read as an image."""


class TokenizerError(Vision2SeqError, ValueError, OSError):
    """Tokenizer files are missing, unreadable or contradict each other."""


class TrainingDataError(Vision2SeqError, ValueError):
    """A data set is missing images or texts, or holds rows that cannot be used."""


class TrainingError(Vision2SeqError, RuntimeError):
    """A training cannot go on: its numbers are no longer finite, or its saved state does not fit."""


class MissingPackageError(Vision2SeqError, ImportError):
    """What was asked for needs an optional package that is not installed."""


class UnsupportedError(Vision2SeqError, NotImplementedError):
    """Something known that this package does not do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name closest to ``name``, or ``""`` if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
