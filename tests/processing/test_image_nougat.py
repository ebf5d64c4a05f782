"""Nougat's image processor on its own: what is a margin, and that pictures of every kind lose theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vision2seq.processing.image.nougat import NougatImageProcessor, within_margins
from vision2seq.processing.image.steps import Window

RAW = {"do_rescale": False, "do_normalize": False}


def page(paper: int = 250, ink: int = 20) -> np.ndarray:
    """A line 30 wide and 6 high on a sheet of 100 by 60: H W 3."""
    sheet = np.full((60, 100, 3), paper, np.uint8)
    sheet[12:18, 40:70] = ink
    return sheet


@pytest.mark.parametrize(("paper", "ink"), [(250, 20), (255, 0), (130, 120), (1, 0)])
def test_margins_are_what_is_no_ink(paper: int, ink: int) -> None:
    assert within_margins(Image.fromarray(page(paper, ink))) == Window(12, 40, (6, 30))


def test_ink_is_darker_than_a_share_of_the_contrast() -> None:
    sheet = page(255, 0)
    sheet[5, 3], sheet[50, 90] = 199, 200  # the second one is paper
    assert within_margins(Image.fromarray(sheet)) == Window(5, 3, (13, 67))


def test_pictures_of_one_colour_are_left_alone() -> None:
    for value in (0, 128, 255):
        assert within_margins(Image.new("RGB", (30, 20), (value,) * 3)) == Window(0, 0, (20, 30))


def test_light_on_dark_keeps_the_sheet() -> None:
    assert within_margins(Image.fromarray(page(0, 255))) == Window(0, 0, (60, 100))


def test_pictures_of_every_kind_lose_their_margins() -> None:
    processor = NougatImageProcessor(do_resize=False, do_thumbnail=False, do_pad=False)
    image = Image.fromarray(page())
    kinds: list[Any] = [image, image.convert("L"), image.convert("RGBA"), image.quantize(4), page()]
    kinds += [page().transpose(2, 0, 1), torch.from_numpy(page()), page()[:, :, 0], page().astype(np.float32)]
    for given in kinds:
        found = processor(given, return_tensors="np", **RAW).pixel_values
        assert found.shape == (1, 3, 6, 30) and (found == 20).all()
    # Fractions become 8-bit values by it, as with the reference, and stay such without do_rescale.
    halves = processor(page() / 255, return_tensors="np", **RAW).pixel_values
    assert halves.dtype == np.uint8 and set(np.unique(halves)) <= {19, 20}
    kept = processor(page(), do_crop_margin=False, return_tensors="np", **RAW).pixel_values[0]
    np.testing.assert_array_equal(kept.transpose(1, 2, 0), page())


def test_what_is_left_fills_the_canvas() -> None:
    found = NougatImageProcessor(size=[40, 90])(page(), return_tensors="np", **RAW).pixel_values[0]
    assert found.shape == (3, 40, 90)
    assert (found[:, 11:29] == 20).all() and not found[:, :11].any() and not found[:, 29:].any()
    alone = NougatImageProcessor(size={"height": 90, "width": 40}, do_align_long_axis=True)
    assert (alone(page(), return_tensors="np", **RAW).pixel_values[0][:, :, 11:29] == 20).all()
