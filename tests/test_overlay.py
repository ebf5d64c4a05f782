"""Words drawn over their image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFont

from vision2seq import overlay
from vision2seq.overlay import SCALE, draw_words, step_of
from vision2seq.reading import Box, Reading, Word


def reading(*words: tuple[float, Box | None]) -> Reading:
    found = tuple(Word("w", probability, 0, 1, box) for probability, box in words)
    return Reading("w", 1.0, (), "eos", 0.1, words=found)


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(pixel) for row in np.asarray(picture).tolist() for pixel in row}


def test_each_word_has_the_colour_of_its_probability() -> None:
    image = Image.new("RGB", (400, 100), "white")
    boxes = [(10.0 + 70 * number, 20.0, 60.0 + 70 * number, 80.0) for number in range(5)]
    found = draw_words(image, reading(*zip((0.999, 0.97, 0.9, 0.6, 0.2), boxes, strict=True)))
    assert found.mode == "RGB"
    assert found.width == 400
    assert found.height > 100  # the legend
    pixels = np.asarray(found)
    widths = []
    for (left, top, right, bottom), (_, _, colour) in zip(boxes, SCALE, strict=True):
        for x, y in ((left, 50), (right - 1, 50), ((left + right) / 2, top), ((left + right) / 2, bottom - 1)):
            assert tuple(pixels[int(y), int(x)]) == colour
        inside = pixels[50, int((left + right) / 2)]
        assert all(min(255, colour[c]) <= inside[c] <= 255 for c in range(3))
        assert tuple(inside) not in ((255, 255, 255), colour)  # tinted: what is below shows through
        widths.append(int((pixels[50, int(left) : int(left) + 12] == colour).all(-1).sum()))
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]  # the unsure ones also have thicker frames
    assert (pixels[5, :] == 255).all()


def test_the_legend_counts_words() -> None:
    image = Image.new("RGB", (600, 80), "black")
    one = draw_words(image, reading((0.999, (10.0, 10.0, 60.0, 70.0))))
    two = draw_words(image, reading((0.999, (10.0, 10.0, 60.0, 70.0)), (0.998, (80.0, 10.0, 130.0, 70.0))))
    assert one.size == two.size
    assert (np.asarray(one)[80:] != np.asarray(two)[80:]).any()
    assert {colour for _, _, colour in SCALE} <= colours(one.crop((0, 80, *one.size)))


@pytest.mark.parametrize(("size", "times"), [((300, 20), 3), ((300, 10), 5), ((300, 60), 1), ((3000, 20), 1)])
def test_small_pictures_are_drawn_larger(size: tuple[int, int], times: int) -> None:
    found = draw_words(Image.new("RGB", size), reading((1.0, (5.0, 0.0, 30.0, float(size[1])))))
    assert found.width == times * size[0]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_pictures_without_words_and_in_any_mode(mode: str) -> None:
    for words in ((), ((0.5, None),)):
        found = draw_words(Image.new(mode, (50, 30)), reading(*words))
        assert found.mode == "RGB"
        assert found.height > 30
        assert found.width >= 100
        assert not {colour for _, _, colour in SCALE} & colours(found)


def test_boxes_without_room_and_beyond_the_edge() -> None:
    image = Image.new("RGB", (80, 60), "white")
    draw_words(
        image, reading((0.3, (80.0, 0.0, 80.0, 60.0)), (0.9, (10.0, 20.0, 10.0, 20.0)), (1.0, (0.0, 0.0, 80.0, 60.0)))
    )


@pytest.mark.parametrize(
    ("probability", "step"), [(1.0, 0), (0.99, 0), (0.9899, 1), (0.95, 1), (0.8, 2), (0.5, 3), (0.49, 4), (0.0, 4)]
)
def test_steps(probability: float, step: int) -> None:
    assert step_of(probability) == step


def test_a_pillow_without_freetype(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ImageFont.load_default
    plain = ImageFont.load_default_imagefont() if hasattr(ImageFont, "load_default_imagefont") else real()

    def without(size: float | None = None) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
        if size is not None:
            raise ImportError("The _imagingft C module is not installed")
        return plain

    monkeypatch.setattr(overlay.ImageFont, "load_default", without)
    assert draw_words(Image.new("RGB", (300, 60)), reading((0.9, (5.0, 5.0, 50.0, 50.0)))).height > 60
