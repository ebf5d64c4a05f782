"""One process, or several on several devices or machines: the few things in which they differ for a training.

Several are the business of `accelerate`, an optional package. It gives each its device and sums gradients; it does
nothing else here. ``accelerate launch`` or ``torchrun`` start them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from vision2seq.errors import MissingPackageError, OptionError


class Processes:
    """The only process there is.

    Args:
        device: Where it computes.

    Raises:
        OptionError: A device that is not there.

    Attributes:
        index: This process's number, from 0.
        count: How many there are.
        device: Where this one computes.
    """

    index: int = 0
    count: int = 1

    def __init__(self, device: str | torch.device = "cpu") -> None:
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
            found = str(error).splitlines()[0]
            raise OptionError(
                f"The device {str(device)!r} cannot be used ({found}). Expected one such as 'cpu' or 'cuda'."
            ) from None

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes files."""
        return self.index == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Put a model on the device, so that its gradients are the mean over all processes."""
        return model.to(self.device)

    def alone(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Within this, gradients of a wrapped model stay with their process."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes."""
        return list(numbers)

    def gather(self, items: Sequence[Any]) -> list[Any]:
        """The items of all processes, those of process 0 first."""
        return list(items)

    def wait(self) -> None:
        """Until all processes are here."""


class Accelerated(Processes):
    """One of the processes that `accelerate` started.

    Args:
        device: ``"cpu"`` keeps off the GPUs.

    Raises:
        MissingPackageError: `accelerate` is not installed.
    """

    def __init__(self, device: str | torch.device | None = None) -> None:
        try:
            accelerate: Any = importlib.import_module("accelerate")
        except ImportError as error:
            raise MissingPackageError(
                f"Training in several processes needs accelerate, which is not installed ({error}). Type: "
                "pip install 'vision2seq[accelerate]'"
            ) from None
        # An encoder's pooler is never used, and whoever freezes or drops layers has more parameters like that.
        unused = accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator = accelerate.Accelerator(cpu=str(device) == "cpu", kwargs_handlers=[unused])
        self._gather: Any = importlib.import_module("accelerate.utils").gather_object
        super().__init__(self._accelerator.device)
        self.index, self.count = self._accelerator.process_index, self._accelerator.num_processes

    def wrap(self, model: nn.Module) -> nn.Module:
        wrapped: nn.Module = self._accelerator.prepare_model(model)
        return wrapped

    def alone(self, model: nn.Module) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._accelerator.no_sync(model)
        return context

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def sum(self, numbers: Sequence[float]) -> list[float]:
        kind = torch.float32 if self.device.type == "mps" else torch.float64
        sums = self._accelerator.reduce(torch.tensor(list(numbers), dtype=kind, device=self.device), "sum")
        return [float(number) for number in sums.tolist()]

    def gather(self, items: Sequence[Any]) -> list[Any]:
        return list(self._gather(list(items)))

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


def processes_for(device: str | torch.device | None = None, *, accelerate: bool = False) -> Processes:
    """What this process is: one of several if it was started as such or if it was asked for, alone otherwise.

    Args:
        device: Such as ``"cuda"``; a GPU if there is one and nothing is said.
        accelerate: Use `accelerate` also where nothing says that there are several processes.

    Raises:
        MissingPackageError: `accelerate` is needed and not installed.
    """
    launched = int(os.environ.get("WORLD_SIZE") or 1) > 1
    if accelerate or launched:
        return Accelerated(device)
    return Processes(device or ("cuda" if torch.cuda.is_available() else "cpu"))
