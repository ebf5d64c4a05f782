"""The loop against transformers 4.57.6, on its own decoders: same ids, same scores, same samples from the same seed.

The model's side is transformers' too (`ReferenceSession` drives its decoder and cache), so only the loop is compared.
"""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="parity runs where transformers 4.57.6 is installed")

from tests.parity.option_sets import MODES, option_set  # noqa: E402

from vision2seq.configuration.generation import GenerationConfig  # noqa: E402
from vision2seq.errors import OptionError  # noqa: E402
from vision2seq.generation import StepOutput, generate  # noqa: E402

torch.set_num_threads(1)

VOCABULARY, EOS, PAD, START, LIMIT = 48, 2, 1, 0, 64


class ReferenceSession:
    """A decoding session on a transformers model: its decoder, its cache."""

    def __init__(
        self, model: Any, pixel_values: torch.Tensor, *, attentions: bool = False, hidden: bool = False
    ) -> None:
        self._model = model
        memory = model.encoder(pixel_values).last_hidden_state
        self._memory = model.enc_to_dec_proj(memory) if hasattr(model, "enc_to_dec_proj") else memory
        self._cache: Any = None
        self._wanted = {"output_attentions": attentions, "output_hidden_states": hidden}
        self.batch_size = pixel_values.shape[0]
        self.steps: list[int] = []

    def step(self, tokens: torch.Tensor) -> StepOutput:
        self.steps.append(tokens.shape[0])
        result = self._model.decoder(
            input_ids=tokens,
            encoder_hidden_states=self._memory,
            past_key_values=self._cache,
            use_cache=True,
            return_dict=True,
            **self._wanted,
        )
        self._cache = result.past_key_values
        return StepOutput(
            result.logits[:, -1].float(), result.attentions, result.cross_attentions, result.hidden_states
        )

    def select(self, rows: torch.Tensor) -> None:
        self._memory = self._memory[rows]
        self._cache.reorder_cache(rows)
        self.batch_size = len(rows)


def make_model(decoder: str) -> Any:
    """A random model whose texts differ from image to image and end now and then."""
    torch.manual_seed({"trocr": 5, "gpt2": 6}[decoder])
    encoder = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    if decoder == "trocr":
        decoder_config = transformers.TrOCRConfig(
            vocab_size=VOCABULARY,
            d_model=24,
            decoder_layers=1,
            decoder_attention_heads=2,
            decoder_ffn_dim=32,
            max_position_embeddings=LIMIT,
            cross_attention_hidden_size=16,
        )
    else:
        decoder_config = transformers.GPT2Config(
            vocab_size=VOCABULARY, n_embd=24, n_layer=1, n_head=2, n_positions=LIMIT, bos_token_id=START
        )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder_config)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = START, PAD, EOS
    config._attn_implementation = "eager"
    model = transformers.VisionEncoderDecoderModel(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.5 if "cross" in name or "encoder" in name else 0.35)
        model.decoder.get_output_embeddings().weight[EOS] *= 1.6  # likely now and then, unlikely otherwise
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=START, pad_token_id=PAD, eos_token_id=EOS, bos_token_id=START
    )
    return model


@pytest.fixture(scope="module", params=["trocr", "gpt2"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_model(request.param)


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2


def ours(
    model: Any, pixel_values: torch.Tensor, options: dict[str, Any], *, prompt: torch.Tensor | None = None, **extra: Any
) -> tuple[Any, ReferenceSession]:
    """Run the loop on the reference's decoder."""
    base = GenerationConfig(decoder_start_token_id=START, pad_token_id=PAD, eos_token_id=EOS, bos_token_id=START)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        config, unused = base.with_call(return_dict_in_generate=True, **options)
        assert not unused
        session = ReferenceSession(
            model,
            pixel_values,
            attentions=bool(options.get("output_attentions")),
            hidden=bool(options.get("output_hidden_states")),
        )
        if prompt is None:
            prompt = torch.full((len(pixel_values), 1), START)
        torch.manual_seed(11)
        return generate(session, prompt=prompt, config=config, limit=LIMIT, **extra), session


def both(
    model: Any, pixel_values: torch.Tensor, options: dict[str, Any], *, prompt: torch.Tensor | None = None, **extra: Any
) -> tuple[Any, Any, ReferenceSession]:
    """Run the reference and the loop from the same seed."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(11)
        expected = model.generate(
            pixel_values, decoder_input_ids=prompt, return_dict_in_generate=True, **options, **extra
        )
    after = torch.get_rng_state()
    found, session = ours(model, pixel_values, options, prompt=prompt, **extra)
    assert torch.equal(torch.get_rng_state(), after), "random numbers were drawn in another number"
    return expected, found, session


def assert_nothing_to_draw(error: Exception, *arguments: Any, **extra: Any) -> None:
    """Where the options forbid every token, the reference fails somewhere inside torch, and the loop by name."""
    assert "probability tensor" in str(error) or "invalid values:\ntensor([[nan" in str(error), arguments[-1]
    with pytest.raises(OptionError, match="No token can be drawn"):
        ours(*arguments, **extra)


@pytest.mark.parametrize("mode", MODES)
def test_ids_are_those_of_the_reference_for_many_random_option_sets(model: Any, mode: str) -> None:
    choices = random.Random(f"{mode} {model.config.decoder.model_type}")
    lengths, ended = set(), 0
    for number in range(26):
        options = option_set(choices, mode, vocabulary=VOCABULARY, eos=EOS)
        pixel_values = images(choices.randint(1, 6), seed=number)
        try:
            expected, found, _ = both(model, pixel_values, options)
        except (RuntimeError, ValueError) as error:
            assert_nothing_to_draw(error, model, pixel_values, options)
            continue
        assert expected.sequences.tolist() == found.sequences.tolist(), options
        lengths.add(found.sequences.shape[1])
        ended += found.finish_reasons.count("eos")
    assert len(lengths) > 8
    assert ended > 20


@pytest.mark.parametrize("mode", MODES)
def test_every_output_that_can_be_asked_for_is_that_of_the_reference(model: Any, mode: str) -> None:
    choices = random.Random(mode)
    for _ in range(2):
        options = option_set(choices, mode, vocabulary=VOCABULARY, eos=EOS)
        asked = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")
        options |= dict.fromkeys(asked, True) | {"max_length": 12}
        expected, found, _ = both(model, images(3), options)
        assert expected.sequences.tolist() == found.sequences.tolist()
        fields = set(expected.keys()) - {"encoder_attentions", "encoder_hidden_states", "past_key_values"}
        assert fields == set(found.keys()) - {"finish_reasons", "token_logprobs", "text_scores"}
        for field in fields:
            assert_same(expected[field], found[field], field)


def assert_same(expected: Any, found: Any, where: str) -> None:
    """Compare tensors in nested tuples."""
    if isinstance(expected, torch.Tensor):
        assert expected.shape == found.shape, where
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=lambda text: f"{where}: {text}")
        return
    assert len(expected) == len(found), where
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        assert_same(one, other, f"{where}[{number}]")


@pytest.mark.parametrize("mode", MODES)
def test_token_logprobs_are_the_transition_scores_of_the_reference(model: Any, mode: str) -> None:
    options = option_set(random.Random(3), mode, vocabulary=VOCABULARY, eos=EOS) | {"num_return_sequences": 1}
    options |= {"output_logits": True, "max_length": 14}
    expected, found, _ = both(model, images(4), options)
    logs = [logits.log_softmax(-1) for logits in expected.logits]
    for row, numbers in enumerate(found.token_logprobs):
        for step, number in enumerate(numbers):
            origin = row if "beam" not in mode else int(expected.beam_indices[row, step])
            token = int(expected.sequences[row, 1 + step])
            assert number == pytest.approx(float(logs[step][origin, token]), abs=1e-4)
        behind = expected.sequences[row, 1 + len(numbers) :]
        assert len(set(behind.tolist())) <= 1  # nothing but padding has no number


@pytest.mark.parametrize("mode", MODES)
def test_longer_prompts_that_differ_by_image(model: Any, mode: str) -> None:
    choices = random.Random(f"prompts {mode}")
    for number in range(4):
        options = option_set(choices, mode, vocabulary=VOCABULARY, eos=EOS)
        options |= {"max_length": 16, "min_new_tokens": 2}
        options.pop("max_new_tokens", None)
        prompt = torch.randint(3, VOCABULARY, (3, 4), generator=torch.Generator().manual_seed(number))
        prompt[:, 0] = START
        try:
            expected, found, _ = both(model, images(3), options, prompt=prompt)
        except (RuntimeError, ValueError) as error:
            assert_nothing_to_draw(error, model, images(3), options, prompt=prompt)
            continue
        assert expected.sequences.tolist() == found.sequences.tolist(), options


@pytest.mark.parametrize("mode", MODES)
def test_functions_of_the_user_are_called_as_in_the_reference(model: Any, mode: str) -> None:
    def allowed(image: int, ids: torch.Tensor) -> list[int]:
        return [EOS, *range(5 + image, 30)] if len(ids) % 3 else [int(ids[-1]), EOS, 7]

    class Favour:
        """A rule that looks at ids and scores."""

        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return scores + (torch.arange(scores.shape[1]) % 5 == ids.sum(1, keepdim=True) % 5) * 0.5

    class Enough:
        """A condition that ends single rows."""

        def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            return ids.sum(1) % 11 == 3

    base = {"max_length": 14} | ({"num_beams": 3} if "beam" in mode else {}) | {"do_sample": "sample" in mode}
    extras: list[dict[str, Any]] = [
        {"prefix_allowed_tokens_fn": allowed},
        {"logits_processor": [Favour()]},
        {"stopping_criteria": [Enough()]},
        {"prefix_allowed_tokens_fn": allowed, "logits_processor": [Favour()], "stopping_criteria": [Enough()]},
    ]
    for extra in extras:
        lists = {
            "logits_processor": transformers.LogitsProcessorList,
            "stopping_criteria": transformers.StoppingCriteriaList,
        }
        extra = {name: lists[name](value) if name in lists else value for name, value in extra.items()}
        expected, found, _ = both(model, images(5), base, **extra)
        assert expected.sequences.tolist() == found.sequences.tolist(), extra


def test_finished_images_leave_the_session_and_the_texts_stay_the_same(model: Any) -> None:
    for options in ({}, {"num_beams": 3}, {"num_beams": 3, "early_stopping": True}, {"do_sample": True, "top_k": 5}):
        expected, found, session = both(model, images(12), {"max_length": 40, **options})
        assert expected.sequences.tolist() == found.sequences.tolist()
        if "num_beams" not in options:
            assert session.steps[-1] < session.steps[1], options
    beams = both(model, images(12), {"max_length": 40, "num_beams": 3, "early_stopping": True})[2]
    assert beams.steps[-1] < beams.steps[1] == 36


@pytest.mark.parametrize("skip_prompt", [False, True])
def test_a_streamer_gets_what_the_reference_gives_it(model: Any, skip_prompt: bool) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.heard: list[Any] = []

        def put(self, value: torch.Tensor) -> None:
            self.heard.append(value.tolist())

        def end(self) -> None:
            self.heard.append("end")

    for count, options in ((1, {}), (5, {}), (2, {"do_sample": True, "num_return_sequences": 2})):
        theirs, mine = Recorder(), Recorder()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.manual_seed(11)
            model.generate(images(count), max_length=15, streamer=theirs, **options)
        ours(model, images(count), {"max_length": 15, **options}, streamer=mine)
        assert mine.heard == theirs.heard
