"""Random sets of generation options, the same for each seed: for any model whose loop is to be compared.

``option_set(random, mode, vocabulary=…, eos=…)`` returns keyword arguments that both this package's and transformers'
``generate`` take.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Iterator
from typing import Any

MODES = ("greedy", "beam", "sample", "beam_sample")


def option_set(random: random_module.Random, mode: str, *, vocabulary: int, eos: int) -> dict[str, Any]:
    """Return one set: what the mode needs, and a few of all other options.

    Args:
        random: Where the choices come from.
        mode: One of `MODES`.
        vocabulary: Ids to name in options are below it.
        eos: The end token, which is also given as one of several in some sets.
    """

    def ids(most: int) -> list[int]:
        return [random.randrange(3, vocabulary) for _ in range(random.randint(1, most))]

    others: dict[str, Callable[[], Any]] = {
        "min_length": lambda: random.randint(1, 8),
        "min_new_tokens": lambda: random.randint(1, 8),
        "repetition_penalty": lambda: random.choice([0.7, 1.2, 1.8]),
        "no_repeat_ngram_size": lambda: random.randint(1, 4),
        "bad_words_ids": lambda: [ids(3) for _ in range(random.randint(1, 4))] + [[eos]],
        "sequence_bias": lambda: [[ids(3), random.uniform(-6, 6)] for _ in range(random.randint(1, 5))],
        "suppress_tokens": lambda: ids(10),
        "begin_suppress_tokens": lambda: [*ids(10), eos],
        "forced_bos_token_id": lambda: random.randrange(vocabulary),
        "forced_eos_token_id": lambda: eos,
        "exponential_decay_length_penalty": lambda: (random.randint(0, 5), random.choice([1.05, 1.3, 2.0])),
        "remove_invalid_values": lambda: True,
        "renormalize_logits": lambda: True,
        "eos_token_id": lambda: [eos, *ids(2)],
    }
    beams = {
        "early_stopping": lambda: random.choice([False, True, "never"]),
        "length_penalty": lambda: random.choice([-1.0, 0.0, 0.5, 1.0, 2.0]),
    }
    sampling = {
        "temperature": lambda: random.choice([0.3, 0.7, 1.5]),
        "top_k": lambda: random.choice([0, 3, 10]),
        "top_p": lambda: random.choice([0.3, 0.8, 0.95]),
        "min_p": lambda: random.choice([0.02, 0.2]),
        "typical_p": lambda: random.choice([0.3, 0.8]),
        "epsilon_cutoff": lambda: random.choice([1e-3, 2e-2]),
        "eta_cutoff": lambda: random.choice([1e-3, 2e-2]),
    }

    def some(table: dict[str, Callable[[], Any]], most: int) -> dict[str, Any]:
        chosen = random.sample(sorted(table), random.randint(0, min(most, len(table))))
        return {name: table[name]() for name in chosen}

    options: dict[str, Any] = some(others, 4)
    if random.random() < 0.5:
        options["max_new_tokens"] = random.randint(1, 16)
    else:
        options["max_length"] = random.randint(4, 20)
    if "beam" in mode:
        options |= {"num_beams": random.randint(2, 5)} | some(beams, 2)
    if "sample" in mode:
        options |= {"do_sample": True} | some(sampling, 3)
    if mode != "greedy" and random.random() < 0.5:
        options["num_return_sequences"] = random.randint(1, options.get("num_beams", 3))
    return options


def option_sets(count: int, *, seed: int, vocabulary: int, eos: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(mode, options)``, the modes in turn."""
    random = random_module.Random(seed)
    for number in range(count):
        mode = MODES[number % len(MODES)]
        yield mode, option_set(random, mode, vocabulary=vocabulary, eos=eos)
