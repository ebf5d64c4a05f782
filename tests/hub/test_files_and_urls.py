"""Single files, by path and by URL, with the config beside them or given."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import originals
import pytest
import server
import tiny
import torch
from safetensors.torch import load_file

from vision2seq import AutoConfig, AutoModelForVision2Seq, hub
from vision2seq.errors import CheckpointNotFoundError, DownloadError, NotCachedError, OptionError

torch.set_num_threads(1)
FORMATS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model in three formats, and a config under another name."""
    folder = tmp_path_factory.mktemp("files") / "model"
    model = tiny.model()
    model.save_pretrained(folder, max_shard_size=9000)
    model.save_pretrained(folder / "whole")
    (folder / "whole" / "model.safetensors").rename(folder / "model.safetensors")
    model.save_pretrained(folder / "pickle", safe_serialization=False)
    (folder / "pickle" / "pytorch_model.bin").rename(folder / "pytorch_model.bin")
    (folder / "vision_encoder_decoder_config.json").write_bytes((folder / "config.json").read_bytes())
    return folder


def same(model: Any) -> bool:
    expected = tiny.model().state_dict()
    return all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_by_its_path(folder: Path, tmp_path: Path, name: str) -> None:
    model = AutoModelForVision2Seq.from_pretrained(folder / name)
    assert same(model)
    assert model.config.name_or_path == str(folder / name)
    assert AutoConfig.from_pretrained(folder / name).encoder.hidden_size == 16
    if not name.endswith(".json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
        with pytest.raises(
            CheckpointNotFoundError, match=r"holds no config.json.*unless a config is passed with config"
        ):
            AutoModelForVision2Seq.from_pretrained(tmp_path / name)
        given = AutoConfig.from_pretrained(folder / "vision_encoder_decoder_config.json")
        assert same(AutoModelForVision2Seq.from_pretrained(tmp_path / name, config=given))


def test_what_a_tensorflow_checkpoint_is_called_by(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(b"x")
    for name in ("model.ckpt", "model.ckpt.index"):
        source = hub.find(tmp_path / name)
        assert source.path == tmp_path / "model.ckpt.index"


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> server.Hub:
    monkeypatch.setattr("vision2seq.hub.address._TIMEOUT", 5.0)
    return server.Hub()


@pytest.fixture
def site(folder: Path, net: server.Hub) -> Iterator[str]:
    files = {f"a/b/{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()}
    net.files = files  # type: ignore[attr-defined]
    with server.web(files, net) as url:
        yield f"{url}/a/b"


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_by_its_url(site: str, net: server.Hub, tmp_path: Path, name: str) -> None:
    model = AutoModelForVision2Seq.from_pretrained(f"{site}/{name}?signed=yes", cache_dir=tmp_path)
    assert same(model)
    assert net.requests(part=f"{name}?signed=yes")
    fetched = net.fetched()
    assert len(fetched) == len(set(fetched))
    assert ("pytorch_model.bin" in fetched) == (name == "pytorch_model.bin")
    net.seen.clear()
    assert same(AutoModelForVision2Seq.from_pretrained(f"{site}/{name}", cache_dir=tmp_path, token="hf_secret"))
    assert not net.fetched()  # asked whether anything is new, and nothing was
    assert not any("authorization" in one.headers for one in net.seen)
    net.seen.clear()
    assert same(AutoModelForVision2Seq.from_pretrained(f"{site}/{name}", cache_dir=tmp_path, local_files_only=True))
    assert not net.seen
    AutoModelForVision2Seq.from_pretrained(f"{site}/{name}", cache_dir=tmp_path, force_download=True)
    assert len(net.fetched()) == len(set(net.fetched())) == len(fetched)


def test_over_tls(folder: Path, net: server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with server.web(files, net, certificate=server.CERTIFICATE) as url:
        assert url.startswith("https://")
        with pytest.raises(DownloadError, match="could not be fetched .*certificate"):  # nobody vouches for it
            hub.find(f"{url}/model.safetensors", {"cache_dir": tmp_path}).named()
        monkeypatch.setenv("SSL_CERT_FILE", str(server.CERTIFICATE))
        assert same(AutoModelForVision2Seq.from_pretrained(f"{url}/model.safetensors", cache_dir=tmp_path))


@pytest.mark.parametrize(
    ("framework", "path"),
    [
        ("tensorflow", "h5/tf_model.h5"),
        ("tensorflow", "h5-sharded/tf_model.h5.index.json"),
        ("flax", "msgpack/flax_model.msgpack"),
    ],
)
def test_files_of_other_frameworks_by_url(
    golden: Callable[[str, str], Path], net: server.Hub, tmp_path: Path, framework: str, path: str
) -> None:
    """The config lies beside, or is given."""
    origin = golden(framework, "vit-gpt2")
    expected = load_file(origin / "expected.safetensors")
    files = {each.name: each.read_bytes() for each in (origin / path).parent.iterdir()}
    config = (origin / "config.json").read_bytes()
    with server.web(files | {"beside/config.json": config} | {f"beside/{n}": f for n, f in files.items()}, net) as url:
        for place, given in (("beside/", None), ("", origin / "config.json"), ("", f"{url}/beside/config.json")):
            model = AutoModelForVision2Seq.from_pretrained(
                f"{url}/{place}{Path(path).name}", config=given, cache_dir=tmp_path
            )
            assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())


def test_original_checkpoints_by_url(net: server.Hub, tmp_path: Path) -> None:
    """What their authors wrote: a file of fairseq, whose config is in it, and a Donut's weights, beside its config."""
    trocr, donut = originals.vit_trocr(**originals.ROBERTA), originals.swin_mbart()
    path = originals.write_trocr(tmp_path / "trocr.pt", trocr, originals.settings())
    folder = originals.write_donut(tmp_path / "donut", donut, originals.DONUT)
    files = {"trocr.pt": path.read_bytes()} | {f"donut/{each.name}": each.read_bytes() for each in folder.iterdir()}
    with server.web(files, net) as url:
        for name, expected in (("trocr.pt", trocr), ("donut/pytorch_model.bin", donut)):
            found = AutoModelForVision2Seq.from_pretrained(f"{url}/{name}", cache_dir=tmp_path / "cache")
            assert torch.equal(originals.logits(found), originals.logits(expected))


def test_a_config_by_its_url(site: str, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(f"{site}/vision_encoder_decoder_config.json", cache_dir=tmp_path)
    assert config.encoder.hidden_size == 16
    model = AutoModelForVision2Seq.from_pretrained(
        f"{site}/model.safetensors", config=f"{site}/vision_encoder_decoder_config.json", cache_dir=tmp_path
    )
    assert same(model)


def test_a_file_that_changed_is_fetched_again(site: str, net: server.Hub, tmp_path: Path) -> None:
    assert AutoConfig.from_pretrained(f"{site}/config.json", cache_dir=tmp_path).decoder_start_token_id == 2
    changed = net.files["a/b/config.json"].replace(b'"decoder_start_token_id": 2', b'"decoder_start_token_id": 7')  # type: ignore[attr-defined]
    net.files["a/b/config.json"] = changed  # type: ignore[attr-defined]
    assert AutoConfig.from_pretrained(f"{site}/config.json", cache_dir=tmp_path).decoder_start_token_id == 7


def test_a_download_that_is_cut_goes_on(site: str, net: server.Hub, tmp_path: Path, folder: Path) -> None:
    size = (folder / "model.safetensors").stat().st_size
    net.cut = [5000, 3000]
    source = hub.find(f"{site}/model.safetensors", {"cache_dir": tmp_path})
    assert source.named().read_bytes() == (folder / "model.safetensors").read_bytes()
    assert [one.headers.get("range") for one in net.seen] == [None, "bytes=5000-", "bytes=8000-"]
    assert sum(one.sent for one in net.seen) == size
    net.cut = [100] * 5
    with pytest.raises(DownloadError, match=r"pytorch_model.bin ends after 500 bytes of \d+, 5 times over"):
        hub.find(f"{site}/pytorch_model.bin", {"cache_dir": tmp_path}).named()
    assert not list(tmp_path.rglob("pytorch_model.bin"))


def test_urls_that_lead_nowhere(site: str, net: server.Hub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"There is no http.*nothing.bin: its server does not know it"):
        hub.find(f"{site}/nothing.bin", {"cache_dir": tmp_path}).named()
    with pytest.raises(CheckpointNotFoundError, match=r"http.*/a/ holds no config.json"):
        AutoModelForVision2Seq.from_pretrained(f"{site.removesuffix('/b')}/x.bin", cache_dir=tmp_path)
    with pytest.raises(DownloadError, match=r"could not be fetched .*refused"):
        hub.find("http://127.0.0.1:9/model.bin", {"cache_dir": tmp_path}).named()
    with pytest.raises(
        NotCachedError, match="was not fetched before, and no server was asked because local_files_only"
    ):
        hub.find(f"{site}/config.json", {"cache_dir": tmp_path, "local_files_only": True}).named()
    for url in ("http://", "https://host", "http://host/", "http://host/a/", "http://host/a/%2e%2e", "http://h/a%2Fb"):
        with pytest.raises(OptionError, match="names no file; expected the URL of one"):
            AutoConfig.from_pretrained(url, cache_dir=tmp_path)
    for argument in ({"revision": "x"}, {"subfolder": "x"}):
        with pytest.raises(OptionError, match=r"revision= and subfolder= are for names on the hub"):
            AutoConfig.from_pretrained(f"{site}/config.json", cache_dir=tmp_path, **argument)
    assert hub.find(f"{site}/config.json", {"cache_dir": tmp_path}).get("../../secret") is None
    net.down = 500
    with pytest.raises(DownloadError, match=r"could not be fetched \(HTTP 500"):
        AutoConfig.from_pretrained(f"{site}/config.json", cache_dir=tmp_path)


def test_the_copy_of_last_time_serves_when_the_server_is_away(site: str, net: server.Hub, tmp_path: Path) -> None:
    AutoConfig.from_pretrained(f"{site}/config.json", cache_dir=tmp_path)
    net.down = 503
    with pytest.warns(UserWarning, match=r"could not be fetched \(HTTP 503.*the copy of last time is used"):
        assert AutoConfig.from_pretrained(f"{site}/config.json", cache_dir=tmp_path).encoder


def test_a_proxy_for_urls(site: str, net: server.Hub, tmp_path: Path) -> None:
    with server.forward_proxy(net) as proxy:
        AutoConfig.from_pretrained(f"{site}/config.json", cache_dir=tmp_path, proxies={"http": proxy})
    assert [one.where for one in net.seen] == ["proxy", "web"]


def test_the_url_of_a_file_on_the_hub(
    folder: Path, net: server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.commit("a/b", {f"deep/{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()})
    net.repos["a/b"].token = "hf_secret"
    with net.running() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        options = {"cache_dir": tmp_path, "token": "hf_secret"}
        for kind in ("resolve", "blob"):
            url = f"{endpoint}/a/b/{kind}/main/deep/model.safetensors"
            assert same(AutoModelForVision2Seq.from_pretrained(url, **options))
        assert sorted(net.fetched()) == ["config.json", "generation_config.json", "model.safetensors"]
        assert (tmp_path / "models--a--b").is_dir()
        with pytest.raises(OptionError, match=r"says revision 'main', and revision='x' another one"):
            AutoConfig.from_pretrained(url, revision="x", **options)
        with pytest.raises(OptionError, match=r"subfolder= is for names on the hub"):
            AutoConfig.from_pretrained(url, subfolder="x", **options)
        with pytest.raises(CheckpointNotFoundError, match=r"has no file 'modl.bin'.*Files there: config.json"):
            hub.find(f"{endpoint}/a/b/resolve/main/deep/modl.bin", dict(options)).named()


def test_only_what_is_needed_of_a_folder(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = hub.find(folder)
    assert source.get("config.json") == folder / "config.json"
    assert source.get("absent") is None
    assert repr(source) == f"Source({str(folder)!r}, {str(folder)!r})"
    assert str(source) == str(folder)


def test_a_tensorflow_checkpoint_by_url_and_from_the_hub(
    net: server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Path(__file__).parents[1] / "goldens" / "tensorflow" / "vit-gpt2.zip"
    with zipfile.ZipFile(golden) as packed:
        packed.extractall(tmp_path / "golden")
    expected = load_file(tmp_path / "golden" / "expected.safetensors")
    files = {path.name: path.read_bytes() for path in (tmp_path / "golden" / "objects").iterdir()}
    files["config.json"] = (tmp_path / "golden" / "config.json").read_bytes()

    def right(model: Any) -> bool:
        state = model.state_dict()
        return all(torch.equal(state[name], tensor) for name, tensor in expected.items())

    with server.web(files, net) as url:
        assert right(
            AutoModelForVision2Seq.from_pretrained(f"{url}/model.ckpt.index", from_tf=True, cache_dir=tmp_path)
        )
    net.commit("a/b", files | {"model.safetensors": b"x" * 5000, "tf_model.h5": b"x" * 5000})
    net.seen.clear()
    with net.running() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert right(AutoModelForVision2Seq.from_pretrained("a/b", from_tf=True, cache_dir=tmp_path))
    data = [name for name in files if ".data-" in name]
    assert sorted(net.fetched()) == sorted(["config.json", "model.ckpt.index", *data])
