"""Tasks: prompts by name, the fields of the answer, and which of them a checkpoint knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from donut_folder import donut, saying

from vision2seq import Reader, pipeline, tasks
from vision2seq.cli.main import main
from vision2seq.errors import OptionError

torch.set_num_threads(1)

PRETRAINED = ("<s_iitcdip>", "<s_synthdog>")
DOCVQA = (*PRETRAINED, "<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>")
CORD = (
    *PRETRAINED,
    "<s_cord-v2>",
    "<s_menu>",
    "</s_menu>",
    "<s_nm>",
    "</s_nm>",
    "<sep/>",
    "<paid/>",
    "<s_x>",
    "</s_x>",
)
CLASSES = (*PRETRAINED, "<s_rvlcdip>", "<s_class>", "</s_class>", "<letter/>")
ANSWER = "<s_menu><s_nm>tea</s_nm><sep/><s_nm>egg</s_nm></s_menu><s_x><paid/></s_x>"
FIELDS = {"menu": [{"nm": "tea"}, {"nm": "egg"}], "x": "paid"}


@pytest.fixture(scope="module")
def docvqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return donut(tmp_path_factory.mktemp("tasks") / "docvqa", *DOCVQA)


@pytest.fixture(scope="module")
def cord(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return donut(tmp_path_factory.mktemp("tasks") / "cord", *CORD)


def test_a_question_is_answered(docvqa: Path) -> None:
    reader = Reader.from_pretrained(docvqa, task="docvqa")
    say = saying(reader, " 9.50</s_answer>".replace(".", ""))
    (reading,) = reader.read(tiny.picture(), question="How much", prefix_allowed_tokens_fn=say)
    assert say.prompts[0] == "<s_docvqa><s_question>How much</s_question><s_answer>"
    assert reading.data == {"question": "How much", "answer": "950"}
    assert reading.text == "950"
    assert reading.finish_reason == "eos"
    assert reading.to_dict()["data"] == reading.data


def test_an_answer_that_was_cut_is_an_answer(docvqa: Path) -> None:
    reader = Reader.from_pretrained(docvqa, max_new_tokens=3)
    (reading,) = reader.read(
        tiny.picture(), question="How much", prefix_allowed_tokens_fn=saying(reader, "nine fifty</s_answer>")
    )
    assert (reading.text, reading.finish_reason) == ("nin", "length")
    assert reading.data == {"question": "How much", "answer": "nin"}


def test_fields_are_data_and_their_json_the_text(cord: Path) -> None:
    reader = Reader.from_pretrained(cord)
    (reading,) = reader.read(tiny.picture(), task="cord-v2", prefix_allowed_tokens_fn=saying(reader, ANSWER))
    assert reading.data == FIELDS
    assert json.loads(reading.text) == FIELDS
    assert "".join(token.text for token in reading.tokens) == ANSWER
    assert [word.text for word in reading.words] == ["tea", "egg"]


def test_special_tags_are_read_as_well(tmp_path: Path) -> None:
    reader = Reader.from_pretrained(donut(tmp_path, *CORD, special=True))
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=saying(reader, ANSWER))
    assert reading.data == FIELDS


def test_a_class_is_the_text(tmp_path: Path) -> None:
    reader = Reader.from_pretrained(donut(tmp_path, *CLASSES), task="rvlcdip")
    say = saying(reader, "<s_class><letter/></s_class>")
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=say)
    assert say.prompts[0] == "<s_rvlcdip>"
    assert (reading.text, reading.data) == ("letter", {"class": "letter"})


def test_plain_reading_is_a_task_of_pretraining(cord: Path) -> None:
    reader = Reader.from_pretrained(cord, task="synthdog")
    say = saying(reader, " some words ")
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=say)
    assert say.prompts[0] == "<s_synthdog>"
    assert (reading.text, reading.data) == ("some words", {"text_sequence": "some words"})


def test_many_images_beams_and_alternatives(cord: Path) -> None:
    reader = Reader.from_pretrained(cord, batch_size=2)
    pictures = [tiny.picture(seed) for seed in range(3)]
    options: dict[str, Any] = {"task": "cord-v2", "max_new_tokens": 6}
    readings = list(reader.read(pictures, **options))
    assert [reading.data for reading in readings] == [
        next(iter(reader.read(picture, **options))).data for picture in pictures
    ]
    assert all(isinstance(reading.data, dict | list) for reading in readings)
    (reading,) = reader.read(pictures[0], alternatives=2, **options)
    assert len(reading.alternatives) == 2
    assert reading.alternatives[0].text == reading.text


def test_a_stream_goes_on_from_the_prompt(docvqa: Path) -> None:
    reader = Reader.from_pretrained(docvqa)
    (reading,) = reader.read(tiny.picture(), question="What", max_new_tokens=6)
    pieces = reader.stream(tiny.picture(), question="What", max_new_tokens=6)
    assert "".join(pieces) == "".join(token.text for token in reading.tokens)


# ------------------------------------------------------------------------------------------------ which task, if any


def test_a_checkpoint_made_for_one_task_is_asked_that(cord: Path, docvqa: Path) -> None:
    reader = Reader.from_pretrained(cord)
    say = saying(reader, ANSWER)
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=say)
    assert say.prompts[0] == "<s_cord-v2>"
    assert reading.data == FIELDS
    with pytest.raises(OptionError, match="The task 'docvqa' answers a question: pass question='…'"):
        Reader.from_pretrained(docvqa).read(tiny.picture())


def test_the_start_token_decides_between_several(tmp_path: Path) -> None:
    tags = ("<s_one>", "<s_two>", *PRETRAINED)
    undecided = Reader.from_pretrained(donut(tmp_path / "a", *tags))
    (reading,) = undecided.read(tiny.picture(), max_new_tokens=4)
    assert reading.data is None
    for start in ("<s_two>", "<s_synthdog>"):
        reader = Reader.from_pretrained(donut(tmp_path / start[3:-1], *tags, start=start))
        say = saying(reader, "ab")
        (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=say)
        assert say.prompts[0] == start
        assert reading.data == {"text_sequence": "ab"}


def test_none_is_the_text_as_it_is(cord: Path) -> None:
    reader = Reader.from_pretrained(cord)
    say = saying(reader, ANSWER)
    (reading,) = reader.read(tiny.picture(), task="none", prefix_allowed_tokens_fn=say)
    assert say.prompts[0] == "</s>"
    assert (reading.text, reading.data) == (ANSWER, None)
    (reading,) = Reader.from_pretrained(cord, task="none").read(tiny.picture(), max_new_tokens=3)
    assert reading.data is None


def test_a_prompt_of_ones_own_is_no_task(cord: Path) -> None:
    reader = Reader.from_pretrained(cord)
    say = saying(reader, "x</s_nm>")
    ids = reader.tokenizer("<s_cord-v2><s_nm>", add_special_tokens=False, return_tensors="pt").input_ids
    (reading,) = reader.read(tiny.picture(), decoder_input_ids=ids, prefix_allowed_tokens_fn=say)
    assert say.prompts[0] == "<s_cord-v2><s_nm>"
    assert (reading.text, reading.data) == ("x</s_nm>", None)
    many = list(reader.read([tiny.picture(0), tiny.picture(1)], decoder_input_ids=ids, max_new_tokens=2))
    assert len(many) == 2


def test_old_scripts_get_no_task_without_asking(cord: Path) -> None:
    reader = Reader.from_pretrained(cord, task="none", max_new_tokens=5)
    (plain,) = reader.read(tiny.picture(), stop_on_repetition=False)
    assert pipeline("image-to-text", model=cord, max_new_tokens=5)(tiny.picture()) == [{"generated_text": plain.text}]


def test_a_token_of_ones_own_is_a_task(tmp_path: Path) -> None:
    reader = Reader.from_pretrained(donut(tmp_path, "<s_invoice>", "<s_nm>", "</s_nm>"), task="<s_invoice>")
    (reading,) = reader.read(tiny.picture(), prefix_allowed_tokens_fn=saying(reader, "<s_nm>x</s_nm>"))
    assert reading.data == {"nm": "x"}
    assert list(tasks.tasks_of(reader.tokenizer)) == ["invoice"]


def test_an_unknown_task_is_refused_with_those_that_there_are(cord: Path, tmp_path: Path) -> None:
    reader = Reader.from_pretrained(cord)
    with pytest.raises(
        OptionError,
        match=r"does not know the task 'docvqa': its tokenizer has no token <s_docvqa>\. "
        r"It knows cord-v2, iitcdip, synthdog\.",
    ):
        reader.read(tiny.picture(), task="docvqa")
    with pytest.raises(OptionError, match="Did you mean 'cord-v2'"):
        reader.read(tiny.picture(), task="cord-v1")
    with pytest.raises(OptionError, match="task is 3. Expected its name"):
        reader.read(tiny.picture(), task=3)  # type: ignore[arg-type]
    plain = Reader.from_pretrained(tiny.readable(tmp_path))
    with pytest.raises(OptionError, match="It knows no tasks: it has no tokens such as <s_docvqa>"):
        plain.read(tiny.picture(), task="docvqa")
    (reading,) = plain.read(tiny.picture())
    assert reading.data is None


def test_a_question_that_nobody_takes_is_refused(cord: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="question is 'Why', but the task 'cord-v2' takes none. Leave it out"):
        Reader.from_pretrained(cord).read(tiny.picture(), question="Why")
    with pytest.raises(OptionError, match="question is 'Why', but there is no task to answer it"):
        Reader.from_pretrained(tiny.readable(tmp_path)).read(tiny.picture(), question="Why")


def test_no_field_holds_an_unknown_token(cord: Path) -> None:
    reader = Reader.from_pretrained(cord)
    asked = tasks.ask(reader.tokenizer, "cord-v2")
    assert asked is not None
    assert asked.options(reader.tokenizer) == {"bad_words_ids": [[reader.tokenizer.unk_token_id]]}


# ------------------------------------------------------------------------------------------------- the command line


def test_the_command_line_asks_and_tells(docvqa: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.picture().save(tmp_path / "a.png")
    call = ["read", str(tmp_path / "a.png"), "-m", str(docvqa), "--max-new-tokens", "4"]
    assert main([*call, "--question", "How much", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["data"]["question"] == "How much"
    assert told["text"] == told["data"]["answer"]
    assert main([*call, "--task", "none", "--jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] is None
    assert main([*call, "--task", "cord-v2"]) == 1
    assert "does not know the task 'cord-v2'" in capsys.readouterr().err
    assert main(call) == 1
    assert "The task 'docvqa' answers a question" in capsys.readouterr().err
