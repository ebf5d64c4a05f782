"""What a parity test of a family needs: tiny random models of transformers, saved, loaded by us, compared.

To add a family, add its variants to `ENCODERS` or `DECODERS`; every test in test_models_parity.py and
test_checkpoint_parity.py then runs on it.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel

START, PAD, EOS, VOCABULARY = 0, 1, 2, 41

_VIT = {
    "model_type": "vit",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 24,
    "patch_size": 8,
}
# Two stages, so that the maps of the images of other sizes stay larger than a window: where one does not, the reference
# goes on with smaller windows for good, and often fails.
_SWIN = {
    "model_type": "swin",
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 3,
    "image_size": 24,
    "patch_size": 2,
    "drop_path_rate": 0.0,
}
_BEIT = _VIT | {"model_type": "beit", "drop_path_rate": 0.0, "use_relative_position_bias": True}
_DINOV2 = {key: value for key, value in _VIT.items() if key != "intermediate_size"} | {
    "model_type": "dinov2",
    "mlp_ratio": 2,
    "layerscale_value": 0.5,
}
_DINOV2_WITH_REGISTERS = _DINOV2 | {"model_type": "dinov2_with_registers", "num_register_tokens": 3}
_SWINV2 = _SWIN | {"model_type": "swinv2"}
_DONUT_SWIN = _SWIN | {"model_type": "donut-swin"}
_TROCR = {
    "model_type": "trocr",
    "vocab_size": VOCABULARY,
    "d_model": 24,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 20,
    "cross_attention_hidden_size": 32,
    "dropout": 0.0,
    "bos_token_id": START,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "decoder_start_token_id": EOS,
}
_GPT2 = {
    "model_type": "gpt2",
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 20,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": START,
    "eos_token_id": EOS,
}
_MBART = {
    "model_type": "mbart",
    "vocab_size": VOCABULARY,
    "d_model": 24,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 40,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "max_position_embeddings": 20,
    "dropout": 0.0,
    "bos_token_id": START,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
}
_XGLM = {
    "model_type": "xglm",
    "vocab_size": VOCABULARY,
    "d_model": 24,
    "num_layers": 2,
    "attention_heads": 4,
    "ffn_dim": 40,
    "max_position_embeddings": 20,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "bos_token_id": START,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
}
_BERT = {
    "model_type": "bert",
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": PAD,
}
# Positions are counted from PAD + 1: there are 20 for texts.
_ROBERTA = _BERT | {"model_type": "roberta", "max_position_embeddings": 22, "type_vocab_size": 1}

ENCODERS: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "vit-no-qkv-bias": _VIT | {"qkv_bias": False},
    "vit-wide": _VIT | {"image_size": [16, 40], "patch_size": [8, 4], "hidden_act": "gelu_new"},
    "vit-no-pooler": _VIT,
    "vit-grey": _VIT | {"num_channels": 1, "layer_norm_eps": 1e-5},
    "deit": _VIT | {"model_type": "deit"},
    "deit-wide": _VIT | {"model_type": "deit", "image_size": [16, 32], "qkv_bias": False},
    "beit": _BEIT,
    "beit-shared": _BEIT | {"use_relative_position_bias": False, "use_shared_relative_position_bias": True},
    "beit-both": _BEIT
    | {"use_shared_relative_position_bias": True, "use_mean_pooling": False, "layer_scale_init_value": 0.0},
    "beit-absolute": _BEIT
    | {"use_relative_position_bias": False, "use_absolute_position_embeddings": True, "use_mask_token": True},
    "beit-long": _BEIT | {"image_size": [16, 64], "use_absolute_position_embeddings": True},
    "beit-uneven": _BEIT | {"image_size": [26, 40], "hidden_act": "gelu_new", "use_mean_pooling": False},
    "clip": _VIT | {"model_type": "clip_vision_model"},
    "clip-grey": _VIT | {"model_type": "clip_vision_model", "num_channels": 1, "hidden_act": "gelu"},
    "dinov2": _DINOV2,
    "dinov2-gated": _DINOV2 | {"use_swiglu_ffn": True, "use_mask_token": False, "qkv_bias": False},
    "dinov2-long": _DINOV2 | {"image_size": [16, 64], "hidden_act": "gelu_new"},
    "dinov2-with-registers": _DINOV2_WITH_REGISTERS,
    "dinov2-with-registers-gated": _DINOV2_WITH_REGISTERS | {"use_swiglu_ffn": True, "num_register_tokens": 1},
    "siglip": _VIT | {"model_type": "siglip_vision_model"},
    "siglip-no-head": _VIT | {"model_type": "siglip_vision_model", "vision_use_head": False, "num_channels": 1},
    "vit-msn": _VIT | {"model_type": "vit_msn"},
    "vit-msn-no-qkv-bias": _VIT | {"model_type": "vit_msn", "qkv_bias": False},
    "swin": _SWIN,
    "swin-three-stages": _SWIN
    | {"embed_dim": 8, "depths": [1, 2, 1], "num_heads": [1, 2, 4], "window_size": 2, "layer_norm_eps": 1e-3},
    "swinv2": _SWINV2,
    "swinv2-three-stages": _SWINV2
    | {
        "embed_dim": 8,
        "depths": [1, 2, 1],
        "num_heads": [1, 2, 4],
        "pretrained_window_sizes": [3, 2, 0],
        "qkv_bias": False,
        "image_size": 20,
    },
    "donut-swin": _DONUT_SWIN,
    "donut-swin-no-qkv-bias": _DONUT_SWIN | {"qkv_bias": False, "mlp_ratio": 2.5, "hidden_act": "relu"},
    # Neither patches nor windows divide the image, sides of maps are odd.
    "donut-swin-uneven": _DONUT_SWIN | {"image_size": [35, 26], "window_size": 4, "depths": [4, 1], "num_channels": 1},
    "donut-swin-wide": _DONUT_SWIN
    | {"image_size": [20, 44], "patch_size": [2, 3], "window_size": 2, "num_heads": [4, 8]},
}
DECODERS: dict[str, dict[str, Any]] = {
    "trocr": _TROCR,
    "trocr-stage1": _TROCR
    | {
        "use_learned_position_embeddings": False,
        "layernorm_embedding": False,
        "scale_embedding": True,
        "activation_function": "relu",
        "tie_word_embeddings": False,
    },
    "trocr-sinusoidal-tied": _TROCR | {"use_learned_position_embeddings": False, "pad_token_id": 3},
    "trocr-odd": _TROCR
    | {
        "use_learned_position_embeddings": False,
        "d_model": 27,
        "decoder_attention_heads": 3,
        "activation_function": "relu",
    },
    "trocr-scaled": _TROCR | {"scale_embedding": True, "layernorm_embedding": False},
    "trocr-untied": _TROCR | {"tie_word_embeddings": False},
    "trocr-projected": _TROCR | {"cross_attention_hidden_size": None},
    "trocr-equal": _TROCR | {"d_model": 32, "cross_attention_hidden_size": None},
    "gpt2": _GPT2,
    "gpt2-projected": _GPT2 | {"n_embd": 24, "n_inner": 60},
    "gpt2-scaled": _GPT2 | {"scale_attn_by_inverse_layer_idx": True},
    "mbart": _MBART,
    "mbart-scaled": _MBART | {"d_model": 32, "scale_embedding": True, "forced_eos_token_id": None},
    "mbart-untied": _MBART | {"tie_word_embeddings": False, "activation_function": "relu"},
    "bart": _MBART | {"model_type": "bart"},
    "bart-scaled": _MBART | {"model_type": "bart", "d_model": 32, "scale_embedding": True},
    "marian": _MBART | {"model_type": "marian", "scale_embedding": True},
    "marian-odd": _MBART
    | {"model_type": "marian", "d_model": 27, "decoder_attention_heads": 3, "tie_word_embeddings": False},
    "pegasus": _MBART | {"model_type": "pegasus", "activation_function": "relu"},
    "pegasus-scaled": _MBART | {"model_type": "pegasus", "scale_embedding": True, "d_model": 32},
    "blenderbot": _MBART | {"model_type": "blenderbot"},
    "blenderbot-scaled": _MBART | {"model_type": "blenderbot", "scale_embedding": True, "d_model": 32},
    "blenderbot-small": _MBART | {"model_type": "blenderbot-small"},
    "blenderbot-small-scaled": _MBART | {"model_type": "blenderbot-small", "scale_embedding": True},
    "xglm": _XGLM,
    "xglm-equal": _XGLM | {"d_model": 32, "scale_embedding": False, "pad_token_id": 3, "activation_function": "relu"},
    "bert": _BERT,
    "bert-equal": _BERT | {"hidden_size": 32, "layer_norm_eps": 1e-3, "hidden_act": "gelu_new"},
    "bert-untied": _BERT | {"tie_word_embeddings": False, "hidden_act": "relu"},
    # The reference gets these right only where no cache is made, or for one new token after a cache.
    "bert-relative": _BERT | {"position_embedding_type": "relative_key", "use_cache": False},
    "bert-relative-both": _BERT | {"position_embedding_type": "relative_key_query", "use_cache": False},
    "bert-generation": _BERT | {"model_type": "bert-generation"},
    "electra": _BERT | {"model_type": "electra", "embedding_size": 16, "hidden_act": "relu"},
    "electra-equal": _BERT | {"model_type": "electra", "embedding_size": 24},
    "rembert": _BERT | {"model_type": "rembert", "input_embedding_size": 12, "output_embedding_size": 28},
    "roberta": _ROBERTA,
    "roberta-untied": _ROBERTA | {"tie_word_embeddings": False, "hidden_act": "relu"},
    "roberta-pad-3": _ROBERTA | {"pad_token_id": 3, "max_position_embeddings": 24, "hidden_size": 32},
    "roberta-prelayernorm": _ROBERTA | {"model_type": "roberta-prelayernorm"},
    "roberta-prelayernorm-relative": _ROBERTA
    | {
        "model_type": "roberta-prelayernorm",
        "position_embedding_type": "relative_key",
        "use_cache": False,
        "hidden_act": "relu",
    },
    "xlm-roberta": _ROBERTA | {"model_type": "xlm-roberta"},
    "camembert": _ROBERTA | {"model_type": "camembert"},
    "gpt2-unscaled": _GPT2 | {"scale_attn_weights": False, "activation_function": "relu", "tie_word_embeddings": False},
}
# Every encoder and every decoder once, and the pairs that people use most.
VARIANTS: dict[str, tuple[str, str]] = {
    **{encoder: (encoder, "trocr") for encoder in ENCODERS},
    **{decoder: ("vit", decoder) for decoder in DECODERS if decoder != "trocr"},
    "trocr-small": ("deit", "trocr-projected"),
    "deit-gpt2": ("deit", "gpt2"),
    "donut": ("donut-swin", "mbart"),
}
NAMES = sorted(VARIANTS)


def reference_config(name: str, **top: Any) -> Any:
    """A transformers config of a variant; ``top`` sets keys beside the halves."""
    encoder, decoder = VARIANTS[name]
    values = {"decoder_start_token_id": EOS, "pad_token_id": PAD, "eos_token_id": EOS} | top
    halves = (
        transformers.AutoConfig.for_model(**copy.deepcopy(ENCODERS[encoder])),
        transformers.AutoConfig.for_model(**copy.deepcopy(DECODERS[decoder])),
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(*halves, **values)
    config._attn_implementation = "eager"
    return config


def reference_model(name: str, *, seed: int = 0, **top: Any) -> Any:
    """A transformers model of a variant with weights wide enough that every part of it shows in the output."""
    config = reference_config(name, **top)
    encoder = None
    if VARIANTS[name][0] == "vit-no-pooler":
        encoder = transformers.ViTModel(config.encoder, add_pooling_layer=False)
    model = transformers.VisionEncoderDecoderModel(config, encoder=encoder)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            norm = parameter.ndim == 1 and parameter_name.endswith("weight")
            parameter.copy_(1 + 0.2 * noise if norm else 0.25 * noise)
        for module in model.decoder.modules():
            # Where embeddings are not tied, transformers 5 has two biases instead of one with two names, reads one of
            # them, and writes both.
            if isinstance(getattr(module, "decoder", None), torch.nn.Linear) and hasattr(module, "bias"):
                module.bias.copy_(module.decoder.bias)
    return model.eval()


def load(folder: Path, **kwargs: Any) -> VisionEncoderDecoderModel:
    """Load with this package; a warning is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model: VisionEncoderDecoderModel = VisionEncoderDecoderModel.from_pretrained(folder, **kwargs)
    return model


def pair(name: str, folder: Path, **top: Any) -> tuple[Any, VisionEncoderDecoderModel]:
    """A variant in transformers, and the same loaded by us from what transformers saved."""
    theirs = reference_model(name, **top)
    theirs.save_pretrained(folder)
    return theirs, load(folder)


def pixels(model: Any, count: int = 2, size: tuple[int, int] | None = None, seed: int = 1) -> Tensor:
    """Random pixels of the size that a model was built for, or of another."""
    encoder = model.config.encoder
    height, width = size or (
        (encoder.image_size,) * 2 if isinstance(encoder.image_size, int) else tuple(encoder.image_size)
    )
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, encoder.num_channels, height, width, generator=draw)


def ids(count: int = 2, length: int = 7, seed: int = 2) -> Tensor:
    """Random token ids without padding, the start token first."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, VOCABULARY, (count, length), generator=draw)
    tokens[:, 0] = EOS
    return tokens


def assert_same(ours: Any, theirs: Any, *, atol: float = 1e-5, what: str = "") -> None:
    """Equal numbers, also in nested tuples; shapes and dtypes as well."""
    if isinstance(theirs, tuple | list):
        assert isinstance(ours, tuple), f"{what}: {type(ours).__name__}"
        assert len(ours) == len(theirs), f"{what}: {len(ours)} of {len(theirs)}"
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, atol=atol, what=f"{what}[{index}]")
        return
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-4, msg=lambda text: f"{what}: {text}")


def essential(names: Any) -> set[str]:
    """Names of a state dict without those that a checkpoint may have or lack with nothing changed."""
    return {name for name in names if not name.startswith("encoder.pooler.") and not name.endswith("._float_tensor")}
