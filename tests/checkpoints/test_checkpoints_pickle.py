"""A hostile or odd pickle ends in an error, and nothing that it asks for is run."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vision2seq.checkpoints.pickle_reader import read_pickle
from vision2seq.errors import CheckpointCorruptError, UnsafePickleError, UnsupportedError


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.args


def attacks(marker: Path) -> dict[str, tuple[Any, str]]:
    touch = f"touch {marker}"
    return {
        "os.system": (Calls(os.system, touch), r"(posix|os|nt)\.system"),
        "eval": (Calls(builtins.eval, f"open({str(marker)!r}, 'w')"), r"builtins\.eval|__builtin__\.eval"),
        "exec": (Calls(builtins.exec, f"open({str(marker)!r}, 'w')"), r"builtins\.exec|__builtin__\.exec"),
        "open": (Calls(open, str(marker), "w"), r"(io|_io|builtins|__builtin__)\.open"),
        "popen": (Calls(subprocess.Popen, ["touch", str(marker)]), r"(subprocess|commands)\.Popen"),
        "getattr": (Calls(getattr, "", "join"), r"(builtins|__builtin__)\.getattr"),
        "torch.load": (Calls(torch.load, str(marker)), r"torch\.serialization\.load"),
        "a model": (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
@pytest.mark.parametrize("place", ["top", "value", "nested", "metadata"])
@pytest.mark.parametrize("attack", sorted(attacks(Path("x"))))
def test_malicious_pickle_runs_nothing(tmp_path: Path, attack: str, place: str, form: str, protocol: int) -> None:
    marker = tmp_path / "was_here"
    evil, asked_for = attacks(marker)[attack]
    content: Any = {"w": torch.ones(2)}
    if place == "top":
        content = evil
    elif place == "value":
        content["evil"] = evil
    elif place == "nested":
        content["deep"] = [(1, {"x": [evil]})]
    else:
        content = OrderedDict(content)
        content._metadata = {"": evil}
    path = tmp_path / "pytorch_model.bin"
    if form == "bare":
        path.write_bytes(pickle.dumps([evil], protocol))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip", pickle_protocol=protocol)
    with pytest.raises(UnsafePickleError, match=rf"asks for ({asked_for}).*nothing of it was run"):
        list(read_pickle(path))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("program", "asked_for"),
    [
        (b"cposix\nsystem\n(S'touch was_here'\ntR.", r"posix\.system"),
        (b"(S'touch was_here'\nios\nsystem\n.", r"os\.system"),
        (b"(cos\nsystem\nS'touch was_here'\no.", r"os\.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"os\.system"),
        (b"\x82\x01.", "the pickle instruction EXT1"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n}S'__code__'\nI1\nsb.", "attributes to be set on the name"),
        (b"ctorch\nFloatStorage\n)R.", "a call of the name torch.FloatStorage"),
        (b"ccollections\nOrderedDict\n)RS'a'\nb)R.", "a call of a dict"),
        (b"ctorch._utils\n_rebuild_tensor_v2\x1b[31m\n.", r"_rebuild_tensor_v2\\x1b"),
        (b"ctorch\nload\n.", r"torch\.load"),
        (b"cos\nFloatStorage\n.", r"os\.FloatStorage"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor\ncbuiltins\nlist\n)NtR.", "builtins"),
    ],
)
def test_hand_written_programs(tmp_path: Path, program: bytes, asked_for: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in (("bare.bin", program), ("zip.bin", zipped({"data.pkl": program}))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnsafePickleError, match=asked_for):
            list(read_pickle(tmp_path / name))
    assert not (tmp_path / "was_here").exists()


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(f"top/{name}", data)
    return buffer.getvalue()


def tensor_program(
    *, numel: int = 4, offset: int = 0, size: tuple[int, ...] = (4,), stride: tuple[int, ...] = (1,), key: str = "0"
) -> bytes:
    """What torch.save writes for {"w": tensor}, with any numbers."""

    def number(n: int) -> bytes:
        return b"I%d\n" % n

    def numbers(ns: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, ns)) + b"t"

    storage = b"(S'storage'\nctorch\nFloatStorage\nS'%s'\nS'cpu'\n%stQ" % (key.encode(), number(numel))
    rest = number(offset) + numbers(size) + numbers(stride) + b"I00\nN"
    return b"(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tRs."


def test_tensor_program_is_what_the_reader_reads(tmp_path: Path) -> None:
    data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    path = tmp_path / "x.bin"
    path.write_bytes(zipped({"data.pkl": tensor_program(), "data/0": data.numpy().tobytes()}))
    ((name, found),) = read_pickle(path)
    assert name == "w" and torch.equal(found, data)


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ({"numel": 5}, "should have 20 bytes, the file has 16"),
        ({"numel": 2**70}, "the file has 16"),
        ({"numel": -1}, "storage that makes no sense"),
        ({"offset": 1}, r"shape \[4\] in a storage of 4 elements"),
        ({"offset": -1}, "sizes make no sense"),
        ({"size": (5,)}, r"shape \[5\] in a storage of 4 elements"),
        ({"size": (-4,)}, "sizes make no sense"),
        ({"stride": (2,)}, r"in a storage of 4 elements"),
        ({"stride": (-1,)}, "sizes make no sense"),
        ({"size": (2, 2)}, "sizes make no sense"),
        ({"size": (2**62 - 1,), "stride": (0,)}, "in a storage of 4 elements"),
        ({"size": (2**61, 2**61), "stride": (0, 0)}, "in a storage of 4 elements"),
        ({"key": "1"}, "no bytes for storage '1'"),
        ({"key": "../../x"}, "no bytes for storage"),
    ],
)
def test_numbers_that_leave_the_storage(tmp_path: Path, numbers: dict[str, Any], found: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(zipped({"data.pkl": tensor_program(**numbers), "data/0": b"\0" * 16}))
    with pytest.raises(CheckpointCorruptError, match=found):
        list(read_pickle(path))


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.bin"
    path.write_bytes(zipped({"data.pkl": tensor_program(), "data/0": b"\0" * 10_000_000}, zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointCorruptError, match=r"'top/data\.pkl' is compressed"):
        list(read_pickle(path))


def test_zips_that_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(zipped({"hello.txt": b"hello"}))
    with pytest.raises(CheckpointCorruptError, match=r"zip archive without a data\.pkl"):
        list(read_pickle(path))
    path.write_bytes(zipped({"data.pkl": b"}.", "constants.pkl": b"N."}))
    with pytest.raises(UnsupportedError, match="TorchScript program"):
        list(read_pickle(path))
    path.write_bytes(zipped({"data.pkl": b"}.", "byteorder": b"big"}))
    with pytest.raises(UnsupportedError, match="big-endian"):
        list(read_pickle(path))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/data.pkl", b"}.")
        archive.writestr("top/data.pkl", b"}.")
    with pytest.raises(CheckpointCorruptError, match="two entries named"):
        list(read_pickle(path))


def test_tar_of_ancient_torch(tmp_path: Path) -> None:
    (tmp_path / "storages").write_bytes(b"x")
    with tarfile.open(tmp_path / "x.bin", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / "storages", "storages")
    with pytest.raises(UnsupportedError, match=r"before 0\.1\.10"):
        list(read_pickle(tmp_path / "x.bin"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (torch.ones(2), "it holds a single tensor"),
        ([torch.ones(2)], "it holds a list"),
        ({"epoch": 3}, "its entry 'epoch' is a int, not a named tensor"),
        ({3: torch.ones(2)}, "its entry 3 is a single tensor, not a named tensor"),
        ({"state_dict": {"w": torch.ones(2)}, "epoch": 3}, "training checkpoint.*they seem to be under 'state_dict'"),
        ({"a": torch.float32}, "its entry 'a' is the name torch.float32"),
    ],
)
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_no_state_dict(tmp_path: Path, form: str, content: Any, found: str) -> None:
    path = tmp_path / "x.bin"
    torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointCorruptError, match=found):
        list(read_pickle(path))


@pytest.mark.parametrize(
    "program",
    [
        b".",
        b"t.",
        b"(.",
        b"0.",
        b"h\x05.",
        b"R.",
        b"}(K\x01u.",
        b"]K\x01K\x02s.",
        b"}))s.",
        b"}" + b"\x85" * 100_000 + b".",  # a tuple in a tuple in a tuple …
        b"}" + b")" + b"\x85" * 100_000 + b"Ns.",  # … as a key: hashing it would recurse
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",  # bytes of nearly any length
        b"\x8b\xff\xff\xff\x7f",
        b"r\xff\xff\xff\xff.",
        b"(S'module'\ntQ.",
        b"NQ.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._utils\n_rebuild_parameter\n(NNNtR.",
        b"ctorch\nSize\n(NtR.",
        b"ccollections\nOrderedDict\n(I3\ntR.",
        b"ccollections\nOrderedDict\n((I1\nI2\ntltR.",
    ],
)
def test_nonsense_programs(tmp_path: Path, program: bytes) -> None:
    for name, data in (("bare.bin", program), ("zip.bin", zipped({"data.pkl": program}))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointCorruptError, match=rf"{name} cannot be read as PyTorch weights"):
            list(read_pickle(tmp_path / name))


def test_python_2_ordered_dict(tmp_path: Path) -> None:
    """Python 2 gave the pairs to the class as a list of lists."""
    entry = tensor_program()[len(b"(d") : -len(b"s.")]
    program = b"ccollections\nOrderedDict\n((l(" + entry + b"lalatR."
    program = b"ccollections\nOrderedDict\n(((" + entry + b"lltR."
    path = tmp_path / "x.bin"
    path.write_bytes(zipped({"data.pkl": program, "data/0": torch.ones(4).numpy().tobytes()}))
    ((name, found),) = read_pickle(path)
    assert name == "w" and torch.equal(found, torch.ones(4))


def test_legacy_views_and_cuda_locations(tmp_path: Path) -> None:
    """Files of torch < 0.4 know views of storages; files of GPUs name a device, which does not matter."""
    numbers = torch.arange(6.0)
    entry = (
        b"(S'storage'\nctorch.cuda\nFloatStorage\nS'7'\nS'cuda:3'\nI6\n(S'8'\nI2\nI4\nttQ"  # a view from element 2 on
        b"I1\n(I3\nt(I1\nt"
    )
    program = b"(dS'w'\nctorch._utils\n_rebuild_tensor\n(" + entry + b"tRs."
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001}]
    data = b"".join(pickle.dumps(value, 2) for value in head) + program + pickle.dumps(["7"], 2)
    data += (6).to_bytes(8, "little") + numbers.numpy().tobytes()
    path = tmp_path / "x.bin"
    path.write_bytes(data)
    ((_, found),) = read_pickle(path)
    assert found.tolist() == [3.0, 4.0, 5.0]
