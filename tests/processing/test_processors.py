"""Processors: an image processor and a tokenizer, and what a family does with the text besides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from vision2seq import AutoProcessor, DonutProcessor, NougatProcessor, NougatTokenizerFast, TrOCRProcessor
from vision2seq.errors import OptionError

TAGS = ("<s_menu>", "</s_menu>", "<s_nm>", "</s_nm>", "<sep/>", "<paid/>")


def folder_with(folder: Path, processor_class: str | None = None, file: str = "preprocessor_config.json") -> Path:
    """A processor's files, with Donut's tags among the tokens."""
    tiny.write_tokenizer(folder, count=37)
    about = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    (folder / "preprocessor_config.json").write_text(json.dumps(about), encoding="utf-8")
    added = {str(number + 37): {"content": tag, "special": False} for number, tag in enumerate(TAGS)}
    change(folder / "tokenizer_config.json", added_tokens_decoder=added)
    if processor_class is not None:
        change(folder / file, processor_class=processor_class)
    return folder


def change(file: Path, **values: Any) -> None:
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**found, **values}), encoding="utf-8")


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("chosen", [DonutProcessor, NougatProcessor, TrOCRProcessor])
def test_the_class_that_a_file_states_is_picked(chosen: type, file: str, tmp_path: Path) -> None:
    assert type(AutoProcessor.from_pretrained(folder_with(tmp_path, chosen.__name__, file))) is chosen


def test_the_first_file_with_a_known_class_decides(tmp_path: Path) -> None:
    folder_with(tmp_path, "NougatProcessor")
    change(tmp_path / "tokenizer_config.json", processor_class="DonutProcessor")
    assert type(AutoProcessor.from_pretrained(tmp_path)) is NougatProcessor
    change(tmp_path / "preprocessor_config.json", processor_class="SomebodysProcessor")
    assert type(AutoProcessor.from_pretrained(tmp_path)) is DonutProcessor


@pytest.mark.parametrize("name", [None, "VisionTextDualEncoderProcessor"])
def test_the_plain_one_pairs_whatever_else_there_is(name: str | None, tmp_path: Path) -> None:
    assert type(AutoProcessor.from_pretrained(folder_with(tmp_path, name))) is TrOCRProcessor


@pytest.mark.parametrize("chosen", [DonutProcessor, NougatProcessor, TrOCRProcessor])
def test_a_class_asked_for_wins_and_is_what_is_saved(chosen: Any, tmp_path: Path) -> None:
    processor = chosen.from_pretrained(folder_with(tmp_path / "a", "NougatProcessor"))
    assert type(processor) is chosen
    processor.save_pretrained(tmp_path / "b")
    written = json.loads((tmp_path / "b" / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert written["processor_class"] == chosen.__name__
    again = AutoProcessor.from_pretrained(tmp_path / "b")
    assert type(again) is chosen
    assert again.tokenizer("ab<s_nm>").input_ids == processor.tokenizer("ab<s_nm>").input_ids


def test_fields_are_read_with_the_tokenizers_own_tags(tmp_path: Path) -> None:
    processor = DonutProcessor.from_pretrained(folder_with(tmp_path))
    tokens = "<s_menu><s_nm>tea</s_nm><sep/><s_nm><paid/></s_nm></s_menu>"
    assert processor.token2json(tokens) == {"menu": [{"nm": "tea"}, {"nm": "paid"}]}
    assert processor.token2json(tokens, added_vocab={}) == {"menu": [{"nm": "tea"}, {"nm": "<paid/>"}]}
    assert processor.token2json("<s_nm>a</s_nm>", is_inner_value=True) == [{"nm": "a"}]
    assert processor.json2token(processor.token2json(tokens)) == tokens
    assert processor.json2token({"a": "1", "b": "2"}, sort_keys=False) == "<s_a>1</s_a><s_b>2</s_b>"


def test_donuts_texts_beside_pictures_have_no_special_tokens(tmp_path: Path) -> None:
    processor = DonutProcessor.from_pretrained(folder_with(tmp_path))
    picture = tiny.picture()
    plain = processor.tokenizer("ab", add_special_tokens=False).input_ids
    batch = processor(picture, "ab")
    assert batch["labels"] == batch["input_ids"] == plain
    assert "pixel_values" in batch
    assert processor(picture, "ab", add_special_tokens=True)["labels"] == processor.tokenizer("ab").input_ids
    assert processor(text="ab").input_ids == processor.tokenizer("ab").input_ids
    assert list(processor(picture)) == ["pixel_values"]
    assert processor.model_input_names == ["pixel_values", "input_ids", "labels"]
    with pytest.raises(OptionError, match="You need to specify either an `images` or `text` input"):
        processor()


def test_nougats_markdown_is_put_in_order(tmp_path: Path) -> None:
    processor = NougatProcessor.from_pretrained(folder_with(tmp_path))
    assert processor.post_process_generation(r"\[x\] (2)", fix_markdown=False) == r"\[x\] (2) "
    assert processor.post_process_generation(["# Title", "b."], num_workers=2) == ["\n\n# Title", "b.\n\n "]
    batch = processor(tiny.picture(), "ab", add_special_tokens=False, padding="max_length", max_length=5)
    assert batch["labels"] == [*processor.tokenizer("ab", add_special_tokens=False).input_ids, 1, 1, 1]
    assert "input_ids" not in batch
    assert processor.model_input_names == ["pixel_values", *processor.tokenizer.model_input_names]


def test_nougats_tokenizer_puts_pages_in_order_too(tmp_path: Path) -> None:
    change(folder_with(tmp_path) / "tokenizer_config.json", tokenizer_class="NougatTokenizerFast")
    processor = NougatProcessor.from_pretrained(tmp_path)
    tokenizer = processor.tokenizer
    assert type(tokenizer) is NougatTokenizerFast
    pages = [r"\[x\] (2)", "see \\begin{tabular}{l} a \\end{tabular}"]
    assert tokenizer.post_process_generation(pages) == processor.post_process_generation(pages)
    assert tokenizer.post_process_single(pages[0], fix_markdown=False) == pages[0] + " "
    assert tokenizer.correct_tables(pages[1]) == "see \n\\begin{tabular}{l} a \\end{tabular}"
    assert tokenizer.remove_hallucinated_references(pages[1]) == pages[1]
