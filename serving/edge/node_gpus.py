"""The GPUs of this node, in CUDA's spelling and order: what clients' device ids count."""

from collections.abc import Sequence
from typing import Final

import pynvml

from serving.settings import Settings

HIDDEN: Final = frozenset({"", "-1", "NoDevFiles"})


def node_gpus(chosen: str | None) -> tuple[str, ...]:
    """Return the GPUs in CUDA's own spelling; empty where there is no driver, or none is meant.

    Args:
        chosen: What CUDA_VISIBLE_DEVICES says; None: all that the driver has.
    """
    if chosen is not None:
        return tuple(gpu for gpu in chosen.split(",") if gpu not in HIDDEN)
    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ()
    return tuple(str(number) for number in range(count))


def shared_gpus(settings: Settings) -> tuple[str, ...]:
    """Return the GPUs of a node on which clients may share memory, where Ray gives them out.

    Ray hides them from processes that asked for none, so the driver is asked.
    """
    return node_gpus(None) if settings.cuda_shared_memory else ()


def seen_devices(settings: Settings, devices: str, gpus: Sequence[str]) -> str:
    """Return what a worker sees, as CUDA_VISIBLE_DEVICES lists it.

    A worker without GPUs sees the node's where clients may share memory there: to copy, not to run.

    Args:
        settings: Of the instance.
        devices: What the worker was given for its models.
        gpus: All that the node may use.
    """
    return devices or (",".join(gpus) if settings.cuda_shared_memory else "")
