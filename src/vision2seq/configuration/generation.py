"""GenerationConfig: how text is generated, as generation_config.json holds it.

Where each value of a call comes from, first hit wins: the call's own argument; the config object given to the call;
the model's generation config, which is generation_config.json or, without one, config.json (top level, then the decoder
block for whatever is still at its default).

Two things differ from the reference on purpose. ``max_length`` is None until somebody says one: then the decoder's own
limit rules, and text is not cut at 20 tokens. And ``stop_on_repetition`` is new.

Source: the keys, defaults and precedence of transformers 4.57.6 ``GenerationConfig``.
"""

from __future__ import annotations

import copy
import json
import math
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from vision2seq import hub
from vision2seq.configuration.base import IN_MODEL_CONFIGS, Config, read_json, write_json
from vision2seq.errors import ConfigError, OptionError, UnknownOptionError, UnsupportedError, nearest

GENERATION_CONFIG_NAME = "generation_config.json"

_OLD_DEFAULT_LENGTH = 20
"""Old releases of transformers wrote this default into each config.json, so there it says nothing about a length."""

_ONLY_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_NONE_MEANS_DEFAULT = (
    "do_sample",
    "num_beams",
    "num_return_sequences",
    "early_stopping",
    "length_penalty",
    "stop_on_repetition",
)

_ABSENT_ARGUMENTS = {
    "assistant_model": "assisted decoding is not built here; leave it out, the text is the same without it",
    "assistant_tokenizer": "assisted decoding is not built here; leave it out",
    "custom_generate": "custom loops are not built here; write one over vision2seq.generation.iterate",
    "negative_prompt_ids": "guidance by a negative prompt is not built here; use sequence_bias or logits_processor",
    "negative_prompt_attention_mask": "guidance by a negative prompt is not built here; use logits_processor",
    "use_model_defaults": "a config given to a call is always filled from the model's own; leave it out",
    "synced_gpus": "generation over several devices in step is not built here; run one process a device",
}
"""Call arguments of the reference that this package knows but does not have, and what to do instead."""


class GenerationConfig:
    """How a model generates text. Keys that are not known here are kept and written back.

    Lengths are in tokens: ``max_length`` and ``min_length`` count the decoder prompt, ``max_new_tokens`` and
    ``min_new_tokens`` do not and win over them.

    Args:
        values: Any of the keys below; those of a file that are not known are kept.

    Raises:
        OptionError: A value that cannot be honoured, see `check_values`.
    """

    # Length
    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = 0
    min_new_tokens: int | None = None
    early_stopping: bool | str = False
    max_time: float | None = None
    stop_strings: str | list[str] | None = None
    stop_on_repetition: bool = False
    """Ours: stop a text that repeats the same few tokens over and over, and cut the repeats off."""

    # Strategy
    do_sample: bool = False
    num_beams: int = 1
    num_return_sequences: int = 1

    # Scores
    temperature: float | None = 1.0
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = None
    typical_p: float | None = 1.0
    epsilon_cutoff: float | None = 0.0
    eta_cutoff: float | None = 0.0
    repetition_penalty: float | None = 1.0
    length_penalty: float = 1.0
    no_repeat_ngram_size: int | None = 0
    bad_words_ids: list[list[int]] | None = None
    sequence_bias: Any = None
    renormalize_logits: bool | None = False
    remove_invalid_values: bool | None = False
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    exponential_decay_length_penalty: Any = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None

    # What comes back
    output_attentions: bool | None = False
    output_hidden_states: bool | None = False
    output_scores: bool | None = False
    output_logits: bool | None = None
    return_dict_in_generate: bool | None = False

    # Token ids
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | list[int] | None = None

    # Honoured by doing nothing: a cache is always used, and no input is text
    use_cache: bool | None = True
    cache_implementation: str | None = None
    cache_config: Any = None
    return_legacy_cache: bool | None = None
    prefill_chunk_size: int | None = None
    compile_config: Any = None
    disable_compile: bool | None = False
    low_memory: bool | None = None
    encoder_repetition_penalty: float | None = 1.0
    encoder_no_repeat_ngram_size: int | None = 0
    is_assistant: bool | None = False
    num_assistant_tokens: int | None = 20
    num_assistant_tokens_schedule: str | None = "constant"
    assistant_confidence_threshold: float | None = 0.4
    max_matching_ngram_size: int | None = None
    assistant_lookbehind: int | None = 10
    target_lookbehind: int | None = 10

    # Not built here: an error if they ask for something
    prompt_lookup_num_tokens: int | None = None
    assistant_early_exit: int | None = None
    penalty_alpha: float | None = None
    dola_layers: Any = None
    diversity_penalty: float | None = 0.0
    num_beam_groups: int | None = 1
    constraints: Any = None
    force_words_ids: Any = None
    guidance_scale: float | None = None
    watermarking_config: Any = None
    token_healing: bool | None = False

    _defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, **values: Any) -> None:
        values.pop("_commit_hash", None)
        values.pop("_original_object_hash", None)
        for key, default in self._defaults.items():
            object.__setattr__(self, key, copy.copy(default))
        self._from_model_config = bool(values.pop("_from_model_config", False))
        self._derived = False
        for key, value in values.items():
            setattr(self, key, copy.deepcopy(value))
        self._seal()
        self.check_values()

    def _seal(self) -> None:
        """Remember the present state as the one that nobody has modified."""
        self._sealed = self.to_dict()

    @classmethod
    def known_keys(cls) -> set[str]:
        """Every option that has a meaning, or is known to have none, here."""
        return set(cls._defaults)

    def __setattr__(self, key: str, value: Any) -> None:
        if value is None and key in _NONE_MEANS_DEFAULT:
            value = self._defaults[key]
        object.__setattr__(self, key, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and _plain(self.to_dict()) == _plain(other.to_dict())

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(_plain(self.to_diff_dict()), indent=2, sort_keys=True, default=str)}"

    # ------------------------------------------------------------------------------------------------- in and out

    def to_dict(self) -> dict[str, Any]:
        """Return a deep copy of all keys, known and unknown."""
        return {key: copy.deepcopy(value) for key, value in self.__dict__.items() if not key.startswith("_")}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the keys that differ from their defaults, and all unknown ones: what is written to a file."""
        values = self.to_dict()
        values.pop("compile_config", None)
        changed = {k: v for k, v in values.items() if k not in self._defaults or v != self._defaults[k]}
        if self._from_model_config:
            changed["_from_model_config"] = True
        return changed

    def to_json_string(self) -> str:
        """The text that `save_pretrained` writes."""
        return json.dumps(_plain(self.to_diff_dict()), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, return_unused_kwargs: bool = False, **changes: Any) -> Any:
        """Build the config from a dict, which is not changed, and set some keys afterwards.

        Args:
            values: What a generation_config.json holds.
            return_unused_kwargs: Return ``(config, unused)``.
            changes: Keys to set. Those that are no key of the config are unused.
        """
        config = cls(**values)
        unused = config.update(**changes)
        config._seal()
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        **changes: Any,
    ) -> Any:
        """Load from a folder that holds a generation_config.json, from any .json file, or from a name on the hub.

        Args:
            pretrained_model_name: The folder, file or name.
            config_file_name: Another name of the file in the folder.
            changes: Those of `hub.Options`, and keys to set afterwards; ``return_unused_kwargs=True`` returns
                ``(config, unused)``.

        Raises:
            CheckpointNotFoundError: No such folder or file.
            CheckpointCorruptError: Not a JSON object.
        """
        source = hub.find(pretrained_model_name, changes)
        name = os.fspath(config_file_name or GENERATION_CONFIG_NAME)
        path = (source.named() if source.file else source.get(name)) or source.folder / name
        return cls.from_dict(read_json(path), **changes)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], config_file_name: str | os.PathLike[str] | None = None
    ) -> None:
        """Write generation_config.json into a folder, which is made if missing.

        Raises:
            OptionError: A value that cannot be honoured; nothing is written.
        """
        directory = Path(save_directory)
        if directory.is_file():
            raise ConfigError(f"{directory} is a file, expected a folder to save the generation config into.")
        self.check_values()
        write_json(directory / (config_file_name or GENERATION_CONFIG_NAME), _plain(self.to_diff_dict()))

    # ------------------------------------------------------------------------------------------------- precedence

    @classmethod
    def from_model_config(cls, model_config: Config) -> GenerationConfig:
        """Derive the generation config of a model whose checkpoint has no generation_config.json.

        Args:
            model_config: The whole model's config; its decoder block fills what the top level leaves at its default.
        """
        top = {k: v for k, v in model_config.to_dict().items() if k in cls._defaults and v is not None}
        config = cls(**_said(top))
        decoder = getattr(model_config, "decoder", None)
        if isinstance(decoder, Config):
            for key, value in _said(decoder.to_dict()).items():
                if key in cls._defaults and getattr(config, key) == cls._defaults[key]:
                    setattr(config, key, copy.deepcopy(value))
        if config.output_attentions or config.output_hidden_states or config.output_scores or config.output_logits:
            config.return_dict_in_generate = True
        config._from_model_config = config._derived = True
        config._seal()
        config.check_values()
        return config

    def following(self, model_config: Config) -> GenerationConfig:
        """Return this config, or the one that follows from the model's config where users have changed that since.

        Old scripts steer generation by ``model.config.max_length = 64`` or ``model.config.eos_token_id = …``. As long
        as this config was derived from the model's and nobody has changed it, such changes count; and a token id that
        is not set here is taken from there in any case.

        Args:
            model_config: The config of the model that owns this.
        """
        unmodified = self._sealed == self.to_dict()
        if unmodified and (self._derived or (self._from_model_config and _steers(model_config))):
            return GenerationConfig.from_model_config(model_config)
        missing = [key for key in _TOKEN_IDS if getattr(self, key) is None]
        if not missing:
            return self
        derived = GenerationConfig.from_model_config(model_config)
        config = copy.deepcopy(self)
        for key in missing:
            setattr(config, key, getattr(derived, key))
        return config

    def filled_from(self, model_generation_config: GenerationConfig) -> GenerationConfig:
        """Return a copy in which values at their default are the model's own: for a config given to a call.

        A model whose generation config was written by transformers before 4.50 only gives its token ids, as in the
        reference.

        Args:
            model_generation_config: The model's.
        """
        config = copy.deepcopy(self)
        own = model_generation_config.to_dict()
        if _version(own.pop("transformers_version", None)) < (4, 50):
            own = {key: own[key] for key in _TOKEN_IDS}
        for key, value in own.items():
            default = self._defaults.get(key)
            if getattr(config, key, None) == default and value != default:
                setattr(config, key, value)
        if config.temperature == 0.0:  # greedy was meant, also where the model's own config samples
            config.do_sample = False
        return config

    def with_call(self, **options: Any) -> tuple[GenerationConfig, dict[str, Any]]:
        """Return a new config with a call's options set, and the arguments that are no options of generation.

        Args:
            options: The call's keyword arguments.

        Raises:
            OptionError: A value that cannot be honoured.
            UnsupportedError: A way to generate that is not built here.
        """
        config = copy.deepcopy(self)
        unused = config.update(**options)
        config.validate()
        idle = [key for key in _ONLY_SAMPLING if options.get(key) is not None and options[key] != self._defaults[key]]
        if idle and not config.do_sample:
            warnings.warn(f"{', '.join(idle)} changes nothing without do_sample=True.", UserWarning, stacklevel=3)
        if options.get("max_length") is not None and config.max_new_tokens is not None:
            warnings.warn(
                f"Both max_new_tokens={config.max_new_tokens} and max_length={options['max_length']} are set; "
                "max_new_tokens wins.",
                UserWarning,
                stacklevel=3,
            )
        return config, unused

    def update(self, **changes: Any) -> dict[str, Any]:
        """Set the keys that the config has, in place, and return the rest.

        Raises:
            OptionError: A value that cannot be honoured.
        """
        used = {key: value for key, value in changes.items() if key in self._defaults or key in self.__dict__}
        for key, value in used.items():
            setattr(self, key, value)
        self.check_values()
        return {key: value for key, value in changes.items() if key not in used}

    # ------------------------------------------------------------------------------------------------- checks

    def check_values(self) -> None:
        """Raise `OptionError` for a value that cannot be honoured."""
        for wrong, message in self._conflicts():
            if wrong:
                raise OptionError(message)

    def validate(self) -> None:
        """Check as a call does: the values, and that nothing is asked for that is not built here.

        Raises:
            OptionError: A value that cannot be honoured.
            UnsupportedError: A way to generate that is known and not built here; the message says what to use.
        """
        self.check_values()
        for wanted, name, instead in self._absent():
            if wanted:
                raise UnsupportedError(f"{name}={getattr(self, name)!r} is not supported: {instead}.")

    def _conflicts(self) -> Iterable[tuple[bool, str]]:
        s = self
        sampling = bool(s.do_sample)
        yield _not_int(s.num_beams, 1), f"num_beams is {s.num_beams!r}, expected a whole number from 1."
        yield (
            _not_int(s.num_return_sequences, 1),
            f"num_return_sequences is {s.num_return_sequences!r}, expected a whole number from 1.",
        )
        yield (
            s.num_beams == 1 and not sampling and s.num_return_sequences > 1,
            f"num_return_sequences is {s.num_return_sequences}, but greedy decoding has one. Set num_beams.",
        )
        yield (
            1 < s.num_beams < s.num_return_sequences,
            f"num_return_sequences ({s.num_return_sequences}) is more than num_beams ({s.num_beams}); ask for fewer.",
        )
        yield (
            not (isinstance(s.early_stopping, bool) or s.early_stopping == "never"),
            f"early_stopping is {s.early_stopping!r}, expected True, False or 'never'.",
        )
        for name, least in (("max_length", 1), ("max_new_tokens", 1), ("min_length", 0), ("min_new_tokens", 0)):
            value = getattr(s, name)
            yield (
                value is not None and _not_int(value, least),
                f"{name} is {value!r}, expected a whole number from {least}, or None.",
            )
        yield _not_positive(s.max_time), f"max_time is {s.max_time!r}, expected seconds above 0, or None."
        yield (
            s.stop_strings is not None and not _texts(s.stop_strings),
            f"stop_strings is {s.stop_strings!r}, expected a text or a list of texts, none of them empty.",
        )
        yield (
            sampling and _not_positive(s.temperature),
            f"temperature is {s.temperature!r}, expected a number above 0. For greedy decoding set do_sample=False.",
        )
        yield (
            sampling and s.top_k is not None and _not_int(s.top_k, 0),
            f"top_k is {s.top_k!r}, expected a whole number from 0 (0 turns it off), or None.",
        )
        for name in ("top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"):
            value = getattr(s, name)
            yield (
                sampling and value is not None and not (_number(value) and 0 <= value <= 1),
                f"{name} is {value!r}, expected a number from 0 to 1, or None.",
            )
        yield (
            sampling and s.typical_p == 0,
            "typical_p is 0, which leaves no token to choose. Set a number above 0, or None to turn it off.",
        )
        yield (
            _not_positive(s.repetition_penalty),
            (f"repetition_penalty is {s.repetition_penalty!r}, expected a number above 0 (1 turns it off), or None."),
        )
        yield (
            not _number(s.length_penalty),
            f"length_penalty is {s.length_penalty!r}, expected a number (above 0 favours long texts).",
        )
        yield (
            s.no_repeat_ngram_size is not None and _not_int(s.no_repeat_ngram_size, 0),
            f"no_repeat_ngram_size is {s.no_repeat_ngram_size!r}, expected a whole number from 0 (0 turns it off).",
        )
        yield (
            s.bad_words_ids is not None and not _id_lists(s.bad_words_ids),
            f"bad_words_ids is {s.bad_words_ids!r}, expected a list of non-empty lists of token ids.",
        )
        yield (
            s.sequence_bias is not None and not _biases(s.sequence_bias),
            f"sequence_bias is {s.sequence_bias!r}, expected [[[id, …], bias], …] or {{(id, …): bias, …}}, not empty.",
        )
        for name in ("suppress_tokens", "begin_suppress_tokens"):
            value = getattr(s, name)
            yield value is not None and not _ids(value), f"{name} is {value!r}, expected a list of token ids."
        decay = s.exponential_decay_length_penalty
        yield (
            decay is not None
            and not (isinstance(decay, (list, tuple)) and len(decay) == 2 and all(map(_number, decay))),
            f"exponential_decay_length_penalty is {decay!r}, expected (start, factor).",
        )

    def _absent(self) -> Iterable[tuple[bool, str, str]]:
        s = self
        contrastive = bool(s.penalty_alpha) and (s.top_k or 0) > 1 and s.num_beams == 1 and not s.do_sample
        limits = "use prefix_allowed_tokens_fn to limit what may come next, or sequence_bias to favour it"
        yield s.constraints is not None, "constraints", limits
        yield s.force_words_ids is not None, "force_words_ids", limits
        yield (s.num_beam_groups or 1) > 1, "num_beam_groups", "use num_beams, with do_sample=True for variety"
        yield bool(s.diversity_penalty), "diversity_penalty", "use num_beams with do_sample=True for variety"
        yield contrastive, "penalty_alpha", "use no_repeat_ngram_size, repetition_penalty or stop_on_repetition"
        yield s.dola_layers is not None, "dola_layers", "use greedy or beam search"
        yield s.prompt_lookup_num_tokens is not None, "prompt_lookup_num_tokens", "leave it out, the text is the same"
        yield s.assistant_early_exit is not None, "assistant_early_exit", "leave it out, the text is the same"
        yield s.guidance_scale not in (None, 1), "guidance_scale", "use sequence_bias or logits_processor"
        yield s.watermarking_config is not None, "watermarking_config", "pass a logits_processor that marks the text"
        yield bool(s.token_healing), "token_healing", "give the prompt as decoder_input_ids that end where a token ends"
        yield bool(s.low_memory), "low_memory", "use fewer beams or smaller batches"


GenerationConfig._defaults = {
    name: GenerationConfig.__dict__[name]
    for name in GenerationConfig.__annotations__
    if name in GenerationConfig.__dict__ and not name.startswith("_")
}


def reject_unknown(arguments: Mapping[str, Any], known: Iterable[str] = ()) -> None:
    """Raise for the arguments of a call that nobody took.

    Args:
        arguments: What is left of a call's keyword arguments.
        known: Other names that the call would have taken, for the hint.

    Raises:
        UnsupportedError: One that the reference knows and this package does not have.
        UnknownOptionError: Any other; the message names the nearest known one.
    """
    for name, value in arguments.items():
        if name in _ABSENT_ARGUMENTS:
            if value is None or value is False:
                continue
            raise UnsupportedError(f"{name} is not supported: {_ABSENT_ARGUMENTS[name]}.")
        hint = nearest(name, GenerationConfig.known_keys() | set(known))
        raise UnknownOptionError(
            f"generate() knows no argument {name!r}.{hint} Options are those of GenerationConfig, inputs the model's."
        )


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a model config without the length that is only an old default."""
    return {k: v for k, v in values.items() if not (k == "max_length" and v == _OLD_DEFAULT_LENGTH)}


def _steers(model_config: Config) -> bool:
    """Whether the top level of a model config holds an option of generation that is not at its default."""
    decoder = getattr(model_config, "decoder", None)
    family = decoder.family_keys() if isinstance(decoder, Config) else {}
    values = _said(model_config.to_dict())
    return any(
        values[key] is not None and values[key] != family.get(key, GenerationConfig._defaults[key])
        for key in IN_MODEL_CONFIGS & set(values)
    )


def _version(text: Any) -> tuple[int, ...]:
    """The numbers of a release, or one later than any if there is none to read."""
    try:
        return tuple(int(part) for part in str(text).split(".")[:2])
    except ValueError:
        return (math.inf,)  # type: ignore[return-value]


def _plain(value: Any) -> Any:
    """A value as JSON holds it: dict keys are text, tuples are lists."""
    if isinstance(value, Mapping):
        if value and all(isinstance(key, tuple) for key in value):  # sequence_bias: the list form survives JSON
            return [[list(key), _plain(item)] for key, item in value.items()]
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _not_int(value: Any, least: int) -> bool:
    return not isinstance(value, int) or isinstance(value, bool) or value < least


def _not_positive(value: Any) -> bool:
    return value is not None and not (_number(value) and value > 0)


def _ids(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not any(_not_int(token, 0) for token in value)


def _id_lists(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(_ids(ids) and len(ids) > 0 for ids in value)


def _texts(value: Any) -> bool:
    texts = [value] if isinstance(value, str) else value
    return isinstance(texts, (list, tuple)) and len(texts) > 0 and all(isinstance(t, str) and t for t in texts)


def _biases(value: Any) -> bool:
    try:
        pairs = list(value.items()) if isinstance(value, Mapping) else [(ids, bias) for ids, bias in value]
    except (TypeError, ValueError):
        return False
    return len(pairs) > 0 and all(_ids(ids) and len(ids) > 0 and _number(bias) for ids, bias in pairs)
