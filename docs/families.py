"""Writes families.md: which families there are, what is made of them, and what tests them.

Run it after a family, a processor or a tokenizer has come: `python docs/families.py`. Types, classes, processors and
tokenizers are those that the package knows, the tests' variants those of tests/parity/families.py; `CHECKPOINTS` is
what only people know.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, NamedTuple

from vision2seq import registry
from vision2seq.processing.text import choose

PAGE = Path(__file__).with_suffix(".md")
TOKENIZER_JSON = "as its tokenizer.json says"
VARIANTS = Path(__file__).parents[1] / "tests" / "parity" / "families.py"


class Kind(NamedTuple):
    """Checkpoints on the hub that are built alike."""

    name: str
    checkpoints: str
    encoder: str
    decoder: str
    tokenizer: str
    image_processor: str


# By likely use, as people's stars and downloads suggest.
CHECKPOINTS = (
    Kind(
        "TrOCR, base and large",
        "microsoft/trocr-{base,large}-{handwritten,printed,stage1,str}, and most that people tuned from them",
        "vit",
        "trocr",
        "RobertaTokenizer",
        "ViTImageProcessor",
    ),
    Kind(
        "TrOCR, small",
        "microsoft/trocr-small-{handwritten,printed,stage1}",
        "deit",
        "trocr",
        "XLMRobertaTokenizer",
        "DeiTImageProcessor",
    ),
    Kind(
        "Captions",
        "nlpconnect/vit-gpt2-image-captioning, ydshieh/vit-gpt2-coco-en",
        "vit",
        "gpt2",
        "GPT2Tokenizer",
        "ViTImageProcessor",
    ),
    Kind(
        "Donut",
        "naver-clova-ix/donut-{base,proto}, donut-base-finetuned-{docvqa,cord-v2,rvlcdip,zhtrainticket}",
        "donut-swin",
        "mbart",
        "XLMRobertaTokenizer",
        "DonutImageProcessor",
    ),
    Kind("pix2text-mfr", "breezedeus/pix2text-mfr", "deit", "trocr", "RobertaTokenizer", "DeiTImageProcessor"),
    Kind("TexTeller", "OleehyO/TexTeller", "vit", "trocr", "RobertaTokenizer", "TexTellerImageProcessor"),
    Kind("texify", "vikp/texify, vikp/texify2", "donut-swin", "mbart", TOKENIZER_JSON, "WhiteCanvasImageProcessor"),
    Kind("MixTex", "MixTex/ZhEn-Latex-OCR", "swin", "gpt2", "GPT2Tokenizer", "WhiteCanvasImageProcessor"),
    Kind("Nougat", "facebook/nougat-{small,base}", "donut-swin", "mbart", "NougatTokenizer", "NougatImageProcessor"),
    Kind("manga-ocr", "kha-white/manga-ocr-base", "vit", "bert", "BertJapaneseTokenizer", "MangaImageProcessor"),
    Kind("Dolphin", "ByteDance/Dolphin", "donut-swin", "mbart", TOKENIZER_JSON, "DonutImageProcessor"),
    Kind(
        "Other languages",
        "Hammad712/troce-urdu (roberta), priyank-m/m_OCR (xlm-roberta), and many with bert, camembert or electra",
        "vit",
        "roberta",
        "RobertaTokenizer",
        "ViTImageProcessor",
    ),
    Kind(
        "Captions with Swin",
        "Abdou/vit-swin-base-224-gpt2-image-captioning",
        "swin",
        "gpt2",
        "GPT2Tokenizer",
        "ViTImageProcessor",
    ),
)


def tested() -> dict[str, list[str]]:
    """Model type → the variants of it that the parity tests go through.

    Only the dicts of the file are evaluated: its imports need transformers.
    """
    values: dict[str, Any] = {}
    for node in ast.parse(VARIANTS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            exec(ast.unparse(node), values)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            exec(f"{ast.unparse(node.target)} = {ast.unparse(node.value)}", values)
    found: dict[str, list[str]] = {}
    for name, half in {**values["ENCODERS"], **values["DECODERS"]}.items():
        found.setdefault(half["model_type"], []).append(name)
    return found


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table; the first row is its head."""
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rest))


def page() -> str:
    """The text of families.md."""
    variants = tested()

    def class_of(target: str) -> str:
        return f"`{target.rpartition(':')[2]}`"

    def tests(model_type: str) -> str:
        return ", ".join(variants.get(model_type, ["none"]))

    kinds = [
        (kind.name, kind.checkpoints, f"`{kind.encoder}`", f"`{kind.decoder}`", kind.tokenizer, kind.image_processor)
        for kind in CHECKPOINTS
    ]
    encoders = [
        (f"`{name}`", class_of(target), registry.IMAGE_PROCESSOR_OF_ENCODER.get(name, "none"), tests(name))
        for name, (_, target) in sorted(registry.ENCODERS.items())
    ]
    decoders = [
        (
            f"`{name}`",
            class_of(target),
            choose._OF_DECODER[name].classes[0] if name in choose._OF_DECODER else "none",
            "yes" if name in registry.STEPS else "no",
            tests(name),
        )
        for name, (_, target) in sorted(registry.DECODERS.items())
    ]
    unfit: dict[str, list[str]] = {}
    for name, reason in registry.UNFIT_DECODERS.items():
        unfit.setdefault(reason, []).append(f"`{name}`")
    reasons = "\n".join(f"* {reason}: {', '.join(names)}" for reason, names in unfit.items())
    return f"""# Families

Written by `docs/families.py`; change that, or what it reads, and run it again.

## Checkpoints on the hub

What well-known checkpoints are made of, by likely use. Tokenizer and image processor are those that their files ask
for, or that a preset stands in with. Any encoder below goes with any decoder below.

{table(("Kind", "Checkpoints", "Encoder", "Decoder", "Tokenizer", "Image processor"), *kinds)}

## Encoders

The image processor is the one that stands in where a checkpoint has no preprocessor_config.json. Tests: the variants
that `tests/parity` compares with transformers 4.57.6 (`pytest tests/parity -k "[swin]"`).

{table(("`model_type`", "Class", "Image processor", "Tests"), *encoders)}

## Decoders

The tokenizer is the one that stands in where neither a class nor the files tell. Where there are compiled steps, a text
is written without running the modules, on the CPU.

{table(("`model_type`", "Class", "Tokenizer", "Compiled steps", "Tests"), *decoders)}

## Decoders that cannot read images

In transformers 4.57.6 neither; loading one is an error that says so. Such a decoder …

{reasons}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
