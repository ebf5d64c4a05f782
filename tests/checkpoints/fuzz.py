"""Damage weight files of every format at random, and read them: `make fuzz` does it 10,000 times, the tests 500 times.

Each case must end in an error of this package that names a file, or in the right tensors where the format has
checksums (in tensors, where it has none), in seconds, and within a bounded memory. Runs as a process of its own, so
that a crash of it is seen: the exit status is not 0, and the seed of the case is the last thing that was printed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import originals
import torch
from tables import HEADER, entry, field, masked, snappy, table

from vision2seq import hub
from vision2seq.checkpoints import find_weights, original_config, read_tensors, stored_dtype
from vision2seq.checkpoints.snappy import decompress
from vision2seq.checkpoints.string_table import read_table
from vision2seq.errors import CheckpointCorruptError, CheckpointNotFoundError, ConfigError, UnsupportedError

GOLDENS = Path(__file__).parents[1] / "goldens"
SECONDS = 20  # a case
MEMORY = 2**30  # bytes, on top of what the process has after importing everything

Tensors = dict[str, torch.Tensor]


class Subject:
    """Files of one format, of which one is damaged."""

    def __init__(self, folder: Path, main: str, *damaged: str, checked: bool = False) -> None:
        self.folder = folder
        self.main = main
        self.files = {name: (folder / name).read_bytes() for name in damaged}
        self.checked = checked
        self.right = self.read()

    def read(self) -> Tensors:
        files = find_weights(self.folder / self.main)
        stored_dtype(files)
        return {name: tensor.clone() for name, tensor in read_tensors(files)}

    def case(self, chance: random.Random) -> str:
        """Damage a file, read, mend; what came of it."""
        name = chance.choice(list(self.files))
        path = self.folder / name
        # Written anew, not over: the tensors of an earlier case may be views of the file.
        path.unlink()
        path.write_bytes(damaged(self.files[name], chance))
        try:
            found = self.read()
        except (CheckpointCorruptError, UnsupportedError, CheckpointNotFoundError, ConfigError) as error:
            assert str(self.folder) in str(error), error
            return type(error).__name__
        finally:
            path.unlink()
            path.write_bytes(self.files[name])
        if self.checked:
            assert found.keys() == self.right.keys()
            assert all(torch.equal(tensor, self.right[name]) for name, tensor in found.items())
        return "read"


class OriginalSubject(Subject):
    """A checkpoint of the models' authors, whose config is made of its weights and its own config."""

    def read(self) -> Tensors:
        assert original_config(hub.find(self.folder / self.main)) is not None
        return super().read()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Cut, flip bits, or overwrite some bytes; more often near one of the ends, where what matters is."""
    found = bytearray(data)
    if chance.random() < 0.25:
        del found[chance.randrange(len(found)) :]
    for _ in range(chance.choice((0, 1, 1, 1, 2, 8, 40)) if len(found) else 0):
        span = min(len(found), chance.choice((64, 1024, len(found))))
        place = chance.randrange(span)
        if chance.random() < 0.3:
            place = len(found) - 1 - place
        found[place] = found[place] ^ 1 << chance.randrange(8) if chance.random() < 0.7 else chance.randrange(256)
    return bytes(found)


def table_case(folder: Path, chance: random.Random) -> str:
    """A table whose checksums are right and whose entries are damaged, so that what reads the entries is reached."""
    numbers = torch.arange(6.0).numpy().tobytes()
    extents = b"".join(field(7, field(1, field(1, start) + field(2, 3))) for start in (0, 3))
    parts = [
        (b"\0s\0\x01\x01\x01" + bytes([0x80 | start, 0x83]), entry(1, [3], 4 * start, 12, masked(numbers[:12])))
        for start in (0, 3)
    ]
    rows = [
        (b"", HEADER),
        *parts,
        (b"_CHECKPOINTABLE_OBJECT_GRAPH", entry(7, [], 0, 9, masked(numbers[:9]))),
        (b"s", entry(1, [6], 0, 0, masked(b""), more=extents)),
        (b"w", entry(1, [2, 3], 0, 24, masked(numbers))),
    ]
    if chance.random() < 0.7:
        del rows[3]
    which = chance.randrange(len(rows))
    rows[which] = (rows[which][0], damaged(rows[which][1], chance))
    (folder / "x.index").write_bytes(table(rows, compressed=chance.random() < 0.5))
    (folder / "x.data-00000-of-00001").write_bytes(numbers)
    try:
        dict(read_tensors(find_weights(folder / "x.index")))
    except (CheckpointCorruptError, UnsupportedError, CheckpointNotFoundError) as error:
        assert str(folder) in str(error), error
        return type(error).__name__
    return "read"


def layers_case(_: Path, chance: random.Random) -> str:
    """The layers below, which have no checksum of their own: Snappy, and a table's blocks."""
    text = bytes(chance.randrange(4) for _ in range(chance.randrange(200)))
    try:
        if chance.random() < 0.5:
            decompress(damaged(snappy(text) + bytes([0x15, 0x03, 0x1E, 0x02, 0x00]), chance))
        else:
            list(read_table(damaged(table([(b"a", text), (b"ab", text), (b"b", b"")]), chance)))
    except ValueError:
        return "ValueError"
    return "read"


def subjects(folder: Path) -> dict[str, Callable[[random.Random], str]]:
    """Every format: a small model of each."""
    for framework, name in (("tensorflow", "half-vit"), ("flax", "half-vit"), ("tensorflow", "vit-gpt2")):
        with zipfile.ZipFile(GOLDENS / framework / f"{name}.zip") as packed:
            packed.extractall(folder / framework / name)
    small, flax, large = folder / "tensorflow/half-vit", folder / "flax/half-vit", folder / "tensorflow/vit-gpt2"
    shutil.copy(flax / "expected.safetensors", folder / "model.safetensors")
    state = {"a.weight": torch.randn(4, 5), "b": torch.arange(3)}
    torch.save(state, folder / "zip.bin")
    torch.save(state, folder / "legacy.bin", _use_new_zipfile_serialization=False)
    donut = originals.write_donut(folder / "donut", originals.swin_mbart(), originals.DONUT)
    trocr = originals.write_trocr(folder / "trocr.pt", originals.vit_trocr(**originals.ROBERTA), originals.settings())
    (folder / "tables").mkdir()
    data = "model.ckpt.data-00000-of-00001"
    index = "tf_model.h5.index.json"
    assert json.loads((large / "h5-sharded" / index).read_text())
    return {
        "bundle": Subject(small / "objects", "model.ckpt.index", "model.ckpt.index", data, checked=True).case,
        "bundle, table": lambda chance: table_case(folder / "tables", chance),
        "layers": lambda chance: layers_case(folder, chance),
        "h5": Subject(small / "h5", "tf_model.h5", "tf_model.h5").case,
        "h5, index": Subject(large / "h5-sharded", index, index).case,
        "msgpack": Subject(flax / "msgpack", "flax_model.msgpack", "flax_model.msgpack").case,
        "safetensors": Subject(folder, "model.safetensors", "model.safetensors").case,
        "safetensors, tf": Subject(large / "safetensors", "model.safetensors", "model.safetensors").case,
        "pickle": Subject(folder, "zip.bin", "zip.bin").case,
        "pickle, legacy": Subject(folder, "legacy.bin", "legacy.bin").case,
        "Donut": OriginalSubject(donut, "pytorch_model.bin", "pytorch_model.bin").case,
        "TrOCR of fairseq": OriginalSubject(folder, trocr.name, trocr.name).case,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    outcomes: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        all_of_them = subjects(Path(temporary))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        for seed in range(options.seed, options.seed + options.cases):
            name = list(all_of_them)[seed % len(all_of_them)]
            print(f"\r{seed} {name:<20}", end="", flush=True, file=sys.stderr)
            signal.alarm(SECONDS)  # the default is to end the process
            outcome = all_of_them[name](random.Random(seed))
            outcomes.setdefault(name, Counter())[outcome] += 1
        signal.alarm(0)  # the end is no case
    print(f"\r{options.cases} cases, largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
    for name, counts in outcomes.items():
        print(f"{name:<20}", ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))


if __name__ == "__main__":
    main()
