"""Make the TensorFlow checkpoints of the tests: `make fixtures` runs this, with TensorFlow and transformers 4.57.6.

For each model: PyTorch's class gets random weights, transformers copies them into its TensorFlow class, both are run on
the same input and must agree, and then the TensorFlow model is saved in every form. A zip file holds the forms,
config.json and, as ``expected.safetensors``, the tensors as PyTorch saves them. ``types.zip`` holds plain variables of
all types, and blocks that Snappy compressed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import cramjam
import numpy as np
import tensorflow as tf
import tf_keras
import torch
import transformers
from small_models import (
    BART,
    BERT,
    DECODERS,
    GPT2,
    VIT,
    VOCABULARY,
    draw_weights,
    inputs_for,
    joined,
    pack,
    save_expected,
)
from transformers.modeling_tf_pytorch_utils import load_pytorch_weights_in_tf2_model

HERE = Path(__file__).parent

ENCODERS = {
    "vit": transformers.ViTConfig(**VIT),
    "deit": transformers.DeiTConfig(**VIT),
    "swin": transformers.SwinConfig(
        image_size=16, patch_size=4, embed_dim=8, depths=[1, 2], num_heads=[2, 2], window_size=2
    ),
}
_BART = BART | {"d_model": 12, "decoder_layers": 2}
WHOLE = {"bart": transformers.BartConfig(**_BART), "mbart": transformers.MBartConfig(**_BART)}
HALVES = {  # name → PyTorch's class
    "vit": "ViTModel",
    "deit": "DeiTModel",
    "swin": "SwinModel",
    "gpt2": "GPT2LMHeadModel",
    "bert": "BertLMHeadModel",
    "roberta": "RobertaForCausalLM",
    "bart": "BartForConditionalGeneration",
    "mbart": "MBartForConditionalGeneration",
}
# Names and shapes in the files in which Google published BERT, and OpenAI GPT-2: → of a layer, and of all else.
PUBLISHED = {
    "bert": (
        {
            **{f"attention/self/{part}/kernel": (16, 16) for part in ("query", "key", "value")},
            **{f"attention/self/{part}/bias": (16,) for part in ("query", "key", "value")},
            "attention/output/dense/kernel": (16, 16),
            "attention/output/dense/bias": (16,),
            **{
                f"{part}/LayerNorm/{half}": (16,)
                for part in ("attention/output", "output")
                for half in ("beta", "gamma")
            },
            "intermediate/dense/kernel": (16, 24),
            "intermediate/dense/bias": (24,),
            "output/dense/kernel": (24, 16),
            "output/dense/bias": (16,),
        },
        {
            "bert/embeddings/word_embeddings": (VOCABULARY, 16),
            "bert/embeddings/position_embeddings": (14, 16),
            "bert/embeddings/token_type_embeddings": (2, 16),
            **{f"bert/embeddings/LayerNorm/{half}": (16,) for half in ("beta", "gamma")},
            "bert/pooler/dense/kernel": (16, 16),
            "bert/pooler/dense/bias": (16,),
            "cls/predictions/output_bias": (VOCABULARY,),
            "cls/predictions/transform/dense/kernel": (16, 16),
            "cls/predictions/transform/dense/bias": (16,),
            **{f"cls/predictions/transform/LayerNorm/{half}": (16,) for half in ("beta", "gamma")},
            "cls/seq_relationship/output_weights": (2, 16),
            "cls/seq_relationship/output_bias": (2,),
        },
    ),
    "gpt2": (
        {
            **{f"ln_{part}/{half}": (16,) for part in (1, 2) for half in "bg"},
            "attn/c_attn/w": (1, 16, 48),
            "attn/c_attn/b": (48,),
            "attn/c_proj/w": (1, 16, 16),
            "attn/c_proj/b": (16,),
            "mlp/c_fc/w": (1, 16, 64),
            "mlp/c_fc/b": (64,),
            "mlp/c_proj/w": (1, 64, 16),
            "mlp/c_proj/b": (16,),
        },
        {"model/wte": (VOCABULARY, 16), "model/wpe": (12, 16), "model/ln_f/b": (16,), "model/ln_f/g": (16,)},
    ),
}
JOINED = ("vit-gpt2", "deit-bert", "swin-roberta", "vit-bert")


def main() -> None:
    for old in HERE.glob("*.zip"):
        old.unlink()
    for name in JOINED:
        encoder, decoder = name.split("-")
        _make(name, joined(ENCODERS[encoder], DECODERS[decoder]), "VisionEncoderDecoderModel")
    for name, cls in HALVES.items():
        _make(f"half-{name}", (ENCODERS | DECODERS | WHOLE)[name], cls)
    for name in PUBLISHED:
        _make_published(name)
    _make_types()
    print({path.name: path.stat().st_size for path in sorted(HERE.glob("*.zip"))})


def _make(name: str, config: transformers.PretrainedConfig, cls: str) -> None:
    theirs = getattr(transformers, cls)(config).eval()
    draw_weights(theirs)
    model = getattr(transformers, f"TF{cls}")(config)
    inputs = inputs_for(config)
    if config.add_cross_attention:
        inputs["encoder_hidden_states"] = torch.ones(2, 3, config.hidden_size)
    model({key: tf.constant(value.numpy()) for key, value in inputs.items()}, training=False)
    load_pytorch_weights_in_tf2_model(
        model,
        theirs.state_dict(),
        tf_inputs=False,
        tf_to_pt_weight_rename=getattr(model, "tf_to_pt_weight_rename", None),
    )
    with torch.no_grad():
        expected = theirs(**inputs)[0].numpy()
    found = model({key: tf.constant(value.numpy()) for key, value in inputs.items()}, training=False)[0].numpy()
    assert abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-3)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model.save_pretrained(folder / "h5", safe_serialization=False)
        model.save_weights(folder / "objects" / "model.ckpt")
        (folder / "objects" / "checkpoint").unlink()
        if name == "vit-gpt2":
            model.save_pretrained(folder / "h5-sharded", safe_serialization=False, max_shard_size="20KB")
            model.save_pretrained(folder / "safetensors", safe_serialization=True)
            _save_by_name(model, folder / "names")
            _save_trained(model, folder)
            tf.saved_model.save(model, folder / "saved-model")
            for path in (folder / "saved-model").iterdir():
                if path.name != "variables":
                    path.unlink() if path.is_file() else shutil.rmtree(path)
        for file in folder.rglob("*.json"):
            if file.parent.name != "h5" and "index" not in file.name:
                file.unlink()
        (folder / "h5" / "config.json").rename(folder / "config.json")
        save_expected(theirs, folder)
        pack(folder, HERE / f"{name}.zip")


def _save_by_name(model: tf.Module, folder: Path) -> None:
    """As TensorFlow 1 saves: by name, in two files, with an optimizer's slots, counters, and a variable in slices."""
    folder.mkdir()
    values = {weight.name.removesuffix(":0"): weight.numpy() for weight in model.weights}
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        variables = []
        for name, value in values.items():
            scope, leaf = name.rsplit("/", 1)
            sliced = name.endswith(("wte/embeddings", "projection/kernel"))
            partitioner = v1.fixed_size_partitioner(3, axis=0) if sliced else None
            with v1.variable_scope(scope, partitioner=partitioner, use_resource=True):
                variables.append(v1.get_variable(leaf, value.shape, initializer=_Part(value)))
        step = v1.train.get_or_create_global_step()
        loss = tf.add_n([tf.reduce_sum(tf.convert_to_tensor(v)) for v in variables])
        train = v1.train.AdamOptimizer(0.0).minimize(loss, global_step=step)
        session.run(v1.global_variables_initializer())
        session.run(train)
        slices = v1.global_variables()
        for part, chosen in enumerate((slices[::2], slices[1::2])):
            v1.train.Saver(chosen, save_relative_paths=True).save(
                session, str(folder / f"part{part}"), write_meta_graph=False, write_state=False
            )
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(folder / "part0"), str(folder / "part1")],
        destination_prefix=str(folder / "model.ckpt"),
    )


def _make_published(name: str) -> None:
    """A checkpoint as TensorFlow 1 saved it, and the tensors that transformers' own converter makes of it."""
    layer, rest = PUBLISHED[name]
    stem = "bert/encoder/layer_" if name == "bert" else "model/h"
    shapes = {f"{stem}{number}/{part}": shape for number in range(2) for part, shape in layer.items()} | rest
    draw = np.random.default_rng(0)
    values = {key: draw.integers(-64, 65, shape).astype("float32") / 128 for key, shape in shapes.items()}
    trained = {}
    if name == "bert":  # what is left of its training
        trained = {f"{key}/adam_{moment}": value for key, value in values.items() for moment in "mv"}
        trained["global_step"] = np.int64(7)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tf.raw_ops.SaveV2(
            prefix=str(folder / f"{name}_model.ckpt"),
            tensor_names=[*values, *trained],
            shape_and_slices=[""] * (len(values) + len(trained)),
            tensors=[*values.values(), *trained.values()],
        )
        if name == "bert":
            config = transformers.BertConfig(**BERT | {"num_hidden_layers": 2})
            model: torch.nn.Module = transformers.BertForPreTraining(config)
            load = transformers.models.bert.modeling_bert.load_tf_weights_in_bert
            load(model, config, str(folder / "bert_model.ckpt"))
        else:
            config = transformers.GPT2Config(**GPT2)
            model = transformers.GPT2LMHeadModel(config)
            load = transformers.models.gpt2.modeling_gpt2.load_tf_weights_in_gpt2
            load(model.transformer, config, str(folder / "gpt2_model.ckpt"))
        config.save_pretrained(folder)
        save_expected(model, folder)
        pack(folder, HERE / f"published-{name}.zip")


class _Part:
    """Initialises a variable, or a slice of one, with its numbers."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def __call__(self, shape: list[int], dtype: object = None, partition_info: object = None) -> np.ndarray:
        starts = partition_info.var_offset if partition_info else [0] * len(shape)
        return self.value[tuple(slice(start, start + size) for start, size in zip(starts, shape, strict=True))]


def _save_trained(model: tf.Module, folder: Path) -> None:
    """Both optimizers of Keras, with slots; a learning rate of 0 and no gradients leave the weights alone."""
    few = model.trainable_variables[:4]
    for name, optimizers in (("trained", tf_keras.optimizers), ("trained-legacy", tf_keras.optimizers.legacy)):
        optimizer = optimizers.Adam(0.0)
        optimizer.apply_gradients([(tf.zeros_like(weight), weight) for weight in few])
        step = tf.Variable(7, dtype=tf.int64, name="step")
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step, accuracy=tf_keras.metrics.Mean())
        checkpoint.save(folder / name / "model.ckpt")
        (folder / name / "checkpoint").unlink()


def _make_types() -> None:
    """Variables of every type that torch has too, and one that it has not, in one checkpoint."""
    values = {
        name: tf.cast(tf.reshape(tf.range(6), [2, 3]), name)
        for name in (
            *("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16"),
            *("uint32", "uint64", "complex64", "complex128", "bool"),
        )
    }
    values |= {"empty": tf.zeros([0, 4]), "scalar": tf.constant(0.5), "text": tf.constant("not a weight")}
    values["negative"] = tf.constant([-1.5, float("inf"), -0.0])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for prefix, chosen in (("types", values), ("unknown", {"q": tf.bitcast(tf.constant([1], tf.int8), tf.qint8)})):
            tf.raw_ops.SaveV2(
                prefix=str(folder / prefix),
                tensor_names=list(chosen),
                shape_and_slices=[""] * len(chosen),
                tensors=list(chosen.values()),
            )
        words = Path(__file__).read_bytes()
        noise = np.random.default_rng(0).bytes(3000)
        for number, data in enumerate((b"", b"a", b"ab" * 300, words, words[::-1] * 9, noise)):
            (folder / f"{number}.plain").write_bytes(data)
            (folder / f"{number}.snappy").write_bytes(bytes(cramjam.snappy.compress_raw(data)))
        pack(folder, HERE / "types.zip")


if __name__ == "__main__":
    sys.exit(main())
