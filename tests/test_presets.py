"""Presets: what is done for checkpoints of TexTeller, texify, manga-ocr, MixTeX and Nougat, and how they are told."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from donut_folder import saying

from vision2seq import AutoProcessor, NougatProcessor, Reader, hub, presets
from vision2seq.cli.main import main
from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.errors import OptionError
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel
from vision2seq.processing.image.manga import MangaImageProcessor
from vision2seq.processing.image.texteller import TexTellerImageProcessor
from vision2seq.processing.image.white_canvas import WhiteCanvasImageProcessor

torch.set_num_threads(1)

CHARACTERS = {"subword_tokenizer_type": "character", "tokenizer_class": "BertJapaneseTokenizer"}
VARIABLE = {"image_processor_type": "VariableDonutImageProcessor", "resample": 3}
NOUGAT = {"image_processor_type": "NougatImageProcessor", "processor_class": "NougatProcessor"}
# Name, encoder, decoder, tokenizer_config.json, preprocessor_config.json, and the preset that these give away.
GIVEN_AWAY: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any] | None, str | None]] = [
    ("x", {"model_type": "vit", "num_channels": 1, "image_size": 448}, {"model_type": "trocr"}, {}, None, "texteller"),
    ("my-TexTeller", {"model_type": "vit", "num_channels": 1}, {"model_type": "trocr"}, {}, None, "texteller"),
    ("x", {"model_type": "vit", "num_channels": 1}, {"model_type": "trocr"}, {}, None, None),
    ("TexTeller", {"model_type": "vit"}, {"model_type": "trocr"}, {}, None, None),
    (
        "TexTeller",
        {"model_type": "vit", "num_channels": 1},
        {"model_type": "trocr"},
        {},
        {"image_processor_type": "ViTImageProcessor", "image_mean": [0.5]},
        None,
    ),
    (
        "saved",
        {"model_type": "vit", "num_channels": 1, "image_size": 448},
        {"model_type": "trocr"},
        {},
        {"image_processor_type": "TexTellerImageProcessor"},
        "texteller",
    ),
    ("texify2", {"model_type": "donut-swin"}, {"model_type": "mbart"}, {}, None, "texify"),
    ("x", {"model_type": "donut-swin"}, {"model_type": "mbart"}, {}, VARIABLE, "texify"),
    ("unimernet", {"model_type": "donut-swin"}, {"model_type": "mbart"}, {}, VARIABLE, None),
    ("donut-base", {"model_type": "donut-swin"}, {"model_type": "mbart"}, {}, None, None),
    ("x", {"model_type": "vit"}, {"model_type": "bert", "vocab_size": 6144}, CHARACTERS, {}, "manga-ocr"),
    ("manga-ocr", {"model_type": "vit"}, {"model_type": "bert", "vocab_size": 30522}, CHARACTERS, {}, None),
    ("x", {"model_type": "vit"}, {"model_type": "bert", "vocab_size": 6144}, {}, {}, None),
    ("x", {"model_type": "swin"}, {"model_type": "roberta", "vocab_size": 25681}, {}, {}, "mixtex"),
    ("MixTex-small", {"model_type": "swin"}, {"model_type": "gpt2"}, {}, {}, "mixtex"),
    ("x", {"model_type": "swin"}, {"model_type": "gpt2", "vocab_size": 50257}, {}, {}, None),
    ("x", {"model_type": "donut-swin"}, {"model_type": "mbart"}, {}, NOUGAT, "nougat"),
    (
        "x",
        {"model_type": "donut-swin"},
        {"model_type": "mbart"},
        {"processor_class": "NougatProcessor"},
        None,
        "nougat",
    ),
    ("nougat-latex-base", {"model_type": "donut-swin"}, {"model_type": "mbart"}, {}, NOUGAT, None),
    ("trocr-base-printed", {"model_type": "vit"}, {"model_type": "trocr"}, {}, {}, None),
]


def write(file: Path, values: dict[str, Any] | None) -> None:
    if values is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(("name", "encoder", "decoder", "tokenizer", "images", "expected"), GIVEN_AWAY)
def test_what_files_give_away(
    name: str, encoder: Any, decoder: Any, tokenizer: Any, images: Any, expected: str | None, tmp_path: Path
) -> None:
    folder = tmp_path / name
    write(folder / "config.json", {"model_type": "vision-encoder-decoder", "encoder": encoder, "decoder": decoder})
    write(folder / "tokenizer_config.json", tokenizer)
    write(folder / "preprocessor_config.json", images)
    found = presets.find(hub.find(folder))
    assert (found.name if found else None) == expected
    assert presets.find(hub.find(folder), "latex") is presets.PRESETS["latex"]
    assert presets.find(hub.find(folder), "none") is None


def test_the_name_that_a_config_states_counts(tmp_path: Path) -> None:
    halves = {"encoder": {"model_type": "donut-swin"}, "decoder": {"model_type": "mbart"}}
    config = {"model_type": "vision-encoder-decoder", **halves}
    write(tmp_path / "config.json", {**config, "_name_or_path": "vikp/texify"})
    assert presets.find(hub.find(tmp_path)) is presets.PRESETS["texify"]
    write(tmp_path / "config.json", {**config, "_name_or_path": "texify/other"})
    assert presets.find(hub.find(tmp_path)) is None


def test_what_has_no_halves_has_no_preset(tmp_path: Path) -> None:
    assert presets.find(hub.find(tmp_path)) is None
    write(tmp_path / "config.json", {"model_type": "vit"})
    assert presets.find(hub.find(tmp_path)) is None
    assert presets.find(hub.find("printed-line")) is None


def test_an_unknown_preset_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        OptionError, match=r"no preset 'manga_ocr'\. Did you mean 'manga-ocr'\? There are: latex, manga-ocr"
    ):
        presets.named("manga_ocr")
    with pytest.raises(OptionError, match="There is no preset 'zzz'. There are: .*; and 'none'"):
        Reader.from_pretrained(preset="zzz")


# ------------------------------------------------------------------------------------------------- what they do


def folder_of(
    folder: Path,
    decoder: str,
    images: dict[str, Any] | None,
    *,
    encoder: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    **top: Any,
) -> Path:
    """A tiny checkpoint with a tokenizer of characters, and the image processor's file that is given."""
    count = len(tiny.CHARACTERS) + 4
    halves = {
        "encoder": encoder if encoder and "model_type" in encoder else tiny.VIT | (encoder or {}),
        "decoder": tiny.DECODERS[decoder] | {"vocab_size": count} | (more or {}),
    }
    ids = {"decoder_start_token_id": tiny.EOS, "pad_token_id": tiny.PAD, "eos_token_id": tiny.EOS}
    config = VisionEncoderDecoderConfig(**halves, **(ids | top))
    torch.manual_seed(0)
    VisionEncoderDecoderModel._from_config(config).save_pretrained(folder)
    tiny.write_tokenizer(folder, count=count)
    write(folder / "preprocessor_config.json", images)
    return folder


def staged(model_type: str, *image_size: int) -> dict[str, Any]:
    """A tiny Swin."""
    shape = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "patch_size": 2}
    return {"model_type": model_type, "image_size": list(image_size), **shape}


def test_texteller_reads_gray_squares(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "texteller", "trocr", None, encoder={"num_channels": 1, "image_size": 32})
    reader = Reader.from_pretrained(folder)
    assert reader.preset is presets.PRESETS["texteller"]
    processor = reader.processor.image_processor
    assert type(processor) is TexTellerImageProcessor
    assert processor.size == {"height": 32, "width": 32}
    assert reader.prepare(tiny.picture()).shape == (1, 32, 32)
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=saying(reader, " x  y "))
    assert reading.text == "x  y"
    assert "".join(token.text for token in reading.tokens) == " x  y "  # as the model wrote it


def test_texify_and_its_tokens(tmp_path: Path) -> None:
    encoder = staged("donut-swin", 24, 24)
    folder = folder_of(tmp_path / "texify", "mbart", VARIABLE, encoder=encoder, more={"max_position_embeddings": 32})
    reader = Reader.from_pretrained(folder)
    processor = reader.processor.image_processor
    assert type(processor) is WhiteCanvasImageProcessor
    assert (processor.size, processor.resample) == ({"height": 24, "width": 24}, 3)
    assert processor.image_mean == [0.485, 0.456, 0.406]
    assert reader.tokenizer.model_max_length == 384
    say = saying(reader, "ab")
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=say)
    assert say.prompts[0] == "<s>"  # where config.json says </s>
    assert reading.text == "ab"


def test_mixtex_takes_its_ends_from_the_tokenizer(tmp_path: Path) -> None:
    encoder = staged("swin", 16, 24)
    images = {"image_processor_type": "ViTImageProcessor", "size": 224, "image_mean": [0.1] * 3, "image_std": [0.2] * 3}
    folder = folder_of(tmp_path / "mixtex", "gpt2", images, encoder=encoder, eos_token_id=9, decoder_start_token_id=9)
    reader = Reader.from_pretrained(folder)
    processor = reader.processor.image_processor
    assert type(processor) is WhiteCanvasImageProcessor
    assert (processor.size, processor.do_enlarge, processor.resample) == ({"height": 16, "width": 24}, False, 1)
    assert (processor.image_mean, processor.image_std) == ([0.1] * 3, [0.2] * 3)
    say = saying(reader, "ab")
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=say)
    assert say.prompts[0] == "<s>"
    assert (reading.text, reading.finish_reason) == ("ab", "eos")


def manga(folder: Path) -> Path:
    """What gives manga-ocr away, but for the size of the vocabulary, which would take a megabyte."""
    images = {"feature_extractor_type": "ViTFeatureExtractor", "size": 16, "image_mean": [0.4, 0.5, 0.6]}
    return folder_of(folder, "bert", images)


def test_manga_is_gray_and_full_width(tmp_path: Path) -> None:
    reader = Reader.from_pretrained(manga(tmp_path), preset="manga-ocr")
    processor = reader.processor.image_processor
    assert type(processor) is MangaImageProcessor
    assert processor.image_mean == [0.4, 0.5, 0.6]
    gray = np.asarray(tiny.picture().convert("L").convert("RGB"))
    plain = AutoProcessor.from_pretrained(tmp_path).image_processor
    assert torch.equal(reader.prepare(tiny.picture()), plain(gray, return_tensors="pt").pixel_values[0])
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=saying(reader, "a B 3"))
    assert reading.text == "ａＢ３"
    (other,) = Reader(reader.model, reader.processor).read(
        tiny.picture(), prefix_allowed_tokens_fn=saying(reader, "a B 3")
    )
    assert other.text == "a B 3"


def test_nougat_keeps_its_own_files_and_puts_pages_in_order(tmp_path: Path) -> None:
    images = {"image_processor_type": "ViTImageProcessor", "size": 16, "processor_class": "NougatProcessor"}
    reader = Reader.from_pretrained(folder_of(tmp_path, "mbart", images))
    assert type(reader.processor) is NougatProcessor
    assert reader.preset is presets.PRESETS["nougat"]
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=saying(reader, " a page "))
    assert reading.text == "a page "
    (raw,) = Reader.from_pretrained(tmp_path, preset="none").read(
        tiny.picture(), prefix_allowed_tokens_fn=saying(reader, " a page ")
    )
    assert raw.text == " a page "


def test_any_reader_of_formulas_can_leave_out_spaces(tmp_path: Path) -> None:
    reader = Reader.from_pretrained(tiny.readable(tmp_path), preset="latex")
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=saying(reader, "a b"))
    assert reading.text == "a b"
    assert presets.PRESETS["latex"].clean_up("x ^ { 2 }") == "x^{2}"


def test_lengths_keep_within_the_decoder_and_give_way_to_the_callers(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "texteller", "trocr", None, encoder={"num_channels": 1})
    reader = Reader.from_pretrained(folder)

    def length(**options: Any) -> int:
        say = saying(reader, "a" * 40)
        (reading,) = reader.read(tiny.picture(), stop_on_repetition=False, prefix_allowed_tokens_fn=say, **options)
        return len(reading.tokens)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is said about 1024 tokens
        assert length() == reader.model.decoder.max_positions - 1
    assert length(max_new_tokens=3) == 3
    assert length(max_length=5) == 4
    assert length(generation_config=reader.model.generation_config.with_call(max_new_tokens=2)[0]) == 2


def test_alternatives_are_put_in_order_as_well(tmp_path: Path) -> None:
    reader = Reader.from_pretrained(manga(tmp_path), preset="manga-ocr", max_new_tokens=5)
    (reading,) = reader.read(tiny.picture(), alternatives=3)
    assert reading.alternatives[0].text == reading.text
    assert all(text == presets.PRESETS["manga-ocr"].clean_up(text) for text in (a.text for a in reading.alternatives))


# ------------------------------------------------------------------------------------------------- the command line


def test_inspect_tells_the_preset_and_the_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path / "texteller", "trocr", None, encoder={"num_channels": 1})
    assert main(["inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "\npreset:           texteller: formulas: gray" in out
    assert "image processor:  TexTellerImageProcessor, size 16x16" in out
    assert "no preprocessor_config.json" not in out
    assert main(["inspect", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["preset"]["name"] == "texteller"
    assert "tasks" not in found
    assert main(["inspect", str(tiny.readable(tmp_path / "plain"))]) == 0
    assert "\npreset:" not in capsys.readouterr().out


def test_the_command_line_takes_a_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = manga(tmp_path / "model")
    tiny.picture().save(tmp_path / "a.png")
    texts = []
    for preset in ("none", "manga-ocr"):
        assert (
            main(["read", str(tmp_path / "a.png"), "-m", str(folder), "--preset", preset, "--max-new-tokens", "9"]) == 0
        )
        texts.append(capsys.readouterr().out.rstrip("\n"))
    assert texts[1] == presets.PRESETS["manga-ocr"].clean_up(texts[1])
    assert main(["read", str(tmp_path / "a.png"), "-m", str(folder), "--preset", "zzz"]) == 1
    assert "There is no preset 'zzz'" in capsys.readouterr().err
