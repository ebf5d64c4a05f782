"""SlotSession: rows of a vision-encoder-decoder that come and go one by one, for `generation.continuous`.

I images, S image tokens, D' width of what the decoder looks at, T tokens of a prompt.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vision2seq.errors import ImageError, OptionError
from vision2seq.generation.continuous import Row, run_continuously
from vision2seq.generation.loop import Plan
from vision2seq.layers.cache import SlotCache
from vision2seq.models.decoders.base import Decoder

_ENCODED_TOGETHER = 8


class SlotSession:
    """A decoder's compiled steps, and places for the keys and values of some rows.

    Args:
        decoder: Shared with other sessions; nothing is kept on it.
        step: What `session.compiled_step` gave for it.
        count: Rows at a time.
        prompt: (T,), what each text begins with.
    """

    def __init__(self, decoder: Decoder, step: Any, count: int, prompt: Tensor) -> None:
        self.count = count
        self._decoder, self._step, self._prompt = decoder, step, prompt
        self._cache = SlotCache(len(decoder.layers()), count)

    def admit(self, slots: Sequence[int], memory: Tensor) -> None:
        """Begin rows in these slots with the images of ``memory`` (I, S, D'), all but the prompt's last token fed."""
        images = self._decoder.new_cache()
        self._decoder.put_cross(images, memory)
        self._cache.admit(list(slots), images)
        for token in self._prompt[:-1].tolist():
            self._step.step(torch.full((len(slots),), token), self._cache.places(list(slots), 1))
            self._cache.advance(list(slots), 1)

    def greedy(
        self, slots: Sequence[int], tokens: Sequence[int], steps: int, ends: Sequence[int], /
    ) -> tuple[Tensor, Tensor]:
        """Take several greedy steps; see `generation.continuous.Slots`."""
        places = self._cache.places(list(slots), steps)
        found = self._step.greedy(torch.tensor(tokens), places, steps, ends, [True] * len(slots))
        self._cache.advance(list(slots), len(found[0]))
        return found


@torch.no_grad()
def each(
    model: Any,
    images: Iterable[tuple[Any, Tensor]],
    slots: int,
    step: Any,
    plan: Plan,
    prompt: Tensor,
    for_encoder: dict[str, Any],
) -> Iterator[Row]:
    """Generate text for a stream of images; see `VisionEncoderDecoderModel.generate_each`."""
    for _, alike in itertools.groupby(images, key=lambda image: image[1].shape):
        session = SlotSession(model.decoder, step, slots, prompt)
        failed: list[Row] = []
        admit = functools.partial(_admit, model, session, alike, for_encoder, failed)
        for row in run_continuously(session, admit, plan, int(prompt[-1])):
            while failed:
                yield failed.pop(0)
            yield row
        yield from failed


def _admit(
    model: Any,
    session: SlotSession,
    images: Iterator[tuple[Any, Tensor]],
    for_encoder: dict[str, Any],
    failed: list[Row],
    free: Sequence[int],
) -> list[Any]:
    """Encode the next images, a few at a time, and begin rows with them."""
    keys: list[Any] = []
    while len(keys) < len(free):
        chunk = list(itertools.islice(images, min(_ENCODED_TOGETHER, len(free) - len(keys))))
        if not chunk:
            break
        good: list[tuple[Any, Tensor]] = []
        for key, one in chunk:
            try:
                good.append((key, checked_pixels(one[None])))
            except ImageError as error:
                failed.append(Row(key, reason="error", error=str(error)))
        if not good:
            continue
        try:
            pixels = torch.cat([one for _, one in good]).to(model.device)
            _, memory = model.encode(pixels, None, **for_encoder)
        except ImageError as error:  # of a size that the model cannot take, which all of them have
            failed += [Row(key, reason="error", error=str(error)) for key, _ in good]
            continue
        session.admit(free[len(keys) : len(keys) + len(good)], memory.to(model.decoder.device))
        keys += [key for key, _ in good]
    return keys


def checked_pixels(pixel_values: Any) -> Tensor:
    """Pixels that the encoder can be given.

    Raises:
        OptionError: No tensor.
        ImageError: No image, or numbers that are not finite.
    """
    if not isinstance(pixel_values, Tensor):
        raise OptionError(
            f"pixel_values are a {type(pixel_values).__name__}, expected a tensor [images, channels, height, "
            "width]: call the image processor with return_tensors='pt'."
        )
    if len(pixel_values) == 0:
        raise ImageError("pixel_values hold no image; expected at least one.")
    # The extremes of what is not a number are not, either; a mask of all would take longer than to copy them.
    if pixel_values.numel() and not all(map(math.isfinite, torch.aminmax(pixel_values))):
        raise ImageError("pixel_values hold NaN or infinite numbers; expected finite ones. Check the preprocessing.")
    return pixel_values
