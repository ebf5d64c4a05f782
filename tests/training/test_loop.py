"""The loop: how the rate goes, that batches add up, what is saved, and when it ends."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import lines
import pytest
import torch
from torch import nn

from vision2seq.errors import MissingPackageError, OptionError, TrainingDataError, TrainingError, UnknownOptionError
from vision2seq.training import TrainingSettings
from vision2seq.training.optimise import Average, optimizers_for, parameter_groups, rate_at
from vision2seq.training.run import RunFolder

torch.set_num_threads(1)


def log_of(folder: Path, kind: str = "training") -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["kind"] == kind]


def untimed(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    clocks = ("minutes", "steps_per_second", "seconds")
    return [{name: value for name, value in record.items() if name not in clocks} for record in records]


# -------------------------------------------------------------------------------------------------------- optimising


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("cosine", [0.0, 0.5, 1.0, (1 + math.cos(math.pi / 4)) / 2, 0.5, 0.0]),
        ("linear", [0.0, 0.5, 1.0, 0.75, 0.5, 0.0]),
        ("constant", [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_rate_rises_and_falls(decay: str, expected: list[float]) -> None:
    found = [rate_at(progress, warmup=0.2, decay=decay) for progress in (0, 0.1, 0.2, 0.4, 0.6, 1)]
    assert found == pytest.approx(expected)
    assert rate_at(0.0, warmup=0.0, decay=decay) == 1.0


def test_the_loop_follows_the_rate(tmp_path: Path) -> None:
    lines.trainer(tmp_path, steps=4, rate=2.0, warmup=0.25, decay="linear").run()
    assert [record["rate"] for record in log_of(tmp_path)] == pytest.approx([1.0, 5 / 3, 1.0, 1 / 3])


def test_only_matrices_decay() -> None:
    model = nn.ModuleDict({"line": nn.Linear(3, 2), "norm": nn.LayerNorm(3), "table": nn.Embedding(5, 3)})
    model.token = nn.Parameter(torch.zeros(1, 1, 3))
    model.places = nn.Parameter(torch.zeros(1, 4, 3))
    model.frozen = nn.Parameter(torch.zeros(3, 3), requires_grad=False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, plain = ([names[id(each)] for each in group["params"]] for group in parameter_groups(model, 0.1))
    assert sorted(decayed) == ["line.weight", "places", "table.weight"]
    assert sorted(plain) == ["line.bias", "norm.bias", "norm.weight", "token"]
    assert [group["weight_decay"] for group in parameter_groups(model, 0.1)] == [0.1, 0.0]
    with pytest.raises(OptionError, match="Nothing is left to train: all parameters are frozen. Freeze less"):
        parameter_groups(model.requires_grad_(False), 0.1)


class Layered(nn.Module):
    """Layers between an embedding and a projection, as in a transformer; what it makes of ``x`` means nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.inner = nn.Linear(4, 8)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU()) for _ in range(2))
        self.layers[0].places = nn.Embedding(5, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(x)
        for layer in self.layers:
            x = x + layer[2](layer[1](layer[0](x)))
        return self.head(x + self.layers[0].places.weight.sum(0))


def test_muon_changes_the_matrices_of_layers() -> None:
    model = Layered()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    settings = TrainingSettings(steps=1, optimizer="muon", rate=0.1, muon_rate=0.3, weight_decay=0.2)
    adamw, muon = optimizers_for(model, settings)
    assert (type(adamw), type(muon)) == (torch.optim.AdamW, torch.optim.Muon)
    (group,) = muon.param_groups
    assert sorted(names[id(each)] for each in group["params"]) == ["layers.0.0.weight", "layers.1.0.weight"]
    assert (group["peak"], group["weight_decay"]) == (0.3, 0.2)
    others = [names[id(each)] for group in adamw.param_groups for each in group["params"]]
    assert sorted([*others, "layers.0.0.weight", "layers.1.0.weight"]) == sorted(names.values())
    assert {group["peak"] for group in adamw.param_groups} == {0.1}
    assert len(optimizers_for(nn.Linear(2, 2), settings)) == 1
    assert (
        optimizers_for(model, TrainingSettings(steps=1, optimizer="muon", rate=0.1))[1].param_groups[0]["peak"] == 0.1
    )


def test_muon_learns_and_goes_on_exactly(tmp_path: Path) -> None:
    def train(folder: Path, steps: int, give: Any = lines.batches) -> None:
        lines.trainer(folder, module=Layered(), give=give, steps=steps, optimizer="muon", muon_rate=0.02).run()

    def until(step: int) -> Any:
        for count, batch in enumerate(lines.batches(step)):
            if count == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    train(tmp_path / "whole", 12)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", 12, until)
    train(tmp_path / "cut", 12)
    whole = untimed(log_of(tmp_path / "whole"))
    assert untimed(log_of(tmp_path / "cut")) == whole
    batch = next(lines.batches(3))
    train(tmp_path / "one", 60, lambda step: itertools.repeat(batch))
    losses = [record["loss"] for record in log_of(tmp_path / "one")]
    assert losses[-1] < 0.2 * losses[0]


def test_muon_needs_a_torch_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(MissingPackageError, match="optimizer='muon' was asked for, .* expected 2.9 or newer. Install"):
        lines.trainer(tmp_path, optimizer="muon")


def test_the_average_forgets_where_it_began() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 100.0)
    average = Average(model, 0.9)
    expected = 100.0
    for step in range(1, 200):
        nn.init.constant_(model.weight, float(step % 2))
        average.update(model, step)
        keep = min(0.9, step / (step + 10))
        expected = keep * expected + (1 - keep) * (step % 2)
    assert average.model.weight.item() == pytest.approx(expected, rel=1e-4)
    assert 0.4 < expected < 0.6
    assert not average.model.training
    assert not average.model.weight.requires_grad


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    """Also where their numbers of labels differ."""

    def joined(step: int) -> Any:
        while True:
            parts = [next(lines.batches(3 * step + part)) for part in range(3)]
            yield {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            step += 1

    def in_parts(step: int) -> Any:
        return lines.batches(3 * step)

    models = []
    for name, give, accumulate in (("large", joined, 1), ("parts", in_parts, 3)):
        model = lines.Slope()
        model.dropout.p = 0.0
        lines.trainer(tmp_path / name, module=model, give=give, accumulate=accumulate, steps=5).run()
        models.append(model)
    large, parts = (log_of(tmp_path / name) for name in ("large", "parts"))
    assert [record["loss"] for record in parts] == pytest.approx([record["loss"] for record in large], rel=1e-5)
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=1e-4, atol=1e-6)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    norms = []
    for name, clip in (("no", 0.0), ("yes", 1e-3)):
        model = lines.Slope()
        lines.trainer(tmp_path / name, module=model, steps=1, clip=clip).run()
        norms.append(math.sqrt(sum(float(each.grad.square().sum()) for each in model.parameters())))
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)
    # The log tells the length before.
    assert log_of(tmp_path / "yes")[0]["gradient_norm"] == pytest.approx(norms[0], rel=1e-5)


def test_mixed_precision_is_near_and_keeps_float32_weights(tmp_path: Path) -> None:
    model = lines.Slope()
    lines.trainer(tmp_path / "a", module=model, bf16=True, steps=6).run()
    lines.trainer(tmp_path / "b", steps=6).run()
    found, expected = ([record["loss"] for record in log_of(tmp_path / name)] for name in "ab")
    assert found == pytest.approx(expected, rel=0.03)
    assert found != expected
    assert model.line.weight.dtype == torch.float32


# --------------------------------------------------------------------------------------------------------- going on


def test_other_random_numbers_change_nothing(tmp_path: Path) -> None:
    def validate(model: nn.Module) -> dict[str, float]:
        torch.rand(3)
        return {"cer": 0.5}

    lines.trainer(tmp_path / "a").run()
    torch.rand(1)
    lines.trainer(tmp_path / "b", validate=validate, validate_every=2).run()
    assert untimed(log_of(tmp_path / "a")) == untimed(log_of(tmp_path / "b"))
    lines.trainer(tmp_path / "c", seed=1).run()
    assert untimed(log_of(tmp_path / "a"))[0] != untimed(log_of(tmp_path / "c"))[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_same_call_goes_on(tmp_path: Path, number: int) -> None:
    plain = lines.trainer(
        tmp_path / "whole", log_every=5, accumulate=2, give=lambda step: lines.batches(2 * step)
    ).run()

    def until(step: int) -> Any:
        for count, batch in enumerate(lines.batches(2 * step)):
            if count == 13:  # the first batch of the seventh step: the step is done, and then it stops
                os.kill(os.getpid(), number)
            yield batch

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        lines.trainer(tmp_path / "cut", log_every=5, accumulate=2, give=until).run()
    assert signal.getsignal(number) is before
    with (tmp_path / "cut/log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "trai')  # of a step that was not saved
    went_on = lines.trainer(
        tmp_path / "cut", log_every=5, accumulate=2, give=lambda step: lines.batches(2 * step)
    ).run()
    assert (went_on.steps, went_on.ended) == (plain.steps, plain.ended) == (12, "length")
    assert untimed(log_of(tmp_path / "cut")) == untimed(log_of(tmp_path / "whole"))
    assert [record["step"] for record in log_of(tmp_path / "cut")] == [5, 10, 12]
    whole, cut = (RunFolder(tmp_path / name, SETTINGS).load() for name in ("whole", "cut"))
    for part in ("model", "average"):
        assert all(torch.equal(whole[part][name], cut[part][name]) for name in whole[part])


SETTINGS = TrainingSettings(steps=12, rate=0.05, log_every=5, accumulate=2).fixed()


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    exported: list[str] = []

    def export(model: nn.Module, place: Path) -> None:
        exported.append(place.name)

    options: dict[str, Any] = {"export": export, "validate": lambda model: {"cer": 0.25}}
    first = lines.trainer(tmp_path, **options).run()
    assert exported == ["best", "final"]
    second = lines.trainer(tmp_path, **options, give=lambda step: pytest.fail("no batch is needed")).run()
    assert second == first
    assert exported == ["best", "final"]
    assert second.best_scores == {"cer": 0.25}


def test_it_runs_in_a_thread_too(tmp_path: Path) -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(lines.trainer(tmp_path).run()))
    thread.start()
    thread.join()
    assert results[0].steps == 12


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    lines.trainer(tmp_path, steps=2, about={"data": "7 examples"}).run()
    with pytest.raises(
        OptionError, match=r"with other settings: data was '7 examples', is '8 examples'; rate was 0\.05, is 0\.01\. It"
    ):
        lines.trainer(tmp_path, steps=2, rate=0.01, about={"data": "8 examples"})
    with pytest.raises(OptionError, match="data was '7 examples', is None; seed was 0, is 3"):
        lines.trainer(tmp_path, steps=2, seed=3)
    # How often the state is saved changes nothing of what is learned.
    assert lines.trainer(tmp_path, steps=2, save_every=1, about={"data": "7 examples"}).run().steps == 2


def test_folders_of_something_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x", encoding="utf-8")
    with pytest.raises(OptionError, match=r"not empty and holds no training: run\.json is missing, found thesis\.txt"):
        lines.trainer(tmp_path)
    with pytest.raises(OptionError, match=r"thesis\.txt is a file, expected the folder of a training"):
        lines.trainer(tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_training_that_saved_nothing_begins_anew_with_any_settings(tmp_path: Path) -> None:
    lines.trainer(tmp_path)
    assert lines.trainer(tmp_path, steps=3).run().steps == 3


def test_states_that_cannot_be_used(tmp_path: Path) -> None:
    lines.trainer(tmp_path, steps=2).run()
    state = tmp_path / "last.pt"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"last\.pt cannot be read \(.*Remove it to train anew"):
        lines.trainer(tmp_path, steps=2).run()
    torch.save({"format": 99}, state)
    with pytest.raises(TrainingError, match="no state of a training that this release knows"):
        lines.trainer(tmp_path, steps=2).run()
    state.write_bytes(whole)
    with pytest.raises(TrainingError, match=r"does not fit this model \(.*Train in another folder, or remove this one"):
        lines.trainer(tmp_path, steps=2, module=nn.Sequential(lines.Slope())).run()


# ------------------------------------------------------------------------------------------------- validating, ending


def test_the_best_is_kept_and_patience_ends_it(tmp_path: Path) -> None:
    rates = iter([0.9, 0.4, 0.5, 0.4, 0.6, 0.1])
    exported: list[tuple[str, int]] = []
    training = lines.trainer(
        tmp_path,
        steps=60,
        validate_every=3,
        patience=3,
        validate=lambda model: {"cer": next(rates), "wer": 1.0},
        export=lambda model, place: exported.append((place.name, training._at.step)),
    )
    result = training.run()
    assert (result.steps, result.ended, result.best_step) == (15, "patience", 6)
    assert result.best_scores == {"cer": 0.4, "wer": 1.0}
    assert result.scores == {"cer": 0.6, "wer": 1.0}
    assert exported == [("best", 3), ("best", 6), ("final", 15)]
    told = log_of(tmp_path, "validation")
    assert [(record["step"], record["cer"], record["best"]) for record in told] == [
        (3, 0.9, True),
        (6, 0.4, True),
        (9, 0.5, False),
        (12, 0.4, False),
        (15, 0.6, False),
    ]


def test_patience_is_counted_across_interruptions(tmp_path: Path) -> None:
    def validate(model: nn.Module) -> dict[str, float]:
        if len(log_of(tmp_path, "validation")) == 3 and not went_on:
            raise MemoryError
        return {"cer": 0.5}

    went_on = False
    options: dict[str, Any] = {"steps": 60, "validate_every": 2, "patience": 4, "validate": validate}
    with pytest.raises(MemoryError):
        lines.trainer(tmp_path, **options).run()
    went_on = True
    result = lines.trainer(tmp_path, **options).run()
    assert (result.steps, result.ended, result.best_step) == (10, "patience", 2)
    assert [record["step"] for record in log_of(tmp_path)] == list(range(1, 11))


def test_what_is_validated_and_kept_is_the_average(tmp_path: Path) -> None:
    seen: list[nn.Module] = []

    def validate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        seen.append(model)
        return {"cer": 1.0}

    training = lines.trainer(tmp_path / "a", validate=validate, steps=2)
    training.run()
    assert seen[0] is training.average.model is not training.model
    seen.clear()
    training = lines.trainer(tmp_path / "b", validate=validate, steps=2, average=0)
    training.run()
    assert seen[0] is training.model
    assert training.model.training


def test_minutes_as_the_length(tmp_path: Path) -> None:
    validated: list[int] = []

    def validate(model: nn.Module) -> dict[str, float]:
        validated.append(1)
        return {"cer": 1.0}

    options: dict[str, Any] = {"steps": None, "minutes": 0.01, "validate_every": 0.0025, "decay": "linear", "warmup": 0}
    result = lines.trainer(tmp_path, validate=validate, log_every=10, **options).run()
    assert result.ended == "length"
    assert result.minutes == pytest.approx(0.01, abs=0.002)
    assert len(validated) == 4
    rates = [record["rate"] for record in log_of(tmp_path)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.1 * rates[0]


def test_batches_may_end(tmp_path: Path) -> None:
    result = lines.trainer(tmp_path, give=lambda step: iter([next(lines.batches(n)) for n in range(step, 5)])).run()
    assert (result.steps, result.ended) == (5, "data")


def test_batches_without_labels_are_refused(tmp_path: Path) -> None:
    batch = {"x": torch.zeros(2, 4), "labels": torch.full((2,), -100)}
    with pytest.raises(TrainingDataError, match="A batch of step 0 holds nothing to learn from: none of its labels"):
        lines.trainer(tmp_path, give=lambda step: iter([batch])).run()


def test_losses_that_are_no_numbers_end_it_and_are_not_saved(tmp_path: Path) -> None:
    def give(step: int) -> Any:
        for number, batch in enumerate(lines.batches(step), step):
            yield {**batch, "x": batch["x"] * (math.inf if number == 6 else 1)}

    with pytest.raises(
        TrainingError, match=r"loss is nan in the 7 steps up to 7, at a learning rate of .* Lower the rate"
    ):
        lines.trainer(tmp_path, give=give, log_every=50, save_every=1).run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["progress"]["step"] == 6
    assert all(bool(tensor.isfinite().all()) for tensor in state["model"].values())


def test_functions_that_give_something_else(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match="validate gave wer; expected 'cer' among them, .* Name another number as best"
    ):
        lines.trainer(tmp_path / "a", steps=1, validate=lambda model: {"wer": 0.5}).run()
    assert (
        lines.trainer(tmp_path / "b", steps=1, validate=lambda model: {"wer": 0.5}, best_by="wer").run().best_step == 1
    )
    training = lines.trainer(tmp_path / "c", steps=1)
    training.losses = lambda model, batch: {"cost": model(batch["x"]).sum()}
    with pytest.raises(OptionError, match="losses gave cost; expected a 'loss' among them"):
        training.run()


# ---------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 3, "minutes": 1}, "Both steps and minutes are given; expected one of them"),
        ({"steps": 0}, "steps is 0, expected a whole number from 1"),
        ({"accumulate": 1.5}, "accumulate is 1.5, expected a whole number from 1"),
        ({"log_every": True}, "log_every is True, expected a whole number from 1"),
        ({"patience": 0}, "patience is 0, expected a whole number from 1"),
        ({"minutes": -1}, "minutes is -1, expected above 0"),
        ({"rate": float("nan")}, "rate is nan, expected above 0"),
        ({"rate": "1"}, "rate is '1', expected above 0"),
        ({"steps": 3, "validate_every": 0.5}, "validate_every is 0.5, expected a whole number of steps"),
        ({"steps": 3, "save_every": -2}, "save_every is -2, expected above 0"),
        ({"clip": -1}, "clip is -1, expected a number from 0"),
        ({"weight_decay": None}, "weight_decay is None, expected a number from 0"),
        ({"warmup": 1}, "warmup is 1, expected from 0 to below 1"),
        ({"average": 1.0}, "average is 1.0, expected from 0 to below 1"),
        ({"betas": (0.9, 1)}, "betas is 1, expected from 0 to below 1"),
        ({"betas": (0.9,)}, r"betas are \(0.9,\), expected two numbers"),
        ({"decay": "step"}, "decay is 'step', expected 'cosine', 'linear' or 'constant'"),
        ({"seed": "x"}, "seed is 'x', expected a whole number"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd', expected 'adamw' or 'muon'"),
        ({"muon_rate": 0.1}, "muon_rate is given, but the optimizer is AdamW; expected optimizer='muon' beside it"),
        ({"optimizer": "muon", "muon_rate": 0}, "muon_rate is 0, expected above 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TrainingSettings.of(settings)


def test_unknown_settings_are_named() -> None:
    with pytest.raises(
        UnknownOptionError, match=r"no setting 'rates'\. Did you mean 'rate'\? It has: steps, minutes, "
    ):
        TrainingSettings.of({"rates": 1})


def test_a_length_is_needed(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Neither steps nor minutes are given"):
        lines.trainer(tmp_path, steps=None)
