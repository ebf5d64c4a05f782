"""Renders printed lines of text the way that documents, screens and scans show them.

A line depends on the seed and its index alone, so any number of processes can render parts of one endless data set.

Usage: `python render.py --out DIR --count 500 [--held-out] [--clean] [--sheet]` writes PNG files with `.gt.txt`
beside them.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import random
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from charset import CHARACTERS
from fonts import FONT_FOLDERS, HELD_OUT_FAMILIES, Face, list_faces, read_face
from texts import TextSampler, read_texts

Array = np.ndarray

HELD_OUT_TEXTS = Path(__file__).with_name("held_out.txt")
HELD_OUT_SEED = 1867

# What documents are set in, against display faces: families with these words are drawn three times as often.
_BODY = (
    "Liberation", "Latin Modern", "TeX Gyre", "DejaVu", "Noto", "Carlito", "Tinos", "Arimo", "Cousine", "Roboto",
    "Open Sans", "Lato", "Linux Libertine", "Charis", "Gentium", "Caladea",
)  # fmt: skip
_LIGATURES = (("ffi", "\ufb03"), ("ffl", "\ufb04"), ("ff", "\ufb00"), ("fi", "\ufb01"), ("fl", "\ufb02"))
_LETTERS_OF = {joined: len(plain) for plain, joined in _LIGATURES}
# Glyphs are drawn once per face at one of these sizes and lines are shrunk from there, as drawing glyphs costs more
# than all else. Most of a process's memory are such glyphs; the faces that were not used for longest go first.
_STRIKES = (48, 96)
_STRIKE_LIMIT = 900
# Pairs that fonts set closer together, and by how much of the size at most. The fonts' own tables are not read: which
# of them FreeType and Raqm can use differs from machine to machine.
_KERNED = {
    "A": ("TVWYv\u2019w", 0.09), "T": ("aeocrsuywAmnp.,-:;", 0.09), "V": ("aeouA.,-", 0.08), "W": ("aeoA.,-", 0.06),
    "Y": ("aeouA.,-", 0.09), "P": ("A.,ae", 0.09), "F": (".,aeoA", 0.08), "L": ("TVWYy\u2019\u201d", 0.08),
    "r": (".,-", 0.06), "y": (".,", 0.06), "v": (".,", 0.06), "w": (".,", 0.05), "f": (".,", 0.03), "R": ("TVWY", 0.03),
    "\u2018": ("A", 0.08), "\u201c": ("A", 0.08), ".": ("\u2019\u201d", 0.05), ",": ("\u2019\u201d", 0.05),
}  # fmt: skip


class _Family:
    """The faces of one family, the everyday styles first."""

    def __init__(self, name: str, faces: list[Face]) -> None:
        self.name = name
        self.faces = faces
        self.weight = 3.0 if any(word in name for word in _BODY) else 1.0
        # Several related families (Latin Modern Sans, Latin Modern Mono, …) share some of the load.
        if len(faces) == 1:
            self.weight *= 0.5
        # Whatever the number of a family's faces: half of its lines are upright and regular, a third bold or italic.
        kinds = [_kind(face.style) for face in faces]
        shares = {"everyday": 0.5, "common": 0.32, "rare": 0.18}
        self.face_weights = [shares[kind] / kinds.count(kind) for kind in kinds]


def _kind(style: str) -> str:
    plain = style.lower().lstrip("0123456789 ")
    if plain in ("regular", "book", "roman", "medium", ""):
        return "everyday"
    return "common" if plain in ("bold", "italic", "oblique", "bold italic") else "rare"


class _Strike:
    """One face at one size: glyphs are drawn when first wanted."""

    def __init__(self, path: Path, size: int) -> None:
        # The basic layout is the same on every machine; Raqm depends on what is installed.
        self.font = ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
        self.size = size
        self._glyphs: dict[str, tuple[Image.Image | None, int, int, float]] = {}

    def glyph(self, sign: str) -> tuple[Image.Image | None, int, int, float]:
        """One sign: its ink, where that lies from the pen's place on the baseline, and how far the pen goes on."""
        found = self._glyphs.get(sign)
        if found is None:
            left, top, right, bottom = (round(edge) for edge in self.font.getbbox(sign, anchor="ls"))
            ink = None
            if right > left and bottom > top:
                ink = Image.new("L", (right - left, bottom - top), 0)
                ImageDraw.Draw(ink).text((-left, -top), sign, fill=255, font=self.font, anchor="ls")
            found = self._glyphs[sign] = (ink, left, top, self.font.getlength(sign))
        return found


@dataclass(slots=True)
class _Word:
    """A word of a line: what is drawn where, in drawing pixels from the line's start."""

    strike: _Strike
    signs: str
    places: list[float]
    start: float
    end: float


@dataclass(slots=True)
class _Plan:
    """What was decided for one line before anything is drawn; lengths are in pixels of the finished crop."""

    size: float
    native: bool
    ink: float
    ground: float
    above: float
    below: float
    left: float
    right: float
    leading: float
    neighbours: float
    skewed: float
    document: bool


@dataclass(frozen=True, slots=True)
class Looks:
    """Which share of the lines looks like what; what is left of the first two looks like anything else."""

    document: float = 0.55
    """Clean crops of a document."""
    scan: float = 0.18
    """Such crops after a scanner."""
    skewed: float = 0.4
    """Of the scans: turned by up to 1.5 degrees."""


class LineRenderer:
    """An endless, indexed set of rendered lines."""

    def __init__(
        self,
        fonts: Sequence[Path],
        texts: Sequence[str],
        *,
        seed: int,
        height: int = 32,
        max_width: int = 1024,
        looks: Looks = Looks(),
    ) -> None:
        """Reads the fonts' tables of characters; the outlines are read when first used.

        Args:
            fonts: Font files; those without printable ASCII are left out.
            texts: Paragraphs for the lines.
            seed: Changes every line.
            height: Height of the model's canvas.
            max_width: Width of the model's canvas; longer lines are squeezed to it.
            looks: What the lines look like.

        Raises:
            ValueError: No font or no text can be used.
        """
        faces = [face for face in map(read_face, sorted(fonts, key=lambda path: path.name)) if face is not None]
        if not faces:
            raise ValueError(
                f"Found no usable font among {len(fonts)} files: each must be a TrueType or OpenType file that has all "
                "printable ASCII characters. Install fonts-dejavu or name another folder."
            )
        grouped: dict[str, list[Face]] = {}
        for face in faces:
            grouped.setdefault(face.family, []).append(face)
        self.families = [_Family(name, members) for name, members in sorted(grouped.items())]
        self._family_weights = [family.weight for family in self.families]
        self._mono = [face for face in faces if face.monospaced]
        self.sampler = TextSampler(texts)
        self.seed = seed
        self.height = height
        self.max_width = max_width
        self.looks = looks
        self._strikes: OrderedDict[tuple[Path, int], _Strike] = OrderedDict()

    def render(self, index: int, max_words: int | None = None, *, degrade: bool = True) -> tuple[Array, str]:
        """Renders one line and scales it as the model's image processor does, but fills no columns.

        Args:
            index: Which line of the endless set.
            max_words: Most words of the line; None for all lengths.
            degrade: False for clean document crops only (empty crops included).

        Returns:
            Gray values, uint8 of shape (`height`, w) with w at most `max_width`, and the text.
        """
        array, text, _ = self.render_placed(index, max_words, degrade=degrade)
        return array, text

    def render_placed(
        self, index: int, max_words: int | None = None, *, degrade: bool = True
    ) -> tuple[Array, str, Array]:
        """Renders one line and tells where its signs stand.

        Args:
            index: Which line of the endless set.
            max_words: Most words of the line; None for all lengths.
            degrade: False for clean document crops only (empty crops included).

        Returns:
            What `render` returns, and for each character of the text where its middle is, as a share of the array's
            width: float32 of shape (len(text),). Those of a line that was turned are off by less than a stroke.
        """
        array, text, places = self._crop(index, max_words, degrade=degrade)
        return scale_to_canvas(array, self.height, self.max_width), text, places

    def crop(self, index: int, max_words: int | None = None, *, degrade: bool = True) -> tuple[Array, str]:
        """Renders one line at the size that it has on its page, screen or scan.

        Args:
            index: Which line of the endless set.
            max_words: Most words of the line; None for all lengths.
            degrade: False for clean document crops only (empty crops included).

        Returns:
            Gray values, uint8 of shape (H, W), and the text.
        """
        array, text, _ = self._crop(index, max_words, degrade=degrade)
        return array, text

    def _crop(self, index: int, max_words: int | None, *, degrade: bool) -> tuple[Array, str, Array]:
        rng = random.Random(f"{self.seed} {index}")
        document = not degrade or rng.random() < self.looks.document
        empty = rng.random() < 0.01
        text = "" if empty else self.sampler.line(rng, max_words)
        family = self.families[rng.choices(range(len(self.families)), self._family_weights)[0]]
        face = self._face(rng, family, text)
        if not face.missing.isdisjoint(text):
            # Signs that no face of some tries has: written without them rather than as boxes.
            text = " ".join("".join(sign for sign in text if sign not in face.missing).split())
        if document:
            plan = self._document_plan(rng)
        else:
            scan = self.looks.scan / (1 - self.looks.document)
            plan = self._scan_plan(rng) if rng.random() < scan else self._varied_plan(rng)
        image, places = self._draw(rng, plan, face, text)
        array = self._finish_document(rng, plan, image) if document else self._finish_varied(rng, plan, image)
        return array, text, places

    # ---------------------------------------------------------------------------------------------------------------
    # Decisions

    def _face(self, rng: random.Random, family: _Family, text: str) -> Face:
        for _ in range(8):
            face = rng.choices(family.faces, family.face_weights)[0]
            if face.missing.isdisjoint(text):
                return face
            family = self.families[rng.choices(range(len(self.families)), self._family_weights)[0]]
        return face

    def _strike(self, face: Face, size: int) -> _Strike:
        key = (face.path, size)
        strike = self._strikes.get(key)
        if strike is None:
            strike = self._strikes[key] = _Strike(face.path, size)
            if len(self._strikes) > _STRIKE_LIMIT:
                self._strikes.popitem(last=False)
        else:
            self._strikes.move_to_end(key)
        return strike

    def _document_plan(self, rng: random.Random, resolutions: Sequence[int] = (40, 18, 30, 12)) -> _Plan:
        points = rng.choice((8, 9, 9, 9.96, 10, 10, 10, 10.95, 11, 11, 12, 12, 12, 14.3, 17.2))
        dpi = rng.choices((100, 150, 200, 300), resolutions)[0]
        size = points * dpi / 72
        # Margins are whole pixels around the box that the PDF reader gives: ascender to descender of the font.
        margin = rng.choice((2, 3, 3, 3, 4, 4))
        ink = 0.0 if rng.random() < 0.92 else rng.uniform(0, 120)
        return _Plan(
            size=size,
            native=False,
            ink=ink,
            # Listings often stand on a pale gray box.
            ground=255.0 if rng.random() < 0.93 else rng.uniform(225, 254),
            above=rng.uniform(0.72, 1.0) * size + margin,
            below=rng.uniform(0.2, 0.32) * size + margin,
            left=margin + rng.uniform(-0.5, 1.2),
            right=margin + rng.uniform(-0.5, 1.2),
            leading=rng.uniform(1.14, 1.5) * size,
            neighbours=0.6,
            skewed=0.0,
            document=True,
        )

    def _scan_plan(self, rng: random.Random) -> _Plan:
        """A tight crop of a document that goes through a scanner: skew, blur, noise and JPEG come later."""
        # Scanners see finer than screens. A line that is turned fills half of its crop, which takes as much again.
        plan = self._document_plan(rng, (12, 24, 44, 20))
        plan.document = False
        plan.skewed = self.looks.skewed
        plan.ink, plan.ground = (0.0, 255.0) if rng.random() < 0.6 else (rng.uniform(0, 80), rng.uniform(200, 255))
        return plan

    def _varied_plan(self, rng: random.Random) -> _Plan:
        size = math.exp(rng.uniform(math.log(12), math.log(54)))
        if rng.random() < 0.5:
            ink, ground = rng.uniform(0, 70), rng.uniform(215, 255)
        else:
            ink, ground = rng.uniform(0, 150), rng.uniform(150, 255)
            if ground - ink < 60:
                ink = max(0.0, ground - rng.uniform(60, 160))
        if rng.random() < 0.22:
            ink, ground = 255 - ink, 255 - ground
        tight = rng.random()
        above = rng.uniform(0.7, 1.0) if tight < 0.6 else rng.uniform(0.8, 1.7)
        below = rng.uniform(0.2, 0.35) if tight < 0.6 else rng.uniform(0.22, 0.9)
        return _Plan(
            size=size,
            native=rng.random() < 0.25,
            ink=ink,
            ground=ground,
            above=above * size + rng.choice((0, 1, 2, 3)),
            below=below * size + rng.choice((0, 1, 2, 3)),
            left=rng.choice((0.0, 1.0, 3.0, rng.uniform(0, 0.6) * size, rng.uniform(0, 2) * size)),
            right=rng.choice((0.0, 1.0, 3.0, rng.uniform(0, 0.6) * size, rng.uniform(0, 3) * size)),
            leading=rng.uniform(1.05, 1.8) * size,
            neighbours=0.35,
            skewed=0.4,
            document=False,
        )

    # ---------------------------------------------------------------------------------------------------------------
    # Drawing

    def _draw(self, rng: random.Random, plan: _Plan, face: Face, text: str) -> tuple[Image.Image, Array]:
        """Draws ink (255) on nothing (0), at the size of the crop, and tells where the characters are."""
        # Screens show glyphs hinted for their size; documents and scans show them unhinted at fractions of a pixel,
        # which shrinking gives.
        size, scale = max(6, round(plan.size)), 1.0
        if not plan.native:
            size = _STRIKES[0] if plan.size <= 16 else _STRIKES[1]
            scale = size / plan.size
        strike = self._strike(face, size)
        ligatures = face.ligatures if rng.random() < 0.6 else frozenset()
        words = self._layout(rng, face, strike, text, ligatures)
        length = (words[-1].end if words else rng.uniform(1, 25) * size) / scale
        width = max(2, round(length + plan.left + plan.right))
        angle = 0.0
        if not plan.document and rng.random() < plan.skewed:
            angle = rng.choice((-1.0, 1.0, rng.uniform(-1.5, 1.5), rng.uniform(-0.7, 0.7)))
        if not plan.document and rng.random() < 0.12:
            plan.neighbours = 1.0
        # A slanted line needs a higher crop; it is turned last, at the crop's own size.
        drift = math.ceil(abs(math.tan(math.radians(angle))) * width / 2)
        height = max(8, round(plan.above + plan.below) + 2 * drift)
        image = Image.new("L", (max(2, round(width * scale)), max(8, round(height * scale))), 0)
        left, baseline = plan.left * scale, round((plan.above + drift) * scale)
        for word in words:
            for sign, place in zip(word.signs, word.places, strict=True):
                ink, right, up, _ = word.strike.glyph(sign)
                if ink is not None:
                    image.paste(255, (round(left + place) + right, baseline + up), ink)
        leading = round(plan.leading * scale)
        for offset, visible in (
            (-leading, baseline - leading + size * 0.25 > 0),
            (leading, baseline + leading - size * 0.75 < image.height),
        ):
            if rng.random() < plan.neighbours and visible:
                if not words or rng.random() < 0.35:
                    self._neighbour(rng, image, strike, (left, baseline + offset), face)
                else:
                    _echo(rng, image, baseline, offset, leading)
        chance = rng.random()
        if chance < 0.012 and words:
            y = baseline + round(size * rng.uniform(0.08, 0.2))
            thickness = max(1, round(size * rng.uniform(0.03, 0.08)))
            first, last = (words[0], words[-1]) if rng.random() < 0.5 else (rng.choice(words),) * 2
            ImageDraw.Draw(image).line((left + first.start, y, left + last.end, y), fill=255, width=thickness)
        elif chance < 0.022 and not plan.document:
            thickness = max(1, round(scale * rng.choice((0.5, 1, 2))))
            y = rng.choice((thickness, image.height - thickness - 1))
            ImageDraw.Draw(image).line((0, y, image.width, y), fill=255, width=thickness)
        if not plan.document and not plan.native:
            # Ink that ran or faded: strokes a little heavier or lighter.
            weight = rng.random()
            if weight < 0.1:
                merge = ImageChops.lighter if weight < 0.06 else ImageChops.darker
                for across, down in ((1, 0), (0, 1)):
                    image = merge(image, ImageChops.offset(image, across, down))
        places = (np.asarray(_middles(words), np.float32) + left) / image.width
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BOX)
        if angle:
            image = image.rotate(angle, Image.Resampling.BILINEAR)
        return image, places

    def _layout(
        self, rng: random.Random, face: Face, strike: _Strike, text: str, ligatures: frozenset[str]
    ) -> list[_Word]:
        """Places words and their signs."""
        words = text.split(" ")
        if words == [""]:
            return []
        size = strike.size
        space = strike.glyph(" ")[3]
        # Justified text stretches and squeezes its spaces.
        if rng.random() < 0.5:
            space *= rng.uniform(0.75, 1.7)
        tracking = size * rng.uniform(-0.02, 0.12) if rng.random() < 0.04 else 0.0
        kerning = 0.0 if face.monospaced or rng.random() < 0.3 else size * rng.uniform(0.5, 1.0)
        wide_gap = rng.randrange(len(words)) if rng.random() < 0.03 else -1
        mixed: Face | None = None
        first, last = 0, 0
        if len(words) > 2 and rng.random() < 0.18:
            first = rng.randrange(len(words))
            last = min(len(words), first + rng.choice((1, 1, 2, 3, 6)))
            same = [other for other in self._same_family(face) if other is not face]
            others = self._mono if self._mono and rng.random() < 0.4 else same
            mixed = rng.choice(others) if others else None
        placed = []
        x = 0.0
        for index, word in enumerate(words):
            word_strike, word_ligatures, word_kerning = strike, ligatures, kerning
            if mixed is not None and first <= index < last and mixed.missing.isdisjoint(word):
                word_strike, word_ligatures = self._strike(mixed, size), ligatures & mixed.ligatures
                word_kerning = 0.0 if mixed.monospaced else kerning
            if word_ligatures and "f" in word and not tracking:
                for plain, joined in _LIGATURES:
                    if joined in word_ligatures:
                        word = word.replace(plain, joined)
            start, places, before = x, [], ("", 0.0)
            for sign in word:
                if sign in before[0]:
                    x -= before[1] * word_kerning
                places.append(x)
                x += word_strike.glyph(sign)[3] + tracking
                before = _KERNED.get(sign, ("", 0.0))
            placed.append(_Word(word_strike, word, places, start, x))
            x += space
            if index == wide_gap:
                x += rng.uniform(1, 4) * space
        return placed

    def _same_family(self, face: Face) -> list[Face]:
        for family in self.families:
            if family.name == face.family:
                return family.faces
        return []

    def _neighbour(
        self, rng: random.Random, image: Image.Image, strike: _Strike, start: tuple[float, float], face: Face
    ) -> None:
        words = self.sampler.line(rng, 20 if image.width > 20 * strike.size else 6)
        x, y = start
        if rng.random() < 0.15:
            x += rng.uniform(-0.3, 0.5) * image.width
        for sign in words:
            if sign not in face.missing:
                ink, right, up, advance = strike.glyph(sign)
                if ink is not None:
                    image.paste(255, (round(x) + right, round(y) + up), ink)
                x += advance

    # ---------------------------------------------------------------------------------------------------------------
    # Looks

    def _finish_document(self, rng: random.Random, plan: _Plan, image: Image.Image) -> Array:
        gain = rng.choice((1.0, 1.0, 1.0, 1.0, rng.uniform(1.0, 1.3)))
        return _levels(plan.ground, plan.ink, gain)[np.asarray(image)]

    def _finish_varied(self, rng: random.Random, plan: _Plan, image: Image.Image) -> Array:
        noise = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
        ground, ink = plan.ground, plan.ink
        gain = rng.uniform(0.85, 1.4)
        kind = rng.random()
        if kind < 0.55:
            result = Image.fromarray(_levels(ground, ink, gain)[np.asarray(image)])
        else:
            coverage = np.asarray(image, dtype=np.float32)
            coverage = np.minimum(coverage * (gain / 255), 1.0)
            ground_array = _ground(rng, noise, ground, ink, coverage.shape)
            pixels = ground_array + (ink - ground_array) * coverage
            if rng.random() < 0.3:
                pixels = pixels * _light(rng, coverage.shape)
            result = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        if rng.random() < 0.4:
            # Blur is a matter of the stroke width: stronger where letters are larger.
            result = result.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0) * min(2.0, plan.size / 22)))
        if rng.random() < 0.25:
            factor = rng.uniform(0.5, 0.95) if plan.size > 20 else rng.uniform(0.8, 1.3)
            small = (max(4, round(result.width * factor)), max(8, round(result.height * factor)))
            original = result.size
            methods = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX)
            result = result.resize(small, rng.choice(methods))
            if rng.random() < 0.5:
                result = result.resize(original, rng.choice((*methods, Image.Resampling.NEAREST)))
        if rng.random() < 0.4:
            pixels = np.asarray(result, dtype=np.float32)
            contrast = abs(ground - ink)
            pixels = pixels + noise.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(1, 0.11 * contrast)
            if rng.random() < 0.15:
                spots = noise.random(pixels.shape, dtype=np.float32)
                share = rng.uniform(0.0005, 0.008)
                pixels = np.where(spots < share, np.float32(ink), pixels)
                pixels = np.where(spots > 1 - share, np.float32(ground), pixels)
            result = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        if rng.random() < 0.45:
            buffer = io.BytesIO()
            result.save(buffer, "JPEG", quality=rng.choice((25, 30, 40, 40, 50, 60, 75, 85)))
            result = Image.open(buffer)
            result.load()
        return np.asarray(result.convert("L"))


def _middles(words: Sequence[_Word]) -> list[float]:
    """Where the middle of each character lies, spaces between words included, in drawing pixels from the start."""
    middles: list[float] = []
    before: float | None = None
    for word in words:
        if before is not None:
            middles.append((before + word.start) / 2)
        ends = [*word.places, word.end][1:]  # none for the nothing between two spaces
        for sign, start, end in zip(word.signs, word.places, ends, strict=True):
            count = _LETTERS_OF.get(sign, 1)
            middles.extend(start + (end - start) * (part + 0.5) / count for part in range(count))
        before = word.end
    return middles


def _echo(rng: random.Random, image: Image.Image, baseline: int, offset: int, leading: int) -> None:
    """Draws the line itself, shifted along, as the line above or below: nearly free, where a new text costs as much as
    the line did."""
    width = image.width
    top = max(0, baseline - round(0.75 * leading))
    strip = image.crop((0, top, width, min(image.height, top + leading)))
    shift = rng.randrange(1, max(2, width))
    rolled = Image.new("L", strip.size, 0)
    rolled.paste(strip, (shift, 0))
    rolled.paste(strip, (shift - width, 0))
    image.paste(255, (0, top + offset), rolled)


def _levels(ground: float, ink: float, gain: float) -> Array:
    """Gray value for each of the 256 amounts of ink."""
    share = np.minimum(np.arange(256, dtype=np.float64) * (gain / 255), 1.0)
    return np.rint(ground + (ink - ground) * share).astype(np.uint8)


def _ground(rng: random.Random, noise: np.random.Generator, ground: float, ink: float, shape: tuple[int, int]) -> Array:
    """Paper that is not one colour: a slope, soft blotches or bands."""
    height, width = shape
    room = 0.45 * abs(ground - ink)
    kind = rng.random()
    if kind < 0.4:
        columns = np.linspace(0, rng.uniform(-room, room), width, dtype=np.float32)[None, :]
        rows = np.linspace(0, rng.uniform(-room, room) / 3, height, dtype=np.float32)[:, None]
        return ground + columns + rows
    if kind < 0.8:
        cells = (
            noise.uniform(-room, room, (max(2, height // 12), max(2, width // 16))).astype(np.float32) * rng.random()
        )
        soft = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
        return ground + np.asarray(soft, dtype=np.float32)
    bands = np.full(shape, ground, dtype=np.float32)
    shift = rng.uniform(-room, room)
    if rng.random() < 0.5:
        bands[:, rng.randrange(width) :] += shift
    else:
        bands[rng.randrange(height) :, :] += shift
    return bands


def _light(rng: random.Random, shape: tuple[int, int]) -> Array:
    """Uneven light: one broad shadow."""
    height, width = shape
    middle, spread = rng.uniform(-0.2, 1.2) * width, rng.uniform(0.2, 1.0) * width
    columns = (np.arange(width, dtype=np.float32) - middle) / spread
    light = 1 - rng.uniform(0.1, 0.45) * np.exp(-0.5 * columns * columns)
    return np.broadcast_to(light[None, :], (height, width))


def scale_to_canvas(array: Array, height: int = 32, max_width: int = 1024) -> Array:
    """Scales a crop to the height of the model's canvas with the steps of the model's own image processor.

    These are the steps of `DonutImageProcessor` up to its filling: the shorter side becomes `height` (bilinear), then
    what is still too wide or too high is scaled into the canvas (bicubic), and rows are filled with 0, half of them
    above.

    Args:
        array: Gray values, uint8 of shape (H, W).
        height: Height of the canvas.
        max_width: Width of the canvas.

    Returns:
        uint8 of shape (height, w) with w at most `max_width`; the columns up to it are left to whoever makes a batch,
        who fills with 0 and puts `(max_width - w) // 2` of them at the left.
    """
    image = Image.fromarray(array)
    if image.width <= image.height:
        image = image.resize((height, int(height * image.height / image.width)), Image.Resampling.BILINEAR)
    else:
        image = image.resize((int(height * image.width / image.height), height), Image.Resampling.BILINEAR)
    size = (min(image.width, max_width), min(image.height, height))
    if size != image.size:
        if image.height > image.width:
            size = (max(1, int(image.width * size[1] / image.height)), size[1])
        else:
            size = (size[0], max(1, int(image.height * size[0] / image.width)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    scaled = np.asarray(image)
    rows = height - image.height
    return np.pad(scaled, ((rows // 2, rows - rows // 2), (0, 0))) if rows else scaled


def held_out_lines(
    count: int = 500, *, degrade: bool = True, folders: Sequence[Path] = FONT_FOLDERS
) -> list[tuple[Array, str]]:
    """Renders the fixed validation lines: font families and paragraphs that training never sees.

    Args:
        count: How many; fewer are the first of more.
        degrade: False for the same number of clean document crops.
        folders: Where the fonts are.

    Returns:
        As `LineRenderer.render` gives them.

    Raises:
        ValueError: A family is missing, so that the lines would be others than elsewhere.
    """
    faces = list_faces(folders, held_out=True)
    if missing := HELD_OUT_FAMILIES - {face.family for face in faces}:
        raise ValueError(
            f"Found no font of {', '.join(sorted(missing))} in {', '.join(map(str, folders))}: the held-out lines need "
            "all of their families. Install the fonts that README.md lists, or name the folder that has them."
        )
    renderer = LineRenderer([face.path for face in faces], read_texts(HELD_OUT_TEXTS), seed=HELD_OUT_SEED)
    return [renderer.render(index, degrade=degrade) for index in range(count)]


def sheet(lines: Sequence[tuple[Array, str]], *, width: int = 1400) -> Image.Image:
    """Puts lines with their texts on one picture, for looking at."""
    font = ImageFont.load_default(11)
    rows = []
    for array, text in lines:
        image = Image.fromarray(array)
        if image.width > width:
            image = image.resize((width, round(image.height * width / image.width)))
        rows.append((image, text))
    page = Image.new("L", (width, sum(image.height + 18 for image, _ in rows)), 200)
    draw = ImageDraw.Draw(page)
    y = 0
    for image, text in rows:
        page.paste(image, (0, y))
        draw.text((4, y + image.height + 1), text.encode("latin-1", "replace").decode("latin-1"), fill=90, font=font)
        y += image.height + 18
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders a folder of lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for PNG and .gt.txt files")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, help="1 unless given; --held-out has its own")
    parser.add_argument("--held-out", action="store_true", help="font families and texts that training never sees")
    parser.add_argument("--clean", action="store_true", help="document crops only, without degradations")
    parser.add_argument("--max-words", type=int, default=None)
    parser.add_argument("--fonts", type=Path, action="append", help="a font folder (may be repeated)")
    parser.add_argument("--texts", type=Path, help="paragraphs, one a line (texts.py writes such a file)")
    parser.add_argument("--scaled", action="store_true", help="as the model sees them, 32 pixels high, not as on paper")
    parser.add_argument("--sheet", action="store_true", help="also write sheet.png with the first 40 lines")
    options = parser.parse_args(arguments)
    faces = list_faces(options.fonts or FONT_FOLDERS, held_out=options.held_out)
    seed = 1 if options.seed is None else options.seed
    if options.held_out:
        texts = read_texts(options.texts or HELD_OUT_TEXTS)
        seed = HELD_OUT_SEED if options.seed is None else options.seed
    elif options.texts:
        texts = read_texts(options.texts)
    else:
        from texts import gather

        texts = [text for _, some in gather() for text in some]
    renderer = LineRenderer([face.path for face in faces], texts, seed=seed)
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    draw = renderer.render if options.scaled else renderer.crop
    lines = [draw(index, options.max_words, degrade=not options.clean) for index in range(options.count)]
    seconds = time.perf_counter() - start
    for index, (array, text) in enumerate(lines):
        assert CHARACTERS.issuperset(text)
        stem = options.out / f"{index:06d}"
        temporary = stem.with_suffix(".part")
        Image.fromarray(array).save(temporary, "PNG")
        os.replace(temporary, stem.with_suffix(".png"))
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, stem.with_suffix(".gt.txt"))
    if options.sheet:
        sheet(lines[:40]).save(options.out / "sheet.png")
    print(f"{options.count} lines, {options.count / seconds:.0f} lines a second", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
