"""Are all parameters and buffers of a loaded module where it was asked to run?

A module that was traced or exported with a tensor pinned to one device keeps it there, whatever the
rest is moved to, and fails at its first run with a message about two devices. Imports torch.
"""

from collections.abc import Iterable
from typing import Final

import torch

from runtimes.devices import Device
from runtimes.errors import ModelLoadError

CODE: Final = "BP-T06"
NAMED: Final = 3


def require_on_device(tensors: Iterable[tuple[str, torch.Tensor]], device: Device) -> None:
    """Refuse a module with a parameter or buffer elsewhere.

    Args:
        tensors: Names and tensors of its state.
        device: Where it was asked to run.

    Raises:
        ModelLoadError: Some are elsewhere; they are named.
    """
    wanted = torch.device(str(device))
    elsewhere = [(name, tensor.device) for name, tensor in tensors if tensor.device != wanted]
    if elsewhere:
        named = ", ".join(f"{name} is on {where}" for name, where in elsewhere[:NAMED])
        more = f" (and {len(elsewhere) - NAMED} more)" if len(elsewhere) > NAMED else ""
        raise ModelLoadError(
            f"{CODE} the model asks for {device}, and {named}{more}: move the whole module to one "
            "device before it is exported, its buffers included",
            finding=CODE,
        )
