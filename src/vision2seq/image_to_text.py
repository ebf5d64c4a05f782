"""What ``pipeline("image-to-text")`` of transformers 4 was, on a `Reader`, for the scripts that call it."""

from __future__ import annotations

import os
from typing import Any

from vision2seq import hub
from vision2seq.auto import AutoImageProcessor, AutoModelForVision2Seq, AutoTokenizer
from vision2seq.errors import ImageError, OptionError, UnsupportedError, nearest
from vision2seq.processing.image.pages import FIRST
from vision2seq.processing.processor import TrOCRProcessor
from vision2seq.reader import DEFAULT_MODEL, Reader, is_single
from vision2seq.tasks import NONE


class ImageToTextPipeline:
    """What ``pipeline("image-to-text")`` of transformers 4 was: images in, ``[{"generated_text": …}]`` out.

    Args:
        reader: What reads.
        options: Options of generation for every call.
    """

    task = "image-to-text"

    def __init__(self, reader: Reader, **options: Any) -> None:
        self.reader = reader
        self.options = options
        self.model = reader.model
        self.tokenizer = reader.tokenizer
        self.image_processor = self.feature_extractor = reader.processor.image_processor

    def __call__(
        self,
        inputs: Any = None,
        *,
        images: Any = None,
        max_new_tokens: int | None = None,
        generate_kwargs: dict[str, Any] | None = None,
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Read one image, or a list.

        Args:
            inputs: As in `Reader.read`; URLs are fetched.
            images: The old name of ``inputs``.
            max_new_tokens: Most tokens of a text.
            generate_kwargs: Options of generation.
            batch_size: Images that go through the model together.
            timeout: Accepted; fetching has a limit of its own.

        Returns:
            ``[{"generated_text": text}]`` for one image, a list of such lists for several.

        Raises:
            ImageError: One of them cannot be read.
            OptionError: No image at all.
        """
        inputs = images if inputs is None else inputs
        if inputs is None:
            raise OptionError("No image was given: pass one, or a list, as the first argument.")
        options = {**self.options, **(generate_kwargs or {})}
        if max_new_tokens is not None:
            if "max_new_tokens" in (generate_kwargs or {}):
                raise OptionError("max_new_tokens is given twice, as an argument and in generate_kwargs; give it once.")
            options["max_new_tokens"] = max_new_tokens
        options.setdefault("stop_on_repetition", False)
        answers = []
        for reading in self.reader.read(
            inputs, batch_size=batch_size, allow_url=True, task=NONE, pages=FIRST, **options
        ):
            if reading.error is not None:
                raise ImageError(reading.error)
            answers.append([{"generated_text": reading.text}])
        return answers[0] if is_single(inputs) else answers


def pipeline(
    task: str | None = None,
    model: Any = None,
    *,
    tokenizer: Any = None,
    image_processor: Any = None,
    feature_extractor: Any = None,
    device: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    batch_size: int = 1,
    **options: Any,
) -> ImageToTextPipeline:
    """Make an image-to-text pipeline, as old scripts do.

    Args:
        task: ``"image-to-text"``, or None.
        model: A folder, the name of a bundled model, a name on the hub, or a model (then with tokenizer and image
            processor).
        tokenizer: Instead of the one beside the model; an object or a folder.
        image_processor: Likewise.
        feature_extractor: The old name of ``image_processor``.
        device: Such as ``"cuda"``, or the number of a GPU; -1 is the CPU.
        dtype: See `PreTrainedModel.from_pretrained`.
        torch_dtype: The old name of ``dtype``.
        batch_size: Images that go through the model together.
        options: ``max_new_tokens``, ``generate_kwargs``, those of `hub.Options`, and what is accepted and changes
            nothing.

    Raises:
        UnsupportedError: Another task.
    """
    if task not in (None, "image-to-text", "image-text-to-text"):
        raise UnsupportedError(
            f"The task {task!r} is not built here.{nearest(str(task), ('image-to-text',))} Known: image-to-text."
        )
    for ignored in ("framework", "use_fast"):
        options.pop(ignored, None)
    trust = {"trust_remote_code": bool(options.pop("trust_remote_code", None))}
    loading = {**(options.pop("model_kwargs", None) or {}), "device_map": options.pop("device_map", None)}
    if (dtype := torch_dtype if dtype is None else dtype) is not None:
        loading["dtype"] = dtype
    finding = {name: options.pop(name) for name in hub.ARGUMENTS if name in options}
    finding |= {name: loading.pop(name) for name in hub.ARGUMENTS if name in loading}
    generate = dict(options.pop("generate_kwargs", None) or {})
    if "max_new_tokens" in options:
        generate["max_new_tokens"] = options.pop("max_new_tokens")
    if options:
        raise OptionError(f"pipeline() does not take {', '.join(sorted(options))}.")
    device = None if device in (None, -1, "cpu") else (f"cuda:{device}" if isinstance(device, int) else device)
    model = DEFAULT_MODEL if model is None else model
    place = hub.find(model, finding) if isinstance(model, str | os.PathLike) else None
    if place is not None:
        model = AutoModelForVision2Seq.from_pretrained(place, device=device, **trust, **loading)
    elif device is not None:
        model = model.to(device)
    image_processor = feature_extractor if image_processor is None else image_processor
    if image_processor is None and place is not None:
        image_processor = AutoImageProcessor.from_pretrained(place, **trust)
    elif isinstance(image_processor, str | os.PathLike):
        image_processor = AutoImageProcessor.from_pretrained(image_processor, **trust)
    if tokenizer is None and place is not None:
        tokenizer = AutoTokenizer.from_pretrained(place, **trust)
    elif isinstance(tokenizer, str | os.PathLike):
        tokenizer = AutoTokenizer.from_pretrained(tokenizer, **trust)
    return ImageToTextPipeline(
        Reader(model, TrOCRProcessor(image_processor, tokenizer), batch_size=batch_size), **generate
    )
