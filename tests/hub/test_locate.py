"""Names and paths lead to files, or to a message that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vision2seq.errors import CheckpointNotFoundError, OptionError
from vision2seq.hub import BUNDLED, locate


def test_folders_files_and_subfolders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate(tmp_path) == tmp_path
    assert locate(str(tmp_path / "a" / "file.json")) == tmp_path / "a" / "file.json"
    for name in ("a", "a/b", "./a/b", "~/a/b"):
        assert locate(name).is_dir()
    assert locate("a", {"subfolder": "b"}) == Path("a/b")
    assert locate("a", {"subfolder": ""}) == locate("a", {"subfolder": None}) == Path("a")


def test_arguments_about_the_hub_are_taken_out(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "cache_dir": "x",
        "force_download": False,
        "local_files_only": True,
        "proxies": {},
        "resume_download": None,
        "revision": "main",
        "token": "secret",
        "use_auth_token": None,
        "code_revision": "x",
        "subfolder": "",
        "dtype": "auto",
    }
    assert locate(tmp_path, arguments) == tmp_path
    assert arguments == {"dtype": "auto"}


def test_a_folder_wins_over_a_bundled_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / BUNDLED[0]).mkdir()
    assert locate(BUNDLED[0]) == Path(BUNDLED[0])


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointNotFoundError,
        match=r"nowhere' is not a local folder, and no bundled model .*such as user/name\. Bundled with this package: ",
    ):
        locate(tmp_path / "nowhere")
    with pytest.raises(OSError, match=rf"couldn't connect.*Did you mean '{BUNDLED[0]}'\?"):
        locate(BUNDLED[0] + "s")
    with pytest.raises(CheckpointNotFoundError, match=r"has no subfolder 'deep'"):
        locate(tmp_path, {"subfolder": "deep"})


@pytest.mark.parametrize("name", ["./a/b", "~/a", "a/b/c", "a\\b", "-a", "a--b", "a..b", "x.git", "a" * 97, "ü/b"])
def test_what_can_be_no_name_is_not_asked_for(name: str) -> None:
    with pytest.raises(CheckpointNotFoundError, match="nor is it a name that a model on the hub could have"):
        locate(name)


def test_a_missing_path_in_a_folder_that_exists_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(CheckpointNotFoundError, match="'models/mine' is not a local folder"):
        locate("models/mine")


@pytest.mark.parametrize("name", [None, 3, "", "  "])
def test_no_name_at_all(name: Any) -> None:
    with pytest.raises(OptionError, match="named by a folder's path or a name; found"):
        locate(name)
