"""What `finetune` and `new` leave behind, transformers 4.57.6 loads, and reads the same with it."""

from __future__ import annotations

from pathlib import Path

import lines
import pytest
import tiny
import torch
from PIL import Image

transformers = pytest.importorskip("transformers", reason="parity runs where transformers 4.57.6 is installed")

from vision2seq import Reader  # noqa: E402
from vision2seq.training import finetune  # noqa: E402
from vision2seq.training.new import new_checkpoint  # noqa: E402

torch.set_num_threads(1)


@pytest.mark.parametrize("decoder", ["trocr", "gpt2"])
def test_a_new_model_that_was_trained_reads_the_same(tmp_path: Path, decoder: str) -> None:
    data = lines.folder_of_lines(tmp_path / "lines")
    (tmp_path / "characters.txt").write_text(" ".join(lines.TEXTS), encoding="utf-8")
    encoder = {key: value for key, value in tiny.VIT.items() if key not in ("model_type", "image_size", "patch_size")}
    small = {"n_embd": 16, "n_layer": 1, "n_head": 2}
    if decoder == "trocr":
        small = {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
    new_checkpoint(
        tmp_path / "new",
        "vit",
        decoder,
        characters=tmp_path / "characters.txt",
        image_size=(16, 32),
        patch_size=(16, 8),
        max_length=40,
        encoder_values=encoder,
        decoder_values=small,
    )
    options = {"steps": 30, "rate": 8e-3, "average": 0.5, "validate_every": 15, "device": "cpu", "hidden": True}
    finetune(tmp_path / "new", data, tmp_path / "out", validation=data, **options)
    images = [Image.open(path).convert("RGB") for path in sorted(data.glob("*.png"))]
    for name in ("best", "final"):
        folder = tmp_path / "out" / name
        processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.VisionEncoderDecoderModel.from_pretrained(folder).eval()
        ids = model.generate(processor(images, return_tensors="pt").pixel_values)
        expected = tokenizer.batch_decode(ids, skip_special_tokens=True)
        readings = list(Reader.from_pretrained(folder, stop_on_repetition=False).read(images))
        assert [reading.text for reading in readings] == expected
        assert len(set(expected)) > 1
