"""`model.generate` of whole models against transformers 4.57.6, from the same saved checkpoint, token for token."""

from __future__ import annotations

import json
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="parity runs where transformers 4.57.6 is installed")

from families import DECODERS, EOS, PAD, START, VARIANTS, VOCABULARY, assert_same, ids, pixels, reference_model  # noqa: E402
from option_sets import option_sets  # noqa: E402

import vision2seq  # noqa: E402
from vision2seq import VisionEncoderDecoderModel  # noqa: E402
from vision2seq.errors import OptionError  # noqa: E402

torch.set_num_threads(1)

# A buffer of theirs that 4.57.6 leaves without numbers after loading.
SINUSOIDAL = ["trocr-stage1", "trocr-sinusoidal-tied", "trocr-odd"]
FAMILIES = ["trocr-small", "gpt2", "mbart", "bert", "roberta"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints as transformers writes them, both with files that say nothing about a length."""
    saved = {}
    for name in FAMILIES:
        saved[name] = tmp_path_factory.mktemp("generate") / name
        reference_model(name).save_pretrained(saved[name])
    return saved


@cache
def _pair(folder: Path) -> tuple[Any, Any]:
    theirs = transformers.VisionEncoderDecoderModel.from_pretrained(folder, attn_implementation="eager").eval()
    return theirs, vision2seq.AutoModelForVision2Seq.from_pretrained(folder)


def fresh_pair(folder: Path) -> tuple[Any, Any]:
    """Both models of a folder whose files a test has changed."""
    _pair.cache_clear()
    return _pair(folder)


def attempt(model: Any, inputs: torch.Tensor, seed: int, options: dict[str, Any]) -> Any:
    """What a model makes of a call, or how it refuses; warnings about options do not count."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model.generate(inputs, **json_copy(options))
        except (RuntimeError, OptionError) as error:
            return error


def both(theirs: Any, ours: Any, inputs: torch.Tensor, seed: int = 0, **options: Any) -> tuple[Any, Any]:
    """What both make of a call; they get the same random numbers."""
    found = [attempt(model, inputs, seed, options) for model in (theirs, ours)]
    for answer in found:
        if isinstance(answer, Exception):
            raise answer
    return found[0], found[1]


def json_copy(options: dict[str, Any]) -> dict[str, Any]:
    return {k: [list(v) if isinstance(v, list) else v for v in value] if isinstance(value, list) else value
            for k, value in options.items()}  # fmt: skip


def same_ids(theirs: Any, ours: Any, what: Any = "") -> None:
    assert theirs.tolist() == ours.tolist(), what


# ------------------------------------------------------------------------------------------------------- option sets


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("part", range(4))
def test_random_options(folders: dict[str, Path], name: str, part: int) -> None:
    theirs, ours = _pair(folders[name])
    different, compared = set(), 0
    for number, (mode, options) in enumerate(option_sets(20, seed=100 + part, vocabulary=VOCABULARY, eos=EOS)):
        images = pixels(theirs, 1 + number % 3, seed=number)
        expected, found = attempt(theirs, images, number, options), attempt(ours, images, number, options)
        if isinstance(expected, RuntimeError):  # the options forbid every token
            assert "probability tensor" in str(expected)
            assert isinstance(found, OptionError)
            assert "No token can be drawn" in str(found)
            continue
        same_ids(expected, found, f"{name} {mode} {options}")
        different.add(tuple(expected.flatten().tolist()))
        compared += 1
    assert compared >= 16
    assert len(different) > 10


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name not in SINUSOIDAL])
def test_greedy_and_beam_of_every_decoder(decoder: str, tmp_path: Path) -> None:
    name = next(name for name, (_, half) in VARIANTS.items() if half == decoder)
    reference_model(name).save_pretrained(tmp_path)
    theirs, ours = _pair(tmp_path)
    for options in ({}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 3, "no_repeat_ngram_size": 2}):
        same_ids(*both(theirs, ours, pixels(theirs, 3), max_length=15, **options), options)


# ------------------------------------------------------------------------------------------------ what is returned


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 3},
        {"num_beams": 4, "num_return_sequences": 2, "length_penalty": 0.3},
        {"do_sample": True, "top_k": 7, "num_return_sequences": 2},
        {"num_beams": 3, "do_sample": True, "temperature": 1.5},
    ],
    ids=["greedy", "beam", "beams", "sample", "beam-sample"],
)
def test_outputs(folders: dict[str, Path], name: str, options: dict[str, Any]) -> None:
    theirs, ours = _pair(folders[name])
    images = pixels(theirs, 3)
    wanted = dict.fromkeys(("output_scores", "output_logits", "output_attentions", "output_hidden_states"), True)
    expected, found = both(theirs, ours, images, max_length=12, **options, **wanted, return_dict_in_generate=True)
    same_ids(expected.sequences, found.sequences)
    names = [key for key in expected if key != "past_key_values"]
    assert names == [key for key in found if key not in ("finish_reasons", "token_logprobs", "text_scores")]
    for key in names[1:]:
        assert_same(found[key], expected[key], atol=2e-5, what=key)
    assert ("sequences_scores" in names) == ("num_beams" in options)
    if "sequences_scores" in names:
        assert found.text_scores == pytest.approx(expected.sequences_scores.tolist(), abs=2e-5)
    else:
        assert found.text_scores == pytest.approx([sum(row) / len(row) for row in found.token_logprobs])
    assert {"scores", "logits", "encoder_attentions", "cross_attentions", "decoder_hidden_states"} <= set(names)


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_of_beams_without_the_rest(folders: dict[str, Path], name: str) -> None:
    theirs, ours = _pair(folders[name])
    for penalty in (0.0, 1.0, 2.0):
        expected, found = both(
            theirs, ours, pixels(theirs, 3), num_beams=4, num_return_sequences=4, max_length=10, length_penalty=penalty,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        same_ids(expected.sequences, found.sequences)
        assert_same(found.sequences_scores, expected.sequences_scores)
        assert_same(found.beam_indices, expected.beam_indices)


# ----------------------------------------------------------------------------------------------------------- inputs


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True}], ids=["greedy", "beam", "sample"])
def test_prompts(folders: dict[str, Path], name: str, options: dict[str, Any]) -> None:
    theirs, ours = _pair(folders[name])
    images = pixels(theirs, 2)
    for prompt in (
        ids(2, 5),  # begins with the start token
        ids(2, 5)[:, 1:],  # does not
        torch.tensor([[EOS, 7], [5, 7]]),  # one does
        torch.tensor([[EOS], [EOS]]),
    ):
        expected, found = both(theirs, ours, images, max_new_tokens=6, decoder_input_ids=prompt, **options)
        same_ids(expected, found, prompt)
    mask = torch.ones(2, 5, dtype=torch.long)
    expected, found = both(
        theirs, ours, images, max_new_tokens=6, decoder_input_ids=ids(2, 5), decoder_attention_mask=mask, **options
    )
    same_ids(expected, found)


@pytest.mark.parametrize("name", FAMILIES)
def test_ways_to_say_the_inputs(folders: dict[str, Path], name: str) -> None:
    theirs, ours = _pair(folders[name])
    images = pixels(theirs, 2)
    with torch.no_grad():
        expected = theirs.generate(pixel_values=images, max_length=9)
        encoded = ours.get_encoder()(images)
        same_ids(expected, ours.generate(pixel_values=images, max_length=9))
        same_ids(expected, ours.generate(inputs=images, max_length=9))
        same_ids(expected, ours.generate(encoder_outputs=encoded, max_length=9))
        same_ids(expected, ours.generate(encoder_outputs=(encoded[0],), max_length=9))
        theirs_encoded = theirs.get_encoder()(images)
        same_ids(expected, ours.generate(encoder_outputs=theirs_encoded, max_length=9))


def test_other_image_sizes(folders: dict[str, Path]) -> None:
    theirs, ours = _pair(folders["gpt2"])
    images = pixels(theirs, 2, size=(32, 48))
    expected, found = both(theirs, ours, images, max_length=12, interpolate_pos_encoding=True)
    same_ids(expected, found)


@pytest.mark.parametrize("name", FAMILIES)
def test_start_token_given_in_the_call(folders: dict[str, Path], name: str) -> None:
    theirs, ours = _pair(folders[name])
    for start in (5, [[5], [9]], [5, 9]):
        try:
            expected, found = both(theirs, ours, pixels(theirs, 2), max_length=9, decoder_start_token_id=start)
        except (TypeError, ValueError, RuntimeError):  # not a spelling that 4.57.6 takes
            assert start == [[5], [9]]
            continue
        same_ids(expected, found, start)


@pytest.mark.parametrize("name", FAMILIES)
def test_callables(folders: dict[str, Path], name: str) -> None:
    theirs, ours = _pair(folders[name])
    images = pixels(theirs, 2)

    def allowed(image: int, tokens: torch.Tensor) -> list[int]:
        return [EOS, *range(3 + image + len(tokens) % 2, VOCABULARY, 2)]

    class Odd(transformers.LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            return scores.clone().index_fill_(1, torch.arange(4, VOCABULARY, 2), -5.0)

    class Seven(transformers.StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            return torch.full((input_ids.shape[0],), input_ids.shape[1] >= 7)

    for options in (
        {"prefix_allowed_tokens_fn": allowed},
        {"logits_processor": transformers.LogitsProcessorList([Odd()])},
        {"stopping_criteria": transformers.StoppingCriteriaList([Seven()])},
    ):
        for mode in ({}, {"num_beams": 3}, {"do_sample": True}):
            expected, found = both(theirs, ours, images, max_length=12, **options, **mode)
            same_ids(expected, found, (options, mode))


def test_a_streamer_gets_the_same(folders: dict[str, Path]) -> None:
    theirs, ours = _pair(folders["gpt2"])

    class Streamer(transformers.generation.BaseStreamer):
        def __init__(self) -> None:
            self.got: list[Any] = []

        def put(self, value: torch.Tensor) -> None:
            self.got.append(value.tolist())

        def end(self) -> None:
            self.got.append("end")

    streamers = []
    for model in (theirs, ours):
        streamers.append(Streamer())
        model.generate(pixels(theirs, 1), max_length=9, streamer=streamers[-1])
    assert streamers[0].got == streamers[1].got
    assert len(streamers[0].got) == 10


# ------------------------------------------------------------------------------------------- where options come from


def change(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content |= values
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}), encoding="utf-8")


def change_decoder(folder: Path, **values: Any) -> None:
    decoder = json.loads((folder / "config.json").read_text(encoding="utf-8"))["decoder"]
    change(folder, "config.json", decoder=decoder | values)


def only_generation_config(folder: Path) -> None:
    change(folder, "generation_config.json", max_length=9, num_beams=3, length_penalty=2.0)


def only_config(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    change(folder, "config.json", max_length=9, num_beams=3, early_stopping=True, no_repeat_ngram_size=2)


def only_decoder(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    change_decoder(folder, max_length=9, num_beams=2, repetition_penalty=1.5, min_length=5)


def decoder_under_config(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    change(folder, "config.json", max_length=8, num_beams=2)
    change_decoder(folder, max_length=12, num_beams=4, length_penalty=0.1, eos_token_id=9)


def both_files(folder: Path) -> None:
    change(folder, "generation_config.json", max_length=11, forced_bos_token_id=7)
    change(folder, "config.json", max_length=6, num_beams=4)


def another_start(folder: Path) -> None:
    change(folder, "generation_config.json", max_length=11, decoder_start_token_id=START)


def start_by_bos(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    change(folder, "config.json", decoder_start_token_id=..., max_length=11)
    change_decoder(folder, decoder_start_token_id=None, bos_token_id=4)


def several_ends(folder: Path) -> None:
    change(folder, "generation_config.json", max_length=15, eos_token_id=[EOS, *range(5, 25)], pad_token_id=PAD)


def no_cache(folder: Path) -> None:
    change(folder, "generation_config.json", use_cache=False, max_length=12, num_beams=2)
    change(folder, "config.json", use_cache=False)
    change_decoder(folder, use_cache=False)


def sampling(folder: Path) -> None:
    change(folder, "generation_config.json", do_sample=True, temperature=1.4, top_k=9, max_length=13)


def returned_as_a_dict(folder: Path) -> None:
    change(folder, "generation_config.json", return_dict_in_generate=True, output_scores=True, max_length=7)


LAYOUTS = [
    only_generation_config, only_config, only_decoder, decoder_under_config, both_files,
    another_start, start_by_bos, several_ends, no_cache, sampling, returned_as_a_dict,
]  # fmt: skip
CALLS: list[dict[str, Any]] = [{}, {"max_new_tokens": 5}, {"num_beams": 2}, {"max_length": 10, "num_beams": 1}]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_files_decide(folders: dict[str, Path], name: str, layout: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[name], tmp_path / "model"))
    layout(folder)
    theirs, ours = fresh_pair(folder)
    images = pixels(theirs, 2)
    own = transformers.GenerationConfig(max_length=8, num_beams=2, eos_token_id=EOS, pad_token_id=PAD)
    own_too = vision2seq.GenerationConfig(max_length=8, num_beams=2, eos_token_id=EOS, pad_token_id=PAD)
    for call in CALLS:
        expected, found = both(theirs, ours, images, **call)
        if layout is returned_as_a_dict:
            assert_same(found.scores, expected.scores)
            expected, found = expected.sequences, found.sequences
        same_ids(expected, found, call)
    expected = theirs.generate(images, generation_config=own, do_sample=False, return_dict_in_generate=False)
    found = ours.generate(images, generation_config=own_too, do_sample=False, return_dict_in_generate=False)
    same_ids(expected, found, "generation_config=")


@pytest.mark.parametrize("name", FAMILIES)
def test_ids_that_only_the_config_holds(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[name], tmp_path / "model"))
    absent = dict.fromkeys(("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id"), ...)
    change(folder, "generation_config.json", max_length=11, **absent)
    theirs, ours = fresh_pair(folder)
    images = pixels(theirs, 2)
    with pytest.raises(ValueError, match="decoder_start_token_id"):
        theirs.generate(images)
    expected = theirs.generate(images, decoder_start_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD)
    same_ids(expected, ours.generate(images))  # ours on purpose: what is written somewhere counts


@pytest.mark.parametrize("name", FAMILIES)
def test_use_cache_false_is_the_same_text(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[name], tmp_path / "model"))
    _, plain = _pair(folders[name])
    no_cache(folder)
    _, ours = fresh_pair(folder)
    images = pixels(plain, 2)
    same_ids(plain.generate(images, max_length=12, num_beams=2), ours.generate(images))
    same_ids(plain.generate(images, max_length=12), ours.generate(images, num_beams=1, use_cache=False))
    same_ids(plain.generate(images, max_length=12), ours.generate(images, num_beams=1, use_cache=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_changes_after_loading_count(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[name], tmp_path / "model"))
    (folder / "generation_config.json").unlink()
    theirs, ours = fresh_pair(folder)
    images = pixels(theirs, 2)
    for model in (theirs, ours):
        model.config.decoder_start_token_id = 6
        model.config.max_length = 12
        model.generation_config.max_length = 12
        model.generation_config.decoder_start_token_id = 6
        model.generation_config.num_beams = 3
        model.generation_config.no_repeat_ngram_size = 2
    same_ids(*both(theirs, ours, images))
    expected, found = both(theirs, ours, images, num_beams=1, min_length=9)
    same_ids(expected, found)
    assert expected[0, 0] == 6


@pytest.mark.parametrize("name", FAMILIES)
def test_text_is_not_cut_at_twenty_by_nobodys_wish(name: str, tmp_path: Path) -> None:
    import families

    decoder = families.VARIANTS[name][1]
    key = "n_positions" if decoder.startswith("gpt2") else "max_position_embeddings"
    kept = families.DECODERS[decoder]
    families.DECODERS[decoder] = kept | {key: 40 + kept[key] - 20}  # RoBERTa's first rows are not for texts
    try:
        reference_model(name, eos_token_id=None).save_pretrained(tmp_path)
    finally:
        families.DECODERS[decoder] = kept
    for file in ("config.json", "generation_config.json"):
        change(tmp_path, file, eos_token_id=...)
    change_decoder(tmp_path, eos_token_id=None)
    theirs, ours = fresh_pair(tmp_path)
    images = pixels(theirs, 2)
    assert theirs.generate(images).shape[1] == 21  # the start token and 20
    found = ours.generate(images)
    assert found.shape[1] == 40
    same_ids(theirs.generate(images, max_length=40), found)
    reasons = ours.generate(images, return_dict_in_generate=True).finish_reasons
    assert reasons == ["length", "length"]
    same_ids(theirs.generate(images, max_length=40, num_beams=2), ours.generate(images, num_beams=2))


def test_what_we_save_generates_the_same_there(folders: dict[str, Path], tmp_path: Path) -> None:
    _, ours = _pair(folders["trocr-small"])
    ours.generation_config.num_beams = 3
    ours.generation_config.max_length = 10
    try:
        ours.save_pretrained(tmp_path)
    finally:
        ours.generation_config.num_beams, ours.generation_config.max_length = 1, None
    theirs, again = fresh_pair(tmp_path)
    images = pixels(theirs, 2)
    same_ids(*both(theirs, again, images))
    assert theirs.generation_config.num_beams == again.generation_config.num_beams == 3


def test_from_encoder_decoder_pretrained(tmp_path: Path) -> None:
    halves = {}
    torch.manual_seed(0)
    vit = transformers.ViTModel(transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=40, image_size=16, patch_size=8))  # fmt: skip
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=24, n_layer=1, n_head=2, n_positions=30,
        vocab_size=50, bos_token_id=48, eos_token_id=49, add_cross_attention=True, is_decoder=True))  # fmt: skip
    for name, half in (("vit", vit), ("gpt2", gpt2)):
        halves[name] = tmp_path / name
        half.save_pretrained(halves[name])
    theirs = transformers.VisionEncoderDecoderModel.from_encoder_decoder_pretrained(halves["vit"], halves["gpt2"])
    ours = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(halves["vit"], halves["gpt2"])
    assert not any(module.training for module in ours.modules())
    mine, others = ours.state_dict(), theirs.state_dict()
    assert {name for name in others if "enc_to_dec" in name} == {name for name in mine if "enc_to_dec" in name}
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(ours.enc_to_dec_proj, name).copy_(getattr(theirs.enc_to_dec_proj, name))
    images = pixels(theirs, 2)
    expected = theirs.generate(images, max_length=12, decoder_start_token_id=48, pad_token_id=49, eos_token_id=49)
    same_ids(expected, ours.generate(images, max_length=12))
    config = ours.config
    assert (config.decoder_start_token_id, config.eos_token_id, config.pad_token_id) == (48, 49, 49)


# One of each type.
TYPES = list({values["model_type"]: name for name, values in reversed(DECODERS.items())}.values())


@pytest.mark.parametrize("decoder", sorted(set(TYPES) - {"trocr", "gpt2"}))
def test_from_other_decoders_pretrained(tmp_path: Path, decoder: str) -> None:
    name = next(name for name, (_, half) in VARIANTS.items() if half == decoder)
    made = reference_model(name)
    for half in ("encoder", "decoder"):
        getattr(made, half).save_pretrained(tmp_path / half)
    folders = tmp_path / "encoder", tmp_path / "decoder"
    theirs = transformers.VisionEncoderDecoderModel.from_encoder_decoder_pretrained(*folders)
    ours = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(*folders)
    with torch.no_grad():
        ours.enc_to_dec_proj.load_state_dict(theirs.enc_to_dec_proj.state_dict())
    images = pixels(theirs, 2)
    options = {"max_length": 12, "decoder_start_token_id": EOS, "pad_token_id": PAD, "eos_token_id": EOS}
    for beams in (1, 3):
        same_ids(*both(theirs, ours, images, num_beams=beams, **options))
