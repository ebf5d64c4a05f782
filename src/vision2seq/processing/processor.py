"""An image processor and a tokenizer that belong together, and what a family does with the text besides."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from vision2seq.errors import OptionError
from vision2seq.processing.image.base import ImageProcessor
from vision2seq.processing.output import donut, nougat
from vision2seq.processing.text.tokenizer import Tokenizer

# What only a tokenizer takes; everything else of a call goes to the image processor, but return_tensors to both.
_FOR_TEXT = (
    "text_pair text_target padding truncation max_length add_special_tokens padding_side pad_to_multiple_of "
    "is_split_into_words return_attention_mask return_token_type_ids return_special_tokens_mask return_offsets_mapping "
    "return_length verbose"
).split()


class TrOCRProcessor:
    """Pictures to ``pixel_values``, texts to ids, ids to texts.

    Args:
        image_processor: For the pictures.
        tokenizer: For the texts.
        feature_extractor: The old name of ``image_processor``.

    Source: transformers 4.57.6 ``TrOCRProcessor``. Other encoder-decoders of images use it just as well.
    """

    def __init__(
        self,
        image_processor: ImageProcessor | None = None,
        tokenizer: Tokenizer | None = None,
        *,
        feature_extractor: ImageProcessor | None = None,
    ) -> None:
        image_processor = feature_extractor if image_processor is None else image_processor
        if image_processor is None or tokenizer is None:
            raise OptionError(
                "A processor needs an image_processor and a tokenizer; missing: "
                f"{'image_processor' if image_processor is None else 'tokenizer'}."
            )
        self.image_processor = image_processor
        self.tokenizer = tokenizer

    @property
    def feature_extractor(self) -> ImageProcessor:
        """The old name of `image_processor`."""
        return self.image_processor

    @property
    def model_input_names(self) -> list[str]:
        """Keys of what a call with pictures and texts returns."""
        return ["pixel_values", "labels"]

    def __call__(self, images: Any = None, text: Any = None, **options: Any) -> Any:
        """Prepare pictures, texts, or both.

        Args:
            images: Anything that the image processor takes.
            text: One text or several.
            options: Options of the two calls.

        Returns:
            ``pixel_values``; with texts also ``labels``; for texts alone what the tokenizer returns.

        Raises:
            OptionError: Neither pictures nor texts.
        """
        if images is None and text is None:
            raise OptionError("You need to specify either an `images` or `text` input to process; both are None.")
        for_text = {name: options.pop(name) for name in _FOR_TEXT if name in options}
        tensors = options.get("return_tensors")
        encoded = self.tokenizer(text, return_tensors=tensors, **for_text) if text is not None else None
        if images is None:
            return encoded
        batch = self.image_processor(images, **options)
        if encoded is not None:
            batch["labels"] = encoded["input_ids"]
        return batch

    def decode(self, *args: Any, **kwargs: Any) -> str:
        """Ids to one text; see the tokenizer."""
        return self.tokenizer.decode(*args, **kwargs)

    def batch_decode(self, *args: Any, **kwargs: Any) -> list[str]:
        """Rows of ids to texts; see the tokenizer."""
        return self.tokenizer.batch_decode(*args, **kwargs)

    @contextlib.contextmanager
    def as_target_processor(self) -> Iterator[None]:
        """Old scripts tokenise labels inside of this; calls with ``text`` need it no more."""
        yield

    def save_pretrained(self, save_directory: str | os.PathLike[str], **_: Any) -> None:
        """Write preprocessor_config.json, which names this class, and the tokenizer's files into a folder."""
        self.image_processor.processor_class = type(self).__name__
        self.image_processor.save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load both parts; the same as ``AutoProcessor.from_pretrained``."""
        from vision2seq import registry

        return registry.resolve(registry.LOAD_PROCESSOR)(pretrained_model_name_or_path, processor_class=cls, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(\n  image_processor={self.image_processor!r},\n  tokenizer={self.tokenizer!r}\n)"


class DonutProcessor(TrOCRProcessor):
    """`TrOCRProcessor`, and Donut's tags.

    Source: transformers 4.57.6 ``DonutProcessor``; the way back, `json2token`, is the original Donut's.
    """

    @property
    def model_input_names(self) -> list[str]:
        """Keys of what a call with pictures and texts returns."""
        return ["pixel_values", "input_ids", "labels"]

    def __call__(self, images: Any = None, text: Any = None, **options: Any) -> Any:
        """As in `TrOCRProcessor`; texts beside pictures get no special tokens unless ``add_special_tokens=True``.

        Returns:
            With pictures and texts ``input_ids`` and, the same, ``labels`` beside ``pixel_values``.
        """
        if images is not None and text is not None:
            options.setdefault("add_special_tokens", False)
        batch = super().__call__(images, text, **options)
        if "labels" in batch:
            batch["input_ids"] = batch["labels"]
        return batch

    def token2json(self, tokens: str, is_inner_value: bool = False, added_vocab: Any = None) -> Any:
        """Read the fields out of a text; see `vision2seq.processing.output.donut.token2json`.

        Args:
            tokens: What the model wrote, without its start, end and padding tokens.
            is_inner_value: Whether it stands inside of a field.
            added_vocab: Tokens that were added to the vocabulary; the tokenizer's if None.
        """
        return donut.token2json(
            tokens, is_inner_value, self.tokenizer.get_added_vocab() if added_vocab is None else added_vocab
        )

    def json2token(self, value: Any, *, sort_keys: bool = True) -> str:
        """Write a value as a text to train on; see `vision2seq.processing.output.donut.json2token`."""
        return donut.json2token(value, sort_keys=sort_keys, added_vocab=self.tokenizer.get_added_vocab())


class NougatProcessor(TrOCRProcessor):
    """`TrOCRProcessor`, and Nougat's Markdown.

    Source: transformers 4.57.6 ``NougatProcessor``.
    """

    @property
    def model_input_names(self) -> list[str]:
        """Keys of what a call with pictures, and one with texts, returns."""
        return ["pixel_values", *self.tokenizer.model_input_names]

    def post_process_generation(
        self, generation: str | list[str], fix_markdown: bool = True, num_workers: int | None = None
    ) -> str | list[str]:
        """Put the text of one page or of several in order; see `vision2seq.processing.output.nougat`.

        Args:
            generation: What the model wrote, without special tokens.
            fix_markdown: Whether formulas, links and algorithms are spelled as Markdown wants them.
            num_workers: Accepted; one process is enough.
        """
        return nougat.post_process_generation(generation, fix_markdown)
