"""manga-ocr's characters: no white space, plain dots, and everything as wide as Japanese characters are.

Source: the results of ``post_process`` of manga-ocr 0.1.14, which needs jaconv.
"""

from __future__ import annotations

import re
import unicodedata

# Half-width katakana and punctuation; the two marks that follow a letter stay as they are if they follow none.
_FULL_WIDTH = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF61, 0xFF9E)}
_FULL_WIDTH |= {code: chr(code + 0xFEE0) for code in range(0x21, 0x7F)}
_FULL_WIDTH[0x20] = "\u3000"
# A letter and the mark that voices it are one character at full width.
_VOICED = re.compile("[ｳｶ-ﾄﾊ-ﾎ]ﾞ|[ﾊ-ﾎ]ﾟ")


def post_process(text: str) -> str:
    """Put a text that manga-ocr wrote in order, as its package does."""
    text = "".join(text.split()).replace("…", "...")
    text = re.sub("[・.]{2,}", lambda dots: "." * len(dots[0]), text)
    return full_width(text)


def full_width(text: str) -> str:
    """Write ASCII and half-width katakana at full width: ``ｶﾞABC1`` as ``ガＡＢＣ１``."""
    text = _VOICED.sub(lambda pair: unicodedata.normalize("NFKC", pair[0]), text)
    return text.translate(_FULL_WIDTH)
