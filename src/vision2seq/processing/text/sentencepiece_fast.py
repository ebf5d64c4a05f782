"""SentencePiece models as the tokenizers library splits with them, which is how transformers' fast classes do.

The library and sentencepiece itself differ on a few texts: odd spaces, symbols of the user within words, normalising
across combined characters. Kinds that transformers knows no fast class of follow sentencepiece: `sentencepiece_exact`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.files import SENTENCEPIECE_NAMES, TokenizerFiles
from vision2seq.processing.text.sentencepiece_model import (
    BPE,
    CONTROL,
    UNIGRAM,
    USER_DEFINED,
    SentencePieceModel,
    read_model,
)

SPACE = "▁"
Pieces = list[tuple[str, float]]


def find_model(files: TokenizerFiles, name: str) -> SentencePieceModel:
    """Read the SentencePiece model of a folder.

    Args:
        files: The folder's.
        name: What the kind of tokenizer calls it; other kinds' names serve as well.

    Raises:
        TokenizerError: It is not there, damaged, or of a type that cannot be used.
    """
    return read_sentencepiece(files.path(name, *SENTENCEPIECE_NAMES))


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a SentencePiece model that can be split with.

    Raises:
        TokenizerError: It is damaged, or of a type that cannot be used.
    """
    source = read_model(path.read_bytes(), str(path))
    if source.model_type not in (UNIGRAM, BPE):
        raise TokenizerError(
            f"{path} is a SentencePiece model of type {source.model_type}. Expected {UNIGRAM} (unigram) or {BPE} (BPE)."
        )
    return source


def build_backend(source: SentencePieceModel, pieces: Pieces, unk_id: int, options: Mapping[str, Any]) -> Backend:
    """Make a tokenizer from a model.

    Args:
        source: The model.
        pieces: Text and score of every token, in the order of the ids that they shall have.
        unk_id: The id of the unknown one.
        options: ``add_prefix_space``.

    Raises:
        TokenizerError: The model's parts contradict each other.
    """
    try:
        if source.model_type == UNIGRAM:
            backend = Backend(models.Unigram(pieces, unk_id=unk_id, byte_fallback=False))
        else:
            vocab = {text: index for index, (text, _) in enumerate(pieces)}
            backend = Backend(models.BPE(vocab, _merges(pieces, source), unk_token=source.unk_piece, fuse_unk=True))
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(
            f"The SentencePiece model contradicts itself: {error}. Restore or download it again."
        ) from None
    backend.add_tokens(
        [
            AddedToken(text, normalized=False, special=kind == CONTROL)
            for text, _, kind in source.pieces
            if kind in (CONTROL, USER_DEFINED)
        ]
    )
    backend.normalizer = normalizers.Sequence(
        [
            *precompiled(source),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), SPACE),
        ]
    )
    prefix = "always" if options.get("add_prefix_space", True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=prefix)
    backend.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme=prefix)
    return backend


def precompiled(source: SentencePieceModel) -> list[normalizers.Normalizer]:
    """The model's own normaliser, if it has one.

    Raises:
        TokenizerError: It is damaged.
    """
    if not source.charsmap:
        return []
    try:
        return [normalizers.Precompiled(source.charsmap)]
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(f"The normaliser in {source.name} cannot be read: {error}.") from None


def _merges(pieces: Pieces, source: SentencePieceModel) -> list[tuple[str, str]]:
    """The merges that a BPE model implies: all ways to make a piece of two others, the best scored piece first."""
    rank = {text: index for index, (text, _, _) in enumerate(source.pieces)}
    found: list[tuple[float, int, int, str, str]] = []
    for text, score in dict(pieces).items():
        splits = [(text[:at], text[at:]) for at in range(1, len(text))]
        known = [pair for pair in splits if pair[0] in rank and pair[1] in rank]
        known.sort(key=lambda pair: (rank[pair[0]], rank[pair[1]]))
        found += [(score, len(left), len(right), left, right) for left, right in known]
    found.sort(key=lambda merge: merge[:3], reverse=True)
    return [(left, right) for *_, left, right in found]
