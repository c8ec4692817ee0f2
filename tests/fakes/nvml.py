"""An NVML of made-up GPUs that keeps the real one's promises: what is unknown is refused."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from runtimes.gpu_probe import NOT_FOUND, NvmlRefusalError

NOT_SUPPORTED: Final = 3
TIMEOUT: Final = 10
GPU_IS_LOST: Final = 15
LIBRARY_NOT_FOUND: Final = 12
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """NVML's struct of a device's memory."""

    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """NVML's struct of a process on a device."""

    pid: int
    usedGpuMemory: int | None  # noqa: N815  NVML's name


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeGpu:
    """A device by what its functions answer; a function that is not listed is not supported.

    An answer that is a dictionary depends on the arguments after the device.
    """

    answers: Mapping[str, object]
    instances: Sequence["FakeGpu"] = ()
    """MIG instances; an empty place stands between each two."""


def fake_gpu(**changes: object) -> FakeGpu:
    """Return a T4 as the real NVML answers for it, with some answers changed."""
    instances = changes.pop("instances", ())
    assert isinstance(instances, tuple)
    answers: dict[str, object] = {
        "DeviceGetUUID": "GPU-4a0b1c2d-0000-1111-2222-333344445555",
        "DeviceGetName": "Tesla T4",
        "DeviceGetMemoryInfo": Memory(total=15360 * MIB, free=14918 * MIB),
        "DeviceGetCudaComputeCapability": (7, 5),
        "DeviceGetComputeMode": 0,
        "DeviceGetComputeRunningProcesses": [],
        "DeviceGetMaxMigDeviceCount": 2 * len(instances),
    }
    return FakeGpu(answers=answers | changes, instances=instances)


@dataclass(frozen=True, slots=True)
class Event:
    """NVML's struct of an event."""

    device: FakeGpu
    eventData: int  # noqa: N815  NVML's name


@dataclass(frozen=True, slots=True)
class Rates:
    """NVML's struct of use, in percent."""

    gpu: int
    memory: int


@dataclass(slots=True)
class FakeNvml:
    """Answers for a node; with `problem` its library refuses to start."""

    gpus: Sequence[FakeGpu] = ()
    driver: str = "580.159.03"
    cuda: int = 13000
    problem: tuple[int, str] | None = None
    last_problem: tuple[int, str] | None = None
    """Why it cannot be left."""
    open_count: int = field(default=0, init=False)
    xids: list[tuple[FakeGpu | None, int]] = field(default_factory=list)
    """Errors that nobody has heard of yet; of no GPU: one that is lost."""
    heard: set[str] = field(default_factory=set, init=False)
    """UUIDs of the GPUs whose errors somebody wants to hear."""
    set_count: int = field(default=0, init=False)
    """Event sets that were made and not freed."""

    def ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401  as the real one
        """Answer; see `runtimes.gpu_probe.Nvml`."""
        if function == "Init":
            if self.problem is not None:
                raise NvmlRefusalError(*self.problem)
            self.open_count += 1
            return None
        if self.open_count == 0:
            raise NvmlRefusalError(1, "Uninitialized")
        if function == "Shutdown":
            self.open_count -= 1
            if self.last_problem is not None:
                raise NvmlRefusalError(*self.last_problem)
            return None
        return self._answer(function, arguments)

    def _answer(self, function: str, arguments: tuple[object, ...]) -> object:
        of_node: dict[str, object] = {
            "DeviceGetCount": len(self.gpus),
            "SystemGetDriverVersion": self.driver,
            "SystemGetCudaDriverVersion_v2": self.cuda,
        }
        if function in of_node:
            return of_node[function]
        if function.startswith("EventSet"):
            return self._of_events(function)
        first = arguments[0]
        if function.startswith("DeviceGetHandleBy"):
            return self.gpus[first] if isinstance(first, int) else _by_uuid(self.gpus, first)
        assert isinstance(first, FakeGpu)
        if function == "DeviceRegisterEvents":
            return self.heard.add(str(first.answers.get("DeviceGetUUID", "")))
        return _of_gpu(first, function, arguments[1:])

    def _of_events(self, function: str) -> object:
        if function != "EventSetWait_v2":
            self.set_count += 1 if function == "EventSetCreate" else -1
            return object()
        if not self.xids:
            raise NvmlRefusalError(TIMEOUT, "Timeout")
        gpu, number = self.xids.pop(0)
        if gpu is None:
            raise NvmlRefusalError(GPU_IS_LOST, "GPU is lost")
        return Event(gpu, number)


def _of_gpu(gpu: FakeGpu, function: str, arguments: tuple[object, ...]) -> object:
    if function == "DeviceGetMigDeviceHandleByIndex":
        return _instance(gpu, arguments[0])
    if function not in gpu.answers:
        raise NvmlRefusalError(NOT_SUPPORTED, "Not Supported")
    found = gpu.answers[function]
    return found[arguments] if isinstance(found, dict) else found


def _by_uuid(gpus: Sequence[FakeGpu], uuid: object) -> FakeGpu:
    for whole in gpus:
        for part in (whole, *whole.instances):
            if part.answers["DeviceGetUUID"] == uuid:
                return part
    raise NvmlRefusalError(NOT_FOUND, "Not Found")


def _instance(gpu: FakeGpu, place: object) -> FakeGpu:
    assert isinstance(place, int)
    if place % 2 == 0:
        raise NvmlRefusalError(NOT_FOUND, "Not Found")
    return gpu.instances[place // 2]


NO_LIBRARY: Final = (LIBRARY_NOT_FOUND, "NVML Shared Library Not Found")
OWN_PID: Final = os.getpid()
