"""`model.generate` as a whole: what it takes, what it refuses, and the slow obvious loop that it has to agree with."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from vision2seq import AutoTokenizer, GenerationConfig, TextIteratorStreamer, VisionEncoderDecoderModel
from vision2seq.errors import ConfigError, ImageError, OptionError, UnknownOptionError, UnsupportedError

torch.set_num_threads(1)

DECODERS = sorted(tiny.DECODERS)
ENDS = [tiny.EOS, *range(20, 28)]


@pytest.fixture(scope="module")
def model() -> VisionEncoderDecoderModel:
    return tiny.model(seed=3)


def slow(model: Any, pixels: torch.Tensor, length: int = 16) -> list[list[int]]:
    """Greedy decoding of one image at a time, without a cache: all tokens go through the model at each step.

    Padding is never chosen: sinusoidal positions do not count it, as in the reference, so a text with padding inside
    depends on how it was fed.
    """
    rows = []
    for image in pixels:
        ids = [tiny.EOS]
        while len(ids) < length and (len(ids) == 1 or ids[-1] not in ENDS):
            with torch.no_grad():
                logits = model(pixel_values=image[None], decoder_input_ids=torch.tensor([ids]), use_cache=False).logits
            logits[:, :, tiny.PAD] = -float("inf")
            ids.append(int(logits[0, -1].argmax()))
        rows.append(ids)
    return rows


@pytest.mark.parametrize("decoder", DECODERS)
def test_as_the_slow_obvious_loop(decoder: str) -> None:
    lengths = set()
    for seed in (0, 2, 3, 6):
        model = tiny.model(decoder, seed=seed)
        pixels = tiny.pixels(5, seed=seed)
        expected = slow(model, pixels)
        for row, ids in zip(
            model.generate(pixels, suppress_tokens=[tiny.PAD], eos_token_id=ENDS).tolist(), expected, strict=True
        ):
            assert row[: len(ids)] == ids
            assert set(row[len(ids) :]) <= {tiny.PAD}
            lengths.add(len(ids))
    assert len(lengths) > 1  # some ended by themselves


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 2}], ids=["greedy", "beam"])
def test_a_batch_is_its_singles(decoder: str, options: dict[str, Any]) -> None:
    model = tiny.model(decoder, seed=3)
    pixels = tiny.pixels(6, seed=5)
    whole = model.generate(pixels, return_dict_in_generate=True, **options)
    each = options.get("num_return_sequences", 1)
    for number in range(6):
        single = model.generate(pixels[number : number + 1], return_dict_in_generate=True, **options)
        for row in range(each):
            length = single.sequences.shape[1]
            ids = whole.sequences[number * each + row]
            assert ids[:length].tolist() == single.sequences[row].tolist()
            assert set(ids[length:].tolist()) <= {tiny.PAD}
            assert whole.finish_reasons[number * each + row] == single.finish_reasons[row]


def test_two_threads_share_a_model(model: VisionEncoderDecoderModel) -> None:
    batches = [tiny.pixels(3, seed=seed) for seed in range(4)]
    expected = [model.generate(pixels).tolist() for pixels in batches]
    found: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda n=number: found.update({n: model.generate(batches[n]).tolist()}))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(4)] == expected


def test_a_streamer_in_a_thread(model: VisionEncoderDecoderModel, tmp_path: Path) -> None:
    tiny.write_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    pixels = tiny.pixels(2)[1:]
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    thread = threading.Thread(target=model.generate, args=(pixels,), kwargs={"streamer": streamer})
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text == tokenizer.decode(model.generate(pixels)[0, 1:].tolist(), skip_special_tokens=True)
    assert text


def test_gradients_are_not_kept(model: VisionEncoderDecoderModel) -> None:
    output = model.generate(tiny.pixels(), output_scores=True, return_dict_in_generate=True)
    assert not any(score.requires_grad for score in output.scores)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_pixels_of_another_dtype(model: VisionEncoderDecoderModel, dtype: torch.dtype) -> None:
    pixels = tiny.pixels().half().float()
    assert torch.equal(model.generate(pixels.to(dtype)), model.generate(pixels))


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({}, OptionError, "have to specify pixel_values, or encoder_outputs"),
        ({"inputs": [1, 2]}, OptionError, "pixel_values are a list, expected a tensor .*return_tensors='pt'"),
        ({"inputs": np.zeros((1, 3, 16, 16))}, OptionError, "pixel_values are a ndarray"),
        ({"inputs": torch.zeros(0, 3, 16, 16)}, ImageError, "hold no image; expected at least one"),
        (
            {"inputs": torch.zeros(3, 16, 16)},
            ImageError,
            r"shape \[3, 16, 16\]; .* expects \[images, 3, 16, 16\]",
        ),
        ({"inputs": torch.zeros(1, 1, 16, 16)}, ImageError, r"shape \[1, 1, 16, 16\]; this model expects"),
        ({"inputs": torch.zeros(1, 3, 16, 24)}, ImageError, "16×24 .*built for 16×16.*interpolate_pos_encoding=True"),
        ({"inputs": torch.full((1, 3, 16, 16), float("nan"))}, ImageError, "NaN or infinite numbers.*preprocessing"),
        ({"inputs": torch.full((1, 3, 16, 16), float("inf"))}, ImageError, "NaN or infinite numbers"),
    ],
)
def test_wrong_images(
    model: VisionEncoderDecoderModel, inputs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model.generate(**inputs)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pixel_values": tiny.pixels()}, OptionError, "Both inputs and pixel_values were given"),
        ({"max_lenght": 5}, UnknownOptionError, r"no argument 'max_lenght'\. Did you mean 'max_length'\?"),
        ({"input_ids": tiny.ids()}, UnknownOptionError, r"Did you mean 'decoder_input_ids'\?"),
        ({"max_length": 1}, OptionError, "prompt has 1 tokens and max_length, which counts them, is 1"),
        ({"num_return_sequences": 2}, OptionError, "greedy decoding has one. Set num_beams"),
        ({"generation_config": {"num_beams": 2}}, OptionError, "generation_config is a dict, expected a Generation"),
        ({"use_model_defaults": True}, UnsupportedError, "use_model_defaults is not supported"),
        ({"num_beam_groups": 2, "num_beams": 4}, UnsupportedError, "num_beam_groups=2 is not supported: use num_beams"),
        ({"stop_strings": "a"}, OptionError, "needs the tokenizer"),
        ({"decoder_start_token_id": 37}, OptionError, "start_token_id holds 37, but the decoder's tokens are 0 to 36"),
        ({"decoder_start_token_id": [2, 2, 2]}, OptionError, "lists 3 ids for 2 images; expected one, or 2"),
        ({"decoder_input_ids": [[2, 5]]}, OptionError, "decoder_input_ids are a list, expected a tensor"),
        ({"decoder_input_ids": torch.tensor([[2, 5]])}, OptionError, r"shape \[1, 2\]; expected .* \[2, tokens\]"),
        ({"decoder_input_ids": torch.ones(2, 2)}, OptionError, "are torch.float32 of shape"),
        ({"decoder_input_ids": torch.tensor([[2, 5], [2, -1]])}, OptionError, "decoder_input_ids holds -1"),
        ({"decoder_input_ids": torch.full((2, 16), 5)}, OptionError, "the decoder holds 16, which leaves no room"),
        (
            {"decoder_input_ids": tiny.ids(), "decoder_attention_mask": torch.tensor([[0] + [1] * 5] * 2)},
            UnsupportedError,
            "hides some tokens of the prompt.*pass prompts of one length",
        ),
    ],
)
def test_wrong_options(
    model: VisionEncoderDecoderModel, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model.generate(tiny.pixels(), **options)


def test_no_token_to_start_with() -> None:
    model = tiny.model(
        "trocr", decoder_start_token_id=None, more={"bos_token_id": None, "decoder_start_token_id": None}
    )
    with pytest.raises(ConfigError, match="`decoder_start_token_id` or `bos_token_id` has to be .*Set model.config"):
        model.generate(tiny.pixels())
    model.config.decoder_start_token_id = tiny.EOS
    assert model.generate(tiny.pixels())[:, 0].tolist() == [tiny.EOS] * 2


def test_a_config_given_to_the_call(model: VisionEncoderDecoderModel) -> None:
    config = GenerationConfig(num_beams=2, max_length=7)
    before = config.to_dict()
    pixels = tiny.pixels()
    assert torch.equal(model.generate(pixels, config), model.generate(pixels, num_beams=2, max_length=7))
    assert model.generate(pixels, generation_config=config, max_length=5).shape[1] <= 5
    assert config.to_dict() == before


def test_start_for_own_loops(model: VisionEncoderDecoderModel) -> None:
    from vision2seq.generation import iterate

    pixels = tiny.pixels()
    session, arguments = model.start(pixels, max_length=9)
    columns = [step.tokens.tolist() for step in iterate(session, **arguments)]
    ids = model.generate(pixels, max_length=9)
    assert [columns[0][0], columns[0][1]] == ids[:, 1].tolist()
    assert len(columns) == ids.shape[1] - 1
    with pytest.raises(UnknownOptionError, match="'max_lenght'"):
        model.start(pixels, max_lenght=3)


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        ((), {}, OptionError, "Pass encoder_pretrained_model_name_or_path"),
        (("encoder",), {}, OptionError, "Pass decoder_pretrained_model_name_or_path"),
        (("decoder", "encoder"), {}, ConfigError, r"Unknown encoder of type 'trocr'.*Known: .*deit, .*vit"),
        (("encoder", "encoder"), {}, ConfigError, r"Unknown decoder of type 'vit'.*Known: .*gpt2, .*trocr"),
        (("encoder", "decoder"), {"decoder_dropuot": 0.1}, UnknownOptionError, r"'dropuot'.*Did you mean 'dropout'\?"),
    ],
)
def test_wrong_halves(
    tmp_path: Path,
    model: VisionEncoderDecoderModel,
    names: tuple[str, ...],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    model.encoder.save_pretrained(tmp_path / "encoder")
    model.decoder.save_pretrained(tmp_path / "decoder")
    with pytest.raises(error, match=message):
        VisionEncoderDecoderModel.from_encoder_decoder_pretrained(*(tmp_path / name for name in names), **options)


def test_halves_joined(tmp_path: Path, model: VisionEncoderDecoderModel) -> None:
    model.encoder.save_pretrained(tmp_path / "encoder")
    model.decoder.save_pretrained(tmp_path / "decoder")
    join = VisionEncoderDecoderModel.from_encoder_decoder_pretrained
    pixels = tiny.pixels()
    for joined in (
        join(tmp_path / "encoder", str(tmp_path / "decoder")),
        join(encoder_model=model.encoder, decoder_model=model.decoder),
        join(tmp_path / "encoder", decoder_model=model.decoder),
    ):
        assert not joined.training
        assert joined.config.decoder_start_token_id == tiny.EOS
        assert (joined.config.pad_token_id, joined.config.eos_token_id) == (tiny.PAD, tiny.EOS)
        assert torch.equal(joined.generate(pixels), model.generate(pixels))
    changed = join(
        tmp_path / "encoder",
        tmp_path / "decoder",
        encoder_hidden_dropout_prob=0.25,
        decoder_dropout=0.5,
        decoder_start_token_id=7,
        max_length=5,
    )
    assert changed.config.encoder.hidden_dropout_prob == 0.25
    assert changed.config.decoder.dropout == 0.5
    assert changed.generate(pixels)[:, 0].tolist() == [7, 7]
    assert changed.generate(pixels).shape[1] <= 5
