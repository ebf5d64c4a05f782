"""Image processors against the PIL ones of transformers 4.57.6: equal to the last bit."""

from __future__ import annotations

import itertools
import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

transformers = pytest.importorskip("transformers")

from vision2seq.processing.image.deit import DeiTFeatureExtractor, DeiTImageProcessor  # noqa: E402
from vision2seq.processing.image.vit import ViTFeatureExtractor, ViTImageProcessor  # noqa: E402

PAIRS = {
    "ViTImageProcessor": ViTImageProcessor,
    "ViTFeatureExtractor": ViTFeatureExtractor,
    "DeiTImageProcessor": DeiTImageProcessor,
    "DeiTFeatureExtractor": DeiTFeatureExtractor,
}
SIZES = [(5, 5), (17, 64), (64, 17), (384, 384), (31, 300), (400, 7), (225, 223)]


def pixels(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def both(name: str, **options: Any) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the old names
        return PAIRS[name](**options), getattr(transformers, name)(**options)


def equal(found: Any, expected: Any) -> None:
    assert isinstance(found, list) == isinstance(expected, list)
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert np.array_equal(ours, theirs, equal_nan=True)


def agree(name: str, images: Any, call: dict[str, Any] | None = None, **options: Any) -> None:
    ours, theirs = both(name, **options)
    call = call or {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        equal(ours(images, **call)["pixel_values"], theirs(images, **call)["pixel_values"])


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", SIZES)
def test_sizes_and_orientations(name: str, shape: tuple[int, int]) -> None:
    image = Image.fromarray(pixels(*shape))
    agree(name, image)
    agree(name, image, size=384)
    agree(name, image, size={"height": 30, "width": 70})


@pytest.mark.parametrize("name", ["ViTImageProcessor", "DeiTImageProcessor"])
@pytest.mark.parametrize("resample", range(6))
def test_filters(name: str, resample: int) -> None:
    images = [Image.fromarray(pixels(40, 90)), Image.fromarray(pixels(500, 20, seed=1))]
    agree(name, images, size=64, resample=resample)
    agree(name, images, {"resample": Image.Resampling(resample), "size": (50, 40)})


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["ViTImageProcessor", "DeiTImageProcessor"])
def test_random_options(name: str, seed: int) -> None:
    chance = random.Random(f"{name} {seed}")
    for _ in range(6):
        options: dict[str, Any] = {}
        every = {
            "do_resize": [True, True, False],
            "size": [32, (20, 50), [50, 20], {"height": 33, "width": 64}],
            "resample": list(range(6)),
            "do_rescale": [True, True, False],
            "rescale_factor": [1 / 255, 1 / 127.5, 0.1, 2],
            "do_normalize": [True, True, False],
            "image_mean": [0.5, 0, [0.485, 0.456, 0.406], (0.1, 0.2, 0.3), [0, 1, 2]],
            "image_std": [0.5, 3, [0.229, 0.224, 0.225], (0.1, 0.2, 0.3)],
        }
        if name.startswith("DeiT"):
            every["do_center_crop"] = [True, False]
            every["crop_size"] = [15, (60, 10), [9, 80], {"height": 41, "width": 41}]
        else:
            every["do_convert_rgb"] = [None, True, False]
        for option, values in every.items():
            if chance.random() < 0.6:
                options[option] = chance.choice(values)
        at_call = {key: options.pop(key) for key in list(options) if chance.random() < 0.4}
        at_call["return_tensors"] = chance.choice([None, "np", "pt"])
        at_call["data_format"] = chance.choice(["channels_first", "channels_last"])
        height, width = chance.choice(SIZES[:5])
        array = pixels(height, width, seed=seed)
        images: list[Any] = [array, pixels(height, width, seed=seed + 100)]
        kind = chance.choice(["pil", "np", "planes", "tensor", "batch", "float", "int"])
        if kind == "pil":
            images = [Image.fromarray(image) for image in images]
        elif kind == "planes":
            images = [image.transpose(2, 0, 1) for image in images]
        elif kind == "tensor":
            images = [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]
        elif kind == "batch":
            images = np.stack(images)
        elif kind == "float":
            images = [image.astype(np.float32) for image in images]
        elif kind == "int":
            images = [image.astype(np.int32) for image in images]
        agree(name, images, at_call, **options)


@pytest.mark.parametrize("name", ["ViTImageProcessor", "DeiTImageProcessor"])
def test_kinds_of_numbers(name: str) -> None:
    array = pixels(30, 40)
    switches = list(itertools.product([True, False], repeat=3))
    for kind in ("uint8", "int16", "int64", "float16", "float32", "float64", "bool"):
        for fractions in (False, True):
            if fractions and not kind.startswith("float"):
                continue
            image = (array > 99) if kind == "bool" else (array / 255 if fractions else array).astype(kind)
            for resize, rescale, normalize in switches:
                call = {"do_resize": resize, "do_rescale": rescale, "do_normalize": normalize}
                agree(name, image, call, size=25)
                agree(name, torch.from_numpy(image), call, size=25)


def test_center_crop_larger_smaller_and_mixed() -> None:
    for shape, crop in itertools.product([(10, 10), (11, 8), (8, 11), (7, 7)], [(8, 8), (9, 9), (20, 5), (5, 21)]):
        agree("DeiTImageProcessor", pixels(*shape), do_resize=False, crop_size=crop)
        agree("DeiTImageProcessor", pixels(*shape) / 300, do_resize=False, crop_size=crop)


def test_modes_that_the_reference_converts() -> None:
    rgb = Image.fromarray(pixels(40, 50))
    for mode in ("1", "L", "P", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F", "RGB"):
        image = rgb.convert("L").convert(mode) if mode in ("I", "F", "LA") else rgb.convert(mode)
        agree("ViTImageProcessor", image, do_convert_rgb=True, size=32)


def test_other_numbers_of_channels() -> None:
    agree("ViTImageProcessor", pixels(40, 50, 1), size=32, image_mean=[0.9545467], image_std=[0.15394445])
    agree("DeiTImageProcessor", pixels(40, 50, 1), size=32, image_mean=[0.4], image_std=[0.2])
    agree("ViTImageProcessor", pixels(40, 50, 1), do_convert_rgb=False, image_mean=0.5, image_std=0.5)
    call = {"input_data_format": "channels_last"}
    agree("ViTImageProcessor", pixels(40, 50, 4), call, size=32, image_mean=[0.1] * 4, image_std=[0.3] * 4)


def test_axes_in_doubt() -> None:
    agree("ViTImageProcessor", pixels(3, 50, 3), size=32)
    agree("ViTImageProcessor", [pixels(5, 50, 3), pixels(3, 50, 3)], size=32)
    agree("ViTImageProcessor", [Image.fromarray(pixels(5, 50)), pixels(3, 50, 3)], size=32)
    agree("ViTImageProcessor", pixels(3, 50, 3), {"input_data_format": "channels_last"}, size=32)


FILES: list[dict[str, Any]] = [
    {"feature_extractor_type": "ViTFeatureExtractor", "size": 384, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    {"feature_extractor_type": "ViTFeatureExtractor", "size": [38, 48], "resample": 3, "do_normalize": False},
    {"image_processor_type": "ViTImageProcessor", "size": {"height": 48, "width": 38}, "rescale_factor": 0.01},
    {"image_processor_type": "ViTFeatureExtractor", "size": 48, "my_key": [1], "processor_class": "TrOCRProcessor"},
    {
        "feature_extractor_type": "DeiTFeatureExtractor",
        "size": 384,
        "crop_size": 384,
        "do_center_crop": False,
        "resample": 3,
    },
    {
        "image_processor_type": "DeiTImageProcessor",
        "size": {"height": 60, "width": 60},
        "crop_size": {"height": 50, "width": 70},
        "do_center_crop": True,
    },
    {"image_processor_type": "DeiTImageProcessor", "size": None, "crop_size": None, "image_mean": None},
]


@pytest.mark.parametrize("values", FILES)
def test_files_both_ways(values: dict[str, Any], tmp_path: Path) -> None:
    name = "DeiTImageProcessor" if "DeiT" in str(values) else "ViTImageProcessor"
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    reference = getattr(transformers, name)
    ours, theirs = PAIRS[name].from_pretrained(tmp_path), reference.from_pretrained(tmp_path)
    image = Image.fromarray(pixels(40, 90))
    equal(ours(image)["pixel_values"], theirs(image)["pixel_values"])
    assert json.loads(ours.to_json_string()) == json.loads(theirs.to_json_string())

    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    crossed = reference.from_pretrained(tmp_path / "ours"), PAIRS[name].from_pretrained(tmp_path / "theirs")
    equal(crossed[1](image)["pixel_values"], crossed[0](image)["pixel_values"])
    auto = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours", use_fast=False)
    assert type(auto).__name__ == name
