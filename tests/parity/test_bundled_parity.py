"""The bundled `printed-line` is an ordinary checkpoint: transformers 4.57.6 loads it and reads the same with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

transformers = pytest.importorskip("transformers", reason="parity runs where transformers 4.57.6 is installed")

from vision2seq import Reader  # noqa: E402
from vision2seq.hub import locate  # noqa: E402

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
IMAGES = [
    *sorted((ROOT / "examples/lines").glob("*.png")),
    *sorted((ROOT / "tests/goldens/lines").glob("*.png"))[:8],
]


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beam"])
def test_the_same_texts(options: dict[str, int]) -> None:
    folder = locate("printed-line")
    processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForVision2Seq.from_pretrained(folder, dtype=torch.float32).eval()
    images = [Image.open(path).convert("RGB") for path in IMAGES[:: 2 if options else 1]]
    pixels = processor(images, return_tensors="pt").pixel_values
    reader = Reader()
    assert torch.equal(pixels, torch.stack([reader.prepare(image) for image in images]))
    expected = tokenizer.batch_decode(model.generate(pixels, **options), skip_special_tokens=True)
    found = [reading.text for reading in reader.read(images, stop_on_repetition=False, **options)]
    assert found == expected


def test_the_same_alternatives_and_scores() -> None:
    folder = locate("printed-line")
    processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForVision2Seq.from_pretrained(folder, dtype=torch.float32).eval()
    images = [Image.open(path).convert("RGB") for path in IMAGES[::4]]
    pixels = processor(images, return_tensors="pt").pixel_values
    asked = {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 0.5}
    expected = model.generate(pixels, **asked, output_scores=True, return_dict_in_generate=True)
    texts = tokenizer.batch_decode(expected.sequences, skip_special_tokens=True)
    readings = list(Reader().read(images, alternatives=3, num_beams=4, length_penalty=0.5, stop_on_repetition=False))
    found = [alternative for reading in readings for alternative in reading.alternatives]
    assert [alternative.text for alternative in found] == texts
    scores = expected.sequences_scores.tolist()
    assert [alternative.score for alternative in found] == pytest.approx(scores, abs=1e-4)
    assert [reading.score for reading in readings] == pytest.approx(scores[::3], abs=1e-4)
