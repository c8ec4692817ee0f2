"""Which GPUs this process may hand to its workers."""

from typing import Final

import pynvml

from serving.settings import inherited_environment

HIDDEN: Final = frozenset({"", "-1", "NoDevFiles"})


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs in CUDA's own spelling; empty where there is no driver, or none is meant."""
    chosen = inherited_environment().get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(gpu for gpu in chosen.split(",") if gpu not in HIDDEN)
    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ()
    return tuple(str(number) for number in range(count))
