"""Where pixels went: a mark is painted into a picture, found in what a processor makes of it, and mapped back."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vision2seq.errors import OptionError
from vision2seq.processing.image.base import ImageProcessor
from vision2seq.processing.image.clip import BitImageProcessor, CLIPImageProcessor
from vision2seq.processing.image.convnext import ConvNextImageProcessor
from vision2seq.processing.image.deit import DeiTImageProcessor
from vision2seq.processing.image.donut import DonutImageProcessor
from vision2seq.processing.image.geometry import Geometry
from vision2seq.processing.image.nougat import NougatImageProcessor
from vision2seq.processing.image.vit import ViTImageProcessor

RAW = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}

PROCESSORS: dict[str, ImageProcessor] = {
    "vit": ViTImageProcessor(size=[60, 90]),
    "vit, as it is": ViTImageProcessor(do_resize=False),
    "deit": DeiTImageProcessor(size=[100, 80], crop_size=[81, 57]),
    "deit, cut only": DeiTImageProcessor(do_resize=False, crop_size=[75, 110]),
    "deit, black round it": DeiTImageProcessor(size=[50, 60], crop_size=[81, 75]),
    "donut": DonutImageProcessor(size=[120, 90]),
    "donut, turned": DonutImageProcessor(size=[90, 120], do_align_long_axis=True),
    "donut, turned if upright": DonutImageProcessor(size=[120, 90], do_align_long_axis=True),
    "donut, padded only": DonutImageProcessor(size=[300, 301], do_resize=False, do_thumbnail=False),
    "donut, not padded": DonutImageProcessor(size=[120, 90], do_pad=False),
    "clip, cut": CLIPImageProcessor(size=90, crop_size=[81, 85]),
    "bit": BitImageProcessor(size={"shortest_edge": 60}, do_center_crop=False),
    "convnext, cut": ConvNextImageProcessor(size=80),
    "convnext": ConvNextImageProcessor(),
    "nougat": NougatImageProcessor(size=[120, 90]),
    "nougat, turned": NougatImageProcessor(size=[90, 120], do_align_long_axis=True),
    "nougat, margins kept": NougatImageProcessor(size=[120, 90], do_crop_margin=False),
    "nougat, margins only": NougatImageProcessor(do_resize=False, do_thumbnail=False, do_pad=False),
}
# Width and height of the picture; left, top, right and bottom of the mark.
MARKS = [
    ((140, 70), (60, 24, 84, 44)),
    ((70, 140), (25, 60, 37, 77)),
    ((99, 101), (40, 30, 75, 70)),
    ((200, 97), (83, 40, 120, 70)),
]


def marked(size: tuple[int, int], mark: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", size, (255, 255, 255))
    image.paste((255, 0, 0), mark)
    return image


def found(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Edges of the red in C H W."""
    red = (pixels[0].astype(int) - pixels[1]) > 127
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize(("size", "mark"), MARKS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_mark_is_mapped_back(name: str, size: tuple[int, int], mark: tuple[int, int, int, int]) -> None:
    image, processor = marked(size, mark), PROCESSORS[name]
    pixels = processor(image, **RAW).pixel_values[0]
    geometry = processor.geometry(image)
    assert (geometry.width, geometry.height) == size
    assert (geometry.processed_height, geometry.processed_width) == pixels.shape[1:]
    box = geometry.box_to_original(*found(pixels))
    assert all(isinstance(edge, float) for edge in box)
    # An edge is found to half a processed pixel; filters blur it no further.
    pixel = max(sum(map(abs, geometry.matrix[:2])), sum(map(abs, geometry.matrix[3:5])))
    assert pixel < 4
    np.testing.assert_allclose(box, mark, atol=0.51 * pixel + 0.01)
    for given in (np.asarray(image), np.asarray(image).transpose(2, 0, 1), [image]):
        assert processor.geometry(given) == geometry


@pytest.mark.parametrize("name", PROCESSORS)
def test_whole_picture_and_borders(name: str) -> None:
    image, processor = marked((140, 70), (0, 0, 140, 70)), PROCESSORS[name]
    geometry = processor.geometry(image)
    whole = geometry.box_to_original(0, 0, geometry.processed_width, geometry.processed_height)
    if "cut" in name or name == "deit":
        assert 0 <= whole[0] < whole[2] <= 140 and 0 <= whole[1] < whole[3] <= 70 and whole != (0, 0, 140, 70)
    else:
        assert whole == pytest.approx((0, 0, 140, 70), abs=1e-9)
    left, top, right, _ = found(processor(image, **RAW).pixel_values[0])
    if top:  # black above
        empty = geometry.box_to_original(left, 0, right, top - 1)
        assert empty[0] == empty[2] or empty[1] == empty[3]


def test_by_hand() -> None:
    geometry = Geometry.of(40, 20).turned().resized(80, 10).window(-10, -5, 100, 20)
    assert (geometry.width, geometry.height, geometry.processed_width, geometry.processed_height) == (40, 20, 20, 100)
    # The corner top left went to the right, 10 columns and 10 rows of black being before the picture.
    assert geometry.to_original(15, 10) == (0, 0)
    assert geometry.to_original(5, 10) == (0, 20)
    assert geometry.to_original(15, 90) == (40, 0)
    assert geometry.to_original(10, 30) == (10, 10)
    assert geometry.to_original(0, 0) == (-5, 30)
    assert geometry.box_to_original(5, 10, 10, 30) == (0, 10, 10, 20)
    assert geometry.box_to_original(0, 0, 20, 100) == (0, 0, 40, 20)
    assert Geometry.of(4, 5).box_to_original(1, 2, 3, 4) == (1, 2, 3, 4)


def test_options_of_the_call_count() -> None:
    image = marked((140, 70), (60, 20, 80, 40))
    vit = PROCESSORS["vit"]
    assert vit.geometry(image, size=10).matrix == (14, 0, 0, 0, 7, 0)
    assert vit.geometry(image, do_resize=False) == Geometry.of(140, 70)


def test_what_has_no_geometry() -> None:
    image = marked((140, 70), (60, 20, 80, 40))
    with pytest.raises(OptionError, match=r"geometry\(\) is about one image; found 2. Call it for each"):
        PROCESSORS["vit"].geometry([image, image])
    state = np.random.get_state()[1].copy()
    with pytest.raises(OptionError, match="cannot tell where random_padding=True will put a picture. Leave it out"):
        PROCESSORS["donut"].geometry(image, random_padding=True)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
