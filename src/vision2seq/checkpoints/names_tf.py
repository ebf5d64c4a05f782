"""TensorFlow's names and layouts of variables as PyTorch's, for the models of transformers.

``tf_vision_encoder_decoder_model/decoder/transformer/h_._0/ln_1/gamma:0`` is ``decoder.transformer.h.0.ln_1.weight``.
So is ``model/h0/ln_1/g`` for a GPT-2 alone: the files in which BERT and GPT-2 were first published have names of their
own.

Source: the naming of transformers 4.57.6's TensorFlow classes, and of what its ``load_tf_weights_in_bert`` and
``load_tf_weights_in_gpt2`` read, as the fixtures in tests/goldens show it.
"""

from __future__ import annotations

import re

from torch import Tensor

# The first part of a name is the model's own, which PyTorch does not have, unless it is one of these: files that
# transformers writes as shards or as safetensors lack the model's.
_FIRST_PARTS = frozenset(
    "encoder decoder enc_to_dec_proj vit deit swin beit bert roberta transformer model cls lm_head classifier "
    "mlm___cls nsp___cls final_logits_bias".split()
)
_LAST_PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "embeddings": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# By the number of axes: a dense layer's (in, out), a convolution's (width, in, out) or (height, width, in, out).
_KERNELS = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
_SPELLINGS = (
    (re.compile(r":\d+$"), ""),  # which output of an operation
    (re.compile(r"_\._"), "/"),  # a layer's number
    (re.compile(r"(^|(?<=/))[^/]*?___"), ""),  # what a layer is called besides its name
)
# As first published by Google (BERT) and OpenAI (GPT-2).
_PUBLISHED = (
    (re.compile(r"^(bert/encoder/layer)_(\d+)(?=/)"), r"\1/\2"),
    (re.compile(r"^(bert/embeddings/\w+_embeddings)$"), r"\1/weight"),
    (re.compile(r"^(cls/\w+)/output_(weight|bias)s?$"), r"\1/\2"),
    (re.compile(r"^model/(w[tp]e)$"), r"transformer/\1/weight"),
    (re.compile(r"^model/h(\d+)/(.*)/[wg]$"), r"transformer/h/\1/\2/weight"),
    (re.compile(r"^model/h(\d+)/(.*)/b$"), r"transformer/h/\1/\2/bias"),
    (re.compile(r"^model/ln_f/g$"), "transformer/ln_f/weight"),
    (re.compile(r"^model/ln_f/b$"), "transformer/ln_f/bias"),
)
_OF_BASE_MODEL = re.compile(
    r"^encoder\.(vit|deit|swin|beit)\."
)  # a level that TensorFlow's joint model has in addition


def from_tensorflow(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Return the name and the tensor that PyTorch has for a variable.

    Args:
        name: The variable's full name.
        tensor: Its numbers; what is returned is a view of them.
    """
    for pattern, new in _PUBLISHED:
        name, found = pattern.subn(new, name)
        if found and tensor.ndim == 3:
            tensor = tensor[0]  # GPT-2's matrices, which are convolutions of width 1 there
    first, _, rest = name.partition("/")
    if rest and first not in _FIRST_PARTS:
        name = rest
    for pattern, new in _SPELLINGS:
        name = pattern.sub(new, name)
    *path, last = name.split("/")
    if last == "kernel" and tensor.ndim in _KERNELS:
        tensor = tensor.permute(_KERNELS[tensor.ndim])
    elif last == "bias" and tensor.ndim == 2 and tensor.shape[0] == 1:
        tensor = tensor[0]  # GPT-2's
    return _OF_BASE_MODEL.sub("encoder.", ".".join([*path, _LAST_PARTS.get(last, last)])), tensor
