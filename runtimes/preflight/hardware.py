"""Pure: has a node the CPUs, memory and GPUs that a version needs?"""

from collections.abc import Iterator
from typing import Final

from runtimes.facts import GpuFacts, NodeFacts
from runtimes.findings import Finding, Severity
from runtimes.model_facts import OnnxModel, Pt2Archive, TorchScriptArchive
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.choice import Choice, choose, usable_gpus
from runtimes.preflight.subject import Placement, Subject
from runtimes.profile import GIB
from runtimes.profile_fit import Misfit, Requirement, version_numbers

CONTEXT_BYTES: Final = 500 << 20
"""A CUDA context with the engine's kernels, for each process."""
ARENA_FACTOR: Final = {"onnx": 1.5}
"""What an engine's arena takes of GPU memory for each byte that is alive; 1 for torch."""
MEASURED_FACTOR: Final = 1.1
NEARLY_FULL: Final = 0.85
TOO_MANY_THREADS: Final = 4.0
QUANTISED: Final = frozenset(
    {
        "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger",
        "MatMulIntegerToFloat", "QAttention", "QGemm", "QLinearAdd", "QLinearConv",
        "QLinearMatMul", "QLinearMul",
    }
)  # fmt: skip
INT8_FLAGS: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
# Oldest compute capability that libraries of each major version of CUDA have code for.
OLDEST_CAPABILITY: Final = {11: (3, 5), 12: (5, 0), 13: (7, 5)}
CODES: Final = {
    Requirement.CPU_COUNT: "BP-H05",
    Requirement.CPU_FLAGS: "BP-H04",
    Requirement.MEMORY: "BP-H06",
    Requirement.GPU_COUNT: "BP-E01",
    Requirement.GPU_MEMORY: "BP-H02",
    Requirement.COMPUTE_CAPABILITY: "BP-H01",
    Requirement.DRIVER: "BP-E07",
}


def check_hardware(subject: Subject) -> Iterator[Finding]:
    """Yield what a node lacks."""
    for profile in subject.unknown_profiles:
        yield found(
            "BP-H10",
            profile,
            f"hardware profile '{profile}' is defined nowhere",
            "correct the name, or define it in BASCULE_HOME/profiles",
            evidence=Evidence(profile, "a profile that is defined"),
        )
    placement = subject.placement
    if placement is None or subject.unknown_profiles:
        return
    choice = choose(placement, subject.claims)
    for name, missed in choice.misfits.items():
        for one in missed:
            yield _misfit(name, one, placement.node)
    yield from _cpus(subject, placement, choice)
    if choice.is_cuda and not choice.misfits:
        yield from _gpu(subject, placement, choice)
    if not choice.is_cuda:
        yield from _memory(subject, placement)
        yield from _int8(subject, placement.node)


def _misfit(profile: str, missed: Misfit, node: NodeFacts) -> Finding:
    code = CODES[missed.requirement]
    if missed.requirement is Requirement.GPU_COUNT and node.gpus:
        blocked = any(gpu.is_mig or gpu.compute_mode != "default" for gpu in node.gpus)
        code = "BP-H07" if blocked else "BP-C04"
    return found(
        code,
        f"profile {profile}",
        f"the node does not fit it: {missed.found}, {missed.required} wanted",
        missed.fix,
        evidence=Evidence(missed.found, missed.required),
    )


def _cpus(subject: Subject, placement: Placement, choice: Choice) -> Iterator[Finding]:
    each = subject.claims.threads or choice.profile.threads
    total = each * max(1, subject.claims.replica_count)
    cpus = max(1, placement.node.cpu_count)
    if total > cpus:
        yield found(
            "BP-H05",
            "threads",
            f"{subject.claims.replica_count} replicas with {each} engine threads each are {total} "
            f"for {cpus} CPUs",
            "leave intra_op_thread_count out, so that threads follow the CPUs, or use fewer "
            "replicas",
            evidence=Evidence(str(total), f"<= {cpus}"),
            severity=Severity.ERROR if total > TOO_MANY_THREADS * cpus else Severity.WARNING,
        )


def _memory(subject: Subject, placement: Placement) -> Iterator[Finding]:
    measured = subject.metadata.needs_memory_bytes if subject.metadata else 0
    each = max(measured, _weight_bytes(subject))
    replicas = max(1, subject.claims.replica_count)
    limit = placement.node.memory_bytes
    if limit and each * replicas > limit:
        yield found(
            "BP-H06",
            "memory",
            f"{replicas} replicas of {_gib(each)} each need {_gib(each * replicas)}, and the node "
            f"has {_gib(limit)}",
            "use fewer replicas, raise the container's memory limit, or use a larger node",
            evidence=Evidence(str(limit), str(each * replicas)),
        )


def _int8(subject: Subject, node: NodeFacts) -> Iterator[Finding]:
    model = subject.model
    if not isinstance(model, OnnxModel) or not node.cpu_flags or node.cpu_flags & INT8_FLAGS:
        return
    used = [use for use in model.operators if use.name in QUANTISED]
    if used and node.machine in {"x86_64", "AMD64"}:
        yield found(
            "BP-H04",
            "cpu",
            f"the model is INT8 ({used[0]}) and the CPU ({node.cpu_model}) has no VNNI: it is "
            "likely slower than FP32, and products of U8 and S8 may saturate",
            "use profile cpu-vnni, or serve the FP32 model",
            evidence=Evidence("", "avx512_vnni, avx_vnni or amx_int8"),
            severity=Severity.WARNING,
        )


def _gpu(subject: Subject, placement: Placement, choice: Choice) -> Iterator[Finding]:
    node, profile = placement.node, choice.profile
    gpus = usable_gpus(node, profile)
    if not gpus:
        return
    room = len(gpus) / profile.gpu_count if profile.gpu_count else float("inf")
    replicas = max(1, subject.claims.replica_count)
    if replicas > room:
        yield found(
            "BP-C04",
            "replicas",
            f"{replicas} replicas with {profile.gpu_count:g} GPUs each, and the node has "
            f"{len(gpus)} that can be used",
            "lower the count of instance_group, or use a profile that shares a GPU (cuda-half)",
            evidence=Evidence(str(len(gpus)), f"{replicas * profile.gpu_count:g}"),
        )
    yield from _architecture(subject, node, gpus[0])
    yield from _gpu_memory(subject, placement, choice, gpus[0])
    if gpus[0].other_process_bytes:
        yield found(
            "BP-H07",
            f"GPU {gpus[0].index}",
            f"other processes hold {_gib(gpus[0].other_process_bytes)} of it",
            "end them, or give the model a GPU of its own; nvidia-smi lists them",
            severity=Severity.WARNING,
        )


def _architecture(subject: Subject, node: NodeFacts, gpu: GpuFacts) -> Iterator[Finding]:
    major, minor = gpu.compute_capability
    if subject.format == "onnx":
        cuda = version_numbers(node.onnxruntime.cuda_version) if node.onnxruntime else ()
        oldest = OLDEST_CAPABILITY.get(cuda[0], (0, 0)) if cuda else (0, 0)
        if (major, minor) < oldest:
            yield found(
                "BP-H01",
                f"GPU {gpu.index}",
                f"{gpu.name} has compute capability {major}.{minor}, and CUDA {cuda[0]} begins at "
                f"{oldest[0]}.{oldest[1]}",
                "use a node with a newer GPU, or an onnxruntime-gpu for an older CUDA",
                evidence=Evidence(f"{major}.{minor}", f">= {oldest[0]}.{oldest[1]}"),
            )
        return
    built = node.torch.cuda_architectures if node.torch else ()
    if built and not any(_runs(architecture, major, minor) for architecture in built):
        yield found(
            "BP-H01",
            f"GPU {gpu.index}",
            f"{gpu.name} is sm_{major}{minor}, and this torch has code for {', '.join(built)} only",
            "install a torch that was built for this GPU, or use another node",
            evidence=Evidence(f"sm_{major}{minor}", ", ".join(built)),
        )


def _runs(architecture: str, major: int, minor: int) -> bool:
    """Tell whether code runs: `sm_80` on 8.0 and later of 8.x, `compute_80` on all from 8.0."""
    kind, _, digits = architecture.rstrip("af").partition("_")
    if not digits.isdecimal():
        return False
    built = divmod(int(digits), 10)
    if kind == "compute":
        return built <= (major, minor)
    return built[0] == major and built[1] <= minor


def _gpu_memory(
    subject: Subject, placement: Placement, choice: Choice, gpu: GpuFacts
) -> Iterator[Finding]:
    need, parts = _needed(subject, placement)
    share = choice.profile.gpu_count % 1 or 1.0
    free = min(gpu.free_memory_bytes, int(gpu.memory_bytes * share))
    if not need or need <= NEARLY_FULL * free:
        return
    yield found(
        "BP-H02",
        f"GPU {gpu.index}",
        f"a replica needs {_gib(need)} ({parts}), and {_gib(free)} are free",
        "lower max_batch_size, or use a GPU with more memory",
        evidence=Evidence(str(free), str(need)),
        severity=Severity.ERROR if need > free else Severity.WARNING,
    )


def _needed(subject: Subject, placement: Placement) -> tuple[int, str]:
    """Return the bytes of GPU memory of one replica, and what they are made of."""
    measured = subject.metadata.needs_gpu_memory_bytes if subject.metadata else 0
    if measured:
        return int(measured * MEASURED_FACTOR), "measured when it was packed, and a tenth more"
    weights = _weight_bytes(subject)
    if not weights:
        return 0, ""
    factor = ARENA_FACTOR.get(subject.format, 1.0)
    activations = int((placement.activation_bytes or 0) * factor)
    shown = (
        f"activations {_gib(activations)}"
        if placement.activation_bytes is not None
        else "activations unknown"
    )
    text = f"weights {_gib(weights)}, {shown}, context {_gib(CONTEXT_BYTES)}"
    return weights + activations + CONTEXT_BYTES, text


def _weight_bytes(subject: Subject) -> int:
    if isinstance(subject.model, OnnxModel | TorchScriptArchive | Pt2Archive):
        return subject.model.weight_bytes
    return 0


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f} GiB" if size_bytes < GIB else f"{size_bytes / GIB:.1f} GiB"
