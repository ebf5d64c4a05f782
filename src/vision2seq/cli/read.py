"""``vision2seq read``: the text in images, as lines, JSON or JSONL."""

from __future__ import annotations

import argparse
import contextlib
import glob
import io
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from vision2seq.cli import drawing
from vision2seq.configuration.base import replacing
from vision2seq.errors import OptionError
from vision2seq.processing.image import SUFFIXES

_ENDINGS = (*SUFFIXES, ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="images, PDFs, folders (all of them below), globs, - for stdin"
    )
    parser.add_argument(
        "--pages", metavar="N", help="of PDF, TIFF and animations: such as 2-5,7 or all; also doc.pdf#7"
    )
    parser.add_argument("--dpi", type=float, default=None, metavar="N", help="of the pages of PDFs (default: 200)")
    parser.add_argument(
        "--model",
        "-m",
        default="printed-line",
        metavar="M",
        help="a checkpoint folder (default: the bundled %(default)s)",
    )
    parser.add_argument("--batch-size", "-b", type=int, default=8, metavar="N", help="images at a time (default: 8)")
    parser.add_argument("--beams", type=int, default=None, metavar="N", help="beam search (default: as the model says)")
    parser.add_argument("--max-new-tokens", type=int, default=None, metavar="N", help="most tokens of a text")
    parser.add_argument("--task", metavar="T", help="what a Donut is asked, such as docvqa or cord-v2; none for none")
    parser.add_argument("--question", metavar="Q", help="for tasks that answer one")
    parser.add_argument("--preset", metavar="P", help="what to do besides, such as manga-ocr (default: as files tell)")
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument("--choices", metavar="FILE|a,b", help="a text is one of these: a file of lines, or with commas")
    bound.add_argument("--pattern", metavar="REGEX", help="a text is what this regular expression matches as a whole")
    bound.add_argument("--schema", metavar="FILE", help="the fields that a Donut writes, as JSON")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON array of all readings")
    form.add_argument("--jsonl", action="store_true", help="one JSON object a line")
    parser.add_argument("--locate", action="store_true", help="boxes of tokens and words, in --json and --jsonl")
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="PATH",
        help="draw the words' boxes over the image: a .png, .jpg or .webp (numbered for several images), or a folder",
    )
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="write there instead of to standard output")
    parser.add_argument("--device", default=None, help="such as cuda (default: cpu)")
    parser.add_argument("--dtype", default=None, help="such as bfloat16 (default: float32)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "int8", "auto"),
        default=None,
        help="what the weights are kept in on a CPU: less is faster (default: fp32)",
    )
    parser.add_argument("--threads", type=int, default=None, metavar="N", help="CPU threads (default: torch's own)")
    parser.add_argument("--allow-url", action="store_true", help="fetch http(s) images")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Read the images; 1 if any failed, 2 if there are none or the call is wrong."""
    names = list(_names(options.images))
    if not names:
        print(
            f"vision2seq: no images in {', '.join(options.images)}; known endings: {' '.join(_ENDINGS)}",
            file=sys.stderr,
        )
        return 2
    for flag, value in (
        ("--batch-size", options.batch_size),
        ("--beams", options.beams),
        ("--threads", options.threads),
        ("--max-new-tokens", options.max_new_tokens),
        ("--dpi", options.dpi),
    ):
        if value is not None and value < 1:
            print(f"vision2seq: {flag} is {value}, expected a whole number from 1", file=sys.stderr)
            return 2
    if options.output is not None and not options.output.parent.is_dir():
        print(f"vision2seq: -o {options.output}: there is no folder {options.output.parent}", file=sys.stderr)
        return 2
    if options.output is not None and options.output.is_dir():
        print(f"vision2seq: -o {options.output}: it is a folder, expected a file", file=sys.stderr)
        return 2
    if options.locate and not (options.json or options.jsonl or options.overlay):
        print("vision2seq: --locate gives boxes, which text cannot show; add --json or --jsonl", file=sys.stderr)
        return 2
    from vision2seq.processing.image.pages import FIRST, chosen

    bound = _bound(options)
    chosen(options.pages)  # says what is wrong with it
    parts: Iterable[_Part] = _parts(names, options)
    if options.overlay is not None:  # each drawing needs a name beforehand
        parts = list(parts)
    drawn = drawing.files(options.overlay, [part.label for part in parts]) if options.overlay is not None else []
    if isinstance(drawn, str):
        print(f"vision2seq: --overlay {options.overlay}: {drawn}", file=sys.stderr)
        return 2

    import torch
    from tqdm import tqdm

    from vision2seq.reader import Reader

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    wanted = {"num_beams": options.beams, "max_new_tokens": options.max_new_tokens}
    reader = Reader.from_pretrained(
        options.model,
        batch_size=options.batch_size,
        device=options.device,
        dtype=options.dtype,
        task=options.task,
        preset=options.preset,
        precision=options.precision,
        **{name: value for name, value in wanted.items() if value is not None},
    )
    # tqdm keeps silent where standard error is no terminal.
    hidden = True if options.quiet or len(names) < 2 else None
    failed = 0
    with _output(options.output) as out:
        write = _Writer(out, "json" if options.json else "jsonl" if options.jsonl else "text", several=len(names) > 1)
        kept: deque[Any] = deque()  # pictures to draw on, from when they are loaded until they are read
        asked: deque[_Part] = deque()  # what the reader has taken and not answered yet
        sources: Iterator[Any] = _noted(parts, asked)
        if drawn:
            sources = drawing.loaded(sources, kept, options.allow_url)
        located = options.locate or bool(drawn)
        readings = reader.read(
            sources, allow_url=options.allow_url, question=options.question, locate=located, pages=FIRST, **bound
        )
        shown = tqdm(readings, total=len(names), unit="image", disable=hidden)
        for number, reading in enumerate(shown):
            part = asked.popleft()
            if part.follows:
                shown.total += 1
            write.several = write.several or part.of_many
            if drawn:
                drawing.draw(kept.popleft(), reading, drawn[number])
            if reading.error is not None:
                failed += 1
                print(f"vision2seq: {part.label}: {reading.error}", file=sys.stderr)
            write(part.name, reading, part.page)
        write.end()
    if failed:
        print(f"vision2seq: {failed} of {write.written} images could not be read", file=sys.stderr)
    return 1 if failed else 0


def _bound(options: argparse.Namespace) -> dict[str, Any]:
    """What texts have to be, as `Reader.read` takes it."""
    if options.choices is not None:
        path = Path(options.choices)
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            return {"choices": [line.strip() for line in lines if line.strip()]}
        return {"choices": [each.strip() for each in options.choices.split(",") if each.strip()]}
    if options.schema is not None:
        try:
            return {"schema": json.loads(Path(options.schema).read_text(encoding="utf-8"))}
        except ValueError as error:
            raise OptionError(f"--schema {options.schema} is no JSON: {error}") from None
    return {} if options.pattern is None else {"pattern": options.pattern}


@dataclass(frozen=True)
class _Part:
    """What becomes one reading: an image, or a page."""

    name: str
    page: int | None
    source: Any
    follows: bool  # on another page of the same
    of_many: bool  # the document may have others that are read, too

    @property
    def label(self) -> str:
        return self.name if self.page is None else f"{self.name}#{self.page}"


def _parts(names: Iterable[str], options: argparse.Namespace) -> Iterator[_Part]:
    from vision2seq.processing.image.pages import DPI, Page, expand, is_one

    for name in names:
        found = expand(_source(name), options.pages, options.dpi or DPI, allow_url=options.allow_url)
        for number, item in enumerate(found):
            if isinstance(item, Page) and item.number is not None:
                one = is_one(name, options.pages)
                yield _Part(item.source or name, item.number, item, number > 0, not one)
            else:
                yield _Part(name, None, item, number > 0, False)


def _noted(parts: Iterable[_Part], asked: deque[_Part]) -> Iterator[Any]:
    for part in parts:
        asked.append(part)
        yield part.source


def _names(given: list[str]) -> Iterator[str]:
    for name in given:
        path = Path(name)
        if name == "-" or name.startswith(("http://", "https://", "data:")):
            yield name
        elif path.is_dir():
            yield from (
                str(file) for file in sorted(path.rglob("*")) if file.suffix.lower() in _ENDINGS and file.is_file()
            )
        elif not path.exists() and any(sign in name for sign in "*?["):
            yield from sorted(glob.glob(name, recursive=True))
        else:
            yield name  # a missing file becomes a failed reading that names it


def _source(name: str) -> Any:
    return io.BytesIO(sys.stdin.buffer.read()) if name == "-" else name


class _Writer:
    """Puts readings down in one of the three forms."""

    def __init__(self, out: TextIO, form: str, *, several: bool) -> None:
        self.out, self.form, self.several = out, form, several
        self.written = 0

    def __call__(self, name: str, reading: Any, page: int | None = None) -> None:
        if self.form == "text":
            if reading.error is None:
                text = " ".join(reading.text.splitlines()) if self.several else reading.text
                self.out.write(f"{name}{'' if page is None else f'#{page}'}\t{text}\n" if self.several else f"{text}\n")
        else:
            plain = not (self.out.encoding or "utf-8").lower().startswith("utf")  # a terminal that lacks signs
            entry = json.dumps({**reading.to_dict(), "source": name, "page": page}, ensure_ascii=plain)
            if self.form == "json":
                self.out.write(("[\n" if not self.written else ",\n") + entry)
            else:
                self.out.write(entry + "\n")
        self.written += 1
        if self.form != "json":
            self.out.flush()

    def end(self) -> None:
        if self.form == "json":
            self.out.write("\n]\n" if self.written else "[]\n")


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears under its name only when it is complete."""
    if path is None:
        yield sys.stdout
        return
    path = path.resolve()  # behind a link, the file itself is written anew
    if path.exists() and not path.is_file():  # a pipe or a device: nothing there can be put in its place
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    with contextlib.ExitStack() as stack:
        try:
            staged = stack.enter_context(replacing(path))
        except OSError as error:
            raise OptionError(f"-o {path} cannot be written: {error.strerror}") from None
        yield staged
