"""Filling a module on the meta device: values, dtypes, ties, accounts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vision2seq.checkpoints import LoadingReport, fill, find_weights, read_tensors, save_weights
from vision2seq.errors import CheckpointCorruptError, OptionError, UnsupportedError, WeightsMismatchError


class Tiny(nn.Module):
    """An embedding, a norm, a head that may be tied, a saved and a computed buffer."""

    def __init__(self, tied: bool = True, width: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, width)
        self.LayerNorm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 6)
        if tied:
            self.head.weight = self.embed.weight
        self.register_buffer("steps", torch.tensor(3))
        self.table: Tensor
        self.register_buffer("table", torch.empty(2), persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        self.table = torch.tensor([0.5, 2.0])


def on_meta(**options: Any) -> Tiny:
    with torch.device("meta"):
        return Tiny(**options)


def values(tied: bool = True) -> dict[str, Tensor]:
    torch.manual_seed(1)
    state = {
        name: torch.randn(tensor.shape) if tensor.is_floating_point() else torch.tensor(9)
        for name, tensor in Tiny().state_dict().items()
    }
    return state | {"head.weight": state["embed.weight"]} if tied else state


def test_everything_in_place() -> None:
    model, state = on_meta(tied=False), values(tied=False)
    report = fill(model, state.items())
    assert report == LoadingReport() and report.warning_text() is None
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]) and tensor.data_ptr() == state[name].data_ptr()
    assert torch.equal(model.table, torch.tensor([0.5, 2.0]))
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_filled_from_a_file_it_can_be_trained(tmp_path: Path, form: str) -> None:
    state = values(tied=False)
    if form == "safetensors":
        save_weights(state, tmp_path)
    else:
        torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=form == "zip")
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    model = on_meta(tied=False)
    fill(model, read_tensors(find_weights(tmp_path)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.head(model.LayerNorm(model.embed(torch.tensor([1, 2])))).sum().backward()
    optimizer.step()
    assert not torch.equal(model.head.weight, state["head.weight"])
    assert path.read_bytes() == before
    path.unlink()  # the numbers outlive the name
    assert model.get_buffer("steps").item() == 9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
def test_casts(tmp_path: Path, stored: torch.dtype, dtype: torch.dtype) -> None:
    state = {name: t.to(stored) if t.is_floating_point() else t for name, t in values(tied=False).items()}
    save_weights(state, tmp_path)
    model = on_meta(tied=False)
    fill(model, read_tensors(find_weights(tmp_path), will_copy=True), dtype=dtype)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name].to(tensor.dtype))
        assert tensor.dtype == (torch.int64 if name == "steps" else dtype)
    assert model.table.dtype == dtype


def test_without_dtype_the_models_own_is_kept() -> None:
    model = on_meta(tied=False)
    fill(model, [(name, t.half() if t.is_floating_point() else t.int()) for name, t in values(tied=False).items()])
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32, torch.int64}


def test_a_dtype_that_is_none() -> None:
    with pytest.raises(OptionError, match=r"dtype=torch\.int8; expected a floating-point torch dtype"):
        fill(on_meta(), [], dtype=torch.int8)
    with pytest.raises(OptionError, match="dtype='auto'"):
        fill(on_meta(), [], dtype="auto")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------- ties


@pytest.mark.parametrize("absent", ["head.weight", "embed.weight", None])
def test_tied_weights_are_filled_once(absent: str | None) -> None:
    model, state = on_meta(), values()
    report = fill(model, [(name, tensor) for name, tensor in state.items() if name != absent])
    assert model.head.weight is model.embed.weight and torch.equal(model.embed.weight, state["embed.weight"])
    assert report == LoadingReport(tied_keys=["head.weight"])


@pytest.mark.parametrize("order", [1, -1])
def test_tied_in_the_model_but_different_in_the_file(order: int) -> None:
    model, state = on_meta(), values(tied=False)
    report = fill(model, list(state.items())[::order])
    assert torch.equal(model.head.weight, state["embed.weight"])
    assert "are one tensor in this model but differ in the files; embed.weight was kept" in report.error_msgs[0]
    assert "embed.weight was kept" in (report.warning_text() or "")


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_tied_in_the_file_but_not_in_the_model(tmp_path: Path, form: str) -> None:
    """Else training one would change the other."""
    state = values()
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=form == "zip")
    model = on_meta(tied=False)
    fill(model, read_tensors(find_weights(tmp_path)))
    with torch.no_grad():
        model.head.weight.zero_()
    assert torch.equal(model.embed.weight, state["embed.weight"])


def test_ties_that_the_model_declares_or_makes() -> None:
    class Declares(Tiny):
        _tied_weights_keys = {"head.weight": "embed.weight"}  # noqa: RUF012

    class Makes(Tiny):
        def tie_weights(self) -> None:
            self.head.weight = self.embed.weight

    for kind in (Declares, Makes):
        with torch.device("meta"):
            model = kind(tied=False)
        state = values()
        state.pop("head.weight")
        report = fill(model, state.items())
        assert report == LoadingReport(tied_keys=["head.weight"])
        assert model.head.weight is model.embed.weight


# ------------------------------------------------------------------------------------------------------------ accounts


def test_names_of_old_files() -> None:
    model, state = on_meta(), values()
    renamed = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): state[name] for name in state
    }
    assert "LayerNorm.gamma" in renamed
    assert fill(model, renamed.items()).warning_text() is None
    assert torch.equal(model.LayerNorm.weight, state["LayerNorm.weight"])


def test_missing_unexpected_and_harmless() -> None:
    class Knows(Tiny):
        _harmless_unexpected = (re.compile(r"^old\."),)

    with torch.device("meta"):
        model = Knows()
    state = values()
    del state["head.bias"], state["LayerNorm.weight"]
    extra = {
        "h.0.attn.bias": torch.ones(1, dtype=torch.uint8),
        "h.0.crossattention.bias": torch.ones(1, dtype=torch.uint8),
        "h.0.attn.masked_bias": torch.tensor(-1e4),
        "embeddings.position_ids": torch.arange(3),
        "embed_positions._float_tensor": torch.ones(1),
        "encoder.pooler.dense.weight": torch.ones(1),
        "old.thing": torch.ones(1),
        "new.thing": torch.ones(1),
    }
    report = fill(model, {**extra, **state}.items())
    assert report.to_dict() == {
        "missing_keys": ["LayerNorm.weight", "head.bias"],
        "unexpected_keys": ["new.thing"],
        "mismatched_keys": [],
        "error_msgs": [],
        "tied_keys": ["head.weight"],
        "harmless_keys": list(extra)[:-1],
        "converted_keys": [],
    }
    text = report.warning_text("/some/folder")
    assert text is not None and text.startswith("Not every weight of /some/folder found its place: 2 not in the files")
    assert "LayerNorm.weight, head.bias" in text and "1 in the files but not used (new.thing)" in text
    # nn.LayerNorm's own initialisation; what was loaded beside it stayed
    assert torch.equal(model.LayerNorm.weight, torch.ones(4))
    assert torch.equal(model.LayerNorm.bias, state["LayerNorm.bias"])
    assert torch.equal(model.head.weight, state["embed.weight"]) and model.head.bias.abs().sum() > 0


def test_missing_ones_are_initialised_by_the_model() -> None:
    class Names(Tiny):
        def init_missing(self, names: list[str]) -> None:
            for name in names:
                self.get_parameter(name).fill_(7.0)

    class Modules(Tiny):
        def _init_weights(self, module: nn.Module) -> None:
            for parameter in module.parameters(recurse=False):
                parameter.data.fill_(7.0)

    for kind in (Names, Modules):
        with torch.device("meta"):
            model = kind()
        state = values()
        del state["LayerNorm.weight"]
        report = fill(model, state.items(), dtype=torch.float16)
        assert report.missing_keys == ["LayerNorm.weight"]
        assert torch.equal(model.LayerNorm.weight, torch.full((4,), 7.0, dtype=torch.float16))
        assert torch.equal(model.LayerNorm.bias, state["LayerNorm.bias"].half())


def test_missing_with_nobody_to_initialise_it() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.empty(2))

    with torch.device("meta"):
        model = Bare()
    report = fill(model, [])
    assert report.missing_keys == ["w"] and model.w.tolist() == [0.0, 0.0]
    assert "w is in no file and nothing initialises it" in report.error_msgs[0]


def test_mismatched_shapes() -> None:
    state = values()
    with pytest.raises(WeightsMismatchError) as caught:
        fill(on_meta(width=5), state.items())
    text = str(caught.value)
    assert "embed.weight: [6, 4] in the file, [6, 5] in the model" in text
    assert "LayerNorm.bias: [4] in the file, [5] in the model" in text
    assert "ignore_mismatched_sizes=True" in text and isinstance(caught.value, RuntimeError)

    model = on_meta(width=5)
    report = fill(model, state.items(), ignore_mismatched_sizes=True)
    assert ("embed.weight", (6, 4), (6, 5)) in report.mismatched_keys and not report.missing_keys
    assert torch.equal(model.head.bias, state["head.bias"]) and model.embed.weight.abs().sum() > 0
    assert "[6, 4] in the file, [6, 5] in the model" in (report.warning_text() or "")


def test_fractions_where_whole_numbers_belong() -> None:
    state = values() | {"steps": torch.tensor(0.5)}
    with pytest.raises(CheckpointCorruptError, match=r"steps is torch\.float32 in the checkpoint, but .* torch\.int64"):
        fill(on_meta(), state.items())


def test_a_buffer_that_nothing_computes() -> None:
    class Forgets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.ones(2), persistent=False)

    with torch.device("meta"):
        model = Forgets()
    with pytest.raises(UnsupportedError, match=r"Nothing computes the buffers table: .* no reset_buffers\(\)"):
        fill(model, [])


def test_tensors_are_taken_one_at_a_time() -> None:
    """At no time is more than the tensor at hand alive besides what the model holds."""
    import weakref

    seen: list[weakref.ref[Tensor]] = []

    def stream() -> Any:
        for name, tensor in values(tied=False).items():
            assert all(ref() is None for ref in seen)
            copy = tensor.clone()
            seen.append(weakref.ref(copy))
            yield name, copy
            del copy

    fill(on_meta(tied=False), stream(), dtype=torch.float16)
    assert len(seen) == 6
