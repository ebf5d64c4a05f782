"""Image processors of checkpoints that ship none of their own: TexTeller, texify and MixTeX, manga-ocr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image, ImageDraw

from vision2seq import AutoImageProcessor, ViTImageProcessor
from vision2seq.errors import OptionError
from vision2seq.processing.image.manga import MangaImageProcessor
from vision2seq.processing.image.texteller import TexTellerImageProcessor, fitted_shape, within_border
from vision2seq.processing.image.white_canvas import WhiteCanvasImageProcessor, contained_shape

torch.set_num_threads(1)

MEAN, STD = 0.9545467, 0.15394445


def formula(seed: int, size: tuple[int, int], background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Strokes away from the border."""
    chance = np.random.default_rng(seed)
    picture = Image.new("RGB", size, background)
    draw = ImageDraw.Draw(picture)
    for _ in range(8):
        x, y = (int(chance.integers(3, edge - 6)) for edge in size)
        end = (min(x + int(chance.integers(1, 60)), size[0] - 4), min(y + int(chance.integers(1, 40)), size[1] - 4))
        draw.line([(x, y), end], fill=tuple(int(v) for v in chance.integers(0, 150, 3)), width=2)
    return picture


# ---------------------------------------------------------------------------------------------------------- TexTeller


def by_torch(picture: Image.Image) -> np.ndarray:
    """TexTeller's steps after cutting, by the filter that torchvision uses."""
    red, green, blue = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).unbind(0)
    gray = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)[None, None].to(torch.uint8)
    shape = fitted_shape(gray.shape[2:], 448)
    gray = torch.nn.functional.interpolate(gray, shape, mode="bicubic", antialias=True, align_corners=False)
    pixels = (gray[0].float() / 255 - MEAN) / STD
    return torch.nn.functional.pad(pixels, (0, 448 - pixels.shape[2], 0, 448 - pixels.shape[1])).numpy()


@pytest.mark.parametrize("size", [(300, 60), (60, 300), (900, 500), (40, 33), (26, 640), (1500, 30), (448, 448)])
def test_texteller_against_torchs_filter(size: tuple[int, int]) -> None:
    picture = formula(1, size, (250, 240, 230))
    inside = within_border(picture)
    cut = picture.crop((inside.left, inside.top, inside.left + inside.shape[1], inside.top + inside.shape[0]))
    found = TexTellerImageProcessor()(picture, return_tensors="np").pixel_values[0]
    expected = by_torch(cut)
    assert found.shape == expected.shape == (1, 448, 448)
    assert found.dtype == np.float32
    levels = np.abs(found - expected) * STD * 255
    assert levels.max() < 2.5
    assert (levels > 0.5).mean() < 0.01


def test_texteller_fills_up_with_0_below_and_to_the_right() -> None:
    found = TexTellerImageProcessor()(formula(2, (300, 60)), return_tensors="np").pixel_values[0, 0]
    height = fitted_shape(within_border(formula(2, (300, 60))).shape, 448)[0]
    assert height < 448
    assert (found[height:] == 0).all()
    assert (found[:height] != 0).any(1).all()
    assert found.max() == pytest.approx((1 - MEAN) / STD, abs=0.02)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((100, 100), (447, 447)),
        ((100, 200), (224, 448)),
        ((200, 100), (448, 224)),
        ((1, 1000), (1, 448)),
        ((447, 448), (447, 448)),
    ],
)
def test_the_shape_that_fits_the_square(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted_shape(shape, 448) == expected


def test_the_border_is_what_is_like_most_corners() -> None:
    picture = Image.new("RGB", (30, 20), (200, 200, 220))
    picture.putpixel((29, 19), (0, 0, 0))  # one corner of four
    picture.putpixel((10, 5), (180, 180, 200))
    picture.putpixel((4, 4), (190, 190, 210))  # near enough to be background
    inside = within_border(picture)
    assert (inside.top, inside.left, inside.shape) == (5, 10, (15, 20))
    blank = within_border(Image.new("RGB", (30, 20), "white"))
    assert (blank.top, blank.left, blank.shape) == (0, 0, (20, 30))


def test_texteller_tells_where_its_pixels_were() -> None:
    picture = formula(3, (200, 90))
    inside = within_border(picture)
    geometry = TexTellerImageProcessor().geometry(picture)
    assert (geometry.processed_width, geometry.processed_height) == (448, 448)
    assert geometry.to_original(0, 0) == (inside.left, inside.top)
    height, width = fitted_shape(inside.shape, 448)
    assert geometry.to_original(width, height) == pytest.approx(
        (inside.left + inside.shape[1], inside.top + inside.shape[0])
    )


def test_texteller_takes_what_others_take() -> None:
    picture = formula(4, (120, 50))
    processor = TexTellerImageProcessor()
    expected = processor(picture, return_tensors="np").pixel_values
    array = np.asarray(picture)
    for other in (array, array.transpose(2, 0, 1), torch.from_numpy(array.copy()), picture.convert("RGBA")):
        assert np.array_equal(processor(other, return_tensors="np").pixel_values, expected)
    both = processor([picture, picture], return_tensors="pt").pixel_values
    assert both.shape == (2, 1, 448, 448)
    assert processor(picture, data_format="channels_last", return_tensors="np").pixel_values.shape == (1, 448, 448, 1)
    raw = processor(picture, do_pad=False, do_resize=False, do_trim=False)["pixel_values"][0]
    assert raw.shape == (1, 50, 120)
    with pytest.raises(
        OptionError, match="50 high and 120 wide, more than the square of 40 by 40. Pass do_resize=True"
    ):
        processor(picture, do_resize=False, do_trim=False, size=40)


# ---------------------------------------------------------------------------------------------------- a white canvas


@pytest.mark.parametrize(
    ("shape", "enlarge", "expected"),
    [
        ((100, 200), True, (210, 420)),
        ((1000, 50), True, (420, 21)),
        ((10, 10), True, (420, 420)),
        ((10, 10), False, (10, 10)),
        ((420, 10), False, (420, 10)),
        ((840, 10), False, (420, 5)),
        ((1, 5000), True, (1, 420)),
        ((420, 420), True, (420, 420)),
    ],
)
def test_the_shape_on_the_canvas(shape: tuple[int, int], enlarge: bool, expected: tuple[int, int]) -> None:
    assert contained_shape(shape, (420, 420), enlarge) == expected


def test_a_picture_stands_in_the_middle_of_white() -> None:
    picture = tiny.picture(size=(21, 10))
    processor = WhiteCanvasImageProcessor(size={"height": 30, "width": 40}, do_enlarge=False)
    found = processor(picture, return_tensors="np").pixel_values[0]
    white = ((1 - np.array(processor.image_mean)) / np.array(processor.image_std)).astype(np.float32)
    expected = np.broadcast_to(white[:, None, None], (3, 30, 40)).copy()
    plain = processor(picture, return_tensors="np", do_pad=False).pixel_values[0]
    expected[:, 10:20, 9:30] = plain
    assert np.allclose(found, expected, atol=1e-6)
    assert np.array_equal(
        plain,
        ViTImageProcessor(do_resize=False, image_mean=processor.image_mean, image_std=processor.image_std)(
            picture, return_tensors="np"
        ).pixel_values[0],
    )


def test_enlarging_is_pillows() -> None:
    picture = tiny.picture(size=(21, 10))
    processor = WhiteCanvasImageProcessor(size=42, do_normalize=False, do_rescale=False, resample=1)
    found = processor(picture, return_tensors="np").pixel_values[0]
    assert np.array_equal(found[:, 11:31], np.asarray(picture.resize((42, 20), 1)).transpose(2, 0, 1))
    assert (found[:, :11] == 255).all()
    assert (found[:, 31:] == 255).all()


def test_the_canvas_in_other_forms() -> None:
    picture = tiny.picture(size=(50, 20))
    processor = WhiteCanvasImageProcessor(size=32)
    expected = processor(picture, return_tensors="np").pixel_values
    array = np.asarray(picture)
    assert np.array_equal(processor(array, return_tensors="np").pixel_values, expected)
    assert processor(picture.convert("L"), return_tensors="np").pixel_values.shape == (1, 3, 32, 32)
    geometry = processor.geometry(picture)
    assert geometry.box_to_original(0, 10, 32, 22) == (0, 0, 50, 20)
    with pytest.raises(OptionError, match="20 high and 50 wide, more than the canvas of 32 by 32. Pass do_resize=True"):
        processor(picture, do_resize=False)


# -------------------------------------------------------------------------------------------------------- manga-ocr


def test_manga_is_vit_on_gray() -> None:
    picture = tiny.picture(size=(50, 20))
    expected = ViTImageProcessor()(picture.convert("L").convert("RGB"), return_tensors="np").pixel_values
    processor = MangaImageProcessor()
    assert np.array_equal(processor(picture, return_tensors="np").pixel_values, expected)
    assert np.array_equal(processor(np.asarray(picture), return_tensors="np").pixel_values, expected)
    assert not np.array_equal(ViTImageProcessor()(picture, return_tensors="np").pixel_values, expected)
    assert processor.geometry(picture) == ViTImageProcessor().geometry(picture)


@pytest.mark.parametrize("kind", [TexTellerImageProcessor, WhiteCanvasImageProcessor, MangaImageProcessor])
def test_they_are_saved_and_found_again(kind: type, tmp_path: Path) -> None:
    processor = kind(size=64, resample=1)
    processor.save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(again) is kind
    assert again.to_dict() == processor.to_dict()
    picture = formula(5, (90, 40))
    found, expected = (one(picture, return_tensors="np").pixel_values for one in (again, processor))
    assert np.array_equal(found, expected)
