"""Image processors on their own: options, files, batches, channels, messages."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vision2seq import registry
from vision2seq.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    ImageError,
    OptionError,
    UnknownOptionError,
)
from vision2seq.processing.image import ops, steps
from vision2seq.processing.image.base import ImageProcessor
from vision2seq.processing.image.clip import BitImageProcessor, CLIPImageProcessor
from vision2seq.processing.image.convnext import ConvNextImageProcessor
from vision2seq.processing.image.deit import BeitImageProcessor, DeiTImageProcessor
from vision2seq.processing.image.feature import BatchFeature
from vision2seq.processing.image.vit import SiglipImageProcessor, ViTFeatureExtractor, ViTImageProcessor


def picture(height: int = 20, width: int = 30, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


# The numbers


def test_every_8_bit_value_by_hand() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = np.stack([values, values.T, values[::-1]], 2)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    processor = ViTImageProcessor(do_resize=False, image_mean=mean, image_std=std)
    found = processor(np.tile(rgb, (3, 3, 1)))["pixel_values"][0][:, :16, :16]
    scaled = (rgb.astype(np.float64) * (1 / 255)).astype(np.float32)
    expected = (scaled - np.array(mean, np.float32)) / np.array(std, np.float32)
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("scale", [None, 1 / 255, 2.0])
@pytest.mark.parametrize("mean", [None, 0.5, [0.1, 0.2, 0.3]])
def test_looked_up_and_computed_agree(dtype: type, scale: float | None, mean: object) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 40, 30)).astype(dtype)
    std = 0.3
    whole = ops.standardize(pixels, scale, mean, std)
    assert whole.dtype == ops.standardized_dtype(pixels.dtype, scale, mean)
    parts = [ops.standardize(pixels[:, row : row + 1], scale, mean, std) for row in range(40)]  # too small for a table
    np.testing.assert_array_equal(whole, np.concatenate(parts, 1))
    out = np.empty_like(whole)
    assert ops.standardize(pixels, scale, mean, std, out=out) is out
    np.testing.assert_array_equal(whole, out)


@pytest.mark.parametrize(
    ("processor", "shape"),
    [
        (SiglipImageProcessor(), (224, 224)),
        (SiglipImageProcessor(size=[10, 12]), (10, 12)),
        (BeitImageProcessor(), (224, 224)),
        (BitImageProcessor(), (224, 224)),
        (CLIPImageProcessor(size=40, do_center_crop=False), (40, 60)),
        (CLIPImageProcessor(size=40, do_center_crop=False, use_square_size=True), (40, 40)),
        (CLIPImageProcessor(size={"height": 7, "width": 9}, use_square_size=True, crop_size=20), (20, 20)),
        (CLIPImageProcessor(size={"shortest_edge": 40, "longest_edge": 50}, do_center_crop=False), (40, 60)),
        (ConvNextImageProcessor(), (384, 384)),
        (ConvNextImageProcessor(size=20), (20, 20)),
        (ConvNextImageProcessor(do_resize=False), (20, 30)),
    ],
)
def test_what_size_comes_out(processor: ImageProcessor, shape: tuple[int, int]) -> None:
    assert processor(picture(), return_tensors="np").pixel_values.shape == (1, 3, *shape)
    assert processor(np.asarray(picture()), return_tensors="np").pixel_values.shape == (1, 3, *shape)


def test_convnext_cuts_a_share_off() -> None:
    rows = np.repeat(np.arange(0, 240, 3, dtype=np.uint8)[:, None, None], 80, 1).repeat(3, 2)
    processor = ConvNextImageProcessor(size=40, crop_pct=0.5, do_rescale=False, do_normalize=False)
    np.testing.assert_array_equal(processor(rows)["pixel_values"][0], rows[20:60, 20:60].transpose(2, 0, 1))


def test_files_that_say_a_square_is_meant() -> None:
    assert CLIPImageProcessor(size=40, use_square_size=True).to_dict()["size"] == {"height": 40, "width": 40}
    assert "use_square_size" not in CLIPImageProcessor(size=40, use_square_size=True).to_dict()
    assert CLIPImageProcessor(use_square_size=False).to_dict()["use_square_size"] is False


def test_defaults() -> None:
    vit, deit = ViTImageProcessor(), DeiTImageProcessor()
    assert (vit.size, vit.resample, vit.rescale_factor) == ({"height": 224, "width": 224}, 2, 1 / 255)
    assert (deit.size, deit.resample, deit.crop_size) == (
        {"height": 256, "width": 256},
        3,
        {"height": 224, "width": 224},
    )
    assert vit.image_mean == vit.image_std == deit.image_mean == deit.image_std == [0.5, 0.5, 0.5]
    for processor in (vit, deit):
        assert processor(picture(), return_tensors="np").pixel_values.shape == (1, 3, 224, 224)


def test_center_crop_cuts_and_fills() -> None:
    pixels = np.arange(1, 13, dtype=np.uint8).reshape(1, 3, 4)
    for shape, expected in (((1, 2), [[[6, 7]]]), ((4, 1), [[[0], [2], [6], [10]]])):
        crop = steps.center_crop((3, 4), shape)
        np.testing.assert_array_equal(crop.apply(pixels), expected)
        np.testing.assert_array_equal(crop.apply(Image.fromarray(pixels[0])), expected[0])
    assert steps.center_crop((3, 4), (6, 7)).apply(pixels).sum() == pixels.sum()


def test_window_beside_the_picture_is_black() -> None:
    pixels = np.ones((1, 3, 4), np.uint8)
    for top, left in ((-9, 0), (9, 0), (0, -9), (0, 9), (-2, -2), (3, 4)):
        window = steps.Window(top, left, (2, 2)).apply(pixels)
        assert window.shape == (1, 2, 2) and not window.any()


# Options


@pytest.mark.parametrize("size", [48, [48, 48], (48, 48), {"height": 48, "width": 48}])
def test_size_in_every_spelling(size: object) -> None:
    assert ViTImageProcessor(size=size).size == {"height": 48, "width": 48}
    assert DeiTImageProcessor(crop_size=size).crop_size == {"height": 48, "width": 48}
    assert ViTImageProcessor()(picture(), size=size)["pixel_values"][0].shape == (3, 48, 48)
    changed = ViTImageProcessor()
    changed.size = size
    assert changed(picture())["pixel_values"][0].shape == (3, 48, 48)
    assert changed.to_dict()["size"] == {"height": 48, "width": 48}


def test_list_size_is_height_then_width() -> None:
    assert ViTImageProcessor(size=[32, 64])(picture())["pixel_values"][0].shape == (3, 32, 64)


@pytest.mark.parametrize("size", ["big", [1], [1, 2, 3], {"height": 3}, {"side": 3}, 2.5, True])
def test_size_in_no_known_spelling(size: object) -> None:
    with pytest.raises(OptionError, match="size is .* Expected an integer, "):
        ViTImageProcessor(size=size)
    with pytest.raises(OptionError, match="^crop_size is "):
        DeiTImageProcessor(crop_size=size)


def test_size_that_cannot_be_used() -> None:
    processor = ViTImageProcessor(size={"shortest_edge": 20})
    with pytest.raises(OptionError, match=r"size is \{'shortest_edge': 20\}. This processor needs both: \{'height'"):
        processor(picture())
    with pytest.raises(OptionError, match=r"needs \{'height': …, 'width': …\} or \{'shortest_edge': …\}"):
        CLIPImageProcessor()(picture(), size={"longest_edge": 20})
    with pytest.raises(OptionError, match=r"size is 20 by 30. This processor needs one edge: \{'shortest_edge'"):
        ConvNextImageProcessor()(picture(), size=[20, 30])
    with pytest.raises(OptionError, match=r"crop_size is \{'shortest_edge': 20\}. This processor needs both"):
        CLIPImageProcessor()(picture(), crop_size={"shortest_edge": 20})
    for share in (0, -0.5, 41, "half"):
        with pytest.raises(OptionError, match=f"crop_pct is {share!r}. Expected a number above 0, as 0.875"):
            ConvNextImageProcessor(size=40)(picture(), crop_pct=share)
    with pytest.raises(ImageError, match="of 100000x2 pixels is so thin .* edge to 224 makes it 11200000x224. Cut it"):
        CLIPImageProcessor()(picture(2, 100000))
    assert processor(picture(), do_resize=False)["pixel_values"][0].shape == (3, 20, 30)
    for size in (0, -3, [4, 2.5], {"height": 4, "width": None}):
        with pytest.raises(OptionError, match="Expected whole numbers of pixels, 1 or more"):
            processor(picture(), size=size)


def test_overrides_hold_for_one_call() -> None:
    processor = DeiTImageProcessor()
    before = processor.to_dict()
    raw = processor(
        picture(), do_resize=False, do_center_crop=False, do_rescale=False, do_normalize=False, return_tensors="np"
    )
    assert raw.pixel_values.dtype == np.uint8
    np.testing.assert_array_equal(raw.pixel_values[0].transpose(1, 2, 0), np.asarray(picture()))
    assert processor.to_dict() == before
    same = processor(picture(), do_resize=None, size=None, image_mean=None)
    np.testing.assert_array_equal(same["pixel_values"][0], processor(picture())["pixel_values"][0])


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownOptionError, match=r"ViTImageProcessor has no option 'do_resise'. Did you mean 'do_resi"):
        ViTImageProcessor()(picture(), do_resise=False)
    with pytest.raises(TypeError, match="has no option 'do_center_crop'"):
        ViTImageProcessor()(picture(), do_center_crop=True)
    with pytest.raises(UnknownOptionError, match="has no option 'image_maen'. Did you mean 'image_mean'"):
        ViTImageProcessor.from_dict({}, image_maen=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resample": 9}, "resample is 9. Expected one of: 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 ham"),
        ({"data_format": "channels_middle"}, "data_format is 'channels_middle'. Expected one of: channels_first"),
        ({"input_data_format": "HWC"}, "input_data_format is 'HWC'. Expected one of"),
        ({"return_tensors": "tf"}, "return_tensors is 'tf'. Expected 'pt', 'np' or None"),
        ({"image_mean": [0.5, 0.5]}, None),
        ({"image_std": [0.5, 0.5]}, "image_std has 2 numbers, the image has 3 channels"),
        ({"image_mean": "half"}, "do_normalize needs image_mean, which is 'half'"),
        ({"image_std": 0.0}, "image_std holds a 0"),
    ],
)
def test_impossible_values(options: dict[str, object], message: str | None) -> None:
    with pytest.raises(OptionError, match=message or "image_mean has 2 numbers, the image has 3 channels"):
        ViTImageProcessor(size=8)(picture(), **options)


def test_option_set_to_nothing() -> None:
    processor = ViTImageProcessor(size=8, rescale_factor=None)
    with pytest.raises(OptionError, match="do_rescale needs rescale_factor, which is None. Set it, or do_rescale=Fals"):
        processor(picture())


# Pictures


def test_every_kind_of_picture_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture().save(path)
    pixels = np.asarray(picture())
    processor = DeiTImageProcessor(size=40, crop_size=32)
    expected = processor(picture(), return_tensors="np").pixel_values[0]
    sources = [
        path,
        str(path),
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        pixels,
        pixels.transpose(2, 0, 1),
        torch.from_numpy(pixels.copy()),
        pixels.astype(np.int64),
        pixels.astype(np.float32),
    ]
    batch = processor(sources, return_tensors="np").pixel_values
    assert batch.shape == (len(sources), 3, 32, 32)
    for found in batch:
        np.testing.assert_array_equal(found, expected)


def test_what_is_not_rgb_becomes_rgb() -> None:
    processor = ViTImageProcessor(size=16)
    gray = picture().convert("L")
    expected = processor(gray.convert("RGB"), return_tensors="np").pixel_values
    for source in (gray, np.asarray(gray), np.asarray(gray)[None], np.asarray(gray)[:, :, None]):
        np.testing.assert_array_equal(processor(source, return_tensors="np").pixel_values, expected)
    half = np.asarray(gray) / 255
    np.testing.assert_allclose(
        processor(half, do_rescale=False, return_tensors="np").pixel_values, expected, atol=2 / 127.5
    )
    for mode in ("1", "P", "CMYK", "RGBA", "LA", "I", "F"):
        assert processor(picture().convert("L").convert(mode), return_tensors="np").pixel_values.shape[1] == 3

    sheet = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    for source in (sheet, np.asarray(sheet), np.asarray(sheet).transpose(2, 0, 1)):
        assert (processor(source, return_tensors="np").pixel_values == 1).all()  # white
    # Asked for explicitly, conversion is Pillow's, which forgets transparency.
    assert (processor(sheet, do_convert_rgb=True, return_tensors="np").pixel_values == -1).all()
    assert DeiTImageProcessor()(sheet, do_convert_rgb=True, return_tensors="np").pixel_values.min() == -1


def test_one_mean_keeps_one_channel() -> None:
    processor = ViTImageProcessor(size=16, image_mean=[0.9545467], image_std=[0.15394445])
    gray = picture().convert("L")
    expected = processor(gray, return_tensors="np").pixel_values
    assert expected.shape == (1, 1, 16, 16)
    for source in (picture(), np.asarray(picture()), np.asarray(gray), np.asarray(gray)[None], gray.convert("RGB")):
        np.testing.assert_array_equal(processor(source, return_tensors="np").pixel_values, expected)
    with pytest.raises(ImageError, match="3 channels and dtype float32 cannot be made 1-channel"):
        processor(np.zeros((3, 8, 8), np.float32))


def test_channels_left_as_they_are() -> None:
    processor = ViTImageProcessor(size=8, image_mean=[0.5] * 4, image_std=[0.5] * 4)
    rgba = picture().convert("RGBA")
    assert processor(rgba, return_tensors="np").pixel_values.shape == (1, 4, 8, 8)
    gray = ViTImageProcessor(size=8, image_mean=0.5, image_std=0.5, do_convert_rgb=False)
    assert gray(picture().convert("L"), return_tensors="np").pixel_values.shape == (1, 1, 8, 8)
    with pytest.raises(ImageError, match="P image holds palette indices"):
        gray(picture().convert("P"))


def test_axes_in_doubt_are_as_in_the_first_picture() -> None:
    processor = ViTImageProcessor(do_resize=False)
    flat = np.random.default_rng(0).integers(0, 256, (3, 9, 3), dtype=np.uint8)
    assert processor(flat)["pixel_values"][0].shape == (3, 9, 3)
    assert processor(flat, input_data_format="channels_last")["pixel_values"][0].shape == (3, 3, 9)
    after = processor([np.zeros((5, 9, 3), np.uint8), flat])["pixel_values"]
    assert [array.shape for array in after] == [(3, 5, 9), (3, 3, 9)]
    assert processor(Image.fromarray(flat))["pixel_values"][0].shape == (3, 3, 9)
    with pytest.raises(ImageError, match=r"input_data_format='none' means \(height, width\)"):
        processor(flat, input_data_format="none")


def test_pictures_that_cannot_be_used(tmp_path: Path) -> None:
    processor = ViTImageProcessor(size=8)
    with pytest.raises(ImageError, match="the list is empty"):
        processor([])
    with pytest.raises(ImageError, match="Image 1 of 2: No image file 'nowhere.png'"):
        processor([picture(), "nowhere.png"])
    with pytest.raises(ImageError, match="^The image holds NaN"):
        processor(torch.full((3, 8, 8), float("nan")))
    with pytest.raises(ImageError, match="found 5"):
        processor(np.zeros((1, 1, 3, 8, 8)))
    with pytest.raises(ImageError, match="has no pixels: it is 0x4"):
        processor(Image.new("RGB", (0, 4)))
    with pytest.raises(ImageError, match="fractions from -0.5 to 0.5, which resizing cannot keep"):
        processor(np.linspace(-0.5, 0.5, 192).reshape(3, 8, 8))
    with pytest.raises(ImageError, match=r"values from 300 to 300, which resizing cannot keep.*load_image\(\) scales"):
        processor(np.full((3, 8, 8), 300, np.uint16))
    path = tmp_path / "half.png"
    picture(64, 64).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with Image.open(path) as opened, pytest.raises(ImageError, match="half.png' cannot be decoded"):
        processor(opened)


def test_values_scaled_twice_are_warned_about() -> None:
    processor = ViTImageProcessor(size=8)
    pixels = np.asarray(picture()) / 255
    with pytest.warns(UserWarning, match="already holds values from 0 to 1.*do_rescale=False") as caught:
        processor(pixels)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        processor(pixels, do_rescale=False)
        processor(np.zeros((3, 8, 8), np.uint8))


# Batches


def test_what_comes_back() -> None:
    processor = ViTImageProcessor(size=[6, 8])
    images = [picture(seed=seed) for seed in range(3)]
    listed = processor(images)["pixel_values"]
    assert isinstance(listed, list) and all(array.shape == (3, 6, 8) for array in listed)
    batch = processor(images, return_tensors="np").pixel_values
    assert batch.shape == (3, 3, 6, 8) and batch.dtype == np.float32 and batch.flags.c_contiguous
    np.testing.assert_array_equal(batch, np.stack(listed))
    tensor = processor.preprocess(images, return_tensors="pt").pixel_values
    assert tensor.dtype == torch.float32 and tensor.is_contiguous()
    np.testing.assert_array_equal(batch, tensor.numpy())
    last = processor(images, "np", data_format="channels_last").pixel_values
    np.testing.assert_array_equal(last, batch.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(processor(iter(images), "np").pixel_values, batch)
    np.testing.assert_array_equal(processor(np.stack([np.asarray(x) for x in images]), "np").pixel_values, batch)


def test_different_sizes_are_no_batch() -> None:
    processor = ViTImageProcessor(do_resize=False)
    images = [picture(4, 5), picture(6, 5)]
    assert [array.shape for array in processor(images)["pixel_values"]] == [(3, 4, 5), (3, 6, 5)]
    with pytest.raises(OptionError, match=r"cannot be one batch: \(3, 4, 5\), \(3, 6, 5\).*do_resize=True"):
        processor(images, return_tensors="pt")


def test_batch_feature() -> None:
    batch = BatchFeature({"pixel_values": [np.zeros((3, 2, 2), np.float32)], "ids": torch.tensor([1])}, "pt")
    assert batch["pixel_values"] is batch.pixel_values is batch.data["pixel_values"]
    assert {**batch}.keys() == {"pixel_values", "ids"}
    assert batch.to(torch.float16) is batch
    assert batch.pixel_values.dtype == torch.float16 and batch.ids.dtype == torch.int64
    batch.to("cpu", torch.float32).to(device="cpu", dtype=torch.float64)
    assert batch.pixel_values.dtype == torch.float64
    batch.to("meta")
    assert batch.pixel_values.is_meta and batch.ids.is_meta
    with pytest.raises(AttributeError, match="has no 'pixels'. It has: pixel_values, ids"):
        _ = batch.pixels
    with pytest.raises(OptionError, match="Cannot move a batch to 1.5. Expected a device or a dtype"):
        batch.to(1.5)
    other = BatchFeature({"a": np.arange(3)})
    assert pickle.loads(pickle.dumps(other)).a.tolist() == copy.deepcopy(other).a.tolist() == [0, 1, 2]
    assert other.to("cpu").convert_to_tensors("pt").a.tolist() == [0, 1, 2]


# Files

OLD = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 384,
    "some_key_of_mine": {"a": [1]},
}


def test_old_file_is_read_and_written_back(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(OLD))
    processor = ViTFeatureExtractor.from_pretrained(tmp_path, cache_dir="x", use_fast=True)
    assert processor.size == {"height": 384, "width": 384}
    assert processor.some_key_of_mine == {"a": [1]}
    saved = tmp_path / "new" / "folder"
    assert processor.save_pretrained(saved) == [str(saved / "preprocessor_config.json")]
    assert [path.name for path in saved.iterdir()] == ["preprocessor_config.json"]
    written = json.loads((saved / "preprocessor_config.json").read_text())
    assert written == {
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 384, "width": 384},
        "some_key_of_mine": {"a": [1]},
    }
    assert ViTImageProcessor.from_pretrained(saved).to_dict() == written


def test_keys_of_files_of_any_age_are_kept(tmp_path: Path) -> None:
    values = {
        "image_processor_type": "DeiTImageProcessorFast",
        "processor_class": "TrOCRProcessor",
        "crop_size": None,
        "do_center_crop": False,
        "do_convert_rgb": True,
        "preprocess": "a key named like a method",
        "resample": 3,
        "size": {"height": 16, "width": 16},
        "input_data_format": None,
    }
    kept = copy.deepcopy(values)
    processor = DeiTImageProcessor.from_dict(values)
    assert values == kept
    written = processor.to_dict()
    assert {key: written[key] for key in ("processor_class", "preprocess", "do_convert_rgb", "input_data_format")} == {
        key: values[key] for key in ("processor_class", "preprocess", "do_convert_rgb", "input_data_format")
    }
    assert written["image_processor_type"] == "DeiTImageProcessor"
    assert processor.crop_size == {"height": 224, "width": 224}
    assert processor(picture())["pixel_values"][0].shape == (3, 16, 16)
    # A crop in a file of ViT is kept, and means as little as it does to the reference.
    vit = ViTImageProcessor.from_dict({"do_center_crop": True, "crop_size": 8, "size": 16})
    assert vit.do_center_crop is True and vit(picture())["pixel_values"][0].shape == (3, 16, 16)
    vit.note = "set later"
    vit.resample = Image.Resampling.BICUBIC
    vit.image_mean = np.array([0.5, 0.5, 0.5])
    written = json.loads(vit.to_json_string())
    assert (written["note"], written["resample"], written["image_mean"]) == ("set later", 3, [0.5] * 3)
    with pytest.raises(AttributeError, match="ViTImageProcessor has no 'siz'. Did you mean 'size'"):
        _ = vit.siz


def test_changes_on_loading(tmp_path: Path) -> None:
    DeiTImageProcessor(size=20).save_pretrained(tmp_path / "inner")
    processor = DeiTImageProcessor.from_pretrained(tmp_path, subfolder="inner", do_center_crop=False, size=[8, 9])
    assert processor.size == {"height": 8, "width": 9} and processor.do_center_crop is False
    processor, unused = DeiTImageProcessor.from_pretrained(
        tmp_path / "inner" / "preprocessor_config.json", return_unused_kwargs=True, max_length=3, do_convert_rgb=False
    )
    assert unused == {"max_length": 3} and processor.do_convert_rgb is False
    assert processor.size == {"height": 20, "width": 20}


def test_newer_processor_file(tmp_path: Path) -> None:
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 32}, "tokenizer": {}}))
    assert ViTImageProcessor.from_pretrained(tmp_path).size == {"height": 32, "width": 32}


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"nowhere' is not a local folder"):
        ViTImageProcessor.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(OSError, match="holds no preprocessor_config.json. Copy it there from the model"):
        ViTImageProcessor.from_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text("{}")
    with pytest.raises(CheckpointNotFoundError, match="holds no preprocessor_config.json"):
        ViTImageProcessor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": ')
    with pytest.raises(CheckpointCorruptError, match="preprocessor_config.json is not valid JSON"):
        ViTImageProcessor.from_pretrained(tmp_path)
    with pytest.raises(OptionError, match="is a file, expected a folder to save the image processor into"):
        ViTImageProcessor().save_pretrained(tmp_path / "preprocessor_config.json")


def test_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    processor = ViTImageProcessor()
    processor.save_pretrained(tmp_path)
    before = (tmp_path / "preprocessor_config.json").read_text()
    processor.note = object()
    with pytest.raises(TypeError):
        processor.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["preprocessor_config.json"]
    assert (tmp_path / "preprocessor_config.json").read_text() == before


def test_names_in_every_spelling() -> None:
    for name in registry.IMAGE_PROCESSORS:
        found = registry.image_processor(name)
        assert issubclass(found, ImageProcessor) and found.__name__ == found.written_type == name
        old = name.replace("ImageProcessor", "FeatureExtractor")
        assert registry.image_processor(f"{name}Fast") is registry.image_processor(old) is found
        assert list(found().to_dict()) and set(found.defaults) <= set(found().to_dict())
        assert f"{name} {{" in repr(found())
    for name in ("BlipImageProcessor", "Fast", "", None, 3):
        assert registry.image_processor(name) is None
    assert copy.deepcopy(pickle.loads(pickle.dumps(ViTImageProcessor(size=9)))).size["height"] == 9


def test_numpy_batches_need_no_torch() -> None:
    code = (
        "import sys, numpy as np; from vision2seq.processing.image.vit import ViTImageProcessor\n"
        "ViTImageProcessor()(np.zeros((9, 9, 3), np.uint8), return_tensors='np'); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
