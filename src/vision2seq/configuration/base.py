"""Config: the mutable record behind every config.json, which never loses a key.

A family declares its known keys as annotated class attributes with defaults, plus aliases for the names that other
families use for the same thing (GPT-2 says ``n_embd`` where the rest says ``hidden_size``). Everything else that a file
holds is kept as it is and written back.

Source: the keys and defaults of transformers 4.57.6 ``PretrainedConfig`` and of each family's config class.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TextIO

from vision2seq import hub
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, ConfigError

CONFIG_NAME = "config.json"
IN_MODEL_CONFIGS = {
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "output_scores",
    "return_dict_in_generate",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "suppress_tokens",
    "exponential_decay_length_penalty",
    "begin_suppress_tokens",
    "num_beam_groups",
    "diversity_penalty",
}
"""Keys that the reference's model configs used to carry; changing one there still steers generation."""

_ABOUT_THE_CLASS = {"model_type", "attribute_map"}
# Where this copy was loaded from is no property of the model: transformers does not write it either.
_NOT_WRITTEN = ("name_or_path", "_name_or_path", "_commit_hash")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        CheckpointNotFoundError: The file does not exist.
        CheckpointCorruptError: It is not JSON, or JSON but not an object.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointNotFoundError(
            f"{path} does not exist. A checkpoint folder must hold a {path.name}; check the path, or download it again."
        ) from None
    except OSError as error:
        raise CheckpointNotFoundError(f"{path} cannot be read ({error}); expected a JSON file.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointCorruptError(f"{path} is not valid JSON: {error}. Restore or download it again.") from None
    if not isinstance(content, dict):
        raise CheckpointCorruptError(f"{path} holds a JSON {type(content).__name__}, expected an object {{…}}.")
    return content


def config_file(source: hub.Source) -> Path:
    """The config of a checkpoint: the .json file that was named, or the config.json beside whatever was.

    Raises:
        CheckpointNotFoundError: There is none.
    """
    name = source.file or ""
    if name.endswith(".json") and ".index." not in name:
        return source.named()
    found = source.get(CONFIG_NAME)
    if found is None:
        names = source.names()
        listing = (", ".join(names[:12]) + (" …" if len(names) > 12 else "")) or "nothing"
        raise CheckpointNotFoundError(
            f"{source.where()} holds no {CONFIG_NAME}. It is no checkpoint of a model, unless a config is passed with "
            f"config=…; found there: {listing}."
        )
    return found


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON object under a temporary name, then rename it, so that no half-written file is ever seen."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=_jsonable) + "\n"
    with replacing(path) as file:
        file.write(text)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears under its name, in the place of an older one, only when it is complete.

    Args:
        path: In a folder that exists. Nothing new is left there if the block ends with an exception.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _jsonable(value: Any) -> Any:
    if type(value).__name__ == "dtype":  # torch.float32, without importing torch to ask
        return str(value).removeprefix("torch.")
    if hasattr(value, "to_dict"):
        return value.to_dict()
    raise TypeError(f"a config cannot hold {value!r} of type {type(value).__name__}: it has no JSON form")


def merge(target: Any, changes: Mapping[str, Any]) -> None:
    """Set each change on a config in place; a dict meant for a sub-config or a dict is merged into it, not put instead.

    Args:
        target: A `Config`.
        changes: New values by key.
    """
    for key, value in changes.items():
        current = getattr(target, key, None)
        if isinstance(current, Config) and isinstance(value, Mapping):
            merge(current, value)
        elif isinstance(current, dict) and isinstance(value, Mapping):
            current.update(value)
        else:
            setattr(target, key, value)


class Config:
    """A mutable record of a model's shape and ids; unknown keys are kept and written back.

    Class attributes annotated in a subclass are its known keys with their defaults. Keys that nobody set stay out of
    `to_dict` if they belong to the common set below, and are written if they belong to the family.
    """

    model_type: ClassVar[str] = ""
    attribute_map: ClassVar[dict[str, str]] = {}
    """Alias → own name: ``config.hidden_size`` reads and writes ``config.n_embd`` where GPT-2 says so."""

    # The common keys: read with these defaults, written only if somebody set them.
    is_encoder_decoder: bool = False
    is_decoder: bool = False
    add_cross_attention: bool = False
    cross_attention_hidden_size: int | None = None
    tie_word_embeddings: bool = True
    tie_encoder_decoder: bool = False
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    decoder_start_token_id: int | None = None
    dtype: Any = None
    architectures: list[str] | None = None
    auto_map: dict[str, str] | None = None
    chunk_size_feed_forward: int = 0
    name_or_path: str = ""

    def __init__(self, **values: Any) -> None:
        values.pop("model_type", None)
        if "torch_dtype" in values:  # the old spelling of the same key
            torch_dtype = values.pop("torch_dtype")
            if values.get("dtype") is None:
                values["dtype"] = torch_dtype
        for key, default in self.family_keys().items():
            object.__setattr__(self, key, copy.copy(default))
        # Where a file has both a family's name and another family's name for the same thing, the reference lets the
        # latter win, since it sets what it does not know last.
        for key, value in sorted(values.items(), key=lambda item: item[0] in self.attribute_map):
            setattr(self, key, value)

    @classmethod
    def family_keys(cls) -> dict[str, Any]:
        """The keys that the family itself declares, with their defaults."""
        keys: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            if base in (Config, object):
                continue
            for name in inspect.get_annotations(base):
                if name not in _ABOUT_THE_CLASS:
                    keys[name] = getattr(base, name)
        return keys

    @classmethod
    def known_keys(cls) -> set[str]:
        """Every key that this class gives a meaning: the common ones, the family's and the aliases."""
        common = set(inspect.get_annotations(Config)) - _ABOUT_THE_CLASS
        return common | set(cls.family_keys()) | set(cls.attribute_map) | {"torch_dtype", "id2label", "label2id"}

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, "dtype" if key == "torch_dtype" else self.attribute_map.get(key, key), value)

    def __getattribute__(self, key: str) -> Any:
        if not key.startswith("_") and key != "attribute_map":
            key = type(self).attribute_map.get(key, key)
        return object.__getattribute__(self, key)

    def __getattr__(self, key: str) -> Any:
        if key == "torch_dtype":
            return self.dtype
        raise AttributeError(f"{type(self).__name__} has no {key!r}")

    def __contains__(self, key: str) -> bool:
        return hasattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and type(self) is type(other) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.to_dict(), indent=2, sort_keys=True, default=_jsonable)}"

    def to_dict(self) -> dict[str, Any]:
        """Return a deep copy as plain JSON values, with every key that was loaded or set."""
        values = {
            key: value.to_dict() if isinstance(value, Config) else copy.deepcopy(value)
            for key, value in self.__dict__.items()
            if key not in _NOT_WRITTEN
        }
        if "dtype" in values:
            dtype = values.pop("dtype")
            # Written under the name that every release of transformers reads.
            values["torch_dtype"] = dtype if dtype is None or isinstance(dtype, str) else _jsonable(dtype)
        if self.model_type:
            values["model_type"] = self.model_type
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, return_unused_kwargs: bool = False, **changes: Any) -> Any:
        """Build the config from a dict, which is not changed.

        Args:
            values: What a config.json holds.
            return_unused_kwargs: Return ``(config, unused)``.
            changes: Keys to set afterwards. Those that are no attribute of the config, nor such as steer generation,
                are unused.
        """
        config = cls(**copy.deepcopy(dict(values)))
        known = cls.known_keys() | IN_MODEL_CONFIGS
        used = {key: value for key, value in changes.items() if hasattr(config, key) or key in known}
        merge(config, used)
        unused = {key: value for key, value in changes.items() if key not in used}
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load from a folder that holds a config.json, from any .json file, or from a name on the hub.

        Args:
            name_or_path: The folder, file or name.
            kwargs: Those of `hub.Options`; ``return_unused_kwargs``; attributes to set.

        Raises:
            CheckpointNotFoundError: No such folder or file.
            ConfigError: The file is the config of another family.
        """
        return_unused = bool(kwargs.pop("return_unused_kwargs", False))
        path = config_file(hub.find(name_or_path, kwargs))
        values = read_json(path)
        found = values.get("model_type")
        if cls.model_type and found is not None and found != cls.model_type:
            raise ConfigError(
                f"{path} is the config of a {found!r} model, expected {cls.model_type!r} for {cls.__name__}. "
                "AutoConfig.from_pretrained picks the class from the file."
            )
        return cls.from_dict(values, return_unused_kwargs=return_unused, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write config.json into a folder, which is made if missing."""
        directory = Path(save_directory)
        if directory.is_file():
            raise ConfigError(f"{directory} is a file, expected a folder to save the config into.")
        write_json(directory / CONFIG_NAME, self.to_dict())

    def to_json_string(self) -> str:
        """The text that `save_pretrained` writes."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False, default=_jsonable) + "\n"

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set several keys; dicts meant for sub-configs are merged into them."""
        merge(self, changes)

    def copy(self) -> Any:
        """Return an independent copy."""
        return copy.deepcopy(self)
