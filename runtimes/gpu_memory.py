"""How much memory of a GPU loading and running something takes, as NVML shows it.

Engines keep what they took for later runs, so what is held after a run is what was needed at most.
CUDA's own context is in it: a worker that loads the model has one, too. Where NVML names this
process, its memory counts; where it does not (another pid namespace), the device's, and then a
neighbour that takes memory meanwhile counts as well.
"""

import os
from dataclasses import dataclass
from typing import Final

from runtimes.devices import Device
from runtimes.gpu_probe import Nvml, NvmlRefusalError, if_told, probe_gpus

NOTHING: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was measured."""

    size_bytes: int
    """0: nothing could be measured."""
    note: str = ""
    """What it stands for, or why there is no figure."""


class GpuMeter:
    """Measures from its creation on: `look` after each step, `taken` at the end."""

    def __init__(self, nvml: Nvml, device: Device, listed: str | None = None) -> None:
        """Note what is held before.

        Args:
            nvml: Where GPUs are asked for.
            device: The device, as this process counts them.
            listed: What CUDA_VISIBLE_DEVICES says; None: it is not set.
        """
        self._nvml = nvml
        self._problem = ""
        self._uuid = ""
        seen = probe_gpus(nvml, listed)
        usable = [gpu for gpu in seen.gpus if not gpu.is_mig]
        if device.index < len(usable):
            self._uuid = usable[device.index].uuid
        else:
            self._problem = seen.problem or f"NVML shows no {device}"
        self._before = self._held()
        self._highest = self._before

    def look(self) -> None:
        """Note what is held now."""
        held = self._held()
        self._highest = _Held(
            device_bytes=max(self._highest.device_bytes, held.device_bytes),
            own_bytes=max(self._highest.own_bytes, held.own_bytes),
        )

    def taken(self) -> Taken:
        """Return how much the looks showed beyond what was held before."""
        if self._problem:
            return Taken(size_bytes=NOTHING, note=f"GPU memory was not measured: {self._problem}")
        own = self._highest.own_bytes
        if own:
            return Taken(size_bytes=own - self._before.own_bytes)
        rise = max(0, self._highest.device_bytes - self._before.device_bytes)
        note = "GPU memory is the whole device's: NVML does not tell this process's"
        return Taken(size_bytes=rise, note=note)

    def _held(self) -> "_Held":
        if self._problem:
            return _Held(device_bytes=0, own_bytes=0)
        try:
            self._nvml.ask("Init")
        except NvmlRefusalError as error:
            self._problem = str(error)
            return _Held(device_bytes=0, own_bytes=0)
        try:
            handle = self._nvml.ask("DeviceGetHandleByUUID", self._uuid)
            memory = self._nvml.ask("DeviceGetMemoryInfo", handle)
            return _Held(
                device_bytes=int(memory.total) - int(memory.free), own_bytes=self._own(handle)
            )
        except NvmlRefusalError as error:
            self._problem = str(error)
            return _Held(device_bytes=0, own_bytes=0)
        finally:
            if_told(self._nvml, "Shutdown")

    def _own(self, handle: object) -> int:
        try:
            processes = self._nvml.ask("DeviceGetComputeRunningProcesses", handle)
        except NvmlRefusalError:
            return 0  # not every device tells
        return sum(int(one.usedGpuMemory or 0) for one in processes if one.pid == os.getpid())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What is held at one moment."""

    device_bytes: int
    own_bytes: int
    """0: NVML does not name this process."""
