"""The settings of a training, checked in one place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vision2seq.errors import OptionError, UnknownOptionError, nearest

OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a training goes, whatever is trained on whatever.

    Its length is told in steps or in minutes, one of the two. In minutes, the learning rate follows the clock, so two
    trainings never are the same to the last bit; in steps they are.

    Attributes:
        steps: How many times the weights are changed.
        minutes: How long it trains; validations, saving and interruptions do not count.
        optimizer: ``"adamw"``; or ``"muon"`` for the matrices of the layers and AdamW for all else, with which a model
            that starts from fresh weights learns several times as fast.
        rate: The highest learning rate.
        muon_rate: The same for what Muon changes; as ``rate`` if not given. Steps of the two are of like size at like
            rates.
        warmup: Share of the training over which the rate rises to it.
        decay: How it falls then, ``"cosine"``, ``"linear"`` or ``"constant"``.
        weight_decay: On matrices only.
        betas: AdamW's.
        clip: Longest gradient; longer ones are shortened to it. 0 leaves them.
        accumulate: Batches whose gradients make up one step.
        bf16: Compute in bfloat16 where that is safe; weights and sums stay float32.
        average: Decay of the moving average of the weights, which is what is validated and kept; 0 keeps the last ones.
        validate_every: Steps (or minutes, if the length is told in minutes) between validations; a twentieth of the
            whole if not given.
        save_every: The same between savings of the state beyond those, one of which goes with every validation.
        log_every: Steps that a line of the log sums up.
        patience: End after so many validations without a better one; None never does.
        seed: Of everything random.
    """

    steps: int | None = None
    minutes: float | None = None
    optimizer: str = "adamw"
    rate: float = 5e-5
    muon_rate: float | None = None
    warmup: float = 0.05
    decay: str = "cosine"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    accumulate: int = 1
    bf16: bool = False
    average: float = 0.999
    validate_every: float | None = None
    save_every: float | None = None
    log_every: int = 10
    patience: int | None = None
    seed: int = 0

    # Those that change nothing about what is learned, so that a training can go on with others.
    free: ClassVar[frozenset[str]] = frozenset({"save_every"})

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Any:
        """The settings of some keyword arguments.

        Raises:
            UnknownOptionError: A name that is no setting.
            OptionError: A value that cannot be honoured.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise UnknownOptionError(
                    f"A training has no setting {name!r}.{nearest(name, known)} It has: {', '.join(known)}."
                )
        return cls(**values)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            OptionError: One that cannot be honoured.
        """
        for wrong, message in self.conflicts():
            if wrong:
                raise OptionError(message)

    @property
    def length(self) -> float:
        """Steps or minutes in all."""
        length = self.minutes if self.steps is None else self.steps
        assert length is not None
        return length

    def conflicts(self) -> Iterator[tuple[bool, str]]:
        """Whether something is wrong, and what, for everything that can be."""
        s = self
        yield s.steps is not None and s.minutes is not None, "Both steps and minutes are given; expected one of them."
        for name in ("steps", "accumulate", "log_every", "patience"):
            value = getattr(s, name)
            yield (
                value is not None and not (_whole(value) and value >= 1),
                f"{name} is {value!r}, expected a whole number from 1.",
            )
        for name in ("minutes", "rate", "muon_rate", "validate_every", "save_every"):
            value = getattr(s, name)
            yield value is not None and not (_number(value) and value > 0), f"{name} is {value!r}, expected above 0."
        for name in ("validate_every", "save_every"):
            value = getattr(s, name)
            yield (
                value is not None and s.minutes is None and value != int(value),
                f"{name} is {value!r}, expected a whole number of steps.",
            )
        for name in ("weight_decay", "clip"):
            value = getattr(s, name)
            yield not (_number(value) and value >= 0), f"{name} is {value!r}, expected a number from 0."
        for name, value in (("warmup", s.warmup), ("average", s.average), *(("betas", beta) for beta in s.betas)):
            yield not (_number(value) and 0 <= value < 1), f"{name} is {value!r}, expected from 0 to below 1."
        yield len(s.betas) != 2, f"betas are {s.betas!r}, expected two numbers."
        yield (
            s.decay not in ("cosine", "linear", "constant"),
            f"decay is {s.decay!r}, expected 'cosine', 'linear' or 'constant'.",
        )
        yield s.optimizer not in OPTIMIZERS, f"optimizer is {s.optimizer!r}, expected 'adamw' or 'muon'."
        yield (
            s.muon_rate is not None and s.optimizer != "muon",
            "muon_rate is given, but the optimizer is AdamW; expected optimizer='muon' beside it.",
        )
        yield not _whole(s.seed), f"seed is {s.seed!r}, expected a whole number."

    def fixed(self) -> dict[str, Any]:
        """The settings that a training cannot change on its way, as JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if name not in self.free
        }


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
