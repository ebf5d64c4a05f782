"""Greedy decoding, sampling and beam search against the slow obvious loops, on a decoder of three lines."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from tests.generation.tiny_decoder import EOS, PAD, START, TinyDecoder, TinySession, slow_beams, slow_greedy

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import OptionError, UnsupportedError
from vision2seq.generation import GenerateOutput, Step, generate, iterate
from vision2seq.generation.stopping import repeated_tail

torch.set_num_threads(1)

LIMIT = 40


def config(**options: Any) -> GenerationConfig:
    base = GenerationConfig(pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=START)
    result, unused = base.with_call(**options)
    assert not unused
    return result


def start(count: int) -> torch.Tensor:
    return torch.full((count, 1), START)


def run(
    decoder: TinyDecoder,
    images: torch.Tensor,
    prompt: torch.Tensor | None = None,
    limit: int = LIMIT,
    **options: Any,
) -> GenerateOutput:
    """Generate with all options in one dict; those that are no config options go to `generate`."""
    direct = {
        name: options.pop(name)
        for name in ("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "streamer", "tokenizer")
        if name in options
    }
    session = TinySession(decoder, images, extras=bool(options.get("output_attentions")))
    prompt = start(len(images)) if prompt is None else prompt
    return generate(session, prompt=prompt, config=config(**options), limit=limit, **direct)


def texts(output: GenerateOutput) -> list[list[int]]:
    """Rows without what follows their end."""
    assert output.token_logprobs is not None
    start_length = output.sequences.shape[1] - max(map(len, output.token_logprobs))
    return [
        row[: start_length + len(numbers)]
        for row, numbers in zip(output.sequences.tolist(), output.token_logprobs, strict=True)
    ]


@pytest.fixture(params=[0, 1, 2])
def decoder(request: pytest.FixtureRequest) -> TinyDecoder:
    return TinyDecoder(seed=request.param, eos_bias=1.5)


# ------------------------------------------------------------------------------------------------------ greedy


def test_greedy_is_the_slow_loop_row_by_row(decoder: TinyDecoder) -> None:
    images = decoder.images(17)
    output = run(decoder, images, max_length=30)
    assert output.token_logprobs is not None
    assert output.finish_reasons is not None
    for row, image in enumerate(images):
        ids, logprobs, reason = slow_greedy(decoder, image, [START], 30)
        assert texts(output)[row] == ids
        assert output.finish_reasons[row] == reason
        assert output.token_logprobs[row] == pytest.approx(logprobs, abs=1e-5)
        assert set(output.sequences[row, len(ids) :].tolist()) <= {PAD}
    assert {"eos", "length"} == set(output.finish_reasons)


def test_a_batch_is_its_single_images(decoder: TinyDecoder) -> None:
    images = decoder.images(9)
    for options in ({}, {"num_beams": 3}, {"num_beams": 4, "early_stopping": True, "num_return_sequences": 2}):
        together = texts(run(decoder, images, max_length=20, **options))
        alone = [text for image in images for text in texts(run(decoder, image[None], max_length=20, **options))]
        assert together == alone


def test_a_longer_prompt_is_fed_at_once_and_continued(decoder: TinyDecoder) -> None:
    images = decoder.images(4)
    prompt = torch.tensor([[START, 5, 6], [START, 7, 8], [START, 9, 3], [START, 4, 4]])
    output = run(decoder, images, prompt, max_new_tokens=8)
    for row, image in enumerate(images):
        assert texts(output)[row] == slow_greedy(decoder, image, prompt[row].tolist(), 11)[0]


def test_finished_rows_leave_the_session() -> None:
    decoder = TinyDecoder(seed=1, eos_bias=1.5)
    session = TinySession(decoder, decoder.images(16))
    output = generate(session, prompt=start(16), config=config(max_length=30), limit=LIMIT)
    lengths = [len(numbers) for numbers in output.token_logprobs or []]
    for step, (rows, tokens) in enumerate(session.fed):
        live = sum(length > step for length in lengths)
        assert tokens == 1
        assert live <= rows < live * 8 / 7 + 1  # at most an eighth of the rows is waiting to leave
    assert session.fed[0][0] == 16
    assert session.fed[-1][0] < 16


def test_no_token_is_fed_twice_and_none_after_the_end() -> None:
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    session = TinySession(decoder, decoder.images(2))
    prompt = torch.tensor([[START, 5, 6], [START, 7, 8]])
    generate(session, prompt=prompt, config=config(max_new_tokens=4), limit=LIMIT)
    assert session.fed == [(2, 3), (2, 1), (2, 1), (2, 1)]


def test_nobody_said_a_length_then_the_decoder_rules() -> None:
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    output = run(decoder, decoder.images(1))
    assert output.sequences.shape == (1, LIMIT)
    assert output.finish_reasons == ["length"]


def test_more_than_the_decoder_holds_is_cut_with_a_warning() -> None:
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    with pytest.warns(UserWarning, match="Up to 101 tokens were asked for, but the decoder holds 40"):
        output = run(decoder, decoder.images(1), max_new_tokens=100)
    assert output.sequences.shape == (1, LIMIT)


def test_a_least_length_above_the_most_warns() -> None:
    decoder = TinyDecoder()
    with pytest.warns(UserWarning, match="Texts of at least 9 tokens were asked for, but they may have at most 6"):
        assert run(decoder, decoder.images(1), min_length=9, max_length=6).sequences.shape == (1, 6)


def test_log_probabilities_are_those_of_the_raw_scores_whatever_the_rules(decoder: TinyDecoder) -> None:
    images = decoder.images(3)
    for options in ({"repetition_penalty": 3.0}, {"do_sample": True, "temperature": 0.3}):
        output = run(decoder, images, max_length=10, **options)
        for row, image in enumerate(images):
            assert (output.token_logprobs or [])[row] == pytest.approx(raw_logprobs(decoder, image, texts(output)[row]))


def raw_logprobs(decoder: TinyDecoder, image: torch.Tensor, text: list[int]) -> list[float]:
    """What the decoder itself says of each token of a text."""
    state, numbers = torch.zeros_like(image)[None], []
    for token, following in itertools.pairwise(text):
        state = decoder.advance(state, image[None], torch.tensor([token]))
        numbers.append(float(decoder.scores(state)[0].log_softmax(-1)[following]))
    return numbers


def test_finished_rows_that_stay_are_padded_for_user_code() -> None:
    decoder = TinyDecoder(seed=1, eos_bias=1.5)
    seen: list[list[list[int]]] = []

    def look(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        seen.append(ids.tolist())
        return scores

    output = run(decoder, decoder.images(24), max_length=30, logits_processor=[look])
    ends = [text.index(EOS) for text in texts(output) if EOS in text]
    assert len(ends) > 2
    for row in seen[-1]:
        if EOS in row:
            assert set(row[row.index(EOS) + 1 :]) <= {PAD}


# ------------------------------------------------------------------------------------------------------ iterate


def test_iterate_tells_the_same_as_generate_step_by_step(decoder: TinyDecoder) -> None:
    images = decoder.images(11)
    output = run(decoder, images, max_length=25)
    heard: dict[int, list[int]] = {row: [] for row in range(11)}
    reasons: dict[int, str] = {}
    for step in iterate(TinySession(decoder, images), prompt=start(11), config=config(max_length=25), limit=LIMIT):
        assert isinstance(step, Step)
        assert list(step.rows) == sorted(set(range(11)) - set(reasons))
        for row, token in zip(step.rows, step.tokens.tolist(), strict=True):
            heard[row].append(token)
        reasons |= step.finished
    assert [[START, *heard[row]] for row in range(11)] == texts(output)
    assert [reasons[row] for row in range(11)] == output.finish_reasons


def test_iterate_checks_before_its_first_step() -> None:
    decoder = TinyDecoder()
    session = TinySession(decoder, decoder.images(1))
    with pytest.raises(OptionError, match=r"iterate\(\) has no beams, but num_beams is 2. Use generate\(\)"):
        iterate(session, prompt=start(1), config=config(num_beams=2), limit=LIMIT)
    with pytest.raises(OptionError, match="leaves no room for text"):
        iterate(session, prompt=start(1), config=config(), limit=1)
    assert session.fed == []


def test_two_generations_of_one_decoder_do_not_disturb_each_other(decoder: TinyDecoder) -> None:
    images = decoder.images(6)
    alone = [texts(run(decoder, part, max_length=20)) for part in (images[:3], images[3:])]
    loops = [
        iterate(TinySession(decoder, part), prompt=start(3), config=config(max_length=20), limit=LIMIT)
        for part in (images[:3], images[3:])
    ]
    heard: list[list[list[int]]] = [[[START] for _ in range(3)] for _ in loops]
    for _ in range(20):
        for number, loop in enumerate(loops):
            step = next(loop, None)
            if step is not None:
                for row, token in zip(step.rows, step.tokens.tolist(), strict=True):
                    heard[number][row].append(token)
    assert heard == alone


# ------------------------------------------------------------------------------------------------------ sampling


def test_the_same_seed_gives_the_same_text_whoever_leaves(decoder: TinyDecoder) -> None:
    images = decoder.images(10)

    class Stay:
        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            assert len(ids) == 20  # user code makes finished rows stay
            return scores

    results = []
    for extra in ({}, {"logits_processor": [Stay()]}):
        torch.manual_seed(5)
        results.append(texts(run(decoder, images, do_sample=True, num_return_sequences=2, max_length=25, **extra)))
    assert results[0] == results[1]
    assert len({tuple(text) for text in results[0]}) > 10


def test_a_low_temperature_is_greedy(decoder: TinyDecoder) -> None:
    images = decoder.images(5)
    cold = run(decoder, images, do_sample=True, temperature=1e-4, max_length=20)
    assert texts(cold) == texts(run(decoder, images, max_length=20))


def test_samples_follow_the_distribution() -> None:
    decoder = TinyDecoder(seed=3)
    images = decoder.images(1)
    expected = decoder.scores(decoder.advance(torch.zeros_like(images), images, torch.tensor([START])))[0].softmax(-1)
    torch.manual_seed(0)
    count = 4000
    output = run(decoder, images, do_sample=True, top_k=0, num_return_sequences=count, max_new_tokens=1)
    found = output.sequences[:, 1].bincount(minlength=decoder.vocabulary) / count
    assert (found - expected).abs().max() < 0.03


# ------------------------------------------------------------------------------------------------------ beams


def test_beam_search_finds_what_the_slow_one_finds(decoder: TinyDecoder) -> None:
    images = decoder.images(5)
    for penalty in (0.0, 1.0):
        output = run(
            decoder,
            images,
            num_beams=3,
            early_stopping="never",
            length_penalty=penalty,
            max_length=9,
            output_scores=True,
            return_dict_in_generate=True,
        )
        assert output.sequences_scores is not None
        for row, image in enumerate(images):
            ids, score = slow_beams(decoder, image, 3, 9, penalty)
            assert texts(output)[row] == ids
            assert float(output.sequences_scores[row]) == pytest.approx(score, abs=1e-4)


def test_one_running_beam_is_greedy(decoder: TinyDecoder) -> None:
    from vision2seq.generation.beam import beam_search
    from vision2seq.generation.loop import make_plan

    images = decoder.images(6)
    plan = make_plan(start(6), config(max_length=20, length_penalty=0.0, early_stopping=True), limit=LIMIT)
    output = beam_search(TinySession(decoder, images), start(6), plan)
    assert texts(output) == texts(run(decoder, images, max_length=20))


def test_sequences_of_an_image_are_side_by_side_and_the_best_comes_first(decoder: TinyDecoder) -> None:
    images = decoder.images(4)
    flags = {"output_scores": True, "return_dict_in_generate": True, "max_length": 12, "num_beams": 4}
    output = run(decoder, images, num_return_sequences=3, **flags)
    best = run(decoder, images, **flags)
    assert texts(output)[::3] == texts(best)
    assert output.sequences_scores is not None
    scores = output.sequences_scores.view(4, 3)
    assert (scores[:, :-1] >= scores[:, 1:]).all()
    for image in range(4):
        assert len({tuple(text) for text in texts(output)[3 * image : 3 * image + 3]}) == 3


def test_beams_of_finished_images_leave_the_session() -> None:
    decoder = TinyDecoder(seed=2, eos_bias=1.5)
    images = decoder.images(8)
    session = TinySession(decoder, images)
    output = generate(session, prompt=start(8), config=config(num_beams=3, early_stopping=True), limit=LIMIT)
    assert [rows for rows, _ in session.fed][:2] == [8, 24]
    assert session.fed[-1][0] < 24
    assert texts(output) == texts(run(decoder, images, num_beams=3, early_stopping=True, output_scores=True,
                                      return_dict_in_generate=True))  # fmt: skip


def test_logprobs_of_beams_follow_their_way_back(decoder: TinyDecoder) -> None:
    images = decoder.images(4)
    output = run(decoder, images, num_beams=4, max_length=14, length_penalty=0.0, repetition_penalty=1.5)
    for row, image in enumerate(images):
        numbers = raw_logprobs(decoder, image, texts(output)[row])
        assert (output.token_logprobs or [])[row] == pytest.approx(numbers, abs=1e-5)


# ------------------------------------------------------------------------------------------------------ ends


def test_several_end_tokens() -> None:
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    images = decoder.images(8)
    free = texts(run(decoder, images, max_length=20))
    ends = [free[0][3], free[1][5]]
    output = run(decoder, images, max_length=20, eos_token_id=ends)
    for text, whole, reason in zip(texts(output), free, output.finish_reasons or [], strict=True):
        stops = [place for place, token in enumerate(whole) if token in ends and place > 0]
        assert text == (whole[: stops[0] + 1] if stops else whole)
        assert reason == ("eos" if stops else "length")


def test_without_an_end_token_texts_run_to_the_length() -> None:
    decoder = TinyDecoder(seed=0, eos_bias=5.0)
    result = GenerationConfig().with_call(max_length=9)[0]
    output = generate(TinySession(decoder, decoder.images(2)), prompt=start(2), config=result, limit=LIMIT)
    assert output.finish_reasons == ["length", "length"]
    assert output.sequences.shape == (2, 9)


def test_padding_is_the_end_token_where_no_pad_token_is_set() -> None:
    decoder = TinyDecoder(seed=1, eos_bias=1.5)
    result = GenerationConfig(eos_token_id=EOS).with_call(max_length=30)[0]
    images = decoder.images(16)
    output = generate(TinySession(decoder, images), prompt=start(16), config=result, limit=LIMIT)
    row = min(range(16), key=lambda row: len((output.token_logprobs or [])[row]))
    behind = output.sequences[row, 1 + len((output.token_logprobs or [])[row]) :]
    assert len(behind) > 0
    assert set(behind.tolist()) == {EOS}


def test_a_criterion_of_the_user_stops_single_rows_or_all() -> None:
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    images = decoder.images(3)

    def second_at_four(ids: torch.Tensor, scores: Any) -> torch.Tensor:
        return torch.tensor([False, ids.shape[1] == 4, False])

    output = run(decoder, images, max_length=8, stopping_criteria=[second_at_four])
    assert output.finish_reasons == ["length", "stop", "length"]
    assert [len(text) for text in texts(output)] == [8, 4, 8]
    output = run(decoder, images, max_length=8, stopping_criteria=lambda ids, scores: ids.shape[1] >= 5)
    assert output.finish_reasons == ["stop"] * 3
    assert output.sequences.shape == (3, 5)
    output = run(decoder, images, max_length=8, num_beams=2, stopping_criteria=lambda ids, scores: ids.shape[1] >= 5)
    assert output.finish_reasons == ["stop"] * 3
    assert output.sequences.shape == (3, 5)


def test_a_criterion_gets_the_scores_that_are_kept() -> None:
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    seen: list[int] = []

    def look(ids: torch.Tensor, scores: Any) -> bool:
        seen.append(len(scores))
        return False

    flags = {"output_scores": True, "return_dict_in_generate": True}
    run(decoder, decoder.images(2), max_length=5, stopping_criteria=[look], **flags)
    assert seen == [1, 2, 3, 4]


def test_time_is_up_for_beams_too_after_others_have_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from vision2seq.generation import stopping

    decoder = Circles(width=2)
    images = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    looks: list[int] = []
    monkeypatch.setattr(stopping.time, "monotonic", lambda: float(looks.append(1) or len(looks)))
    output = run(decoder, images, max_time=8.5, num_beams=2, early_stopping=True, limit=1000)
    assert output.finish_reasons == ["stop", "eos"]
    assert len(looks) == 10


@pytest.mark.parametrize("beams", [1, 3])
def test_time_is_up_after_the_running_step(monkeypatch: pytest.MonkeyPatch, beams: int) -> None:
    from vision2seq.generation import stopping

    clock = iter(range(100))
    monkeypatch.setattr(stopping.time, "monotonic", lambda: float(next(clock)))
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    output = run(decoder, decoder.images(2), max_time=2.5, num_beams=beams)
    assert output.finish_reasons == ["stop", "stop"]
    assert output.sequences.shape == (2, 4)  # the third look at the clock is the first after 2.5


class Letters:
    """A tokenizer of one or two letters a token."""

    def decode(self, ids: list[int], skip_special_tokens: bool = False, **_: Any) -> str:
        names = {START: "<s>", PAD: "<pad>", EOS: "</s>"}
        return "".join(names.get(i, chr(97 + i) * (1 + i % 2)) for i in ids if not (skip_special_tokens and i in names))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_stop_string_ends_the_text_with_the_token_that_completes_it(beams: int) -> None:
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    images = decoder.images(4)
    free = texts(run(decoder, images, max_length=20, num_beams=beams))
    said = Letters().decode(free[0][5:7])
    stop = said[: max(1, len(said) - 1)] if beams == 1 else said
    output = run(decoder, images, max_length=20, num_beams=beams, stop_strings=[stop, "never"], tokenizer=Letters())
    assert (output.finish_reasons or [])[0] == "stop"
    for text, reason in zip(texts(output), output.finish_reasons or [], strict=True):
        assert (stop in Letters().decode(text)) == (reason == "stop")
        assert stop not in Letters().decode(text[:-1])


def test_a_stop_string_of_the_prompt_does_not_stop() -> None:
    decoder = TinyDecoder(seed=0, eos_bias=-50.0)
    prompt = torch.tensor([[START, 4, 6]])
    options = {"max_length": 8, "tokenizer": Letters()}
    output = run(decoder, decoder.images(1), prompt, stop_strings=Letters().decode([4, 6]), **options)
    assert output.finish_reasons == ["length"]


def test_stop_strings_need_the_tokenizer() -> None:
    decoder = TinyDecoder()
    with pytest.raises(OptionError, match=r"stop_strings='x' needs the tokenizer .* Pass tokenizer= to generate\(\)"):
        run(decoder, decoder.images(1), stop_strings="x")


# ------------------------------------------------------------------------------------------------------ repetition


@pytest.mark.parametrize(
    ("ids", "cut"),
    [
        ([5, 6, 7] + [9] * 32, 31),
        ([5, 6, 7] + [9] * 31, 0),  # too short to be sure
        ([4] + [5, 6] * 16, 30),
        ([4, 6] + [5, 6] * 16, 31),  # the 6 before the first 5 belongs to the loop
        (list(range(20)) * 4, 60),
        (list(range(20)) * 3 + list(range(19)), 0),  # the fourth copy is not complete
        ([1, *([8, 8, 3] * 12)], 33),
        (list(range(200)), 0),
        ([7] * 40 + [8], 0),  # it went on
        ([], 0),
    ],
)
def test_a_loop_is_seen_where_copies_are_many_and_long(ids: list[int], cut: int) -> None:
    assert repeated_tail(ids) == cut


class Circles(TinyDecoder):
    """Says 10 11 12 13 for ever after three other tokens, or ends at once for images below zero."""

    def scores(self, state: torch.Tensor) -> torch.Tensor:
        step = state[:, 0]
        following = torch.where(step <= 3, 3 + step, 10 + step % 4).long()
        following = torch.where(state[:, 1] < 0, EOS, following)
        return torch.nn.functional.one_hot(following, self.vocabulary).float() * 9

    def advance(self, state: torch.Tensor, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return torch.stack([state[:, 0] + 1, images[:, 1]], 1)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_text_that_goes_in_circles_is_cut_to_the_first_round(beams: int) -> None:
    decoder = Circles(width=2)
    images = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    output = run(decoder, images, stop_on_repetition=True, num_beams=beams, limit=100, length_penalty=0.0)
    assert output.finish_reasons == ["repetition", "eos"]
    assert texts(output) == [[START, 4, 5, 6, 10, 11, 12, 13], [START, EOS]]
    assert output.sequences.shape == (2, 8)
    free = run(decoder, images, num_beams=beams, length_penalty=0.0)
    assert (free.finish_reasons or [])[0] == "length"
    assert free.sequences.shape[1] == LIMIT


def test_a_prompt_that_goes_in_circles_is_no_loop() -> None:
    decoder = Circles(width=2)
    images = torch.tensor([[0.0, -1.0]], dtype=torch.float64)
    prompt = torch.full((1, 40), EOS)  # what it goes on saying
    output = run(decoder, images, prompt, stop_on_repetition=True, limit=100, eos_token_id=23, max_new_tokens=3)
    assert output.finish_reasons == ["length"]
    assert output.sequences.shape == (1, 43)


# ------------------------------------------------------------------------------------------------------ outputs


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}])
def test_what_is_asked_for_comes_back_for_each_step(decoder: TinyDecoder, options: dict[str, Any]) -> None:
    asked = dict.fromkeys(("output_scores", "output_logits", "output_attentions", "output_hidden_states"), True)
    output = run(decoder, decoder.images(4), max_length=9, return_dict_in_generate=True, **asked, **options)
    rows = 4 * options.get("num_beams", options.get("num_return_sequences", 1))
    for name in ("scores", "logits", "decoder_attentions", "cross_attentions", "decoder_hidden_states"):
        steps = output[name]
        assert isinstance(steps, tuple)
        assert len(steps) == len(output["logits"]) <= 8
        first = steps[0] if isinstance(steps[0], torch.Tensor) else steps[0][0]
        assert first.shape[0] == rows
    assert output[0] is output.sequences
    assert "past_key_values" not in output


def test_outputs_are_left_out_unless_asked_for(decoder: TinyDecoder) -> None:
    output = run(decoder, decoder.images(2), max_length=5, output_scores=True)  # without return_dict_in_generate
    assert output.keys() == ["sequences", "finish_reasons", "token_logprobs", "text_scores"]
    beams = run(decoder, decoder.images(2), max_length=5, num_beams=2)
    assert beams.keys() == ["sequences", "beam_indices", "finish_reasons", "token_logprobs", "text_scores"]


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 2}, {"num_beams": 2}])
@pytest.mark.parametrize("penalty", [1.0, 0.0, 2.0])
def test_scores_of_texts(decoder: TinyDecoder, options: dict[str, Any], penalty: float) -> None:
    output = run(decoder, decoder.images(3), max_length=9, length_penalty=penalty, **options)
    for score, logprobs in zip(output.text_scores, output.token_logprobs, strict=True):
        assert score == pytest.approx(sum(logprobs) / len(logprobs) ** penalty, rel=1e-4)
    each = options.get("num_return_sequences", 1)
    for image in range(3):
        scores = output.text_scores[image * each : (image + 1) * each]
        assert scores == sorted(scores, reverse=True)


# ------------------------------------------------------------------------------------------------------ bad calls


def test_a_prompt_must_leave_room() -> None:
    decoder = TinyDecoder()
    prompt = torch.full((1, 6), START)
    with pytest.raises(OptionError, match="prompt has 6 tokens and the decoder holds 6, which leaves no room for text"):
        run(decoder, decoder.images(1), prompt, limit=6)
    with pytest.raises(
        OptionError, match=r"prompt has 6 tokens and max_length, which counts them, is 6. Raise max_length"
    ):
        run(decoder, decoder.images(1), prompt, max_length=6)
    with pytest.raises(OptionError, match=r"prompt has the shape \(3,\), expected \(images, tokens\)"):
        run(decoder, decoder.images(3), torch.tensor([0, 0, 0]))


def test_a_streamer_cannot_follow_beams() -> None:
    decoder = TinyDecoder()
    with pytest.raises(OptionError, match=r"those of num_beams=2 may still change. Set num_beams=1"):
        run(decoder, decoder.images(1), num_beams=2, streamer=object())


def test_a_mode_that_is_not_built_is_refused_at_the_call() -> None:
    decoder = TinyDecoder()
    stale = GenerationConfig(num_beams=4, num_beam_groups=2)  # a file may say so; only using it is an error
    with pytest.raises(UnsupportedError, match="num_beam_groups=2 is not supported: use num_beams, with do_sample"):
        generate(TinySession(decoder, decoder.images(1)), prompt=start(1), config=stale, limit=LIMIT)


def test_scores_that_are_not_numbers_end_in_a_named_error() -> None:
    decoder = TinyDecoder()
    decoder.bias[:] = float("nan")
    with pytest.raises(OptionError, match=r"No token can be drawn .* remove_invalid_values=True"):
        run(decoder, decoder.images(1), do_sample=True, max_length=5)
    assert run(decoder, decoder.images(1), do_sample=True, max_length=5, remove_invalid_values=True) is not None
