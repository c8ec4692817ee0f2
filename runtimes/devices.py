"""Where a model runs: `cpu` or `cuda:N`."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from runtimes.errors import InvalidArgumentError

DEVICE: Final = re.compile(r"(cpu)|cuda(?::(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class Device:
    """A device of this node; `index` counts the devices that this process can see."""

    kind: Literal["cpu", "cuda"]
    index: int = 0

    def __str__(self) -> str:
        """Print as operators write it."""
        return "cpu" if self.kind == "cpu" else f"cuda:{self.index}"


CPU: Final = Device("cpu")


def device(text: str) -> Device:
    """Parse `cpu`, `cuda` or `cuda:N`.

    Raises:
        InvalidArgumentError: It is none of them.
    """
    found = DEVICE.fullmatch(text)
    if found is None:
        raise InvalidArgumentError(f"unknown device '{text[:40]}': write cpu, cuda or cuda:N")
    if found[1]:
        return CPU
    return Device("cuda", int(found[2] or 0))
