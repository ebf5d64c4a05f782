"""What printed-line's training adds to the plain loss: who stands where, and heads that start by looking around."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from start import ENCODER, look_around
from train import (
    COLUMN,
    COLUMNS,
    HEIGHT,
    ID_OF,
    PAD,
    PLACES,
    Trainee,
    collate,
    config,
    see_colours_as_gray,
    standing_at,
    tensors,
)
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel
from vision2seq.training import TrainingSettings
from vision2seq.training.optimise import optimizers_for

torch.set_num_threads(1)


def line(text: str, width: int) -> tuple[np.ndarray, str, np.ndarray]:
    shares = (np.arange(len(text), dtype=np.float32) + 0.5) / max(1, len(text))
    return np.full((HEIGHT, width), 255, np.uint8), text, shares


def test_each_place_belongs_to_the_character_that_covers_it() -> None:
    # Middles at 2, 4 and 8: the borders between them are at 3 and 6, and the line goes from 1 to 10.
    found = standing_at(np.array([2.0, 4.0, 8.0]), [7, 8, 9], 12)
    assert found.tolist() == [PAD, 7, 7, 8, 8, 8, 9, 9, 9, 9, PAD, PAD]
    assert standing_at(np.array([2.25]), [5], 5).tolist() == [PAD, 5, 5, PAD, PAD]


@pytest.mark.parametrize("full", [True, False])
def test_a_batch_says_where_characters_stand(full: bool) -> None:
    batch = collate([line("abcd", 16 * COLUMN), line("", 5 * COLUMN)], random.Random(1), full=full)
    count = batch["canvas"].shape[2] // COLUMN
    assert (count == COLUMNS) == full
    standing = batch["standing"]
    assert standing.shape == (2, count * PLACES)
    assert (standing[1] == PAD).all()
    named = standing[0][standing[0] != PAD]
    assert named.tolist() == [ID_OF[sign] for sign in "abcd" for _ in range(4 * PLACES)]
    # They are where the ink is.
    inked = np.flatnonzero(batch["canvas"][0].any(0)) * PLACES // COLUMN
    assert np.flatnonzero(standing[0] != PAD).tolist() == sorted(set(inked.tolist()))


def test_heads_start_at_their_distance() -> None:
    torch.manual_seed(0)
    model = VisionEncoderDecoderModel._from_config(config())
    look_around(model)
    model.eval()
    pixels = torch.rand(1, 3, HEIGHT, COLUMNS * COLUMN) * 2 - 1
    with torch.no_grad():
        weights = model.encoder(pixels, output_attentions=True).attentions[0][0]  # heads, tokens, tokens
    middle = torch.arange(20, 100)
    for head, steps in enumerate(ENCODER[0]):
        looked_at = weights[head, 1:, 1:].argmax(-1)[middle]
        assert (looked_at == middle + steps).float().mean() > 0.95, f"head {head}"


def test_losses_fall_on_one_batch() -> None:
    torch.manual_seed(0)
    trainee = Trainee()
    batch = tensors(collate([line("to be", 10 * COLUMN), line("or not", 12 * COLUMN)], random.Random(1), full=False))
    settings = TrainingSettings(steps=8, optimizer="muon", rate=1e-3, muon_rate=2.7e-3)
    both = optimizers_for(trainee, settings)
    assert len(both) == 2
    totals = []
    for _ in range(8):
        for optimizer in both:
            optimizer.zero_grad()
        losses = trainee(batch, guide=0.3)
        losses["loss"].backward()
        for optimizer in both:
            optimizer.step()
        totals.append({name: loss.item() for name, loss in losses.items()})
    for name in ("loss", "text", "standing"):
        assert totals[-1][name] < 0.9 * totals[0][name]
    assert totals[0]["lines"] == 2
    assert all(p.grad is not None for p in trainee.standing.parameters())
    # All matrices between hidden states are Muon's, those at the ends are not.
    names = {id(p): name for name, p in trainee.named_parameters()}
    muons = {names[id(p)] for group in both[1].param_groups for p in group["params"]}
    assert len(muons) == 6 * 6 + 2 * 10
    assert not any("embed" in name or "standing" in name or "output_projection" in name for name in muons)


def test_a_colour_counts_as_its_gray() -> None:
    torch.manual_seed(0)
    model = VisionEncoderDecoderModel._from_config(config()).eval()
    colour = torch.rand(1, 3, HEIGHT, COLUMNS * COLUMN) * 2 - 1
    gray = (colour * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    with torch.no_grad():
        before = model.encoder(gray).last_hidden_state
        see_colours_as_gray(model)
        torch.testing.assert_close(model.encoder(gray).last_hidden_state, before, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.encoder(colour).last_hidden_state, before, atol=1e-4, rtol=1e-4)
