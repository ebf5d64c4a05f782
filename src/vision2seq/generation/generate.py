"""generate: run a session to the end and return all of it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import OptionError
from vision2seq.generation.beam import beam_search
from vision2seq.generation.constraints import Constraint
from vision2seq.generation.loop import Plan, make_plan, run
from vision2seq.generation.output import GenerateOutput, KeptSteps, cut_loops, text_score
from vision2seq.generation.rules import PrefixFunction
from vision2seq.generation.session import DecodingSession


class Streamer(Protocol):
    """Receives ids while they are generated."""

    def put(self, value: Tensor, /) -> Any:
        """Take the prompt (rows, T) at first, then a token for each row, (rows,), on the CPU."""
        ...

    def end(self) -> Any:
        """Learn that nothing follows."""
        ...


@torch.no_grad()
def generate(
    session: DecodingSession,
    *,
    prompt: Tensor,
    config: GenerationConfig,
    limit: int,
    logits_processor: Any = None,
    stopping_criteria: Any = None,
    prefix_allowed_tokens_fn: PrefixFunction | None = None,
    streamer: Streamer | None = None,
    tokenizer: Any = None,
    constraint: Constraint | None = None,
) -> GenerateOutput:
    """Generate texts for all images of a session.

    Args:
        session: Fresh, with one row an image. It is used up.
        prompt: (images, T) ids that every text begins with, the start token first.
        config: The options, of a call that is `GenerationConfig.with_call`'s result.
        limit: Positions that the decoder holds; no text gets longer, its prompt included.
        logits_processor: Callables ``(ids, scores) -> scores``, applied after the rules of the options.
        stopping_criteria: Callables ``(ids, scores so far) -> bool``, one or one a row.
        prefix_allowed_tokens_fn: ``(image, ids) -> allowed ids``.
        streamer: Gets the prompt and then each step's tokens; not with beams, whose tokens are not final.
        tokenizer: For ``stop_strings`` and ``constraint``.
        constraint: What the texts have to be. Only ``stop_strings``, ``max_time`` and own stopping criteria still cut
            them short; options that forbid tokens, such as ``no_repeat_ngram_size``, yield where all is forbidden.

    Returns:
        Rows of one image stand side by side, the best first with beams.

    Raises:
        OptionError: An option that cannot be honoured, before anything is computed; a constraint that nothing can
            fulfil, with this vocabulary or in this length.
        UnsupportedError: A way to generate that is not built here.

    Source: the results of transformers 4.57.6 ``GenerationMixin.generate``.
    """
    plan = make_plan(
        prompt,
        config,
        limit=limit,
        logits_processor=logits_processor,
        stopping_criteria=stopping_criteria,
        prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
        tokenizer=tokenizer,
        constraint=constraint,
    )
    if config.num_beams > 1:
        if streamer is not None:
            raise OptionError(
                f"A streamer needs final tokens, but those of num_beams={config.num_beams} may still change. "
                "Set num_beams=1."
            )
        return beam_search(session, prompt, plan)
    return _collect(session, prompt, plan, streamer)


def _collect(session: DecodingSession, prompt: Tensor, plan: Plan, streamer: Streamer | None) -> GenerateOutput:
    config = plan.config
    total = plan.images * config.num_return_sequences
    begun = prompt.repeat_interleave(config.num_return_sequences, 0)
    if streamer is not None:
        streamer.put(begun.cpu())

    columns: list[Tensor] = []  # a step: (total,)
    logprobs: list[list[float]] = [[] for _ in range(total)]
    reasons = [""] * total
    kept = KeptSteps(config)
    for step in run(session, prompt, plan):
        if len(step.rows) == total:
            column = step.tokens
        else:
            column = prompt.new_full((total,), plan.pad)
            column[torch.tensor(step.rows, device=prompt.device)] = step.tokens
        columns.append(column)
        for row, logprob in zip(step.rows, step.logprobs.tolist(), strict=True):
            logprobs[row].append(logprob)
        for row, reason in step.finished.items():
            reasons[row] = reason
        kept.add(step.scores, step.output)
        if streamer is not None:
            streamer.put(column.cpu())
    if streamer is not None:
        streamer.end()

    sequences = torch.cat([begun, torch.stack(columns, 1)], 1)
    sequences = cut_loops(sequences, reasons, logprobs, start=plan.prompt_length, pad=plan.pad)
    scores = [text_score(numbers, config) for numbers in logprobs]
    output = GenerateOutput(sequences=sequences, finish_reasons=reasons, token_logprobs=logprobs, text_scores=scores)
    return kept.put_into(output)
