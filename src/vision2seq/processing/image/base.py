"""What every image processor is: a record of options that never loses a key, and one lane from pictures to a batch.

::

    picture → decoded, in the wanted channels → resize → center crop → rescale → normalize → pixel_values  B C H W

Source: the PIL processors of transformers 4.57.6, whose numbers it gives to the last bit for RGB pictures. Wider than
they are: paths, bytes and file objects are read; gray, transparent and other pictures become RGB instead of failing.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vision2seq import hub
from vision2seq.configuration.base import write_json
from vision2seq.errors import ImageError, OptionError, UnknownOptionError, nearest
from vision2seq.processing.image import ops, read, steps
from vision2seq.processing.image.channels import is_channels_first, picture_of
from vision2seq.processing.image.feature import BatchFeature, tensor_kind
from vision2seq.processing.image.files import PREPROCESSOR_NAME, read_preprocessor
from vision2seq.processing.image.geometry import Geometry
from vision2seq.processing.image.ops import Pixels

# Bookkeeping in the files, replaced by what is true of the object when it is written.
_TYPE_KEYS = ("image_processor_type", "feature_extractor_type")
# What from_pretrained() of other libraries takes to find the folder; it is found already.
_FINDING_OPTIONS = frozenset(
    "cache_dir code_revision force_download local_files_only proxies resume_download revision token trust_remote_code "
    "use_auth_token use_fast user_agent _commit_hash _from_auto _from_pipeline".split()
)
_SIZES = ("size", "crop_size")
# Where None means what the family does; everywhere else it means no.
_NONE_IS_DEFAULT = (*_SIZES, "crop_pct", "image_mean", "image_std")


class ImageProcessor:
    """Options by which pictures become ``pixel_values``, and the call that does it.

    Families differ in which of these options they have and in the `defaults` of these. Every option is an attribute
    and may be changed at any time. Unknown keys of a file are kept, can be read as attributes, and are written back.

    Args:
        do_resize: Whether to resize.
        size: ``{"height": …, "width": …}``, ``[height, width]`` or ``384`` (a square). Families with `by_shorter_edge`
            also know ``{"shortest_edge": 384}``, the other edge following, and take an integer for that.
        resample: Pillow's filter number: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.
        do_center_crop: Whether to cut out the middle.
        crop_size: Of what is cut out, spelled like ``size``, an integer being a square. A smaller picture gets a black
            border.
        do_rescale: Whether to multiply by ``rescale_factor``.
        rescale_factor: What to multiply by.
        do_normalize: Whether to subtract the mean and divide by the deviation.
        image_mean: A number or one a channel. With one entry the pictures are gray.
        image_std: Likewise.
        do_convert_rgb: ``None``: convert what is not RGB. ``True``: the same by Pillow's plain rule, which ignores
            transparency. ``False``: never. All families take it.
        unknown: Kept and written back.

    Raises:
        OptionError: A size in no known spelling.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    """The options that a family's files hold and its calls take, each with its default."""
    by_shorter_edge: ClassVar[bool] = False
    """Whether ``size`` may be that of the shorter edge; an integer then is."""
    call_options: ClassVar[tuple[str, ...]] = ("data_format", "input_data_format")
    """Options of a call that are no options of the processor."""
    written_type: ClassVar[str] = "ImageProcessor"
    """The name under which `save_pretrained` records the family; every release of transformers knows it."""
    model_input_names: ClassVar[list[str]] = ["pixel_values"]
    is_fast: ClassVar[bool] = False

    do_resize: bool | None
    size: Any
    resample: Any
    do_center_crop: bool | None
    crop_size: Any
    do_rescale: bool | None
    rescale_factor: float | None
    do_normalize: bool | None
    image_mean: Any
    image_std: Any
    do_convert_rgb: bool | None = None

    def __init__(self, **options: Any) -> None:
        known = self._options()
        self._unknown = {key: value for key, value in options.items() if key not in (*known, *_TYPE_KEYS)}
        for name in known:
            value = options.get(name, self.defaults.get(name))
            if value is None and name in _NONE_IS_DEFAULT:
                value = self.defaults[name]
            if name in self.defaults or name in options:
                setattr(self, name, copy.copy(value))

    @classmethod
    def _options(cls) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*cls.defaults, "do_convert_rgb")))

    @classmethod
    def _size(cls, name: str, value: Any) -> dict[str, int]:
        """A size in any spelling as a dict."""
        return ops.size_dict(value, name, by_shorter_edge=cls.by_shorter_edge and name == "size")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, self._size(name, value) if name in _SIZES and name in self.defaults else value)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._unknown:
            return self._unknown[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}.{nearest(name, self.defaults)}")

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    # Files

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, return_unused_kwargs: bool = False, **changes: Any) -> Any:
        """Build the processor from what a preprocessor_config.json holds, of any age.

        Args:
            values: Is not changed. Unknown keys are kept.
            return_unused_kwargs: Return ``(processor, unused)`` instead of raising about unknown changes.
            changes: Options to set instead of those in ``values``.

        Raises:
            OptionError: A size in no known spelling.
            UnknownOptionError: A change that is no option and no key of ``values``.
        """
        options = cls._options()
        known = {key: value for key, value in changes.items() if key in options or key in values}
        unused = {key: value for key, value in changes.items() if key not in known}
        if unused and not return_unused_kwargs:
            raise _unknown_option(cls, next(iter(unused)), options)
        processor = cls(**copy.deepcopy({**values, **known}))
        return (processor, unused) if return_unused_kwargs else processor

    def to_dict(self) -> dict[str, Any]:
        """All options and unknown keys, as JSON values, with the processor's type."""
        values = copy.deepcopy(self._unknown)
        values.update({key: copy.deepcopy(value) for key, value in vars(self).items() if not key.startswith("_")})
        if isinstance(values.get("resample"), int):
            values["resample"] = int(values["resample"])  # rather than Pillow's enum
        values["image_processor_type"] = self.written_type
        return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in values.items()}

    def to_json_string(self) -> str:
        """The text that `save_pretrained` writes."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load from a folder that holds a preprocessor_config.json, or from a .json file.

        Args:
            folder: The folder or file; or a name on the hub.
            kwargs: Those of `hub.Options`; ``return_unused_kwargs``; options to set instead of the file's.

        Raises:
            CheckpointNotFoundError: No such folder, or none of the files in it.
            CheckpointCorruptError: The file is not JSON.
            OptionError, UnknownOptionError: As in `from_dict`.
        """
        source = hub.find(folder, kwargs)
        kwargs = {key: value for key, value in kwargs.items() if key not in _FINDING_OPTIONS}
        return cls.from_dict(read_preprocessor(source), **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **_: Any) -> list[str]:
        """Write preprocessor_config.json into a folder, which is made if missing.

        Returns:
            The path of the file, in a list.

        Raises:
            OptionError: The folder is a file.
        """
        directory = Path(save_directory)
        if directory.is_file():
            raise OptionError(f"{directory} is a file, expected a folder to save the image processor into.")
        path = directory / PREPROCESSOR_NAME
        write_json(path, self.to_dict())
        return [str(path)]

    # Pictures

    def __call__(self, images: Any, return_tensors: Any = None, **overrides: Any) -> BatchFeature:
        """Turn one or many pictures into ``pixel_values``.

        Args:
            images: What `vision2seq.processing.image.read.load_images` takes, URLs excepted. Arrays and tensors are
                taken as 8-bit values, or as fractions from 0 to 1 together with ``do_rescale=False``.
            return_tensors: ``"pt"`` or ``"np"`` for one batch of shape (B, C, H, W), ``None`` for a list of arrays
                of shape (C, H, W).
            overrides: Options for this call only; ``data_format`` (``"channels_first"`` or ``"channels_last"``) of
                the result; ``input_data_format`` (the same, or ``"none"``) of the arrays given, if guessing is wrong.

        Returns:
            ``{"pixel_values": …}``.

        Raises:
            ImageError: A picture that cannot be read, or none at all.
            OptionError: An option with an impossible value, or images that cannot be one batch.
            UnknownOptionError: An option that this processor does not have.
        """
        kind = tensor_kind(return_tensors)
        chosen = self._choose(overrides)
        items = read.flatten(images)
        # Where the axes of an array are in doubt, they are as in the first picture.
        chosen["in_doubt_first"] = read.is_array(items[0]) and is_channels_first(items[0])
        arrays = []
        for index, item in enumerate(items):
            try:
                arrays.append(self._pixels(item, chosen))
            except ImageError as error:
                if len(items) == 1:
                    raise
                raise ImageError(f"Image {index} of {len(items)}: {error}") from error

        scale = chosen["rescale_factor"] if chosen["do_rescale"] else None
        mean = chosen["image_mean"] if chosen["do_normalize"] else None
        std = chosen["image_std"]
        last = chosen["data_format"] == "channels_last"
        if kind is None or last or len({(array.shape, array.dtype) for array in arrays}) > 1:
            results = [ops.standardize(array, scale, mean, std) for array in arrays]
            if last:
                results = [np.ascontiguousarray(result.transpose(1, 2, 0)) for result in results]
            return BatchFeature({"pixel_values": results}, kind)
        # The usual case writes every image into its place in the batch.
        batch = np.empty((len(arrays), *arrays[0].shape), ops.standardized_dtype(arrays[0].dtype, scale, mean))
        for array, place in zip(arrays, batch, strict=True):
            ops.standardize(array, scale, mean, std, out=place)
        return BatchFeature({"pixel_values": batch}, kind)

    def preprocess(self, images: Any, return_tensors: Any = None, **overrides: Any) -> BatchFeature:
        """The same as calling the processor."""
        return self(images, return_tensors, **overrides)

    def geometry(self, image: Any, **overrides: Any) -> Geometry:
        """Tell where the pixels of what a call returns were in the picture that it was given.

        Args:
            image: One picture, of any kind that a call takes. One that is read from a file is meant upright, as its
                camera says.
            overrides: Those of the call.

        Returns:
            The way back; nothing is resized for it.

        Raises:
            ImageError, OptionError, UnknownOptionError: As for the call.
        """
        chosen = self._choose(overrides)
        items = read.flatten(image)
        if len(items) != 1:
            raise OptionError(f"geometry() is about one image; found {len(items)}. Call it for each of them.")
        chosen["in_doubt_first"] = True
        picture = picture_of(items[0], chosen)
        height, width = steps.shape_of(picture)
        found = Geometry.of(width, height)
        for step in self._steps(picture, chosen):
            found = step.follow(found)
        return found

    def _choose(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a call, checked: its overrides, and the processor's own where these are absent or ``None``."""
        options = self._options()
        known = (*options, *self.call_options)
        for name in overrides:
            if name not in known:
                raise _unknown_option(type(self), name, known)
        given = {name: value for name, value in overrides.items() if value is not None}
        given.update({name: self._size(name, given[name]) for name in _SIZES if name in given})
        chosen: dict[str, Any] = {"do_center_crop": False, **dict.fromkeys(self.call_options)}
        chosen.update({name: getattr(self, name) for name in options})
        chosen.update({"data_format": "channels_first", **given})

        for name, allowed in (
            ("data_format", ("channels_first", "channels_last")),
            ("input_data_format", (None, "channels_first", "channels_last", "none")),
        ):
            chosen[name] = getattr(chosen[name], "value", chosen[name])  # an enum member of transformers
            if chosen[name] not in allowed:
                raise OptionError(f"{name} is {chosen[name]!r}. Expected one of: {', '.join(map(str, allowed))}.")
        if chosen["do_resize"]:
            chosen["size"] = ops.wanted_size(chosen["size"], "size", by_shorter_edge=self.by_shorter_edge)
            chosen["resample"] = ops.resampling(chosen["resample"])
        if chosen["do_center_crop"]:
            chosen["crop_size"] = ops.wanted_size(chosen["crop_size"], "crop_size")
        for switch, name in (
            ("do_rescale", "rescale_factor"),
            ("do_normalize", "image_mean"),
            ("do_normalize", "image_std"),
        ):
            if chosen[switch] and not _is_numeric(chosen[name]):
                raise OptionError(f"{switch} needs {name}, which is {chosen[name]!r}. Set it, or {switch}=False.")
        return chosen

    def _pixels(self, item: Any, chosen: Mapping[str, Any]) -> Pixels:
        """One picture decoded, in the wanted channels and size: C H W."""
        picture = picture_of(item, chosen)
        if chosen["do_rescale"] and not isinstance(picture, Image.Image):
            ops.warn_if_scaled(picture)
        return self._fit(picture, chosen)

    def _fit(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Pixels:
        """A picture stretched, turned and cut as its steps say: C H W."""
        for step in list(self._steps(picture, chosen)):  # all of them first: they may refuse the picture
            picture = step.apply(picture)
        return ops.planes(picture) if isinstance(picture, Image.Image) else picture

    def _steps(self, picture: steps.Picture, chosen: Mapping[str, Any]) -> Iterator[steps.Step]:
        """What to do to a picture, which is where families differ."""
        shape = steps.shape_of(picture)
        if chosen["do_resize"]:
            wanted = chosen["size"]
            shape = steps.shorter_edge_shape(shape, wanted) if isinstance(wanted, int) else wanted
            yield steps.Resize(shape, chosen["resample"])
        if chosen["do_center_crop"]:
            yield steps.center_crop(shape, chosen["crop_size"])


def _is_numeric(value: Any) -> bool:
    values = [value] if np.isscalar(value) else value
    try:
        return len(values) > 0 and all(isinstance(x, (int, float, np.number)) for x in values)
    except TypeError:
        return False


def _unknown_option(cls: type[ImageProcessor], name: str, known: tuple[str, ...]) -> UnknownOptionError:
    return UnknownOptionError(
        f"{cls.__name__} has no option {name!r}.{nearest(name, known)} It has: {', '.join(sorted(known))}."
    )
