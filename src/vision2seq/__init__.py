"""vision2seq: vision-to-text encoder-decoder models, without transformers.

Names are imported when they are first used, so that ``import vision2seq`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vision2seq.auto import (
        AutoConfig,
        AutoImageProcessor,
        AutoModelForImageTextToText,
        AutoModelForVision2Seq,
        AutoProcessor,
        AutoTokenizer,
    )
    from vision2seq.configuration.composite import VisionEncoderDecoderConfig
    from vision2seq.configuration.generation import GenerationConfig
    from vision2seq.errors import Vision2SeqError
    from vision2seq.generation.streaming import TextIteratorStreamer, TextStreamer
    from vision2seq.image_to_text import pipeline
    from vision2seq.models.decoders.gpt2 import GPT2LMHeadModel
    from vision2seq.models.decoders.gpt2_config import GPT2Config
    from vision2seq.models.decoders.trocr import TrOCRForCausalLM
    from vision2seq.models.decoders.trocr_config import TrOCRConfig
    from vision2seq.models.encoders.vit import DeiTModel, ViTModel
    from vision2seq.models.encoders.vit_config import DeiTConfig, ViTConfig
    from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel
    from vision2seq.processing.image.clip import BitImageProcessor, CLIPFeatureExtractor, CLIPImageProcessor
    from vision2seq.processing.image.convnext import ConvNextFeatureExtractor, ConvNextImageProcessor
    from vision2seq.processing.image.deit import (
        BeitFeatureExtractor,
        BeitImageProcessor,
        DeiTFeatureExtractor,
        DeiTImageProcessor,
    )
    from vision2seq.processing.image.donut import DonutFeatureExtractor, DonutImageProcessor
    from vision2seq.processing.image.nougat import NougatImageProcessor
    from vision2seq.processing.image.vit import SiglipImageProcessor, ViTFeatureExtractor, ViTImageProcessor
    from vision2seq.processing.processor import DonutProcessor, NougatProcessor, TrOCRProcessor
    from vision2seq.processing.text.load import (
        BarthezTokenizer,
        BarthezTokenizerFast,
        BartTokenizer,
        BartTokenizerFast,
        BertGenerationTokenizer,
        BertJapaneseTokenizer,
        BertTokenizer,
        BertTokenizerFast,
        BigBirdTokenizer,
        BigBirdTokenizerFast,
        BlenderbotSmallTokenizer,
        BlenderbotTokenizer,
        BlenderbotTokenizerFast,
        CamembertTokenizer,
        CamembertTokenizerFast,
        ElectraTokenizer,
        ElectraTokenizerFast,
        GPT2Tokenizer,
        GPT2TokenizerFast,
        MarianTokenizer,
        MBart50Tokenizer,
        MBart50TokenizerFast,
        MBartTokenizer,
        MBartTokenizerFast,
        NougatTokenizerFast,
        PegasusTokenizer,
        PegasusTokenizerFast,
        PreTrainedTokenizerFast,
        RemBertTokenizer,
        RemBertTokenizerFast,
        RobertaTokenizer,
        RobertaTokenizerFast,
        XGLMTokenizer,
        XGLMTokenizerFast,
        XLMRobertaTokenizer,
        XLMRobertaTokenizerFast,
    )
    from vision2seq.reader import Reader, read
    from vision2seq.reading import Reading

__version__ = "0.1.0"

_TOKENIZERS = (
    "BartTokenizer BartTokenizerFast BarthezTokenizer BarthezTokenizerFast BertGenerationTokenizer "
    "BertJapaneseTokenizer BertTokenizer BertTokenizerFast BigBirdTokenizer BigBirdTokenizerFast "
    "BlenderbotSmallTokenizer BlenderbotTokenizer BlenderbotTokenizerFast CamembertTokenizer "
    "CamembertTokenizerFast ElectraTokenizer ElectraTokenizerFast GPT2Tokenizer GPT2TokenizerFast "
    "MBart50Tokenizer MBart50TokenizerFast MBartTokenizer MBartTokenizerFast MarianTokenizer NougatTokenizerFast "
    "PegasusTokenizer PegasusTokenizerFast PreTrainedTokenizerFast RemBertTokenizer RemBertTokenizerFast "
    "RobertaTokenizer RobertaTokenizerFast XGLMTokenizer XGLMTokenizerFast XLMRobertaTokenizer "
    "XLMRobertaTokenizerFast"
).split()

_HOMES = {
    "AutoConfig": "auto",
    "AutoImageProcessor": "auto",
    "AutoModelForImageTextToText": "auto",
    "AutoModelForVision2Seq": "auto",
    "AutoProcessor": "auto",
    "AutoTokenizer": "auto",
    "BeitFeatureExtractor": "processing.image.deit",
    "BeitImageProcessor": "processing.image.deit",
    "BitImageProcessor": "processing.image.clip",
    "CLIPFeatureExtractor": "processing.image.clip",
    "CLIPImageProcessor": "processing.image.clip",
    "ConvNextFeatureExtractor": "processing.image.convnext",
    "ConvNextImageProcessor": "processing.image.convnext",
    "DeiTConfig": "models.encoders.vit_config",
    "DeiTFeatureExtractor": "processing.image.deit",
    "DeiTImageProcessor": "processing.image.deit",
    "DeiTModel": "models.encoders.vit",
    "DonutFeatureExtractor": "processing.image.donut",
    "DonutImageProcessor": "processing.image.donut",
    "DonutProcessor": "processing.processor",
    "GPT2Config": "models.decoders.gpt2_config",
    "GPT2LMHeadModel": "models.decoders.gpt2",
    "GenerationConfig": "configuration.generation",
    "NougatImageProcessor": "processing.image.nougat",
    "NougatProcessor": "processing.processor",
    "Reader": "reader",
    "Reading": "reading",
    "SiglipImageProcessor": "processing.image.vit",
    "TextIteratorStreamer": "generation.streaming",
    "TextStreamer": "generation.streaming",
    "TrOCRConfig": "models.decoders.trocr_config",
    "TrOCRForCausalLM": "models.decoders.trocr",
    "TrOCRProcessor": "processing.processor",
    "ViTConfig": "models.encoders.vit_config",
    "ViTFeatureExtractor": "processing.image.vit",
    "ViTImageProcessor": "processing.image.vit",
    "ViTModel": "models.encoders.vit",
    "Vision2SeqError": "errors",
    "VisionEncoderDecoderConfig": "configuration.composite",
    "VisionEncoderDecoderModel": "models.vision_encoder_decoder",
    "pipeline": "image_to_text",
    "read": "reader",
    **dict.fromkeys(_TOKENIZERS, "processing.text.load"),
}

__all__ = [
    "AutoConfig",
    "AutoImageProcessor",
    "AutoModelForImageTextToText",
    "AutoModelForVision2Seq",
    "AutoProcessor",
    "AutoTokenizer",
    "BartTokenizer",
    "BartTokenizerFast",
    "BarthezTokenizer",
    "BarthezTokenizerFast",
    "BeitFeatureExtractor",
    "BeitImageProcessor",
    "BertGenerationTokenizer",
    "BertJapaneseTokenizer",
    "BertTokenizer",
    "BertTokenizerFast",
    "BigBirdTokenizer",
    "BigBirdTokenizerFast",
    "BitImageProcessor",
    "BlenderbotSmallTokenizer",
    "BlenderbotTokenizer",
    "BlenderbotTokenizerFast",
    "CLIPFeatureExtractor",
    "CLIPImageProcessor",
    "CamembertTokenizer",
    "CamembertTokenizerFast",
    "ConvNextFeatureExtractor",
    "ConvNextImageProcessor",
    "DeiTConfig",
    "DeiTFeatureExtractor",
    "DeiTImageProcessor",
    "DeiTModel",
    "DonutFeatureExtractor",
    "DonutImageProcessor",
    "DonutProcessor",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
    "GPT2Config",
    "GPT2LMHeadModel",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "GenerationConfig",
    "MBart50Tokenizer",
    "MBart50TokenizerFast",
    "MBartTokenizer",
    "MBartTokenizerFast",
    "MarianTokenizer",
    "NougatImageProcessor",
    "NougatProcessor",
    "NougatTokenizerFast",
    "PegasusTokenizer",
    "PegasusTokenizerFast",
    "PreTrainedTokenizerFast",
    "Reader",
    "Reading",
    "RemBertTokenizer",
    "RemBertTokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "SiglipImageProcessor",
    "TextIteratorStreamer",
    "TextStreamer",
    "TrOCRConfig",
    "TrOCRForCausalLM",
    "TrOCRProcessor",
    "ViTConfig",
    "ViTFeatureExtractor",
    "ViTImageProcessor",
    "ViTModel",
    "Vision2SeqError",
    "VisionEncoderDecoderConfig",
    "VisionEncoderDecoderModel",
    "XGLMTokenizer",
    "XGLMTokenizerFast",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
    "pipeline",
    "read",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        from vision2seq.errors import nearest

        raise AttributeError(f"module 'vision2seq' has no attribute {name!r}.{nearest(name, __all__)}")
    value = getattr(importlib.import_module(f"vision2seq.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
