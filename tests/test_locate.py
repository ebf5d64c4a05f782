"""Where a text was read from: boxes of tokens and words in the original picture.

Models with known eyes: the cross-attention of random ones is set so that token n looks at the n-th coloured square.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import vision2seq.locate as place
from vision2seq import AutoTokenizer, DonutImageProcessor, Reader, TrOCRProcessor, ViTImageProcessor, registry
from vision2seq.errors import UnsupportedError
from vision2seq.layers.patches import PatchGrid
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel
from vision2seq.reading import Box, Reading

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples" / "lines").glob("*.png"))
COLOURS = [(220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 200, 20)]

FLAT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "mlp_ratio": 2,
    "image_size": 96,
    "patch_size": 4,
}
STAGED: dict[str, Any] = {
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "window_size": 2,
    "image_size": [64, 128],
    "patch_size": 2,
}


# ---------------------------------------------------------------------------------------------- models with known eyes


def squares(size: tuple[int, int], corners: Sequence[tuple[int, int]], side: int) -> tuple[Image.Image, list[Box]]:
    """A white picture with a square of each colour, and where they are."""
    picture = Image.new("RGB", size, "white")
    boxes = []
    for colour, (left, top) in zip(COLOURS, corners, strict=True):
        ImageDraw.Draw(picture).rectangle((left, top, left + side - 1, top + side - 1), fill=colour)
        boxes.append((float(left), float(top), float(left + side), float(top + side)))
    return picture, boxes


def looking_reader(kind: str, decoder: str, processor: Any, picture: Image.Image, folder: Path) -> Reader:
    """A reader of four letters, of which each looks at the square of its colour."""
    torch.manual_seed(0)
    family = registry.config_class(kind, "encoder")
    encoder = registry.model_class(kind, "encoder")._from_config(
        family(**(STAGED if "depths" in family.family_keys() else FLAT))
    )
    encoder.init_weights()
    width = {"d_model": 32, "cross_attention_hidden_size": None, "encoder_attention_heads": 2}
    values = tiny.DECODERS[decoder] | width
    half = registry.model_class(values["model_type"], "decoder")._from_config(
        registry.config_class(values["model_type"], "decoder")(**values, is_decoder=True, add_cross_attention=True)
    )
    half.init_weights()
    model = VisionEncoderDecoderModel(None, encoder, half).eval()
    model.config.decoder_start_token_id = tiny.START
    tiny.write_tokenizer(folder)
    reader = Reader(model, TrOCRProcessor(processor, AutoTokenizer.from_pretrained(folder)), **LETTERS)
    eye = half.model.decoder.layers[0].encoder_attn
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if not re.search("patch_embedding|norm|reduction", name):
                parameter.mul_(0.01)  # what a patch is turned into depends on its colour only
        for layer in half.model.decoder.layers:  # what is written depends on no picture
            layer.encoder_attn.out_proj.weight.zero_()
        pixels = reader.prepare(picture)[None]
        ids = model.generate(pixels, **LETTERS)
        assert ids.shape == (1, 5)
        seen: list[Tensor] = []
        hook = eye.q_proj.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0]))
        model(pixel_values=pixels, decoder_input_ids=ids[:, :-1])
        hook.remove()
        # Queries that meet the keys of patches of their colour, and no others.
        keys = eye.k_proj(model.encode(pixels)[1])[0, encoder.patch_grid(*pixels.shape[2:]).skipped :]
        wanted = patches_of(pixels[0], processor, encoder.patch_grid(*pixels.shape[2:]))
        heads = keys.unflatten(1, (2, -1)).unbind(1)
        queries = torch.cat([torch.linalg.lstsq(head, wanted.T, driver="gelsd").solution.T for head in heads], 1)
        eye.q_proj.bias.zero_()
        eye.q_proj.weight.copy_(12 * torch.linalg.lstsq(seen[0], queries, driver="gelsd").solution.T)
    return reader


LETTERS: dict[str, Any] = {
    "min_new_tokens": 4,
    "max_new_tokens": 4,
    "suppress_tokens": [tiny.START, tiny.PAD, tiny.EOS, 3, 4],
    "stop_on_repetition": False,
}


def patches_of(pixels: Tensor, processor: Any, grid: PatchGrid) -> Tensor:
    """For each colour 1 where a patch shows nothing else, (4, S): as the pixels say, whatever became of the picture."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (processor.image_mean, processor.image_std))
    shown = (pixels * std + mean) * 255
    found = []
    for colour in COLOURS:
        near = ((shown - torch.tensor(colour)[:, None, None]).abs().amax(0) < 25).float()
        near = near[: grid.rows * grid.patch_height, : grid.columns * grid.patch_width]
        whole = near.unflatten(0, (grid.rows, -1)).unflatten(2, (grid.columns, -1)).amin((1, 3)).flatten()
        assert whole.sum() >= 2
        found.append(whole)
    return torch.stack(found)


def assert_on_squares(reading: Reading, expected: list[Box]) -> None:
    assert len(reading.tokens) == 4
    for token, (left, top, right, bottom) in zip(reading.tokens, expected, strict=True):
        assert token.box is not None
        x, y = (token.box[0] + token.box[2]) / 2, (token.box[1] + token.box[3]) / 2
        assert left < x < right, (token.box, expected)
        assert top < y < bottom, (token.box, expected)
        inside = (min(token.box[2], right) - max(token.box[0], left)) * (
            min(token.box[3], bottom) - max(token.box[1], top)
        )
        area = (token.box[2] - token.box[0]) * (token.box[3] - token.box[1])
        assert inside > 0.5 * area, (token.box, expected)
        assert area > 0.15 * (right - left) * (bottom - top), (token.box, expected)


@pytest.mark.parametrize("kind", sorted(set(registry.ENCODERS)))
def test_every_encoder_finds_the_squares(kind: str, tmp_path: Path) -> None:
    picture, expected = squares((300, 200), [(200, 10), (20, 120), (110, 80), (230, 130)], 50)
    staged = "depths" in registry.config_class(kind, "encoder").family_keys()
    size = {"height": 64, "width": 128} if staged else {"height": 96, "width": 96}
    reader = looking_reader(kind, "trocr", ViTImageProcessor(size=size), picture, tmp_path)
    (reading,) = reader.read(picture, locate=True)
    assert_on_squares(reading, expected)


@pytest.mark.parametrize(
    ("size", "corners", "side", "options"),
    [
        ((400, 150), [(300, 10), (20, 80), (150, 60), (330, 90)], 50, {}),  # a border above and below
        ((150, 400), [(10, 320), (90, 20), (60, 150), (80, 330)], 50, {"do_align_long_axis": True}),  # on its side
        ((120, 120), [(80, 5), (5, 80), (40, 40), (82, 82)], 35, {}),  # borders on the left and on the right
        ((700, 300), [(500, 10), (20, 180), (250, 120), (590, 190)], 90, {}),
    ],
)
def test_a_donut_finds_the_squares(
    size: tuple[int, int], corners: list[tuple[int, int]], side: int, options: dict[str, bool], tmp_path: Path
) -> None:
    picture, expected = squares(size, corners, side)
    processor = DonutImageProcessor(size={"height": 64, "width": 128}, **options)
    reader = looking_reader("donut-swin", "mbart", processor, picture, tmp_path)
    (reading,) = reader.read(picture, locate=True)
    assert_on_squares(reading, expected)


def test_a_picture_that_its_camera_turned(tmp_path: Path) -> None:
    picture, expected = squares((300, 200), [(200, 10), (20, 120), (110, 80), (230, 130)], 50)
    reader = looking_reader("vit", "trocr", ViTImageProcessor(size={"height": 96, "width": 96}), picture, tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # is shown turned clockwise
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    (reading,) = reader.read(tmp_path / "turned.png", locate=True)
    assert_on_squares(reading, expected)


# ------------------------------------------------------------------------------------------------- the bundled model


@pytest.fixture(scope="module")
def bundled() -> Reader:
    return Reader()


LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "Numbers such as 3.14, 42 and 1,000,000 stand here",
    "Why does it work?",
    "A cartesian coordinate system is used by default.",
]


def drawn(text: str, size: int, left: int, top: int) -> tuple[Image.Image, list[tuple[float, float]]]:
    """A line in the font that Pillow brings along, and where each character begins and ends."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        pytest.skip("this Pillow has no font of its own (built without FreeType)")
    picture = Image.new("RGB", (math.ceil(font.getlength(text)) + 2 * left, round(size * 1.25) + 2 * top), "white")
    ImageDraw.Draw(picture).text((left, top), text, fill="black", font=font)
    return picture, [
        (left + font.getlength(text[:end]), left + font.getlength(text[: end + 1])) for end in range(len(text))
    ]


def test_the_bundled_model_tells_where_words_are(bundled: Reader) -> None:
    layouts = [(16, 4, 3), (20, 6, 5), (32, 20, 2), (44, 3, 8)]
    made = [(text, *drawn(text, *layout)) for text in LINES for layout in layouts]
    edges, middles, overlaps = [], [], []
    for (text, _, known), reading in zip(
        made, bundled.read([picture for _, picture, _ in made], locate=True), strict=True
    ):
        if reading.text != text:
            continue
        width = (known[-1][1] - known[0][0]) / len(text)  # of a character
        for token, (left, right) in zip(reading.tokens, known, strict=False):
            assert token.box is not None
            middles.append(abs(token.box[0] + token.box[2] - left - right) / 2 / width)
        for word in reading.words:
            assert word.box is not None
            left, right = known[word.start][0], known[word.end - 1][1]
            edges += [abs(word.box[0] - left) / width, abs(word.box[2] - right) / width]
            both = min(word.box[2], right) - max(word.box[0], left)
            overlaps.append(both / (max(word.box[2], right) - min(word.box[0], left)))
    assert len(overlaps) > 80  # most lines are read without a mistake
    assert statistics.median(middles) < 0.2
    assert statistics.median(edges) < 0.25
    assert statistics.median(overlaps) > 0.85
    assert statistics.quantiles(overlaps, n=20)[0] > 0.7


@pytest.mark.parametrize("image", EXAMPLES, ids=lambda image: image.stem)
def test_boxes_follow_the_text_and_lie_on_the_ink(image: Path, bundled: Reader) -> None:
    (reading,) = bundled.read(image, locate=True)
    assert reading.tokens[-1].box is None  # the end
    dark = np.asarray(Image.open(image).convert("L")) < 170
    height, width = dark.shape
    boxes = [token.box for token in reading.tokens[:-1]]
    middles = [(box[0] + box[2]) / 2 for box in boxes if box is not None]
    assert len(middles) == len(reading.text)
    assert all(one < other for one, other in itertools.pairwise(middles))
    for token in reading.tokens[:-1]:
        assert token.box is not None
        left, top, right, bottom = token.box
        assert 0 <= left < right <= width
        assert (top, bottom) == (0, height)  # the patches of this model are as high as a line
    inked = dark.any(0)
    for word, following in itertools.pairwise(reading.words):
        assert word.box is not None
        assert following.box is not None
        assert word.box[2] < following.box[0]
        between = inked[math.ceil(word.box[2]) : int(following.box[0])]
        assert not between.all()  # there is a gap
    covered = np.zeros(width, dtype=bool)
    for word in reading.words:
        assert word.box is not None
        columns = slice(int(word.box[0]), math.ceil(word.box[2]))
        assert inked[columns].mean() > 0.5
        covered[columns] = True
    assert (inked & covered).sum() > 0.9 * inked.sum()


def test_locating_changes_nothing_else(bundled: Reader) -> None:
    plain = list(bundled.read(EXAMPLES[:3]))
    for options in ({}, {"batch_size": 1}, {"num_beams": 2}):
        for reading, before in zip(bundled.read(EXAMPLES[:3], locate=True, **options), plain, strict=True):
            assert reading.text == before.text
            assert [t.id for t in reading.tokens] == [t.id for t in before.tokens]
            assert [t.probability for t in reading.tokens] == pytest.approx([t.probability for t in before.tokens])
            assert all(word.box is None for word in before.words)
    one = next(bundled.read(EXAMPLES[0], locate=True))
    many = next(bundled.read(EXAMPLES, locate=True))
    for word, same in zip(one.words, many.words, strict=True):
        assert word.box == pytest.approx(same.box, abs=0.3)


def test_long_texts_are_looked_at_in_parts(bundled: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = next(bundled.read(EXAMPLES[0], locate=True))
    monkeypatch.setattr(place, "_AT_ONCE", 20)
    parts = next(bundled.read(EXAMPLES[0], locate=True))
    assert len(whole.tokens) > 40
    for token, same in zip(parts.tokens, whole.tokens, strict=True):
        assert token.box == (pytest.approx(same.box, abs=2) if same.box else None)


def test_with_alternatives_and_failed_images(bundled: Reader) -> None:
    good, bad = bundled.read([EXAMPLES[0], b"none"], locate=True, alternatives=2)
    assert len(good.alternatives) == 2
    assert all(word.box is not None for word in good.words)
    assert not bad.ok


# ------------------------------------------------------------------------------------------------------- the arithmetic


def peaked(*peaks: tuple[float, float], rows: int = 10, columns: int = 20, width: float = 0.8) -> Tensor:
    """Attention of tokens around places (x, y) in patches, (T, rows, columns)."""
    x, y = torch.arange(columns) + 0.5, torch.arange(rows) + 0.5
    found = [torch.exp(-((x[None] - px) ** 2 + (y[:, None] - py) ** 2) / 2 / width**2) for px, py in peaks]
    return torch.stack([bell / bell.sum() for bell in found])


def test_heads_that_tell_places() -> None:
    steps = [(2.5 + 2 * step, 5.0) for step in range(8)]
    moving = peaked(*steps).flatten(1)
    resting = peaked(*[(3.5, 3.5)] * 8).flatten(1)  # sharp, and says nothing
    vague = torch.full_like(moving, 1 / moving.shape[1])
    elsewhere = 0.1 * moving  # most of it falls on tokens that are no patches
    wide = peaked(*steps, width=4.0).flatten(1)
    heads = torch.stack([moving, resting, vague, elsewhere, moving.flip(0), wide])
    assert place.telling(heads).tolist() == [True, False, False, False, True, False]
    assert place.telling(heads[:, :1]).all()  # a single token tells nothing about heads


def test_boxes_of_tokens() -> None:
    grid = PatchGrid(10, 20, 10, 8, 0)
    (alone,) = place.boxes(peaked((10.0, 5.0)), grid, ["a"])
    assert (alone[0] + alone[2]) / 2 == pytest.approx(80, abs=0.5)
    assert (alone[1] + alone[3]) / 2 == pytest.approx(50, abs=0.5)
    assert alone[2] - alone[0] == pytest.approx(2 * math.sqrt(3) * 8 * math.hypot(0.8, 12**-0.5), rel=0.1)
    left, right = place.boxes(peaked((9.0, 5.0), (11.0, 5.0)), grid, ["a", "b"])
    assert left[2] == pytest.approx(80, abs=0.5)
    assert right[0] == pytest.approx(left[2], abs=1e-3)
    assert left[0] == pytest.approx(64, abs=0.5)  # no wider than on the side of its neighbour
    assert left[1] == pytest.approx(alone[1], abs=0.1)
    longer, _ = place.boxes(peaked((9.0, 5.0), (11.0, 5.0)), grid, ["abc", "d"])
    assert longer[2] == pytest.approx(84, abs=0.5)
    spaced, _ = place.boxes(peaked((9.0, 5.0), (11.0, 5.0)), grid, ["a", " "])
    assert spaced[2] == pytest.approx(72 + 16 * 2 / 3, abs=0.5)
    backwards = place.boxes(peaked((11.0, 5.0), (9.0, 5.0)), grid, ["a", "b"])
    assert backwards == [pytest.approx(right), pytest.approx(left)]
    upper, lower = place.boxes(peaked((10.0, 4.0), (10.0, 6.0)), grid, ["a", "b"])
    assert upper[3] == pytest.approx(50, abs=0.5)
    assert lower[1] == pytest.approx(upper[3], abs=1e-3)
    assert upper[0] == pytest.approx(alone[0], abs=0.1)
    apart = place.boxes(peaked((3.0, 2.0), (16.0, 2.0)), grid, ["a", "b"])
    assert apart[0][2] - apart[0][0] == pytest.approx(alone[2] - alone[0], rel=0.1)
    three = place.boxes(peaked((9.0, 5.0), (10.0, 5.0), (11.0, 5.0)), grid, ["a", "", "b"])
    assert three[0] == pytest.approx(left)  # what has no text pushes nobody aside
    same = place.boxes(peaked((9.0, 5.0), (9.0, 5.0)), grid, ["a", "b"])
    assert same[0] == pytest.approx(same[1])


def test_borders_do_not_count() -> None:
    processor = DonutImageProcessor(size={"height": 40, "width": 80})
    geometry = processor.geometry(Image.new("RGB", (40, 40)))
    shown = place._shown(PatchGrid(4, 8, 10, 10, 0), geometry)
    assert shown.view(4, 8).tolist() == [[False, False, True, True, True, True, False, False]] * 4


# --------------------------------------------------------------------------------------------------------- wrong calls


def test_what_cannot_be_located(bundled: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind:
        def __call__(self, image: Any, **options: Any) -> Any:
            return bundled.processor.image_processor(image, **options)

    blind = Reader(bundled.model, TrOCRProcessor(Blind(), bundled.tokenizer))  # type: ignore[arg-type]
    assert next(blind.read(EXAMPLES[0])).ok
    with pytest.raises(UnsupportedError, match=r"Blind has no geometry\(\)\. .* read without locate"):
        blind.read(EXAMPLES[0], locate=True)
    with pytest.raises(UnsupportedError, match=r"object has no patch_grid\(\)"):
        place.check_locatable(object(), bundled.processor.image_processor)
    monkeypatch.setattr(bundled.model.encoder, "extra_tokens", 0)
    with pytest.raises(UnsupportedError, match=r"ViTModel gave 129 tokens for an image of 32×1024, but .* 0 \+ 1×128"):
        list(bundled.read(EXAMPLES[0], locate=True))
