"""The name that transformers 5 dropped, given back; and models that only transformers has, from our own classes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", minversion="5", reason="runs where transformers 5 is installed")

import server  # noqa: E402
import tiny  # noqa: E402

import vision2seq  # noqa: E402
from vision2seq import AutoConfig, AutoImageProcessor, AutoModelForVision2Seq, AutoProcessor, AutoTokenizer  # noqa: E402
from vision2seq.errors import ConfigError, RemoteCodeError, TokenizerError, UnsupportedError  # noqa: E402

torch.set_num_threads(1)

# What the old name stood for in 4.57.6.
OLD_TYPES = (
    "blip blip-2 chameleon git idefics2 idefics3 instructblip instructblipvideo kosmos-2 kosmos-2.5 llava llava_next "
    "llava_next_video llava_onevision mistral3 mllama ovis2 paligemma pix2struct qwen2_5_vl qwen2_vl qwen3_vl "
    "qwen3_vl_moe video_llava vipllava vision-encoder-decoder"
).split()
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def blip() -> Any:
    """A tiny BLIP with random weights."""
    config = transformers.BlipConfig(
        text_config={**SMALL, "vocab_size": 30, "encoder_hidden_size": 16, "max_position_embeddings": 16},
        vision_config={**SMALL, "image_size": 16, "patch_size": 8},
        projection_dim=8,
        image_text_hidden_size=8,
    )
    return transformers.BlipForConditionalGeneration(config).eval()


def yolos_and_gpt2() -> Any:
    """A tiny encoder-decoder whose encoder this package does not have."""
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.YolosConfig(**SMALL, image_size=[16, 16], patch_size=8, num_detection_tokens=2),
        transformers.GPT2Config(vocab_size=30, n_embd=12, n_layer=1, n_head=2, n_positions=16),
    )
    return transformers.VisionEncoderDecoderModel(config).eval()


@pytest.fixture(scope="module", params=["blip", "yolos_and_gpt2"])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model that only transformers has, and the folder that it was saved into."""
    model = globals()[request.param]()
    folder = tmp_path_factory.mktemp("theirs") / request.param
    model.save_pretrained(folder)
    return model, folder


def same(one: Any, other: Any) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(v, states[1][k]) for k, v in states[0].items())


# ------------------------------------------------------------------------------------------------------- handed over


def test_a_model_that_only_transformers_has_is_handed_over(theirs: tuple[Any, Path]) -> None:
    model, folder = theirs
    loaded, info = AutoModelForVision2Seq.from_pretrained(folder, output_loading_info=True, revision="main")
    assert type(loaded) is type(model)
    assert same(loaded, model)
    assert not info["missing_keys"]
    assert not loaded.training
    config = AutoConfig.from_pretrained(str(folder))
    assert type(config) is type(model.config)
    built = AutoModelForVision2Seq.from_config(config)
    assert type(built) is type(model)
    again = AutoModelForVision2Seq.from_pretrained(folder, config=config, output_attentions=False)
    assert type(again) is type(model)
    assert AutoModelForVision2Seq.from_pretrained(folder, dtype=torch.bfloat16).dtype == torch.bfloat16
    values = json.loads((folder / "config.json").read_text())
    assert type(AutoModelForVision2Seq.from_pretrained(folder, config=values)) is type(model)


def test_handed_over_from_the_hub_at_one_commit(theirs: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = theirs
    net = server.Hub()
    commit = net.commit("a/model", folder)
    with net.running() as endpoint:
        code = (
            "from vision2seq import AutoModelForVision2Seq\n"
            "model = AutoModelForVision2Seq.from_pretrained('a/model', revision='main')\n"
            "print(type(model).__name__)"
        )
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
        )
    assert done.stdout.strip() == type(model).__name__, done.stderr
    assert net.requests(part="/resolve/")
    assert {one.path.split("/")[4] for one in net.requests(part="/resolve/")} == {commit}


def test_a_config_of_transformers_of_a_kind_that_is_ours_becomes_ours(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "ours")
    config = transformers.AutoConfig.from_pretrained(folder)
    model = AutoModelForVision2Seq.from_pretrained(folder, config=config)
    assert type(model) is vision2seq.VisionEncoderDecoderModel
    assert same(model, tiny.model())
    assert type(AutoModelForVision2Seq.from_config(config)) is vision2seq.VisionEncoderDecoderModel


def test_processors_are_handed_over(tmp_path: Path, theirs: tuple[Any, Path]) -> None:
    _, folder = theirs
    if folder.name != "blip":
        pytest.skip("the other one has none of its own")
    tiny.write_tokenizer(folder)
    processor = {
        "image_processor_type": "BlipImageProcessor",
        "processor_class": "BlipProcessor",
        "size": {"height": 16, "width": 16},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    assert type(AutoImageProcessor.from_pretrained(folder)).__name__.startswith("BlipImageProcessor")
    assert type(AutoProcessor.from_pretrained(folder)).__name__ == "BlipProcessor"


def test_what_nobody_knows_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nobody-knows"}')
    with pytest.raises(
        ConfigError, match=r"Unknown model type 'nobody-knows'.*`pip install transformers`: the Auto cla"
    ):
        AutoModelForVision2Seq.from_pretrained(tmp_path)


def test_transformers_is_imported_only_then(theirs: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = theirs
    ours = tiny.checkpoint(tmp_path / "ours")
    code = (
        "import sys; from vision2seq import AutoConfig\n"
        f"AutoConfig.from_pretrained({str(ours)!r}); assert 'transformers' not in sys.modules\n"
        f"AutoConfig.from_pretrained({str(folder)!r}); assert 'transformers' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# ------------------------------------------------------------------------------------------ code against transformers


def test_own_code_written_against_transformers(tmp_path: Path) -> None:
    (tmp_path / "configuration_mine.py").write_text(
        "from transformers import PretrainedConfig\n"
        "class MineConfig(PretrainedConfig):\n"
        "    model_type = 'mine'\n"
        "    def __init__(self, width=4, **rest):\n"
        "        self.width = width\n"
        "        super().__init__(**rest)\n"
    )
    (tmp_path / "modeling_mine.py").write_text(
        "import torch\nfrom transformers import PreTrainedModel\nfrom .configuration_mine import MineConfig\n"
        "class MineModel(PreTrainedModel):\n"
        "    config_class = MineConfig\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config)\n"
        "        self.layer = torch.nn.Linear(config.width, 2)\n"
        "        self.post_init()\n"
    )
    weights = {"layer.weight": torch.arange(8.0).view(2, 4), "layer.bias": torch.ones(2)}
    from safetensors.torch import save_file

    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    names = {"AutoConfig": "configuration_mine.MineConfig", "AutoModelForImageTextToText": "modeling_mine.MineModel"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mine", "width": 4, "auto_map": names}))
    with pytest.raises(RemoteCodeError, match=r"needs code of its own for AutoConfig.*configuration_mine.py"):
        AutoModelForVision2Seq.from_pretrained(tmp_path)
    model = AutoModelForVision2Seq.from_pretrained(tmp_path, trust_remote_code=True)
    assert type(model).__name__ == "MineModel"
    assert torch.equal(model.layer.weight, weights["layer.weight"])
    config = AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)
    with pytest.raises(
        RemoteCodeError, match=r"needs code of its own for AutoModelForImageTextToText.*modeling_mine.py"
    ):
        AutoModelForVision2Seq.from_pretrained(tmp_path, config=config)


# --------------------------------------------------------------------------------------------------- the old name there


@pytest.fixture
def old() -> Any:
    """The class that the module puts there."""
    import vision2seq.compat.transformers5

    return vision2seq.compat.transformers5.install()


def test_the_name_is_gone_and_comes_back(tmp_path: Path) -> None:
    code = (
        "try:\n    from transformers import AutoModelForVision2Seq\n    raise SystemExit('it is there')\n"
        "except ImportError: pass\n"
        "import vision2seq.compat.transformers5\n"
        "from transformers import AutoModelForVision2Seq as a\n"
        "from transformers.models.auto import AutoModelForVision2Seq as b\n"
        "from transformers.models.auto.modeling_auto import AutoModelForVision2Seq as c\n"
        "from transformers.models.auto.modeling_auto import MODEL_FOR_VISION_2_SEQ_MAPPING\n"
        "import transformers\n"
        "assert a is b is c is transformers.AutoModelForVision2Seq\n"
        "assert a.__name__ == 'AutoModelForVision2Seq'\n"
        "assert MODEL_FOR_VISION_2_SEQ_MAPPING is a._model_mapping\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_every_old_model_type_resolves(old: Any) -> None:
    for model_type in OLD_TYPES:
        assert transformers.CONFIG_MAPPING[model_type] in old._model_mapping, model_type


def test_code_of_others_runs_unchanged(old: Any, theirs: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = theirs
    from transformers import AutoModelForVision2Seq as Third

    assert type(model.config) in Third._model_mapping
    loaded = Third.from_pretrained(folder, resume_download=True, low_cpu_mem_usage=True)
    assert type(loaded) is type(model)
    assert same(loaded, model)
    assert type(Third.from_config(model.config)) is type(model)
    with pytest.warns(FutureWarning, match="`use_auth_token` is the old name"):
        Third.from_pretrained(folder, use_auth_token="x")
    with pytest.raises(OSError, match="AutoModelForVision2Seq is designed to be instantiated"):
        Third()
    for name, framework in (("from_tf", "TensorFlow"), ("from_flax", "Flax")):
        with pytest.raises(UnsupportedError, match=rf"{name}=True .*transformers 5 reads no weights of {framework}"):
            Third.from_pretrained(folder, **{name: True})
    ours = tiny.checkpoint(tmp_path / "ours")
    assert type(Third.from_pretrained(ours)) is transformers.VisionEncoderDecoderModel


def test_our_class_does_not_go_in_circles(old: Any, theirs: tuple[Any, Path]) -> None:
    model, folder = theirs
    assert type(AutoModelForVision2Seq.from_pretrained(folder)) is type(model)


def test_a_tokenizer_that_is_not_there(theirs: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = theirs
    if folder.name == "blip":
        pytest.skip("5.23 makes an empty one for it")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(TokenizerError, match=r"holds no tokenizer: .*transformers cannot read it either: "):
        AutoTokenizer.from_pretrained(tmp_path)


def test_inspect_says_that_it_is_theirs(theirs: tuple[Any, Path]) -> None:
    from vision2seq.cli.inspect import examine

    _, folder = theirs
    assert any("Only transformers has a" in problem for problem in examine(str(folder))["problems"])
