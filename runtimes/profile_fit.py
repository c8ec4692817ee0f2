"""Pure: does a node fit a hardware profile, and which requirement does it miss?

GPUs are judged together: a profile fits if as many usable GPUs as it asks for meet all of its
requirements at once. Free memory plays no part; it is another one a second later.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from runtimes.facts import GpuFacts, NodeFacts
from runtimes.profile import GIB, NEWEST_CAPABILITY, HardwareProfile


class Requirement(StrEnum):
    """What a node may miss."""

    CPU_COUNT = "cpu_count"
    CPU_FLAGS = "cpu_flags"
    MEMORY = "memory"
    GPU_COUNT = "gpu_count"
    GPU_MEMORY = "gpu_memory"
    COMPUTE_CAPABILITY = "compute_capability"
    DRIVER = "driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """One requirement that a node does not meet."""

    requirement: Requirement
    found: str
    required: str
    fix: str

    def __str__(self) -> str:
        """Print as one line for people."""
        return f"{self.requirement}: {self.found}, needs {self.required}: {self.fix}"


def misfits(profile: HardwareProfile, facts: NodeFacts) -> tuple[Misfit, ...]:
    """Return every requirement of a profile that a node misses; none where it fits."""
    found = [*_processor(profile, facts)]
    if profile.device == "cuda":
        found += _driver(profile, facts)
        found += _gpus(profile, facts)
    return tuple(found)


def first_fit(
    profiles: Iterable[HardwareProfile], facts: NodeFacts
) -> tuple[HardwareProfile | None, dict[str, tuple[Misfit, ...]]]:
    """Return the first profile that a node fits, and by name why the ones before it did not.

    Args:
        profiles: In order of preference.
        facts: The node.
    """
    refused: dict[str, tuple[Misfit, ...]] = {}
    for profile in profiles:
        missed = misfits(profile, facts)
        if not missed:
            return profile, refused
        refused[profile.name] = missed
    return None, refused


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: `580.159.03` is (580, 159, 3); () for none."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _processor(profile: HardwareProfile, facts: NodeFacts) -> Iterator[Misfit]:
    if facts.cpu_count < profile.min_cpus:
        yield Misfit(
            requirement=Requirement.CPU_COUNT,
            found=f"{facts.cpu_count} usable CPUs",
            required=f"{profile.min_cpus}",
            fix="raise the container's CPU limit, or use a larger node",
        )
    lacking = sorted(profile.cpu_flags - facts.cpu_flags)
    if lacking:
        yield Misfit(
            requirement=Requirement.CPU_FLAGS,
            found=f"the CPU ({facts.cpu_model or facts.machine}) lacks {', '.join(lacking)}",
            required=", ".join(sorted(profile.cpu_flags)),
            fix="use a node with a newer CPU, or a profile that asks for less",
        )
    if facts.memory_bytes < profile.min_memory_bytes:
        yield Misfit(
            requirement=Requirement.MEMORY,
            found=f"{_gib(facts.memory_bytes)} of memory",
            required=_gib(profile.min_memory_bytes),
            fix="raise the container's memory limit, or use a larger node",
        )


def _driver(profile: HardwareProfile, facts: NodeFacts) -> Iterator[Misfit]:
    if version_numbers(facts.driver) < version_numbers(profile.min_driver):
        yield Misfit(
            requirement=Requirement.DRIVER,
            found=f"NVIDIA driver {facts.driver}" if facts.driver else "no NVIDIA driver",
            required=f"{profile.min_driver} or newer",
            fix=f"install NVIDIA driver {profile.min_driver} or newer",
        )


def _gpus(profile: HardwareProfile, facts: NodeFacts) -> Iterator[Misfit]:
    needed = max(1, math.ceil(profile.gpu_count))
    usable = [gpu for gpu in facts.gpus if not _obstacle(gpu, profile)]
    if len(usable) < needed:
        yield _too_few_gpus(profile, facts, needed, len(usable))
        return
    capable = {gpu.uuid for gpu in usable if _is_capable(profile, gpu)}
    roomy = {gpu.uuid for gpu in usable if gpu.memory_bytes >= profile.min_gpu_memory_bytes}
    if len(capable) < needed:
        yield _incapable(profile, usable)
    if len(roomy) < needed:
        largest = max(usable, key=lambda gpu: gpu.memory_bytes)
        yield Misfit(
            requirement=Requirement.GPU_MEMORY,
            found=f"{largest.name} has {_gib(largest.memory_bytes)}",
            required=f"{_gib(profile.min_gpu_memory_bytes)}{_on_each(needed)}",
            fix="use a node whose GPU has more memory, or a profile that asks for less",
        )
    if len(capable) >= needed <= len(roomy) and len(capable & roomy) < needed:
        yield Misfit(
            requirement=Requirement.GPU_COUNT,
            found=f"{len(capable & roomy)} GPUs with both",
            required=f"{needed} with compute capability {_capabilities(profile)} and "
            f"{_gib(profile.min_gpu_memory_bytes)}",
            fix="use a node whose GPUs have both",
        )


def _obstacle(gpu: GpuFacts, profile: HardwareProfile) -> str:
    """Return what keeps a GPU from being used at all; empty where nothing does."""
    if gpu.is_mig:
        return "is cut into MIG instances"
    if gpu.compute_mode == "prohibited":
        return "is in compute mode 'prohibited'"
    if gpu.compute_mode == "exclusive_process" and profile.gpu_count % 1:
        return "is in compute mode 'exclusive_process' and cannot be shared"
    return ""


def _too_few_gpus(
    profile: HardwareProfile, facts: NodeFacts, needed: int, usable_count: int
) -> Misfit:
    obstacles = [f"GPU {gpu.index} {why}" for gpu in facts.gpus if (why := _obstacle(gpu, profile))]
    reasons = obstacles or ([facts.gpu_problem] if facts.gpu_problem else [])
    if obstacles:
        fix = "name a MIG instance, or set the GPU's mode with nvidia-smi (-mig 0, -c DEFAULT)"
    elif facts.gpus:
        fix = "use a node with more GPUs"
    else:
        fix = "use a node with an NVIDIA GPU and its driver, or a profile for the CPU"
    return Misfit(
        requirement=Requirement.GPU_COUNT,
        found=f"{usable_count} usable GPUs" + (f" ({'; '.join(reasons)})" if reasons else ""),
        required=f"{needed}",
        fix=fix,
    )


def _incapable(profile: HardwareProfile, usable: list[GpuFacts]) -> Misfit:
    newest = max(usable, key=lambda gpu: gpu.compute_capability)
    is_too_old = newest.compute_capability < profile.min_compute_capability
    return Misfit(
        requirement=Requirement.COMPUTE_CAPABILITY,
        found=f"{newest.name} has {_dotted(newest.compute_capability)}",
        required=_capabilities(profile),
        fix=f"use a node with {'a newer' if is_too_old else 'an older'} GPU, or another profile",
    )


def _is_capable(profile: HardwareProfile, gpu: GpuFacts) -> bool:
    lowest, highest = profile.min_compute_capability, profile.max_compute_capability
    return lowest <= gpu.compute_capability <= highest


def _capabilities(profile: HardwareProfile) -> str:
    lowest, highest = profile.min_compute_capability, profile.max_compute_capability
    if highest == NEWEST_CAPABILITY:
        return f"{_dotted(lowest)} or newer"
    return f"{_dotted(lowest)} to {_dotted(highest)}"


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _on_each(needed: int) -> str:
    return f" on each of {needed} GPUs" if needed > 1 else ""


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
