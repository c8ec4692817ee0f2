"""Versions and nodes that are broken in one way each, with the code that says so."""

from dataclasses import replace

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.facts import DomainLimit, TorchFacts
from runtimes.model_facts import ExportedInput, OperatorUse, Pt2Archive
from runtimes.preflight.subject import (
    Metadata,
    PackedEnvironment,
    PinMismatch,
    Pins,
    Subject,
    Trust,
)
from runtimes.preflight.trial import OutputComparison
from tests.fakes.broken import Case
from tests.fakes.contract_cases import CONTRACT_CASES
from tests.fakes.node_facts import A100, A100_MIG_NODE, CPU_NODE, OLD_DRIVER_NODE, T4_NODE
from tests.fakes.subjects import (
    CLAIMS,
    GIB,
    GPU_NODE,
    MODEL,
    ON_CPU,
    ON_GPU,
    ON_GPU_TORCH,
    SCRIPT,
    claiming,
    on,
    running,
)

ORT = CPU_NODE.onnxruntime
GPU_ORT = GPU_NODE.onnxruntime
assert ORT is not None
assert GPU_ORT is not None
CUDA_TORCH = replace(
    CPU_NODE.torch, version="2.13.0+cu130", cuda_version="13.0", cuda_architectures=("sm_80",)
)  # type: ignore[type-var]  # the fake node has torch
INT8 = replace(MODEL, operators=(OperatorUse(domain="", name="QLinearConv", count=3),))
BF16 = replace(MODEL, typed_operators=frozenset({("Gemm", Datatype.BF16)}))
LACKING_ORT = replace(ORT, missing_cpu_kernels=frozenset({"Gemm:BF16", "Erf:FP64"}))
LARGE = replace(MODEL, weight_bytes=60 * GIB)
EXPORTED = Pt2Archive(archive_version=0, schema_version=(8, 20), pickles=("data/x.pt",))
TRUSTED_CODE = replace(
    ON_CPU,
    format="torch_export",
    model=EXPORTED,
    trust=Trust(state="trusted", may_execute=True),
)

ML_NODE = replace(
    CPU_NODE, onnxruntime=replace(ORT, domains=(DomainLimit(domain="ai.onnx.ml", max_opset=5),))
)
TORCH_NODE = replace(
    CPU_NODE, torch=TorchFacts(version="2.13.0+cpu", max_file_version=10, max_pt2_schema=(8, 20))
)
SCRIPTED = on(replace(ON_CPU, format="torchscript", model=SCRIPT), TORCH_NODE)
ASKED_CODE = on(TRUSTED_CODE, TORCH_NODE)


def configured(**changes: object) -> Subject:
    """Change the configured tensors."""
    changed = replace(CLAIMS.configured, **changes)  # type: ignore[arg-type]  # any field of the record
    return replace(ON_CPU, claims=replace(CLAIMS, configured=changed))


def tensor(name: str, datatype: Datatype, *shape: int) -> tuple[TensorSpec, ...]:
    """One tensor spec."""
    return (TensorSpec(name=name, datatype=datatype, shape=shape),)


CASES = {
    "opset too new": Case(
        "BP-O01", replace(ON_CPU, model=replace(MODEL, opsets={"": 99})), "opset 26 or lower"
    ),
    "opset of another domain too new": Case(
        "BP-O01",
        on(replace(ON_CPU, model=replace(MODEL, opsets={"": 17, "ai.onnx.ml": 99})), ML_NODE),
        "opset 5 or lower",
        on(replace(ON_CPU, model=replace(MODEL, opsets={"": 17, "ai.onnx.ml": 5})), ML_NODE),
    ),
    "IR too new": Case(
        "BP-O02", replace(ON_CPU, model=replace(MODEL, ir_version=99)), "IR version 13 or lower"
    ),
    "CUDA on a CPU node": Case(
        "BP-E01", on(ON_GPU, CPU_NODE, "cuda"), "a profile for the CPU", ON_GPU
    ),
    "configured GPU on a CPU node": Case(
        "BP-E01", claiming(ON_CPU, device="cuda"), "an NVIDIA GPU", ON_GPU
    ),
    "driver too old": Case(
        "BP-E07",
        on(ON_GPU, replace(OLD_DRIVER_NODE, onnxruntime=GPU_ORT)),
        "install NVIDIA driver 580",
        ON_GPU,
    ),
    "no cuDNN": Case(
        "BP-E05",
        on(
            ON_GPU, replace(GPU_NODE, onnxruntime=replace(GPU_ORT, cuda_problem="no libcudnn.so.9"))
        ),
        "bascule[gpu]",
        ON_GPU,
    ),
    "no cublas": Case(
        "BP-E05",
        on(ON_GPU, replace(GPU_NODE, onnxruntime=replace(GPU_ORT, cuda_problem="no libcublas"))),
        "pip install",
        ON_GPU,
    ),
    "a CPU build of torch": Case(
        "BP-E05", ON_GPU_TORCH, "CUDA build", on(ON_GPU_TORCH, replace(GPU_NODE, torch=CUDA_TORCH))
    ),
    "too little GPU memory": Case("BP-H02", replace(ON_GPU, model=LARGE), "more memory", ON_GPU),
    "measured GPU memory": Case(
        "BP-H02",
        replace(ON_GPU, metadata=Metadata(needs_gpu_memory_bytes=39 * GIB)),
        "more memory",
        replace(ON_GPU, metadata=Metadata(needs_gpu_memory_bytes=20 * GIB)),
    ),
    "less GPU memory than the profile asks for": Case(
        "BP-H02",
        on(ON_GPU, replace(GPU_NODE, gpus=(replace(A100, memory_bytes=8 * GIB),)), "cuda-ampere"),
        "a profile that asks for less",
        ON_GPU,
    ),
    "compute capability too low": Case(
        "BP-H01",
        on(
            ON_GPU,
            replace(T4_NODE, onnxruntime=GPU_ORT, gpus=(replace(A100, compute_capability=(7, 5)),)),
            "cuda-ampere",
        ),
        "newer GPU",
        ON_GPU,
    ),
    "CUDA 13 on an old GPU": Case(
        "BP-H01",
        on(ON_GPU, replace(GPU_NODE, gpus=(replace(A100, compute_capability=(6, 1)),))),
        "older CUDA",
        ON_GPU,
    ),
    "torch without the architecture": Case(
        "BP-H01",
        on(
            ON_GPU_TORCH,
            replace(GPU_NODE, torch=replace(CUDA_TORCH, cuda_architectures=("sm_90",))),
        ),
        "built for this GPU",
        on(ON_GPU_TORCH, replace(GPU_NODE, torch=CUDA_TORCH)),
    ),
    "both onnxruntime packages": Case(
        "BP-E04",
        on(
            ON_CPU,
            replace(
                CPU_NODE,
                onnxruntime=replace(ORT, distributions=("onnxruntime", "onnxruntime-gpu")),
            ),
        ),
        "pip uninstall",
    ),
    "no engine": Case(
        "BP-E11", on(ON_CPU, replace(CPU_NODE, onnxruntime=None)), "pip install onnxruntime-gpu"
    ),
    "MIG": Case(
        "BP-H07",
        on(ON_GPU, replace(GPU_NODE, gpus=(replace(A100, is_mig=True),))),
        "MIG instance",
        on(ON_GPU, replace(A100_MIG_NODE, onnxruntime=GPU_ORT)),
    ),
    "prohibited mode": Case(
        "BP-H07",
        on(ON_GPU, replace(GPU_NODE, gpus=(replace(A100, compute_mode="prohibited"),))),
        "nvidia-smi",
        ON_GPU,
    ),
    "exclusive mode of a shared GPU": Case(
        "BP-H07",
        on(
            ON_GPU,
            replace(GPU_NODE, gpus=(replace(A100, compute_mode="exclusive_process"),)),
            "cuda-half",
        ),
        "nvidia-smi",
        on(
            ON_GPU,
            replace(GPU_NODE, gpus=(replace(A100, compute_mode="exclusive_process"),)),
            "cuda",
        ),
    ),
    "more replicas than GPUs": Case(
        "BP-C04", claiming(ON_GPU, replica_count=2), "instance_group", ON_GPU
    ),
    "threads of all replicas": Case(
        "BP-H05", claiming(ON_CPU, threads=16, replica_count=2), "intra_op_thread_count"
    ),
    "memory of all replicas": Case(
        "BP-H06",
        claiming(replace(ON_CPU, model=replace(MODEL, weight_bytes=3 * GIB)), replica_count=3),
        "fewer replicas",
        claiming(replace(ON_CPU, model=replace(MODEL, weight_bytes=3 * GIB)), replica_count=2),
    ),
    "a CPU without the profile's flags": Case(
        "BP-H04",
        on(ON_CPU, replace(CPU_NODE, cpu_flags=frozenset({"avx2"})), "cpu-avx512"),
        "newer CPU",
    ),
    "an unknown profile": Case(
        "BP-H10", replace(ON_CPU, unknown_profiles=("gpu-large",)), "BASCULE_HOME/profiles"
    ),
    "an engine compiled for one GPU": Case(
        "BP-H03",
        replace(
            ON_CPU,
            model=replace(
                MODEL, operators=(OperatorUse(domain="com.microsoft", name="EPContext", count=1),)
            ),
        ),
        "compiled from",
    ),
    "python's major version": Case(
        "BP-E08", replace(ON_CPU, packed=PackedEnvironment(python="2.7.18")), "Python 2"
    ),
    "numpy's major version": Case(
        "BP-E08",
        replace(ON_CPU, packed=PackedEnvironment(packages={"numpy": "1.26.4"})),
        "pip install 'numpy==1.*'",
    ),
    "a pinned package": Case(
        "BP-E08",
        replace(
            ON_CPU,
            pins=Pins(
                mismatches=(PinMismatch(name="numpy", wanted="2.3.0", found="2.4.0"),),
                command="python -m pip install numpy==2.3.0",
            ),
        ),
        "python -m pip install numpy==2.3.0",
        replace(
            ON_CPU,
            pins=Pins(
                mismatches=(PinMismatch(name="numpy", wanted="2.3.0", found="2.4.0"),),
                policy="isolate",
            ),
        ),
    ),
    "a pair that fails": Case(
        "BP-E09",
        on(ON_CPU, replace(CPU_NODE, packages={"numpy": "2.4.0", "onnxruntime-gpu": "1.18.1"})),
        "onnxruntime-gpu>=1.19",
    ),
    "glibc": Case("BP-E10", on(ON_CPU, replace(CPU_NODE, libc="glibc 2.17")), "glibc 2.28"),
    "musl": Case("BP-E10", on(ON_CPU, replace(CPU_NODE, libc="musl 1.2")), "Debian 12"),
    "architecture": Case("BP-E10", on(ON_CPU, replace(CPU_NODE, machine="ppc64le")), "x86-64"),
    "unsigned where it is refused": Case(
        "BP-S04", replace(ON_CPU, trust=Trust(state="unsigned", required="refuse")), "pack --sign"
    ),
    "signed by a stranger": Case(
        "BP-S04",
        replace(ON_CPU, trust=Trust(state="untrusted", signer="x", required="refuse")),
        "trust the key",
        replace(ON_CPU, trust=Trust(state="trusted", required="refuse")),
    ),
    "a signature that does not verify": Case(
        "BP-S04", replace(ON_CPU, trust=Trust(state="invalid")), "sign it anew"
    ),
    "trusted, and not on the allow-list": Case(
        "BP-S02", replace(TRUSTED_CODE, trust=Trust(state="trusted")), "--may-execute", TRUSTED_CODE
    ),
    "a newer TorchScript file": Case(
        "BP-T01", replace(SCRIPTED, model=replace(SCRIPT, file_version=99)), "newer torch", SCRIPTED
    ),
    "another schema of .pt2": Case(
        "BP-T04",
        replace(ASKED_CODE, model=replace(EXPORTED, schema_version=(9, 0))),
        "export it again",
        ASKED_CODE,
    ),
    "a .pt2 with a fixed batch": Case(
        "BP-T05",
        replace(
            TRUSTED_CODE, model=replace(EXPORTED, inputs=(ExportedInput(name="x", shape=(3,)),))
        ),
        "dynamic_shapes",
        replace(
            TRUSTED_CODE, model=replace(EXPORTED, inputs=(ExportedInput(name="x", shape=(-1,)),))
        ),
    ),
    "an input's name": Case(
        "BP-C01", configured(inputs=tensor("inptu", Datatype.FP32, 16)), "did you mean input?"
    ),
    "an input's datatype": Case(
        "BP-C01",
        configured(inputs=tensor("input", Datatype.INT64, 16)),
        "correct the configuration",
    ),
    "an input's rank": Case(
        "BP-C01", configured(inputs=tensor("input", Datatype.FP32, 16, 1)), "correct the dims"
    ),
    "a fixed batch": Case(
        "BP-C02",
        replace(ON_CPU, model=replace(MODEL, inputs=tensor("input", Datatype.FP32, 1, 16))),
        "max_batch_size 0",
    ),
    "preferred batch": Case(
        "BP-C04", claiming(ON_CPU, preferred_batch_rows=(4, 16)), "raise max_batch_size to 16"
    ),
    "delay and timeout": Case(
        "BP-C04",
        claiming(ON_CPU, max_queue_delay_s=2.0, default_timeout_s=2.0),
        "lower max_queue_delay_microseconds",
        claiming(ON_CPU, max_queue_delay_s=1.0, default_timeout_s=2.0),
    ),
    "no replica": Case("BP-C04", claiming(ON_CPU, replica_count=0), "1 or more"),
    "a configuration that is none": Case(
        "BP-C05", claiming(ON_CPU, problem="line 3: no field max_batchsize"), "correct"
    ),
    "a version's name": Case(
        "BP-C06", replace(ON_CPU, name_problem="version 'v2' is no number"), "positive number"
    ),
    "rows that interact": Case(
        "BP-C03", running(row_interaction="output 'y' of a row changes"), "max_batch_size 0"
    ),
    "NaN on golden samples": Case("BP-R02", running(golden_not_finite=("y",)), "correct the model"),
    "golden values": Case(
        "BP-R01",
        running(golden=(OutputComparison(output="y", is_within=False, detail="off by 0.02"),)),
        "bascule reproduce",
        running(golden=(OutputComparison(output="y", is_within=True),)),
    ),
    "golden samples of another model": Case(
        "BP-R01", running(golden_problem="rank 3 was given"), "pack the bundle again"
    ),
    "an output's shape": Case(
        "BP-R03", running(shape_problems=("output 'y' came as [2]",)), "dims and data_type"
    ),
    "an engine that refuses": Case(
        "BP-R07", running(load_problem="no kernel"), "export the model again"
    ),
    "a device that is not given": Case(
        "BP-E01",
        running(load_problem="the model asks for cuda:0", load_code="BP-E01"),
        "on the CPU",
    ),
    "no kernel for a datatype": Case(
        "BP-O05",
        on(replace(ON_CPU, model=BF16), replace(CPU_NODE, onnxruntime=LACKING_ORT)),
        "FP32 in place of BF16",
        on(replace(ON_CPU, model=MODEL), replace(CPU_NODE, onnxruntime=LACKING_ORT)),
    ),
    "no kernel when it was loaded": Case(
        "BP-O05", running(load_problem="no kernel", load_code="BP-O05"), "a kernel"
    ),
    "nothing of it on the GPU": Case(
        "BP-O06",
        running(load_problem="none of the model's 2 nodes has a CUDA kernel", load_code="BP-O06"),
        "on the CPU",
    ),
    "a buffer on another device": Case(
        "BP-T06",
        running(load_problem="buffer anchors is on cpu", load_code="BP-T06"),
        "one device",
    ),
} | CONTRACT_CASES
