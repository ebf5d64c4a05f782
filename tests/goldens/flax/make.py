"""Make the Flax checkpoints of the tests: `make fixtures` runs this, with Flax 0.7.0 and transformers 4.57.6.

For each model: PyTorch's class gets random weights, transformers copies them into its Flax class, both are run on the
same input and must agree, and then the Flax model is saved in every form. A zip file holds the forms, config.json and,
as ``expected.safetensors``, the tensors as PyTorch saves them. ``types.zip`` holds arrays of all types, also chunked.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers.modeling_flax_pytorch_utils import convert_pytorch_state_dict_to_flax

HERE = Path(__file__).parent
VOCABULARY = 31

_VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 16,
    "patch_size": 8,
}
_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 14,
}
_BART = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 14,
}
ENCODERS = {
    "vit": transformers.ViTConfig(**_VIT),
    "beit": transformers.BeitConfig(**_VIT, use_relative_position_bias=True, use_mask_token=False),
}
DECODERS = {
    "gpt2": transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=12),
    "bert": transformers.BertConfig(**_BERT | {"hidden_size": 12}, is_decoder=True, add_cross_attention=True),
    "roberta": transformers.RobertaConfig(**_BERT, is_decoder=True, add_cross_attention=True),
    "bart": transformers.BartConfig(**_BART),
}
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
        halves = ENCODERS[encoder], DECODERS[decoder]
        config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(*halves)
        config.decoder_start_token_id = config.pad_token_id = 1
        _make(name, config, "VisionEncoderDecoderModel", "FlaxVisionEncoderDecoderModel")
    for name, classes in HALVES.items():
        _make(f"half-{name}", (ENCODERS | DECODERS | WHOLE)[name], *classes)
    _make_types()
    print({path.name: path.stat().st_size for path in sorted(HERE.glob("*.zip"))})


def _make(name: str, config: transformers.PretrainedConfig, cls: str, flax_cls: str) -> None:
    theirs = getattr(transformers, cls)(config).eval()
    _draw(theirs)
    model = _built(getattr(transformers, flax_cls), config)
    model.params = jax.tree_util.tree_map(jnp.asarray, convert_pytorch_state_dict_to_flax(theirs.state_dict(), model))
    inputs = _inputs(config, cls)
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
        kept: dict[int, str] = {}
        state = {key: value.contiguous() for key, value in theirs.state_dict().items()}
        save_file(
            {key: value for key, value in state.items() if kept.setdefault(value.data_ptr(), key) == key},
            folder / "expected.safetensors",
            metadata={"format": "pt"},
        )
        _pack(folder, name)


def _built(flax_cls: type, config: transformers.PretrainedConfig) -> object:
    if hasattr(config, "encoder"):
        size = (1, config.encoder.image_size, config.encoder.image_size, 3)
        return flax_cls(config, input_shape=(size, (1, 1)))
    return flax_cls(config)


def _draw(model: torch.nn.Module) -> None:
    """Random weights of few digits, so that they pack well."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randint(-64, 65, parameter.shape, generator=draw) / 128
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + noise / 4 if norm else noise)


def _inputs(config: transformers.PretrainedConfig, cls: str) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 3, 16, 16, generator=draw)
    ids = torch.randint(4, VOCABULARY, (2, 5), generator=draw)
    if cls == "VisionEncoderDecoderModel":
        return {"pixel_values": pixels, "decoder_input_ids": ids}
    if config.model_type in ENCODERS:
        return {"pixel_values": pixels}
    if config.model_type in WHOLE:
        return {"input_ids": ids, "decoder_input_ids": ids}
    return {"input_ids": ids}


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
        _pack(folder, "types")


def _pack(folder: Path, name: str) -> None:
    with zipfile.ZipFile(HERE / f"{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
