"""What a node is: plain facts, measured by `runtimes.node_probe`, without any verdict.

Facts travel as JSON (`bascule facts`), so a model can be checked against a node that is not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """One GPU as NVML shows it."""

    index: int
    uuid: str
    name: str
    memory_bytes: int
    free_memory_bytes: int
    compute_capability: tuple[int, int]
    is_mig: bool = False
    """Cut into MIG instances; only an instance of it can be used."""
    compute_mode: str = "default"
    """`default`, `exclusive_process` or `prohibited`."""
    other_process_bytes: int = 0
    """Memory that processes of others hold on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainLimit:
    """The newest opset of a domain of operators that an engine loads."""

    domain: str
    max_opset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntimeFacts:
    """The installed ONNX Runtime, as it answers for itself."""

    version: str
    distributions: tuple[str, ...]
    """Installed distributions that write the module `onnxruntime`; more than one is a fault."""
    providers: tuple[str, ...]
    """Providers that the build has; says nothing of what works."""
    max_opset: int
    """Newest opset of `ai.onnx` that it loads; 0: not asked, or not told."""
    max_ir_version: int
    """Newest IR version that it reads; 0 likewise."""
    cuda_version: str = ""
    """CUDA that the build was made for, `13.0`; empty for a CPU build."""
    cuda_problem: str = ""
    """What keeps its CUDA provider from being loaded here; empty where it loads, or has none."""
    missing_cpu_kernels: frozenset[str] = frozenset()
    """`Operator:DATATYPE` that it has no CPU kernel for, of those that were asked."""
    domains: tuple[DomainLimit, ...] = ()
    """Newest opsets of other domains than `ai.onnx`; a domain that is not listed was not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchFacts:
    """The installed torch; read without importing it where that is possible."""

    version: str
    cuda_version: str = ""
    """CUDA that the build was made for; empty for a CPU build."""
    cuda_architectures: tuple[str, ...] = ()
    """`sm_80`, … that the build has code for; empty where unknown or none."""
    max_file_version: int = 0
    """Newest version of a TorchScript file that it reads; 0: not asked."""
    max_pt2_schema: tuple[int, int] = (0, 0)
    """Newest schema of a `.pt2` archive that it reads; (0, 0): not asked."""
    cuda_problem: str = ""
    """What keeps its CUDA from being used here; empty where it works, or has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node, as seen by a process of ours on it."""

    machine: str
    """Architecture: `x86_64`."""
    system: str
    """`Linux-6.1.0`, …"""
    libc: str
    """`glibc 2.36`."""
    cpu_model: str
    cpu_flags: frozenset[str]
    """As the kernel names them: `avx2`, `avx512f`, `avx512_vnni`, `amx_tile`, …"""
    cpu_count: int
    """CPUs that this process may use: affinity and cgroup quota, not the machine's."""
    memory_bytes: int
    """Memory that this process may use: the cgroup's limit, or the machine's memory."""
    free_memory_bytes: int
    python: str
    packages: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Installed version of each package that can change a result."""
    driver: str = ""
    """NVIDIA driver, `580.159.03`; empty where there is none."""
    driver_cuda: str = ""
    """Newest CUDA that the driver serves, `13.0`."""
    gpus: tuple[GpuFacts, ...] = ()
    gpu_problem: str = ""
    """Why no GPU can be seen, in NVML's words; empty where some are."""
    onnxruntime: OnnxRuntimeFacts | None = None
    torch: TorchFacts | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What an operator says of the node."""
