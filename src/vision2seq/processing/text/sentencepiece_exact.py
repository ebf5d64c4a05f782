"""Splitting with a SentencePiece model to the letter, as sentencepiece itself does; plain Python.

A text is normalised (the longest rule that fits at each place; spaces squeezed and spelled ``▁``), then split: a
unigram model takes the pieces with the best sum of scores, a BPE model joins the best scored neighbours until none are
left.

Sources: https://github.com/google/sentencepiece, its normaliser, unigram and BPE models; Kudo 2018, "Subword
regularization"; Sennrich et al. 2016, "Neural machine translation of rare words with subword units"; and for the trie
of the rules, the double array of https://github.com/s-yata/darts-clone.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator

from vision2seq.errors import TokenizerError
from vision2seq.processing.text.sentencepiece_model import (
    BYTE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNUSED,
    USER_DEFINED,
    SentencePieceModel,
)

SPACE = "▁"
_UNKNOWN_PENALTY = 10.0
_FLOAT = struct.Struct("<f")


class SentencePiece:
    """Splits texts into pieces and joins pieces to texts.

    Args:
        model: What `read_model` read.

    Raises:
        TokenizerError: Its normaliser is damaged.
    """

    def __init__(self, model: SentencePieceModel) -> None:
        self._model = model
        self._rules = _Rules(model) if model.charsmap else None
        self._kind = {text: kind for text, _, kind in model.pieces}
        self._score = {text: score for text, score, kind in model.pieces if kind in (NORMAL, USER_DEFINED, UNUSED)}
        self._user = sorted((text for text, _, kind in model.pieces if kind == USER_DEFINED), key=len, reverse=True)
        self._prefixes = {text[:end] for text in self._score for end in range(1, len(text) + 1)}
        normal = [score for _, score, kind in model.pieces if kind == NORMAL]
        self._lowest, self._highest = min(normal, default=0.0), max(normal, default=0.0)
        self._split = self._unigram if model.model_type == UNIGRAM else self._bpe

    def encode(self, text: str) -> list[str]:
        """Split a text; neighbours that no piece covers stay together, unless the model spells them in bytes."""
        found: list[str] = []
        was_unknown = False
        for piece, known in self._split(self.normalize(text)):
            if known:
                found.append(piece)
            elif self._model.byte_fallback:
                found += [f"<0x{byte:02X}>" for byte in piece.encode()]
            elif was_unknown:
                found[-1] += piece
            else:
                found.append(piece)
            was_unknown = not known
        return found

    def decode(self, pieces: list[str]) -> str:
        """Join pieces to a text; bytes that are no UTF-8 become U+FFFD each."""
        model = self._model
        done, pending = "", bytearray()
        at_start, space_seen = True, False
        for piece in pieces:
            kind = self._kind.get(piece)
            if kind == BYTE:
                pending.append(int(piece[3:5], 16))
                continue
            done += _utf8(bytes(pending))
            pending.clear()
            at_start = at_start and not (space_seen or done)
            space_seen = False
            if kind == CONTROL:
                continue
            if kind not in (NORMAL, USER_DEFINED, UNUSED):
                done += model.unk_surface if piece == model.unk_piece else piece
                continue
            if at_start and (model.add_space or model.squeeze_spaces) and piece.startswith(SPACE):
                piece = piece[1:]
                space_seen = not model.squeeze_spaces
            done += piece.replace(SPACE, " ")
        return done + _utf8(bytes(pending))

    # ---------------------------------------------------------------------------------------------- normalising

    def normalize(self, text: str) -> str:
        """A text as it is split: rules applied, spaces squeezed and marked."""
        model = self._model
        space = SPACE if model.mark_spaces else " "
        parts = self._replaced(text)
        if model.squeeze_spaces:
            parts = _without_leading_spaces(parts)
        found: list[str] = []
        after_space, empty = model.squeeze_spaces, True
        for part in parts:
            empty = False
            if not found and model.add_space and not model.space_behind:
                found.append(space)
            if after_space:
                part = part.lstrip(" ")
            if part:
                found.append(part.replace(" ", space))
                after_space = part.endswith(" ")
            after_space = after_space and model.squeeze_spaces
        whole = "".join(found)
        if model.squeeze_spaces:
            while whole.endswith(space):
                whole = whole[: -len(space)]
        if not empty and model.add_space and model.space_behind:
            whole += space
        return whole

    def _replaced(self, text: str) -> Iterator[str]:
        """What each place of a text becomes; symbols of the user stay as they are."""
        rules, at = self._rules, 0
        data = text.encode() if rules else b""
        byte = 0
        while at < len(text):
            user = self._user_symbol(text, at)
            if user:
                step, part = len(user), user
            else:
                step, part = 1, text[at]
                if rules and (rule := rules.longest(data, byte)):
                    size, part = rule
                    step = len(data[byte : byte + size].decode())
            byte += len(text[at : at + step].encode()) if rules else 0
            at += step
            yield part

    def _user_symbol(self, text: str, at: int) -> str:
        return next((symbol for symbol in self._user if text.startswith(symbol, at)), "")

    # ------------------------------------------------------------------------------------------------ splitting

    def _unigram(self, text: str) -> list[tuple[str, bool]]:
        """The best path through all pieces; scores are added in 32 bits, so that ties fall as they do there."""
        unknown = _f32(self._lowest - _UNKNOWN_PENALTY)
        best: list[tuple[float, int, bool] | None] = [(0.0, 0, True)] + [None] * len(text)
        for start in range(len(text)):
            here = best[start]
            assert here is not None  # every place is reached: by an unknown character if by nothing else
            single = False
            for end in range(start + 1, len(text) + 1):
                piece = text[start:end]
                if piece not in self._prefixes:
                    break
                kind = self._kind.get(piece)
                if kind not in (NORMAL, USER_DEFINED):
                    continue
                score = self._score[piece]
                if kind == USER_DEFINED:
                    score = len(piece.encode()) * self._highest - 0.1
                _improve(best, end, score + here[0], start, True)
                single = single or end == start + 1
            if not single:
                _improve(best, start + 1, _f32(unknown + here[0]), start, False)
        found: list[tuple[str, bool]] = []
        end = len(text)
        while end > 0:
            node = best[end]
            assert node is not None
            found.append((text[node[1] : end], node[2]))
            end = node[1]
        return found[::-1]

    def _bpe(self, text: str) -> list[tuple[str, bool]]:
        """Join neighbours, those with the best score first and of these the leftmost."""
        symbols: list[str] = []
        frozen: list[bool] = []
        at = 0
        while at < len(text):
            user = self._user_symbol(text, at)
            symbols.append(user or text[at])
            frozen.append(bool(user))
            at += len(symbols[-1])
        before = list(range(-1, len(symbols) - 1))
        behind = [*range(1, len(symbols)), -1] if symbols else []
        queue: list[tuple[float, int, int, int]] = []
        split_again: dict[str, tuple[str, str]] = {}

        def propose(left: int, right: int) -> None:
            if left < 0 or right < 0 or frozen[left] or frozen[right]:
                return
            joined = symbols[left] + symbols[right]
            if joined in self._score:
                heapq.heappush(queue, (-self._score[joined], left, right, len(joined)))
                if self._kind[joined] == UNUSED:
                    split_again[joined] = (symbols[left], symbols[right])

        for index in range(len(symbols) - 1):
            propose(index, index + 1)
        while queue:
            _, left, right, size = heapq.heappop(queue)
            if not symbols[left] or not symbols[right] or len(symbols[left]) + len(symbols[right]) != size:
                continue  # one of the two was joined with another since
            symbols[left] += symbols[right]
            symbols[right] = ""
            behind[left] = behind[right]
            if behind[right] >= 0:
                before[behind[right]] = left
            propose(before[left], left)
            propose(left, behind[left])

        def pieces(symbol: str) -> Iterator[tuple[str, bool]]:
            if self._kind.get(symbol) == UNUSED and symbol in split_again:
                for half in split_again[symbol]:
                    yield from pieces(half)
            else:
                yield symbol, symbol in self._score

        return [piece for symbol in symbols if symbol for piece in pieces(symbol)]


def _improve(best: list[tuple[float, int, bool] | None], end: int, score: float, start: int, known: bool) -> None:
    node = best[end]
    if node is None or score > node[0]:
        best[end] = (_f32(score), start, known)


def _f32(value: float) -> float:
    return float(_FLOAT.unpack(_FLOAT.pack(value))[0])


def _without_leading_spaces(parts: Iterator[str]) -> Iterator[str]:
    leading = True
    for part in parts:
        leading = leading and part == " "
        if not leading:
            yield part


def _utf8(data: bytes) -> str:
    """Bytes as text, each one that is part of no character as U+FFFD."""
    found, at = "", 0
    while at < len(data):
        for size in (1, 2, 3, 4):
            try:
                found += data[at : at + size].decode()
            except UnicodeDecodeError:
                continue
            at += size
            break
        else:
            found, at = found + "\ufffd", at + 1
    return found


class _Rules:
    """The rules of a normaliser: a trie over bytes, kept as a double array, whose leaves point to replacements."""

    def __init__(self, model: SentencePieceModel) -> None:
        data = model.charsmap
        size = int.from_bytes(data[:4], "little")
        if size % 4 or not 4 <= size <= len(data) - 4:
            raise TokenizerError(
                f"The normaliser in {model.name} cannot be read: its table of {size} bytes does not fit {len(data)}. "
                "Restore or download it again."
            )
        self._units = struct.unpack(f"<{size // 4}I", data[4 : 4 + size])
        self._texts = data[4 + size :]
        self._name = model.name

    def longest(self, data: bytes, at: int) -> tuple[int, str] | None:
        """How many bytes the longest rule covers that fits at a place, and what it makes of them."""
        units = self._units
        position = _offset(units[0])
        found: tuple[int, int] | None = None
        try:
            for index in range(at, len(data)):
                position ^= data[index]
                unit = units[position]
                if unit & 0x800000FF != data[index]:
                    break
                position ^= _offset(unit)
                if unit & 0x100:
                    found = index + 1 - at, units[position] & 0x7FFFFFFF
            if found is None:
                return None
            size, start = found
            return size, self._texts[start : self._texts.index(b"\0", start)].decode()
        except (IndexError, ValueError) as error:
            raise TokenizerError(
                f"The normaliser in {self._name} is damaged: {error}. Restore or download it again."
            ) from None


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)
