"""docs/families.md is what docs/families.py makes of the registry today."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from vision2seq import registry
from vision2seq.processing.text import choose

SCRIPT = Path(__file__).parents[1] / "docs" / "families.py"


@pytest.fixture(scope="module")
def families() -> ModuleType:
    spec = importlib.util.spec_from_file_location("families_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(families: ModuleType) -> None:
    assert families.PAGE.read_text(encoding="utf-8") == families.page(), "run: python docs/families.py"


def test_every_family_is_compared_with_transformers(families: ModuleType) -> None:
    variants = families.tested()
    assert set(variants) == {*registry.ENCODERS, *registry.DECODERS}
    assert all(variants.values())


def test_every_family_has_a_tokenizer_and_an_image_processor() -> None:
    assert set(registry.ENCODERS) <= set(registry.IMAGE_PROCESSOR_OF_ENCODER)
    assert set(registry.DECODERS) <= set(choose._OF_DECODER)


def test_what_people_know_is_known_here(families: ModuleType) -> None:
    classes = {name for style in choose.STYLES for name in style.classes} | {families.TOKENIZER_JSON}
    for kind in families.CHECKPOINTS:
        assert kind.encoder in registry.ENCODERS, kind
        assert kind.decoder in registry.DECODERS, kind
        assert kind.tokenizer in classes, kind
        assert registry.image_processor(kind.image_processor) is not None, kind
