"""The bundled `printed-line`: it is there, it is small, and it reads what is shipped beside it."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch

import vision2seq
from vision2seq import AutoModelForVision2Seq, AutoProcessor, Reader, Reading, TrOCRProcessor, VisionEncoderDecoderModel
from vision2seq.cli.main import main
from vision2seq.training.metrics import edit_distance

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
FOLDER = Path(vision2seq.__file__).parent / "bundled" / "printed-line"
EXAMPLES = sorted((ROOT / "examples" / "lines").glob("*.png"))
GOLDENS = sorted((ROOT / "tests" / "goldens" / "lines").glob("*.png"))
LARGEST = 12_000_000
"""Bytes of the whole folder."""
WORST_RATE = 0.006
"""Character error rate over the crops of real documents, which is 0.28 %; a better checkpoint lowers this."""


def truth(image: Path) -> str:
    return image.with_suffix(".gt.txt").read_text(encoding="utf-8").rstrip("\n")


@cache
def reader() -> Reader:
    return Reader()


@cache
def readings(folder: str) -> dict[Path, Reading]:
    images = {"examples": EXAMPLES, "goldens": GOLDENS}[folder]
    return dict(zip(images, reader().read(images, batch_size=8), strict=True))


def test_it_is_there_and_small() -> None:
    assert FOLDER.is_dir(), f"{FOLDER} is missing: recipes/printed-line/train.py makes it"
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    names = {file.name for file in files}
    assert {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    } <= names
    assert sum(file.stat().st_size for file in files) <= LARGEST
    assert not any(name.startswith(".") or name.endswith((".part", ".tmp", ".bin", ".pt")) for name in names)


def test_it_loads_by_name_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = AutoModelForVision2Seq.from_pretrained("printed-line")
        processor = AutoProcessor.from_pretrained("printed-line")
    assert type(model) is VisionEncoderDecoderModel
    assert type(processor) is TrOCRProcessor
    assert not model.training
    assert model.dtype == torch.float32
    assert len(processor.tokenizer) <= model.config.decoder.vocab_size
    characters = "The quick brown fox, jumps over 1,234.56 lazy dogs – “twice”; isn’t it? (#7 & @8) €5"
    ids = processor.tokenizer(characters).input_ids
    assert processor.tokenizer.unk_token_id not in ids
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == characters


def test_nothing_is_wrong_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "printed-line", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == found["notes"] == []


def test_there_are_eight_examples_and_forty_goldens() -> None:
    assert (len(EXAMPLES), len(GOLDENS)) == (8, 40)
    assert all(truth(image) for image in [*EXAMPLES, *GOLDENS])


@pytest.mark.parametrize("image", EXAMPLES, ids=lambda image: image.stem)
def test_the_examples_are_read_exactly(image: Path) -> None:
    reading = readings("examples")[image]
    assert reading.text == truth(image)
    assert reading.finish_reason == "eos"


def test_an_example_alone_is_read_as_among_others() -> None:
    for image in EXAMPLES[:3]:
        (reading,) = reader().read(image)
        assert reading.text == readings("examples")[image].text


def test_lines_of_real_documents() -> None:
    found = readings("goldens")
    wrong = sum(edit_distance(reading.text, truth(image)) for image, reading in found.items())
    rate = wrong / sum(len(truth(image)) for image in found)
    assert rate <= WORST_RATE, f"CER {rate:.1%}"


def test_it_knows_when_it_is_wrong() -> None:
    found = readings("examples") | readings("goldens")
    right = [reading.confidence for image, reading in found.items() if reading.text == truth(image)]
    wrong = [reading.confidence for image, reading in found.items() if reading.text != truth(image)]
    assert right
    assert min(right) > 0.5
    if wrong:
        assert sum(right) / len(right) > sum(wrong) / len(wrong)


def test_beams_are_no_worse() -> None:
    images = GOLDENS[:10]
    greedy = sum(edit_distance(readings("goldens")[image].text, truth(image)) for image in images)
    found = reader().read(images, num_beams=3)
    beams = sum(edit_distance(reading.text, truth(image)) for image, reading in zip(images, found, strict=True))
    assert beams <= greedy + max(3, greedy // 5)


def test_an_old_script_reads_with_it() -> None:
    image = EXAMPLES[0]
    from PIL import Image

    processor = TrOCRProcessor.from_pretrained("printed-line")
    model = VisionEncoderDecoderModel.from_pretrained("printed-line")
    pixel_values = processor(images=Image.open(image).convert("RGB"), return_tensors="pt").pixel_values
    texts = processor.batch_decode(model.generate(pixel_values), skip_special_tokens=True)
    assert texts == [truth(image)]


def test_it_streams() -> None:
    pieces = list(reader().stream(EXAMPLES[0]))
    assert "".join(pieces) == truth(EXAMPLES[0])
    assert len(pieces) > len(truth(EXAMPLES[0])) // 2


def test_the_command_line_uses_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", str(EXAMPLES[0].parent)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines() == [f"{image}\t{truth(image)}" for image in EXAMPLES]
    assert main(["read", str(EXAMPLES[0]), "--jsonl"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["text"], entry["finish_reason"]) == (truth(EXAMPLES[0]), "eos")


def test_read_and_pipeline_use_it() -> None:
    assert vision2seq.read(EXAMPLES[0]).text == truth(EXAMPLES[0])
    assert vision2seq.pipeline("image-to-text")(str(EXAMPLES[1])) == [{"generated_text": truth(EXAMPLES[1])}]
