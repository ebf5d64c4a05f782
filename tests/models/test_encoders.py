"""Encoders without their peer: other frameworks' files of them, and what only the modules know."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import Tensor

from vision2seq import registry
from vision2seq.layers.drop_path import drop_path, rates
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

torch.set_num_threads(1)

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


@pytest.mark.parametrize(("framework", "kind", "form"), [("tensorflow", "swin", "h5"), ("flax", "beit", "msgpack")])
def test_halves_of_other_frameworks(golden: Golden, tmp_path: Path, framework: str, kind: str, form: str) -> None:
    """An encoder of TensorFlow or Flax and a decoder of PyTorch make one model."""
    folder = golden(framework, f"half-{kind}")
    tiny.model("bert").decoder.save_pretrained(tmp_path)
    option = {"encoder_from_tf": True} if framework == "tensorflow" else {"encoder_from_flax": True}
    config = registry.config_class(kind).from_pretrained(folder)
    joined = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
        folder / form, tmp_path, encoder_config=config, **option
    )
    expected, state = load_file(folder / "expected.safetensors"), joined.encoder.state_dict()
    for name, tensor in expected.items():
        assert torch.equal(state[name.removeprefix(f"{kind}.")], tensor), name
    assert torch.equal(joined.get_input_embeddings().weight, tiny.model("bert").get_input_embeddings().weight)


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


# One of each family, whatever it calls its sizes.
FLAT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "mlp_ratio": 2,
    "image_size": 24,
    "patch_size": 8,
}
STAGED: dict[str, Any] = {
    "embed_dim": 8,
    "depths": [2, 1],
    "num_heads": [1, 2],
    "window_size": 2,
    "image_size": 24,
    "patch_size": [4, 2],
}


@pytest.mark.parametrize("kind", sorted(registry.ENCODERS))
@pytest.mark.parametrize("size", [(24, 24), (24, 40), (30, 21)])
def test_a_token_stands_for_the_patch_that_the_grid_says(kind: str, size: tuple[int, int]) -> None:
    family = registry.config_class(kind, "encoder")
    config = family(**(STAGED if "depths" in family.family_keys() else FLAT))
    encoder = registry.model_class(kind, "encoder")._from_config(config).eval()
    torch.manual_seed(0)
    encoder.init_weights()
    with torch.no_grad():
        # What goes around the layers outweighs what they add: it is the patch that a token began as.
        for name, parameter in encoder.named_parameters():
            if not re.search("patch_embedding|norm|reduction", name):
                parameter.mul_(0.01)
    pixels = torch.randn(1, 3, *size)
    rows, columns, high, wide, skipped = encoder.patch_grid(*size)

    def encoded(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return encoder(pixels, interpolate_pos_encoding=True).last_hidden_state[0]

    before = encoded(pixels)
    assert before.shape[0] == skipped + rows * columns
    for row in range(rows):
        for column in range(columns):
            changed = pixels.clone()
            changed[:, :, row * high : (row + 1) * high, column * wide : (column + 1) * wide] *= -1
            moved = (encoded(changed) - before).norm(dim=1)
            assert int(moved.argmax()) == skipped + row * columns + column
