"""Modules to script for `planted_models`: right, one that crashes, one that leaks.

Importing this module imports torch.
"""

import io
import warnings

import torch
from torch import Tensor, nn


class Right(nn.Module):
    """y = x + 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Add one."""
        return x + 1


class Crashing(nn.Module):
    """y = x + 1, but native code reads far outside its memory for some rows."""

    def __init__(self, limit: float) -> None:
        """Crash for a row whose first value is above the limit."""
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        """Add one, or end the process."""
        if bool((x[:, 0] > self.limit).any()):
            lengths = torch.full([1], 1 << 40, dtype=torch.long)
            return torch.segment_reduce(x, "sum", lengths=lengths, axis=0, unsafe=True)
        return x + 1


class Leaking(nn.Module):
    """y = x + 1, and each run keeps memory for ever."""

    kept: list[Tensor]

    def __init__(self, element_count: int) -> None:
        """Keep so many numbers for each run."""
        super().__init__()
        self.element_count = element_count
        self.kept = []

    def forward(self, x: Tensor) -> Tensor:
        """Add one."""
        self.kept.append(torch.ones(self.element_count))
        return x + 1


def scripted(module: nn.Module) -> bytes:
    """Script a module and return the archive's bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated, and served
        torch.jit.save(torch.jit.script(module.eval()), buffer)
    return buffer.getvalue()
