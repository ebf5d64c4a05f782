"""Pages on a canvas, as Donut's and Nougat's image processors put them, against transformers 4.57.6."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.parity.images import agree, equal, page, pixels, processors

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

DONUT, NOUGAT = "DonutImageProcessor", "NougatImageProcessor"
LINE = {"height": 32, "width": 1024}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", [DONUT, NOUGAT])
def test_random_sizes_on_random_canvases(name: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        height, width = (round(10 ** chance.uniform(0, 2.3)) for _ in range(2))
        canvas = [chance.randint(40, 260), chance.randint(40, 260)]
        if max(height, width) / min(height, width) > 0.9 * min(canvas):
            continue  # the reference shrinks one edge to nothing there, and fails
        make = pixels if name == DONUT else page
        image = Image.fromarray(make(height, width, seed=chance.randrange(99)))
        if name == NOUGAT and _thin(image, canvas):
            continue
        for align in (True, False):
            agree(name, image, size=canvas, do_align_long_axis=align, resample=chance.choice(range(6)))


def _thin(image: Image.Image, canvas: list[int]) -> bool:
    """Whether what is left without margins is so thin that the reference shrinks one edge to nothing."""
    cut = transformers.NougatImageProcessor().crop_margin(np.asarray(image), input_data_format="channels_last")
    return max(cut.shape[:2]) / min(cut.shape[:2]) > 0.9 * min(canvas)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize(
    "shape", [(30, 1000), (20, 2000), (8, 1500), (48, 300), (90, 1800), (32, 1024), (3, 3), (1, 9), (70, 40)]
)
def test_lines(shape: tuple[int, int], align: bool) -> None:
    image = Image.fromarray(pixels(*shape))
    agree(DONUT, image, {"return_tensors": "pt"}, size=LINE, do_align_long_axis=align)
    agree(DONUT, Image.fromarray(pixels(*shape)[:, :, 0]).convert("RGB"), size=LINE, do_align_long_axis=align)
    if align:
        agree(DONUT, image.transpose(Image.Transpose.ROTATE_90), size=LINE, do_align_long_axis=True)


def test_real_canvases() -> None:
    agree(DONUT, Image.fromarray(pixels(150, 200)))
    agree(DONUT, Image.fromarray(pixels(1000, 1400)), size=[960, 1280], do_align_long_axis=True)
    agree(DONUT, Image.fromarray(pixels(20, 600)), size=[480, 640])
    agree(NOUGAT, Image.fromarray(page(1100, 850)))


@pytest.mark.parametrize("kind", ["squares", "square canvas", "same", "smaller"])
@pytest.mark.parametrize("name", [DONUT, NOUGAT])
def test_edges_that_are_equal(name: str, kind: str) -> None:
    for align in (True, False):
        for shape in ((50, 50), (80, 50), (50, 80)):
            size: Any = {"squares": 50, "square canvas": 64, "same": shape[::-1], "smaller": [40, 30]}[kind]
            agree(name, Image.fromarray(pixels(*shape)), size=size, do_align_long_axis=align)


@pytest.mark.parametrize("fractions", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", [DONUT, NOUGAT])
def test_fractions_pass_through_8_bits_twice(name: str, fractions: str) -> None:
    image = (pixels(90, 200) / 255).astype(fractions)
    larger = {"do_thumbnail": False, "size": {"height": 90, "width": 400}}
    for call in ({"do_rescale": False}, {}, {"do_resize": False}, larger):
        agree(name, image, call, size=[100, 90])
    agree(NOUGAT, image, {"do_crop_margin": False, "do_rescale": False}, size=[100, 90])


def test_random_padding_draws_the_same_numbers() -> None:
    images = [Image.fromarray(pixels(*shape)) for shape in ((30, 300), (30, 40), (60, 60))]
    ours, theirs = processors(DONUT, {"size": LINE})
    for seed in range(5):
        np.random.seed(seed)
        expected = theirs(images, random_padding=True)
        np.random.seed(seed)
        equal(ours(images, random_padding=True), expected)


# Margins

STEPS = {"do_resize": False, "do_thumbnail": False, "do_pad": False, "do_rescale": False, "do_normalize": False}


@pytest.mark.parametrize("seed", range(25))
def test_margins_of_pages_of_any_contrast(seed: int) -> None:
    chance = np.random.default_rng(seed)
    for _ in range(20):
        height, width = chance.integers(4, 60, 2)
        low, high = sorted(chance.integers(0, 256, 2))
        image = chance.integers(low, high + 1, (height, width, 3), dtype=np.uint8)
        rows, columns = chance.integers(0, height, 2), chance.integers(0, width, 2)
        image[min(rows) : max(rows), min(columns) : max(columns)] = chance.integers(0, 256, 3)
        for given in (image, Image.fromarray(image), image.transpose(2, 0, 1), image / 255):
            agree(NOUGAT, given, STEPS)


def test_what_has_no_margins() -> None:
    for value in (0, 7, 199, 200, 255):
        flat = np.full((20, 30, 3), value, np.uint8)
        agree(NOUGAT, Image.fromarray(flat), STEPS)
        agree(NOUGAT, Image.fromarray(flat), size=[60, 50])
        flat[0, 0] = flat[-1, -1] = 255 - value
        agree(NOUGAT, Image.fromarray(flat), STEPS)
        flat[0, 0] = flat[1, 1]
        agree(NOUGAT, Image.fromarray(flat), STEPS)


def test_every_share_of_the_contrast() -> None:
    """The threshold falls between two values whatever the darkest and the lightest one are."""
    for low, high in ((0, 255), (3, 252), (100, 131), (10, 11), (0, 200), (55, 255)):
        row = np.arange(low, high + 1, dtype=np.uint8)
        image = np.repeat(np.stack([row, row])[:, :, None], 3, axis=2)
        image = np.concatenate([image[:1], image, np.full_like(image[:1], high)])
        agree(NOUGAT, image, STEPS)
        agree(NOUGAT, image[:, ::-1], STEPS)
