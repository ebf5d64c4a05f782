"""Downloads against a hub on 127.0.0.1: what is asked for, what is kept, and what is said when it goes wrong."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import originals
import pytest
import server
import tiny
import torch

from vision2seq import (
    AutoConfig,
    AutoModelForVision2Seq,
    AutoProcessor,
    Reader,
    VisionEncoderDecoderModel,
    hub,
    pipeline,
)
from vision2seq.errors import (
    AccessDeniedError,
    CheckpointCorruptError,
    CheckpointNotFoundError,
    DownloadError,
    NotCachedError,
    OptionError,
    UnsafePickleError,
    WeightsMismatchError,
)

torch.set_num_threads(1)
ID = "somebody/tiny-trocr"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint; tests do not write to it."""
    return tiny.readable(tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture
def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def net(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[server.Hub]:
    """A hub with one repository, to which this process and its children turn."""
    made = server.Hub()
    made.commit(ID, folder)
    with made.running() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        yield made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def snapshot(cache: Path, repo: str = ID) -> Path:
    return next((cache / f"models--{repo.replace('/', '--')}" / "snapshots").iterdir())


# ----------------------------------------------------------------------------------------------------- cold and warm


def test_a_cold_cache_fetches_what_is_needed_and_a_warm_one_asks_once(
    net: server.Hub, cache: Path, content: dict[str, bytes]
) -> None:
    net.commit(ID, content | {"pytorch_model.bin": b"x" * 9999, "README.md": b"# x", "tf_model.h5": b"h" * 9999})
    model = AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert type(model) is VisionEncoderDecoderModel
    assert not model.training
    assert sorted(net.fetched()) == ["config.json", "generation_config.json", "model.safetensors"]
    assert len(net.requests(part="/api/")) == 1
    expected = tiny.model().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert (model.config.name_or_path, model.config._commit_hash) == (ID, net.repos[ID].revisions["main"])

    net.seen.clear()
    AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert [one.path for one in net.seen] == [f"/api/models/{ID}/revision/main"]


def test_a_processor_fetches_its_files_and_no_weights(net: server.Hub, cache: Path) -> None:
    processor = AutoProcessor.from_pretrained(ID, cache_dir=cache)
    assert processor.tokenizer.pad_token_id == tiny.PAD
    assert set(net.fetched()) == {
        "config.json",
        "preprocessor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert len(net.requests(part="/api/")) == 1


def test_the_other_classes_take_names_as_well(net: server.Hub, cache: Path) -> None:
    from vision2seq import (
        AutoTokenizer,
        GenerationConfig,
        PreTrainedTokenizerFast,
        TrOCRProcessor,
        VisionEncoderDecoderConfig,
        ViTImageProcessor,
    )

    for cls in (
        AutoTokenizer,
        GenerationConfig,
        PreTrainedTokenizerFast,
        TrOCRProcessor,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTImageProcessor,
    ):
        assert cls.from_pretrained(ID, cache_dir=cache, revision="main") is not None
    assert sorted(net.fetched()) == sorted(set(net.fetched()))
    assert (hub.locate(ID, {"cache_dir": cache}) / "config.json").is_file()


def test_a_reader_takes_model_and_processor_from_one_commit(
    net: server.Hub, cache: Path, content: dict[str, bytes]
) -> None:
    # The branch moves on as soon as the first weights are asked for.
    def move(seen: server.Seen) -> None:
        if "model.safetensors" in seen.path:
            net.commit(ID, {"config.json": b"{}"})

    net.on_request = move
    reader = Reader.from_pretrained(ID, cache_dir=cache)
    assert next(reader.read(tiny.picture())).ok
    assert len(net.requests(part="/api/")) == 1
    assert len(list((cache / "models--somebody--tiny-trocr" / "snapshots").iterdir())) == 1


def test_the_cache_is_the_one_of_huggingface_hub(net: server.Hub, cache: Path) -> None:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    AutoConfig.from_pretrained(ID, cache_dir=cache)
    found = try_to_load_from_cache(ID, "config.json", cache_dir=cache)
    assert isinstance(found, str)
    assert Path(found).is_file()
    net.seen.clear()
    hf_hub_download(ID, "model.safetensors", cache_dir=cache, endpoint=os.environ["HF_ENDPOINT"])
    net.seen.clear()
    AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert net.fetched() == ["generation_config.json"]


def test_sharded_variants_and_pickles(net: server.Hub, cache: Path, tmp_path: Path) -> None:
    model = tiny.model()
    model.save_pretrained(tmp_path / "shards", max_shard_size=9000, variant="fp16")
    shards = {path.name: path.read_bytes() for path in (tmp_path / "shards").iterdir()}
    net.commit("a/shards", shards | {"model.safetensors": b"x" * 5000, "model-00001-of-00009.safetensors": b"y" * 5000})
    AutoModelForVision2Seq.from_pretrained("a/shards", cache_dir=cache, variant="fp16")
    assert sorted(net.fetched()) == sorted(shards)
    model.save_pretrained(tmp_path / "pickle", safe_serialization=False)
    net.seen.clear()
    net.commit("a/pickle", tmp_path / "pickle")
    AutoModelForVision2Seq.from_pretrained("a/pickle", cache_dir=cache)
    assert "pytorch_model.bin" in net.fetched()
    with pytest.raises(CheckpointNotFoundError, match=r"No weights in 'a/pickle' on http.* at commit .*model.safetens"):
        AutoModelForVision2Seq.from_pretrained("a/pickle", cache_dir=cache, use_safetensors=True)


def test_subfolders_bare_names_and_moved_repositories(net: server.Hub, cache: Path, content: dict[str, bytes]) -> None:
    net.commit("legacy-name", {f"deep/er/{name}": data for name, data in content.items()})
    assert AutoModelForVision2Seq.from_pretrained("legacy-name", cache_dir=cache, subfolder="deep/er").config.encoder
    assert AutoProcessor.from_pretrained("legacy-name", cache_dir=cache, subfolder="/deep/er/").tokenizer
    with pytest.raises(CheckpointNotFoundError, match=r"subfolder 'deep' holds no config.json.*found there: er/"):
        AutoConfig.from_pretrained("legacy-name", cache_dir=cache, subfolder="deep")
    with pytest.raises(OptionError, match=r"subfolder='a/\.\./\.\./b' leads out of the repository"):
        AutoConfig.from_pretrained("legacy-name", cache_dir=cache, subfolder="a/../../b")
    net.moved["old-name"] = ID
    assert AutoConfig.from_pretrained("old-name", cache_dir=cache).encoder.hidden_size == 16


def test_a_local_folder_wins_over_a_name(
    net: server.Hub, cache: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / ID)
    monkeypatch.chdir(tmp_path)
    assert AutoConfig.from_pretrained(ID, cache_dir=cache).encoder
    assert not net.seen


def test_halves_come_from_the_hub(net: server.Hub, cache: Path, tmp_path: Path) -> None:
    model = tiny.model("gpt2")
    model.encoder.save_pretrained(tmp_path / "encoder")
    model.decoder.save_pretrained(tmp_path / "decoder")
    net.commit("a/encoder", tmp_path / "encoder")
    net.commit("a/decoder", tmp_path / "decoder")
    joined = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(
        "a/encoder", "a/decoder", encoder_cache_dir=cache, decoder_cache_dir=cache, decoder_revision="main"
    )
    assert torch.equal(joined.encoder.embeddings.cls_token, model.encoder.embeddings.cls_token)
    assert len(net.requests(part="/api/")) == 2


# ------------------------------------------------------------------------------------------------- revision and pinning


def test_revisions(net: server.Hub, cache: Path, content: dict[str, bytes]) -> None:
    first = net.repos[ID].revisions["main"]
    changed = content["config.json"].replace(b'"decoder_start_token_id": 2', b'"decoder_start_token_id": 7')
    net.commit(ID, content | {"config.json": changed}, "experiment")
    net.repos[ID].revisions |= {"v1.0": first, "refs/pr/1": net.repos[ID].revisions["experiment"]}
    for revision, start in (("main", 2), ("experiment", 7), ("v1.0", 2), (first, 2), ("refs/pr/1", 7), (None, 2)):
        config = AutoConfig.from_pretrained(ID, cache_dir=cache, revision=revision)
        assert config.decoder_start_token_id == start
    # Offline, each name still means what it meant.
    for revision, start in (("main", 2), ("experiment", 7), ("v1.0", 2), (first, 2), ("refs/pr/1", 7)):
        config = AutoConfig.from_pretrained(ID, cache_dir=cache, revision=revision, local_files_only=True)
        assert config.decoder_start_token_id == start


def test_config_and_weights_are_of_one_commit_while_the_branch_moves(
    net: server.Hub, cache: Path, tmp_path: Path
) -> None:
    first = net.repos[ID].revisions["main"]
    tiny.checkpoint(tmp_path / "other", encoder={"hidden_size": 8}, more={"cross_attention_hidden_size": 8})

    def move(seen: server.Seen) -> None:
        if "config.json" in seen.path and seen.method == "GET":
            net.commit(ID, tmp_path / "other")

    net.on_request = move
    model = AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert model.config._commit_hash == first
    assert model.config.encoder.hidden_size == 16
    assert net.repos[ID].revisions["main"] != first
    assert {one.path.split("/")[4] for one in net.requests(part="/resolve/")} == {first}


@pytest.mark.parametrize("revision", ["nope", "0" * 40, "../../x", "a b", "/main", "x..y", "a\\b", ""])
def test_no_such_revision(net: server.Hub, cache: Path, revision: str) -> None:
    if not revision:
        assert AutoConfig.from_pretrained(ID, cache_dir=cache, revision="")
        return
    with pytest.raises(OSError, match="is not a valid git identifier.*Look at http.*tiny-trocr") as caught:
        AutoConfig.from_pretrained(ID, cache_dir=cache, revision=revision)
    assert type(caught.value) is CheckpointNotFoundError
    assert not any(".." in one.path for one in net.seen)


# ------------------------------------------------------------------------------------------------------------ offline


def test_offline(net: server.Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    for how in ("argument", "environment"):
        place = cache / how
        if how == "environment":
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=place)
        net.seen.clear()
        options: dict[str, Any] = {"cache_dir": place}
        if how == "argument":
            options["local_files_only"] = True
        else:
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert AutoModelForVision2Seq.from_pretrained(ID, **options)
        reason = "local_files_only=True was passed" if how == "argument" else "HF_HUB_OFFLINE is set"
        with pytest.raises(NotCachedError, match=rf"'a/b' at revision 'main' is not in the cache .*because {reason}"):
            AutoConfig.from_pretrained("a/b", **options)
        with pytest.raises(NotCachedError, match="at revision 'other' is not in the cache"):
            AutoConfig.from_pretrained(ID, revision="other", **options)
        next(place.rglob("model.safetensors")).unlink()
        with pytest.raises(
            CheckpointNotFoundError, match=rf"No weights in .*only the cached files were looked at because {reason}"
        ):
            AutoModelForVision2Seq.from_pretrained(ID, **options)
        assert not net.seen
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_a_server_that_is_down(net: server.Hub, cache: Path) -> None:
    AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    net.down = 503
    with pytest.warns(UserWarning, match=r"could not be asked about '.*HTTP 503.*The files in the cache are used, of"):
        assert AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    with pytest.raises(
        OSError, match=r"'a/b' is not a local folder; we couldn't connect to 'http.*\(HTTP 503\).*the cached f"
    ):
        AutoConfig.from_pretrained("a/b", cache_dir=cache)


def test_nobody_listens(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotCachedError, match=r"couldn't connect to 'http://127.0.0.1:9'.*Check the name, the"):
        AutoConfig.from_pretrained("a/b", cache_dir=cache)
    with pytest.raises(NotCachedError, match=r"Did you mean 'printed-line'\?"):
        AutoConfig.from_pretrained("printed_line", cache_dir=cache)


def test_the_environment_is_honoured(net: server.Hub, tmp_path: Path) -> None:
    net.repos[ID].token = "hf_secret"
    code = f"from vision2seq import AutoConfig; print(AutoConfig.from_pretrained({ID!r}).encoder.hidden_size)"

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", **more}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
        )

    assert "AccessDeniedError" in run().stderr
    done = run(HF_TOKEN="hf_secret")
    assert done.stdout.strip() == "16", done.stderr
    assert (tmp_path / "home" / "hub" / "models--somebody--tiny-trocr").is_dir()
    net.seen.clear()
    assert run(HF_HUB_OFFLINE="1").stdout.strip() == "16"
    assert "HF_HUB_OFFLINE is set" in run(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty")).stderr
    assert not net.seen


def test_local_files_load_without_huggingface_hub(folder: Path) -> None:
    code = (
        "import sys; from vision2seq import AutoConfig, AutoModelForVision2Seq\n"
        f"AutoConfig.from_pretrained({str(folder)!r}); AutoModelForVision2Seq.from_pretrained('printed-line')\n"
        "assert 'huggingface_hub' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# ----------------------------------------------------------------------------------------------- forced, resumed, whole


def test_a_forced_download_fetches_each_file_once_more(net: server.Hub, cache: Path) -> None:
    AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    net.seen.clear()
    AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache, force_download=True)
    assert sorted(net.fetched()) == ["config.json", "generation_config.json", "model.safetensors"]
    with pytest.raises(
        ValueError, match="force_download=True asks for a download and local_files_only=True forbids it"
    ):
        AutoConfig.from_pretrained(ID, cache_dir=cache, force_download=True, local_files_only=True)


def test_a_forced_download_needs_a_server(net: server.Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    AutoConfig.from_pretrained(ID, cache_dir=cache)
    net.down = 503
    with pytest.raises(NotCachedError, match="couldn't connect"):
        AutoConfig.from_pretrained(ID, cache_dir=cache, force_download=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OptionError, match="force_download=True asks for a download, but HF_HUB_OFFLINE is set"):
        AutoConfig.from_pretrained(ID, cache_dir=cache, force_download=True)


def test_a_cut_connection_is_resumed_by_range(
    net: server.Hub, cache: Path, content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # huggingface_hub keeps whole blocks of 10 MB of what came; the files here are smaller than one.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    size = len(content["model.safetensors"])
    net.cut = [5000, 3000]
    model = AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache, resume_download=True)
    assert torch.equal(model.encoder.embeddings.cls_token, tiny.model().encoder.embeddings.cls_token)
    gets = net.requests("store", "GET")
    assert [one.headers.get("range") for one in gets] == [None, "bytes=5000-", "bytes=8000-"]
    assert [one.sent for one in gets] == [5000, 3000, size - 8000]
    assert sum(one.sent for one in gets) == size


def test_a_truncated_file_is_not_kept(net: server.Hub, cache: Path) -> None:
    net.short = 100
    with pytest.raises(DownloadError, match=r"model.safetensors of 'somebody/tiny-trocr' could not be fetched.*size"):
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert not list(cache.rglob("model.safetensors"))
    net.short = 0
    assert AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)


def test_a_flipped_bit_is_found_and_not_kept(net: server.Hub, cache: Path) -> None:
    net.flip = 9000
    with pytest.raises(OSError, match=r"was damaged on its way: its hash is \w+, expected \w+\. It was taken out of"):
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert not list(cache.rglob("model.safetensors"))
    net.flip = None
    assert AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)


def test_a_file_damaged_in_the_cache_is_named_and_fetched_anew(net: server.Hub, cache: Path) -> None:
    AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    file = snapshot(cache) / "model.safetensors"
    whole = file.read_bytes()
    file.resolve().write_bytes(whole[:-50])
    with pytest.raises(
        CheckpointCorruptError, match=r"model.safetensors cannot be read.*Download or save the file aga"
    ):
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache, force_download=True)
    assert file.read_bytes() == whole


# ------------------------------------------------------------------------------------------- who may, and who is told


def test_tokens_go_to_the_hub_and_nowhere_else(net: server.Hub, cache: Path) -> None:
    net.repos[ID].token = "hf_secret"
    AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache, token="hf_secret")
    assert net.requests("store", "GET")
    for one in net.seen:
        assert one.headers.get("authorization") == ("Bearer hf_secret" if one.where == "hub" else None)


def test_private_and_missing_repositories_look_alike(net: server.Hub, cache: Path) -> None:
    net.repos[ID].token = "hf_secret"
    for name in (ID, "no/where", "nowhere"):
        with pytest.raises(
            OSError, match=rf"{name} is not a local folder and is not a valid model identifier listed on.*token=…"
        ) as caught:
            AutoConfig.from_pretrained(name, cache_dir=cache)
        assert isinstance(caught.value, AccessDeniedError)
    with pytest.raises(
        AccessDeniedError, match=r"refused access to 'somebody/tiny-trocr' \(HTTP 401\): the token is w"
    ):
        AutoConfig.from_pretrained(ID, cache_dir=cache, token="hf_wrong")
    with pytest.warns(FutureWarning, match="`use_auth_token` is the old name of `token`"):
        assert AutoConfig.from_pretrained(ID, cache_dir=cache, use_auth_token="hf_secret")
    with pytest.raises(ValueError, match="`token` and `use_auth_token` are both given"):
        AutoConfig.from_pretrained(ID, cache_dir=cache, use_auth_token="a", token="b")


def test_gated_repositories(net: server.Hub, cache: Path) -> None:
    net.repos[ID].gated = True
    with pytest.raises(
        OSError, match=r"config.json of 'somebody/tiny-trocr' is gated: .*Accept them there, then log in"
    ):
        AutoConfig.from_pretrained(ID, cache_dir=cache)
    assert AutoConfig.from_pretrained(ID, cache_dir=cache, token="hf_of_somebody_who_may")


def test_a_proxy_sees_the_requests(net: server.Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with server.forward_proxy(net) as url:
        assert AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache, proxies={"http": url})
        assert len(net.requests("proxy")) == len(net.requests("hub")) + len(net.requests("store"))
        net.seen.clear()
        AutoConfig.from_pretrained(ID, cache_dir=cache)  # the next call goes straight again
        assert [one.where for one in net.seen] == ["hub"]
    with pytest.raises(NotCachedError, match="couldn't connect"):
        AutoConfig.from_pretrained("a/b", cache_dir=cache, proxies={"http": "http://127.0.0.1:9"})
    with pytest.raises(OptionError, match=r"proxies is 'http://x'; expected a dict from scheme to URL"):
        AutoConfig.from_pretrained(ID, proxies="http://x")


def test_only_questions_of_need_are_asked(net: server.Hub, cache: Path) -> None:
    Reader.from_pretrained(ID, cache_dir=cache)
    assert {one.method for one in net.seen} <= {"GET", "HEAD"}
    for one in net.seen:
        assert "/api/models/" in one.path or "/resolve/" in one.path or one.where == "store"
    assert all("torch" not in one.headers["user-agent"] for one in net.requests("hub"))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"revision": 3}, "revision is 3; expected a text"),
        ({"token": 3.5}, "token is a float; expected a text, True or False"),
        ({"proxies": {"http": None}}, "proxies is .*expected a dict from scheme to URL"),
    ],
)
def test_arguments_of_the_wrong_kind(argument: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        AutoConfig.from_pretrained(ID, **argument)


# ------------------------------------------------------------------------------------------- processes and file systems


def in_a_process(code: str, *, user: int | None = None, preexec: Any = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"), "HOME": "/"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=preexec,
        user=user,
    )


def fetching(cache: Path) -> str:
    """A program that fetches a checkpoint, without torch, and says how it ended."""
    return (
        "from vision2seq import hub, checkpoints\nfrom vision2seq.errors import Vision2SeqError\n"
        f"try: print(checkpoints.find_weights(hub.find({ID!r}, {{'cache_dir': {str(cache)!r}}})).total_bytes)\n"
        "except Vision2SeqError as error: print(type(error).__name__, error)"
    )


def test_two_processes_at_once(net: server.Hub, cache: Path, content: dict[str, bytes]) -> None:
    both = [in_a_process(fetching(cache)) for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=120)
        assert out.strip() == str(len(content["model.safetensors"])), err
    assert (snapshot(cache) / "model.safetensors").read_bytes() == content["model.safetensors"]
    assert not list(cache.rglob("*.incomplete"))


def mounted(folder: Path, options: str) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def test_a_full_disk(net: server.Hub, cache: Path) -> None:
    if mounted(cache, "size=28k"):  # a real one, which is small
        try:
            out, err = in_a_process(fetching(cache)).communicate(timeout=120)
            left = list(cache.rglob("model.safetensors"))
        finally:
            subprocess.run(["umount", str(cache)], check=True)
    else:  # the system refuses to let files grow

        def small() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

        out, err = in_a_process(fetching(cache), preexec=small).communicate(timeout=120)
        left = list(cache.rglob("model.safetensors"))
    assert out.startswith("DownloadError model.safetensors of 'somebody/tiny-trocr' does not fit into the cache"), err
    assert "Make room there, or pass a cache_dir on another disk." in out
    assert not left


@pytest.fixture
def read_only(cache: Path) -> Iterator[Callable[[], None]]:
    """What makes the cache read-only, for root as well."""
    made: list[list[str]] = []

    def close() -> None:
        filled = cache.with_name("filled")
        cache.rename(filled)
        if mounted(cache, "size=1m"):
            made.append(["umount", str(cache)])
            shutil.copytree(filled, cache, symlinks=True, dirs_exist_ok=True)
            subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
        elif os.geteuid():
            cache.rmdir()
            filled.rename(cache)
            made.append(["chmod", "-R", "u+w", str(cache)])
            subprocess.run(["chmod", "-R", "a-w", str(cache)], check=True)
        else:
            pytest.skip("root cannot be kept from writing where no file system can be mounted")

    yield close
    for command in made:
        subprocess.run(command, check=True)


def test_a_read_only_cache(net: server.Hub, cache: Path, read_only: Callable[[], None]) -> None:
    AutoConfig.from_pretrained(ID, cache_dir=cache)
    read_only()
    assert AutoConfig.from_pretrained(ID, cache_dir=cache).encoder
    net.commit(ID, {"config.json": (snapshot(cache) / "config.json").read_bytes()}, "other")
    with pytest.raises(DownloadError, match=r"cannot be written to the cache.*Pass a cache_dir that can be written"):
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)


# ---------------------------------------------------------------------------------------------------------- bad content


@pytest.mark.parametrize("shard", ["../../x.safetensors", "/etc/passwd", "a/../../../x", "..\\x"])
def test_an_index_that_leads_out(net: server.Hub, cache: Path, content: dict[str, bytes], shard: str) -> None:
    index = json.dumps({"weight_map": {"a": shard}}).encode()
    del content["model.safetensors"]
    net.commit(ID, content | {"model.safetensors.index.json": index})
    with pytest.raises(CheckpointCorruptError, match="lies outside its folder"):
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert hub.find(ID, {"cache_dir": cache}).get("../../x") is None


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/vision2seq-was-run",)


def test_a_pickle_from_the_hub_runs_nothing(
    net: server.Hub, cache: Path, content: dict[str, bytes], tmp_path: Path
) -> None:
    del content["model.safetensors"]
    with zipfile.ZipFile(tmp_path / "evil", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": _Evil()}))
        archive.writestr("archive/version", "3")
    net.commit(ID, content | {"pytorch_model.bin": (tmp_path / "evil").read_bytes()})
    with pytest.raises(UnsafePickleError, match=r"system"):
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert not Path("/tmp/vision2seq-was-run").exists()


def test_a_zip_bomb(net: server.Hub, cache: Path, content: dict[str, bytes], tmp_path: Path) -> None:
    del content["model.safetensors"]
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("archive/data.pkl", "w") as entry:
            for _ in range(300):
                entry.write(b"\x80\x02" + b"\0" * 2**20)
        archive.writestr("archive/version", "3")
    data = (tmp_path / "bomb").read_bytes()
    assert len(data) < 2**20
    net.commit(ID, content | {"pytorch_model.bin": data})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointCorruptError, match=r"pytorch_model.bin"):
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 2**10  # KiB


def test_shapes_that_disagree_are_told(net: server.Hub, cache: Path, content: dict[str, bytes]) -> None:
    net.commit(ID, content | {"config.json": content["config.json"].replace(b'"hidden_size": 16', b'"hidden_size": 8')})
    with pytest.raises((WeightsMismatchError, ValueError)):
        AutoModelForVision2Seq.from_pretrained(ID, cache_dir=cache)


def test_a_server_that_is_no_hub(net: server.Hub, cache: Path) -> None:
    class Strange(dict[str, bytes]):
        pass

    net.repos[ID].commits["latest"] = Strange()
    net.repos[ID].revisions["main"] = "latest"
    with pytest.raises(
        DownloadError, match="is the commit 'latest'; expected 40 hexadecimal digits. Check HF_ENDPOINT"
    ):
        AutoConfig.from_pretrained(ID, cache_dir=cache)


def test_a_hundred_thousand_labels_load_quickly(net: server.Hub, cache: Path, content: dict[str, bytes]) -> None:
    values = json.loads(content["config.json"])
    values["id2label"] = {str(number): f"label {number}" for number in range(100_000)}
    values["label2id"] = {label: int(number) for number, label in values["id2label"].items()}
    net.commit(ID, content | {"config.json": json.dumps(values).encode()})
    AutoConfig.from_pretrained(ID, cache_dir=cache)
    began = time.process_time()
    config = AutoConfig.from_pretrained(ID, cache_dir=cache)
    assert time.process_time() - began < 2.0
    assert len(config.id2label) == 100_000


def test_inspect_takes_a_name(net: server.Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vision2seq.cli.inspect import examine

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    found = examine(ID)
    assert found["problems"] == []
    assert found["weights"]["files"] == ["model.safetensors"]
    assert sorted(net.fetched()) == sorted(set(net.fetched()))


def test_a_pipeline_takes_all_from_one_commit(net: server.Hub, cache: Path) -> None:
    first = net.repos[ID].revisions["main"]
    net.commit(ID, {"config.json": b"{}"})
    made = pipeline("image-to-text", ID, revision=first, token=False, model_kwargs={"cache_dir": cache})
    assert made.model.config._commit_hash == first
    assert len(net.requests(part="/api/")) == 1


def test_a_config_from_elsewhere_has_a_revision_of_its_own(net: server.Hub, cache: Path) -> None:
    net.commit("else/where", {"config.json": net.repos[ID].commits[net.repos[ID].revisions["main"]]["config.json"]})
    net.repos[ID].revisions["v1.0"] = net.repos[ID].revisions["main"]
    for repo in net.repos.values():
        repo.token = "hf_secret"
    model = AutoModelForVision2Seq.from_pretrained(
        ID, config="else/where", revision="v1.0", cache_dir=cache, token="hf_secret"
    )
    assert model.config.name_or_path == ID
    assert net.requests(part="/api/models/else/where/revision/main")
    assert (cache / "models--else--where").is_dir()


def test_an_original_donut(net: server.Hub, tmp_path: Path) -> None:
    """At the revision where its authors keep it; weights are fetched for the model alone."""
    model = originals.swin_mbart()
    folder = originals.write_donut(tmp_path / "donut", model, originals.DONUT)
    tiny.write_tokenizer(folder, count=originals.VOCABULARY)
    net.commit("user/donut", folder, "official")
    where = {"revision": "official", "cache_dir": tmp_path / "cache"}
    processor = AutoProcessor.from_pretrained("user/donut", **where)
    assert processor.image_processor.size == {"height": 128, "width": 64}
    assert "pytorch_model.bin" not in net.fetched()
    found = AutoModelForVision2Seq.from_pretrained("user/donut", **where)
    assert torch.equal(originals.logits(found), originals.logits(model))
    assert net.fetched().count("pytorch_model.bin") == 1
