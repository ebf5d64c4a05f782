"""What turns gradients into better weights: the optimisers, the learning rate's course, the averaged weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from vision2seq.errors import MissingPackageError, OptionError
from vision2seq.training.settings import TrainingSettings

DECAYS = ("cosine", "linear", "constant")


def rate_at(progress: float, *, warmup: float, decay: str) -> float:
    """The learning rate as a share of the highest one.

    It rises in a straight line over the warm-up, then falls to 0 along half a cosine or a straight line, or stays.

    Args:
        progress: Share of the training that is done, 0 to 1.
        warmup: Share of the training over which it rises.
        decay: ``"cosine"``, ``"linear"`` or ``"constant"``.
    """
    if progress < warmup:
        return progress / warmup
    left = 1 - (progress - warmup) / (1 - warmup)
    return {"cosine": (1 - math.cos(math.pi * left)) / 2, "linear": left, "constant": 1.0}[decay]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters for an optimiser: matrices decay, vectors do not.

    Vectors are the norms' weights, all biases, and single embeddings such as a class token of shape (1, 1, D): pulling
    those to zero does not make a model simpler.

    Raises:
        OptionError: Nothing is trainable.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise OptionError("Nothing is left to train: all parameters are frozen. Freeze less.")

    def is_vector(parameter: nn.Parameter) -> bool:
        return sum(size > 1 for size in parameter.shape) <= 1

    return [
        {"params": [each for each in trainable if not is_vector(each)], "weight_decay": weight_decay},
        {"params": [each for each in trainable if is_vector(each)], "weight_decay": 0.0},
    ]


def optimizers_for(model: nn.Module, settings: TrainingSettings) -> list[torch.optim.Optimizer]:
    """The optimisers of a training; each group of parameters has its highest learning rate as ``peak``.

    Muon is for matrices between hidden states, which here are those inside a list of layers; embeddings and the
    projection to the vocabulary are AdamW's (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
    networks"). Its updates are scaled to the size of AdamW's (Liu et al. 2025, "Muon is Scalable for LLM Training").

    Raises:
        OptionError: Nothing is trainable.
        MissingPackageError: Muon is wanted, and this torch has none.
    """
    groups = parameter_groups(model, settings.weight_decay)
    if settings.optimizer == "adamw":
        adamw = torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas)
        return [_with_peak(adamw, settings.rate)]
    if not hasattr(torch.optim, "Muon"):
        raise MissingPackageError(
            f"optimizer='muon' was asked for, and torch {torch.__version__} has no Muon; expected 2.9 or newer. "
            "Install that, or leave it at 'adamw'."
        )
    hidden = {id(each) for each in _hidden_matrices(model)}
    matrices = [each for each in groups[0]["params"] if id(each) in hidden]
    groups[0]["params"] = [each for each in groups[0]["params"] if id(each) not in hidden]
    rate = settings.rate if settings.muon_rate is None else settings.muon_rate
    found = [_with_peak(torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas), settings.rate)]
    if matrices:
        muon = torch.optim.Muon(matrices, lr=rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw")
        found.append(_with_peak(muon, rate))
    return found


def _hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The matrices of modules in lists of layers, without embeddings."""
    return [
        parameter
        for layers in model.modules()
        if isinstance(layers, nn.ModuleList)
        for module in layers.modules()
        if not isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
        if parameter.ndim == 2
    ]


def _with_peak(optimizer: torch.optim.Optimizer, rate: float) -> torch.optim.Optimizer:
    for group in optimizer.param_groups:
        group["peak"] = rate
    return optimizer


class Average:
    """An exponential moving average of a model's weights, which reads better than the weights of any one step.

    Args:
        model: What is averaged; a copy is kept, in evaluation mode.
        decay: Share of the old average that a step keeps, 0 to 1; less in the first steps, so that the average
            does not remember where the training began.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights after a step.

        Args:
            model: Of the same shape.
            step: How many steps there were.
        """
        keep = min(self.decay, step / (step + 10))
        pairs = list(zip(self.model.parameters(), model.parameters(), strict=True))
        moving = [(old, new) for old, new in pairs if new.requires_grad]
        torch._foreach_lerp_([old for old, _ in moving], [new.detach() for _, new in moving], 1 - keep)
        for old, new in zip(self.model.buffers(), model.buffers(), strict=True):
            old.copy_(new)
