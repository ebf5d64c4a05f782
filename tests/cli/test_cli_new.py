"""`vision2seq new`: models whose configs and ids agree, from fresh or trained halves, ready for `finetune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lines
import pytest
import tiny
import torch

from vision2seq import AutoModelForVision2Seq, AutoProcessor, DeiTModel, GPT2LMHeadModel, Reader
from vision2seq.cli.inspect import examine
from vision2seq.cli.main import main
from vision2seq.errors import TokenizerError
from vision2seq.processing.text.characters import character_tokenizer

torch.set_num_threads(1)

Captured = pytest.CaptureFixture[str]
TINY = ["--image-size", "16x32", "--patch-size", "16x8", "--max-length", "16"]
TINY += ["--encoder-set", "hidden_size=32", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=64"]
TROCR = ["--decoder-set", "d_model=32", "decoder_layers=1", "decoder_attention_heads=2", "decoder_ffn_dim=64"]
GPT2 = ["--decoder-set", "n_embd=24", "n_layer=1", "n_head=2", "resid_pdrop=0.0"]


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "corpus.txt"
    file.write_text("\n".join(lines.TEXTS) + "\n\tñ€\n", encoding="utf-8")
    return file


def run(capsys: Captured, *arguments: Any) -> tuple[int, str, str]:
    status = main(["new", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize(("encoder", "decoder"), [("vit", "trocr"), ("deit", "gpt2")])
def test_fresh_models(capsys: Captured, tmp_path: Path, characters: Path, encoder: str, decoder: str) -> None:
    settings = [*TINY, *(TROCR if decoder == "trocr" else GPT2), "--characters", characters]
    status, out, err = run(capsys, tmp_path / "m", "--encoder", encoder, "--decoder", decoder, *settings)
    assert (status, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'm'}: {encoder} and {decoder}, 0.0")
    assert out.endswith("15 tokens, texts of up to 16 tokens\n")
    found = examine(str(tmp_path / "m"))
    assert found["problems"] == []
    assert found["encoder"]["image_size"] == [16, 32]
    assert found["decoder"]["vocabulary"] == found["tokenizer"]["tokens"] == 15
    assert found["decoder"]["positions"] == 16
    model = AutoModelForVision2Seq.from_pretrained(tmp_path / "m")
    processor = AutoProcessor.from_pretrained(tmp_path / "m")
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    for config in (model.config, model.config.decoder, model.generation_config):
        assert {name: getattr(config, name) for name in ids} == ids
    assert model.config.decoder.add_cross_attention
    assert model.generation_config.max_length == processor.tokenizer.model_max_length == 16
    assert processor.tokenizer.decode(processor.tokenizer("cab ñ€")["input_ids"], skip_special_tokens=True) == "cab ñ€"
    assert processor(tiny.picture(), return_tensors="pt").pixel_values.shape == (1, 3, 16, 32)
    run(capsys, tmp_path / "again", "--encoder", encoder, "--decoder", decoder, *settings)
    run(capsys, tmp_path / "other", "--encoder", encoder, "--decoder", decoder, *settings, "--seed", 1)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("m", "again", "other")]
    assert weights[0] == weights[1] != weights[2]


def test_finetune_trains_them(capsys: Captured, tmp_path: Path, characters: Path) -> None:
    data = lines.folder_of_lines(tmp_path / "lines")
    arguments = ["--encoder", "vit", "--decoder", "trocr", "--characters", characters, *TINY, *TROCR, "dropout=0.0"]
    assert run(capsys, tmp_path / "m", *arguments, "--keep-aspect")[0] == 0
    training = ["finetune", data, "--model", tmp_path / "m", "--out", tmp_path / "out", "--steps", 120, "--rate", 8e-3]
    training += ["--average", 0.8, "--warmup", 0.1, "--validate", data, "--validate-every", 60, "--quiet"]
    assert main(list(map(str, training))) == 0
    readings = Reader.from_pretrained(tmp_path / "out/final").read(sorted(data.glob("*.png")))
    assert [reading.text for reading in readings] == list(lines.TEXTS)


def test_pictures_can_keep_their_aspect(capsys: Captured, tmp_path: Path, characters: Path) -> None:
    arguments = ["--encoder", "vit", "--decoder", "trocr", "--characters", characters, *TINY, *TROCR, "--keep-aspect"]
    run(capsys, tmp_path / "m", *arguments)
    saved = json.loads((tmp_path / "m/preprocessor_config.json").read_text(encoding="utf-8"))
    assert saved["image_processor_type"] == "DonutImageProcessor"
    assert saved["size"] == {"height": 16, "width": 32}
    pixels = AutoProcessor.from_pretrained(tmp_path / "m")(tiny.picture(0, (16, 16)), return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 16, 32)
    assert bool((pixels[..., :8] == pixels[..., -8:]).all())  # padding on both sides


def test_trained_halves(capsys: Captured, tmp_path: Path, characters: Path) -> None:
    """A whole model's encoder, and a decoder and an encoder that lie in folders of their own."""
    whole = tiny.readable(tmp_path / "whole", decoder_start_token_id=tiny.EOS)
    source = AutoModelForVision2Seq.from_pretrained(whole)
    run(capsys, tmp_path / "a", "--encoder", whole, "--decoder", "trocr", "--characters", characters, *TROCR)
    taken = AutoModelForVision2Seq.from_pretrained(tmp_path / "a")
    assert all(
        torch.equal(each, taken.encoder.state_dict()[name]) for name, each in source.encoder.state_dict().items()
    )
    assert taken.enc_to_dec_proj is not None  # 16 channels to 32
    assert taken.generation_config.max_length == 128
    saved = json.loads((tmp_path / "a/preprocessor_config.json").read_text(encoding="utf-8"))
    assert (saved["image_processor_type"], saved["size"]) == ("ViTImageProcessor", {"height": 16, "width": 16})

    run(capsys, tmp_path / "b", "--encoder", whole, "--decoder", whole, "--decoder-set", "dropout=0.5")
    taken = AutoModelForVision2Seq.from_pretrained(tmp_path / "b")
    assert all(torch.equal(each, taken.state_dict()[name]) for name, each in source.state_dict().items())
    assert taken.config.decoder.dropout == 0.5
    assert taken.config.decoder_start_token_id == tiny.EOS  # as the decoder has learned it
    assert taken.generation_config.max_length == 16

    config = {key: value for key, value in tiny.GPT2.items() if key != "model_type"}
    gpt2 = tiny.model("gpt2").decoder
    assert isinstance(gpt2, GPT2LMHeadModel)
    gpt2.config.add_cross_attention = gpt2.config.is_decoder = False
    gpt2.save_pretrained(tmp_path / "gpt2")
    tiny.write_tokenizer(tmp_path / "gpt2")
    deit = tiny.model(encoder={"model_type": "deit"}).encoder
    assert isinstance(deit, DeiTModel)
    deit.save_pretrained(tmp_path / "deit")
    with pytest.warns(UserWarning, match="a DeiTImageProcessor for 16x16 pixels"):
        status, _, err = run(capsys, tmp_path / "c", "--encoder", tmp_path / "deit", "--decoder", tmp_path / "gpt2")
    assert (status, err) == (0, "")
    taken = AutoModelForVision2Seq.from_pretrained(tmp_path / "c")
    assert torch.equal(taken.decoder.transformer.wte.weight, gpt2.transformer.wte.weight)
    assert torch.equal(taken.encoder.embeddings.cls_token, deit.embeddings.cls_token)
    assert taken.config.decoder.n_embd == config["n_embd"]
    assert examine(str(tmp_path / "c"))["problems"] == []


def test_calls_that_are_wrong(capsys: Captured, tmp_path: Path, characters: Path) -> None:
    whole = tiny.readable(tmp_path / "whole")
    encoder = tmp_path / "encoder"
    tiny.model().encoder.save_pretrained(encoder)
    fresh = ["--encoder", "vit", "--decoder", "trocr", *TROCR]
    spelled = [*fresh, "--characters", characters]
    nothing = tmp_path / "nothing.txt"
    nothing.write_text("\n\n", encoding="utf-8")
    for arguments, message in (
        ([whole, *spelled], "is there already and is no empty folder. Name another one for the new model."),
        ([tmp_path / "m", *fresh], "Nothing says how texts are spelled: name the folder of a tokenizer, or a file of"),
        ([tmp_path / "m", *fresh, "--characters", tmp_path / "gone"], "gone cannot be read ("),
        ([tmp_path / "m", *fresh, "--characters", nothing], "nothing.txt holds no characters. Expected a text"),
        ([tmp_path / "m", *spelled, "--max-length", 2], "max_length is 2, expected from 3: a start token, one of text"),
        ([tmp_path / "m", *spelled, "--image-size", "0x5"], "image_size is 0x5, expected pixels from 1"),
        ([tmp_path / "m", *spelled, "--patch-size", "999"], "patch_size [999, 999] does not fit into image_size"),
        (
            [tmp_path / "m", *spelled, "--encoder-set", "hidden=3"],
            "The config of a vit encoder has no 'hidden'. Did you",
        ),
        ([tmp_path / "m", *spelled, "--decoder-set", "vocab_size=9"], "The tokenizer has 15 tokens, the decoder 9."),
        (
            [tmp_path / "m", "--encoder", "vitt", "--decoder", "trocr", "--characters", characters],
            "and no checkpoint. Did you mean 'vit'? 'vitt' is not a local folder",
        ),
        (
            [tmp_path / "m", "--encoder", "vit", "--decoder", encoder, "--tokenizer", whole],
            "Unknown decoder of type 'vit'. Known: ",
        ),
        (
            [tmp_path / "m", "--encoder", whole, "--decoder", whole, "--max-length", 17],
            "max_length is 17, but the decoder has 16 positions; expected at most that.",
        ),
        (
            [tmp_path / "m", "--encoder", "vit", "--decoder", whole, "--characters", characters],
            "a decoder from a folder has a vocabulary of its own. Leave the file out, or take a fresh decoder.",
        ),
    ):
        status, out, err = run(capsys, *arguments)
        assert (status, out) == (1, ""), message
        assert message in err
    assert not (tmp_path / "m").exists()
    for wrong in (["--image-size", "32:64"], ["--encoder-set", "hidden_size"]):
        with pytest.raises(SystemExit):
            run(capsys, tmp_path / "m", *spelled, *wrong)
        assert "expected" in capsys.readouterr().err


def test_a_tokenizer_without_an_end_is_refused(capsys: Captured, tmp_path: Path) -> None:
    tiny.write_tokenizer(tmp_path / "t")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = tmp_path / "t" / name
        values = {k: v for k, v in json.loads(file.read_text()).items() if k not in ("eos_token", "sep_token")}
        file.write_text(json.dumps(values))
    status, _, err = run(
        capsys, tmp_path / "m", "--encoder", "vit", "--decoder", "trocr", "--tokenizer", tmp_path / "t"
    )
    assert status == 1
    assert "The tokenizer has no token for eos_token_id (looked for eos_token_id, sep_token_id). Give it special" in err


def test_character_tokenizers() -> None:
    tokenizer = character_tokenizer(" ab€")
    assert tokenizer("ab €x")["input_ids"] == [0, 5, 6, 4, 7, 3, 2]
    assert tokenizer.decode([0, 5, 4, 4, 6, 2], skip_special_tokens=True) == "a  b"
    with pytest.raises(TokenizerError, match="'a' is among the characters; expected single ones, each of them once"):
        character_tokenizer("aba")
    with pytest.raises(TokenizerError, match="'ab' is among the characters"):
        character_tokenizer(["ab"])
