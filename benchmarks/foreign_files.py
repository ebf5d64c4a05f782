"""One ViT-GPT2 model with random weights in the files of three frameworks, each written by the framework itself.

Usage: `python benchmarks/foreign_files.py safetensors|h5|bundle|msgpack FOLDER [--shape base]`, in an environment that
has what writes the format; safetensors first, the others are made of them. `benchmarks/foreign.py` calls it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# ViT-base and GPT-2 small with cross-attention: 239 M parameters. The tiny one is to try the benchmark with.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "base": ({}, {}),
    "tiny": (
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "image_size": 32,
        },
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": 500},
    ),
}


def safetensors(shape: str, home: Path, target: Path) -> None:
    """The model itself, by this package."""
    from vision2seq import AutoModelForVision2Seq, VisionEncoderDecoderConfig

    encoder, decoder = SHAPES[shape]
    config = VisionEncoderDecoderConfig(
        encoder={"model_type": "vit", **encoder},
        decoder={"model_type": "gpt2", **decoder},
        decoder_start_token_id=1,
        pad_token_id=1,
        eos_token_id=2,
    )
    AutoModelForVision2Seq.from_config(config).save_pretrained(target)


def h5(shape: str, home: Path, target: Path) -> None:
    """By Keras."""
    _tensorflow(home).save_pretrained(target, safe_serialization=False)


def bundle(shape: str, home: Path, target: Path) -> None:
    """By TensorFlow, which names the variables by the objects that hold them."""
    _tensorflow(home).save_weights(target / "model.ckpt")
    shutil.copy(home / "safetensors" / "config.json", target)


def msgpack(shape: str, home: Path, target: Path) -> None:
    """By Flax."""
    from transformers import FlaxVisionEncoderDecoderModel

    FlaxVisionEncoderDecoderModel.from_pretrained(home / "safetensors", from_pt=True).save_pretrained(target)


def _tensorflow(home: Path) -> Any:
    """The model as one of TensorFlow."""
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    import tensorflow as tf
    from safetensors.torch import load_file
    from transformers import TFVisionEncoderDecoderModel, VisionEncoderDecoderConfig
    from transformers.modeling_tf_pytorch_utils import load_pytorch_weights_in_tf2_model

    model = TFVisionEncoderDecoderModel(VisionEncoderDecoderConfig.from_pretrained(home / "safetensors"))
    size = model.config.encoder.image_size
    model(pixel_values=tf.zeros([1, 3, size, size]), decoder_input_ids=tf.ones([1, 2], tf.int32), training=False)
    load_pytorch_weights_in_tf2_model(
        model,
        load_file(home / "safetensors" / "model.safetensors"),
        tf_inputs=False,
        allow_missing_keys=True,  # tied ones
        tf_to_pt_weight_rename=model.tf_to_pt_weight_rename,
    )
    return model


MAKERS: dict[str, Callable[[str, Path, Path], None]] = {
    "safetensors": safetensors,
    "h5": h5,
    "bundle": bundle,
    "msgpack": msgpack,
}


def main() -> int:
    """Write one format, under a temporary name first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=MAKERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    options = parser.parse_args()
    target = options.folder / options.format
    if not target.exists():
        partial = target.with_name(target.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        MAKERS[options.format](options.shape, options.folder, partial)
        os.replace(partial, target)
    print(json.dumps(sorted(path.name for path in target.iterdir())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
