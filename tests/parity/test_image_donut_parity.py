"""Donut's image processor against the PIL one of transformers 4.57.6: equal to the last bit."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vision2seq.processing.image.donut import DonutFeatureExtractor, DonutImageProcessor

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

LINE = {"height": 32, "width": 1024}


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def equal(ours: Any, theirs: Any) -> None:
    ours, theirs = ours["pixel_values"], theirs["pixel_values"]
    assert isinstance(ours, list) == isinstance(theirs, list)
    assert len(ours) == len(theirs)
    for found, expected in zip(ours, theirs, strict=True):
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert np.array_equal(found, expected, equal_nan=True)


def agree(images: Any, call: dict[str, Any] | None = None, **options: Any) -> None:
    call = call or {}
    # The reference takes Pillow images 1 or 3 pixels high for planes unless it is told.
    layout = {"input_data_format": "channels_last"} if isinstance(images, Image.Image) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reference, about values scaled twice
        theirs = transformers.DonutImageProcessor(**options)(images, **call, **layout)
        equal(DonutImageProcessor(**options)(images, **call), theirs)


@pytest.mark.parametrize("seed", range(20))
def test_random_sizes_on_random_canvases(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        height, width = (round(10 ** chance.uniform(0, 2.3)) for _ in range(2))
        canvas = [chance.randint(40, 260), chance.randint(40, 260)]
        if max(height, width) / min(height, width) > 0.9 * min(canvas):
            continue  # the reference shrinks one edge to nothing there, and fails
        image = Image.fromarray(pixels(height, width, chance.randrange(99)))
        for align in (True, False):
            agree(image, size=canvas, do_align_long_axis=align, resample=chance.choice(range(6)))


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize(
    "shape", [(30, 1000), (20, 2000), (8, 1500), (48, 300), (90, 1800), (32, 1024), (3, 3), (1, 9), (70, 40)]
)
def test_lines(shape: tuple[int, int], align: bool) -> None:
    image = Image.fromarray(pixels(*shape))
    agree(image, {"return_tensors": "pt"}, size=LINE, do_align_long_axis=align)
    agree(Image.fromarray(pixels(*shape)[:, :, 0]).convert("RGB"), size=LINE, do_align_long_axis=align)
    if align:
        agree(image.transpose(Image.Transpose.ROTATE_90), size=LINE, do_align_long_axis=True)


def test_real_canvases() -> None:
    agree(Image.fromarray(pixels(150, 200)))
    agree(Image.fromarray(pixels(1000, 1400)), size=[960, 1280], do_align_long_axis=True)
    agree(Image.fromarray(pixels(20, 600)), size=[480, 640])


@pytest.mark.parametrize("kind", ["squares", "square canvas", "same", "smaller"])
def test_edges_that_are_equal(kind: str) -> None:
    for align in (True, False):
        for shape in ((50, 50), (80, 50), (50, 80)):
            size: Any = {"squares": 50, "square canvas": 64, "same": shape[::-1], "smaller": [40, 30]}[kind]
            agree(Image.fromarray(pixels(*shape)), size=size, do_align_long_axis=align)


@pytest.mark.parametrize("seed", range(30))
def test_random_options(seed: int) -> None:
    chance = random.Random(f"options {seed}")
    every: dict[str, list[Any]] = {
        "do_resize": [True, False],
        "size": [32, (70, 30), [30, 70], {"height": 90, "width": 64}],
        "resample": list(range(6)),
        "do_thumbnail": [True, False],
        "do_align_long_axis": [True, False],
        "do_pad": [True, False],
        "do_rescale": [True, True, False],
        "rescale_factor": [1 / 255, 1 / 127.5, 2],
        "do_normalize": [True, True, False],
        "image_mean": [0.5, [0.485, 0.456, 0.406], (0.1, 0.2, 0.3)],
        "image_std": [0.5, [0.229, 0.224, 0.225]],
    }
    for _ in range(8):
        options = {option: chance.choice(values) for option, values in every.items() if chance.random() < 0.6}
        options.setdefault("size", [60, 45])  # the default canvas takes seconds
        call: dict[str, Any] = {key: options.pop(key) for key in list(options) if chance.random() < 0.4}
        call["data_format"] = chance.choice(["channels_first", "channels_last"])
        height, width = chance.choice([(30, 40), (9, 66), (100, 20), (130, 140), (20, 20), (7, 5)])
        images: Any = [pixels(height, width, seed), pixels(height, width, seed + 100)]
        kind = chance.choice(["pil", "gray", "np", "planes", "tensor", "batch", "float", "fractions", "int"])
        if kind == "pil":
            images = [Image.fromarray(image) for image in images]
        elif kind == "gray":
            images = [Image.fromarray(image).convert("L") for image in images]
        elif kind == "planes":
            images = [image.transpose(2, 0, 1) for image in images]
        elif kind == "tensor":
            images = [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]
        elif kind == "batch":
            images = np.stack(images)
        elif kind == "float":
            images = [image.astype(np.float32) for image in images]
        elif kind == "fractions":
            images = [image.astype(np.float32) / 255 for image in images]
        elif kind == "int":
            images = [image.astype(np.int32) for image in images]
        try:
            agree(images, call, **options)
        except ValueError as error:  # both refuse pictures larger than the canvas, each in its words
            assert "index can't contain negative values" in str(error)
            with pytest.raises(ValueError, match="more than the canvas of"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                DonutImageProcessor(**options)(images, **call)


@pytest.mark.parametrize("fractions", ["float16", "float32", "float64"])
def test_fractions_pass_through_8_bits_twice(fractions: str) -> None:
    image = (pixels(90, 200) / 255).astype(fractions)
    for call in ({"do_rescale": False}, {}, {"do_resize": False}, {"do_thumbnail": False, "size": [400, 90]}):
        agree(image, call, size=[100, 90])


def test_modes_that_the_reference_converts() -> None:
    rgb = Image.fromarray(pixels(40, 50))
    for mode in ("1", "L", "P", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F", "RGB"):
        image = rgb.convert("L").convert(mode) if mode in ("I", "F", "LA") else rgb.convert(mode)
        theirs = transformers.DonutImageProcessor(size=32)(image)
        equal(DonutImageProcessor(size=32)(image, do_convert_rgb=True), theirs)


def test_random_padding_draws_the_same_numbers() -> None:
    images = [Image.fromarray(pixels(*shape)) for shape in ((30, 300), (30, 40), (60, 60))]
    for seed in range(5):
        np.random.seed(seed)
        theirs = transformers.DonutImageProcessor(size=LINE)(images, random_padding=True)
        np.random.seed(seed)
        equal(DonutImageProcessor(size=LINE)(images, random_padding=True), theirs)


FILES: list[dict[str, Any]] = [
    {  # as Donut's first files
        "do_align_long_axis": False,
        "do_normalize": True,
        "do_pad": True,
        "do_resize": True,
        "do_thumbnail": True,
        "feature_extractor_type": "DonutFeatureExtractor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": [96, 128],
    },
    {"feature_extractor_type": "DonutFeatureExtractor", "size": [153, 204], "do_align_long_axis": True, "resample": 3},
    {"image_processor_type": "DonutFeatureExtractor", "size": {"height": 128, "width": 96}, "rescale_factor": 0.01},
    {"image_processor_type": "DonutImageProcessor", "size": 64, "my_key": [1], "processor_class": "DonutProcessor"},
    {"image_processor_type": "DonutImageProcessor", "size": LINE, "do_thumbnail": False, "do_pad": False},
    {"image_processor_type": "DonutImageProcessor", "size": [90, 80], "random_padding": True, "image_mean": None},
    {"image_processor_type": "DonutImageProcessor", "size": None, "do_resize": False, "do_pad": False},
]


@pytest.mark.parametrize("values", FILES)
def test_files_both_ways(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    reference = transformers.DonutImageProcessor
    ours, theirs = DonutFeatureExtractor.from_pretrained(tmp_path), reference.from_pretrained(tmp_path)
    image = Image.fromarray(pixels(70, 90))
    equal(ours(image), theirs(image))
    assert json.loads(ours.to_json_string()) == json.loads(theirs.to_json_string())

    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    equal(
        DonutImageProcessor.from_pretrained(tmp_path / "theirs")(image),
        reference.from_pretrained(tmp_path / "ours")(image),
    )
    assert DonutImageProcessor.from_pretrained(tmp_path / "ours").to_dict() == ours.to_dict()
    auto = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours", use_fast=False)
    assert type(auto) is reference
