"""What each token adds to a text, for rules about a text that is still to be written.

A token adds the same wherever it stands, but at the very beginning: "▁the" is "the" there and " the" later, WordPiece's
"the" likewise. Some tokens of byte vocabularies hold parts of characters, which only their neighbours complete.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as Backend

from vision2seq.errors import UnsupportedError


@dataclass(frozen=True)
class Spelling:
    """The texts of many tokens, laid out for fast passes over all of them.

    Attributes:
        ids: (N,), tokens of whole characters.
        codepoints: Of all their texts, one after the other.
        offsets: (N + 1,), where each text begins in ``codepoints``, and the end.
        ragged: Tokens that begin or end within a character, and their bytes.
    """

    ids: npt.NDArray[np.int64]
    codepoints: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]
    ragged: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Pieces:
    """What the tokens of a tokenizer add to a text. Special tokens, which add nothing, are not among them.

    Attributes:
        first: At the beginning of a text; here a text may be empty, where it is not later.
        later: Everywhere else.
        cleaned: Whether decoding then removes spaces before punctuation.
    """

    first: Spelling
    later: Spelling
    cleaned: bool


def look(decoder: Any) -> tuple[bool, bool]:
    """Whether a decoder turns each token into text that later ones do not change, and whether it joins byte tokens.

    Args:
        decoder: Its state, as tokenizer.json has it; None if there is none.
    """
    if decoder is None:
        return True, False
    kind = decoder["type"]
    if kind in ("ByteLevel", "Metaspace", "WordPiece", "BPEDecoder", "Fuse"):
        return True, False
    if kind != "Sequence":
        return False, False
    steps = decoder["decoders"]
    kinds = [step["type"] for step in steps]
    fused = False
    for step in steps:
        if step["type"] == "Fuse":
            fused = True
        elif step["type"] == "Strip":
            if step["stop"] or step["start"] > 1:
                return False, False
        elif (step["type"] == "Replace" and fused) or step["type"] not in ("Replace", "ByteFallback"):
            return False, False
    return True, "ByteFallback" in kinds


def is_byte(token: str) -> bool:
    """Whether a token is one of those that stand for a byte, as ``<0xE2>``."""
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def read_pieces(backend: Backend, silent: Iterable[int], cleaned: bool) -> Pieces:
    """Find out what each token adds to a text.

    Args:
        backend: The tokenizer.
        silent: Ids that decoding skips.
        cleaned: Whether decoding removes spaces before punctuation.

    Raises:
        UnsupportedError: With this decoder, that depends on other tokens.
    """
    state = None if backend.decoder is None else json.loads(backend.decoder.__getstate__())
    local, joins_bytes = look(state)
    kind = "none" if state is None else state["type"]
    if not local or kind == "BPEDecoder":
        raise UnsupportedError(
            f"The tokenizer's decoder {kind!r} lets later tokens change what earlier ones say, so it is not "
            "known beforehand what a token adds to a text. A list of choices can be asked for, a pattern cannot."
        )
    skipped = set(silent)
    tokens = {index: token for token, index in backend.get_vocab(True).items() if index not in skipped}
    order = sorted(tokens)
    if kind == "ByteLevel":
        bytes_of = {sign: value for value, sign in enumerate(_byte_signs())}
        spelled = _spell((index, _spelled_bytes(tokens[index], bytes_of)) for index in order)
        return Pieces(spelled, spelled, cleaned)

    alone = _decoded(backend, [[index] for index in order])
    before = next((index for index, text in zip(order, alone, strict=True) if text.strip()), None)
    if before is None:  # nothing has a text, so there is nothing to stand behind
        empty = _spell(())
        return Pieces(empty, empty, cleaned)
    context = len(_decoded(backend, [[before]])[0])
    behind = [text[context:] for text in _decoded(backend, [[before, index] for index in order])]
    first: list[tuple[int, bytes]] = []
    later: list[tuple[int, bytes]] = []
    for index, one, other in zip(order, alone, behind, strict=True):
        if joins_bytes and is_byte(tokens[index]) and int(tokens[index][3:5], 16) >= 0x80:
            piece = bytes([int(tokens[index][3:5], 16)])
            first.append((index, piece))
            later.append((index, piece))
        elif other:
            first.append((index, one.encode()))
            later.append((index, other.encode()))
    return Pieces(_spell(first), _spell(later), cleaned)


def probe_pieces(tokens: Mapping[int, str], join: Callable[[list[str]], str], cleaned: bool) -> Pieces:
    """Find out what each token adds to a text that Python code puts together; those that depend on others are left out.

    Args:
        tokens: By id, without those that decoding skips.
        join: Makes a text of tokens.
        cleaned: Whether decoding removes spaces before punctuation.

    Raises:
        UnsupportedError: Texts are not what their tokens add, one after the other.
    """
    context = next((token for token in tokens.values() if token.isalnum() and join([token]) == token), None)
    first: list[tuple[int, bytes]] = []
    later: list[tuple[int, bytes]] = []
    if context is not None:
        again = join([context, context])[len(context) :]
        for index, token in sorted(tokens.items()):
            one, both = join([token]), join([context, token])
            other = both[len(context) :]
            settled = join([token, context]) == one + again and join([context, token, context]) == both + again
            if other and both.startswith(context) and settled:
                first.append((index, one.encode()))
                later.append((index, other.encode()))
    draw, begins, goes_on = random.Random(0), dict(first), dict(later)
    for _ in range(200 if later else 0):
        row = draw.choices(later, k=6)
        spelled = begins[row[0][0]] + b"".join(goes_on[index] for index, _ in row[1:])
        if join([tokens[index] for index, _ in row]).encode() != spelled:
            raise UnsupportedError(
                "What this tokenizer's tokens say depends on their neighbours, so it is not known beforehand what a "
                "token adds to a text. A list of choices can be asked for, a pattern cannot."
            )
    return Pieces(_spell(first), _spell(later), cleaned)


def _decoded(backend: Backend, rows: list[list[int]]) -> list[str]:
    return backend.decode_batch(rows, skip_special_tokens=False)


def _spelled_bytes(token: str, bytes_of: dict[str, int]) -> bytes:
    """What a byte-level token stands for; an added one with other signs stands for itself."""
    if all(sign in bytes_of for sign in token):
        return bytes(bytes_of[sign] for sign in token)
    return token.encode()


def _byte_signs() -> list[str]:
    """The visible sign that byte-level vocabularies write for each byte, as GPT-2's: printable ones for themselves."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(value if value in plain else next(others)) for value in range(0x100)]


def _spell(pieces: Iterable[tuple[int, bytes]]) -> Spelling:
    ids: list[int] = []
    texts: list[str] = []
    ragged: list[tuple[int, bytes]] = []
    for index, piece in pieces:
        try:
            texts.append(piece.decode())
            ids.append(index)
        except UnicodeDecodeError:
            ragged.append((index, piece))
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    codepoints = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    return Spelling(np.array(ids, dtype=np.int64), codepoints, offsets, tuple(ragged))
