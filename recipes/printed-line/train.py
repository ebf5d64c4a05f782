"""Trains `printed-line`: renders lines without end, teaches the model to read them, keeps the averaged weights.

What is added to the plain loss, in training only:

* a head on the encoder that says which character stands where, two places a column: the renderer knows, so nothing has
  to be aligned, and letters are learned from the first minute on
* half of the decoder's cross-attention heads are shown where the next character stands; without that the decoder finds
  its way along short lines only and makes up the rest of a long one
* some of the characters that the decoder is told it has written are wrong, so that it goes by the picture
* few words a line at first, more as time goes on
* columns of a batch that hold nothing but padding are mostly left out of the encoder: they cost time and teach little

Attention starts as `start.py` sets it, and Muon trains the matrices of the layers: in three minutes on two cores
that and the head took the loss from 2.8 to 0.5 nats a character.

The loop is the package's own, `vision2seq.training.Trainer`; here are the lines, the losses and the export.

Usage: `python train.py --corpus corpus.txt --out DIR --minutes 90`. Run again with the same arguments it goes on from
`DIR/last.pt`; progress is counted in minutes of training. The checkpoint is `DIR/final`.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import multiprocessing
import os
import queue
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from charset import CHARSET
from fonts import FONT_FOLDERS
from render import LineRenderer, Looks, held_out_lines, scale_to_canvas
from start import look_around
from tokenizer import SPECIAL_TOKENS
from tokenizer import write as write_tokenizer
from vision2seq.configuration.composite import VisionEncoderDecoderConfig
from vision2seq.models.decoders.trocr_config import TrOCRConfig
from vision2seq.models.encoders.vit_config import ViTConfig
from vision2seq.models.vision_encoder_decoder import VisionEncoderDecoderModel, cross_entropy
from vision2seq.training import Processes, Trainer, TrainingSettings, character_error_rate

HEIGHT, WIDTH, COLUMN = 32, 1024, 8
COLUMNS = WIDTH // COLUMN
PLACES = 2  # of a column that the encoder's head names the character of
START, PAD, END = (SPECIAL_TOKENS.index(token) for token in ("<s>", "<pad>", "</s>"))
ID_OF = {sign: number for number, sign in enumerate(CHARSET, len(SPECIAL_TOKENS))}
SIGN_OF = {number: sign for sign, number in ID_OF.items()}
VOCABULARY = len(SPECIAL_TOKENS) + len(CHARSET)
POSITIONS = 160
LONGEST = POSITIONS - 2  # characters: the start token takes one position
LOOKS = Looks(document=0.6, scan=0.27, skewed=0.65)
POOL = 768  # lines rendered, sorted by width and cut into batches together
TOKENS_A_BATCH = 48 * 56  # columns times lines
MOST_LINES = 64  # of a batch
VALIDATED = 150  # lines of each validation set
MUON = 4 / 1.5  # its rate by that of AdamW


def config() -> VisionEncoderDecoderConfig:
    """The shape of the model: 4.0 M numbers."""
    encoder = ViTConfig(
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=6,
        intermediate_size=768,
        image_size=[HEIGHT, WIDTH],
        patch_size=[HEIGHT, COLUMN],
        layer_norm_eps=1e-6,
    )
    decoder = TrOCRConfig(
        vocab_size=VOCABULARY,
        d_model=192,
        decoder_layers=2,
        decoder_attention_heads=6,
        decoder_ffn_dim=768,
        max_position_embeddings=POSITIONS,
        dropout=0.0,
        bos_token_id=START,
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=START,
    )
    return VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, decoder, decoder_start_token_id=START, pad_token_id=PAD, eos_token_id=END, bos_token_id=START
    )


def words_at(progress: float, rng: random.Random) -> int | None:
    """Most words of the next line: 2 at the start, all lengths for most lines after a tenth of the time."""
    if progress < 0.015:
        return 2
    if progress < 0.04:
        return rng.choice((2, 3, 4))
    if progress < 0.1:
        return rng.choice((3, 5, 8, None))
    return rng.choice((3, None, None, None, None))


Line = tuple[np.ndarray, str, np.ndarray]
"""What the renderer gives: gray values, text, and where its characters are as shares of the width."""


def words_later(progress: float, rng: random.Random) -> int | None:
    """The same for a model that can read short lines already."""
    return words_at(max(progress, 0.1), rng)


def batches(lines: list[Line], rng: random.Random, most: int) -> Iterator[list[Line]]:
    """Cuts a pool of lines into batches of like width, in random order."""
    lines = sorted(lines, key=lambda line: line[0].shape[1])
    cut: list[list[Line]] = [[]]
    for line in lines:
        columns = min(COLUMNS, line[0].shape[1] // COLUMN + 6)
        if (cut[-1] and (len(cut[-1]) + 1) * columns > TOKENS_A_BATCH) or len(cut[-1]) >= most:
            cut.append([])
        cut[-1].append(line)
    rng.shuffle(cut)
    yield from cut


def render_forever(options: dict[str, Any], worker: int, progress: Any, out: Any) -> None:
    """A worker: fills the queue with batches of (array, text)."""
    os.nice(2)
    torch.set_num_threads(1)
    from fonts import list_faces
    from texts import read_texts

    renderer = LineRenderer(
        [face.path for face in list_faces(options["fonts"])] if options["fonts"] else [f.path for f in list_faces()],
        read_texts(options["corpus"]),
        seed=options["seed"],
        height=HEIGHT,
        max_width=WIDTH,
        looks=LOOKS,
    )
    rng = random.Random(f"{options['seed']}/{worker}/{options['start']}")
    parent = multiprocessing.parent_process()
    assert parent is not None
    index = options["start"] + worker
    while True:
        pool = []
        while len(pool) < POOL:
            # Shapes of letters before spots and noise.
            degrade = progress.value > 0.1 or rng.random() < 0.3
            line = renderer.render_placed(index, options["words"](progress.value, rng), degrade=degrade)
            index += options["workers"]
            if len(line[1]) <= LONGEST:
                pool.append(line)
        # Small batches first: at the start it is the number of steps that counts.
        for batch in batches(pool, rng, 24 if progress.value < 0.04 else MOST_LINES):
            ready = collate(batch, rng, full=progress.value > 0.95 or rng.random() < 0.12)
            while not _put(out, ready):
                if not parent.is_alive():  # killed, so that it could not end this process
                    return


def rendered(options: argparse.Namespace, step: int, progress: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """Batches from other processes, which draw lines without end.

    Args:
        options: Those of the command line.
        step: How many steps are done; the lines drawn for them are not drawn again.
        progress: Says how much of the training is done, 0 to 1.

    Raises:
        RuntimeError: A process has died.
    """
    context = multiprocessing.get_context("spawn")
    done = context.Value("d", progress())
    out: Any = context.Queue(maxsize=24)
    wanted = {name: getattr(options, name) for name in ("corpus", "fonts", "seed", "workers")}
    wanted["start"] = step * MOST_LINES
    wanted["words"] = words_at if options.model is None else words_later
    workers = [
        context.Process(target=render_forever, args=(wanted, number, done, out), daemon=True)
        for number in range(options.workers)
    ]
    for worker in workers:
        worker.start()
    while True:
        done.value = progress()
        try:
            yield tensors(out.get(timeout=120))
        except queue.Empty:
            if not all(worker.is_alive() for worker in workers):
                raise RuntimeError("a rendering process has died; its error is above") from None


def _put(out: Any, batch: dict[str, Any]) -> bool:
    try:
        out.put(batch, timeout=5)
    except queue.Full:
        return False
    return True


def collate(lines: Sequence[Line], rng: random.Random, *, full: bool) -> dict[str, Any]:
    """Puts lines into the middle of black canvases, keeps the columns that a batch needs, spells the texts as ids."""
    widest = max(array.shape[1] for array, _, _ in lines)
    half = COLUMNS // 2 if full else min(COLUMNS // 2, math.ceil(widest / 2 / COLUMN) + rng.choice((1, 1, 2, 4)))
    first, last = COLUMNS // 2 - half, COLUMNS // 2 + half
    canvas = np.zeros((len(lines), HEIGHT, (last - first) * COLUMN), np.uint8)
    labels = np.full((len(lines), max(len(text) for _, text, _ in lines) + 1), -100, np.int64)
    inputs = np.full(labels.shape, PAD, np.int64)
    places = np.zeros(labels.shape, np.float32)  # in columns
    standing = np.full((len(lines), (last - first) * PLACES), PAD, np.int64)
    for row, (array, text, shares) in enumerate(lines):
        left = (WIDTH - array.shape[1]) // 2
        canvas[row, :, left - first * COLUMN : left - first * COLUMN + array.shape[1]] = array
        ids = [ID_OF[sign] for sign in text]
        labels[row, : len(text) + 1] = [*ids, END]
        places[row, : len(text)] = (left + shares * array.shape[1]) / COLUMN - first
        if text:
            standing[row] = standing_at(places[row, : len(text)] * PLACES, ids, standing.shape[1])
        slips = rng.choice((0.0, 0.0, 0.05, 0.15))
        inputs[row, : len(text) + 1] = [
            START,
            *(rng.choice(ids) if slips and rng.random() < slips else number for number in ids),
        ]
    return {
        "first": first, "canvas": canvas, "places": places, "standing": standing, "labels": labels, "inputs": inputs
    }  # fmt: skip


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a batch as tensors, which are not sent between processes as simply."""
    return {name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in batch.items()}


def standing_at(middles: np.ndarray, ids: Sequence[int], count: int) -> np.ndarray:
    """Which character covers the middle of each of ``count`` places, given the characters' middles; PAD for none."""
    between = (middles[1:] + middles[:-1]) / 2
    before = middles[0] - (between[0] - middles[0] if len(between) else 1)
    after = middles[-1] + (middles[-1] - between[-1] if len(between) else 1)
    which = np.searchsorted(np.concatenate([[before], between, [after]]), np.arange(count) + 0.5) - 1
    inside = (which >= 0) & (which < len(ids))
    return np.where(inside, np.asarray(ids)[np.clip(which, 0, len(ids) - 1)], PAD)


class Trainee(nn.Module):
    """The model and, for training only, the head on its encoder that names the character of each place."""

    def __init__(self) -> None:
        super().__init__()
        self.model = VisionEncoderDecoderModel._from_config(config())
        look_around(self.model)
        self.standing = nn.Linear(192, PLACES * VOCABULARY)  # PAD stands for no character

    def encode(self, canvas: Tensor, first: int) -> Tensor:
        """Gray values (B, 32, 8 * n) of the columns from ``first`` on → (B, 1 + n, D)."""
        vit = self.model.encoder
        rows, height, width = canvas.shape
        count = width // COLUMN
        x = canvas.float().div(127.5).sub(1).view(rows, height, count, COLUMN).transpose(1, 2).reshape(rows, count, -1)
        # Gray values stand in all three channels, so the channels' weights may as well be added first.
        projection = vit.embeddings.patch_embeddings.projection
        x = F.linear(x, projection.weight.sum(1).flatten(1), projection.bias)
        positions = vit.embeddings.position_embeddings
        front = (vit.embeddings.cls_token + positions[:, :1]).expand(rows, -1, -1)
        x = torch.cat([front, x + positions[:, 1 + first : 1 + first + count]], dim=1)
        for layer in vit.encoder.layer:
            # The CPU's fused attention goes backwards slowly in bfloat16, some ten times slower than plain products.
            x, _ = layer(x, need_weights=canvas.device.type == "cpu")
        return vit.layernorm(x)

    def forward(self, batch: dict[str, Any], guide: float) -> dict[str, Tensor]:
        """Losses in nats: all together, the decoder's, that of the encoder's head, how far the attention strays.

        Args:
            batch: See `collate`.
            guide: How much straying counts.
        """
        labels = batch["labels"]
        memory = self.encode(batch["canvas"], batch["first"])
        decoded = self.model.decoder(
            input_ids=batch["inputs"],
            encoder_hidden_states=memory,
            use_cache=False,
            output_attentions=True,
            return_dict=True,
        )
        named = self.standing(memory[:, 1:]).unflatten(-1, (PLACES, VOCABULARY)).flatten(1, 2)  # B 2n V
        text = cross_entropy(decoded.logits.float(), labels, label_smoothing=0.0)
        standing = F.cross_entropy(named.float().flatten(0, 1), batch["standing"].flatten())
        stray = self._stray(decoded.cross_attentions, batch["places"], (labels != -100) & (labels != END))
        return {
            "loss": text + 0.6 * standing + guide * stray,
            "text": text,
            "standing": standing,
            "stray": stray,
            "lines": text.new_tensor(float(len(labels))),
        }

    @staticmethod
    def _stray(attentions: tuple[Tensor, ...], places: Tensor, real: Tensor) -> Tensor:
        """Cross-entropy of half of the heads against a narrow bell over the place of the character to come."""
        columns = torch.arange(attentions[0].shape[-1] - 1, device=places.device) + 0.5
        bell = torch.exp(-(((columns - places[:, :, None]) / 1.2) ** 2) / 2)  # B T n
        bell = F.pad(bell / bell.sum(-1, keepdim=True).clamp(min=1e-6), (1, 0))
        total = bell.new_zeros(())
        for weights in attentions:
            heads = weights[:, : weights.shape[1] // 2].float()
            strays = -(bell[:, None] * (heads + 1e-5).log()).sum(-1).mean(1)
            total = total + (strays * real).sum() / real.sum().clamp(min=1)
        return total / len(attentions)


@torch.no_grad()
def read(model: VisionEncoderDecoderModel, arrays: Sequence[np.ndarray], size: int = 50) -> list[str]:
    """Reads lines that lie on the canvas's scale already, greedily, with a model in evaluation mode."""
    order = sorted(range(len(arrays)), key=lambda index: arrays[index].shape[1])
    texts = [""] * len(arrays)
    rng = random.Random(0)
    device = model.device
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        batch = tensors(collate([(arrays[row], "", np.empty(0)) for row in rows], rng, full=True))
        pixels = batch["canvas"].to(device).float().div(127.5).sub(1)[:, None].expand(-1, 3, -1, -1)
        memory = model.encode(pixels)[1]
        cache = model.decoder.new_cache()
        model.decoder.put_cross(cache, memory)
        token = torch.full((len(rows), 1), START, device=device)
        done = torch.zeros(len(rows), dtype=torch.bool, device=device)
        spelled: list[Tensor] = []
        for _ in range(LONGEST + 1):
            token = model.decoder(token, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)
            done |= token[:, 0] == END
            spelled.append(token.masked_fill(done[:, None], END))
            if bool(done.all()):
                break
        for row, ids in zip(rows, torch.cat(spelled, 1).tolist(), strict=True):
            texts[row] = "".join(SIGN_OF.get(number, "") for number in ids if number != END)
    return texts


def folder_of_lines(folder: Path, limit: int | None = None) -> list[tuple[np.ndarray, str]]:
    """Reads PNG crops with `.gt.txt` beside them, evenly spaced ones if there are more than the limit."""
    paths = sorted(folder.rglob("*.png"))
    if limit and len(paths) > limit:
        paths = [paths[index * len(paths) // limit] for index in range(limit)]
    lines = []
    for path in paths:
        array = scale_to_canvas(np.asarray(Image.open(path).convert("L")))
        lines.append((array, path.with_suffix("").with_suffix(".gt.txt").read_text(encoding="utf-8").rstrip("\n")))
    return lines


@torch.no_grad()
def see_colours_as_gray(model: VisionEncoderDecoderModel) -> None:
    """Shares the weights of the three channels out so that a colour counts as the gray that Pillow would make of it.

    In training all channels are the same, which leaves open how much each of them counts.
    """
    weight = model.encoder.embeddings.patch_embeddings.projection.weight
    weight.copy_(weight.sum(1, keepdim=True) * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1).to(weight))


def export(model: VisionEncoderDecoderModel, folder: Path) -> None:
    """Writes the shipped form: half-precision weights, configs, tokenizer, model card."""
    half = copy.deepcopy(model)
    see_colours_as_gray(half)
    half.to(torch.float16)
    half.save_pretrained(folder)
    write_tokenizer(folder, longest=POSITIONS)
    processor = {
        "image_processor_type": "DonutImageProcessor",
        "do_resize": True,
        "size": {"height": HEIGHT, "width": WIDTH},
        "resample": 2,
        "do_thumbnail": True,
        "do_align_long_axis": False,
        "do_pad": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    generation = {
        "bos_token_id": START,
        "decoder_start_token_id": START,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "max_length": POSITIONS,
    }
    texts = {
        "preprocessor_config.json": json.dumps(processor, indent=2, sort_keys=True) + "\n",
        "generation_config.json": json.dumps(generation, indent=2, sort_keys=True) + "\n",
        "README.md": Path(__file__).with_name("model_card.md").read_text(encoding="utf-8"),
    }
    for name, text in texts.items():
        temporary = folder / (name + ".part")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, folder / name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains for the given minutes and exports the averaged weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="paragraphs, one a line (texts.py --out)")
    parser.add_argument("--fonts", type=Path, action="append", help="a font folder (may be repeated)")
    parser.add_argument("--model", help="go on from this checkpoint's weights, without the short lines of a start")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, log and exported model")
    parser.add_argument("--minutes", type=float, default=90, help="of training in all, resumed or not")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision")
    parser.add_argument("--validate", type=Path, action="append", default=[], help="a folder of lines to report CER on")
    parser.add_argument("--held-out", action="store_true", help="report CER on rendered lines in unseen fonts, too")
    parser.add_argument("--every", type=float, default=8, help="minutes between validations")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    trainee = Trainee()
    if options.model:
        trainee.model.load_state_dict(VisionEncoderDecoderModel.from_pretrained(options.model).state_dict())
    sets = {folder.name: folder_of_lines(folder, VALIDATED) for folder in options.validate}
    if options.held_out:
        sets["held-out"] = held_out_lines(folders=options.fonts or FONT_FOLDERS)[:VALIDATED]

    def batches(step: int) -> Iterator[dict[str, Any]]:
        return rendered(options, step, lambda: trainer.progress)

    def losses(model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        return model(batch, guide=0.3 - 0.2 * trainer.progress)

    def validate(averaged: nn.Module) -> dict[str, float]:
        rates = {}
        for name, lines in sets.items():
            found = read(averaged.model, [array for array, _ in lines])
            rates[name] = character_error_rate(found, [text for _, text in lines])
        return {"cer": next(iter(rates.values())), **rates}  # the best is that of the first set

    trainer = Trainer(
        trainee,
        batches,
        losses,
        options.out,
        TrainingSettings(
            minutes=options.minutes,
            optimizer="muon",
            rate=options.rate,
            muon_rate=MUON * options.rate,
            warmup=0.012,
            decay="linear",
            weight_decay=0.02,
            betas=(0.9, 0.98),
            bf16=options.bf16,
            average=0.997,
            validate_every=options.every,
            log_every=40,
            seed=options.seed,
        ),
        about={"model": options.model, "corpus": options.corpus.name},
        validate=validate if sets else None,
        export=lambda averaged, folder: export(averaged.model, folder),
        processes=Processes(options.device),
    )
    try:
        trainer.run()
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
