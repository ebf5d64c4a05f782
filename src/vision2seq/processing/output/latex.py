r"""LaTeX as formula readers write it, put in order as their packages do.

- `remove_spaces`: those that LaTeX ignores, and tokenizers of formulas put between any two tokens (pix2tex, Pix2Text);
- `texteller`: bold and italic taken off, a line for each ``\begin``, ``\end`` and ``\\``;
- `texify`: labels and references taken out, typographic characters made plain;
- `mixtex`: formulas in ``align*``, percent signs escaped.

Source: the behaviour of pix2tex's ``post_process``, TexTeller's ``remove_style`` and ``add_newlines``, texify's
``postprocess`` and MixTeX's window. Left out is what concerns layout alone (TexTeller indents the lines) and ftfy's
search for texts that were decoded wrongly, which texify has done.
"""

from __future__ import annotations

import re
import unicodedata

_NAMES = re.compile(r"\\(?:operatorname|mathrm|text|mathbf)\s?\*? {.*?}")
_LETTER, _OTHER = "[a-zA-Z]", r"[\W_^\d]"
# No space is needed between two of these, unless it is LaTeX's own space, a backslash and a blank.
_NEEDLESS = tuple(
    re.compile(rf"{before}({left})\s+?({right})")
    for before, left, right in ((r"(?!\\ )", _OTHER, _OTHER), (r"(?!\\ )", _OTHER, _LETTER), ("", _LETTER, _OTHER))
)
_STYLES = (r"\bm", r"\boldsymbol", r"\textit", r"\textbf", r"\mathbf")


def remove_spaces(text: str) -> str:
    r"""Take out white space that makes no difference in a formula.

    Between two letters it stays: ``\alpha x`` is not ``\alphax``.
    """
    text = _NAMES.sub(lambda name: name[0].replace(" ", ""), text)
    before = None
    while text != before:
        before = text
        for needless in _NEEDLESS:
            text = needless.sub(r"\1\2", text)
    return text


def texteller(text: str) -> str:
    """Put a formula of TexTeller in order."""
    return break_lines(remove_style(text))


def remove_style(text: str) -> str:
    r"""Take off bold and italic: ``\mathbf{x}`` becomes ``x``."""
    for command in _STYLES:
        text = _unwrapped(text, command + "{")
    return text.strip()


def _unwrapped(text: str, opening: str) -> str:
    """Put spaces in the place of a command's name and braces, the innermost first; of the opening alone if unclosed."""
    while (start := text.rfind(opening)) >= 0:
        inside = start + len(opening)
        end = _closing(text, inside)
        text = (
            f"{text[:start]} {text[inside:]}" if end is None else f"{text[:start]} {text[inside:end]} {text[end + 1 :]}"
        )
    return text


def _closing(text: str, start: int) -> int | None:
    """The place of the brace that closes what was opened before a place; escaped braces do not count."""
    depth = 1
    for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.start()
    return None


def break_lines(text: str) -> str:
    r"""Give each ``\begin{…}`` and ``\end{…}`` a line of its own, and begin one after each ``\\``."""
    for word in ("begin", "end"):
        text = re.sub(rf"\s*(\\{word}\{{[^}}]*\}})\s*", r"\n\1\n", text)
    text = re.sub(r"\\\\(?!\n| )|\\\\ ", r"\\\\\n", text)
    return re.sub(r"\n{2,}", "\n", text).strip()


def texify(text: str) -> str:
    r"""Put a page or formula of texify in order: no ``\label``, ``\ref`` and ``\pageref``, plain characters."""
    return re.sub(r"\\(?:label|ref|pageref)\{[^}]*\}", "", plain_characters(text))


def mixtex(text: str) -> str:
    r"""Put a text of MixTeX in order: ``\[…\]`` becomes ``align*``, which its formulas are written for."""
    return text.replace(r"\[", r"\begin{align*}").replace(r"\]", r"\end{align*}").replace("%", r"\%")


# ------------------------------------------------------------------------------------------------------- characters


def _parts(sign: str) -> str:
    """What a ligature is made of."""
    return "".join(chr(int(code, 16)) for code in unicodedata.decomposition(sign).split() if code[0] != "<")


_PLAIN: dict[int, str | None] = {0x3000: " "}
_PLAIN |= {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF01, 0xFFF0)}  # half and full width
_PLAIN |= {ord(sign): _parts(sign) for sign in "ĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬅﬆ"}
_QUOTES = dict.fromkeys((0x2BC, *range(0x2018, 0x201C)), "'") | dict.fromkeys(range(0x201C, 0x2020), '"')
_INVISIBLE = (*range(9), 0xB, *range(0xE, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD))


def plain_characters(text: str) -> str:
    """Write ligatures, wide letters, quotes and line breaks plainly, without control characters, accents composed.

    Source: the steps of ftfy 6 that look at one character at a time.
    """
    text = re.sub("\x1b\\[[\\d;]*[a-zA-Z]", "", text).translate(_PLAIN).translate(_QUOTES)
    text = re.sub("\r\n|[\r\x85\u2028\u2029]", "\n", text).translate(dict.fromkeys(_INVISIBLE))
    return unicodedata.normalize("NFC", text)
