"""TensorFlow's checkpoints: what TensorFlow wrote, what it would write, and what nobody should."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tables import HEADER, crc32c, entry, field, fixed32, masked, table, varint

from vision2seq.checkpoints import crc32c as fast
from vision2seq.checkpoints.bundle_reader import bundle_dtypes, read_bundle
from vision2seq.checkpoints.protobuf import fields
from vision2seq.checkpoints.snappy import decompress
from vision2seq.checkpoints.string_table import read_table
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, UnsupportedError

Golden = Callable[[str, str], Path]

# ----------------------------------------------------------------------------------------------------- what was written


@pytest.mark.parametrize(
    "prefix",
    [
        "objects/model.ckpt",
        "names/model.ckpt",
        "trained/model.ckpt-1",
        "trained-legacy/model.ckpt-1",
        "saved-model/variables/variables",
    ],
)
def test_every_flavour_has_the_same_variables(golden: Golden, prefix: str) -> None:
    """By object and by name, with slices and in two files, with optimizers; transformers' safetensors says which."""
    folder = golden("tensorflow", "vit-gpt2")
    expected = {key.split(":")[0]: value for key, value in load_file(folder / "safetensors/model.safetensors").items()}
    found = {name.split("/", 1)[1]: tensor for name, tensor in read_bundle(folder / f"{prefix}.index")}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert set(bundle_dtypes(folder / f"{prefix}.index")) == {torch.float32}


def test_all_types(golden: Golden) -> None:
    found = dict(read_bundle(golden("tensorflow", "types") / "types.index"))
    numbers = torch.arange(6).reshape(2, 3)
    names = (
        *("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8"),
        *("uint16", "uint32", "uint64", "complex64", "complex128", "bool"),
    )
    for name in names:
        dtype = getattr(torch, name)
        assert found.pop(name).equal(numbers.to(dtype)), name
    assert found.pop("empty").shape == (0, 4)
    assert found.pop("scalar").item() == 0.5
    assert found.pop("negative").numpy().tobytes() == np.array([-1.5, np.inf, -0.0], np.float32).tobytes()
    assert not found  # a text is no weight


def test_a_type_that_torch_has_not(golden: Golden) -> None:
    path = golden("tensorflow", "types") / "unknown.index"
    for read in (read_bundle, bundle_dtypes):
        with pytest.raises(
            UnsupportedError, match=r"q in .*unknown\.index holds numbers of TensorFlow's type 11.* expected one of"
        ):
            list(read(path))


# ------------------------------------------------------------------------------------------------------- what could be


def write(folder: Path, variables: dict[str, np.ndarray], **options: Any) -> Path:
    """A checkpoint by name."""
    types = {"float32": 1, "int64": 9}
    data, rows = b"", [(b"", HEADER)]
    for name, value in sorted(variables.items()):
        stored = value.tobytes()
        rows.append(
            (name.encode(), entry(types[str(value.dtype)], value.shape, len(data), len(stored), masked(stored)))
        )
        data += stored
    (folder / "x.index").write_bytes(table(rows, **options))
    (folder / "x.data-00000-of-00001").write_bytes(data)
    return folder / "x.index"


def some_variables() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    shapes = {"a/kernel": (3, 4), "a/kernel_norm": (5,), "b/c": (), "large": (200, 100), "empty": (0, 7)}
    return {name: draw.standard_normal(shape).astype("float32") for name, shape in shapes.items()}


@pytest.mark.parametrize("compressed", [False, True])
def test_compressed_tables(tmp_path: Path, compressed: bool) -> None:
    variables = some_variables()
    found = dict(read_bundle(write(tmp_path, variables, compressed=compressed)))
    assert found.keys() == variables.keys()
    assert all(np.array_equal(found[name].numpy(), variables[name]) for name in variables)


def test_tensors_can_be_written_to_and_the_file_stays(tmp_path: Path) -> None:
    path = write(tmp_path, some_variables())
    data = tmp_path / "x.data-00000-of-00001"
    before = data.read_bytes()
    for _, tensor in read_bundle(path):
        tensor.zero_()
    assert data.read_bytes() == before


def test_large_tensors_are_mapped_each_on_its_own(tmp_path: Path) -> None:
    values = np.zeros((300, 300), "float32")
    found = dict(read_bundle(write(tmp_path, {"a": values, "b": values})))
    gap = abs(found["a"].data_ptr() - found["b"].data_ptr())
    assert gap >= values.nbytes
    del found["a"]  # its pages go, those of the other stay
    assert not found["b"].any()


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("global_step", (), "int64"),
        ("model/kernel/Adam", (2,), "float32"),
        ("model/kernel/Adam_1", (2,), "float32"),
        ("model/kernel/adam_m", (2,), "float32"),
        ("model/kernel/ExponentialMovingAverage", (2,), "float32"),
        ("beta1_power", (), "float32"),
        ("training/Adam/model/kernel/m", (2,), "float32"),
        ("Adam/m/model/kernel", (2,), "float32"),
        ("SGD/momentum", (), "float32"),
        ("model/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE", (2,), "float32"),
        ("optimizer/_variables/3/.ATTRIBUTES/VARIABLE_VALUE", (2,), "float32"),
        ("save_counter/.ATTRIBUTES/VARIABLE_VALUE", (), "int64"),
        ("keras_api/metrics/0/total/.ATTRIBUTES/VARIABLE_VALUE", (), "float32"),
        ("learning_rate", (), "float32"),
    ],
)
def test_what_only_training_needs_is_left_out(tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    path = write(tmp_path, {"model/kernel": np.ones(2, "float32"), name: np.ones(shape, dtype)})
    assert [found for found, _ in read_bundle(path)] == ["model/kernel"]


@pytest.mark.parametrize("name", ["logit_scale", "momentum_encoder/kernel", "decoder/adamant/bias", "model/count"])
def test_weights_that_sound_like_training_are_kept(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, {name: np.ones(() if name == "logit_scale" else 2, "float32")})
    assert [found for found, _ in read_bundle(path)] == [name]


# ---------------------------------------------------------------------------------------------------------- what is not


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"No checkpoint index .*x\.index\. Check the path"):
        list(read_bundle(tmp_path / "x.index"))
    path = write(tmp_path, some_variables())
    (tmp_path / "x.data-00000-of-00001").unlink()
    with pytest.raises(
        CheckpointNotFoundError, match=r"its numbers in 1 files beside it, but x\.data-00000-of-00001 is not there"
    ):
        list(read_bundle(path))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"garbage" * 100, "does not end as such a file does"),
    ],
)
def test_something_else_altogether(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "x.index").write_bytes(content)
    with pytest.raises(CheckpointCorruptError, match=rf"x\.index cannot be read as a TensorFlow checkpoint: .*{found}"):
        list(read_bundle(tmp_path / "x.index"))


def test_numbers_that_do_not_match_their_checksum(tmp_path: Path) -> None:
    path = write(tmp_path, {"w": np.ones(5000, "float32")})
    data = tmp_path / "x.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[12345] ^= 4
    data.write_bytes(content)
    with pytest.raises(
        CheckpointCorruptError, match=r"x\.data-00000-of-00001 cannot.*the numbers of w do not match their checksum"
    ):
        list(read_bundle(path))
    data.write_bytes(content[:-1])
    with pytest.raises(CheckpointCorruptError, match=r"it has 19999 bytes, and its numbers would reach to byte 20000"):
        list(read_bundle(path))


W = np.ones(2, "float32").tobytes()
GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"


def text_entry(text: bytes) -> tuple[bytes, bytes]:
    """A text as TensorFlow stores it, and its entry."""
    length = struct.pack("<I", len(text))
    stored = varint(len(text)) + masked(length) + text
    return stored, entry(7, (), 0, len(stored), masked(length + masked(length) + text))


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([(b"w", b"")], "its first entry is not the header"),
        ([(b"", HEADER), (b"w", entry(1, [2], 0, 8, masked(W), shard=1))], "it names file 1 of 1"),
        ([(b"", HEADER), (b"w", entry(1, [3], 0, 8, masked(W)))], r"w is said to have 8 bytes, which \[3\] does not"),
        ([(b"", HEADER), (b"w", entry(1, [-2], 0, 8, masked(W)))], "negative size or place"),
        ([(b"", HEADER), (b"w", entry(1, [2], -8, 8, masked(W)))], "negative size or place"),
        ([(b"", HEADER), (b"w", entry(1, [2**40, 2**40], 0, 2**82 % 2**64, masked(W)))], "does not fit"),
        ([(b"", HEADER), (b"w", entry(1, [2**40], 0, 2**42, masked(W)))], "would reach to byte 4398046511104"),
        ([(b"", HEADER), (b"w", field(2, field(3, 1)) + field(1, 1))], "a tensor has no shape"),
        ([(b"", HEADER), (b"w", b"\x0b")], "unknown kind 3"),
        ([(b"", HEADER), (b"w", b"\x0a\x05a")], "a message in it ends too early"),
        ([(b"", HEADER), (b"w", b"\x08" + b"\xff" * 10)], "longer than 64 bits"),
        ([(b"", HEADER), (b"w", b"\x08\xff")], "in the middle of a number"),
        ([(b"", HEADER), (b"\xff", entry(1, [2], 0, 8, masked(W)))], "can't decode"),
        ([(b"", HEADER), (b"b", b""), (b"a", b"")], "its keys are not in order"),
        ([(b"", HEADER), (b"a" * 3000, b"")], "a key has 3000 bytes; expected at most 2048"),
        ([(b"", HEADER), (GRAPH, entry(7, [2], 0, 8, masked(W)))], f"{GRAPH.decode()} is not one text"),
    ],
)
def test_tables_that_make_no_sense(tmp_path: Path, rows: list[tuple[bytes, bytes]], found: str) -> None:
    (tmp_path / "x.index").write_bytes(table(rows))
    (tmp_path / "x.data-00000-of-00001").write_bytes(W)
    with pytest.raises(CheckpointCorruptError, match=found):
        list(read_bundle(tmp_path / "x.index"))


def test_an_object_graph_that_is_damaged(tmp_path: Path) -> None:
    stored, row = text_entry(field(1, field(2, field(2, b"name") + field(3, b"w"))))
    rows = [(b"", HEADER), (GRAPH, row), (b"w", entry(1, [2], len(stored), 8, masked(W)))]
    (tmp_path / "x.index").write_bytes(table(rows))
    data = tmp_path / "x.data-00000-of-00001"
    data.write_bytes(stored + W)
    assert [name for name, _ in read_bundle(tmp_path / "x.index")] == ["name"]
    for place in (2, len(stored) - 1):
        damaged = bytearray(stored + W)
        damaged[place] ^= 1
        data.write_bytes(damaged)
        with pytest.raises(CheckpointCorruptError, match=f"the text of {GRAPH.decode()} does not match its checksum"):
            list(read_bundle(tmp_path / "x.index"))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (field(1, 1) + field(2, 1), r"written on a big-endian machine; expected little-endian"),
        (field(1, 1) + field(3, field(2, 2)), r"needs a reader of version 2; this one is of version 1"),
    ],
)
def test_headers_of_other_worlds(tmp_path: Path, header: bytes, found: str) -> None:
    (tmp_path / "x.index").write_bytes(table([(b"", header)]))
    with pytest.raises(UnsupportedError, match=found):
        list(read_bundle(tmp_path / "x.index"))


def sliced(*spans: tuple[int, int], shape: int = 6) -> bytes:
    """The entry of a variable of which slices are stored."""
    extents = b"".join(field(7, field(1, field(1, start) + field(2, length))) for start, length in spans)
    return entry(1, [shape], 0, 0, masked(b""), more=extents)


def test_slices_that_do_not_make_a_whole(tmp_path: Path) -> None:
    def key(start: int, length: int) -> bytes:
        return b"\0w\0\x01\x01\x01" + bytes([0x80 | start, 0x80 | length])

    data = np.arange(6, dtype="float32").tobytes()
    (tmp_path / "x.data-00000-of-00001").write_bytes(data)
    first, last = entry(1, [4], 0, 16, masked(data[:16])), entry(1, [2], 16, 8, masked(data[16:]))
    parts = [(key(0, 4), first), (key(4, 2), last)]

    def read(rows: list[tuple[bytes, bytes]]) -> Any:
        (tmp_path / "x.index").write_bytes(table([(b"", HEADER), *rows]))
        return dict(read_bundle(tmp_path / "x.index"))["w"]

    assert read([*parts, (b"w", sliced((0, 4), (4, 2)))]).tolist() == list(range(6))
    for rows, found in (
        ([parts[0], (b"w", sliced((0, 4), (4, 2)))], "a piece of w is missing"),
        ([*parts, (b"w", sliced((0, 4)))], "the pieces of w do not add up to it"),
        ([*parts, (b"w", sliced((0, 4), (4, 2), shape=5))], "a piece of w does not fit into it"),
        ([(key(0, 4), last), (b"w", sliced((0, 4)))], "a piece of w does not fit into it"),
    ):
        with pytest.raises(CheckpointCorruptError, match=found):
            read(rows)


# ----------------------------------------------------------------------------------------------------- the layers below


def test_crc32c_as_the_standard_has_it() -> None:
    """The examples of RFC 3720, B.4."""
    for data, expected in (
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"", 0),
    ):
        assert fast.crc32c(data) == expected


@pytest.mark.parametrize("length", [*range(1, 12), 5684, 5685, 5686, 5694, 45479, 45480, 45481, 45488, 79000, 400_007])
def test_crc32c_of_any_length(length: int) -> None:
    data = random.Random(length).randbytes(length)
    if length < 10_000:
        assert fast.crc32c(data) == crc32c(data)
    # A checksum of data that is followed by its checksum is always the same.
    assert fast.crc32c(data + struct.pack("<I", fast.crc32c(data))) == 0x48674BC7
    damaged = bytearray(data)
    damaged[length // 2] ^= 1
    assert fast.crc32c(bytes(damaged)) != fast.crc32c(data)


def test_crc32c_is_fast() -> None:
    """Over 1 GB/s on an idle machine; a tenth of that is asked for here."""
    data = np.zeros(2**26, np.uint8)
    start = time.perf_counter()
    fast.crc32c(data)
    assert len(data) / (time.perf_counter() - start) > 1e8


def test_snappy_as_others_write_it(golden: Golden) -> None:
    plain = sorted(golden("tensorflow", "types").glob("*.plain"))
    assert len(plain) == 6
    for path in plain:
        assert decompress(path.with_suffix(".snappy").read_bytes()) == path.read_bytes()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "in the middle of a number"),
        (b"\x05\x00a", "claims to hold 5 bytes and holds 1"),
        (b"\x05\x10ab", "ends too early"),
        (b"\x05\xf0", "ends too early"),
        (b"\x05\x00a\x01\x02", "before its beginning"),
        (b"\x05\x00a\x01\x00", "before its beginning"),
        (b"\x05\x00a\x02", "before its beginning"),
        (b"\x02\x00a\x0d\x01", "claims to hold 2 bytes and holds 8"),
        (b"\xff\xff\xff\xff\x0f\x00a", "of 7 bytes claims to hold 4294967295"),
    ],
)
def test_snappy_that_is_damaged(data: bytes, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        decompress(data)


def test_snappy_that_repeats_itself() -> None:
    assert decompress(b"\x0b\x04ab" + b"\x15\x02") == b"ababababab" + b"a"


def test_tables_compressed_in_an_unknown_way() -> None:
    with pytest.raises(ValueError, match="compressed in the unknown way 7"):
        list(read_table(table([(b"", b"")], kind=7)))


def test_fields_of_a_message() -> None:
    message = field(1, 300) + field(2, b"text") + fixed32(3, b"\1\0\0\0") + b"\x21" + b"\2" + bytes(7)
    assert list(fields(message)) == [(1, 300), (2, b"text"), (3, 1), (4, 2)]
