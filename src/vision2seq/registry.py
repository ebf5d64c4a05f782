"""Names to classes: the one place where lower rooms point to higher ones, as strings, resolved when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from vision2seq.errors import ConfigError, nearest

_MODELS = "vision2seq.models"

COMPOSITES: dict[str, Any] = {
    "vision-encoder-decoder": "vision2seq.configuration.composite:VisionEncoderDecoderConfig",
}
COMPOSITE_MODELS: dict[str, Any] = {
    "VisionEncoderDecoderConfig": f"{_MODELS}.vision_encoder_decoder:VisionEncoderDecoderModel",
}

# model_type → (config class, module class). One line a family.
ENCODERS: dict[str, tuple[Any, str]] = {
    "beit": (f"{_MODELS}.encoders.beit_config:BeitConfig", f"{_MODELS}.encoders.beit:BeitModel"),
    "vit": (f"{_MODELS}.encoders.vit_config:ViTConfig", f"{_MODELS}.encoders.vit:ViTModel"),
    "deit": (f"{_MODELS}.encoders.vit_config:DeiTConfig", f"{_MODELS}.encoders.vit:DeiTModel"),
    "clip_vision_model": (
        f"{_MODELS}.encoders.clip_config:CLIPVisionConfig",
        f"{_MODELS}.encoders.clip:CLIPVisionModel",
    ),
    "dinov2": (f"{_MODELS}.encoders.dinov2_config:Dinov2Config", f"{_MODELS}.encoders.dinov2:Dinov2Model"),
    "dinov2_with_registers": (
        f"{_MODELS}.encoders.dinov2_config:Dinov2WithRegistersConfig",
        f"{_MODELS}.encoders.dinov2:Dinov2WithRegistersModel",
    ),
    "donut-swin": (f"{_MODELS}.encoders.swin_config:DonutSwinConfig", f"{_MODELS}.encoders.swin:DonutSwinModel"),
    "siglip_vision_model": (
        f"{_MODELS}.encoders.siglip_config:SiglipVisionConfig",
        f"{_MODELS}.encoders.siglip:SiglipVisionModel",
    ),
    "swin": (f"{_MODELS}.encoders.swin_config:SwinConfig", f"{_MODELS}.encoders.swin:SwinModel"),
    "swinv2": (f"{_MODELS}.encoders.swin_config:Swinv2Config", f"{_MODELS}.encoders.swinv2:Swinv2Model"),
    "vit_msn": (f"{_MODELS}.encoders.vit_config:ViTMSNConfig", f"{_MODELS}.encoders.vit:ViTMSNModel"),
}
DECODERS: dict[str, tuple[Any, str]] = {
    "bart": (f"{_MODELS}.decoders.bart_config:BartConfig", f"{_MODELS}.decoders.bart:BartForCausalLM"),
    "bert": (f"{_MODELS}.decoders.bert_config:BertConfig", f"{_MODELS}.decoders.bert:BertLMHeadModel"),
    "bert-generation": (
        f"{_MODELS}.decoders.bert_config:BertGenerationConfig",
        f"{_MODELS}.decoders.bert_generation:BertGenerationDecoder",
    ),
    "blenderbot": (
        f"{_MODELS}.decoders.bart_config:BlenderbotConfig",
        f"{_MODELS}.decoders.blenderbot:BlenderbotForCausalLM",
    ),
    "blenderbot-small": (
        f"{_MODELS}.decoders.bart_config:BlenderbotSmallConfig",
        f"{_MODELS}.decoders.blenderbot:BlenderbotSmallForCausalLM",
    ),
    "camembert": (
        f"{_MODELS}.decoders.bert_config:CamembertConfig",
        f"{_MODELS}.decoders.roberta:CamembertForCausalLM",
    ),
    "electra": (f"{_MODELS}.decoders.bert_config:ElectraConfig", f"{_MODELS}.decoders.electra:ElectraForCausalLM"),
    "marian": (f"{_MODELS}.decoders.bart_config:MarianConfig", f"{_MODELS}.decoders.marian:MarianForCausalLM"),
    "mbart": (f"{_MODELS}.decoders.bart_config:MBartConfig", f"{_MODELS}.decoders.bart:MBartForCausalLM"),
    "pegasus": (f"{_MODELS}.decoders.bart_config:PegasusConfig", f"{_MODELS}.decoders.marian:PegasusForCausalLM"),
    "rembert": (f"{_MODELS}.decoders.rembert_config:RemBertConfig", f"{_MODELS}.decoders.rembert:RemBertForCausalLM"),
    "roberta": (f"{_MODELS}.decoders.bert_config:RobertaConfig", f"{_MODELS}.decoders.roberta:RobertaForCausalLM"),
    "roberta-prelayernorm": (
        f"{_MODELS}.decoders.bert_config:RobertaPreLayerNormConfig",
        f"{_MODELS}.decoders.roberta_prelayernorm:RobertaPreLayerNormForCausalLM",
    ),
    "trocr": (f"{_MODELS}.decoders.trocr_config:TrOCRConfig", f"{_MODELS}.decoders.trocr:TrOCRForCausalLM"),
    "gpt2": (f"{_MODELS}.decoders.gpt2_config:GPT2Config", f"{_MODELS}.decoders.gpt2:GPT2LMHeadModel"),
    "xglm": (f"{_MODELS}.decoders.xglm_config:XGLMConfig", f"{_MODELS}.decoders.xglm:XGLMForCausalLM"),
    "xlm-roberta": (
        f"{_MODELS}.decoders.bert_config:XLMRobertaConfig",
        f"{_MODELS}.decoders.roberta:XLMRobertaForCausalLM",
    ),
}
# Decoders that cannot read images in transformers either, where people try them, and why: no wish to have them helps.
UNFIT_DECODERS: dict[str, str] = {
    **dict.fromkeys(
        "biogpt bloom codegen cohere falcon gemma gemma2 gpt_neo gpt_neox gptj llama mistral mixtral mpt olmo "
        "openai-gpt opt phi phi3 qwen2 qwen3 stablelm transfo-xl xlnet".split(),
        "has no cross-attention",
    ),
    # Its self-attention is given the image instead of the text, so that no token knows of those before it; with a
    # cache it computes something else again.
    "big_bird": "looks at the image where it should look at its own text",
    # It refuses cross-attention with one head for all keys, and divides keys and values wrongly with several.
    "gpt_bigcode": "has a cross-attention that cannot run",
}

_IMAGE = "vision2seq.processing.image"
# By the names that files state today; `image_processor` knows the older and the newer spellings of these.
IMAGE_PROCESSORS: dict[str, Any] = {
    "BeitImageProcessor": f"{_IMAGE}.deit:BeitImageProcessor",
    "BitImageProcessor": f"{_IMAGE}.clip:BitImageProcessor",
    "CLIPImageProcessor": f"{_IMAGE}.clip:CLIPImageProcessor",
    "ConvNextImageProcessor": f"{_IMAGE}.convnext:ConvNextImageProcessor",
    "DeiTImageProcessor": f"{_IMAGE}.deit:DeiTImageProcessor",
    "DonutImageProcessor": f"{_IMAGE}.donut:DonutImageProcessor",
    "MangaImageProcessor": f"{_IMAGE}.manga:MangaImageProcessor",
    "NougatImageProcessor": f"{_IMAGE}.nougat:NougatImageProcessor",
    "SiglipImageProcessor": f"{_IMAGE}.vit:SiglipImageProcessor",
    "TexTellerImageProcessor": f"{_IMAGE}.texteller:TexTellerImageProcessor",
    "ViTImageProcessor": f"{_IMAGE}.vit:ViTImageProcessor",
    "WhiteCanvasImageProcessor": f"{_IMAGE}.white_canvas:WhiteCanvasImageProcessor",
}
# What stands in for a missing preprocessor_config.json.
IMAGE_PROCESSOR_OF_ENCODER: dict[str, str] = {
    "beit": "BeitImageProcessor",
    "clip_vision_model": "CLIPImageProcessor",
    "deit": "DeiTImageProcessor",
    "dinov2": "BitImageProcessor",
    "dinov2_with_registers": "BitImageProcessor",
    "donut-swin": "DonutImageProcessor",
    "siglip_vision_model": "SiglipImageProcessor",
    "swin": "ViTImageProcessor",
    "swinv2": "ViTImageProcessor",
    "vit": "ViTImageProcessor",
    "vit_msn": "ViTImageProcessor",
}

# What pairs an image processor and a tokenizer, by the processor_class that files state.
PROCESSOR_CLASSES: dict[str, str] = {
    "DonutProcessor": "vision2seq.processing.processor:DonutProcessor",
    "NougatProcessor": "vision2seq.processing.processor:NougatProcessor",
    "TrOCRProcessor": "vision2seq.processing.processor:TrOCRProcessor",
}

# What users register: by the model_type of a config, and by the name of the class, which files state.
PROCESSORS: dict[str, Any] = {}
TOKENIZERS: dict[str, Any] = {}

# What runs one token at a time faster than a decoder's modules do: called with the decoder, may return None.
STEPS: dict[str, Any] = {
    "bart": "vision2seq.engine.bart:step_for",
    "bert": "vision2seq.engine.bert:step_for",
    "bert-generation": "vision2seq.engine.bert:step_for",
    "blenderbot": "vision2seq.engine.bart:step_for",
    "camembert": "vision2seq.engine.bert:step_for",
    "electra": "vision2seq.engine.bert:step_for",
    "gpt2": "vision2seq.engine.gpt2:step_for",
    "marian": "vision2seq.engine.bart:step_for",
    "mbart": "vision2seq.engine.bart:step_for",
    "pegasus": "vision2seq.engine.bart:step_for",
    "roberta": "vision2seq.engine.bert:step_for",
    "trocr": "vision2seq.engine.trocr:step_for",
    "xglm": "vision2seq.engine.bart:step_for",
    "xlm-roberta": "vision2seq.engine.bert:step_for",
}

# What packs a model's weights: called with the model and a precision's name. Loading asks for it.
PRECISION = "vision2seq.engine.precision:apply"

# What pairs an image processor and a tokenizer: TrOCRProcessor.from_pretrained asks for it.
LOAD_PROCESSOR = "vision2seq.auto:load_processor"


def resolve(target: Any) -> Any:
    """Return the object behind ``"module:name"``; anything that is no string is returned as it is."""
    if not isinstance(target, str):
        return target
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def image_processor(name: Any) -> Any:
    """The image processor class of a name in any of its spellings; None if there is none.

    Args:
        name: As files have had it: ``ViTFeatureExtractor``, ``ViTImageProcessor``, ``ViTImageProcessorFast``.
    """
    if not isinstance(name, str):
        return None
    today = name.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    return resolve(IMAGE_PROCESSORS.get(name, IMAGE_PROCESSORS.get(today)))


def knows(values: Mapping[str, Any]) -> bool:
    """Whether the content of a config.json is of a kind that is built here, its halves included."""
    model_type = values.get("model_type")
    if isinstance(COMPOSITES.get(model_type or ""), str):
        # Of a decoder that cannot be had anywhere we know as much.
        halves = ((values.get("encoder"), ENCODERS), (values.get("decoder"), {*DECODERS, *UNFIT_DECODERS}))
        return all(
            not isinstance(half, Mapping) or half.get("model_type") in table or "model_type" not in half
            for half, table in halves
        )
    return model_type in COMPOSITES or model_type in ENCODERS or model_type in DECODERS


def config_class(model_type: str, role: str | None = None) -> Any:
    """The config class of a model type.

    Args:
        model_type: As in config.json.
        role: ``"encoder"``, ``"decoder"`` or ``None`` for any.

    Raises:
        ConfigError: Nobody registered that type for that role.
    """
    tables: list[dict[str, Any]] = []
    if role in (None, "encoder"):
        tables.append({name: pair[0] for name, pair in ENCODERS.items()})
    if role in (None, "decoder"):
        tables.append({name: pair[0] for name, pair in DECODERS.items()})
    if role is None:
        tables.insert(0, COMPOSITES)
    known: dict[str, Any] = {name: target for table in tables for name, target in table.items()}
    if model_type not in known:
        if role == "decoder" and model_type in UNFIT_DECODERS:
            raise ConfigError(
                f"A decoder of type {model_type!r} {UNFIT_DECODERS[model_type]} and so cannot read images, in "
                f"transformers neither. Expected one of {', '.join(sorted(known))}."
            )
        what = f"{role} of type" if role else "model type"
        raise ConfigError(
            f"Unknown {what} {model_type!r}.{nearest(model_type, known)} Known: {', '.join(sorted(known))}."
            + ("" if role else " AutoConfig.register(model_type, config_class) adds one.")
            + " If transformers knows it, `pip install transformers`: the Auto classes then hand it over."
        )
    return resolve(known[model_type])


def model_class(model_type: str, role: str) -> Any:
    """The module class of an encoder or decoder type; see `config_class` for errors."""
    table = ENCODERS if role == "encoder" else DECODERS
    if model_type not in table:
        config_class(model_type, role)  # raises, with the list of known ones
    return resolve(table[model_type][1])
