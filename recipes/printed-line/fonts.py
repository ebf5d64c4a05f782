"""Finds font faces for the renderer, with the families that training must never see.

Only a font's table of contents, `cmap` and `name` tables are read, by hand: the machine that trains may have nothing
but PyTorch, NumPy and Pillow.

Usage: `python fonts.py [--held-out] [--copy FOLDER [--subset]]` prints one face a line, and can copy the files into one
folder.
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from charset import ASCII, CHARACTERS

FONT_FOLDERS: tuple[Path, ...] = (
    Path("/usr/share/fonts"),
    Path("/usr/share/texmf/fonts/opentype"),
    Path("/usr/share/texlive/texmf-dist/fonts/opentype"),
)

HELD_OUT_FAMILIES: frozenset[str] = frozenset({"Caladea", "EB Garamond", "Cabin", "Comfortaa", "JetBrains Mono"})
"""Families for validation only: two serif, two sans (one of them round), one mono."""

LIGATURES: tuple[str, ...] = ("\ufb00", "\ufb01", "\ufb02", "\ufb03", "\ufb04")

# GPL and AGPL faces (their rendered lines could be argued to bind the weights) and fonts without running text.
_LEFT_OUT = re.compile(
    r"FreeSans|FreeSerif|FreeMono|Nimbus|URW|C059|D050000L|P052|Z003|SJ|Rufscript|Gargi|Math|Symbol|Emoji|Dingbat",
    re.IGNORECASE,
)
# Small capitals, initials and keyboard faces: the glyph under "a" is not a printed "a".
_STRANGE_FILES = re.compile(
    r"caps|smallcap|SC[-_.]|unsl|dunh|Initial|LinLibertine_I\b|LinLibertine_M\b|LinBiolinum_K|LinLibertine_I\.|"
    r"LinLibertine_M\.|OCRBX|OCRBS|OCRBE|OCRBF|-Thin|ExtraLight|Hairline|mathjax",
    re.IGNORECASE,
)
# Of the several hundred Noto faces only these are made for Latin text.
_NOTO = re.compile(r"^Noto(Sans|Serif|Mono|SansMono|SansDisplay|SerifDisplay)-", re.IGNORECASE)
_STYLE_WORDS = re.compile(
    r"\s+(Thin|Hairline|Extra ?Light|Ultra ?Light|Light|Book|Regular|Roman|Medium|Semi ?Bold|Demi ?Bold|Demi|Bold|"
    r"Extra ?Bold|Black|Heavy|Italic|Oblique|Condensed|Semi ?Condensed|Extra ?Condensed|ExtCond|SemCond|Cond|"
    r"Expanded|Semi ?Expanded|Retina|SemBd|ExtBd|Med|Blk|ExtLt|Sl|Slanted|Beta|VF|NL|O|\d+)$"
)


@dataclass(frozen=True)
class Face:
    """One font file: its family without weight and width words, its style, and the charset signs it lacks."""

    path: Path
    family: str
    style: str
    missing: frozenset[str]
    ligatures: frozenset[str]
    monospaced: bool

    @property
    def held_out(self) -> bool:
        """Whether the family is kept for validation."""
        return self.family in HELD_OUT_FAMILIES


def _tables(data: bytes) -> dict[str, bytes]:
    if data[:4] == b"ttcf":
        (offset,) = struct.unpack_from(">I", data, 12)
    else:
        offset = 0
    (count,) = struct.unpack_from(">H", data, offset + 4)
    tables = {}
    for index in range(count):
        tag, _, start, length = struct.unpack_from(">4sIII", data, offset + 12 + 16 * index)
        if tag in (b"cmap", b"name", b"post"):
            tables[tag.decode("ascii")] = data[start : start + length]
    return tables


def _code_points(cmap: bytes) -> set[int]:
    points: set[int] = set()
    (count,) = struct.unpack_from(">H", cmap, 2)
    for index in range(count):
        platform, encoding, offset = struct.unpack_from(">HHI", cmap, 4 + 8 * index)
        if not (platform == 0 or (platform == 3 and encoding in (1, 10))):
            continue
        (kind,) = struct.unpack_from(">H", cmap, offset)
        if kind == 4:
            (double,) = struct.unpack_from(">H", cmap, offset + 6)
            n = double // 2
            ends = struct.unpack_from(f">{n}H", cmap, offset + 14)
            starts = struct.unpack_from(f">{n}H", cmap, offset + 16 + double)
            for start, end in zip(starts, ends, strict=True):
                if start != 0xFFFF:
                    points.update(range(start, min(end, 0xFFFE) + 1))
        elif kind == 12:
            (groups,) = struct.unpack_from(">I", cmap, offset + 12)
            for group in range(groups):
                start, end, _ = struct.unpack_from(">III", cmap, offset + 16 + 12 * group)
                if start < 0x10000:
                    points.update(range(start, min(end, 0xFFFF) + 1))
    return points


def _names(table: bytes) -> dict[int, str]:
    names: dict[int, str] = {}
    _, count, storage = struct.unpack_from(">HHH", table, 0)
    for index in range(count):
        platform, encoding, language, name, length, offset = struct.unpack_from(">6H", table, 6 + 12 * index)
        raw = table[storage + offset : storage + offset + length]
        if platform == 3 and language == 0x409:
            names[name] = raw.decode("utf-16-be", "replace")
        elif platform == 1 and encoding == 0 and language == 0:
            names.setdefault(name, raw.decode("latin-1"))
    return names


def plain_family(name: str) -> str:
    """Takes weight, width and optical-size words from the end of a family name."""
    while True:
        shorter = _STYLE_WORDS.sub("", name.strip())
        if shorter == name or not shorter:
            return name
        name = shorter


def read_face(path: Path) -> Face | None:
    """Reads what the renderer must know of one font file.

    Args:
        path: A `.ttf` or `.otf` file.

    Returns:
        The face, or None where the file is not a font or lacks printable ASCII.
    """
    try:
        tables = _tables(path.read_bytes())
        points = _code_points(tables["cmap"])
        names = _names(tables["name"])
    except (OSError, KeyError, struct.error):
        return None
    if any(ord(sign) not in points for sign in ASCII):
        return None
    return Face(
        path=path,
        family=plain_family(names.get(16) or names.get(1) or path.stem),
        style=(names.get(17) or names.get(2) or "Regular").strip(),
        missing=frozenset(sign for sign in CHARACTERS if ord(sign) not in points),
        ligatures=frozenset(sign for sign in LIGATURES if ord(sign) in points),
        monospaced=len(tables.get("post", b"")) >= 16 and struct.unpack_from(">I", tables["post"], 12)[0] != 0,
    )


def find_files(folders: Iterable[Path] = FONT_FOLDERS) -> list[Path]:
    """Lists the font files under some folders, sorted, one for each file name."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in (".ttf", ".otf"):
                found.setdefault(path.name.lower(), path)
    return sorted(found.values(), key=lambda path: path.name)


def list_faces(folders: Iterable[Path] = FONT_FOLDERS, *, held_out: bool | None = False) -> list[Face]:
    """Lists the faces that are fit for English lines.

    Args:
        folders: Where to look, with all folders below.
        held_out: False for training faces, True for the validation families, None for both.

    Returns:
        Faces in the order of their file names.
    """
    faces = []
    for path in find_files(folders):
        name = path.name
        if _STRANGE_FILES.search(name) or (name.lower().startswith("noto") and not _NOTO.match(name)):
            continue
        face = read_face(path)
        if face is None or _LEFT_OUT.search(face.family):
            continue
        if held_out is None or face.held_out == held_out:
            faces.append(face)
    return faces


def copy_face(face: Face, folder: Path, *, subset: bool) -> Path:
    """Copies one font file, whole or with nothing but the charset's glyphs.

    Args:
        face: What to copy.
        folder: Where to; it must exist.
        subset: Whether to drop other glyphs and the layout tables that the renderer does not use (needs fonttools).

    Returns:
        The new file.
    """
    path = folder / face.path.name
    if not subset:
        shutil.copyfile(face.path, path)
        return path
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    options = Options()
    options.layout_features = []
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "DSIG", "FFTM", "MATH"]
    options.name_IDs = ["*"]
    options.notdef_outline = True
    options.legacy_kern = True
    font = TTFont(face.path, lazy=True)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=[ord(sign) for sign in (*CHARACTERS, *LIGATURES)])
    subsetter.subset(font)
    font.save(path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the faces and, where asked, copies them into one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, action="append", help="a font folder (may be repeated)")
    parser.add_argument("--held-out", action="store_true", help="the validation families instead of the training ones")
    parser.add_argument("--copy", type=Path, help="copy the files here")
    parser.add_argument("--subset", action="store_true", help="copy only the glyphs of the charset (needs fonttools)")
    options = parser.parse_args(arguments)
    faces = list_faces(options.fonts or FONT_FOLDERS, held_out=options.held_out)
    for face in faces:
        print(f"{face.family}\t{face.style}\t{face.path}\t{''.join(sorted(face.missing))}")
        if options.copy:
            options.copy.mkdir(parents=True, exist_ok=True)
            copy_face(face, options.copy, subset=options.subset)
    size = sum(face.path.stat().st_size for face in faces) / 1e6
    print(f"{len(faces)} faces, {len({face.family for face in faces})} families, {size:.1f} MB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
