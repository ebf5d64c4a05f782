"""Every variant of every family against transformers 4.57.6: same names, same numbers, same gradients."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from torch.nn import functional as F

transformers = pytest.importorskip("transformers", reason="parity runs where transformers 4.57.6 is installed")

from families import EOS, NAMES, PAD, VOCABULARY, assert_same, essential, ids, pair, pixels  # noqa: E402

from vision2seq.errors import UnknownOptionError  # noqa: E402

torch.set_num_threads(1)

FIELDS = (
    "logits",
    "encoder_last_hidden_state",
    "decoder_hidden_states",
    "encoder_hidden_states",
    "decoder_attentions",
    "encoder_attentions",
    "cross_attentions",
)
TROCR = [name for name in NAMES if "gpt2" not in name]
SINUSOIDAL = ["trocr-stage1", "trocr-sinusoidal-tied", "trocr-odd"]
# Positions are counted over tokens that are not padding.
COUNTED = [*SINUSOIDAL, *(name for name in NAMES if "roberta" in name or "camembert" in name)]
# Where the reference can read images of other sizes: it takes the square root of the number of learned positions.
SQUARE = [name for name in NAMES if "wide" not in name or "swin" in name]


@cache
def models(name: str) -> tuple[Any, Any]:
    return pair(name, Path(mkdtemp()))


@pytest.fixture(autouse=True)
def _no_grad(request: pytest.FixtureRequest) -> Any:
    with torch.set_grad_enabled("gradient" in request.node.name):
        yield


def both(name: str, **inputs: Any) -> tuple[Any, Any]:
    theirs, ours = models(name)
    return ours(**inputs), theirs(**inputs)


def assert_same_fields(ours: Any, theirs: Any, fields: tuple[str, ...] = FIELDS) -> None:
    for field in fields:
        assert_same(getattr(ours, field), getattr(theirs, field), what=field)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes(name: str) -> None:
    theirs, ours = models(name)
    mine = {key: value.shape for key, value in ours.state_dict().items() if key in essential(ours.state_dict())}
    other = {key: value.shape for key, value in theirs.state_dict().items() if key in essential(theirs.state_dict())}
    assert mine == other
    assert list(mine) == list(other)
    assert {key for key in theirs.state_dict() if "_float_tensor" not in key} <= set(ours.state_dict())
    assert (ours.enc_to_dec_proj is not None) == hasattr(theirs, "enc_to_dec_proj")
    assert not ours.training


@pytest.mark.parametrize("name", NAMES)
def test_forward(name: str) -> None:
    theirs, ours = models(name)
    inputs = {"pixel_values": pixels(theirs), "decoder_input_ids": ids()}
    flags = {"output_attentions": True, "output_hidden_states": True, "use_cache": False}
    mine, other = ours(**inputs, **flags), theirs(**inputs, **flags)
    assert_same_fields(mine, other)
    assert other.logits.std() > 0.1, "a reference whose numbers do not vary shows nothing"
    assert mine.past_key_values is None
    assert mine.loss is None
    # The fused kernel, without weights asked for, gives the same.
    assert_same(ours(**inputs).logits, other.logits, what="fused")
    # Batch rows do not know each other.
    alone = ours(inputs["pixel_values"][1:], inputs["decoder_input_ids"][1:])
    assert_same(alone.logits, other.logits[1:], what="alone")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", NAMES)
def test_padding(name: str, side: str) -> None:
    theirs, ours = models(name)
    tokens, mask = ids(), torch.ones(2, 7, dtype=torch.long)
    padding = slice(0, 3) if side == "left" else slice(4, 7)
    tokens[0, padding], mask[0, padding] = theirs.config.decoder.pad_token_id or PAD, 0
    flags = {"output_attentions": True, "output_hidden_states": True}
    inputs = {"pixel_values": pixels(theirs), "decoder_input_ids": tokens, "decoder_attention_mask": mask}
    mine, other = ours(**inputs, **flags), theirs(**inputs, **flags)
    real = mask.bool()  # what padding itself says counts for nothing, and GPT-2's two masks add up oddly there
    assert_same(mine.logits[real], other.logits[real])
    for depth, states in enumerate(other.decoder_hidden_states):
        assert_same(mine.decoder_hidden_states[depth][real], states[real])
        if depth < len(other.decoder_attentions):
            for field in ("decoder_attentions", "cross_attentions"):
                weights = [output[field][depth].transpose(1, 2)[real] for output in (mine, other)]
                assert_same(*weights, what=field)
    assert_same(ours(**inputs).logits[real], other.logits[real], what="fused")
    # What stands at hidden places must not matter (counted positions count real tokens, so there it is padding).
    if name not in COUNTED:
        changed = tokens.clone()
        changed[0, padding] = 7
        assert_same(ours(**inputs | {"decoder_input_ids": changed}).logits[real], other.logits[real])


@pytest.mark.parametrize("name", COUNTED)
def test_padding_inside_a_text_moves_counted_positions(name: str) -> None:
    theirs, _ = models(name)
    tokens = ids()
    tokens[0, 2] = tokens[1, 4] = theirs.config.decoder.pad_token_id
    mine, other = both(name, pixel_values=pixels(theirs), decoder_input_ids=tokens)
    assert_same(mine.logits, other.logits)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SINUSOIDAL])
def test_embeddings_instead_of_ids(name: str) -> None:
    theirs, ours = models(name)
    embeds = ours.get_input_embeddings()(ids())
    mine, other = both(name, pixel_values=pixels(theirs), decoder_inputs_embeds=embeds)
    assert_same(mine.logits, other.logits)
    assert_same(mine.logits, ours(pixels(theirs), ids()).logits)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_step_by_step(name: str, padded: bool) -> None:
    theirs, ours = models(name)
    tokens, mask = ids(length=9), torch.ones(2, 9, dtype=torch.long)
    if padded:
        tokens[1, :2], mask[1, :2] = theirs.config.decoder.pad_token_id or PAD, 0
    # Without a mask the reference's ELECTRA forgets what it has cached when it is given several tokens at once.
    arguments = {"decoder_attention_mask": mask} if padded or "electra" in name else {}
    whole = ours(pixels(theirs), tokens, use_cache=False, **arguments).logits
    start = ours(pixels(theirs), tokens[:, :4], use_cache=True, **{k: v[:, :4] for k, v in arguments.items()})
    start_theirs = theirs(pixels(theirs), tokens[:, :4], use_cache=True, **{k: v[:, :4] for k, v in arguments.items()})
    real = mask.bool()
    if name not in COUNTED or not padded:  # with padding the reference's positions differ from step to step too
        assert_same(start.logits[real[:, :4]], whole[:, :4][real[:, :4]])
    state, state_theirs, at = start.past_key_values, start_theirs.past_key_values, 4
    for width in (1, 3, 1):  # one token a step, and several at once
        end = at + width
        some = {key: value[:, :end] for key, value in arguments.items()}
        step = ours(encoder_outputs=(start.encoder_last_hidden_state,), decoder_input_ids=tokens[:, at:end],
                    past_key_values=state, use_cache=True, output_attentions=True, **some)  # fmt: skip
        other = theirs(encoder_outputs=(start_theirs.encoder_last_hidden_state,), decoder_input_ids=tokens[:, at:end],
                       past_key_values=state_theirs, use_cache=True, output_attentions=True, **some)  # fmt: skip
        state, state_theirs = step.past_key_values, other.past_key_values
        assert state.get_seq_length() == end
        if "relative" not in name:  # with a cache the reference takes each of several tokens for the last one
            assert_same(step.logits, other.logits, what=f"step to {end}")
            assert_same(step.decoder_attentions, other.decoder_attentions)
            assert_same(step.cross_attentions, other.cross_attentions)
        if not (padded and name in COUNTED):
            assert_same(step.logits, whole[:, at:end], what="whole")
        at = end


@pytest.mark.parametrize("name", NAMES)
def test_interpolated_positions(name: str) -> None:
    theirs, ours = models(name)
    own = pixels(theirs)
    plain = ours(own, ids())
    assert_same(ours(own, ids(), interpolate_pos_encoding=True).logits, plain.logits, what="own size")
    for size in ((40, 16), (16, 56), (24, 24), (32, 32), (27, 45)):
        inputs = {"pixel_values": pixels(theirs, size=size), "decoder_input_ids": ids()}
        mine = ours(**inputs, interpolate_pos_encoding=True, output_hidden_states=True)
        if name in SQUARE:
            other = theirs(**inputs, interpolate_pos_encoding=True)
            assert_same(mine.logits, other.logits, what=str(size), atol=5e-5)
            assert_same(mine.encoder_last_hidden_state, other.encoder_last_hidden_state, what=str(size), atol=5e-5)
        else:
            grid = ours.encoder.embeddings.patch_embeddings.patch_size
            expected = (size[0] // grid[0]) * (size[1] // grid[1]) + ours.encoder.extra_tokens
            assert mine.encoder_last_hidden_state.shape == (2, expected, 32)
            assert mine.logits.isfinite().all()


@pytest.mark.parametrize("name", ["vit-wide", "deit-wide"])
def test_interpolation_stretches_the_right_axes(name: str) -> None:
    """Positions that grow along the width only still do after stretching, and stay the same along the height."""
    _, ours = models(name)
    embeddings = ours.encoder.embeddings
    rows, columns = embeddings.patch_embeddings.grid
    before = embeddings.position_embeddings.detach().clone()
    ramp = torch.arange(columns).float().repeat(rows)[:, None].expand(-1, before.shape[-1])
    embeddings.position_embeddings[0, ours.encoder.extra_tokens :] = ramp
    patch = embeddings.patch_embeddings.patch_size
    found = embeddings._positions_for(patch[0] * (rows + 3), patch[1] * 2 * columns)[0, ours.encoder.extra_tokens :, 0]
    embeddings.position_embeddings.copy_(before)
    grid = found.view(rows + 3, 2 * columns)
    assert_same(grid, grid[:1].expand_as(grid).clone())
    assert (grid[0].diff() >= 0).all()
    assert grid[0].mean() == pytest.approx((columns - 1) / 2, abs=1e-4)


def test_arguments_reach_their_half() -> None:
    theirs, ours = models("vit")
    memory_mask = {"decoder_encoder_attention_mask": torch.ones(2, 10, dtype=torch.long)}
    memory_mask["decoder_encoder_attention_mask"][0, 4:] = 0
    inputs = {"pixel_values": pixels(theirs), "decoder_input_ids": ids()}
    mine = ours(**inputs, **memory_mask)
    other = theirs.decoder(
        input_ids=ids(),
        encoder_hidden_states=theirs.encoder(pixels(theirs)).last_hidden_state,
        encoder_attention_mask=memory_mask["decoder_encoder_attention_mask"],
    )
    assert_same(mine.logits, other.logits)
    assert (mine.logits - ours(**inputs).logits).abs().max() > 1e-3
    for flag in (False, True):
        assert_same(ours(**inputs, decoder_last_only=flag).logits[:, -1], theirs(**inputs).logits[:, -1])
    with pytest.raises(
        UnknownOptionError, match=r"'interpolate_pos_encodings'.*Did you mean 'interpolate_pos_encoding'"
    ):
        ours(**inputs, interpolate_pos_encodings=True)
    with pytest.raises(UnknownOptionError, match=r"'decoder_positions': TrOCRForCausalLM does not take 'positions'"):
        ours(**inputs, decoder_positions=1)


@pytest.mark.parametrize("name", ["vit", "gpt2-projected"])
def test_encoder_outputs_of_any_form(name: str) -> None:
    theirs, ours = models(name)
    expected = theirs(pixels(theirs), ids()).logits
    encoded = ours.encoder(pixels(theirs), output_hidden_states=True, output_attentions=True)
    memory = encoded.last_hidden_state
    for form in (encoded, (memory,), [memory], encoded.to_tuple(), (memory, encoded.hidden_states, encoded.attentions)):
        mine = ours(encoder_outputs=form, decoder_input_ids=ids())
        assert_same(mine.logits, expected)
        assert_same(mine.encoder_last_hidden_state, memory)
        if len(form) > 2:
            assert_same(mine.encoder_hidden_states, encoded.hidden_states)
            assert_same(mine.encoder_attentions, encoded.attentions)


@pytest.mark.parametrize("name", ["trocr-small", "gpt2"])
def test_output_object(name: str) -> None:
    theirs, ours = models(name)
    inputs = {"pixel_values": pixels(theirs), "decoder_input_ids": ids()}
    for flags in ({}, {"output_attentions": True}, {"output_hidden_states": True, "use_cache": False}):
        mine, other = both(name, **inputs, **flags)
        assert list(mine) == list(other)
        assert list(mine.keys()) == list(other.keys())
        assert len(mine) == len(other)
        assert type(mine.values()[0]) is torch.Tensor
        assert ("cross_attentions" in mine) == ("cross_attentions" in other)
        assert_same(mine[0], other[0])
        assert_same(mine["logits"], other["logits"])
        assert len(mine.to_tuple()) == len(other.to_tuple())
        assert len(mine[1:]) == len(other[1:])
        assert dict(mine.items()).keys() == dict(other.items()).keys()
        assert {**mine}.keys() == {**other}.keys()
        assert mine.get("loss", "none") == "none"
        with pytest.raises(KeyError):
            mine["loss"]
    assert not isinstance(ours(**inputs, return_dict=False), Mapping)
    assert_same(ours(**inputs, return_dict=False)[0], theirs(**inputs, return_dict=False)[0])
    # All fields of the reference's output object, in its order.
    from dataclasses import fields

    from vision2seq.layers.outputs import Seq2SeqOutput

    expected = [field.name for field in fields(transformers.modeling_outputs.Seq2SeqLMOutput)]
    assert [field.name for field in fields(Seq2SeqOutput)] == expected


def labelled() -> torch.Tensor:
    labels = ids(length=8, seed=9)
    labels[0, 5:] = -100
    labels[1, 7:] = -100
    return labels


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_plain_cross_entropy(name: str) -> None:
    theirs, ours = models(name)
    labels = labelled()
    shifted = torch.full_like(labels, EOS)
    shifted[:, 1:] = labels[:, :-1]
    shifted[shifted == -100] = PAD
    logits = theirs(pixels(theirs), shifted).logits
    mine = ours(pixels(theirs), labels=labels)
    assert_same(mine.logits, logits, what="shifted inputs")
    flat, target = logits.flatten(0, 1), labels.flatten()
    assert_same(mine.loss, F.cross_entropy(flat, target))
    assert_same(mine[0], mine.loss)
    smooth = ours(pixels(theirs), labels=labels, label_smoothing=0.1).loss
    assert_same(smooth, F.cross_entropy(flat, target, label_smoothing=0.1))
    for items in (31, torch.tensor(31)):
        whole = ours(pixels(theirs), labels=labels, num_items_in_batch=items).loss
        assert_same(whole, F.cross_entropy(flat, target, reduction="sum") / 31)
    # Given inputs are used as they are.
    given = ours(pixels(theirs), decoder_input_ids=ids(length=8), labels=labels).loss
    expected = theirs(pixels(theirs), ids(length=8)).logits.flatten(0, 1)
    assert_same(given, F.cross_entropy(expected, target))


def gradients(model: Any, loss: Any) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: str) -> None:
    theirs, ours = models(name)
    labels = labelled()
    shifted = torch.full_like(labels, EOS)
    shifted[:, 1:] = labels[:, :-1]
    shifted[shifted == -100] = PAD
    logits = theirs(pixels(theirs), shifted).logits
    expected = gradients(theirs, F.cross_entropy(logits.flatten(0, 1), labels.flatten()))
    ours.train()
    try:
        plain = gradients(ours, ours(pixels(theirs), labels=labels).loss)
        ours.gradient_checkpointing_enable()
        assert ours.is_gradient_checkpointing
        again = gradients(ours, ours(pixels(theirs), labels=labels, use_cache=True).loss)
        ours.gradient_checkpointing_disable()
        assert not ours.is_gradient_checkpointing
        cached = gradients(ours, ours(pixels(theirs), labels=labels, use_cache=True).loss)
    finally:
        ours.eval()
    assert plain.keys() == expected.keys() == again.keys() == cached.keys()
    for key, value in expected.items():
        assert_same(plain[key], value, what=key)
        assert_same(again[key], value, what=f"checkpointed {key}")
        assert_same(cached[key], value, what=f"with a cache {key}")


@pytest.mark.parametrize("name", ["trocr-small", "trocr-stage1", "gpt2-projected"])
def test_gradient_steps_lower_the_loss(name: str, tmp_path: Path) -> None:
    theirs, ours = pair(name, tmp_path)
    before = {key: value.clone() for key, value in theirs.state_dict().items()}
    ours.train()
    assert ours.training
    assert ours.encoder.training
    optimizer = torch.optim.AdamW(ours.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = ours(pixels(theirs), labels=labelled()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert losses[0] > 1
    # Writing to parameters never writes to the file that they were mapped from.
    fresh = transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path)
    for key, value in fresh.state_dict().items():
        if not key.endswith("_float_tensor"):
            assert torch.equal(value, before[key]), key


def test_config_switches_of_the_halves_and_the_top(tmp_path: Path) -> None:
    from families import load

    theirs, _ = pair("vit", tmp_path)
    inputs = (pixels(theirs), ids())
    everything = load(tmp_path, output_attentions=True, output_hidden_states=True)
    assert everything.config.output_attentions is True
    output = everything(*inputs)
    assert_same_fields(output, theirs(*inputs, output_attentions=True, output_hidden_states=True))
    off = everything(*inputs, output_attentions=False, output_hidden_states=False)
    assert off.decoder_attentions is off.encoder_hidden_states is off.cross_attentions is None
    halves = load(tmp_path, encoder={"output_hidden_states": True}, decoder={"output_attentions": True})
    output = halves(*inputs)
    assert output.encoder_hidden_states is not None
    assert output.decoder_hidden_states is None
    assert output.decoder_attentions is not None
    assert output.encoder_attentions is None
    off = halves(*inputs, output_attentions=False, output_hidden_states=False)
    assert off.encoder_hidden_states is off.decoder_attentions is None
    assert load(tmp_path, use_cache=False)(*inputs).logits.shape == (2, 7, VOCABULARY)
