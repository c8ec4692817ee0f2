"""Pure: which of a node's GPUs a process may use, by what CUDA_VISIBLE_DEVICES says.

CUDA's own rules: the variable lists numbers, or beginnings of UUIDs (`GPU-…`, `MIG-…`), in the
order in which the process counts them; the list ends at the first entry that is no GPU. NVML knows
nothing of it, and numbers are NVML's: they are CUDA's where all GPUs are alike, or where
CUDA_DEVICE_ORDER is PCI_BUS_ID.
"""

from collections.abc import Sequence
from typing import Final

from runtimes.facts import GpuFacts

VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
HIDDEN: Final = f"{VARIABLE} lets this process use no GPU"


def visible(gpus: Sequence[GpuFacts], listed: str | None) -> tuple[GpuFacts, ...]:
    """Return the GPUs that a process may use, in its order.

    A GPU that is cut into MIG instances comes with its instances, which have its number.

    Args:
        gpus: All of the node, instances after the GPU that they are part of.
        listed: The variable's value; None: it is not set, and all can be used.
    """
    if listed is None:
        return tuple(gpus)
    found: list[GpuFacts] = []
    for entry in listed.split(","):
        meant = [gpu for gpu in gpus if _is_meant(gpu, entry.strip())]
        is_one = len({gpu.index for gpu in meant}) == 1
        if not is_one or any(gpu in found for gpu in meant):
            break  # CUDA, too, looks no further
        found += meant
    return tuple(found)


def _is_meant(gpu: GpuFacts, entry: str) -> bool:
    if entry.isascii() and entry.isdecimal():
        return gpu.index == int(entry)
    return entry.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(entry)
