"""The characters that the `printed-line` model reads, in one place."""

from __future__ import annotations

ASCII: tuple[str, ...] = tuple(chr(code) for code in range(32, 127))
TYPOGRAPHIC: tuple[str, ...] = tuple("“”‘’–—•…€£°§©")
CHARSET: tuple[str, ...] = ASCII + TYPOGRAPHIC
CHARACTERS: frozenset[str] = frozenset(CHARSET)

# What texts write in another way than the model does. Spaces of every width become one space.
_SPELLINGS = str.maketrans(
    {
        "\u00a0": " ",
        "\u2002": " ",
        "\u2003": " ",
        "\u2009": " ",
        "\u202f": " ",
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "–",
        "\u2212": "-",
        "\u201a": ",",
        "\u00ad": None,
        "\u200b": None,
        "\ufeff": None,
        "\ufb00": "ff",
        "\ufb01": "fi",
        "\ufb02": "fl",
        "\ufb03": "ffi",
        "\ufb04": "ffl",
    }
)


def tidy(text: str) -> str:
    """Spells a text with the model's characters where that is possible and joins its words by single spaces.

    Args:
        text: Any text; characters without a spelling in the charset stay as they are.

    Returns:
        The text, ready for `is_readable`.
    """
    return " ".join(text.translate(_SPELLINGS).split())


def is_readable(text: str) -> bool:
    """Says whether every character of a text belongs to the charset."""
    return CHARACTERS.issuperset(text)
