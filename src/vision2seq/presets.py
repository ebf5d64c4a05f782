"""Presets: what the packages round some checkpoints do, and their files do not say.

TexTeller, texify, manga-ocr, MixTeX and Nougat come with Python packages that prepare the image, set options of
generation and put the text in order. A preset does the same. It is found by what the checkpoint's files give away.

Source: the packages of TexTeller 1.1, texify 0.2, manga-ocr 0.1.14, MixTeX 3.2.4 and nougat-ocr 0.1.17; docs/output.md
lists what each preset does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vision2seq import hub, registry
from vision2seq.auto import AutoImageProcessor, AutoProcessor, AutoTokenizer
from vision2seq.configuration.base import CONFIG_NAME, read_json
from vision2seq.errors import CheckpointNotFoundError, OptionError, nearest
from vision2seq.processing.image.files import read_preprocessor
from vision2seq.processing.output import latex, manga, nougat
from vision2seq.processing.processor import TrOCRProcessor
from vision2seq.processing.text.files import TOKENIZER_CONFIG

NONE = "none"
"""What to pass as a preset where none is wanted."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Files:
    """What the files of a checkpoint say, as far as it tells presets apart.

    Attributes:
        name: The last part of its name or path, and the name that its config states, in small letters.
        encoder: The encoder's config.
        decoder: The decoder's config.
        tokenizer: tokenizer_config.json.
        images: preprocessor_config.json.
    """

    name: str
    encoder: Values
    decoder: Values
    tokenizer: Values
    images: Values

    @classmethod
    def of(cls, source: hub.Source) -> Files | None:
        """Read them; None for a checkpoint that has no encoder and decoder."""
        config = _content(source, CONFIG_NAME)
        encoder, decoder = config.get("encoder"), config.get("decoder")
        if not isinstance(encoder, Mapping) or not isinstance(decoder, Mapping):
            return None
        name = " ".join(
            str(part or "").rstrip("/").split("/")[-1] for part in (source.name, config.get("_name_or_path"))
        )
        try:
            images = read_preprocessor(source)
        except CheckpointNotFoundError:
            images = {}
        return cls(name.lower(), encoder, decoder, _content(source, TOKENIZER_CONFIG), images)

    @property
    def image_size(self) -> tuple[Any, Any]:
        """Height and width of what the encoder takes."""
        size = self.encoder.get("image_size", 224)
        return (size[0], size[1]) if isinstance(size, list | tuple) and len(size) == 2 else (size, size)

    @property
    def image_class(self) -> str:
        """The image processor that the file states."""
        return str(self.images.get("image_processor_type") or self.images.get("feature_extractor_type") or "")


@dataclass(frozen=True)
class Preset:
    """What to do for one kind of checkpoint.

    Attributes:
        name: What it is called.
        about: One line on it.
        given_away: Whether files are those of such a checkpoint.
        image_class: The image processor; empty if the checkpoint's own files say all.
        image_options: Of the image processor, made from what files say.
        tokenizer: Keys of tokenizer_config.json that files leave open or have wrong.
        max_new_tokens: Most tokens of a text; None for what the checkpoint says.
        start: The special token that texts begin with, such as ``"bos_token"``; empty for what the checkpoint says.
        end: Likewise for the end.
        clean_up: Puts a text in order.
    """

    name: str
    about: str
    given_away: Callable[[Files], bool] = lambda files: False
    image_class: str = ""
    image_options: Callable[[Files], Values] = lambda files: {}
    tokenizer: Values = field(default_factory=dict)
    max_new_tokens: int | None = None
    start: str = ""
    end: str = ""
    clean_up: Callable[[str], str] = str

    def image_processor(self, source: hub.Source, **trust: bool) -> Any:
        """The image processor for a checkpoint of this kind."""
        files = Files.of(source)
        if not self.image_class or files is None:
            return AutoImageProcessor.from_pretrained(source, **trust)
        chosen = registry.resolve(registry.IMAGE_PROCESSORS[self.image_class])
        if files.image_class == self.image_class:  # saved from here: its options are what somebody wanted
            return chosen.from_dict(files.images)
        return chosen(**self.image_options(files))

    def processor(self, source: hub.Source, **trust: bool) -> Any:
        """The image processor and the tokenizer for a checkpoint of this kind."""
        if not self.image_class:
            return AutoProcessor.from_pretrained(source, **trust)
        tokenizer = AutoTokenizer.from_pretrained(source, **self.tokenizer, **trust)
        return TrOCRProcessor(self.image_processor(source, **trust), tokenizer)

    def options(self, tokenizer: Any) -> dict[str, Any]:
        """Options of generation for every text."""
        found = {"max_new_tokens": self.max_new_tokens}
        for option, token in (("decoder_start_token_id", self.start), ("eos_token_id", self.end)):
            found[option] = getattr(tokenizer, f"{token}_id") if token else None
        return {name: value for name, value in found.items() if value is not None}


def _is(files: Files, encoder: str, *decoders: str) -> bool:
    return files.encoder.get("model_type") == encoder and files.decoder.get("model_type") in decoders


def _normalisation(files: Files) -> Values:
    """Mean and deviation as the checkpoint's own file has them, if it has."""
    kept = {key: files.images.get(key) for key in ("image_mean", "image_std", "rescale_factor")}
    return {key: value for key, value in kept.items() if value is not None}


def _canvas(files: Files) -> Values:
    height, width = files.image_size
    return {"size": {"height": height, "width": width}}


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "texteller",
            "formulas: gray, the border cut off, 448 by 448",
            lambda files: (
                _is(files, "vit", "trocr")
                and files.encoder.get("num_channels") == 1
                and ("texteller" in files.name or files.image_size == (448, 448))  # which nobody else has
                and not _own(files)
            ),
            image_class="TexTellerImageProcessor",
            image_options=_canvas,
            max_new_tokens=1024,
            clean_up=latex.texteller,
        ),
        Preset(
            "texify",
            "formulas and text: in the middle of white, 420 by 420",
            lambda files: (
                _is(files, "donut-swin", "mbart")
                and ("texify" in files.name or "Variable" in files.image_class)
                and "unimer" not in files.name  # which states texify's class and does something else
            ),
            image_class="WhiteCanvasImageProcessor",
            image_options=lambda files: {**_canvas(files), "resample": files.images.get("resample", 2)},
            tokenizer={"model_max_length": 384},
            max_new_tokens=384,
            start="bos_token",
            clean_up=latex.texify,
        ),
        Preset(
            "manga-ocr",
            "Japanese: gray; no white space, full-width characters",
            lambda files: (
                _is(files, "vit", "bert")
                and files.decoder.get("vocab_size") == 6144
                and files.tokenizer.get("subword_tokenizer_type") == "character"
            ),
            image_class="MangaImageProcessor",
            image_options=lambda files: files.images or _canvas(files),
            max_new_tokens=299,
            clean_up=manga.post_process,
        ),
        Preset(
            "mixtex",
            "formulas and text: in the middle of white, only ever shrunk",
            lambda files: (
                _is(files, "swin", "gpt2", "roberta")
                and ("mixtex" in files.name or files.decoder.get("vocab_size") == 25681)
            ),
            image_class="WhiteCanvasImageProcessor",
            image_options=lambda files: {
                **_canvas(files),
                "do_enlarge": False,
                "resample": 1,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                **_normalisation(files),
            },
            max_new_tokens=512,
            start="bos_token",
            end="eos_token",
            clean_up=latex.mixtex,
        ),
        Preset(
            "nougat",
            "pages of papers: Markdown put in order, loops cut",
            lambda files: (
                "NougatProcessor" in (files.images.get("processor_class"), files.tokenizer.get("processor_class"))
                and "latex" not in files.name  # of formulas, by the same classes
            ),
            clean_up=lambda text: nougat.post_process_single(text),
        ),
        Preset(
            "latex",
            "any reader of formulas: without the spaces that LaTeX ignores",
            clean_up=latex.remove_spaces,
        ),
    )
}


def _own(files: Files) -> bool:
    """Whether a checkpoint ships an image processor that is known, and no preset's."""
    return registry.image_processor(files.image_class) is not None and files.image_class != "TexTellerImageProcessor"


def find(source: hub.Source, name: str | None = None) -> Preset | None:
    """The preset of a checkpoint.

    Args:
        source: The checkpoint.
        name: The one to take; None for the one that its files give away; ``"none"`` for none.

    Raises:
        OptionError: There is none of that name.
    """
    if name is not None:
        return named(name)
    files = Files.of(source) if source.file is None else None
    return None if files is None else next((preset for preset in PRESETS.values() if preset.given_away(files)), None)


def named(name: str) -> Preset | None:
    """The preset of a name; None for ``"none"``.

    Raises:
        OptionError: There is none of that name.
    """
    if name == NONE:
        return None
    if name not in PRESETS:
        raise OptionError(
            f"There is no preset {name!r}.{nearest(str(name), PRESETS)} There are: {', '.join(sorted(PRESETS))}; and "
            "'none'."
        )
    return PRESETS[name]


def _content(source: hub.Source, name: str) -> dict[str, Any]:
    file = source.get(name)
    return {} if file is None else read_json(file)
