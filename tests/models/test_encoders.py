"""Encoders without their peer: other frameworks' files of them, and what only the modules know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vision2seq import registry
from vision2seq.layers.drop_path import drop_path, rates

Golden = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("framework", "kind", "form", "option"),
    [
        ("tensorflow", "swin", "h5", "from_tf"),
        ("tensorflow", "swin", "objects", "from_tf"),
        ("flax", "beit", "msgpack", "from_flax"),
    ],
)
def test_files_of_other_frameworks(golden: Golden, framework: str, kind: str, form: str, option: str) -> None:
    folder = golden(framework, f"half-{kind}")
    model, info = registry.model_class(kind, "encoder").from_pretrained(
        folder / form, config=folder / "config.json", output_loading_info=True, **{option: True}
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    expected, state = load_file(folder / "expected.safetensors"), model.state_dict()
    assert len(expected) == len(state)
    for name, tensor in expected.items():
        assert torch.equal(state[name.removeprefix(f"{kind}.")], tensor), name


def test_branches_are_left_out_for_whole_images() -> None:
    branch = torch.ones(4000, 3, 2)
    assert drop_path(branch, 0.4, training=False) is branch
    assert drop_path(branch, 0.0, training=True) is branch
    torch.manual_seed(0)
    kept = drop_path(branch, 0.4, training=True)
    assert sorted(set(kept.flatten().tolist())) == pytest.approx([0.0, 1 / 0.6])
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.05)
    assert rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert rates(0.3, 1) == [0.0]
