"""Reader, read() and pipeline(): any images in, one honest reading each out."""

from __future__ import annotations

import io
import json
import math
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from vision2seq import AutoProcessor, Reader, Reading, TrOCRProcessor, VisionEncoderDecoderModel, pipeline, read
from vision2seq.errors import ImageError, OptionError, UnknownOptionError, UnsupportedError

torch.set_num_threads(1)

SEED = 3  # of a model whose texts differ and of which some end by themselves


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.readable(tmp_path_factory.mktemp("reader") / "model", seed=SEED)


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return Reader.from_pretrained(folder)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [tiny.picture(seed) for seed in range(7)]


@pytest.fixture(scope="module")
def texts(reader: Reader, pictures: list[Image.Image]) -> list[str]:
    """The texts by the model's own methods, one image at a time."""
    found = []
    for picture in pictures:
        pixels = reader.processor(picture, return_tensors="pt").pixel_values
        ids = reader.model.generate(pixels)
        found.append(reader.tokenizer.decode(ids[0, 1:].tolist(), skip_special_tokens=True))
    assert len(set(found)) > 3
    assert "" in found
    return found


def saved(folder: Path, pictures: list[Image.Image]) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return paths


# ------------------------------------------------------------------------------------------------------- what is read


def test_one_image_is_one_reading(reader: Reader, pictures: list[Image.Image], texts: list[str]) -> None:
    readings = list(reader.read(pictures[0]))
    assert [type(reading) for reading in readings] == [Reading]
    assert readings[0].text == texts[0]
    assert readings[0].ok
    assert readings[0].error is None
    assert readings[0].source is None
    assert readings[0].seconds > 0


def test_the_same_picture_in_every_form(reader: Reader, pictures: list[Image.Image], tmp_path: Path) -> None:
    picture = pictures[0]
    path = saved(tmp_path, [picture])[0]
    array = np.asarray(picture)
    (expected,) = reader.read(picture)
    assert expected.text
    for one in (
        str(path),
        path,
        path.read_bytes(),
        bytearray(path.read_bytes()),
        io.BytesIO(path.read_bytes()),
        array,
        array.transpose(2, 0, 1),
        array.astype(np.float32) / 255,
        torch.from_numpy(array.copy()),
        torch.from_numpy(array.copy()).permute(2, 0, 1),
        picture.convert("RGBA"),
    ):
        (reading,) = reader.read(one)
        assert (reading.text, reading.confidence) == (expected.text, expected.confidence)
        assert reading.source == (str(path) if isinstance(one, str | os.PathLike) else None)
    with path.open("rb") as file:
        assert next(iter(reader.read(file))).text == expected.text


def test_a_gray_picture_and_one_without_a_channel_axis(reader: Reader, pictures: list[Image.Image]) -> None:
    gray = pictures[0].convert("L")
    (expected,) = reader.read(gray.convert("RGB"))
    for one in (gray, np.asarray(gray), np.asarray(gray)[..., None], gray.convert("LA")):
        assert next(iter(reader.read(one))).text == expected.text


def test_many_keep_their_order(reader: Reader, pictures: list[Image.Image], texts: list[str], tmp_path: Path) -> None:
    paths = saved(tmp_path, pictures)
    for many in (paths, tuple(map(str, paths)), iter(paths), pictures, (picture for picture in pictures)):
        assert [reading.text for reading in reader.read(many)] == texts
    assert [reading.source for reading in reader.read(paths)] == list(map(str, paths))
    batch = np.stack([np.asarray(picture) for picture in pictures])
    assert [reading.text for reading in reader.read(batch)] == texts
    assert [reading.text for reading in reader.read(torch.from_numpy(batch))] == texts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_batches_change_nothing(reader: Reader, pictures: list[Image.Image], texts: list[str], size: int) -> None:
    readings = list(reader.read(pictures, batch_size=size))
    singles = [next(iter(reader.read(picture))) for picture in pictures]
    assert [reading.text for reading in readings] == texts
    for reading, single in zip(readings, singles, strict=True):
        assert [token.id for token in reading.tokens] == [token.id for token in single.tokens]
        assert reading.finish_reason == single.finish_reason
        assert reading.confidence == pytest.approx(single.confidence, rel=1e-4)


@pytest.mark.parametrize("decoder", ["gpt2", "trocr-sinusoidal"])
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
def test_other_decoders_and_beams(decoder: str, options: dict[str, Any], tmp_path: Path) -> None:
    reader = Reader.from_pretrained(tiny.readable(tmp_path, decoder, seed=1), **options)
    pictures = [tiny.picture(seed) for seed in range(5)]
    readings = list(reader.read(pictures, batch_size=3))
    assert len({reading.text for reading in readings}) > 1
    for picture, reading in zip(pictures, readings, strict=True):
        pixels = reader.processor(picture, return_tensors="pt").pixel_values
        ids = reader.model.generate(pixels, **options)
        assert reading.text == reader.tokenizer.decode(ids[0, 1:].tolist(), skip_special_tokens=True)
        assert reading.text == "".join(token.text for token in reading.tokens)
        assert 0 < reading.confidence < 1


class Watched:
    """An iterable that counts what was taken of it."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.taken = items, 0

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            self.taken += 1
            yield item


def test_an_iterable_is_consumed_as_there_are_places(reader: Reader, pictures: list[Image.Image]) -> None:
    watched = Watched(pictures)
    readings = reader.read(watched, batch_size=2)
    assert watched.taken <= 1
    assert reader.model is not None
    for number, _ in enumerate(readings, 1):
        assert number <= watched.taken <= min(len(pictures), number + 2)


def test_an_iterable_is_consumed_a_batch_at_a_time(reader: Reader, pictures: list[Image.Image]) -> None:
    watched = Watched(pictures)
    readings = reader.read(watched, batch_size=2, num_beams=2)
    for taken in (2, 2, 4):
        next(readings)
        assert watched.taken == taken


def test_an_endless_iterable_can_be_read(reader: Reader, pictures: list[Image.Image], texts: list[str]) -> None:
    def endless() -> Iterator[Image.Image]:
        while True:
            yield pictures[0]

    readings = reader.read(endless())
    assert [next(readings).text for _ in range(3)] == [texts[0]] * 3


# ------------------------------------------------------------------------------------------------- what a reading says


def test_the_tokens_make_the_text(reader: Reader, pictures: list[Image.Image]) -> None:
    for reading in reader.read(pictures):
        assert "".join(token.text for token in reading.tokens) == reading.text
        assert [reader.tokenizer.decode([t.id], skip_special_tokens=True) for t in reading.tokens] == [
            t.text for t in reading.tokens
        ]


def test_confidence_is_the_mean_probability(reader: Reader, pictures: list[Image.Image]) -> None:
    pixels = torch.cat([reader.processor(picture, return_tensors="pt").pixel_values for picture in pictures])
    for row, reading in enumerate(reader.read(pictures)):
        ids = torch.tensor([[tiny.EOS, *(token.id for token in reading.tokens)]])
        with torch.no_grad():
            logits = reader.model(pixel_values=pixels[row : row + 1], decoder_input_ids=ids[:, :-1]).logits
        expected = logits.softmax(-1)[0].gather(1, ids[0, 1:, None]).squeeze(1)
        assert [token.probability for token in reading.tokens] == pytest.approx(expected.tolist(), rel=1e-4)
        assert reading.confidence == pytest.approx(expected.mean().item(), rel=1e-4)
        assert reading.probability == pytest.approx(expected.prod().item(), rel=1e-3)


def test_finish_reasons(reader: Reader, pictures: list[Image.Image], texts: list[str]) -> None:
    readings = list(reader.read(pictures))
    assert {reading.finish_reason for reading in readings} == {"eos", "length"}
    for reading, text in zip(readings, texts, strict=True):
        ended = reading.tokens[-1].id == tiny.EOS
        assert reading.finish_reason == ("eos" if ended else "length")
        assert len(reading.tokens) == 15 or ended  # 16 positions, one of them the start token's
        assert reading.text == text
    (cut,) = reader.read(pictures[0], max_new_tokens=4)
    assert (cut.finish_reason, len(cut.tokens)) == ("length", 4)
    assert cut.text == texts[0][:4]
    (stopped,) = reader.read(pictures[0], stop_strings=texts[0][:3])
    assert (stopped.finish_reason, stopped.text) == ("stop", texts[0][:3])


def test_a_loop_is_cut_off_and_says_so(tmp_path: Path) -> None:
    folder = tiny.readable(tmp_path, "gpt2", seed=0, more={"n_positions": 64})
    reader = Reader.from_pretrained(folder)
    (reading,) = reader.read(tiny.picture())
    assert reading.finish_reason == "repetition"
    assert reading.repetition
    assert len(reading.tokens) < 32
    assert reading.text == "".join(token.text for token in reading.tokens)
    (whole,) = reader.read(tiny.picture(), stop_on_repetition=False)
    assert whole.finish_reason == "length"
    assert whole.repetition
    assert len(whole.tokens) == 63
    assert whole.text.startswith(reading.text)


def test_a_reading_is_plain_data(reader: Reader, pictures: list[Image.Image]) -> None:
    (reading,) = reader.read(pictures[0])
    values = reading.to_dict()
    several = ("words", "tokens", "alternatives")
    assert json.loads(json.dumps(values)) == {**values, **{name: list(values[name]) for name in several}}
    assert list(values) == [
        "text",
        "confidence",
        "probability",
        "score",
        "words",
        "tokens",
        "finish_reason",
        "seconds",
        "source",
        "error",
        "repetition",
        "alternatives",
        "data",
        "page",
    ]
    assert values["tokens"][0] == {
        "id": reading.tokens[0].id,
        "text": reading.tokens[0].text,
        "probability": reading.tokens[0].probability,
        "box": None,
    }
    with pytest.raises(AttributeError):
        reading.text = "other"  # type: ignore[misc]


def test_no_warning_and_no_state_left_on_the_model(folder: Path, pictures: list[Image.Image]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader = Reader.from_pretrained(folder)
        before = reader.model.config.to_dict(), reader.model.generation_config.to_dict(), set(vars(reader.model))
        list(reader.read(pictures, num_beams=2))
    after = reader.model.config.to_dict(), reader.model.generation_config.to_dict(), set(vars(reader.model))
    assert before == after
    assert not any(parameter.grad is not None for parameter in reader.model.parameters())


# ---------------------------------------------------------------------------------------------------------- bad images


def test_a_bad_image_fails_alone(reader: Reader, pictures: list[Image.Image], texts: list[str], tmp_path: Path) -> None:
    paths = saved(tmp_path, pictures)
    text = tmp_path / "no.png"
    text.write_text("no picture", encoding="utf-8")
    cut = tmp_path / "cut.png"
    cut.write_bytes(paths[0].read_bytes()[:60])
    nan = np.full((4, 4, 3), np.nan, dtype=np.float32)
    bad = [tmp_path / "absent.png", text, cut, b"", nan, np.zeros((0, 5, 3), dtype=np.uint8), object(), tmp_path, None]
    mixed: list[Any] = []
    for number, one in enumerate(bad):
        mixed += [paths[number % len(paths)], one]
    for size in (1, 2, 5, 100):
        readings = list(reader.read(mixed, batch_size=size))
        assert len(readings) == len(mixed)
        for number, reading in enumerate(readings):
            if number % 2 == 0:
                assert reading.ok
                assert reading.text == texts[number // 2 % len(paths)]
            else:
                assert not reading.ok
                assert (reading.text, reading.confidence, reading.tokens) == ("", 0.0, ())
                assert reading.finish_reason == "error"
                assert reading.error
                json.dumps(reading.to_dict())
    messages = [reading.error or "" for reading in readings[1::2]]
    for message, part in zip(
        messages,
        ["absent.png", "no.png", "cut.png", "0 bytes", "NaN", "(0, 5, 3)", "object is no image", "folder", "NoneType"],
        strict=True,
    ):
        assert part in message, message
    assert readings[1].source == str(tmp_path / "absent.png")


def test_only_bad_images(reader: Reader) -> None:
    readings = list(reader.read([b"one", b"two"]))
    assert [reading.ok for reading in readings] == [False, False]


def test_a_url_is_fetched_only_when_asked(reader: Reader) -> None:
    (reading,) = reader.read("http://127.0.0.1:9/picture.png")
    assert not reading.ok
    assert "allow_url=True" in (reading.error or "")
    (reading,) = reader.read("http://127.0.0.1:9/picture.png", allow_url=True)
    assert not reading.ok
    assert "allow_url" not in (reading.error or "")


def test_a_pixel_limit(reader: Reader, pictures: list[Image.Image], tmp_path: Path) -> None:
    (path,) = saved(tmp_path, pictures[:1])
    for one in (path, pictures[0], np.asarray(pictures[0])):
        (reading,) = reader.read(one, max_pixels=100)
        assert not reading.ok
        assert "960" in (reading.error or "")
    (reading,) = reader.read(path, max_pixels=960)
    assert reading.ok


# ------------------------------------------------------------------------------------------------------- wrong calls


def test_wrong_calls_fail_where_they_are_made(reader: Reader, pictures: list[Image.Image]) -> None:
    with pytest.raises(ImageError, match="No image was given: the list is empty. Expected at least one."):
        reader.read([])
    with pytest.raises(ImageError, match="the list is empty"):
        reader.read(iter(()))
    with pytest.raises(OptionError, match="batch_size is 0, expected a whole number from 1"):
        reader.read(pictures, batch_size=0)
    with pytest.raises(OptionError, match="batch_size is True"):
        reader.read(pictures, batch_size=True)
    with pytest.raises(OptionError, match="one reading an image; alternatives=2 adds other texts.*model.generate"):
        reader.read(pictures, num_beams=2, num_return_sequences=2)
    with pytest.raises(UnknownOptionError, match=r"'num_beam'.*Did you mean 'num_beams'\?"):
        list(reader.read(pictures, num_beam=2))
    with pytest.raises(OptionError, match="num_beams is 0"):
        list(reader.read(pictures, num_beams=0))


def test_wrong_readers(folder: Path, reader: Reader) -> None:
    with pytest.raises(OptionError, match="needs a model and its processor, or neither .*; no processor"):
        Reader(reader.model)
    with pytest.raises(OptionError, match="no model"):
        Reader(processor=reader.processor)
    with pytest.raises(OptionError, match="batch_size is 'many'"):
        Reader(reader.model, reader.processor, batch_size="many")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="device 'gpu'"):
        Reader.from_pretrained(folder, device="gpu")
    with pytest.raises(OptionError, match="dtype='int8'"):
        Reader.from_pretrained(folder, dtype="int8")


def test_an_image_processor_that_makes_other_sizes(reader: Reader, pictures: list[Image.Image], folder: Path) -> None:
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor.size = {"height": 8, "width": 24}
    (failed,) = Reader(reader.model, processor).read(pictures[0])
    assert not failed.ok
    assert re.search(r"8.*24.*16.*16", failed.error or "")
    (reading,) = Reader(reader.model, processor, interpolate_pos_encoding=True).read(pictures[0])
    assert reading.ok
    processor.image_processor.do_resize = False
    sizes = [(16, 16), (24, 16), (16, 16), (4, 16), (24, 16)]  # 4 is less than a patch
    mixed = [tiny.picture(seed, size) for seed, size in enumerate(sizes)]
    for more, expected in (({"interpolate_pos_encoding": True}, (0, 1, 2, 4)), ({}, (0, 2))):
        readings = list(Reader(reader.model, processor, **more).read(mixed))
        assert [number for number, reading in enumerate(readings) if reading.ok] == list(expected)
        for number in expected:
            (single,) = Reader(reader.model, processor, **more).read(mixed[number])
            assert readings[number].text == single.text
    (small,) = Reader(reader.model, processor, interpolate_pos_encoding=True).read(mixed[3])
    assert "smaller than one patch of 8×8" in (small.error or "")


# ---------------------------------------------------------------------------------------------------------- options


def test_options_of_the_reader_and_of_a_call(folder: Path, pictures: list[Image.Image], texts: list[str]) -> None:
    reader = Reader.from_pretrained(folder, batch_size=2, max_new_tokens=3)
    assert [reading.text for reading in reader.read(pictures)] == [text[:3] for text in texts]
    assert [reading.text for reading in reader.read(pictures, max_new_tokens=5)] == [text[:5] for text in texts]
    own = Reader(reader.model, reader.processor, max_new_tokens=2)
    assert [reading.text for reading in own.read(pictures)] == [text[:2] for text in texts]


def test_low_precision(folder: Path, pictures: list[Image.Image]) -> None:
    reader = Reader.from_pretrained(folder, dtype="bfloat16")
    assert reader.model.dtype == torch.bfloat16
    readings = list(reader.read(pictures))
    assert all(reading.ok and math.isfinite(reading.confidence) for reading in readings)
    assert "".join(reader.stream(pictures[0])) == readings[0].text


def test_packed_weights(folder: Path, pictures: list[Image.Image]) -> None:
    reader = Reader.from_pretrained(folder, precision="int8")
    assert reader.model.precision == "int8"
    readings = list(reader.read(pictures))
    assert all(reading.ok and math.isfinite(reading.confidence) for reading in readings)
    assert "".join(reader.stream(pictures[0])) == readings[0].text


# ------------------------------------------------------------------------------------------------------------ stream


@pytest.mark.parametrize("decoder", ["trocr", "gpt2", "trocr-sinusoidal"])
def test_streamed_pieces_make_the_text(decoder: str, tmp_path: Path) -> None:
    reader = Reader.from_pretrained(tiny.readable(tmp_path, decoder, seed=SEED))
    for seed in range(5):
        picture = tiny.picture(seed)
        pieces = list(reader.stream(picture))
        (reading,) = reader.read(picture)
        assert "".join(pieces) == reading.text
        assert "" not in pieces
        assert len(pieces) == len(reading.text)


def test_a_stream_comes_while_it_is_generated(reader: Reader, pictures: list[Image.Image]) -> None:
    pieces = reader.stream(pictures[0], max_new_tokens=6)
    assert isinstance(pieces, Iterator)
    first = next(pieces)
    (reading,) = reader.read(pictures[0], max_new_tokens=6)
    assert reading.text.startswith(first)
    assert first + "".join(pieces) == reading.text


def test_two_streams_of_one_model_do_not_disturb_each_other(reader: Reader, pictures: list[Image.Image]) -> None:
    expected = [reading.text for reading in reader.read(pictures[:2])]
    one, two = reader.stream(pictures[0]), reader.stream(pictures[1])
    pieces: tuple[list[str], list[str]] = ([], [])
    for _ in range(40):
        pieces[0].append(next(one, ""))
        pieces[1].append(next(two, ""))
    assert ["".join(part) for part in pieces] == expected


def test_the_callers_gradients_stay_on(reader: Reader, pictures: list[Image.Image]) -> None:
    one, two = reader.stream(pictures[0]), reader.stream(pictures[1])
    for pieces in (one, two, reader.read(pictures), one, two):
        assert next(pieces)
        assert torch.is_grad_enabled()
    del one, two, pieces
    assert torch.is_grad_enabled()


def test_what_cannot_be_streamed(reader: Reader, pictures: list[Image.Image]) -> None:
    with pytest.raises(UnsupportedError, match="Beam search changes its mind until the end.*set num_beams=1"):
        reader.stream(pictures[0], num_beams=2)
    with pytest.raises(ImageError, match="absent.png"):
        reader.stream("absent.png")
    with pytest.raises(ImageError, match="list"):
        reader.stream([])
    with pytest.raises(UnknownOptionError, match="'num_beam'"):
        reader.stream(pictures[0], num_beam=1)


def test_a_stream_honours_the_options(reader: Reader, pictures: list[Image.Image], texts: list[str]) -> None:
    assert "".join(reader.stream(pictures[0], max_new_tokens=3)) == texts[0][:3]
    assert "".join(reader.stream(pictures[0], stop_strings=texts[0][:2])) == texts[0][:2]


# -------------------------------------------------------------------------------------------------------------- read


def test_read_in_one_call(folder: Path, reader: Reader, pictures: list[Image.Image], texts: list[str]) -> None:
    assert read(pictures[0], folder).text == texts[0]
    assert [reading.text for reading in read(pictures, str(folder))] == texts
    assert [reading.text for reading in read(iter(pictures[:1]), model=reader)] == texts[:1]
    assert read(pictures[0], reader, max_new_tokens=2).text == texts[0][:2]
    assert [r.text for r in read(np.stack([np.asarray(p) for p in pictures]), reader)] == texts
    with pytest.raises(ImageError, match="the list is empty"):
        read([], reader)
    failed = read("absent.png", reader)
    assert not failed.ok
    assert "absent.png" in failed.error


# ---------------------------------------------------------------------------------------------------------- pipeline


def test_pipeline_as_it_was(folder: Path, pictures: list[Image.Image], texts: list[str], tmp_path: Path) -> None:
    pipe = pipeline("image-to-text", model=str(folder))
    paths = list(map(str, saved(tmp_path, pictures)))
    assert pipe.task == "image-to-text"
    assert pipe(paths[0]) == [{"generated_text": texts[0]}]
    assert pipe(pictures[0]) == [{"generated_text": texts[0]}]
    assert pipe(images=pictures[0]) == [{"generated_text": texts[0]}]
    assert pipe(paths) == [[{"generated_text": text}] for text in texts]
    assert pipe(pictures[:1]) == [[{"generated_text": texts[0]}]]
    assert pipe(pictures, batch_size=4) == [[{"generated_text": text}] for text in texts]
    assert pipe(pictures[0], max_new_tokens=3) == [{"generated_text": texts[0][:3]}]
    assert pipe(pictures[0], generate_kwargs={"max_new_tokens": 2}) == [{"generated_text": texts[0][:2]}]


def test_pipeline_from_parts(folder: Path, reader: Reader, pictures: list[Image.Image], texts: list[str]) -> None:
    image_processor, tokenizer = reader.processor.image_processor, reader.tokenizer
    expected = [{"generated_text": texts[0]}]
    for more in (
        {"tokenizer": tokenizer, "image_processor": image_processor},
        {"tokenizer": tokenizer, "feature_extractor": image_processor},
        {"tokenizer": str(folder), "image_processor": folder},
        {"tokenizer": tokenizer, "feature_extractor": str(folder), "device": -1},
    ):
        assert pipeline("image-to-text", model=reader.model, **more)(pictures[0]) == expected
    assert pipeline("image-to-text", folder, framework="pt", device="cpu", torch_dtype="auto")(pictures[0]) == expected
    assert pipeline(model=folder, max_new_tokens=3)(pictures[0]) == [{"generated_text": texts[0][:3]}]
    short = pipeline(model=folder, generate_kwargs={"max_new_tokens": 3})
    assert short(pictures[0]) == [{"generated_text": texts[0][:3]}]
    assert short(pictures[0], max_new_tokens=4) == [{"generated_text": texts[0][:4]}]
    low = pipeline("image-to-text", model=folder, model_kwargs={"torch_dtype": torch.bfloat16})
    assert low.model.dtype == torch.bfloat16
    assert low.tokenizer.pad_token_id == tiny.PAD
    assert low.image_processor.size == {"height": 16, "width": 16}


def test_wrong_pipelines(folder: Path, reader: Reader, pictures: list[Image.Image]) -> None:
    with pytest.raises(UnsupportedError, match=r"'image-to-txt' is not built here\. Did you mean 'image-to-text'\?"):
        pipeline("image-to-txt", model=folder)
    with pytest.raises(OptionError, match=r"pipeline\(\) does not take max_lengths"):
        pipeline("image-to-text", model=folder, max_lengths=3)
    with pytest.raises(OptionError, match="missing: image_processor"):
        pipeline("image-to-text", model=reader.model, tokenizer=reader.tokenizer)
    with pytest.raises(OptionError, match="missing: tokenizer"):
        pipeline("image-to-text", model=reader.model, image_processor=reader.processor.image_processor)
    pipe = pipeline("image-to-text", model=folder)
    with pytest.raises(ImageError, match="absent.png"):
        pipe("absent.png")
    with pytest.raises(ImageError, match="absent.png"):
        pipe([pictures[0], "absent.png"])
    with pytest.raises(ImageError, match="the list is empty"):
        pipe([])
    with pytest.raises(OptionError, match="No image was given"):
        pipe()
    with pytest.raises(OptionError, match="max_new_tokens is given twice"):
        pipe(pictures[0], max_new_tokens=3, generate_kwargs={"max_new_tokens": 2})


def test_a_model_and_a_processor_made_by_hand(folder: Path, pictures: list[Image.Image], texts: list[str]) -> None:
    model = VisionEncoderDecoderModel.from_pretrained(folder)
    reader = Reader(model, TrOCRProcessor.from_pretrained(folder), batch_size=3)
    assert [reading.text for reading in reader.read(pictures)] == texts
    assert next(iter(reader.read(pictures))).seconds > 0
