"""What we save transformers 5 loads, and what it saves we load: the same tensors, config keys and logits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

transformers = pytest.importorskip("transformers", minversion="5", reason="runs where transformers 5 is installed")

from families import NAMES, assert_same, ids, load, pixels, reference_model  # noqa: E402

from vision2seq import AutoConfig, VisionEncoderDecoderModel  # noqa: E402

torch.set_num_threads(1)


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder's files under the names that they have there."""
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested dicts with the path to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{key}")
    else:
        yield path, value


def same_logits(ours: VisionEncoderDecoderModel, theirs: Any) -> None:
    images, tokens = pixels(ours), ids()
    with torch.no_grad():
        mine = ours(images, decoder_input_ids=tokens).logits
        other = theirs(pixel_values=images, decoder_input_ids=tokens).logits
    assert_same(mine, other, atol=1e-4, what="logits")


def their_load(folder: Path) -> Any:
    model, info = transformers.VisionEncoderDecoderModel.from_pretrained(folder, output_loading_info=True)
    assert not info["mismatched_keys"]
    # Whether there is a pooler, which nobody reads, the configs do not say; 5.x makes one.
    assert all("pooler" in name for name in [*info["missing_keys"], *info["unexpected_keys"]]), info
    positions = getattr(getattr(model.decoder, "model", None), "decoder", None)
    table = getattr(getattr(positions, "embed_positions", None), "weights", None)
    if table is not None and table.is_meta:
        # 5.23 leaves its table of sinusoidal positions without numbers after loading, and then cannot run.
        own = positions.embed_positions
        own.weights = own.get_embedding(*table.shape, own.padding_idx)
    return model.eval()


# 5.x has two biases there, which we write once, as 4.57.6 does: it then misses the one that it reads.
ONE_BIAS = ("bert-untied", "roberta-untied")
# 5.x no longer has positions that depend on the distance of two tokens: it reads such a config, and leaves them out.
SHARED = [name for name in NAMES if "relative" not in name]


@pytest.mark.parametrize("name", [name for name in SHARED if name not in ONE_BIAS])
@pytest.mark.parametrize("shard", [None, "20KB"], ids=["single", "sharded"])
def test_what_we_save_it_loads(tmp_path: Path, name: str, shard: str | None) -> None:
    reference_model(name).save_pretrained(tmp_path / "first")
    ours = load(tmp_path / "first")
    ours.save_pretrained(tmp_path / "ours", **({"max_shard_size": shard} if shard else {}))
    assert (len(list((tmp_path / "ours").glob("*.safetensors"))) > 1) == (shard is not None)
    theirs = their_load(tmp_path / "ours")
    same_logits(ours, theirs)
    theirs.save_pretrained(tmp_path / "again")
    before, after = stored(tmp_path / "ours"), stored(tmp_path / "again")
    # 5.x leaves out an index that follows from the config.
    optional = ("pooler", "relative_position_index")
    assert {name for name in before.keys() ^ after.keys() if not any(part in name for part in optional)} == set()
    assert all(torch.equal(before[name], after[name]) for name in before.keys() & after.keys())


@pytest.mark.parametrize("name", SHARED)
def test_what_it_saves_we_load(tmp_path: Path, name: str) -> None:
    theirs = reference_model(name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    same_logits(ours, theirs)
    saved = stored(tmp_path / "theirs")
    mine = ours.state_dict()
    if name.startswith(("clip", "siglip")):  # 5.x leaves out a level
        saved = {
            key.replace("encoder.", "encoder.vision_model.", key.startswith("encoder.")): saved[key] for key in saved
        }
    assert set(saved) <= set(mine)
    assert all(torch.equal(tensor, mine[name]) for name, tensor in saved.items())


@pytest.mark.parametrize("name", NAMES)
def test_config_keys_survive(tmp_path: Path, name: str) -> None:
    """Both ways: what either writes into config.json the other gives back, but for its own version's mark."""
    reference_model(name, notes={"by": "somebody"}).config.save_pretrained(tmp_path / "theirs")
    transformers.AutoConfig.from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "plain")
    AutoConfig.from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "ours")
    transformers.AutoConfig.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "again")
    expected = dict(leaves(read(tmp_path / "plain")))
    assert dict(leaves(read(tmp_path / "again"))) == expected
    written, kept = dict(leaves(read(tmp_path / "theirs"))), dict(leaves(read(tmp_path / "ours")))
    assert {key: kept.get(key) for key in written} == written


def read(folder: Path) -> Any:
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    return config
