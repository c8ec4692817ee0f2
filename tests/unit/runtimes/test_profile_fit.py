"""Which nodes fit which hardware profiles, and what those that do not are said to miss."""

from dataclasses import replace

import pytest

from runtimes.facts import GpuFacts, NodeFacts
from runtimes.profile import (
    GIB,
    SHIPPED,
    HardwareProfile,
)
from runtimes.profile_fit import Requirement, first_fit, misfits, version_numbers
from tests.fakes.node_facts import (
    A100,
    A100_MIG_NODE,
    A100_NODE,
    CPU_NODE,
    H100_NODE,
    OLD_DRIVER_NODE,
    T4,
    T4_NODE,
)


def missed(profile: HardwareProfile | str, facts: NodeFacts) -> list[Requirement]:
    """The requirements that a node misses."""
    asked = SHIPPED[profile] if isinstance(profile, str) else profile
    return [misfit.requirement for misfit in misfits(asked, facts)]


def fitting(facts: NodeFacts) -> set[str]:
    """The shipped profiles for CUDA that a node fits."""
    return {name for name in SHIPPED if name.startswith("cuda") and not missed(name, facts)}


def test_a_cpu_node_fits_what_its_flags_allow() -> None:
    """A CPU with AMX fits every profile for CPUs, and none for CUDA."""
    assert [name for name in SHIPPED if not missed(name, CPU_NODE)] == [
        "cpu",
        "cpu-small",
        "cpu-avx2",
        "cpu-avx512",
        "cpu-vnni",
        "cpu-amx",
    ]


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (T4_NODE, {"cuda", "cuda-half", "cuda-turing"}),
        (A100_NODE, {"cuda", "cuda-half", "cuda-turing", "cuda-ampere"}),
        (A100_MIG_NODE, {"cuda", "cuda-half", "cuda-turing", "cuda-ampere"}),
        (H100_NODE, {"cuda", "cuda-half", "cuda-turing", "cuda-ampere", "cuda-ada", "cuda-hopper"}),
    ],
)
def test_gpus_fit_the_profiles_of_their_generation(facts: NodeFacts, names: set[str]) -> None:
    """A GPU fits profiles up to its own generation and size; a MIG instance by its own size."""
    assert fitting(facts) == names


def test_a_missing_flag_is_named() -> None:
    """Which CPU flags are missing is said, and only those."""
    facts = replace(CPU_NODE, cpu_flags=frozenset({"avx512f", "avx512vl", "avx2"}))

    (misfit,) = misfits(SHIPPED["cpu-avx512"], facts)

    assert misfit.requirement is Requirement.CPU_FLAGS
    assert misfit.found.endswith("lacks avx512bw")


def test_every_missed_requirement_is_reported() -> None:
    """CPUs, memory, driver, capability and GPU memory are judged each for itself."""
    profile = HardwareProfile(
        name="large",
        description="",
        device="cuda",
        min_cpus=64,
        min_memory_bytes=512 * GIB,
        gpu_count=1.0,
        min_driver="580.65.06",
        min_compute_capability=(8, 0),
        min_gpu_memory_bytes=20 * GIB,
    )

    assert missed(profile, OLD_DRIVER_NODE) == [
        Requirement.CPU_COUNT,
        Requirement.MEMORY,
        Requirement.DRIVER,
        Requirement.COMPUTE_CAPABILITY,
        Requirement.GPU_MEMORY,
    ]


def test_what_is_just_enough_fits() -> None:
    """A limit is met by its own value."""
    profile = HardwareProfile(
        name="exact",
        description="",
        device="cuda",
        min_cpus=T4_NODE.cpu_count,
        min_memory_bytes=T4_NODE.memory_bytes,
        gpu_count=1.0,
        min_driver=T4_NODE.driver,
        min_compute_capability=T4.compute_capability,
        max_compute_capability=T4.compute_capability,
        min_gpu_memory_bytes=T4.memory_bytes,
    )

    assert misfits(profile, T4_NODE) == ()


def test_without_a_gpu_nvml_gives_the_reason() -> None:
    """Where no GPU can be seen, the reason is in the misfit, with a way out."""
    (misfit,) = misfits(SHIPPED["cuda"], CPU_NODE)

    assert misfit.requirement is Requirement.GPU_COUNT
    assert "NVML Shared Library Not Found" in misfit.found
    assert "profile for the CPU" in misfit.fix


@pytest.mark.parametrize(
    ("gpu", "reason"),
    [
        (replace(A100, is_mig=True), "is cut into MIG instances"),
        (replace(A100, compute_mode="prohibited"), "is in compute mode 'prohibited'"),
    ],
)
def test_a_gpu_that_cannot_be_used_does_not_count(gpu: GpuFacts, reason: str) -> None:
    """A GPU cut into MIG instances, or closed to computing, is no GPU to run on."""
    (misfit,) = misfits(SHIPPED["cuda"], replace(A100_NODE, gpus=(gpu,)))

    assert misfit.requirement is Requirement.GPU_COUNT
    assert f"GPU 0 {reason}" in misfit.found


def test_an_exclusive_gpu_is_whole_or_nothing() -> None:
    """Exclusive mode lets one process in: a profile for a whole GPU fits, one for half does not."""
    facts = replace(A100_NODE, gpus=(replace(A100, compute_mode="exclusive_process"),))

    assert missed("cuda", facts) == []
    assert missed("cuda-half", facts) == [Requirement.GPU_COUNT]


def test_one_gpu_must_meet_all_requirements() -> None:
    """A new small GPU and an old large one do not add up to a new large one."""
    profile = HardwareProfile(
        name="both",
        description="",
        device="cuda",
        gpu_count=1.0,
        min_compute_capability=(8, 0),
        min_gpu_memory_bytes=15000 << 20,
    )
    small = replace(A100, index=1, uuid="GPU-small", memory_bytes=8 * GIB)

    assert missed(profile, replace(T4_NODE, gpus=(T4, small))) == [Requirement.GPU_COUNT]


def test_the_first_profile_that_fits_wins() -> None:
    """Profiles are tried in order; the ones before the first that fits say what was missed."""
    order = [SHIPPED[name] for name in ("cuda-hopper", "cuda-turing", "cpu")]

    chosen, refused = first_fit(order, T4_NODE)

    assert chosen is SHIPPED["cuda-turing"]
    assert [misfit.requirement for misfit in refused["cuda-hopper"]] == [
        Requirement.COMPUTE_CAPABILITY,
        Requirement.GPU_MEMORY,
    ]
    assert list(refused) == ["cuda-hopper"]


def test_where_nothing_fits_all_reasons_are_kept() -> None:
    """With no profile that fits there is none, and a reason for each."""
    chosen, refused = first_fit([SHIPPED["cuda"], SHIPPED["cuda-half"]], CPU_NODE)

    assert chosen is None
    assert list(refused) == ["cuda", "cuda-half"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("580.159.03", (580, 159, 3)), ("13.0", (13, 0)), ("", ()), ("2.11.0+cu130", (2, 11))],
)
def test_versions_are_compared_as_numbers(text: str, numbers: tuple[int, ...]) -> None:
    """A version's leading numbers are read, up to the first part that is none."""
    assert version_numbers(text) == numbers
