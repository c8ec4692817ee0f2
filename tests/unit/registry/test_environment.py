"""Environments: their fingerprints, and what differs between two."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from runtimes.devices import CPU, Device
from runtimes.facts import GpuFacts, NodeFacts, OnnxRuntimeFacts
from serving.registry.environment import differences, environment_of, fingerprint

GPU = GpuFacts(
    index=0,
    uuid="GPU-1",
    name="NVIDIA L4",
    memory_bytes=24 << 30,
    free_memory_bytes=23 << 30,
    compute_capability=(8, 9),
)
NODE = NodeFacts(
    machine="x86_64",
    system="Linux-6.1.0",
    libc="glibc 2.36",
    cpu_model="Intel Xeon",
    cpu_flags=frozenset({"avx2", "fma", "hypervisor"}),
    cpu_count=4,
    memory_bytes=16 << 30,
    free_memory_bytes=8 << 30,
    python="3.12.1",
    packages=MappingProxyType(
        {"numpy": "2.4.1", "onnxruntime-gpu": "1.32.0", "torch": "2.13", "nvidia-cudnn-cu13": "9.2"}
    ),
    driver="580.159",
    gpus=(GPU,),
    onnxruntime=OnnxRuntimeFacts(
        version="1.32.0",
        distributions=("onnxruntime-gpu",),
        providers=(),
        max_opset=0,
        max_ir_version=0,
        cuda_version="13.0",
    ),
)
CUDA = Device("cuda", 0)


def packages(**versions: str) -> MappingProxyType[str, str]:
    """The node's packages with other versions."""
    return MappingProxyType({**NODE.packages, **versions})


def digest(facts: NodeFacts, threads: int = 1, device: Device = CPU) -> str:
    """The fingerprint of an ONNX model's run."""
    run = environment_of(facts, format_name="onnx", threads=threads, device=device)
    return fingerprint(run, "onnx")


@pytest.mark.parametrize(
    "other",
    [
        replace(NODE, packages=packages(numpy="2.4.6")),
        replace(NODE, cpu_flags=frozenset({"avx2", "fma", "avx512f"})),
        replace(NODE, cpu_model="AMD EPYC"),
        replace(NODE, libc="glibc 2.39"),
        replace(NODE, python="3.12.2"),
    ],
    ids=["package", "flag", "cpu", "libc", "python"],
)
def test_what_can_change_a_result_changes_the_fingerprint(other: NodeFacts) -> None:
    """An engine's package, a flag that chooses code, the CPU, libc and Python count."""
    assert digest(NODE) != digest(other)
    assert digest(NODE) == digest(replace(NODE))


@pytest.mark.parametrize(
    "other",
    [
        replace(NODE, system="Linux-6.2.0"),
        replace(NODE, packages=packages(torch="2.14")),
        replace(NODE, packages=packages(**{"nvidia-cudnn-cu13": "9.3"})),
        replace(NODE, driver="590.1", gpus=()),
        replace(NODE, cpu_flags=frozenset({"avx2", "fma"})),
        replace(NODE, free_memory_bytes=1),
    ],
    ids=["kernel", "other_engine", "cudnn", "driver", "flag", "memory"],
)
def test_what_cannot_change_a_result_does_not(other: NodeFacts) -> None:
    """On the CPU, GPU facts and other engines' packages leave an ONNX fingerprint as it is."""
    assert digest(NODE) == digest(other)


def test_threads_and_device_are_part_of_the_environment() -> None:
    """Another thread count or device is another environment; on a GPU its driver counts."""
    assert digest(NODE, threads=1) != digest(NODE, threads=2)
    assert digest(NODE) != digest(NODE, device=CUDA)
    assert digest(NODE, device=CUDA) != digest(replace(NODE, driver="590.1"), device=CUDA)


def test_a_gpu_is_recorded_with_all_that_it_computes_by() -> None:
    """Name, driver, CUDA and cuDNN are there on a GPU, and empty on the CPU."""
    on_gpu, on_cpu = (
        environment_of(NODE, format_name="onnx", threads=1, device=device) for device in (CUDA, CPU)
    )

    assert (on_gpu.gpu, on_gpu.driver, on_gpu.cuda, on_gpu.cudnn) == (
        "NVIDIA L4",
        "580.159",
        "13.0",
        "9.2",
    )
    assert (on_cpu.gpu, on_cpu.driver, on_cpu.cuda, on_cpu.cudnn) == ("", "", "", "")


def test_differences_read_like_a_change_log() -> None:
    """Fields are named with both values; what can change a result comes first."""
    other = replace(
        NODE,
        system="Linux-6.2.0",
        packages=packages(numpy="2.4.6", torch="2.14"),
        cpu_flags=frozenset({"fma", "avx512f"}),
    )
    before = environment_of(NODE, format_name="onnx", threads=1)
    after = environment_of(other, format_name="onnx", threads=2)

    found = differences(before, after, "onnx")

    assert [(str(change), change.matters) for change in found] == [
        ("numpy 2.4.1 → 2.4.6", True),
        ("threads 1 → 2", True),
        ("cpu_flags avx2 → avx512f", True),
        ("torch 2.13 → 2.14", False),
        ("platform Linux-6.1.0 x86_64 → Linux-6.2.0 x86_64", False),
    ]


def test_equal_environments_have_no_differences() -> None:
    """Nothing differs from itself."""
    here = environment_of(NODE, format_name="onnx", threads=1)

    assert differences(here, here) == ()


def test_a_package_that_is_missing_is_a_difference() -> None:
    """What only one side has is shown as none on the other."""
    bare = replace(NODE, packages=MappingProxyType({"numpy": "2.4.1", "torch": "2.13"}))
    here, there = (environment_of(item, format_name="onnx", threads=1) for item in (NODE, bare))

    assert "onnxruntime-gpu 1.32.0 → none" in [str(item) for item in differences(here, there)]
