"""finetune: what a tiny model learns, what it leaves behind, that a kill changes nothing, and what it refuses."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lines
import numpy as np
import pytest
import tiny
import torch
from test_loop import log_of, untimed

from vision2seq import AutoModelForVision2Seq, AutoProcessor, GenerationConfig, Reader, VisionEncoderDecoderModel
from vision2seq.errors import (
    ConfigError,
    MissingPackageError,
    OptionError,
    TrainingDataError,
    UnknownOptionError,
)
from vision2seq.models.vision_encoder_decoder import shift_tokens_right
from vision2seq.training import Collator, DataSet, Example, FinetuneSettings, Processes, finetune, read_examples
from vision2seq.training.collate import make_room, prepare_ids
from vision2seq.training.finetuning import _Order, _Prepared, _scores

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lines.folder_of_lines(tmp_path_factory.mktemp("data") / "lines")


def fresh(folder: Path, decoder: str = "trocr", **changes: Any) -> Path:
    """A tiny model as it begins, small weights and all, with what belongs to it."""
    torch.manual_seed(0)
    config = tiny.config(decoder, **{"encoder": {"hidden_dropout_prob": 0.1}, "bos_token_id": tiny.START, **changes})
    VisionEncoderDecoderModel._from_config(config).save_pretrained(folder)
    tiny.write_tokenizer(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh(tmp_path_factory.mktemp("model") / "trocr")


def learn(model: Path, data: Any, out: Path, **options: Any) -> Any:
    told: list[str] = options.pop("told", [])
    options = {"steps": 6, "batch_size": 4, "rate": 1e-3, "log_every": 1, "device": "cpu"} | options
    return finetune(model, data, out, say=told.append, hidden=True, **options)


# ----------------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("decoder", ["trocr", "gpt2"])
def test_one_batch_is_learned_by_heart(tmp_path: Path, data: Path, decoder: str) -> None:
    wide = {"trocr": {"d_model": 32, "decoder_ffn_dim": 64, "cross_attention_hidden_size": 32}, "gpt2": {"n_embd": 32}}
    encoder = {"hidden_size": 32, "intermediate_size": 64}
    start = fresh(tmp_path / "model", decoder, encoder=encoder, more=wide[decoder])
    options = {"steps": 100, "batch_size": 8, "rate": 8e-3, "average": 0.8, "warmup": 0.1, "validate_every": 50}
    result = learn(start, data, tmp_path / "out", validation=data, **options)
    assert result.best_scores == {"cer": 0.0, "wer": 0.0, "exact": 1.0, "texts": 8.0}
    best = Reader.from_pretrained(tmp_path / "out/best")
    readings = list(best.read(sorted(data.glob("*.png"))))
    assert [reading.text for reading in readings] == list(lines.TEXTS)
    assert {reading.finish_reason for reading in readings} == {"eos"}


def test_what_is_left_behind_are_ordinary_checkpoints(tmp_path: Path, model: Path, data: Path) -> None:
    result = learn(model, data, tmp_path / "out", validation=data, validate_every=3)
    assert result.folder == tmp_path / "out"
    assert (result.steps, result.ended) == (6, "length")
    for name in ("best", "final"):
        folder = tmp_path / "out" / name
        assert {"config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"} <= {
            path.name for path in folder.iterdir()
        }
        AutoModelForVision2Seq.from_pretrained(folder)
        assert AutoProcessor.from_pretrained(folder).tokenizer("ab")["input_ids"][1:-1] == [5, 6]
    # The averaged weights are what is kept.
    state = torch.load(tmp_path / "out/last.pt", weights_only=True)
    final = AutoModelForVision2Seq.from_pretrained(tmp_path / "out/final").state_dict()
    assert all(torch.equal(final[name], state["average"][name]) for name in final)
    assert not all(torch.equal(final[name], state["model"][name]) for name in final)
    told = log_of(tmp_path / "out", "validation")
    assert [record["step"] for record in told] == [3, 6]
    assert {"cer", "wer", "exact", "texts", "best", "seconds"} <= set(told[0])


def test_the_log_tells_the_models_own_loss(tmp_path: Path, model: Path, data: Path) -> None:
    learn(model, data, tmp_path / "out", steps=1, batch_size=8, seed=4)
    trainee = VisionEncoderDecoderModel.from_pretrained(model)
    processor = AutoProcessor.from_pretrained(model)
    images = sorted(data.glob("*.png"))
    pixels = processor(images, return_tensors="pt").pixel_values
    rows = [[*processor.tokenizer(text)["input_ids"][1:]] for text in lines.TEXTS]
    labels = torch.tensor([row + [-100] * (9 - len(row)) for row in rows])
    expected = trainee(pixel_values=pixels, labels=labels).loss.item()
    assert log_of(tmp_path / "out")[0]["loss"] == pytest.approx(expected, rel=0.05)  # but for dropout


def test_options_that_train_less(tmp_path: Path, model: Path, data: Path) -> None:
    before = VisionEncoderDecoderModel.from_pretrained(model).state_dict()

    def changed(name: str, **options: Any) -> set[str]:
        learn(model, data, tmp_path / name, steps=2, average=0, **options)
        after = VisionEncoderDecoderModel.from_pretrained(tmp_path / name / "final").state_dict()
        return {name for name in after if not torch.equal(after[name], before[name])}

    assert {name.split(".")[0] for name in changed("encoder", freeze="encoder")} == {"decoder"}
    assert {name.split(".")[0] for name in changed("decoder", freeze="decoder")} == {"encoder"}
    rest = changed("layers", freeze_layers=1)
    assert not any("embeddings" in name or "layer.0." in name for name in rest if name.startswith("encoder"))
    assert any("encoder.layer.1." in name for name in rest)
    assert any(name.startswith("decoder") for name in rest)
    assert any("layernorm" in name for name in rest if name.startswith("encoder"))
    with pytest.raises(OptionError, match=r"freeze_layers is 3, but the encoder has 2 layers; expected at most that"):
        changed("all", freeze_layers=3)


def test_gradient_checkpointing_and_workers_change_nothing(tmp_path: Path, model: Path, data: Path) -> None:
    learn(model, data, tmp_path / "plain", steps=3)
    learn(model, data, tmp_path / "checkpointing", steps=3, gradient_checkpointing=True)
    learn(model, data, tmp_path / "workers", steps=3, workers=2)
    plain, checkpointing, workers = (log_of(tmp_path / name) for name in ("plain", "checkpointing", "workers"))
    assert untimed(workers) == untimed(plain)
    assert [each["loss"] for each in checkpointing] == pytest.approx([each["loss"] for each in plain], rel=1e-5)


def test_accumulated_batches_see_the_same_examples(tmp_path: Path, data: Path) -> None:
    still = fresh(tmp_path / "model", encoder={"hidden_dropout_prob": 0.0})
    learn(still, data, tmp_path / "large", batch_size=8, steps=3)
    learn(still, data, tmp_path / "parts", batch_size=2, accumulate=4, steps=3)
    large, parts = ([each["loss"] for each in log_of(tmp_path / name)] for name in ("large", "parts"))
    assert parts == pytest.approx(large, rel=1e-4)


def test_examples_are_dealt_out_by_seed_epoch_and_position() -> None:
    settings = FinetuneSettings(batch_size=3, accumulate=2, seed=7)

    def drawn(processes: int, steps: int, first: int = 0) -> list[int]:
        """All examples in the order in which steps use them."""
        orders = []
        for index in range(processes):
            process = Processes()
            process.index, process.count = index, processes
            orders.append(iter(_Order(10, settings, process, first)))
        return [each for _ in range(steps * 2) for order in orders for each in next(order)]

    alone = drawn(1, 10)
    assert sorted(alone[:10]) == sorted(alone[10:20]) == list(range(10))
    assert alone[:10] != alone[10:20]
    assert drawn(1, 4, first=6) == alone[36:60]
    assert drawn(2, 5) == alone


def test_epochs_and_shares(tmp_path: Path, model: Path, data: Path) -> None:
    result = learn(model, data, tmp_path / "out", steps=None, epochs=3, batch_size=4, validation_share=0.25)
    assert result.steps == 5  # 3 times 6 examples, 4 at a time
    assert result.scores["texts"] == 2
    settings = json.loads((tmp_path / "out/run.json").read_text(encoding="utf-8"))
    assert settings["data"].startswith("6 examples")
    assert settings["validation"].startswith("2 examples")
    assert settings["epochs"] == 3


# ----------------------------------------------------------------------------------------------------------- going on


CHILD = """
import json, sys, torch
torch.set_num_threads(1)
from vision2seq.training import finetune
model, data, out, options = sys.argv[1:]
finetune(model, data, out, validation=data, hidden=True, **json.loads(options))
"""


def test_a_kill_changes_nothing(tmp_path: Path, model: Path, data: Path) -> None:
    """Real processes, killed at moments of no one's choosing, and not told beforehand."""
    options: dict[str, Any] = {"steps": 24, "batch_size": 4, "accumulate": 2, "rate": 2e-3, "log_every": 1, "seed": 3}
    options |= {"validate_every": 6, "save_every": 2, "average": 0.9, "device": "cpu"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    log = tmp_path / "cut/log.jsonl"
    for reached, workers in ((5, 0), (15, 1)):
        arguments = [str(model), str(data), str(tmp_path / "cut"), json.dumps({**options, "workers": workers})]
        child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=environment)
        until = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < until:
            if log.exists() and log.read_text(encoding="utf-8").count("\n") >= reached:
                break
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        assert child.wait(60) == -signal.SIGKILL
        assert not (tmp_path / "cut/final").exists()
    for name in ("cut", "whole"):
        finetune(model, data, tmp_path / name, validation=data, hidden=True, **options)
    assert untimed(log_of(tmp_path / "cut")) == untimed(log_of(tmp_path / "whole"))
    assert len(log_of(tmp_path / "cut")) == 24
    assert untimed(log_of(tmp_path / "cut", "validation")) == untimed(log_of(tmp_path / "whole", "validation"))
    for name in ("best", "final"):
        found, expected = ((tmp_path / out / name / "model.safetensors").read_bytes() for out in ("cut", "whole"))
        assert found == expected


def test_changed_settings_and_data_are_named(tmp_path: Path, model: Path) -> None:
    own = lines.folder_of_lines(tmp_path / "lines")
    learn(model, own, tmp_path / "out", steps=2)
    with pytest.raises(OptionError, match=r"with other settings: batch_size was 4, is 2; rate was 0\.001, is 0\.002\."):
        learn(model, own, tmp_path / "out", steps=2, rate=2e-3, batch_size=2)
    (own / "00.gt.txt").write_text("xy", encoding="utf-8")
    with pytest.raises(OptionError, match="other settings: data was '8 examples, .*', is '8 examples, "):
        learn(model, own, tmp_path / "out", steps=2)


# ------------------------------------------------------------------------------------------------------------ refusing


def test_unreadable_images(tmp_path: Path, model: Path) -> None:
    own = lines.folder_of_lines(tmp_path / "lines")
    (own / "02.png").write_bytes(b"no picture")
    for workers in (0, 1):
        with pytest.raises(TrainingDataError, match=r"^.*02\.png: .* Repair it, or go on .*--on-problem skip\)\.$"):
            learn(model, own, tmp_path / f"refused{workers}", batch_size=8, workers=workers)
    with pytest.raises(TrainingDataError, match=r"1 of the 8 validation images cannot be read: .*02\.png"):
        learn(model, lines.folder_of_lines(tmp_path / "good"), tmp_path / "v", validation=own)
    told: list[str] = []
    result = learn(model, own, tmp_path / "out", validation=own, on_problem="skip", workers=1, told=told, batch_size=8)
    assert result.scores["texts"] == 7
    before, after = told
    assert before.startswith(f"left out of the validation set: 1 × unreadable image ({own / '02.png'}: ")
    assert after.startswith(f"left out while training: 1 × unreadable image ({own / '02.png'}: ")


def test_nothing_but_unreadable_images(tmp_path: Path, model: Path) -> None:
    own = lines.folder_of_lines(tmp_path / "lines", ("ab", "cd"))
    for path in own.glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(TrainingDataError, match=r"^None of the images can be read\. Expected image files\. 2 × unread"):
        learn(model, own, tmp_path / "out", on_problem="skip")


def test_images_of_several_sizes(tmp_path: Path, model: Path) -> None:
    loose = fresh(tmp_path / "loose")
    (loose / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "do_resize": False}), encoding="utf-8"
    )
    own = lines.folder_of_lines(tmp_path / "lines")
    tiny.picture(0, (20, 20)).save(own / "00.png")
    with pytest.raises(
        TrainingDataError, match=r"have several sizes \(channels, height, width: 3×20×20, 3×24×40\)\. Expected one"
    ):
        learn(loose, own, tmp_path / "out", batch_size=8, workers=1)


def test_problems_of_a_data_set_are_told(tmp_path: Path, model: Path) -> None:
    own = lines.folder_of_lines(tmp_path / "lines")
    (own / "03.gt.txt").unlink()
    with pytest.raises(TrainingDataError, match="1 of the examples cannot be used: 1 × missing text"):
        learn(model, own, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    told: list[str] = []
    learn(model, own, tmp_path / "out", on_problem="skip", told=told)
    assert told == [f"left out of the training set: 1 × missing text ({own}/03.png: there is no 03.gt.txt beside it)"]
    with pytest.warns(UserWarning, match="Left out of the training set: 1 × missing text"):
        finetune(model, own, tmp_path / "b", steps=1, on_problem="skip", hidden=True)


def test_texts_that_are_too_long(tmp_path: Path, model: Path) -> None:
    own = lines.folder_of_lines(tmp_path / "lines", ("ab", "a" * 14, "b" * 15, "c" * 40))
    named = r"2 × too long text \(.*02\.png: 16 tokens, the end token included; .*03\.png: 41 tokens"
    with pytest.raises(TrainingDataError, match=named + r".*Expected at most 15 tokens.*--on-long truncate"):
        learn(model, own, tmp_path / "refused")
    told: list[str] = []
    learn(model, own, tmp_path / "skip", on_long="skip", told=told)
    assert told[0].startswith("left out of the training set: 2 × too long text")
    told.clear()
    learn(model, own, tmp_path / "cut", on_long="truncate", told=told)
    assert told[0].startswith("cut: 2 × too long text")
    all_long = lines.folder_of_lines(tmp_path / "long", ("c" * 40,))
    with pytest.raises(TrainingDataError, match="There are no examples but 1 × too long text .*Expected shorter texts"):
        learn(model, all_long, tmp_path / "none", on_long="skip")


def test_characters_that_the_tokenizer_lacks_are_told(tmp_path: Path, model: Path) -> None:
    told: list[str] = []
    learn(model, lines.folder_of_lines(tmp_path / "lines", ("ab", "ñ€")), tmp_path / "out", steps=1, told=told)
    assert told == [
        "the tokenizer lacks 2 of the texts' characters, which the model cannot learn: 'ñ' '€'",
    ]


def test_an_image_that_breaks_while_training(tmp_path: Path, model: Path, data: Path) -> None:
    own = lines.folder_of_lines(tmp_path / "lines")
    averaged = VisionEncoderDecoderModel.from_pretrained(model)
    held = read_examples(own)
    (own / "01.png").write_bytes(b"no picture")
    with pytest.raises(TrainingDataError, match=r"1 of the 8 validation images cannot be read: .*01\.png: "):
        _scores(averaged, AutoProcessor.from_pretrained(model), held, FinetuneSettings(), Processes())


def test_what_workers_are_given_can_be_sent_to_another_process(model: Path, data: Path) -> None:
    _, collate = collator(model)
    dataset = pickle.loads(pickle.dumps(_Prepared(read_examples(data).examples, collate)))
    pixels, labels, unreadable = dataset[1]
    assert np.array_equal(pixels, collate.pixels(data / "01.png"))
    assert (labels, unreadable) == (collate.labels("cd e"), [])


def test_devices_that_are_not_there(tmp_path: Path, model: Path, data: Path) -> None:
    for device in ("cuda:77", "abacus"):
        with pytest.raises(OptionError, match=f"The device '{device}' cannot be used .*such as 'cpu' or 'cuda'"):
            learn(model, data, tmp_path / "out", device=device)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 2, "steps": 3}, "epochs are given along with steps or minutes; expected one of the three"),
        ({"epochs": -1, "steps": None}, "epochs are -1, expected above 0"),
        ({"batch_size": 0}, "batch_size is 0, expected a whole number from 1"),
        ({"workers": -1}, "workers is -1, expected a whole number from 0"),
        ({"freeze_layers": -1}, "freeze_layers is -1, expected a whole number from 0"),
        ({"on_long": "cut"}, "on_long is 'cut', expected one of 'raise', 'truncate', 'skip'"),
        ({"freeze": "all"}, "freeze is 'all', expected 'encoder', 'decoder' or None"),
        ({"label_smoothing": 1}, "label_smoothing is 1, expected from 0 to below 1"),
        ({"validation_share": 0.1, "validation": "x"}, "Both a validation set and a share to hold back are given"),
        ({"patience": 2}, "patience needs something to validate on: give validation or validation_share"),
        ({"on_problem": "ignore"}, "on_problem is 'ignore', expected 'raise' or 'skip'"),
        ({"keep_bos": True, "rate": 0}, "rate is 0, expected above 0"),
    ],
)
def test_settings_are_checked(tmp_path: Path, model: Path, data: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        learn(model, data, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_unknown_settings_are_named(tmp_path: Path, model: Path, data: Path) -> None:
    with pytest.raises(
        UnknownOptionError, match=r"A training has no setting 'batchsize'\. Did you mean 'batch_size'\?"
    ):
        learn(model, data, tmp_path / "out", batchsize=3)


def test_accelerate_has_to_be_installed(
    tmp_path: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    message = r"needs accelerate, which is not installed \(.*Type: pip install 'vision2seq\[accelerate\]'"
    with pytest.raises(MissingPackageError, match=message):
        learn(model, data, tmp_path / "out", accelerate=True)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun and accelerate launch set it
    with pytest.raises(MissingPackageError, match=message):
        learn(model, data, tmp_path / "out")


# ------------------------------------------------------------------------------------------------------------- labels


def collator(folder: Path, **options: Any) -> tuple[Any, Collator]:
    model, processor = VisionEncoderDecoderModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    prepare_ids(model, processor.tokenizer)
    return model, Collator.of(model, processor, **options)


def test_labels_are_the_text_and_the_end(model: Path) -> None:
    trainee, collate = collator(model)
    ids = [trainee.config.decoder_start_token_id, *AutoProcessor.from_pretrained(model).tokenizer("ab")["input_ids"]]
    assert ids == [tiny.EOS, tiny.START, 5, 6, tiny.EOS]  # what the tokenizer makes has a bos token in front
    assert collate.labels("ab") == [5, 6, tiny.EOS]
    assert collate.labels("") == [tiny.EOS]
    assert collate.labels("a" * 40) == [5] * 15  # the text goes on, so there is no end
    assert collate.longest == 15
    batch = collate([(collate.pixels(tiny.picture()), collate.labels(text)) for text in ("ab", "")])
    assert batch["pixel_values"].shape == (2, 3, 16, 16)
    assert batch["pixel_values"].dtype == torch.float32
    assert batch["labels"].tolist() == [[5, 6, 2], [2, -100, -100]]
    shifted = shift_tokens_right(batch["labels"], tiny.PAD, tiny.EOS)
    assert shifted.tolist() == [[2, 5, 6], [2, 2, 1]]


def test_a_bos_token_can_be_learned_but_not_twice(tmp_path: Path, model: Path) -> None:
    _, collate = collator(model, keep_bos=True)
    assert collate.labels("ab") == [tiny.START, 5, 6, tiny.EOS]
    with pytest.raises(
        OptionError, match=r"tokenizer's bos token is '<s>', and the model starts with token 0\. .*twice"
    ):
        collator(fresh(tmp_path / "m", decoder_start_token_id=tiny.START), keep_bos=True)


def test_ids_come_from_the_model_then_from_the_tokenizer(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "m", "gpt2")
    for name in ("config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        for part in (values, values.get("decoder", {})):
            for key in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
                part[key] = None
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    trainee, collate = collator(folder)
    config = trainee.config
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (0, 2, 1)
    assert trainee.generation_config.eos_token_id == 2
    assert collate.end == 2
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    bare = VisionEncoderDecoderModel.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.sep_token = None
    with pytest.raises(ConfigError, match="Neither the model nor its tokenizer says a eos_token_id; training needs it"):
        prepare_ids(bare, tokenizer)


def test_the_tokenizer_has_to_be_the_models(tmp_path: Path, data: Path) -> None:
    folder = fresh(tmp_path / "m")
    tiny.write_tokenizer(folder, count=50)
    with pytest.raises(ConfigError, match=r"The tokenizer has 50 tokens, the decoder 37\. Expected no more"):
        learn(folder, data, tmp_path / "out")


def test_texts_longer_than_the_generation_limit_get_room(tmp_path: Path) -> None:
    model = tiny.model()
    model.generation_config = GenerationConfig(max_length=5, num_beams=3)
    assert make_room(model, 9)
    assert (model.generation_config.max_length, model.generation_config.num_beams) == (10, 3)
    assert not make_room(model, 9)
    model.generation_config = GenerationConfig()
    assert not make_room(model, 9)
    assert model.generation_config.max_length == 16  # other readers of the file have defaults of their own
    model.generation_config = GenerationConfig(max_new_tokens=4)
    assert make_room(model, 9)
    assert model.generation_config.max_new_tokens == 9
    # What old checkpoints say in their config must not win when the model is loaded again.
    model = tiny.model(max_length=6)
    assert make_room(model, 9)
    model.save_pretrained(tmp_path)
    again = VisionEncoderDecoderModel.from_pretrained(tmp_path)
    assert again.generation_config.following(again.config).max_length == 10


def test_long_texts_of_the_data_set_are_written_in_full(tmp_path: Path, data: Path) -> None:
    own = lines.folder_of_lines(tmp_path / "lines", ("abcdefgh",))
    start = fresh(tmp_path / "m")
    (start / "generation_config.json").write_text('{"max_length": 4, "eos_token_id": 2, "pad_token_id": 1}')
    told: list[str] = []
    learn(start, own, tmp_path / "out", steps=1, told=told)
    assert told == ["the model may write texts of 9 tokens now, as the longest one of the training set has"]
    assert json.loads((tmp_path / "out/final/generation_config.json").read_text())["max_length"] == 10


def test_examples_of_ones_own(tmp_path: Path, model: Path, data: Path) -> None:
    own = DataSet([Example(data / f"{n:02d}.png", lines.TEXTS[n], f"line {n}", str(n)) for n in range(4)])
    assert learn(model, own, tmp_path / "out", steps=1, validation=own).scores["texts"] == 4
    with pytest.raises(TrainingDataError, match="The data set holds no examples. Expected at least one"):
        learn(model, DataSet(), tmp_path / "none")


def test_images_may_be_bytes(model: Path, data: Path) -> None:
    _, collate = collator(model)
    raw = (data / "00.png").read_bytes()
    assert np.array_equal(collate.pixels(raw), collate.pixels(data / "00.png"))
    assert DataSet([Example(raw, "x", "t.parquet:1", "ab12")]).digest()
