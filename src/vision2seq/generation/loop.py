"""The loop: step, rules, pick, stop, yield.

`iterate` is the one place where greedy decoding and sampling happen; `generate`, streaming and servers stand on it.
Finished rows leave the session, so a batch costs what its live rows cost.

R rows (images × sequences an image; row = image * sequences + i), V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import OptionError
from vision2seq.generation.constraints import Constraint
from vision2seq.generation.constraints.steering import Steering
from vision2seq.generation.rules import PrefixFunction, Rule, build_rules
from vision2seq.generation.session import DecodingSession, RunsAhead, StepOutput
from vision2seq.generation.stopping import EOS, LENGTH, Criterion, Stopping, as_list, length_bounds, token_ids

AHEAD = 8
"""Steps that a session may take in one call: few enough that a stream still flows, and little is done in vain."""


@dataclass(slots=True)
class Step:
    """What one step of the loop decided.

    Attributes:
        rows: The rows that were still running, ascending.
        tokens: (len(rows),), the token that each of them got.
        logprobs: (len(rows),), its log-probability by the plain softmax of the raw logits.
        finished: Why the rows ended that did so with this token: "eos", "length", "stop" or "repetition".
        scores: The scores after all rules, one row for each row of the session; None where the session ran ahead, which
            it does if nobody asks for them.
        output: What the session returned, likewise.
    """

    rows: Sequence[int]
    tokens: Tensor
    logprobs: Tensor
    finished: dict[int, str]
    scores: Tensor | None
    output: StepOutput | None


@dataclass(slots=True)
class Plan:
    """A call's options, checked and with all that follows from them.

    Attributes:
        config: The options.
        images: Rows of the prompt.
        prompt_length: Tokens of the prompt.
        shortest: Fewest tokens of a text, prompt included.
        longest: Most tokens of a text, prompt included.
        eos: Ids that end a text.
        pad: What follows the end.
        own_rules: The user's logits processors.
        criteria: The user's stopping criteria.
        stopping: All conditions beyond the end token and the length.
        prefix_function: The user's ``prefix_allowed_tokens_fn``.
        constraint: What the texts have to be.
        tokenizer: What knows how texts are written.
    """

    config: GenerationConfig
    images: int
    prompt_length: int
    shortest: int
    longest: int
    eos: list[int]
    pad: int
    own_rules: list[Rule]
    criteria: list[Criterion]
    stopping: Stopping
    prefix_function: PrefixFunction | None
    constraint: Constraint | None
    tokenizer: Any

    @property
    def keeps_outputs(self) -> bool:
        """Whether tensors of each step are asked for."""
        c = self.config
        wanted = c.output_scores or c.output_logits or c.output_attentions or c.output_hidden_states
        return bool(c.return_dict_in_generate and wanted)

    @property
    def keeps_scores(self) -> bool:
        """Whether the scores of each step are asked for; criteria get them as well."""
        return bool(self.config.return_dict_in_generate and self.config.output_scores)

    @property
    def keeps_rows(self) -> bool:
        """Whether finished rows have to stay: user code and kept tensors count on one entry for each row."""
        return self.keeps_outputs or bool(self.own_rules or self.criteria)

    @property
    def may_run_ahead(self) -> bool:
        """Whether the likeliest token is all that a step needs to give, if there are no rules."""
        return not (self.config.do_sample or self.keeps_rows or self.config.max_time is not None)

    def runs_continuously(self, vocabulary: int) -> bool:
        """Whether rows may come and go one by one: see `generation.continuous`."""
        config = self.config
        if not self.may_run_ahead or config.num_beams > 1 or config.num_return_sequences > 1:
            return False
        if self.constraint is not None or config.stop_strings is not None or self.prefix_function is not None:
            return False
        return not build_rules(
            config,
            eos=self.eos,
            prompt_length=self.prompt_length,
            shortest=self.shortest,
            longest=self.longest,
            vocabulary=vocabulary,
            device=torch.device("cpu"),
        )

    def rules(self, output: StepOutput, images: Any, steering: Steering | None = None) -> list[Rule]:
        """Build the rules, once the first step has shown how large the vocabulary is."""
        return build_rules(
            self.config,
            eos=self.eos,
            prompt_length=self.prompt_length,
            shortest=self.shortest,
            longest=self.longest,
            vocabulary=output.logits.shape[-1],
            device=output.logits.device,
            prefix_allowed_tokens_fn=self.prefix_function,
            images=images,
            own=self.own_rules,
            steering=steering,
        )

    def steering(self, output: StepOutput) -> Steering | None:
        """The rule of the constraint, if there is one."""
        constraint, tokenizer, vocabulary = self.constraint, self.tokenizer, output.logits.shape[-1]
        if constraint is None:
            return None
        silent = (getattr(tokenizer, name, None) for name in ("bos_token_id", "cls_token_id"))
        return Steering(
            lambda prompt: constraint.position(tokenizer, vocabulary, prompt),
            eos=self.eos,
            lead=[token for token in dict.fromkeys(silent) if token is not None],
            forced=self.config.forced_bos_token_id if self.prompt_length == 1 else None,
            prompt_length=self.prompt_length,
            longest=self.longest,
            vocabulary=vocabulary,
            device=output.logits.device,
            beams=self.config.num_beams > 1,
            loops=self.config.stop_on_repetition,
            masks=constraint.masks,
        )


def make_plan(
    prompt: Tensor,
    config: GenerationConfig,
    *,
    limit: int,
    logits_processor: Any = None,
    stopping_criteria: Any = None,
    prefix_allowed_tokens_fn: PrefixFunction | None = None,
    tokenizer: Any = None,
    constraint: Constraint | None = None,
) -> Plan:
    """Check a call before anything is computed; arguments as of `iterate`."""
    if prompt.dim() != 2 or prompt.shape[1] == 0:
        raise OptionError(
            f"The decoder prompt has the shape {tuple(prompt.shape)}, expected (images, tokens), at least one token."
        )
    config.validate()
    shortest, longest = length_bounds(config, prompt.shape[1], limit)
    eos = token_ids(config.eos_token_id)
    pad = token_ids(config.pad_token_id) or eos or [0]
    if constraint is not None:
        _check_constraint(constraint, tokenizer, eos, prefix_allowed_tokens_fn)
    criteria = as_list(stopping_criteria)
    return Plan(
        config=config,
        images=prompt.shape[0],
        prompt_length=prompt.shape[1],
        shortest=shortest,
        longest=longest,
        eos=eos,
        pad=pad[0],
        own_rules=as_list(logits_processor),
        criteria=criteria,
        # A constraint leads out of loops itself, since a text that is cut off in one is not valid.
        stopping=Stopping(
            config, criteria, tokenizer, prompt.shape[1], loops=config.stop_on_repetition and constraint is None
        ),
        prefix_function=prefix_allowed_tokens_fn,
        constraint=constraint,
        tokenizer=tokenizer,
    )


def _check_constraint(constraint: Any, tokenizer: Any, eos: list[int], prefix_function: Any) -> None:
    if not isinstance(constraint, Constraint):
        raise OptionError(
            f"constraint is a {type(constraint).__name__}, expected one of vision2seq.generation: Choices([…]), "
            "Pattern(…) or Schema({…})."
        )
    if tokenizer is None:
        raise OptionError("A constraint needs the tokenizer to know what ids say. Pass tokenizer= to generate().")
    if not eos:
        raise OptionError("A constraint ends a text with the end token, but there is none. Set eos_token_id.")
    if prefix_function is not None:
        raise OptionError(
            "Both constraint and prefix_allowed_tokens_fn say what may follow, and may contradict each other. Pass one."
        )


def iterate(
    session: DecodingSession,
    *,
    prompt: Tensor,
    config: GenerationConfig,
    limit: int,
    logits_processor: Any = None,
    stopping_criteria: Any = None,
    prefix_allowed_tokens_fn: PrefixFunction | None = None,
    tokenizer: Any = None,
    constraint: Constraint | None = None,
) -> Iterator[Step]:
    """Generate by greedy decoding or sampling, one step at a time.

    Args:
        session: Fresh, with one row an image.
        prompt: (images, T) ids that every text begins with, the start token first.
        config: The options, of a call that is `GenerationConfig.with_call`'s result.
        limit: Positions that the decoder holds.
        logits_processor: Callables ``(ids, scores) -> scores``.
        stopping_criteria: Callables ``(ids, scores so far) -> bool``, one or one a row.
        prefix_allowed_tokens_fn: ``(image, ids) -> allowed ids``.
        tokenizer: For ``stop_strings`` and ``constraint``.
        constraint: What the texts have to be.

    Raises:
        OptionError: An option that cannot be honoured, before anything is computed but for a constraint that nothing
            can fulfil.
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
        raise OptionError(f"iterate() has no beams, but num_beams is {config.num_beams}. Use generate().")
    return run(session, prompt, plan)


@torch.no_grad()
def run(session: DecodingSession, prompt: Tensor, plan: Plan) -> Iterator[Step]:
    """The loop of `iterate`, for a plan that is made already."""
    config, stopping, eos = plan.config, plan.stopping, frozenset(plan.eos)
    sequences = config.num_return_sequences
    total = plan.images * sequences
    rows = list(range(total))  # which row each row of the session is
    alive = [True] * total
    live = total
    may_leave = not plan.keeps_rows

    output: StepOutput | None = session.step(prompt)
    assert output is not None
    if sequences > 1:  # the prompt is read once an image; its rows part only now
        index = torch.arange(total, device=prompt.device) // sequences
        session.select(index)
        output = output.select(index)
        prompt = prompt.index_select(0, index)
    rules = plan.rules(output, lambda: [row // sequences for row in rows], plan.steering(output))
    history = bool(rules) or stopping.any  # whether anybody reads what came before
    ids = prompt.new_full((total, plan.longest if history else 0), plan.pad)
    if history:
        ids[:, : plan.prompt_length] = prompt
    length = plan.prompt_length
    past_scores: list[Tensor] = []
    ahead = session.ahead if isinstance(session, RunsAhead) and plan.may_run_ahead and not rules else None
    ready: deque[tuple[Tensor, Tensor]] = deque()  # what the session has found already

    while True:
        scores: Tensor | None = None
        if output is None:
            tokens, logprobs = ready.popleft()
        else:
            logits = scores = output.logits
            for rule in rules:
                scores = rule(ids[:, :length], scores)
            if plan.keeps_scores:
                past_scores.append(scores)
            tokens = _draw(scores, rows, total) if config.do_sample else scores.argmax(-1)
            logprobs = logits.log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)
        if live < len(rows):
            tokens = tokens.masked_fill(~torch.tensor(alive, device=tokens.device), plan.pad)
        if history:
            ids[:, length] = tokens
        length += 1

        reasons: Sequence[str | None] | None = None
        if stopping.any:
            reasons = stopping(ids[:, :length], tuple(past_scores) if plan.keeps_scores else None, alive)
        full = length >= plan.longest
        finished: dict[int, str] = {}
        for place, token in enumerate(tokens.tolist()):
            if not alive[place]:
                continue
            if token in eos:
                finished[rows[place]] = EOS
            elif reasons is not None and (reason := reasons[place]) is not None:
                finished[rows[place]] = reason
            elif full:
                finished[rows[place]] = LENGTH

        if live == len(rows):
            yield Step(rows, tokens, logprobs, finished, scores, output)
        else:
            running = torch.tensor([place for place, lives in enumerate(alive) if lives], device=tokens.device)
            names = [row for row, lives in zip(rows, alive, strict=True) if lives]
            yield Step(names, tokens[running], logprobs[running], finished, scores, output)

        live -= len(finished)
        if live == 0:
            return
        if finished:
            alive = [lives and row not in finished for row, lives in zip(rows, alive, strict=True)]
        if ready:
            continue
        # Leaving costs a copy of the caches, staying the work of a row: wait until an eighth is finished.
        if may_leave and live < len(rows) and (len(rows) - live) * 8 >= len(rows):
            running = torch.tensor([place for place, lives in enumerate(alive) if lives], device=tokens.device)
            session.select(running)
            tokens, ids = tokens[running], ids[running]
            rows = [row for row, lives in zip(rows, alive, strict=True) if lives]
            alive = [True] * live
        found = None if ahead is None else ahead(tokens, min(AHEAD, plan.longest - length), plan.eos, alive)
        if found is None:
            output = session.step(tokens[:, None])
        else:
            output = None
            ready.extend(zip(*found, strict=True))


def _draw(scores: Tensor, rows: Sequence[int], total: int) -> Tensor:
    """Draw a token for each row of the session.

    The random numbers are drawn for all rows of the call, those that have left included, as the reference does: a
    generator's state advances with the whole shape, so the same seed gives the same text whoever has left.
    """
    probabilities = scores.softmax(-1)
    if len(rows) == total:
        return draw(probabilities, 1).squeeze(1)
    everyone = probabilities.new_zeros(total, probabilities.shape[1])
    everyone[:, 0] = 1.0
    index = torch.tensor(rows, device=scores.device)
    everyone[index] = probabilities
    return draw(everyone, 1).squeeze(1)[index]


def draw(probabilities: Tensor, count: int) -> Tensor:
    """Draw that many different places from each row.

    Raises:
        OptionError: The probabilities are none.
    """
    try:
        return torch.multinomial(probabilities, count)
    except RuntimeError as error:
        raise OptionError(
            f"No token can be drawn ({error}). Either the options together forbid every token, or the model's scores "
            "are not finite; remove_invalid_values=True generates all the same."
        ) from None
