"""English text for the renderer: gathers Debian's texts into one file, samples lines from it, and makes up the rest.

Usage: `python texts.py --out corpus.txt` writes one paragraph a line. `TextSampler` draws lines from such paragraphs.

The documents that `documents.py` validates on are never read here, in no format.
"""

from __future__ import annotations

import argparse
import bisect
import gzip
import html
import os
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from charset import CHARSET, TYPOGRAPHIC, is_readable, tidy

LONGEST = 150
"""No line has more characters."""
_LONG = 100  # longer ones are small print; body text ends about here

# Packages whose PDFs are validation or tuning documents (see the table in documents.py).
_VALIDATION = re.compile(
    r"debmake|developers-reference|gnuplot|harden|securing|libtasn1|shared-mime|octave|maxima|r-doc|tex-gyre|texlive|"
    r"debian-policy|latex|live-manual|sbcl|annotations|glpk|bzip2|fontconfig|nettle|valgrind"
)


# --------------------------------------------------------------------------------------------------------------------
# Corpora


def _open(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.suffix in (".gz", ".dz"):
            data = gzip.decompress(data)
    except (OSError, EOFError, gzip.BadGzipFile):
        return ""
    return data.decode("utf-8", "ignore")


def _paragraphs(text: str) -> Iterator[str]:
    yield from re.split(r"\n\s*\n", text)


_ROFF_SIGNS = {
    "em": "—",
    "en": "–",
    "lq": "“",
    "rq": "”",
    "oq": "‘",
    "cq": "’",
    "bu": "•",
    "co": "©",
    "de": "°",
    "Po": "£",
    "Eu": "€",
    "aq": "'",
    "dq": '"',
    "ti": "~",
    "ha": "^",
    "rs": "\\",
    "hy": "-",
    "sc": "§",
    "ga": "`",
    "sl": "/",
}


def _from_roff(source: str) -> Iterator[str]:
    words: list[str] = []

    def plain(text: str) -> str:
        text = re.sub(r"\\\((..)", lambda hit: _ROFF_SIGNS.get(hit[1], "\ufffd"), text)
        text = re.sub(r"\\\[([^]]*)\]", lambda hit: _ROFF_SIGNS.get(hit[1], "\ufffd"), text)
        text = re.sub(r"\\f(?:\(..|\[[^]]*\]|.)|\\s[-+]?\d+|\\[&|^/,%:cd]|\\\".*", "", text)
        text = text.replace("\\-", "-").replace("\\e", "\\").replace("\\ ", " ").replace("\\~", " ").replace("\\'", "'")
        text = text.replace("\\*(Aq", "'").replace("\\|", "")
        return text.replace("\\*(lq", "“").replace("\\*(rq", "”").replace("\\`", "`").replace("\\.", ".")

    for line in source.splitlines():
        if line.startswith((".", "'")):
            macro, _, rest = line[1:].strip().partition(" ")
            if macro in ("B", "I", "BR", "IR", "RB", "RI", "BI", "IB", "Xr", "Fl", "Nm"):
                pieces = [piece.strip('"') for piece in re.findall(r'"[^"]*"|\S+', rest)]
                joined = ("" if len(macro) == 2 and macro.isupper() else " ").join(pieces)
                words.append(plain(joined))
                continue
            if words:
                yield " ".join(words)
                words = []
            if macro in ("SH", "SS", "Sh", "Ss"):
                yield plain(rest.strip('"'))
        elif not line.strip():
            if words:
                yield " ".join(words)
                words = []
        else:
            words.append(plain(line))
    if words:
        yield " ".join(words)


def _fortunes() -> Iterator[str]:
    for path in sorted(Path("/usr/share/games/fortunes").glob("*")):
        if path.is_file() and path.suffix == "" and "off" not in path.parts and path.name != "ascii-art":
            for entry in re.split(r"\n%\n", _open(path)):
                yield from _paragraphs(entry)


def _wordnet() -> Iterator[str]:
    for name in ("noun", "verb", "adj", "adv"):
        for line in _open(Path(f"/usr/share/wordnet/data.{name}")).splitlines():
            if not line.startswith(" ") and "|" in line:
                yield line.split("|", 1)[1]


def _foldoc() -> Iterator[str]:
    yield from _paragraphs(_open(Path("/usr/share/dictd/foldoc.dict.dz")))


def _manual_pages() -> Iterator[str]:
    taken: dict[str, int] = {}
    for section in ("man1", "man2", "man3", "man4", "man5", "man6", "man7", "man8"):
        for path in sorted(Path("/usr/share/man", section).glob("*.gz")):
            start = re.split(r"[-_.:]", path.name)[0]
            taken[start] = taken.get(start, 0) + 1
            if taken[start] > 25 or _VALIDATION.search(path.name) or path.is_symlink():
                continue
            yield from _from_roff(_open(path))


def _documents() -> Iterator[str]:
    for root, folders, names in os.walk("/usr/share/doc"):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith("google-cloud") and not _VALIDATION.search(name)]
        if _VALIDATION.search(root):
            continue
        for name in sorted(names):
            if name == "copyright" or re.fullmatch(r"(README|NEWS|FAQ|TODO|.*\.txt|.*\.md|.*\.rst)[^/]*", name):
                yield from _paragraphs(_open(Path(root, name)))
            elif name.endswith((".html", ".html.gz")):
                text = re.sub(r"(?s)<(script|style|pre)\b.*?</\1>", " ", _open(Path(root, name)))
                for block in re.split(r"(?i)</?(?:p|div|li|td|th|tr|h\d|dt|dd|br)\b[^>]*>", text):
                    yield html.unescape(re.sub(r"<[^>]+>", "", block))


def _programs() -> Iterator[str]:
    for folder in ("/usr/share/perl5", "/usr/share/perl"):
        for path in sorted(Path(folder).rglob("*.p[mo][d]*")):
            if _VALIDATION.search(str(path)):
                continue
            for block in _paragraphs(_open(path)):
                if not block.startswith("="):
                    yield re.sub(r"[BCEFILSXZ]<+\s?([^<>]*?)\s?>+", r"\1", block)
    for path in sorted(Path("/usr/lib").glob("python3*/*.py")):
        for block in re.findall(r'(?s)"""(.*?)"""', _open(path)):
            yield from _paragraphs(block)
        yield from (line.strip() for line in _open(path).splitlines()[::3])


SOURCES: dict[str, tuple[Callable[[], Iterator[str]], int]] = {
    "fortunes": (_fortunes, 3_000_000),
    "wordnet": (_wordnet, 4_000_000),
    "foldoc": (_foldoc, 3_000_000),
    "manual pages": (_manual_pages, 8_000_000),
    "documents": (_documents, 6_000_000),
    "programs": (_programs, 3_000_000),
}
"""Where texts come from, and how many characters of each are kept at most."""


def gather(seed: int = 0) -> Iterator[tuple[str, list[str]]]:
    """Reads every source that this machine has.

    Args:
        seed: Chooses which paragraphs of a large source are kept.

    Yields:
        The source's name and its readable paragraphs without repeats.
    """
    seen: set[str] = set()
    for name, (read, limit) in SOURCES.items():
        kept: list[str] = []
        for paragraph in read():
            # Entities, hyphenation at line ends and rulers of dashes are artefacts of the files, not of print.
            text = tidy(re.sub(r"(\w)-\n\s*(\w)", r"\1-\2", paragraph))
            text = re.sub(r"([-=_*#~.])\1{5,}", r"\1\1\1", text)
            # Macros of a manual page that the reading above does not know.
            if "\\*(" in text or "\\*[" in text:
                continue
            if 2 <= len(text) <= 4000 and re.search(r"[A-Za-z]", text) and is_readable(text) and text not in seen:
                seen.add(text)
                kept.append(text)
        random.Random(f"{seed} {name}").shuffle(kept)
        total = 0
        for count, text in enumerate(kept):
            total += len(text)
            if total > limit:
                del kept[count:]
                break
        yield name, kept


def read_texts(path: Path) -> list[str]:
    """Reads a file of paragraphs, one a line, leaving out those with signs outside the charset."""
    return [text for text in path.read_text(encoding="utf-8").splitlines() if text and is_readable(text)]


# --------------------------------------------------------------------------------------------------------------------
# Made-up texts


def _words(text: str) -> list[str]:
    return text.split()


_FIRST = _words(
    "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph "
    "Jessica Thomas Sarah Charles Karen Anna Daniel Nancy Matthew Lisa Mark Betty Paul Sandra Steven Ashley "
    "Andrew Emily Joshua Donna Kevin Michelle Brian Carol George Amanda Timothy Melissa Ronald Deborah Jason "
    "Stephanie Xavier Zoe Quentin Yvonne Ursula Victor Wendy Oscar Fiona Hugh Ivy Jack Keith Laura Noel Olga "
    "Peter Quinn Ruth Simon Tara Uma Vera"
)
_LAST = _words(
    "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson "
    "Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis "
    "Robinson Walker Young Allen King Wright Scott Torres Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera "
    "Campbell Mitchell Carter Roberts O'Brien O’Connor McDonald MacLeod Zimmermann Quigley Xu Fitzgerald van Dyke "
    "de Vries Kowalski Ng"
)
_STREETS = _words("Main Oak Park Church High Station London Mill Victoria Green North South King Queen Market Bridge")
_WAYS = _words("Street St. Road Rd Avenue Ave. Lane Drive Square Court Boulevard Blvd. Way Close Terrace")
_CITIES = _words(
    "London Paris Berlin Boston Chicago Dallas Denver Dublin Geneva Houston Leeds Lyon Madrid Milan Oslo Oxford "
    "Prague Seattle Sydney Tokyo Toronto Vienna Warsaw York Zagreb Portland Austin Miami Kyoto Jakarta Quebec "
    "Utrecht"
)
_COMPANIES = _words("Acme Globex Initech Umbrella Vandelay Stark Wayne Hooli Northwind Contoso Fabrikam Zenith Quantum")
_FORMS = ["Ltd.", "Inc.", "GmbH", "LLC", "& Co.", "Corp.", "plc", "S.A.", "& Sons", "Group", "Holdings"]
_DOMAINS = _words("com org net co.uk de io edu gov info eu dev example.com fr")
_MONTHS = _words("January February March April May June July August September October November December")
_DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_UNITS = _words("kg g mg km m cm mm ml l MB GB kB MHz GHz kW W V A Hz s ms min h px pt dpi bar Pa")
_LABELS = _words(
    "Total Subtotal Date Invoice Order Amount Page Ref. Tel. Fax Phone E-mail Qty Price Tax VAT No. Item Balance "
    "Due Account IBAN Name Address City Zip Signature Description Discount Net Gross Paid Terms Customer Vendor"
)
_SYLLABLES = _words("ka lo mi ter an ver sol dex pri mo qua zen fi bra tu ne xo wy jo hu gle shi pox cur vid")


def _number(rng: random.Random) -> str:
    kind = rng.random()
    digits = rng.choice((1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8))
    whole = rng.randrange(10 ** (digits - 1) - (digits == 1), 10**digits)
    if kind < 0.35:
        return str(whole)
    if kind < 0.6:
        return f"{whole:,}"
    if kind < 0.85:
        return f"{whole}.{rng.randrange(100):02d}"
    if kind < 0.93:
        return f"{whole:,}.{rng.randrange(100):02d}"
    return f"-{whole}" if kind < 0.97 else f"{whole},{rng.randrange(100):02d}"


def _amount(rng: random.Random) -> str:
    sign = rng.choice("$$€€££")
    number = _number(rng).lstrip("-")
    kind = rng.random()
    if kind < 0.55:
        return sign + number
    if kind < 0.75:
        return f"{number} {sign}"
    if kind < 0.85:
        return f"-{sign}{number}"
    return rng.choice((f"{sign} {number}", f"{number}{sign}", f"({sign}{number})", f"{sign}{number}m", f"USD {number}"))


def _date(rng: random.Random) -> str:
    year, month, day = rng.randrange(1890, 2040), rng.randrange(1, 13), rng.randrange(1, 29)
    name = _MONTHS[month - 1]
    return rng.choice(
        (
            f"{year}-{month:02d}-{day:02d}",
            f"{month:02d}/{day:02d}/{year}",
            f"{day:02d}.{month:02d}.{year}",
            f"{day} {name} {year}",
            f"{name} {day}, {year}",
            f"{rng.choice(_DAYS)}, {name} {day}",
            f"{name[:3]} {day}, {year}",
            f"{day}/{month}/{year % 100:02d}",
            f"{year}–{year + rng.randrange(1, 20)}",
            f"{name} {year}",
            f"{year}-{month:02d}-{day:02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}Z",
            f"’{year % 100:02d}",
        )
    )


def _time(rng: random.Random) -> str:
    hour, minute = rng.randrange(24), rng.randrange(60)
    return rng.choice(
        (
            f"{hour:02d}:{minute:02d}",
            f"{hour % 12 + 1}:{minute:02d} {rng.choice(('am', 'pm', 'a.m.', 'p.m.', 'AM', 'PM'))}",
            f"{hour:02d}:{minute:02d}:{rng.randrange(60):02d}",
            f"{hour:02d}:{minute:02d}–{(hour + 2) % 24:02d}:{minute:02d}",
        )
    )


def _made_up_word(rng: random.Random) -> str:
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randrange(1, 4)))


def _mail(rng: random.Random) -> str:
    first, last = rng.choice(_FIRST).lower(), rng.choice(_LAST).lower().replace("’", "").replace("'", "")
    name = rng.choice((first, f"{first}.{last}", f"{first[0]}{last}", f"{last}_{rng.randrange(100)}", f"info+{first}"))
    address = f"{name}@{_made_up_word(rng)}{rng.choice(('', '-' + _made_up_word(rng)))}.{rng.choice(_DOMAINS)}"
    return rng.choice((address, address, f"<{address}>", f"{address},"))


def _url(rng: random.Random) -> str:
    host = f"{_made_up_word(rng)}.{rng.choice(_DOMAINS)}"
    path = "/".join(_made_up_word(rng) for _ in range(rng.randrange(4)))
    tail = rng.choice(("", "", "/", f"?id={rng.randrange(9999)}", f"#{_made_up_word(rng)}", ".html", "?q=a&b=%20", "~"))
    return f"{rng.choice(('https://', 'http://', 'https://www.', 'www.', 'ftp://'))}{host}/{path}{tail}"


def _path(rng: random.Random) -> str:
    parts = [_made_up_word(rng) for _ in range(rng.randrange(1, 5))]
    return rng.choice(
        (
            "/" + "/".join(parts),
            "~/" + "/".join(parts) + ".txt",
            "C:\\" + "\\".join(parts),
            "/usr/share/" + "-".join(parts),
            "_".join(parts) + ".py",
            "./" + "/".join(parts) + "/*",
            f"${{{'_'.join(parts).upper()}}}",
            f"${parts[0].upper()}",
        )
    )


def _phone(rng: random.Random) -> str:
    def digits(count: int) -> str:
        return "".join(rng.choice("0123456789") for _ in range(count))

    return rng.choice(
        (
            f"({digits(3)}) {digits(3)}-{digits(4)}",
            f"+{rng.randrange(1, 99)} {digits(2)} {digits(4)} {digits(4)}",
            f"{digits(3)}-{digits(3)}-{digits(4)}",
            f"+44 (0){digits(4)} {digits(6)}",
            f"{digits(3)}.{digits(3)}.{digits(4)}",
            f"{digits(5)}/{digits(6)}",
        )
    )


def _code(rng: random.Random) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    both = letters + "0123456789"
    kind = rng.randrange(9)
    if kind == 0:
        return "".join(rng.choice(both) for _ in range(rng.randrange(4, 13)))
    if kind == 1:
        return "-".join("".join(rng.choice(both) for _ in range(4)) for _ in range(rng.randrange(2, 5)))
    if kind == 2:
        return "".join(rng.choice("0123456789abcdef") for _ in range(rng.choice((6, 8, 12, 16))))
    if kind == 3:
        version = f"{rng.randrange(10)}.{rng.randrange(30)}.{rng.randrange(20)}-{rng.randrange(9)}"
        return version + rng.choice(("", "~rc1", "+b1", "ubuntu2"))
    if kind == 4:
        return f"#{rng.randrange(1000000)}"
    if kind == 5:
        return f"0x{rng.randrange(1 << 32):0{rng.choice((2, 4, 8))}{rng.choice('xX')}}"
    if kind == 6:
        start = f"{rng.choice(letters)}{rng.choice(letters)}{rng.randrange(10000):04d}"
        return start + rng.choice(("", "/", "-")) + rng.choice(letters)
    if kind == 7:
        return ".".join(str(rng.randrange(256)) for _ in range(4)) + rng.choice(("", "/24", ":8080"))
    alphabet = "abcdefghijklmnopqrstuvwxyz" + both
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(5, 16)))


def _name(rng: random.Random) -> str:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    return rng.choice(
        (
            f"{first} {last}",
            f"{last}, {first}",
            f"{first} {rng.choice('ABCDEFGHIJKLMNOPQRSTUVWXYZ')}. {last}",
            f"{rng.choice(('Mr.', 'Mrs.', 'Dr.', 'Prof.', 'Ms'))} {last}",
            f"{first[0]}. {last} & {rng.choice(_LAST)}",
            f"{rng.choice(_COMPANIES)} {rng.choice(_FORMS)}",
        )
    )


def _address(rng: random.Random) -> str:
    street = f"{rng.randrange(1, 2000)}{rng.choice(('', '', 'A', 'b'))} {rng.choice(_STREETS)} {rng.choice(_WAYS)}"
    area = rng.choice(
        (f"{rng.randrange(100000):05d}", f"{rng.choice(('SW', 'N', 'EC', 'OX'))}{rng.randrange(1, 20)} 4QT")
    )
    return rng.choice((street, f"{street}, {rng.choice(_CITIES)} {area}", f"{rng.choice(_CITIES)}, {area}"))


def _measure(rng: random.Random) -> str:
    number = _number(rng)
    kind = rng.randrange(8)
    if kind < 3:
        return f"{number}{rng.choice(('%', '%', ' %'))}"
    if kind == 3:
        return f"{number}{rng.choice(('°', '°C', ' °C', '°F', ' °'))}"
    if kind == 4:
        return f"{rng.randrange(1, 100)} × 3".replace("×", "x")
    return f"{number} {rng.choice(_UNITS)}"


def _reference(rng: random.Random) -> str:
    number = rng.randrange(1, 400)
    word = rng.choice(_LAST)
    return rng.choice(
        (
            f"[{number}]",
            f"({number})",
            f"{number}.",
            f"§ {number}",
            f"§{number}.{rng.randrange(1, 20)}",
            f"§§ {number}–{number + 3}",
            f"(see p. {number})",
            f"pp. {number}–{number + rng.randrange(2, 40)}",
            f"© {rng.randrange(1960, 2030)} {word}",
            f"Copyright © {rng.randrange(1960, 2030)}, {word} {rng.choice(_FORMS)}",
            f"{number / 10:.1f}",
            f"Chapter {number % 40}.",
            f"Fig. {number % 40}:",
            f"Table {number % 40}.{number % 7}",
            f"• {word}",
            f"{chr(97 + number % 26)})",
            f"{number} / {number + 12}",
            f"*{word}*",
            f"{'ivxlc'[number % 5] * (1 + number % 3)}.",
            f"{number % 40}st",
            f"{number}…",
        )
    )


def _expression(rng: random.Random) -> str:
    a, b, c = (rng.choice("abcdefghijklmnpqrstuvwxyz") for _ in range(3))
    word = _made_up_word(rng)
    n = rng.randrange(1000)
    return rng.choice(
        (
            f"{a} = {n} * ({b} + {c});",
            f"if ({a} < {n}) {{",
            f"}} else {{ return {a}[{n}]; }}",
            f"{word}({a}, {b}) -> {c}",
            f"$ {word} --{_made_up_word(rng)}={n} | grep -v '^{a}'",
            f"{a}_{b} != {n} && !{c}",
            f'"{word}": {n},',
            f'<{word} {a}="{n}">',
            f"</{word}>",
            f"{a}^2 + {b}^2 >= {n}",
            f"# {word} {n}",
            f"`{word}`",
            f"{word}@{b}:~$ {c}",
            f"%{a} \\{word}{{{b}}}",
            f"[{a}-{b}]+\\.{c}?",
            f"--{word}-{_made_up_word(rng)}",
            f"-{a} {word}",
            f"{word.upper()}_{n}",
            f"{word}.{_made_up_word(rng)}(*{a}, **{b})",
            f"${a} = @{word};",
            f"~{n}",
            f"{a} || {b}; // {word}",
            f"{word}={n}; export {word}",
        )
    )


def _salad(rng: random.Random) -> str:
    """Any signs in any order, so that no sign hides behind its usual neighbours."""
    signs = CHARSET[1:]
    return "".join(
        rng.choice(TYPOGRAPHIC if rng.random() < 0.25 else signs) for _ in range(rng.choice((1, 2, 3, 4, 5, 6, 8)))
    )


_MAKERS: tuple[tuple[Callable[[random.Random], str], int], ...] = (
    (_number, 14),
    (_amount, 14),
    (_date, 10),
    (_time, 4),
    (_mail, 6),
    (_url, 6),
    (_path, 6),
    (_phone, 5),
    (_code, 9),
    (_name, 8),
    (_address, 6),
    (_measure, 8),
    (_reference, 12),
    (_expression, 10),
    (_salad, 8),
)
_MAKER_FUNCTIONS = tuple(maker for maker, weight in _MAKERS for _ in range(weight))


def make_up(rng: random.Random) -> str:
    """Makes up one number, date, amount, name, address, code or the like."""
    return rng.choice(_MAKER_FUNCTIONS)(rng)


# --------------------------------------------------------------------------------------------------------------------
# Lines


def _typeset(line: str) -> str:
    """Spells quotes, dashes and dots the way that typesetting programs do."""
    line = re.sub(r"(?<=\w)'", "’", line)
    line = re.sub(r"(?:(?<=^)|(?<=[ (\[]))\"(?=\w)", "“", line)
    line = re.sub(r"(?:(?<=^)|(?<=[ (\[]))'(?=\w)", "‘", line)
    line = re.sub(r"(?<=[\w.,!?])\"", "”", line).replace("---", "—").replace("--", "–").replace(" - ", " – ")
    return re.sub(r"(?<=\d)-(?=\d)", "–", line).replace("...", "…")


class TextSampler:
    """Draws lines of text: mostly windows of the paragraphs, some made up, many with typographic signs put in."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Keeps the readable paragraphs.

        Args:
            texts: Paragraphs of any length.

        Raises:
            ValueError: No paragraph has a readable word.
        """
        self._texts = [text for text in texts if text and is_readable(text)]
        if not self._texts:
            raise ValueError(
                "Found no text to render: every text was empty or had characters outside the charset. "
                "Give at least one line of plain English."
            )
        # Long paragraphs are drawn more often, or the short entries of dictionaries would fill the training set.
        self._cumulative: list[int] = []
        total = 0
        for text in self._texts:
            total += min(len(text), 600)
            self._cumulative.append(total)

    def line(self, rng: random.Random, max_words: int | None = None) -> str:
        """Draws one line.

        Args:
            rng: The only source of chance.
            max_words: Most words of a line; None for lines of all lengths up to `LONGEST` characters.

        Returns:
            At least one visible sign, words joined by single spaces.
        """
        if max_words is None:
            share = rng.random()
            if share < 0.14:
                limit = rng.randrange(_LONG, LONGEST + 1)
            elif share < 0.5:
                limit = rng.randrange(60, _LONG)
            elif share < 0.77:
                limit = rng.randrange(18, 60)
            else:
                limit = rng.randrange(3, 26)
            most = 1 + limit // 3
        else:
            limit = LONGEST
            most = rng.randint(1, max_words)
        kind = rng.random()
        if kind < 0.16:
            words = self._made_up(rng, most, limit)
        elif kind < 0.17 and most > 4:
            words = self._contents_entry(rng, limit)
        else:
            words = self._window(rng, most, limit)
            if rng.random() < 0.3:
                self._decorate(rng, words)
            if rng.random() < 0.12:
                words[rng.randrange(len(words))] = make_up(rng)
            case = rng.random()
            if case < 0.05:
                words = [word.upper() for word in words]
            elif case < 0.09:
                words = [word[:1].upper() + word[1:] for word in words]
        line = " ".join(words)
        if rng.random() < 0.5:
            line = _typeset(line)
        if max_words is not None:
            line = " ".join(line.split()[:max_words])
        return self._cut(line, limit)

    def _window(self, rng: random.Random, most: int, limit: int) -> list[str]:
        words: list[str] = []
        size = 0
        for _ in range(4):
            place = rng.randrange(self._cumulative[-1])
            parts = self._texts[bisect.bisect_right(self._cumulative, place)].split()
            start = 0 if words or rng.random() < 0.25 else rng.randrange(len(parts))
            for word in parts[start : start + most - len(words)]:
                if words and size + len(word) > limit:
                    return words
                words.append(word)
                size += len(word) + 1
            # Half of the paragraph ends are line ends; the other half goes on with another paragraph, and so do most if
            # the line is to be long, as few paragraphs are.
            if len(words) >= most or (words and rng.random() < (0.5 if limit < _LONG else 0.15)):
                break
        return words

    def _made_up(self, rng: random.Random, most: int, limit: int) -> list[str]:
        words: list[str] = []
        if rng.random() < 0.3:
            words.append(rng.choice(_LABELS) + rng.choice((":", ":", "", " –", ".")))
        count = min(most, rng.choice((1, 1, 2, 3, 4, 6, 8)))
        while len(words) < count or not words:
            words.append(make_up(rng))
            if sum(map(len, words)) + len(words) > limit:
                break
        return words

    def _contents_entry(self, rng: random.Random, limit: int) -> list[str]:
        words = [f"{rng.randrange(1, 20)}.{rng.randrange(1, 20)}", *self._window(rng, 5, 40)]
        dots = max(0, (limit - sum(map(len, words)) - len(words) - 4) // 2)
        if rng.random() < 0.7:
            return [*words, *["."] * min(dots, rng.randrange(4, 50)), str(rng.randrange(1, 400))]
        return [*words, "." * min(2 * dots, rng.randrange(3, 60)), str(rng.randrange(1, 400))]

    def _decorate(self, rng: random.Random, words: list[str]) -> None:
        place = rng.randrange(len(words))
        last = rng.randrange(place, min(len(words), place + 5))
        kind = rng.randrange(16)
        if kind < 8:
            left, right = rng.choice(
                (
                    ("“", "”"),
                    ("“", "”"),
                    ("“", ",”"),
                    ("‘", "’"),
                    ('"', '"'),
                    ("'", "'"),
                    ("(", ")"),
                    ("[", "]"),
                    ("{", "}"),
                    ("<", ">"),
                    ("*", "*"),
                    ("`", "`"),
                    ("—", "—"),
                )
            )
            words[place] = left + words[place]
            words[last] += right
        elif kind == 8:
            words[place] += rng.choice(("…", "...", " …", "…"))
        elif kind == 9:
            words[place] += rng.choice((" —", " –", "—", "–", " -")) + ("" if rng.random() < 0.5 else " and")
        elif kind in (10, 14, 15):
            words[0] = (
                rng.choice(("•", "•", "•", "•", "–", "-", "*", "—", "o", ">", "+", "§", "1.", "(a)")) + " " + words[0]
            )
        elif kind == 11:
            words[place] += rng.choice((";", ":", "!", "?", ",", ".", "?!", "!!", "/", "’s", "'s", "%", "°", "§", "©"))
        elif kind == 12:
            words[place] = words[place].replace("'", "’").replace("-", rng.choice("–—-"))
        else:
            words[place] += rng.choice((" &", " +", " =", " /", " |", " <", " >", " ~", " @", " #", " §", " %"))

    @staticmethod
    def _cut(line: str, limit: int) -> str:
        if len(line) <= limit:
            return line
        space = line.rfind(" ", 0, limit + 1)
        return line[: space if space > 0 else limit].strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Gathers the corpora into one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the file to write, one paragraph a line")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    temporary = options.out.with_name(options.out.name + ".part")
    with temporary.open("w", encoding="utf-8") as file:
        for name, texts in gather(options.seed):
            file.writelines(text + "\n" for text in texts)
            print(f"{name}: {len(texts)} paragraphs, {sum(map(len, texts)) / 1e6:.1f} M characters", file=sys.stderr)
    os.replace(temporary, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
