"""Asks NVML for the node's GPUs. Starts nothing on a GPU and takes no memory there.

A GPU that is cut into MIG instances is listed with `is_mig`, and its instances after it, each as a
GPU of its own size: only they can be used.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import pynvml

from runtimes.facts import GpuFacts
from runtimes.gpu_visible import HIDDEN, visible

COMPUTE_MODES: Final = ("default", "exclusive_process", "prohibited", "exclusive_process")
"""By NVML's number; 1, exclusive_thread, is what old drivers called exclusive_process."""
NOT_FOUND: Final = 6


class NvmlRefusalError(Exception):
    """NVML did not answer a question.

    Args:
        code: NVML's number for the reason.
        text: NVML's words for it.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Nvml(Protocol):
    """NVML by the names of its functions."""

    def ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401  handles and structs
        """Call a function, named without its leading `nvml`.

        Raises:
            NvmlRefusalError: It does not know, may not tell, or there is no NVML.
        """


class SystemNvml:
    """The NVML of the installed driver."""

    def ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401  handles and structs
        """Call a function; see `Nvml.ask`."""
        try:
            return getattr(pynvml, f"nvml{function}")(*arguments)
        except pynvml.NVMLError as error:
            raise NvmlRefusalError(int(error.value), str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """What NVML tells of a node."""

    driver: str = ""
    driver_cuda: str = ""
    gpus: tuple[GpuFacts, ...] = ()
    problem: str = ""


def probe_gpus(nvml: Nvml, listed: str | None = None) -> Gpus:
    """Return driver and GPUs; where there are none, the reason in NVML's words.

    Args:
        nvml: Where GPUs are asked for.
        listed: What CUDA_VISIBLE_DEVICES says; None: all GPUs can be used.
    """
    try:
        nvml.ask("Init")
    except NvmlRefusalError as error:
        return Gpus(problem=str(error))
    try:
        return _usable(_everything(nvml), listed)
    except NvmlRefusalError as error:
        return Gpus(problem=str(error))
    finally:
        if_told(nvml, "Shutdown")


def cuda_text(number: int) -> str:
    """Return a CUDA version for people: 13000 is `13.0`."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _usable(seen: Gpus, listed: str | None) -> Gpus:
    kept = visible(seen.gpus, listed)
    problem = HIDDEN if seen.gpus and not kept else seen.problem
    return replace(seen, gpus=kept, problem=problem)


def _everything(nvml: Nvml) -> Gpus:
    found: list[GpuFacts] = []
    for index in range(int(nvml.ask("DeviceGetCount"))):
        handle = nvml.ask("DeviceGetHandleByIndex", index)
        gpu = _gpu(nvml, handle, index)
        found.append(gpu)
        if gpu.is_mig:
            found += _instances(nvml, handle, gpu)
    return Gpus(
        driver=str(nvml.ask("SystemGetDriverVersion")),
        driver_cuda=cuda_text(int(nvml.ask("SystemGetCudaDriverVersion_v2"))),
        gpus=tuple(found),
        problem="" if found else "the driver shows no GPU to this process",
    )


def _gpu(nvml: Nvml, handle: object, index: int) -> GpuFacts:
    major, minor = nvml.ask("DeviceGetCudaComputeCapability", handle)
    memory = if_told(nvml, "DeviceGetMemoryInfo", handle)
    mode = if_told(nvml, "DeviceGetComputeMode", handle) or 0
    mig = if_told(nvml, "DeviceGetMigMode", handle) or (0, 0)
    return GpuFacts(
        index=index,
        uuid=str(nvml.ask("DeviceGetUUID", handle)),
        name=str(nvml.ask("DeviceGetName", handle)),
        memory_bytes=0 if memory is None else int(memory.total),
        free_memory_bytes=0 if memory is None else int(memory.free),
        compute_capability=(int(major), int(minor)),
        is_mig=int(mig[0]) == 1,
        compute_mode=COMPUTE_MODES[int(mode)],
        other_process_bytes=_others_bytes(nvml, handle),
    )


def _instances(nvml: Nvml, handle: object, parent: GpuFacts) -> Iterator[GpuFacts]:
    """Yield the MIG instances of a GPU; places may be empty."""
    for place in range(int(nvml.ask("DeviceGetMaxMigDeviceCount", handle))):
        try:
            instance = nvml.ask("DeviceGetMigDeviceHandleByIndex", handle, place)
        except NvmlRefusalError as error:
            if error.code == NOT_FOUND:
                continue
            raise
        memory = nvml.ask("DeviceGetMemoryInfo", instance)
        yield replace(
            parent,
            uuid=str(nvml.ask("DeviceGetUUID", instance)),
            name=str(nvml.ask("DeviceGetName", instance)),
            memory_bytes=int(memory.total),
            free_memory_bytes=int(memory.free),
            is_mig=False,
            other_process_bytes=_others_bytes(nvml, instance),
        )


def _others_bytes(nvml: Nvml, handle: object) -> int:
    """Return the memory that other processes hold; 0 where NVML does not show them."""
    processes = if_told(nvml, "DeviceGetComputeRunningProcesses", handle) or ()
    own = os.getpid()
    return sum(int(item.usedGpuMemory or 0) for item in processes if item.pid != own)


def if_told(nvml: Nvml, function: str, *arguments: object) -> Any:  # noqa: ANN401  NVML's structs
    """Ask what not every GPU knows; None where this one does not, or may not tell."""
    try:
        return nvml.ask(function, *arguments)
    except NvmlRefusalError:
        return None
