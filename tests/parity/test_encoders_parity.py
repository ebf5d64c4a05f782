"""What only some encoders have, against transformers 4.57.6: fresh weights, odd sizes, old files, halves alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="parity runs where transformers 4.57.6 is installed")

from families import ENCODERS, EOS, PAD, assert_same, load, pair, pixels, reference_model  # noqa: E402

from vision2seq import VisionEncoderDecoderConfig, registry  # noqa: E402
from vision2seq.auto import AutoImageProcessor  # noqa: E402
from vision2seq.errors import ImageError  # noqa: E402

torch.set_num_threads(1)

NAMES = sorted(ENCODERS)
SWIN = [name for name in NAMES if "swin" in name]


@cache
def models(name: str) -> tuple[Any, Any]:
    return pair(name, Path(mkdtemp()))


@pytest.fixture(autouse=True)
def _no_grad() -> Any:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", NAMES)
def test_greedy(name: str) -> None:
    theirs, ours = models(name)
    images = pixels(theirs, 3)
    options = {"max_length": 16, "decoder_start_token_id": EOS, "pad_token_id": PAD, "eos_token_id": EOS}
    expected = theirs.generate(images, **options)
    assert ours.generate(images, **options).tolist() == expected.tolist()
    assert expected.shape[1] > 3


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_alone(name: str, tmp_path: Path) -> None:
    theirs, ours = models(name)
    theirs.encoder.save_pretrained(tmp_path)
    kind = registry.model_class(theirs.config.encoder.model_type, "encoder")
    alone, info = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    images = pixels(theirs)
    wanted = {"output_hidden_states": True, "output_attentions": True}
    mine, other = alone(images, **wanted), theirs.encoder(images, **wanted)
    for field in ("last_hidden_state", "hidden_states", "attentions"):
        assert_same(getattr(mine, field), getattr(other, field), what=field)
    if getattr(other, "pooler_output", None) is not None:
        assert_same(mine.pooler_output, other.pooler_output)
    assert_same(alone(images).last_hidden_state, other.last_hidden_state, what="fused")
    assert ours.encoder(images).hidden_states is None


@pytest.mark.parametrize("name", NAMES)
def test_fresh_weights(name: str) -> None:
    """Each tensor has the mean and the deviation that it has in the reference, seen over several models."""
    ours_state, theirs_state = [], []
    for seed in range(6):
        torch.manual_seed(seed)
        reference = reference_model(name)
        fresh = type(reference)(reference.config).encoder
        theirs_state.append(dict(fresh.state_dict()))
        config = VisionEncoderDecoderConfig.from_dict(reference.config.to_dict())
        model = registry.model_class(config.encoder.model_type, "encoder")._from_config(config.encoder)
        assert model.training
        ours_state.append(dict(model.state_dict()))
    for key in theirs_state[0]:
        if name.startswith("deit") and key.endswith(("_token", "position_embeddings")):
            continue  # the reference leaves them at zero; the paper, and we, draw them as ViT does
        mine, other = (torch.stack([state[key].float() for state in states]) for states in (ours_state, theirs_state))
        assert mine.shape == other.shape, key
        if float(other.std()) == 0.0 or "relative_position_index" in key:
            assert torch.equal(mine, other), key
        else:
            many = mine.numel() ** 0.5
            assert float(mine.mean()) == pytest.approx(float(other.mean()), abs=8 * float(other.std()) / many), key
            assert float(mine.std()) == pytest.approx(float(other.std()), rel=0.05 + 4 / many), key


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_training_mode(name: str, tmp_path: Path) -> None:
    theirs, ours = models(name)
    ours.save_pretrained(tmp_path)
    half = load(tmp_path, dtype="bfloat16")
    images = pixels(theirs)
    exact, rough = ours.encoder(images).last_hidden_state, half.encoder(images).last_hidden_state
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().mean() < 0.1 * exact.abs().mean()
    # Branches are left out only in training, and only if the config says so.
    encoder = load(tmp_path).encoder
    rate = {"drop_path_rate": 0.9} if "drop_path_rate" in encoder.config else {}
    dropping = load(tmp_path, encoder=rate).encoder
    assert_same(dropping(images).last_hidden_state, exact)
    assert_same(encoder.train()(images).last_hidden_state, exact)
    if rate:
        torch.manual_seed(0)
        assert (dropping.train()(images).last_hidden_state - exact).abs().max() > 0.01


# ----------------------------------------------------------------------------------------------------------------- Swin


@pytest.mark.parametrize("name", SWIN)
def test_images_of_any_size(name: str) -> None:
    _, ours = models(name)
    assert ours.config.encoder.hidden_size == ours.encoder(pixels(ours)).last_hidden_state.shape[-1] == 32
    for size in ((23, 31), (64, 18), (37, 37), (1, 9), (3, 50)):
        theirs = reference_model(name)  # anew: having seen a small map, it goes on with smaller windows
        images = pixels(theirs, size=size)
        mine = ours.encoder(images, output_hidden_states=True, output_attentions=True)
        try:
            other = theirs.encoder(images, output_hidden_states=True, output_attentions=True)
        except RuntimeError:  # its bias does not fit a window that shrank with the map
            assert min(size) < 10
            assert mine.last_hidden_state.isfinite().all()
            continue
        assert min(size) > 10 or "v2" in name
        for field in ("last_hidden_state", "hidden_states", "attentions", "pooler_output"):
            assert_same(getattr(mine, field), getattr(other, field), what=f"{field} {size}", atol=5e-5)


def test_a_map_as_small_as_a_window_is_not_shifted() -> None:
    _, ours = models("swin")
    theirs = reference_model("swin")
    for size in ((12, 12), (12, 20)):  # 6 by 6 and 6 by 10 patches, then 3 by 3 and 3 by 5, in windows of 3 by 3
        images = pixels(theirs, size=size)
        assert_same(ours.encoder(images)[0], theirs.encoder(images)[0], what=str(size))


def test_a_map_smaller_than_a_window_reads_the_middle_of_the_table() -> None:
    """As a model with windows of that size does that has the same biases for the same offsets."""
    _, ours = models("donut-swin")
    attention = ours.encoder.encoder.layers[0].blocks[0].attention.self
    bias, full = attention.bias(2), attention.bias(3)
    assert bias.shape == (1, 2, 4, 4)
    keep = torch.tensor([0, 1, 3, 4])
    assert torch.equal(bias, full[:, :, keep][:, :, :, keep])


def test_absolute_positions(tmp_path: Path) -> None:
    """The reference has them, with one row too many to be added: its weights load, the first row is not read."""
    values = ENCODERS["swin"] | {"use_absolute_embeddings": True}
    torch.manual_seed(0)
    theirs = transformers.SwinModel(transformers.SwinConfig(**values)).eval()
    theirs.embeddings.position_embeddings.normal_()
    images = torch.randn(2, 3, 24, 24)
    with pytest.raises(RuntimeError, match="must match the size"):
        theirs(images)
    theirs.save_pretrained(tmp_path)
    ours = registry.model_class("swin", "encoder").from_pretrained(tmp_path)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    positions = theirs.embeddings.position_embeddings
    theirs.embeddings.position_embeddings = torch.nn.Parameter(positions[:, 1:])
    expected = theirs(images).last_hidden_state
    assert_same(ours(images).last_hidden_state, expected)
    assert_same(ours(images, interpolate_pos_encoding=True).last_hidden_state, expected)
    with pytest.raises(ImageError, match="are 30×40 .* pass interpolate_pos_encoding=True"):
        ours(torch.randn(1, 3, 30, 40))
    small = ours(torch.randn(1, 3, 31, 40), interpolate_pos_encoding=True)
    assert small.last_hidden_state.shape == (1, 8 * 10, 32)


@pytest.mark.parametrize("name", ["swin", "donut-swin"])
def test_files_without_the_index_of_positions(name: str, tmp_path: Path) -> None:
    """It follows from the config; files of some writers lack it."""
    theirs, ours = models(name)
    state = {key: value for key, value in theirs.state_dict().items() if "relative_position_index" not in key}
    theirs.config.save_pretrained(tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    again = load(tmp_path)  # a warning would be an error
    mine, other = again.state_dict(), theirs.state_dict()
    assert all(torch.equal(mine[key], other[key]) for key in other if "relative_position_index" in key)
    assert_same(again.encoder(pixels(ours))[0], ours.encoder(pixels(ours))[0])


@pytest.mark.parametrize(("name", "processor"), [("swin", "ViTImageProcessor"), ("donut-swin", "DonutImageProcessor")])
def test_the_encoder_tells_the_image_processor(name: str, processor: str, tmp_path: Path) -> None:
    _, ours = models(name)
    ours.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=f"a {processor} for 24x24 pixels"):
        assert type(AutoImageProcessor.from_pretrained(tmp_path)).__name__ == processor


# ----------------------------------------------------------------------------------------------------------------- BEiT


@pytest.mark.parametrize("name", ["beit", "beit-shared", "beit-both"])
def test_old_files_hold_the_index_of_positions(name: str, tmp_path: Path) -> None:
    theirs, ours = models(name)
    state = dict(theirs.state_dict())
    for place in ("encoder.encoder", "encoder.encoder.layer.0.attention.attention"):
        state[f"{place}.relative_position_bias.relative_position_index"] = torch.zeros(10, 10, dtype=torch.long)
    theirs.config.save_pretrained(tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert_same(load(tmp_path).encoder(pixels(ours))[0], ours.encoder(pixels(ours))[0])


# --------------------------------------------------------------------------------------------------- BEiT and DINOv2


@pytest.mark.parametrize(
    ("model_type", "front"), [("beit", 1), ("dinov2", 1), ("dinov2_with_registers", 5)], ids=lambda value: str(value)
)
def test_positions_of_a_grid_that_is_no_square(model_type: str, front: int) -> None:
    """The reference cannot run such a model."""
    values = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": [16, 40]}
    config = registry.config_class(model_type)(**values, patch_size=8, use_absolute_position_embeddings=True)
    ours = registry.model_class(model_type, "encoder")._from_config(config).eval()
    assert ours(torch.randn(2, 3, 16, 40)).last_hidden_state.shape == (2, 10 + front, 16)
    assert ours(torch.randn(2, 3, 33, 40)).last_hidden_state.shape == (2, 20 + front, 16)
    with pytest.raises(ImageError, match=r"are 7×40 \(height×width\), smaller than one patch of 8×8"):
        ours(torch.randn(2, 3, 7, 40))
    with pytest.raises(ImageError, match=r"this model expects \[images, 3, 16, 40\]"):
        ours(torch.randn(2, 1, 16, 40))


# ------------------------------------------------------------------------------------------------------ CLIP and SigLIP


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_names_as_transformers_5_writes_them(name: str, tmp_path: Path) -> None:
    theirs, ours = models(name)
    for folder, part in ((tmp_path / "joint", theirs), (tmp_path / "half", theirs.encoder)):
        part.config.save_pretrained(folder)
        state = {key.replace("vision_model.", ""): value for key, value in part.state_dict().items()}
        torch.save(state, folder / "pytorch_model.bin")
    images = pixels(ours)
    expected = ours.encoder(images).last_hidden_state
    assert_same(load(tmp_path / "joint").encoder(images).last_hidden_state, expected)
    half, info = registry.model_class(f"{name}_vision_model", "encoder").from_pretrained(
        tmp_path / "half", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert_same(half(images).last_hidden_state, expected)
