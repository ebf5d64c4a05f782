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
from vision2seq.configuration.base import read_json, write_json
from vision2seq.errors import CheckpointNotFoundError, ImageError, OptionError, UnknownOptionError, nearest
from vision2seq.processing.batch import Batch
from vision2seq.processing.image import ops, read, steps
from vision2seq.processing.image.geometry import Geometry
from vision2seq.processing.image.ops import Pixels

PREPROCESSOR_NAME = "preprocessor_config.json"
PROCESSOR_NAME = "processor_config.json"
HALF = (0.5, 0.5, 0.5)
"""The mean and deviation of processors that name none: they map black to -1 and white to 1."""

# Bookkeeping in the files, replaced by what is true of the object when it is written.
_TYPE_KEYS = ("image_processor_type", "feature_extractor_type")
# What from_pretrained() of other libraries takes to find the folder; it is found already.
_FINDING_OPTIONS = frozenset(
    "cache_dir code_revision force_download local_files_only proxies resume_download revision token trust_remote_code "
    "use_auth_token use_fast user_agent _commit_hash _from_auto _from_pipeline".split()
)
# Options of a call that are no options of the processor.
_CALL_OPTIONS = ("data_format", "input_data_format")


class BatchFeature(Batch):
    """What an image processor returns.

    Args:
        data: The values, as ``{"pixel_values": …}``.
        tensor_type: ``"pt"`` or ``"np"`` to convert lists of arrays, ``None`` to leave them.
    """

    def convert_to_tensors(self, tensor_type: Any = None) -> BatchFeature:
        """Convert lists of arrays into batches, in place.

        Args:
            tensor_type: ``"pt"``, ``"np"`` or ``None``.

        Raises:
            OptionError: Another type, or arrays of different shapes.
        """
        kind = tensor_kind(tensor_type)
        if kind is not None:
            for key, value in self.items():
                if isinstance(value, (list, np.ndarray)):
                    self[key] = _as_tensor(_stack(value) if isinstance(value, list) else value, kind)
        return self

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """Move tensors to a device, cast those of floats to a dtype, in place.

        Args:
            args: A device, a dtype, or both, as ``Tensor.to`` takes them.
            kwargs: ``device``, ``dtype``, ``non_blocking``, likewise.

        Returns:
            This object.

        Raises:
            OptionError: The first argument is neither a device nor a dtype.
        """
        import torch  # here, so that making a batch of numpy arrays needs none

        if args and not isinstance(args[0], (str, int, torch.device, torch.dtype)):
            raise OptionError(f"Cannot move a batch to {args[0]!r}. Expected a device or a dtype.")
        device = kwargs.get("device")
        if device is None and args and not isinstance(args[0], torch.dtype):
            device = args[0]
        for key, value in self.items():
            if not isinstance(value, torch.Tensor):
                continue
            if value.is_floating_point():
                self[key] = value.to(*args, **kwargs)
            elif device is not None:  # ids and masks stay integers
                self[key] = value.to(device=device, non_blocking=kwargs.get("non_blocking", False))
        return self


def tensor_kind(value: Any) -> str | None:
    """The kind of tensors that ``return_tensors`` asks for: ``"pt"``, ``"np"`` or ``None``.

    Raises:
        OptionError: Another one.
    """
    value = getattr(value, "value", value)  # an enum member of transformers
    if value not in (None, "pt", "np"):
        raise OptionError(f"return_tensors is {value!r}. Expected 'pt', 'np' or None.")
    return None if value is None else str(value)


def _stack(arrays: list[Any]) -> Pixels:
    shapes = sorted({tuple(np.shape(array)) for array in arrays})
    if len(shapes) > 1:
        raise OptionError(
            f"Images of different shapes cannot be one batch: {', '.join(map(str, shapes))}. "
            "Let the processor resize them (do_resize=True) or pass return_tensors=None for a list."
        )
    return np.stack(arrays)


def _as_tensor(batch: Pixels, kind: str) -> Any:
    if kind == "np":
        return batch
    import torch

    return torch.from_numpy(batch)


class ImageProcessor:
    """Options by which pictures become ``pixel_values``, and the call that does it.

    Every option is an attribute and may be changed at any time. Unknown keys of a file are kept, can be read as
    attributes, and are written back.
    """

    options: ClassVar[tuple[str, ...]] = ()
    """What a family's files hold and its calls take."""
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

    def __init__(self, **unknown: Any) -> None:
        for key in _TYPE_KEYS:
            unknown.pop(key, None)
        self._unknown = unknown

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._unknown:
            return self._unknown[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}.{nearest(name, self.options)}")

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
        options = (*cls.options, "do_convert_rgb")
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
        for key in ("size", "crop_size"):
            if key in self.options:
                values[key] = ops.size_dict(values[key], key)
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
        chosen["in_doubt_first"] = read.is_array(items[0]) and _is_channels_first(items[0])
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

    def _choose(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a call, checked: its overrides, and the processor's own where these are absent or ``None``."""
        known = (*self.options, "do_convert_rgb", *_CALL_OPTIONS)
        for name in overrides:
            if name not in known:
                raise _unknown_option(type(self), name, known)
        chosen = {name: getattr(self, name, None) for name in (*self.options, "do_convert_rgb")}
        chosen["data_format"], chosen["input_data_format"] = "channels_first", None
        chosen.update({name: value for name, value in overrides.items() if value is not None})

        for name, allowed in (
            ("data_format", ("channels_first", "channels_last")),
            ("input_data_format", (None, "channels_first", "channels_last", "none")),
        ):
            chosen[name] = getattr(chosen[name], "value", chosen[name])  # an enum member of transformers
            if chosen[name] not in allowed:
                raise OptionError(f"{name} is {chosen[name]!r}. Expected one of: {', '.join(map(str, allowed))}.")
        if chosen["do_resize"]:
            chosen["size"] = ops.height_width(chosen["size"], "size")
            chosen["resample"] = ops.resampling(chosen["resample"])
        if chosen.setdefault("do_center_crop", False):
            chosen["crop_size"] = ops.height_width(chosen["crop_size"], "crop_size")
        for switch, name in (
            ("do_rescale", "rescale_factor"),
            ("do_normalize", "image_mean"),
            ("do_normalize", "image_std"),
        ):
            if chosen[switch] and not _is_numeric(chosen[name]):
                raise OptionError(f"{switch} needs {name}, which is {chosen[name]!r}. Set it, or {switch}=False.")
        return chosen

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
        picture = _picture(items[0], chosen)
        height, width = steps.shape_of(picture)
        found = Geometry.of(width, height)
        for step in self._steps(picture, chosen):
            found = step.follow(found)
        return found

    def _pixels(self, item: Any, chosen: Mapping[str, Any]) -> Pixels:
        """One picture decoded, in the wanted channels and size: C H W."""
        picture = _picture(item, chosen)
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
            shape = chosen["size"]
            yield steps.Resize(shape, chosen["resample"])
        if chosen["do_center_crop"]:
            yield steps.center_crop(shape, chosen["crop_size"])


def read_preprocessor(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a folder's preprocessor_config.json holds, or that part of the newer processor_config.json.

    Args:
        path: A folder, or the .json file itself; a source brings it here first.

    Raises:
        CheckpointNotFoundError: No such folder, or none of the files in it.
        CheckpointCorruptError: The file is not a JSON object.
    """
    if isinstance(path, hub.Source):
        if path.file is not None:
            path.named()
        elif path.get(PREPROCESSOR_NAME) is None:
            path.get(PROCESSOR_NAME)
    path = Path(path)
    if not path.exists():
        raise CheckpointNotFoundError(f"No folder {path}. Expected one that holds {PREPROCESSOR_NAME}.")
    if not path.is_dir():
        values = read_json(path)
    elif (path / PREPROCESSOR_NAME).is_file():
        values = read_json(path / PREPROCESSOR_NAME)
    else:
        both = path / PROCESSOR_NAME
        values = read_json(both) if both.is_file() else {}
        if "image_processor" not in values:
            raise CheckpointNotFoundError(
                f"{path} holds no {PREPROCESSOR_NAME}. Copy it there from the model that this one was trained from, "
                "or make the image processor yourself and save_pretrained() it."
            )
    nested = values.get("image_processor")
    return nested if isinstance(nested, dict) else values


def _picture(item: Any, chosen: Mapping[str, Any]) -> Image.Image | Pixels:
    """One picture as a Pillow image or as planes C H W, in the channels that the options ask for.

    With ``do_convert_rgb`` unset, everything becomes RGB, or gray if the mean has one number. ``True`` converts as
    Pillow does, which ignores transparency; ``False`` takes the channels as they are.
    """
    convert = chosen["do_convert_rgb"]
    mean = chosen["image_mean"]
    wanted = 3 if mean is None or isinstance(mean, (int, float)) else len(mean)
    if convert is None and wanted not in (1, 3):
        convert = False
    if not isinstance(item, Image.Image) and not read.is_array(item):
        item = read.load_image(item)  # RGB
    if isinstance(item, Image.Image):
        return _convert_picture(item, convert, wanted)

    array = read.to_array(item)
    read.check_array(array)
    layout = chosen["input_data_format"]
    if array.ndim == 2:
        array = array[None]
    elif layout == "none":
        raise ImageError(f"input_data_format='none' means (height, width); found an array of shape {array.shape}.")
    elif not (layout == "channels_first" if layout else read.channels_first(array.shape, chosen["in_doubt_first"])):
        array = array.transpose(2, 0, 1)  # C H W
    channels = array.shape[0]
    if convert is False or channels == (wanted if convert is None else 3):
        return array
    if channels == 1:
        return np.repeat(array, 3, axis=0)
    if array.dtype == np.uint8 and channels <= 4:
        return _convert_picture(read.from_planes(array), None, wanted)
    raise ImageError(
        f"An array of {channels} channels and dtype {array.dtype} cannot be made {wanted}-channel. "
        f"Pass {wanted} channels, or uint8."
    )


def _is_channels_first(array: Any) -> bool:
    return len(array.shape) != 3 or array.shape[0] in (1, 3)


def _convert_picture(image: Image.Image, convert: bool | None, wanted: int) -> Image.Image:
    read.check_picture(image)
    if convert is False:
        if image.mode in ("P", "PA"):
            raise ImageError(f"A {image.mode} image holds palette indices, no colours. Leave out do_convert_rgb=False.")
        return image
    if convert:
        return image if image.mode == "RGB" else image.convert("RGB")
    if wanted == 1:
        return image if image.mode == "L" else read.to_rgb(image).convert("L")
    return image if image.mode == "RGB" else read.to_rgb(image)


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
