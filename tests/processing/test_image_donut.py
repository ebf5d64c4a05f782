"""Donut's image processor on its own: canvases, orientation, black borders, files, messages."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vision2seq import registry
from vision2seq.errors import ImageError, OptionError, UnknownOptionError
from vision2seq.processing.image import steps
from vision2seq.processing.image.donut import DonutFeatureExtractor, DonutImageProcessor

torch.set_num_threads(1)

RAW = {"do_rescale": False, "do_normalize": False}


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8))


def first(processor: DonutImageProcessor, image: Any, **options: Any) -> np.ndarray:
    return processor(image, return_tensors="np", **options).pixel_values[0]


def filled(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column that are not black."""
    rows, columns = np.flatnonzero(pixels.any((0, 2))), np.flatnonzero(pixels.any((0, 1)))
    return rows[0], rows[-1], columns[0], columns[-1]


# The steps


def test_by_hand() -> None:
    image = Image.fromarray(np.full((10, 20, 3), 51, np.uint8))
    found = first(DonutImageProcessor(size={"height": 10, "width": 24}), image)
    assert found.shape == (3, 10, 24) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :, :2], -1)
    np.testing.assert_allclose(found[:, :, 2:22], 51 / 255 * 2 - 1, rtol=1e-6)
    np.testing.assert_array_equal(found[:, :, 22:], -1)


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        ((30, 1000), (1, 30, 0, 1023)),  # enlarged to 32 by 1066, shrunk to 30 by 1024
        ((20, 2000), (11, 20, 0, 1023)),
        ((48, 300), (0, 31, 412, 611)),
        ((300, 48), (0, 31, 509, 513)),
    ],
)
def test_lines_sit_in_the_middle(shape: tuple[int, int], inside: tuple[int, int, int, int]) -> None:
    processor = DonutImageProcessor(size={"height": 32, "width": 1024}, do_align_long_axis=False)
    found = first(processor, picture(*shape), **RAW)
    assert found.shape == (3, 32, 1024)
    assert filled(found) == inside


def test_an_edge_never_vanishes() -> None:
    processor = DonutImageProcessor(size={"height": 32, "width": 1024})
    top, bottom, left, right = filled(first(processor, picture(200, 2), **RAW))
    assert (top, bottom) == (0, 31) and left == right == 511
    assert filled(first(processor, picture(1, 3000), do_resize=False, **RAW)) == (15, 15, 0, 1023)


def test_turned_clockwise_only_where_it_helps() -> None:
    image = picture(4, 6)
    whole = np.asarray(image)
    steps = {"do_resize": False, "do_thumbnail": False, "do_pad": False, **RAW}
    upright, lying = DonutImageProcessor(size=[10, 20]), DonutImageProcessor(size=[20, 10])
    for given in (image, whole, torch.from_numpy(whole.copy())):
        turned = first(upright, given, do_align_long_axis=True, **steps)
        np.testing.assert_array_equal(turned.transpose(1, 2, 0), np.rot90(whole, -1))
        for processor, align in ((upright, False), (lying, True), (DonutImageProcessor(size=9), True)):
            same = first(processor, given, do_align_long_axis=align, **steps)
            np.testing.assert_array_equal(same.transpose(1, 2, 0), whole)


def test_thumbnail_filter_is_not_the_configured_one() -> None:
    processor = DonutImageProcessor(size=[40, 30], do_resize=False, do_pad=False, resample=0)
    image = picture(90, 120)
    expected = image.resize((40, 30), Image.Resampling.BICUBIC, reducing_gap=2.0)
    np.testing.assert_array_equal(first(processor, image, **RAW).transpose(1, 2, 0), np.asarray(expected))


def test_gray_pictures_get_what_three_bands_give() -> None:
    gray = picture(50, 333).convert("L")
    processor = DonutImageProcessor(size=[128, 32], image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7])
    expected = first(processor, np.stack([np.asarray(gray)] * 3))  # an array, which is not looked through for gray
    for image in (gray, gray.convert("RGB"), gray.convert("RGBA"), gray.convert("P"), np.asarray(gray)):
        np.testing.assert_array_equal(first(processor, image), expected)


def test_pictures_gray_in_the_middle_row_only() -> None:
    pixels = np.array(picture(31, 100).convert("L").convert("RGB"))
    pixels[3, 50] = (255, 0, 9)
    processor = DonutImageProcessor(size=[64, 64])
    np.testing.assert_array_equal(first(processor, Image.fromarray(pixels)), first(processor, pixels))


def test_pictures_of_every_kind_become_rgb(tmp_path: Path) -> None:
    processor = DonutImageProcessor(size=[20, 20])
    ink = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    assert (first(processor, ink) == 1).all()  # white paper
    wide = Image.fromarray(np.full((10, 10), 65535, np.uint16))
    assert (first(processor, wide) == 1).all()
    path = tmp_path / "palette.png"
    picture(10, 10).convert("P").save(path)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(first(processor, path), first(processor, opened.convert("RGB")))
    one = DonutImageProcessor(size=[20, 20], image_mean=[0.5], image_std=[0.5])
    assert first(one, picture(9, 9)).shape == (1, 20, 20)


def test_random_padding_stays_inside() -> None:
    processor = DonutImageProcessor(size=[60, 40], do_resize=False)
    np.random.seed(0)
    corners = set()
    for _ in range(40):
        top, bottom, left, right = filled(first(processor, picture(37, 55), random_padding=True, **RAW))
        assert (bottom - top, right - left) == (36, 54)
        corners.add((top, left))
    assert len(corners) > 10
    assert {top for top, _ in corners} == set(range(4)) and {left for _, left in corners} == set(range(6))


# Options


@pytest.mark.parametrize("size", [[64, 48], (64, 48), {"height": 48, "width": 64}])
def test_list_size_is_width_then_height(size: Any) -> None:
    canvas = {"height": 48, "width": 64}
    assert DonutImageProcessor(size=size).size == canvas
    assert first(DonutImageProcessor(size=9), picture(5, 5), size=size).shape == (3, 48, 64)
    changed = DonutImageProcessor(size=9)
    changed.size = size
    assert changed.size == changed.to_dict()["size"] == canvas
    assert first(changed, picture(5, 5), do_resize=False).shape == (3, 48, 64)
    for text in (json.dumps({"size": size}), json.dumps({"size": canvas})):
        assert DonutFeatureExtractor.from_dict(json.loads(text)).size == canvas


def test_defaults() -> None:
    processor = DonutImageProcessor()
    assert processor.to_dict() == {
        "do_align_long_axis": False,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "do_thumbnail": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "DonutImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 2560, "width": 1920},
    }
    assert DonutImageProcessor(size=64).size == {"height": 64, "width": 64}


def test_options_that_cannot_be_used() -> None:
    processor = DonutImageProcessor(size=20)
    for size in ("big", [1], {"height": 3}):
        with pytest.raises(OptionError, match="size is .* Expected an integer, "):
            DonutImageProcessor(size=size)
    with pytest.raises(OptionError, match="size is 'big'"):
        processor.size = "big"
    for step in ("do_resize", "do_thumbnail", "do_pad", "do_align_long_axis"):
        steps = dict.fromkeys(("do_resize", "do_thumbnail", "do_pad", "do_align_long_axis"), False) | {step: True}
        with pytest.raises(OptionError, match="This processor needs both"):
            processor(picture(5, 5), size={"shortest_edge": 20}, **steps)
    assert first(processor, picture(5, 6), size={"shortest_edge": 20}, **dict.fromkeys(steps, False)).shape == (3, 5, 6)
    with pytest.raises(UnknownOptionError, match="has no option 'do_padd'. Did you mean 'do_pad'"):
        processor(picture(5, 5), do_padd=True)
    with pytest.raises(OptionError, match="resample is 9. Expected one of"):
        processor(picture(5, 5), resample=9)


def test_larger_than_the_canvas() -> None:
    processor = DonutImageProcessor(size=[30, 20])
    with pytest.raises(
        OptionError, match="the picture is 20 high and 40 wide, more than the canvas of 20 by 30. .*do_thumbnail=True"
    ):
        processor(picture(10, 20), do_thumbnail=False)
    assert first(processor, picture(10, 20), do_thumbnail=False, do_pad=False).shape == (3, 20, 40)


def test_strips_that_would_take_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ImageError, match="of 100000x2 pixels is so thin .* edge to 1920 makes it 96000000x1920. Cut it"
    ):
        DonutImageProcessor()(picture(2, 100000))
    monkeypatch.setattr(steps, "MAX_ENLARGED", 40 * 20)
    processor = DonutImageProcessor(size=20)
    assert first(processor, picture(10, 20)).shape == (3, 20, 20)
    with pytest.raises(ImageError, match="makes it 42x20"):
        processor(picture(10, 21))
    assert first(processor, picture(10, 21), do_resize=False).shape == (3, 20, 20)
    assert first(processor, picture(100, 20)).shape == (3, 20, 20)  # not enlarged, however large


# Files


def test_old_file_is_read_and_written_back(tmp_path: Path) -> None:
    old = {"feature_extractor_type": "DonutFeatureExtractor", "size": [96, 128], "do_align_long_axis": True, "mine": 1}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    processor = DonutFeatureExtractor.from_pretrained(tmp_path)
    assert processor.size == {"height": 128, "width": 96} and processor.mine == 1
    processor.save_pretrained(tmp_path / "new")
    written = json.loads((tmp_path / "new" / "preprocessor_config.json").read_text())
    assert written["image_processor_type"] == "DonutImageProcessor" and "feature_extractor_type" not in written
    assert written["size"] == {"height": 128, "width": 96} and written["mine"] == 1
    again = DonutImageProcessor.from_pretrained(tmp_path / "new", size=[8, 9])
    assert again.size == {"height": 9, "width": 8} and again.do_align_long_axis is True
    # In a file, the option of a call means nothing, as to the reference.
    kept = DonutImageProcessor.from_dict({"size": [60, 40], "do_resize": False, "random_padding": True})
    assert kept.to_dict()["random_padding"] is True
    assert {filled(first(kept, picture(37, 55), **RAW)) for _ in range(8)} == {(1, 37, 2, 56)}


def test_names_and_copies() -> None:
    for name in ("DonutFeatureExtractor", "DonutImageProcessor", "DonutImageProcessorFast"):
        assert registry.image_processor(name) is DonutImageProcessor
    copied = pickle.loads(pickle.dumps(DonutImageProcessor(size=[8, 9], do_convert_rgb=True)))
    assert copied.size == {"height": 9, "width": 8} and copied.do_convert_rgb is True
