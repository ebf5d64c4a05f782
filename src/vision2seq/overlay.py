"""The words of a reading drawn over its image: a box round each, coloured by how sure the model is of it.

The colours are those of a scheme that people with any kind of colour vision tell apart; unsure words have thicker
frames as well. Source of the colours: Paul Tol, "Colour Schemes", SRON/EPS/TN/09-002 (vibrant and high-contrast).
"""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

from vision2seq.reading import Reading, Word

Colour = tuple[int, int, int]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

# Probability from which on a word gets the colour, and what the legend calls it.
SCALE: tuple[tuple[float, str, Colour], ...] = (
    (0.99, "from 99 %", (0, 119, 187)),
    (0.95, "95 to 99 %", (51, 187, 238)),
    (0.8, "80 to 95 %", (221, 170, 51)),
    (0.5, "50 to 80 %", (238, 119, 51)),
    (0.0, "below 50 %", (204, 51, 17)),
)
_THICKER = (1.0, 1.0, 1.5, 2.0, 2.0)
_SMALLEST = 48  # pixels that a word is high at least: smaller pictures are drawn larger
_WIDEST = 4000  # but no wider than this
_FILLED = 40  # of 255: how much of the colour lies over the word


def draw_words(image: Image.Image, reading: Reading) -> Image.Image:
    """Draw the words of a located reading over its image, and a legend below.

    Args:
        image: The picture that was read, upright.
        reading: What was read with ``locate=True``.

    Returns:
        A picture in mode RGB, a whole number of times as large.
    """
    words = [word for word in reading.words if word.box is not None]
    times = _enlargement(image, words)
    canvas = image.convert("RGB").resize((image.width * times, image.height * times), Image.Resampling.BICUBIC)
    line = max(2, round(min(canvas.size) / 400))
    drawing = ImageDraw.Draw(canvas, "RGBA")
    # The sure ones first, so that no other frame hides the unsure.
    for word in sorted(words, key=lambda word: -word.probability):
        assert word.box is not None
        step = step_of(word.probability)
        left, top, right, bottom = (edge * times for edge in word.box)
        right, bottom = max(left, min(right, canvas.width) - 1), max(top, min(bottom, canvas.height) - 1)
        colour, width = SCALE[step][2], round(line * _THICKER[step])
        drawing.rectangle((left, top, right, bottom), fill=(*colour, _FILLED), outline=colour, width=width)
    return _with_legend(canvas, words)


def step_of(probability: float) -> int:
    """Which entry of `SCALE` a probability belongs to."""
    return next(step for step, (least, _, _) in enumerate(SCALE) if probability >= least or not least)


def _enlargement(image: Image.Image, words: list[Word]) -> int:
    heights = sorted(word.box[3] - word.box[1] for word in words if word.box is not None)
    height = heights[len(heights) // 2] if heights else image.height
    return max(1, min(math.ceil(_SMALLEST / max(1.0, height)), _WIDEST // image.width))


def _with_legend(canvas: Image.Image, words: list[Word]) -> Image.Image:
    """The picture, and below it what the colours mean and how many words have each."""
    size = max(14, min(40, canvas.width // 60))
    font = _font(size)
    counts = [0] * len(SCALE)
    for word in words:
        counts[step_of(word.probability)] += 1
    entries = [(colour, f"{label}: {count}") for (_, label, colour), count in zip(SCALE, counts, strict=True)]
    if not words:
        entries = [((128, 128, 128), "no words")]
    rows: list[list[tuple[int, Colour, str]]] = [[]]
    x = size
    for colour, label in entries:
        wide = round(2 * size + font.getlength(label))
        if rows[-1] and x + wide > canvas.width:
            rows.append([])
            x = size
        rows[-1].append((x, colour, label))
        x += wide + size
    high = round(1.7 * size)
    whole = Image.new(
        "RGB", (max(canvas.width, round(12 * size)), canvas.height + high * len(rows) + size // 2), "white"
    )
    whole.paste(canvas, (0, 0))
    drawing = ImageDraw.Draw(whole)
    for number, row in enumerate(rows):
        top = canvas.height + number * high + size // 2
        for x, colour, label in row:
            drawing.rectangle((x, top, x + size, top + size), fill=colour)
            drawing.text((x + 1.5 * size, top), label, fill="black", font=font)
    return whole


def _font(size: int) -> Font:
    """The font that Pillow brings along; without FreeType it has one size."""
    try:
        return ImageFont.load_default(size)
    except ImportError:
        return ImageFont.load_default()
