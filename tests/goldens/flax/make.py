"""Make the Flax checkpoints of the tests: `make fixtures` runs this, with Flax 0.7.0 and transformers 4.57.6.

For each model: PyTorch's class gets random weights, transformers copies them into its Flax class, both are run on the
same input and must agree, and then the Flax model is saved in every form. A zip file holds the forms, config.json and,
as ``expected.safetensors``, the tensors as PyTorch saves them. ``types.zip`` holds arrays of all types, also chunked.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from small_models import BART, DECODERS, VIT, draw_weights, inputs_for, joined, pack, save_expected
from transformers.modeling_flax_pytorch_utils import convert_pytorch_state_dict_to_flax

HERE = Path(__file__).parent

ENCODERS = {
    "vit": transformers.ViTConfig(**VIT),
    "beit": transformers.BeitConfig(**VIT, use_relative_position_bias=True, use_mask_token=False),
}
_BART = BART | {"d_model": 16, "decoder_layers": 1}
DECODERS = {**DECODERS, "bart": transformers.BartConfig(**_BART)}
WHOLE = {"mbart": transformers.MBartConfig(**_BART)}
HALVES = {  # name → PyTorch's class, Flax' class
    "vit": ("ViTModel", "FlaxViTModel"),
    "beit": ("BeitModel", "FlaxBeitModel"),
    "bert": ("BertLMHeadModel", "FlaxBertForCausalLM"),
    "gpt2": ("GPT2LMHeadModel", "FlaxGPT2LMHeadModel"),
    "mbart": ("MBartForConditionalGeneration", "FlaxMBartForConditionalGeneration"),
}
JOINED = ("vit-gpt2", "vit-bart", "vit-bert", "vit-roberta")


def main() -> None:
    for old in HERE.glob("*.zip"):
        old.unlink()
    for name in JOINED:
        encoder, decoder = name.split("-")
        _make(
            name,
            joined(ENCODERS[encoder], DECODERS[decoder]),
            "VisionEncoderDecoderModel",
            "FlaxVisionEncoderDecoderModel",
        )
    for name, classes in HALVES.items():
        _make(f"half-{name}", (ENCODERS | DECODERS | WHOLE)[name], *classes)
    _make_types()
    print({path.name: path.stat().st_size for path in sorted(HERE.glob("*.zip"))})


def _make(name: str, config: transformers.PretrainedConfig, cls: str, flax_cls: str) -> None:
    theirs = getattr(transformers, cls)(config).eval()
    draw_weights(theirs)
    model = _built(getattr(transformers, flax_cls), config)
    model.params = jax.tree_util.tree_map(jnp.asarray, convert_pytorch_state_dict_to_flax(theirs.state_dict(), model))
    inputs = inputs_for(config)
    with torch.no_grad():
        expected = theirs(**inputs)[0].numpy()
    arrays = {key: value.numpy() for key, value in inputs.items()}
    if name.endswith("-roberta"):  # the Flax class forgets that RoBERTa counts positions from behind the padding id
        arrays["decoder_position_ids"] = np.arange(2, 7)[None].repeat(2, axis=0)
    found = np.asarray(model(**arrays)[0])
    assert abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-3)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model.save_pretrained(folder / "msgpack")
        if name == "vit-gpt2":
            model.save_pretrained(folder / "msgpack-sharded", max_shard_size="20KB")
            model.save_pretrained(folder / "safetensors", safe_serialization=True)
            halved = model.to_bf16(model.params)
            model.save_pretrained(folder / "bfloat16", params=halved)
        for file in folder.rglob("*.json"):
            if file.parent.name != "msgpack" and "index" not in file.name:
                file.unlink()
        (folder / "msgpack" / "config.json").rename(folder / "config.json")
        save_expected(theirs, folder)
        pack(folder, HERE / f"{name}.zip")


def _built(flax_cls: type, config: transformers.PretrainedConfig) -> object:
    if hasattr(config, "encoder"):
        size = (1, config.encoder.image_size, config.encoder.image_size, 3)
        return flax_cls(config, input_shape=(size, (1, 1)))
    return flax_cls(config)


def _make_types() -> None:
    """Arrays of every type that torch has too, scalars, one in chunks, and one of a type that torch has not."""
    names = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in (*names, "complex64", "complex128", "bool")}
    arrays |= {
        "bfloat16": np.asarray(jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)),
        "empty": np.zeros([0, 4], np.float32),
        "scalar": np.float32(0.5),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "types.msgpack").write_bytes(flax.serialization.msgpack_serialize({"a": arrays, "c": {}}))
        flax.serialization.MAX_CHUNK_SIZE = 40
        chunked = {"w": {"kernel": np.arange(60, dtype=np.float32).reshape(3, 20)}}
        (folder / "chunked.msgpack").write_bytes(flax.serialization.msgpack_serialize(chunked))
        unknown = {"when": np.zeros(2, "datetime64[s]")}
        (folder / "unknown.msgpack").write_bytes(flax.serialization.msgpack_serialize(unknown))
        pack(folder, HERE / "types.zip")


if __name__ == "__main__":
    sys.exit(main())
