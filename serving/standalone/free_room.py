"""What is free on this machine now."""

from collections.abc import Callable, Sequence

from runtimes.gpu_probe import SystemNvml, probe_gpus
from runtimes.memory import free_memory_bytes
from serving.registry.rollouts.forecast import Room


def free_room(gpus: Sequence[str]) -> Callable[[], Room]:
    """Return what measures the free memory of this machine and of the GPUs in use."""

    def measure() -> Room:
        seen = probe_gpus(SystemNvml(), ",".join(gpus)).gpus if gpus else ()
        free = (gpu.free_memory_bytes for gpu in seen)
        return Room(host_bytes=free_memory_bytes(), gpu_bytes=max(free, default=0))

    return measure
