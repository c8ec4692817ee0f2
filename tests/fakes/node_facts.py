"""Facts of nodes as they were seen, for tests of what depends on a node."""

from dataclasses import replace
from typing import Final

from runtimes.facts import GpuFacts, NodeFacts, OnnxRuntimeFacts, TorchFacts

GIB: Final = 1 << 30

CPU_NODE: Final = NodeFacts(
    machine="x86_64",
    system="Linux-6.1.0",
    libc="glibc 2.36",
    cpu_model="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    cpu_flags=frozenset(
        {
            "avx2",
            "fma",
            "avx512f",
            "avx512bw",
            "avx512vl",
            "avx512_vnni",
            "amx_tile",
            "amx_int8",
            "amx_bf16",
        }
    ),
    cpu_count=2,
    memory_bytes=8 * GIB,
    free_memory_bytes=6 * GIB,
    python="3.12.11",
    packages={"numpy": "2.4.0"},
    gpu_problem="NVML Shared Library Not Found",
    onnxruntime=OnnxRuntimeFacts(
        version="1.31.0",
        distributions=("onnxruntime-gpu",),
        providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
        max_opset=26,
        max_ir_version=13,
        cuda_version="13.0",
        cuda_problem="libcuda.so.1 is missing",
    ),
    torch=TorchFacts(version="2.11.0+cpu"),
)

T4: Final = GpuFacts(
    index=0,
    uuid="GPU-4a0b1c2d-0000-1111-2222-333344445555",
    name="Tesla T4",
    memory_bytes=15360 << 20,
    free_memory_bytes=14918 << 20,
    compute_capability=(7, 5),
)
T4_NODE: Final = replace(
    CPU_NODE, driver="580.159.03", driver_cuda="13.0", gpus=(T4,), gpu_problem=""
)
OLD_DRIVER_NODE: Final = replace(T4_NODE, driver="470.256.02", driver_cuda="11.4")

A100: Final = GpuFacts(
    index=0,
    uuid="GPU-a1000000-0000-1111-2222-333344445555",
    name="NVIDIA A100-SXM4-40GB",
    memory_bytes=40960 << 20,
    free_memory_bytes=40330 << 20,
    compute_capability=(8, 0),
)
A100_NODE: Final = replace(T4_NODE, gpus=(A100,))
A100_MIG_NODE: Final = replace(
    T4_NODE,
    gpus=(
        replace(A100, is_mig=True),
        replace(
            A100,
            uuid="MIG-11111111-0000-1111-2222-333344445555",
            name="NVIDIA A100-SXM4-40GB MIG 3g.20gb",
            memory_bytes=19968 << 20,
            free_memory_bytes=19956 << 20,
        ),
    ),
)
H100: Final = GpuFacts(
    index=0,
    uuid="GPU-b1000000-0000-1111-2222-333344445555",
    name="NVIDIA H100 80GB HBM3",
    memory_bytes=81559 << 20,
    free_memory_bytes=81000 << 20,
    compute_capability=(9, 0),
)
H100_NODE: Final = replace(T4_NODE, cpu_count=16, memory_bytes=128 * GIB, gpus=(H100,))
