"""Hardware profiles: what a version needs of a node, under a name that teams can agree on.

A model may list profiles in order of preference; the first that a node fits is used. A profile says
both where a version may run and how its engine is set up there.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Precision = Literal["fp32", "tf32"]
"""What CUDA kernels may do to FP32 products."""

GIB: Final = 1 << 30
NEWEST_CAPABILITY: Final = (99, 9)
PROFILE_RESOURCE: Final = "bascule_profile_"
"""Beginning of the scheduler's custom resource of a profile."""
PROFILE_SHARE: Final = 0.001
"""What one replica takes of its profile's resource; a node that fits advertises 1.0 of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """What a node must offer, and how the engine is set up on it."""

    name: str
    description: str
    device: Literal["cpu", "cuda"]
    min_cpus: int = 1
    cpu_flags: frozenset[str] = frozenset()
    """Flags that the CPU must have, as the kernel names them."""
    min_memory_bytes: int = 0
    gpu_count: float = 0.0
    """GPUs of one replica; a fraction shares one with others."""
    min_gpu_memory_bytes: int = 0
    min_compute_capability: tuple[int, int] = (0, 0)
    max_compute_capability: tuple[int, int] = NEWEST_CAPABILITY
    min_driver: str = ""
    threads: int = 0
    """Engine threads of a replica; 0: from the node's CPUs."""
    precision: Precision = "fp32"
    """`fp32` forbids TF32."""
    gpu_arena_bytes: int = 0
    """Bound on the engine's GPU memory; 0: none."""
    allow_cpu_nodes: bool = False
    """On CUDA: operators without a CUDA kernel may run on the CPU; so may a model of such only."""


def resource_name(profile: HardwareProfile) -> str:
    """Return the scheduler's custom resource that a node advertises if it fits a profile."""
    return f"{PROFILE_RESOURCE}{profile.name}"


def _named(*profiles: HardwareProfile) -> MappingProxyType[str, HardwareProfile]:
    return MappingProxyType({profile.name: profile for profile in profiles})


SHIPPED: Final = _named(
    HardwareProfile(name="cpu", description="any CPU", device="cpu"),
    HardwareProfile(
        name="cpu-small", description="one thread on a shared CPU", device="cpu", threads=1
    ),
    HardwareProfile(
        name="cpu-avx2",
        description="x86-64 with AVX2 and FMA",
        device="cpu",
        cpu_flags=frozenset({"avx2", "fma"}),
    ),
    HardwareProfile(
        name="cpu-avx512",
        description="x86-64 with AVX-512",
        device="cpu",
        cpu_flags=frozenset({"avx512f", "avx512bw", "avx512vl"}),
    ),
    HardwareProfile(
        name="cpu-vnni",
        description="x86-64 with AVX-512 VNNI, for INT8 models",
        device="cpu",
        cpu_flags=frozenset({"avx512f", "avx512_vnni"}),
    ),
    HardwareProfile(
        name="cpu-amx",
        description="x86-64 with AMX, for INT8 and BF16 models",
        device="cpu",
        cpu_flags=frozenset({"amx_tile", "amx_int8", "amx_bf16"}),
    ),
    HardwareProfile(
        name="cuda", description="any NVIDIA GPU, a whole one", device="cuda", gpu_count=1.0
    ),
    HardwareProfile(
        name="cuda-half", description="half of any NVIDIA GPU", device="cuda", gpu_count=0.5
    ),
    HardwareProfile(
        name="cuda-turing",
        description="NVIDIA Turing or newer (T4, …), 12 GiB or more",
        device="cuda",
        gpu_count=1.0,
        min_compute_capability=(7, 5),
        min_gpu_memory_bytes=12 * GIB,
    ),
    HardwareProfile(
        name="cuda-ampere",
        description="NVIDIA Ampere or newer (A10, A100, …), 16 GiB or more, TF32 allowed",
        device="cuda",
        gpu_count=1.0,
        min_compute_capability=(8, 0),
        min_gpu_memory_bytes=16 * GIB,
        precision="tf32",
    ),
    HardwareProfile(
        name="cuda-ada",
        description="NVIDIA Ada or newer (L4, L40S, …), 20 GiB or more, TF32 allowed",
        device="cuda",
        gpu_count=1.0,
        min_compute_capability=(8, 9),
        min_gpu_memory_bytes=20 * GIB,
        precision="tf32",
    ),
    HardwareProfile(
        name="cuda-hopper",
        description="NVIDIA Hopper or newer (H100, H200, …), 70 GiB or more, TF32 allowed",
        device="cuda",
        gpu_count=1.0,
        min_compute_capability=(9, 0),
        min_gpu_memory_bytes=70 * GIB,
        precision="tf32",
    ),
    HardwareProfile(
        name="cuda-blackwell",
        description="NVIDIA Blackwell or newer (B200, …), 90 GiB or more, TF32 allowed",
        device="cuda",
        gpu_count=1.0,
        min_compute_capability=(10, 0),
        min_gpu_memory_bytes=90 * GIB,
        precision="tf32",
    ),
)
