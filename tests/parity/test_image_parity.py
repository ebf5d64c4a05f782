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
from tests.parity.images import KINDS, agree, equal, page, pixels, processors

import vision2seq
from vision2seq import registry
from vision2seq.errors import OptionError

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

NAMES = [name for name in sorted(registry.IMAGE_PROCESSORS) if hasattr(transformers, name)]
ONTO_CANVAS = ("DonutImageProcessor", "NougatImageProcessor")
BY_EDGE = ("BitImageProcessor", "CLIPImageProcessor", "ConvNextImageProcessor")
OLD_NAMES = [name for name in vision2seq.__all__ if name.endswith("FeatureExtractor")]
SIZES = [(5, 5), (17, 64), (64, 17), (384, 384), (31, 300), (400, 7), (225, 223), (1, 60), (3, 3)]
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def sized(name: str, height: int, width: int) -> dict[str, Any]:
    """Options for a result of that size, or of that height where only squares can be had."""
    if name == "ConvNextImageProcessor":
        return {"size": {"shortest_edge": height}}
    return {"size": {"height": height, "width": width}}


def sizes(name: str) -> list[Any]:
    """Spellings that the reference takes."""
    if name == "ConvNextImageProcessor":
        return [32, 45, {"shortest_edge": 40}, {"shortest_edge": 385}]
    if name in BY_EDGE:
        return [
            32,
            (20, 50),
            {"shortest_edge": 21},
            {"shortest_edge": 20, "longest_edge": 30},
            {"height": 33, "width": 64},
        ]
    if name in ONTO_CANVAS:
        return [[60, 45], (45, 61), {"height": 50, "width": 70}, 64]
    return [*([] if name == "SiglipImageProcessor" else [32]), (20, 50), [50, 20], {"height": 33, "width": 64}]


VALUES: dict[str, list[Any]] = {
    "do_resize": [True, True, False],
    "resample": list(range(6)),
    "do_center_crop": [True, False],
    "crop_size": [15, (60, 10), [9, 80], {"height": 41, "width": 41}],
    "crop_pct": [0.5, 0.875, 0.9, 1, 1.5],
    "do_crop_margin": [True, True, False],
    "do_thumbnail": [True, True, False],
    "do_align_long_axis": [True, False],
    "do_pad": [True, True, False],
    "do_rescale": [True, True, False],
    "rescale_factor": [1 / 255, 1 / 127.5, 0.1, 2],
    "do_normalize": [True, True, False],
    "image_mean": [0.5, 0, [0.485, 0.456, 0.406], (0.1, 0.2, 0.3), [0, 1, 2]],
    "image_std": [0.5, 3, [0.229, 0.224, 0.225], (0.1, 0.2, 0.3)],
    "do_convert_rgb": [None, True, False],
    "do_reduce_labels": [False, True],
}


@pytest.mark.parametrize("name", NAMES)
def test_defaults(name: str) -> None:
    assert len(NAMES) >= 9
    ours, theirs = processors(name, {})
    assert json.loads(ours.to_json_string()) == json.loads(theirs.to_json_string())


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ONTO_CANVAS])
def test_sizes_and_orientations(name: str, shape: tuple[int, int]) -> None:
    image = Image.fromarray(pixels(*shape))
    agree(name, image)
    agree(name, image, **sized(name, 384, 384))
    agree(name, image, **sized(name, 30, 70))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ONTO_CANVAS])
def test_large_pictures(name: str) -> None:
    agree(name, [Image.fromarray(pixels(1300, 1700)), Image.fromarray(pixels(2000, 110))])


@pytest.mark.parametrize("name", OLD_NAMES)
def test_old_names(name: str) -> None:
    agree(name, Image.fromarray(page(40, 70)), **sized(name.replace("FeatureExtractor", "ImageProcessor"), 30, 70))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("resample", range(6))
def test_filters(name: str, resample: int) -> None:
    images = [Image.fromarray(page(40, 90)), Image.fromarray(page(300, 20, seed=1))]
    agree(name, images, resample=resample, **sized(name, 64, 64))
    agree(name, images, {"resample": Image.Resampling(resample), **sized(name, 50, 40)})


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", NAMES)
def test_random_options(name: str, seed: int) -> None:
    chance = random.Random(f"{name} {seed}")
    every = {option: VALUES.get(option) or sizes(name) for option in getattr(vision2seq, name).defaults}
    for _ in range(7):
        options = {option: chance.choice(values) for option, values in every.items() if chance.random() < 0.6}
        if name in ONTO_CANVAS:
            options.setdefault("size", [60, 45])  # the default canvas takes seconds
        call = {option: options.pop(option) for option in list(options) if chance.random() < 0.4}
        if name == "NougatImageProcessor" and not isinstance(call.get("size", {}), dict):
            options["size"] = call.pop("size")  # in calls, the reference takes a dict alone
        call["data_format"] = chance.choice(["channels_first", "channels_last"])
        if name not in ONTO_CANVAS:
            call["return_tensors"] = chance.choice([None, "np", "pt"])
        height, width = chance.choice([*SIZES[:3], (31, 150), (100, 20), (130, 140), (20, 20)])
        kind = chance.choice(list(KINDS))
        make = page if name == "NougatImageProcessor" else pixels
        images: Any = [KINDS[kind](make(height, width, seed=each)) for each in (seed, seed + 100)]
        if kind == "np" and chance.random() < 0.5:
            images = np.stack(images)
        if kind in ("np", "planes") and chance.random() < 0.5:
            call["input_data_format"] = "channels_first" if kind == "planes" else "channels_last"
        try:
            agree(name, images, call, **options)
        except OptionError as error:  # both refuse pictures larger than the canvas, each in its words
            assert name in ONTO_CANVAS and "more than the canvas of" in str(error)
            with pytest.raises(ValueError, match="index can't contain negative values"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                getattr(transformers, name)(**options)(images, **call)


@pytest.mark.parametrize("name", NAMES)
def test_kinds_of_numbers(name: str) -> None:
    array = page(30, 40)
    size = sized(name, 25, 25)
    for kind in ("uint8", "int16", "int64", "float16", "float32", "float64", "bool"):
        for fractions in (False, True):
            if fractions and not kind.startswith("float"):
                continue
            image = (array > 99) if kind == "bool" else (array / 255 if fractions else array).astype(kind)
            for resize, rescale, normalize in itertools.product([True, False], repeat=3):
                call: dict[str, Any] = {"do_resize": resize, "do_rescale": rescale, "do_normalize": normalize}
                if name in ONTO_CANVAS and not resize:
                    call["do_thumbnail"] = call["do_pad"] = False
                agree(name, image, call, **size)
                agree(name, torch.from_numpy(image), call, **size)


@pytest.mark.parametrize("name", ["DeiTImageProcessor", "CLIPImageProcessor"])
def test_center_crop_larger_smaller_and_mixed(name: str) -> None:
    for shape, crop in itertools.product([(10, 10), (11, 8), (8, 11), (7, 7)], [(8, 8), (9, 9), (20, 5), (5, 21)]):
        for image in (pixels(*shape), Image.fromarray(pixels(*shape)), pixels(*shape) / 300):
            agree(name, image, do_resize=False, crop_size=crop)


@pytest.mark.parametrize("name", ["ViTImageProcessor", "SiglipImageProcessor", *ONTO_CANVAS[:1], *BY_EDGE[:2]])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "RGB"])
def test_modes_that_the_reference_converts(name: str, mode: str) -> None:
    rgb = Image.fromarray(pixels(40, 50))
    image = rgb.convert("L").convert("I" if mode == "I;16" else mode) if mode in ("I", "F", "LA", "I;16") else rgb
    image = image.convert(mode)
    ours, theirs = processors(name, sized(name, 32, 20))
    asked = {} if name == "DonutImageProcessor" else {"do_convert_rgb": True}  # it always does
    equal(ours(image, do_convert_rgb=True), theirs(image, **asked))
    if name in BY_EDGE:
        equal(ours(image), theirs(image))  # their default


def test_other_numbers_of_channels() -> None:
    one = {"image_mean": [0.9545467], "image_std": [0.15394445]}
    for name in ("ViTImageProcessor", "DeiTImageProcessor", "BeitImageProcessor", "ConvNextImageProcessor"):
        agree(name, pixels(40, 50, 1), **sized(name, 32, 32), **one)
    agree("ViTImageProcessor", pixels(40, 50, 1), do_convert_rgb=False, image_mean=0.5, image_std=0.5)
    call = {"input_data_format": "channels_last"}
    four = {"image_mean": [0.1] * 4, "image_std": [0.3] * 4}
    for name in NAMES:
        agree(name, pixels(40, 50, 4), call, **sized(name, 32, 32), **four)


def test_axes_in_doubt() -> None:
    agree("ViTImageProcessor", pixels(3, 50), size=32)
    agree("CLIPImageProcessor", [pixels(5, 50), pixels(3, 50)], size=32)
    agree("ViTImageProcessor", [Image.fromarray(pixels(5, 50)), pixels(3, 50)], size=32)
    agree("ConvNextImageProcessor", pixels(3, 50), {"input_data_format": "channels_last"}, size=32)


FILES: list[dict[str, Any]] = [
    {"feature_extractor_type": "ViTFeatureExtractor", "size": 384, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    {"feature_extractor_type": "ViTFeatureExtractor", "size": [38, 48], "resample": 3, "do_normalize": False},
    {"image_processor_type": "ViTImageProcessor", "size": {"height": 48, "width": 38}, "rescale_factor": 0.01},
    {"image_processor_type": "ViTImageProcessorFast", "size": 48, "my_key": [1], "processor_class": "TrOCRProcessor"},
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
    {"feature_extractor_type": "BeitFeatureExtractor", "size": 60, "crop_size": 50, "do_center_crop": False},
    {"image_processor_type": "BeitImageProcessor", "size": [60, 70], "do_reduce_labels": True, **IMAGENET},
    {"feature_extractor_type": "ViTFeatureExtractor", "size": 48, "max_size": 60, "_max_size": 60, "reduce_labels": 1},
    {
        "feature_extractor_type": "CLIPFeatureExtractor",
        "size": {"shortest_edge": 40, "longest_edge": 50},
    },
    {  # as CLIP's first files
        "crop_size": 60,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 60,
    },
    {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 40}, "use_square_size": True},
    {"image_processor_type": "CLIPImageProcessor", "size": 40, "use_square_size": False, "do_convert_rgb": None},
    {  # as DINOv2's
        "crop_size": {"height": 56, "width": 56},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_processor_type": "BitImageProcessor",
        **IMAGENET,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 64},
    },
    {"image_processor_type": "SiglipImageProcessor", "size": {"height": 38, "width": 48}, "processor_class": "X"},
    {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 56, "crop_pct": 0.9, **IMAGENET},
    {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 50}, "crop_pct": None},
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
    {
        "image_processor_type": "DonutImageProcessor",
        "size": {"height": 32, "width": 1024},
        "do_thumbnail": False,
        "do_pad": False,
    },
    {"image_processor_type": "DonutImageProcessor", "size": [90, 80], "random_padding": True, "image_mean": None},
    {"image_processor_type": "DonutImageProcessor", "size": None, "do_resize": False, "do_pad": False},
    {  # as Nougat's
        "do_align_long_axis": False,
        "do_crop_margin": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "do_thumbnail": True,
        **IMAGENET,
        "image_processor_type": "NougatImageProcessor",
        "processor_class": "NougatProcessor",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 128, "width": 96},
    },
    {"image_processor_type": "NougatImageProcessorFast", "size": [100, 70], "do_align_long_axis": True, "note": 1},
    {"feature_extractor_type": "NougatFeatureExtractor", "size": 80, "do_crop_margin": False},
]


@pytest.mark.parametrize("values", FILES)
def test_files_both_ways(values: dict[str, Any], tmp_path: Path) -> None:
    stated = values.get("image_processor_type") or values["feature_extractor_type"]
    name = stated.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    reference, own = getattr(transformers, name), getattr(vision2seq, name)
    ours, theirs = vision2seq.AutoImageProcessor.from_pretrained(tmp_path), reference.from_pretrained(tmp_path)
    assert type(ours) is own
    image = Image.fromarray(page(40, 90))
    equal(ours(image), theirs(image))
    assert json.loads(ours.to_json_string()) == json.loads(theirs.to_json_string())

    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    crossed = reference.from_pretrained(tmp_path / "ours"), own.from_pretrained(tmp_path / "theirs")
    equal(crossed[1](image), crossed[0](image))
    assert own.from_pretrained(tmp_path / "ours").to_dict() == ours.to_dict()
    auto = transformers.AutoImageProcessor.from_pretrained(tmp_path / "ours", use_fast=False)
    assert type(auto).__name__ == name
