"""Beam search, and sampling along beams.

For each image, K running beams and K places for finished texts. A step looks at the best M > K ways to go on from all
beams of an image; those that end compete, by their length-normalised score, for the places; the best K of the rest
run on. An image is done when its running beams can no longer get into its places, and then leaves the session.

The arithmetic, ties included, is that of the reference: "worth -1e9" instead of a mask, on tensors of the same shape.

I images, K beams an image, M candidates an image, V vocabulary, T tokens so far, N tokens after the prompt.

Source: the results of transformers 4.57.6 ``GenerationMixin._beam_search``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vision2seq.generation.loop import Plan, draw
from vision2seq.generation.output import GenerateOutput, KeptSteps, cut_loops
from vision2seq.generation.session import DecodingSession
from vision2seq.generation.stopping import EOS, LENGTH, REPETITION, STOP, repeated_tail

_WORTHLESS = -1.0e9
"""What a score is lowered by to take it out of the running; float32 keeps little of the score itself then."""


@dataclass(slots=True)
class Texts:
    """Some texts for each image, B of them.

    Attributes:
        ids: (I, B, T), prompt included.
        scores: (I, B), sums of log-probabilities while running, length-normalised when finished.
        origins: (I, B, N), the row of the step's scores that each token was picked from, -1 for none.
        logprobs: (I, B, N), of each token by the plain softmax of the raw logits.
    """

    ids: Tensor
    scores: Tensor
    origins: Tensor
    logprobs: Tensor

    def pick(self, index: Tensor) -> Texts:
        """Take texts of each image by their place, (I, B')."""

        def along(values: Tensor) -> Tensor:
            return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))

        return Texts(along(self.ids), self.scores.gather(1, index), along(self.origins), along(self.logprobs))

    def images(self, index: Tensor) -> Texts:
        """Take images."""
        return Texts(*(getattr(self, field.name)[index] for field in fields(self)))

    def grown(self, ids: Tensor, origins: Tensor, logprobs: Tensor) -> Texts:
        """Append a token to each text, (I, B) each."""

        def behind(values: Tensor, new: Tensor) -> Tensor:
            return torch.cat([values, new[..., None].to(values.dtype)], 2)

        return Texts(behind(self.ids, ids), self.scores, behind(self.origins, origins), behind(self.logprobs, logprobs))

    def blank(self, fill: int) -> Texts:
        """Append nothing to each text."""
        shape = self.scores
        return self.grown(
            torch.full_like(shape, fill, dtype=torch.long), torch.full_like(shape, -1), torch.zeros_like(shape)
        )

    def beside(self, other: Texts) -> Texts:
        """These texts of each image, then the other ones."""
        return Texts(*(torch.cat([getattr(self, f.name), getattr(other, f.name)], 1) for f in fields(self)))


def beam_search(session: DecodingSession, prompt: Tensor, plan: Plan) -> GenerateOutput:
    """Search the best texts of each image.

    Args:
        session: Fresh, with one row an image.
        prompt: (I, T).
        plan: The call.
    """
    config, device = plan.config, prompt.device
    images, beams, start = plan.images, config.num_beams, plan.prompt_length
    candidates = max(2, 1 + len(plan.eos)) * beams  # enough that K of them do not end
    # The reference's rule for what follows the end, by which a pad id of 0 counts as none.
    fill = plan.pad or plan.eos[0] if plan.eos else plan.pad
    may_leave = not (plan.keeps_rows or config.do_sample)

    output = session.step(prompt)
    spread = torch.arange(images, device=device).repeat_interleave(beams)
    session.select(spread)
    output = output.select(spread)

    empty = torch.zeros(images, beams, 0, device=device)
    running = Texts(
        prompt[:, None].expand(-1, beams, -1), torch.zeros(images, beams, device=device), empty.to(torch.int32), empty
    )
    running.scores[:, 1:] = _WORTHLESS  # the beams are still the same: only one of them counts
    finished = Texts(running.ids, torch.full_like(running.scores, _WORTHLESS), running.origins, running.logprobs)
    ended = torch.zeros(images, beams, dtype=torch.bool, device=device)  # places that hold a finished text
    open_ = torch.ones(images, 1, dtype=torch.bool, device=device)  # images that may still improve
    active = torch.arange(images, device=device)  # the images that the session holds
    left: dict[int, Texts] = {}
    first = torch.arange(candidates, device=device) < beams  # only these may take a place

    names: list[int] = [image for image in range(images) for _ in range(beams)]
    steering = plan.steering(output)
    rules = plan.rules(output, lambda: names, steering)
    kept = KeptSteps(config)
    past_scores: list[Tensor] = []
    length = start
    ends = torch.tensor(plan.eos, device=device)
    while True:
        rows, vocabulary = output.logits.shape
        raw = output.logits.log_softmax(-1)
        scores = raw
        so_far = running.ids.flatten(0, 1)
        for rule in rules:
            scores = rule(so_far, scores)
        kept.add(scores, output)
        if plan.keeps_scores:
            past_scores.append(scores)

        # The best ways to go on, of all beams of an image together.
        totals = (scores.view(-1, beams, vocabulary) + running.scores[:, :, None]).flatten(1)  # I K*V
        if config.do_sample:
            # Where a constraint leaves an image nothing more, something is drawn all the same, and is worth nothing.
            chances = totals.softmax(-1) if steering is None else totals.softmax(-1).nan_to_num(nan=1.0)
            index = draw(chances, candidates)
            values = totals.gather(1, index)
        else:
            values, index = totals.topk(candidates)
        beam = index // vocabulary
        token = index % vocabulary
        place = torch.arange(rows // beams, device=device)[:, None] * beams + beam
        ways = running.pick(beam).grown(token, active[:, None] * beams + beam, raw[place, token])
        ways.scores = values
        length += 1

        stops = torch.isin(token, ends) if plan.eos else torch.zeros_like(token, dtype=torch.bool)
        if length >= plan.longest:
            stops = torch.ones_like(stops)
        elif plan.stopping.any:
            reasons = plan.stopping(ways.ids.flatten(0, 1), tuple(past_scores) if plan.keeps_scores else None)
            stops = stops | torch.tensor([r is not None for r in reasons], device=device).view_as(stops)

        running_values = values + stops * _WORTHLESS
        onward = running_values.topk(beams).indices
        ways.scores = running_values
        running = ways.pick(onward)

        # Those that end now compete for the places.
        just_ended = stops & first
        ways.scores = values / ((length - start) ** config.length_penalty)
        if config.early_stopping is True:
            ways.scores = ways.scores + ended.all(1, keepdim=True) * _WORTHLESS
        ways.scores = ways.scores + ~open_ * _WORTHLESS
        ways.scores = ways.scores + ~just_ended * _WORTHLESS
        both = finished.blank(fill).beside(ways)
        best = both.scores.topk(beams).indices
        finished = both.pick(best)
        ended = torch.cat([ended, just_ended], 1).gather(1, best)

        open_ = open_ & _may_improve(running, finished, ended, length - start, plan)
        if steering is not None:  # which may have let fewer texts through than there are beams
            open_ = open_ & (running.scores.amax(1, keepdim=True) > _WORTHLESS / 2)
        full = ended.all(1)
        if not open_.any() or stops.all() or (config.early_stopping is True and full.all()):
            break

        onward_rows = place.gather(1, onward)
        if may_leave:
            done = full if config.early_stopping is True else full & ~open_.squeeze(1)
            if bool(done.any()):
                for spot in done.nonzero().flatten().tolist():
                    left[int(active[spot])] = finished.images(torch.tensor([spot], device=device))
                stay = ~done
                running, finished = running.images(stay), finished.images(stay)
                ended, open_, active, onward_rows = ended[stay], open_[stay], active[stay], onward_rows[stay]
                names[:] = active.repeat_interleave(beams).tolist()
                if len(active) == 0:
                    break
        session.select(onward_rows.flatten())
        output = session.step(running.ids[:, :, -1].reshape(-1, 1))

    for spot, image in enumerate(active.tolist()):
        left.setdefault(image, finished.images(torch.tensor([spot], device=device)))
    result = _result([left[image] for image in range(images)], plan, fill, length, kept)
    if steering is not None:
        written = zip(result.sequences.tolist(), result.token_logprobs or (), strict=True)
        texts = [row[: start + len(logprobs)] for row, logprobs in written]
        for begin in range(0, len(texts), config.num_return_sequences):
            steering.check(texts[begin : begin + config.num_return_sequences])
    return result


def _may_improve(running: Texts, finished: Texts, ended: Tensor, new_tokens: int, plan: Plan) -> Tensor:
    """Whether an image's best running beam could still take a place, (I, 1).

    Exact for ``early_stopping="never"``; otherwise it assumes that a text's score does not rise as it gets longer.
    """
    config = plan.config
    if config.early_stopping == "never" and config.length_penalty > 0.0:
        new_tokens = plan.longest - plan.prompt_length
    reachable = running.scores[:, :1] / float(new_tokens**config.length_penalty)
    worst = torch.where(ended, finished.scores.amin(1, keepdim=True), _WORTHLESS)
    return (reachable > worst).any(1, keepdim=True)


def _result(found: list[Texts], plan: Plan, fill: int, length: int, kept: KeptSteps) -> GenerateOutput:
    """Put the best texts of all images into one output, padded alike."""
    config, start = plan.config, plan.prompt_length
    for image, texts in enumerate(found):
        while texts.ids.shape[2] < length:
            texts = texts.blank(fill)
        found[image] = texts
    wanted = config.num_return_sequences
    ids, scores, origins, logprobs = (
        torch.cat([getattr(texts, field.name)[0, :wanted] for texts in found]) for field in fields(Texts)
    )
    lengths = (origins >= 0).sum(1)
    longest = int(lengths.max())
    sequences, origins = ids[:, : start + longest], origins[:, :longest]

    reasons = []
    token_logprobs = []
    for row, count in enumerate(lengths.tolist()):
        tokens = sequences[row, start : start + count].tolist()
        token_logprobs.append(logprobs[row, :count].tolist())
        if tokens and tokens[-1] in plan.eos:
            reasons.append(EOS)
        elif config.stop_on_repetition and repeated_tail(tokens):
            reasons.append(REPETITION)
        else:
            reasons.append(LENGTH if start + count >= plan.longest else STOP)
    sequences = cut_loops(sequences, reasons, token_logprobs, start=start, pad=fill)
    for row, numbers in enumerate(token_logprobs):
        origins[row, len(numbers) :] = -1
    output = GenerateOutput(
        sequences=sequences,
        sequences_scores=scores if plan.keeps_scores else None,
        beam_indices=origins[:, : sequences.shape[1] - start],
        finish_reasons=reasons,
        token_logprobs=token_logprobs,
        text_scores=scores.tolist(),
    )
    return kept.put_into(output)
