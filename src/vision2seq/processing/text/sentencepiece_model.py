"""Reading a SentencePiece ``.model`` file without sentencepiece or protobuf.

Such a file is one protocol-buffer message, ``ModelProto``. The wire format is a sequence of fields, each a varint key
(field number and wire type) and a value; only the few fields that a tokenizer is built from are kept.

Source: the public ``sentencepiece_model.proto`` for field numbers and defaults.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from vision2seq.errors import TokenizerError

UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

_PARTS = {1: "pieces", 2: "trainer settings", 3: "normaliser settings"}
"""Field numbers of what every trained model holds, in the order of the file."""
_TRAINER = {3: "model_type", 24: "space_behind", 35: "byte_fallback", 40: "unk_id"}
_NORMALISER = {3: "add_space", 4: "squeeze_spaces", 5: "mark_spaces"}
"""Numbers of fields to where their values go."""
_FLOAT = struct.Struct("<f")


@dataclass
class SentencePieceModel:
    """The parts of a SentencePiece model that decide how text is split.

    Attributes:
        name: Where it is from, for messages.
        pieces: Text, score (log probability) and kind of every piece, in the order of its ids.
        model_type: `UNIGRAM`, `BPE`, or another number for what cannot be used here.
        unk_id: Id of the unknown piece.
        unk_piece: Text of the unknown piece.
        unk_surface: What the unknown piece is decoded to.
        byte_fallback: Whether what no piece covers is spelled in pieces of one byte.
        space_behind: Whether a word's space is at its end rather than at its beginning.
        charsmap: The precompiled normaliser, empty if the model has none.
        add_space: Whether a text gets a space at its beginning.
        squeeze_spaces: Whether spaces around a text go, and several become one.
        mark_spaces: Whether spaces are spelled as ``▁``.
    """

    name: str
    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    model_type: int = UNIGRAM
    unk_id: int = 0
    unk_piece: str = "<unk>"
    unk_surface: str = " ⁇ "
    byte_fallback: bool = False
    space_behind: bool = False
    charsmap: bytes = b""
    add_space: bool = True
    squeeze_spaces: bool = True
    mark_spaces: bool = True


def read_model(data: bytes, name: str = "the SentencePiece model") -> SentencePieceModel:
    """Read the content of a ``.model`` file.

    Args:
        data: All of it.
        name: What to call it in messages.

    Raises:
        TokenizerError: It is empty, truncated or no such model.
    """
    model = SentencePieceModel(name)
    seen: set[int] = set()
    try:
        for number, value in _fields(data):
            seen.add(number)
            if number == 1:
                model.pieces.append(_piece(_expect(value, bytes)))
            elif number == 2:
                _trainer(_expect(value, bytes), model)
            elif number == 3:
                _normaliser(_expect(value, bytes), model)
        missing = [what for number, what in _PARTS.items() if number not in seen]
        if missing:  # a file cut off between two messages is a valid, shorter one
            raise ValueError(f"it holds no {' and no '.join(missing)}")
    except (IndexError, ValueError, struct.error) as error:
        reason = "it ends within a number" if isinstance(error, IndexError) else error
        raise TokenizerError(
            f"{name} is no SentencePiece model, or a damaged one: {reason}. Restore or download it again."
        ) from None
    return model


def _expect(value: int | bytes, kind: type[bytes]) -> bytes:
    if not isinstance(value, kind):
        raise ValueError("a number where a message was expected")
    return value


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for number, value in _fields(data):
        if number == 1:
            text = _expect(value, bytes).decode("utf-8")
        elif number == 2:
            score = float(_FLOAT.unpack(_expect(value, bytes))[0])
        elif number == 3 and isinstance(value, int):
            kind = value
    return text, score, kind


def _trainer(data: bytes, model: SentencePieceModel) -> None:
    for number, value in _fields(data):
        if number in _TRAINER and isinstance(value, int):
            name = _TRAINER[number]
            setattr(model, name, type(getattr(model, name))(value))
        elif number == 44:
            model.unk_surface = _expect(value, bytes).decode("utf-8")
        elif number == 45:
            model.unk_piece = _expect(value, bytes).decode("utf-8")


def _normaliser(data: bytes, model: SentencePieceModel) -> None:
    for number, value in _fields(data):
        if number == 2:
            model.charsmap = _expect(value, bytes)
        elif number in _NORMALISER and isinstance(value, int):
            setattr(model, _NORMALISER[number], bool(value))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: varints as numbers, everything else as the bytes it occupies."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire == 5:
            size = 4
        elif wire == 1:
            size = 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > end:
            raise ValueError(f"it ends {at + size - end} bytes too early")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 128:  # nearly always
        return byte, at
    value, shift = byte & 127, 7
    while byte >= 128:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise ValueError(f"an endless number at byte {at}")
    return value, at
