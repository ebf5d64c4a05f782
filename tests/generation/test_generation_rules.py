"""Each rule on scores small enough to check by hand, and the order in which rules are applied."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.generation.tiny_decoder import EOS, PAD, START, TinyDecoder, TinySession, slow_greedy

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import OptionError
from vision2seq.generation import generate
from vision2seq.generation.rules import build_rules

torch.set_num_threads(1)

NEVER = -math.inf
V = 6


def rules(eos: list[int] | None = None, prompt_length: int = 1, longest: int = 20, **options: Any) -> list[Any]:
    own = options.pop("own", ())
    prefix = options.pop("prefix_allowed_tokens_fn", None)
    images = options.pop("images", lambda: [0, 1])
    config, unused = GenerationConfig().with_call(**options)
    assert not unused
    shortest = prompt_length + config.min_new_tokens if config.min_new_tokens else config.min_length or 0
    return build_rules(
        config,
        eos=[EOS] if eos is None else eos,
        prompt_length=prompt_length,
        shortest=shortest,
        longest=longest,
        vocabulary=V,
        device=torch.device("cpu"),
        prefix_allowed_tokens_fn=prefix,
        images=images,
        own=own,
    )


def after(ids: list[list[int]], scores: list[list[float]], **options: Any) -> list[list[float]]:
    given = torch.tensor(scores)
    result = given.clone()
    for rule in rules(**options):
        result = rule(torch.tensor(ids), result)
    assert torch.equal(given, torch.tensor(scores))  # a rule never writes into what it is given
    return [[round(number, 4) for number in row] for row in result.tolist()]


FLAT = [[0.0] * V]
STAIRS = [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]


def test_no_options_no_rules() -> None:
    assert rules() == []
    assert rules(num_beams=3) == []
    assert len(rules(do_sample=True)) == 1  # top_k=50 is the default of the reference


@pytest.mark.parametrize("option", ["min_length", "min_new_tokens"])
def test_the_end_is_forbidden_until_the_least_length(option: str) -> None:
    number = 3 if option == "min_length" else 2
    forbidden = [[0, 0, NEVER, 0, 0, 0]]
    assert after([[0, 4]], FLAT, **{option: number}) == forbidden
    assert after([[0, 4, 4]], FLAT, **{option: number}) == FLAT
    assert after([[0, 4]], FLAT, eos=[1, 5, 99], **{option: number}) == [[0, NEVER, 0, 0, 0, NEVER]]


def test_repetition_penalty_divides_what_is_above_zero_and_multiplies_what_is_below() -> None:
    assert after([[4, 1, 4]], [[1.0, 2.0, 3.0, 4.0, -2.0, 5.0]], repetition_penalty=2.0) == [[1, 1, 3, 4, -4, 5]]


def test_no_ngram_is_completed_twice() -> None:
    ids = [[3, 4, 5, 3, 4], [1, 2, 3, 4, 5]]
    assert after(ids, FLAT * 2, no_repeat_ngram_size=3) == [[0, 0, 0, 0, 0, NEVER], [0] * 6]
    assert after(ids, FLAT * 2, no_repeat_ngram_size=2) == [[0, 0, 0, 0, 0, NEVER], [0] * 6]
    assert after(ids, FLAT * 2, no_repeat_ngram_size=1) == [[0, 0, 0, *[NEVER] * 3], [0, *[NEVER] * 5]]
    assert after([[3, 3]], FLAT, no_repeat_ngram_size=3) == FLAT


def test_bad_words_are_never_completed_and_never_the_end_alone() -> None:
    words = [[4], [1, 5], [3, 1, 0], [EOS]]
    assert after([[0, 1]], FLAT, bad_words_ids=words) == [[0, 0, 0, 0, NEVER, NEVER]]
    assert after([[3, 1]], FLAT, bad_words_ids=words) == [[0, 0, 0, 0, NEVER, NEVER]]  # three ids need three in all
    assert after([[0, 3, 1]], FLAT, bad_words_ids=words) == [[NEVER, 0, 0, 0, NEVER, NEVER]]
    assert rules(bad_words_ids=[[EOS]]) == []


@pytest.mark.parametrize("form", ["list", "dict"])
def test_sequence_bias_is_added_where_a_sequence_would_be_completed(form: str) -> None:
    bias: Any = [[[4], 2.5], [[1, 5], -3.0], [[0, 5], 1.0]]
    if form == "dict":
        bias = {tuple(ids): number for ids, number in bias}
    assert after([[2, 1], [2, 0]], FLAT * 2, sequence_bias=bias) == [[0, 0, 0, 0, 2.5, -3], [0, 0, 0, 0, 2.5, 1]]


def test_forced_tokens_have_their_place() -> None:
    only = [[NEVER, NEVER, NEVER, 0, NEVER, NEVER]]
    assert after([[0]], STAIRS, forced_bos_token_id=3) == only
    assert after([[0, 0]], STAIRS, forced_bos_token_id=3) == STAIRS
    assert after([[0] * 7], STAIRS, forced_eos_token_id=3, longest=8) == only
    assert after([[0] * 6], STAIRS, forced_eos_token_id=3, longest=8) == STAIRS
    assert after([[0] * 7], STAIRS, forced_eos_token_id=[0, 3], longest=8) == [[0, NEVER, NEVER, 0, NEVER, NEVER]]


def test_suppressed_tokens_everywhere_or_only_first() -> None:
    assert after([[0, 1, 1]], FLAT, suppress_tokens=[1, 4]) == [[0, NEVER, 0, 0, NEVER, 0]]
    first = {"begin_suppress_tokens": [1, 4]}
    assert after([[0]], FLAT, **first) == [[0, NEVER, 0, 0, NEVER, 0]]
    assert after([[0, 1]], FLAT, **first) == FLAT
    assert after([[0, 1]], FLAT, prompt_length=2, **first) == [[0, NEVER, 0, 0, NEVER, 0]]
    # A forced first token moves the first free place on.
    assert after([[0, 3]], FLAT, forced_bos_token_id=3, **first) == [[0, NEVER, 0, 0, NEVER, 0]]


def test_the_end_gets_likelier_with_the_length() -> None:
    option = {"exponential_decay_length_penalty": (2, 1.5)}
    assert after([[0] * 3], [[1.0, 1.0, -2.0, 1.0, 1.0, 1.0]], **option) == [[1, 1, -2, 1, 1, 1]]
    assert after([[0] * 4], [[1.0, 1.0, -2.0, 1.0, 1.0, 1.0]], **option) == [[1, 1, -1, 1, 1, 1]]
    assert after([[0] * 5], [[1.0, 1.0, 4.0, 1.0, 1.0, 1.0]], **option) == [[1, 1, 9, 1, 1, 1]]
    with pytest.raises(OptionError, match=r"makes the end token likelier, but there is none. Set eos_token_id"):
        rules(eos=[], **option)


def test_invalid_values_become_finite() -> None:
    rule = rules(remove_invalid_values=True)[0]
    found = rule(torch.zeros(1, 1).long(), torch.tensor([[math.nan, math.inf, NEVER, 1.0, 1.0, 1.0]]))
    assert found.tolist() == [[0, torch.finfo(torch.float32).max, torch.finfo(torch.float32).min, 1, 1, 1]]


def test_renormalised_scores_are_log_probabilities() -> None:
    found = rules(renormalize_logits=True)[-1](torch.zeros(1, 1).long(), torch.tensor(STAIRS))
    assert float(found.exp().sum()) == pytest.approx(1.0)


def test_only_what_the_function_allows() -> None:
    asked: list[tuple[int, list[int]]] = []

    def allowed(image: int, ids: torch.Tensor) -> list[int]:
        asked.append((image, ids.tolist()))
        return [3 + image]

    found = after([[0, 1], [0, 2]], STAIRS * 2, prefix_allowed_tokens_fn=allowed, images=lambda: [0, 2])
    assert found == [[NEVER, NEVER, NEVER, 3, NEVER, NEVER], [NEVER, NEVER, NEVER, NEVER, NEVER, 5]]
    assert asked == [(0, [0, 1]), (2, [0, 2])]
    with pytest.raises(OptionError, match=r"allows no token after \[0, 1\] of image 0, expected at least one id"):
        after([[0, 1]], STAIRS, prefix_allowed_tokens_fn=lambda image, ids: [], images=lambda: [0])


def kept(scores: list[float], **options: Any) -> list[int]:
    """The ids that sampling could still draw."""
    options = {"top_k": 0} | options
    row = after([[0]], [scores], do_sample=True, **options)[0]
    return [token for token, score in enumerate(row) if score > NEVER]


# Probabilities .02 .03 .05 .1 .3 .5
SPREAD = [math.log(p) for p in (0.02, 0.03, 0.05, 0.1, 0.3, 0.5)]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"top_k": 2}, [4, 5]),
        ({"top_k": 99}, [0, 1, 2, 3, 4, 5]),
        ({"top_p": 0.45}, [5]),
        ({"top_p": 0.75}, [4, 5]),
        ({"top_p": 0.85}, [3, 4, 5]),
        ({"min_p": 0.15}, [3, 4, 5]),
        ({"epsilon_cutoff": 0.04}, [2, 3, 4, 5]),
        ({"epsilon_cutoff": 0.9}, [5]),
        ({"typical_p": 0.25}, [4]),  # the entropy is 1.30 and .3 has a surprise of 1.20
        ({"typical_p": 0.75}, [4, 5]),
        ({"eta_cutoff": 0.0011}, [0, 1, 2, 3, 4, 5]),
        ({"eta_cutoff": 0.04}, [2, 3, 4, 5]),  # min(.04, sqrt(.04) * exp(-1.3)) = .04
        ({"eta_cutoff": 0.3}, [4, 5]),  # min(.3, sqrt(.3) * exp(-1.3)) = .149
        ({"top_p": 0.45, "num_beams": 2}, [4, 5]),  # beams keep one more than there are end tokens
        ({"top_k": 1, "num_beams": 2}, [4, 5]),
    ],
)
def test_what_sampling_keeps(options: dict[str, Any], ids: list[int]) -> None:
    assert kept(SPREAD, **options) == ids


def test_temperature_sharpens_before_tokens_are_removed() -> None:
    assert kept(SPREAD, top_p=0.6) == [4, 5]
    assert kept(SPREAD, top_p=0.6, temperature=0.5) == [5]  # .5² / (.5² + .3² + …) is .71


def test_ids_beyond_the_vocabulary_are_refused_by_name() -> None:
    for option, value in (
        ("sequence_bias", [[[7], 1.0]]),
        ("bad_words_ids", [[1, 7]]),
        ("forced_bos_token_id", 7),
        ("forced_eos_token_id", [7]),
    ):
        with pytest.raises(OptionError, match=rf"{option} names the ids \[7\], but the vocabulary ends at 5"):
            rules(**{option: value})


def test_the_order_of_rules() -> None:
    order: list[str] = []

    def own(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        order.append(f"own sees {[round(s, 2) for s in scores[0].tolist()]}")
        return scores + 1.0

    found = after(
        [[0, 4]],
        STAIRS,
        sequence_bias=[[[4], 2.0]],  # first: 4 + 2
        repetition_penalty=2.0,  # then 6 / 2
        suppress_tokens=[5],
        own=[own],
        do_sample=True,
        temperature=0.5,  # after the user's: (3 + 1) / 0.5
        top_k=2,
    )
    assert order == ["own sees [0.0, 1.0, 2.0, 3.0, 3.0, -inf]"]
    assert found == [[NEVER, NEVER, NEVER, 8, 8, NEVER]]


def test_rules_that_look_back_see_the_right_rows_after_others_have_left() -> None:
    decoder = TinyDecoder(seed=1, eos_bias=1.5)
    images = decoder.images(14)
    config, _ = GenerationConfig(eos_token_id=EOS, pad_token_id=PAD).with_call(no_repeat_ngram_size=1, max_length=20)

    def never_again(ids: list[int], scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        scores[ids] = NEVER
        return scores

    prompt = torch.full((14, 1), START)
    session = TinySession(decoder, images)
    output = generate(session, prompt=prompt, config=config, limit=40)
    assert session.fed[-1][0] < 14
    for row, image in enumerate(images):
        ids, _, _ = slow_greedy(decoder, image, [START], 20, rule=never_again)
        assert output.sequences[row, : len(ids)].tolist() == ids


def test_a_function_of_prefixes_is_told_the_image_after_others_have_left() -> None:
    decoder = TinyDecoder(seed=1)
    images = decoder.images(9)

    def allowed(image: int, ids: torch.Tensor) -> list[int]:
        return [EOS] if len(ids) == 3 + image // 2 else [10 + image]

    for beams in (1, 2):
        config, _ = GenerationConfig(eos_token_id=EOS, pad_token_id=PAD).with_call(num_beams=beams, max_length=12)
        session = TinySession(decoder, images)
        prompt = torch.full((9, 1), START)
        output = generate(session, prompt=prompt, config=config, limit=40, prefix_allowed_tokens_fn=allowed)
        for image, row in enumerate(output.sequences.tolist()):
            text = [START] + [10 + image] * (2 + image // 2) + [EOS]
            assert row[: len(text)] == text
