"""GenerationConfig: files, precedence, what a call changes, and every message."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.configuration.generation import GENERATION_CONFIG_NAME, GenerationConfig, reject_unknown
from vision2seq.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    ConfigError,
    OptionError,
    UnknownOptionError,
    UnsupportedError,
)


def model_config(decoder: dict[str, Any] | None = None, **top: Any) -> VisionEncoderDecoderConfig:
    return VisionEncoderDecoderConfig(
        encoder={"model_type": "vit"}, decoder={"model_type": "trocr", **(decoder or {})}, **top
    )


# ------------------------------------------------------------------------------------------------------ files


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, vision2seq.configuration.generation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_keeps_every_key_and_gets_only_what_is_not_default(tmp_path: Path) -> None:
    content = {
        "_from_model_config": True,
        "bos_token_id": 0,
        "eos_token_id": [2, 5],
        "num_beams": 4,
        "max_length": 64,
        "transformers_version": "4.27.0.dev0",
        "use_cache": False,
        "something_new": {"a": [1]},
    }
    (tmp_path / GENERATION_CONFIG_NAME).write_text(json.dumps(content))
    config = GenerationConfig.from_pretrained(tmp_path)
    assert (config.num_beams, config.eos_token_id, config.something_new) == (4, [2, 5], {"a": [1]})
    config.save_pretrained(tmp_path / "new")
    assert json.loads((tmp_path / "new" / GENERATION_CONFIG_NAME).read_text()) == content
    assert GenerationConfig.from_pretrained(tmp_path / "new") == config


def test_an_unsaid_length_is_not_written(tmp_path: Path) -> None:
    GenerationConfig(num_beams=2, early_stopping=False).save_pretrained(tmp_path)
    assert json.loads((tmp_path / GENERATION_CONFIG_NAME).read_text()) == {"num_beams": 2}


def test_a_bias_with_tuples_as_keys_survives_a_file(tmp_path: Path) -> None:
    GenerationConfig(sequence_bias={(3, 4): -1.5, (7,): 2.0}).save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).sequence_bias == [[[3, 4], -1.5], [[7], 2.0]]


def test_other_names_and_places_of_the_file(tmp_path: Path) -> None:
    GenerationConfig(num_beams=3).save_pretrained(tmp_path / "sub", "my.json")
    assert GenerationConfig.from_pretrained(tmp_path, "my.json", subfolder="sub").num_beams == 3
    assert GenerationConfig.from_pretrained(tmp_path / "sub" / "my.json").num_beams == 3
    config, unused = GenerationConfig.from_pretrained(
        tmp_path / "sub", "my.json", top_k=1, foo=False, return_unused_kwargs=True
    )
    assert config.top_k == 1
    assert unused == {"foo": False}


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"generation_config\.json"):
        GenerationConfig.from_pretrained(tmp_path)
    (tmp_path / GENERATION_CONFIG_NAME).write_text("[1]")
    with pytest.raises(CheckpointCorruptError, match="holds a JSON list, expected an object"):
        GenerationConfig.from_pretrained(tmp_path)


def test_nothing_is_written_for_values_that_cannot_be_honoured(tmp_path: Path) -> None:
    config = GenerationConfig()
    config.num_beams = 0
    with pytest.raises(OptionError, match="num_beams is 0"):
        config.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file, expected a folder to save the generation config into"):
        GenerationConfig().save_pretrained(tmp_path / "file")


def test_dicts_are_copied_in_and_out() -> None:
    given = {"bad_words_ids": [[1]]}
    config = GenerationConfig.from_dict(given)
    config.bad_words_ids.append([2])
    assert given == {"bad_words_ids": [[1]]}
    config.to_dict()["bad_words_ids"].append([3])
    assert config.bad_words_ids == [[1], [2]]
    assert GenerationConfig.from_dict(config.to_dict()) == config
    assert json.loads(config.to_json_string()) == {"bad_words_ids": [[1], [2]]}
    assert '"bad_words_ids"' in repr(config)
    assert "num_beams" not in repr(config)


# ------------------------------------------------------------------------------------------------------ precedence


def test_the_top_level_comes_before_the_decoder_block() -> None:
    config = GenerationConfig.from_model_config(
        model_config({"num_beams": 3, "max_length": 50, "eos_token_id": 9}, num_beams=5, decoder_start_token_id=7)
    )
    assert (config.num_beams, config.max_length, config.eos_token_id) == (5, 50, 9)
    assert (config.decoder_start_token_id, config.pad_token_id) == (7, 1)  # 1: the default of the decoder's family


def test_the_length_20_of_old_config_files_means_that_nobody_said_one() -> None:
    assert GenerationConfig.from_model_config(model_config({"max_length": 20}, max_length=20)).max_length is None
    assert GenerationConfig.from_model_config(model_config({"max_length": 21})).max_length == 21
    assert GenerationConfig(max_length=20).max_length == 20


def test_outputs_in_a_model_config_ask_for_the_full_result() -> None:
    assert GenerationConfig.from_model_config(model_config(output_attentions=True)).return_dict_in_generate is True
    assert GenerationConfig.from_model_config(model_config()).return_dict_in_generate is False


def test_a_changed_model_config_is_followed_as_long_as_nobody_touched_the_generation_config() -> None:
    owner = model_config()
    config = GenerationConfig.from_model_config(owner)
    assert config.following(owner) == config
    owner.eos_token_id, owner.max_length = 11, 64
    assert (config.following(owner).eos_token_id, config.following(owner).max_length) == (11, 64)
    assert config.eos_token_id == 2  # itself it stays as it is
    config.num_beams = 2
    assert (config.following(owner).eos_token_id, config.following(owner).num_beams) == (2, 2)


def test_a_file_that_came_from_a_model_config_gives_way_only_to_options_of_generation() -> None:
    owner = model_config(eos_token_id=11)
    config = GenerationConfig.from_dict({"_from_model_config": True, "eos_token_id": 2, "pad_token_id": 1})
    assert config.following(owner).eos_token_id == 2
    owner.num_beams = 4
    assert (config.following(owner).eos_token_id, config.following(owner).num_beams) == (11, 4)
    written = GenerationConfig.from_dict({"eos_token_id": 2})
    assert (written.following(owner).eos_token_id, written.following(owner).num_beams) == (2, 1)


def test_missing_token_ids_come_from_the_model_config_in_any_case() -> None:
    owner = model_config(decoder_start_token_id=13)
    config = GenerationConfig(num_beams=3)
    found = config.following(owner)
    assert (found.decoder_start_token_id, found.pad_token_id, found.num_beams) == (13, 1, 3)
    assert config.decoder_start_token_id is None


def test_a_config_given_to_a_call_is_filled_from_the_models() -> None:
    own = GenerationConfig(num_beams=4, max_length=64, eos_token_id=2, do_sample=True)
    found = GenerationConfig(num_beams=2, top_k=5).filled_from(own)
    assert (found.num_beams, found.max_length, found.eos_token_id, found.top_k) == (2, 64, 2, 5)
    assert GenerationConfig(temperature=0.0).filled_from(own).do_sample is False
    old = GenerationConfig(num_beams=4, eos_token_id=2, transformers_version="4.27.0.dev0")
    found = GenerationConfig(top_k=5).filled_from(old)
    assert (found.num_beams, found.eos_token_id) == (1, 2)


def test_a_call_makes_a_new_config_and_returns_what_is_no_option() -> None:
    own = GenerationConfig(num_beams=4)
    config, unused = own.with_call(num_beams=2, max_new_tokens=5, pixel_values="image", num_return_sequences=None)
    assert (config.num_beams, config.max_new_tokens, config.num_return_sequences) == (2, 5, 1)
    assert unused == {"pixel_values": "image"}
    assert own == GenerationConfig(num_beams=4)


def test_calls_that_contradict_themselves_warn() -> None:
    with pytest.warns(UserWarning, match=r"temperature, top_p changes nothing without do_sample=True"):
        GenerationConfig().with_call(temperature=0.5, top_p=0.9)
    with pytest.warns(UserWarning, match="Both max_new_tokens=5 and max_length=9 are set; max_new_tokens wins"):
        GenerationConfig(max_new_tokens=5).with_call(max_length=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GenerationConfig(temperature=0.5).with_call(max_length=9, top_k=50, min_p=None)  # a file's do not warn


# ------------------------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams is 0, expected a whole number from 1."),
        ({"num_beams": 2.5}, "num_beams is 2.5, expected a whole number from 1."),
        ({"num_return_sequences": 0}, "num_return_sequences is 0, expected a whole number from 1."),
        ({"num_return_sequences": 2}, "num_return_sequences is 2, but greedy decoding has one."),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences (3) is more than num_beams (2)"),
        ({"early_stopping": "always"}, "early_stopping is 'always', expected True, False or 'never'."),
        ({"max_length": 0}, "max_length is 0, expected a whole number from 1, or None."),
        ({"max_new_tokens": 0}, "max_new_tokens is 0, expected a whole number from 1, or None."),
        ({"max_new_tokens": "5"}, "max_new_tokens is '5', expected a whole number"),
        ({"min_length": -1}, "min_length is -1, expected a whole number from 0, or None."),
        ({"min_new_tokens": True}, "min_new_tokens is True, expected a whole number from 0, or None."),
        ({"max_time": 0}, "max_time is 0, expected seconds above 0, or None."),
        ({"stop_strings": ["a", ""]}, "stop_strings is ['a', ''], expected a text or a list of texts, none of them"),
        ({"do_sample": True, "temperature": 0.0}, "temperature is 0.0, expected a number above 0. For greedy decoding"),
        ({"do_sample": True, "temperature": -1}, "temperature is -1, expected a number above 0."),
        ({"do_sample": True, "top_k": -1}, "top_k is -1, expected a whole number from 0"),
        ({"do_sample": True, "top_p": 1.5}, "top_p is 1.5, expected a number from 0 to 1, or None."),
        ({"do_sample": True, "min_p": -0.1}, "min_p is -0.1, expected a number from 0 to 1, or None."),
        ({"do_sample": True, "typical_p": 0}, "typical_p is 0, which leaves no token to choose."),
        ({"do_sample": True, "epsilon_cutoff": 2}, "epsilon_cutoff is 2, expected a number from 0 to 1"),
        ({"do_sample": True, "eta_cutoff": "x"}, "eta_cutoff is 'x', expected a number from 0 to 1"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0, expected a number above 0"),
        ({"length_penalty": "x"}, "length_penalty is 'x', expected a number"),
        ({"no_repeat_ngram_size": 1.5}, "no_repeat_ngram_size is 1.5, expected a whole number from 0"),
        ({"bad_words_ids": [1]}, "bad_words_ids is [1], expected a list of non-empty lists of token ids."),
        ({"bad_words_ids": [[]]}, "bad_words_ids is [[]], expected a list of non-empty lists"),
        ({"sequence_bias": {}}, "sequence_bias is {}, expected [[[id, …], bias], …] or {(id, …): bias, …}"),
        ({"sequence_bias": [[[1], "x"]]}, "sequence_bias is [[[1], 'x']], expected"),
        ({"suppress_tokens": 5}, "suppress_tokens is 5, expected a list of token ids."),
        ({"begin_suppress_tokens": [-1]}, "begin_suppress_tokens is [-1], expected a list of token ids."),
        (
            {"exponential_decay_length_penalty": 1.5},
            "exponential_decay_length_penalty is 1.5, expected (start, factor)",
        ),
    ],
)
def test_values_that_cannot_be_honoured(options: dict[str, Any], message: str) -> None:
    for way in (GenerationConfig, GenerationConfig().with_call, GenerationConfig().update):
        with pytest.raises(OptionError, match=re.escape(message)):
            way(**options)
    assert issubclass(OptionError, ValueError)  # what the reference raises


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constraints": []}, "constraints=[] is not supported: use prefix_allowed_tokens_fn"),
        ({"force_words_ids": [[1]]}, "force_words_ids=[[1]] is not supported: use prefix_allowed_tokens_fn"),
        ({"num_beams": 4, "num_beam_groups": 2}, "num_beam_groups=2 is not supported: use num_beams, with do_sample"),
        ({"diversity_penalty": 0.5}, "diversity_penalty=0.5 is not supported: use num_beams with do_sample"),
        ({"penalty_alpha": 0.6}, "penalty_alpha=0.6 is not supported: use no_repeat_ngram_size"),
        ({"dola_layers": "low"}, "dola_layers='low' is not supported: use greedy or beam search"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens=3 is not supported: leave it out"),
        ({"assistant_early_exit": 3}, "assistant_early_exit=3 is not supported: leave it out"),
        ({"guidance_scale": 1.5}, "guidance_scale=1.5 is not supported: use sequence_bias or logits_processor"),
        ({"watermarking_config": {"bias": 2}}, "is not supported: pass a logits_processor that marks the text"),
        ({"token_healing": True}, "token_healing=True is not supported: give the prompt as decoder_input_ids"),
        ({"low_memory": True}, "low_memory=True is not supported: use fewer beams or smaller batches"),
    ],
)
def test_modes_that_are_not_built_say_what_to_use(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)):
        GenerationConfig().with_call(**options)
    GenerationConfig(**options)  # a file may hold it: reading a checkpoint is no call


def test_options_without_effect_are_taken() -> None:
    quiet = {"use_cache": False, "cache_implementation": "static", "prefill_chunk_size": 4, "disable_compile": True}
    GenerationConfig().with_call(**quiet, guidance_scale=1, penalty_alpha=0.6, num_beams=2)


def test_an_unknown_argument_gets_the_nearest_known_name() -> None:
    with pytest.raises(UnknownOptionError, match=r"knows no argument 'num_beems'. Did you mean 'num_beams'\?"):
        reject_unknown({"num_beems": 4})
    with pytest.raises(UnknownOptionError, match=r"knows no argument 'pixel_value'. Did you mean 'pixel_values'\?"):
        reject_unknown({"pixel_value": 4}, known=["pixel_values"])
    with pytest.raises(TypeError, match="Options are those of GenerationConfig, inputs the model's"):
        reject_unknown({"qqq": 4})
    reject_unknown({})


def test_arguments_of_other_modes_are_refused_unless_empty() -> None:
    reject_unknown({"assistant_model": None, "synced_gpus": False})
    with pytest.raises(UnsupportedError, match="assistant_model is not supported: assisted decoding is not built here"):
        reject_unknown({"assistant_model": object()})
    with pytest.raises(UnsupportedError, match=r"custom_generate is not supported: .*vision2seq.generation.iterate"):
        reject_unknown({"custom_generate": "x"})
