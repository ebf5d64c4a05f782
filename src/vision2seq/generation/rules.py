"""What may come next: functions from the ids so far and the scores to new scores.

A rule never writes into the scores it is given. The order in `build_rules` is the reference's and matters: a rule sees
what those before it did. Greedy and sampling give rules raw logits, beam search gives them log-probabilities.

R rows, T tokens so far (prompt included), V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from vision2seq.configuration.generation import GenerationConfig
from vision2seq.errors import OptionError
from vision2seq.generation.constraints.steering import Steering

Rule = Callable[[Tensor, Tensor], Tensor]
"""Called with ids (R, T) and scores (R, V); returns scores (R, V)."""

PrefixFunction = Callable[[int, Tensor], Sequence[int]]
"""Called with an image's number and one row's ids (T,); returns the ids that may follow."""

NEVER = -math.inf


def build_rules(
    config: GenerationConfig,
    *,
    eos: Sequence[int],
    prompt_length: int,
    shortest: int,
    longest: int,
    vocabulary: int,
    device: torch.device,
    prefix_allowed_tokens_fn: PrefixFunction | None = None,
    images: Callable[[], Sequence[int]] | None = None,
    own: Sequence[Rule] = (),
    steering: Steering | None = None,
) -> list[Rule]:
    """Return the rules that a generation's options ask for, in the order in which they are applied.

    Args:
        config: The call's options.
        eos: Ids that end a text.
        prompt_length: Tokens of the decoder prompt.
        shortest: Fewest tokens of a text, prompt included.
        longest: Most tokens of a text, prompt included.
        vocabulary: V.
        device: Where the scores are.
        prefix_allowed_tokens_fn: The user's function of what may follow.
        images: Says which image each row of the scores belongs to, for that function.
        own: The user's rules, applied after those of the options and before those of sampling.
        steering: The rule of a constraint, which comes after them and has the last word of what may be chosen.

    Raises:
        OptionError: An option that names ids that the vocabulary does not have, or needs an end token without one.
    """
    c = config

    def mask(ids: Sequence[int]) -> Tensor:
        found = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        found[[token for token in ids if 0 <= token < vocabulary]] = True
        return found

    rules: list[Rule] = []
    if steering is not None:
        rules.append(steering.look)
    if c.sequence_bias is not None:
        pairs = c.sequence_bias.items() if isinstance(c.sequence_bias, Mapping) else c.sequence_bias
        biases = {tuple(ids): float(bias) for ids, bias in pairs}
        rules.append(SequenceBias(biases, vocabulary, device, "sequence_bias"))
    if c.repetition_penalty is not None and c.repetition_penalty != 1.0:
        rules.append(repetition_penalty(c.repetition_penalty))
    if c.no_repeat_ngram_size:
        rules.append(no_repeat_ngram(c.no_repeat_ngram_size))
    if c.bad_words_ids is not None:
        bad = {tuple(ids): NEVER for ids in c.bad_words_ids if not (len(ids) == 1 and ids[0] in eos)}
        if bad:
            rules.append(SequenceBias(bad, vocabulary, device, "bad_words_ids"))
    if shortest > 0 and eos:
        rules.append(until(shortest, suppress(mask(eos))))
    if prefix_allowed_tokens_fn is not None:
        assert images is not None
        rules.append(allowed_by(prefix_allowed_tokens_fn, images))
    if c.forced_bos_token_id is not None:
        rules.append(at(1, force([c.forced_bos_token_id], vocabulary, "forced_bos_token_id")))
    if c.forced_eos_token_id is not None:
        ends = [c.forced_eos_token_id] if isinstance(c.forced_eos_token_id, int) else list(c.forced_eos_token_id)
        rules.append(at(longest - 1, force(ends, vocabulary, "forced_eos_token_id")))
    if c.remove_invalid_values:
        rules.append(remove_invalid_values)
    if c.exponential_decay_length_penalty is not None:
        if not eos:
            raise OptionError(
                "exponential_decay_length_penalty makes the end token likelier, but there is none. Set eos_token_id."
            )
        start, factor = c.exponential_decay_length_penalty
        rules.append(length_decay(prompt_length + start, factor, mask(eos)))
    if c.suppress_tokens is not None:
        rules.append(suppress(mask(c.suppress_tokens)))
    if c.begin_suppress_tokens is not None:
        # A forced first token takes the place at which these would have been suppressed.
        forced = prompt_length == 1 and c.forced_bos_token_id is not None
        rules.append(at(prompt_length + forced, suppress(mask(c.begin_suppress_tokens))))
    rules += own
    if steering is not None:
        rules.append(steering)
    if c.do_sample:
        rules += sampling_rules(c, keep=len(eos or [0]) + 1 if c.num_beams > 1 else 1)
    if c.renormalize_logits:
        rules.append(lambda _, scores: scores.log_softmax(-1))
    return rules


def sampling_rules(config: GenerationConfig, keep: int) -> list[Rule]:
    """Return the rules that reshape the distribution before a token is drawn from it.

    Args:
        config: The call's options.
        keep: Tokens that are never removed. Beams need one that is no end token.
    """
    c = config
    rules: list[Rule] = []
    if c.temperature is not None and c.temperature != 1.0:
        temperature = c.temperature
        rules.append(lambda _, scores: scores / temperature)
    if c.top_k:
        rules.append(top_k(max(c.top_k, keep)))
    if c.top_p is not None and c.top_p < 1.0:
        rules.append(top_p(c.top_p, keep))
    if c.min_p is not None:
        rules.append(min_p(c.min_p, keep))
    if c.typical_p is not None and c.typical_p < 1.0:
        rules.append(typical_p(c.typical_p, keep))
    if c.epsilon_cutoff is not None and 0.0 < c.epsilon_cutoff < 1.0:
        rules.append(epsilon_cutoff(c.epsilon_cutoff, keep))
    if c.eta_cutoff is not None and 0.0 < c.eta_cutoff < 1.0:
        rules.append(eta_cutoff(c.eta_cutoff, keep))
    return rules


# ------------------------------------------------------------------------------------------------------ when


def at(length: int, rule: Rule) -> Rule:
    """Apply a rule only where that many tokens stand before the one to be chosen."""
    return lambda ids, scores: rule(ids, scores) if ids.shape[1] == length else scores


def until(length: int, rule: Rule) -> Rule:
    """Apply a rule as long as fewer tokens than that stand before the one to be chosen."""
    return lambda ids, scores: rule(ids, scores) if ids.shape[1] < length else scores


# ------------------------------------------------------------------------------------------------------ ids


def suppress(forbidden: Tensor) -> Rule:
    """Never choose the marked tokens, (V,)."""
    return lambda _, scores: scores.masked_fill(forbidden, NEVER)


def force(tokens: list[int], vocabulary: int, option: str) -> Rule:
    """Choose one of these tokens whatever the scores say."""
    _check_ids(tokens, vocabulary, option)

    def rule(ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, NEVER)
        forced[:, tokens] = 0.0
        return forced

    return rule


def allowed_by(function: PrefixFunction, images: Callable[[], Sequence[int]]) -> Rule:
    """Choose only among what the user's function allows after each row."""

    def rule(ids: Tensor, scores: Tensor) -> Tensor:
        penalty = torch.full_like(scores, NEVER)
        for row, image in enumerate(images()):
            allowed = function(image, ids[row])
            if len(allowed) == 0:
                raise OptionError(
                    f"prefix_allowed_tokens_fn allows no token after {ids[row].tolist()} of image {image}, expected at "
                    "least one id. Return the end token where a text is complete."
                )
            penalty[row, allowed] = 0.0
        return scores + penalty

    return rule


class SequenceBias:
    """Adds a number to the score of a token that would complete one of some sequences.

    Args:
        biases: Number by sequence of ids; minus infinity forbids.
        vocabulary: V.
        device: Where the scores are.
        option: The option's name, for messages.
    """

    def __init__(
        self, biases: Mapping[tuple[int, ...], float], vocabulary: int, device: torch.device, option: str
    ) -> None:
        _check_ids([token for ids in biases for token in ids], vocabulary, option)
        self._single = torch.zeros(vocabulary, device=device)
        self._longer: list[tuple[Tensor, int, float]] = []
        for ids, bias in biases.items():
            if len(ids) == 1:
                self._single[ids[0]] = bias
            else:
                self._longer.append((torch.tensor(ids[:-1], device=device), ids[-1], bias))

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        bias = self._single.expand_as(scores)
        if self._longer:
            bias = bias.clone()
        for start, last, number in self._longer:
            if len(start) < ids.shape[1]:
                here = (ids[:, -len(start) :] == start).all(1)
                bias[:, last] += torch.where(here, number, 0.0)
        return scores + bias


def repetition_penalty(penalty: float) -> Rule:
    """Make each token that is there already less likely (or likelier, below 1)."""

    def rule(ids: Tensor, scores: Tensor) -> Tensor:
        there = scores.gather(1, ids)
        return scores.scatter(1, ids, torch.where(there < 0, there * penalty, there / penalty))

    return rule


def no_repeat_ngram(size: int) -> Rule:
    """Never complete a run of that many tokens that a row holds already."""

    def rule(ids: Tensor, scores: Tensor) -> Tensor:
        length = ids.shape[1]
        if length < size:
            return scores
        runs = ids.unfold(1, size, 1)  # R W size
        begun = ids[:, None, length - size + 1 :]  # R 1 size-1
        row, place = (runs[:, :, :-1] == begun).all(-1).nonzero(as_tuple=True)
        result = scores.clone()
        result[row, runs[row, place, -1]] = NEVER
        return result

    return rule


def length_decay(start: int, factor: float, ends: Tensor) -> Rule:
    """Raise the score of the end tokens, (V,) marked, ever faster once a row has more than ``start`` tokens."""

    def rule(ids: Tensor, scores: Tensor) -> Tensor:
        past = ids.shape[1] - start
        if past <= 0:
            return scores
        # Of the absolute value, so that negative scores rise as well.
        return scores + torch.where(ends, scores.abs() * (factor**past - 1), 0.0)

    return rule


def remove_invalid_values(_: Tensor, scores: Tensor) -> Tensor:
    """Put 0 for what is not a number and the largest finite numbers for the infinite ones."""
    return torch.nan_to_num(scores, nan=0.0)


def _check_ids(ids: Sequence[int], vocabulary: int, option: str) -> None:
    wrong = sorted({token for token in ids if token >= vocabulary})
    if wrong:
        raise OptionError(f"{option} names the ids {wrong}, but the vocabulary ends at {vocabulary - 1}.")


# ------------------------------------------------------------------------------------------------------ sampling


def top_k(count: int) -> Rule:
    """Keep the ``count`` likeliest tokens, and those as likely as the last of them."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        least = scores.topk(min(count, scores.shape[-1])).values[..., -1:]
        return scores.masked_fill(scores < least, NEVER)

    return rule


def top_p(mass: float, keep: int) -> Rule:
    """Keep the fewest tokens that together have that probability."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        ascending, order = scores.sort(descending=False)
        removed = ascending.softmax(-1).cumsum(-1) <= (1 - mass)
        removed[..., -keep:] = False
        return scores.masked_fill(removed.scatter(1, order, removed), NEVER)

    return rule


def min_p(share: float, keep: int) -> Rule:
    """Keep tokens that have at least that share of the likeliest one's probability."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        probabilities = scores.softmax(-1)
        removed = probabilities < share * probabilities.amax(-1, keepdim=True)
        order = scores.argsort(descending=True, dim=-1)
        removed = removed.gather(-1, order)
        removed[..., :keep] = False
        return scores.masked_fill(removed.scatter(1, order, removed), NEVER)

    return rule


def typical_p(mass: float, keep: int) -> Rule:
    """Keep the tokens whose surprise is nearest to the expected one, up to that probability (Meister et al. 2022)."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        logs = scores.log_softmax(-1)
        entropy = -(logs * logs.exp()).nansum(-1, keepdim=True)
        distance, order = (-logs - entropy).abs().sort(descending=False)
        total = scores.gather(-1, order).softmax(-1).cumsum(-1)
        last = (total < mass).sum(1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        removed = distance > distance.gather(1, last)
        removed[..., :keep] = False
        return scores.masked_fill(removed.scatter(1, order, removed), NEVER)

    return rule


def epsilon_cutoff(least: float, keep: int) -> Rule:
    """Keep tokens of at least that probability (Hewitt et al. 2022)."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        return _cut(scores, scores.softmax(-1) < least, keep)

    return rule


def eta_cutoff(least: float, keep: int) -> Rule:
    """Keep tokens of at least that probability, or less where the distribution is flat (Hewitt et al. 2022)."""

    def rule(_: Tensor, scores: Tensor) -> Tensor:
        epsilon = torch.tensor(least, device=scores.device)
        logs = scores - scores.logsumexp(-1, keepdim=True)
        # A forbidden token has probability 0 and adds nothing; without the clamp it would add 0 × -inf.
        entropy = -(logs.clamp(min=torch.finfo(logs.dtype).min) * logs.softmax(-1)).sum(-1)
        eta = torch.minimum(epsilon, epsilon.sqrt() * (-entropy).exp())[..., None]
        return _cut(scores, scores.softmax(-1) < eta, keep)

    return rule


def _cut(scores: Tensor, removed: Tensor, keep: int) -> Tensor:
    least = scores.topk(min(keep, scores.shape[-1])).values[..., -1:]
    return scores.masked_fill(removed & (scores < least), NEVER)
