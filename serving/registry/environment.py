"""Pure: what a result depends on besides model and inputs, as a record, a fingerprint and a diff.

Two runs with equal fingerprints are held to the strict tolerances of golden samples. What cannot
change a result is recorded for people and left out of the fingerprint: the kernel's release, and
the packages of engines that did not run. GPU fields are empty where the CPU computed.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from runtimes.devices import CPU, Device
from runtimes.facts import GpuFacts, NodeFacts

ENGINE_FLAG: Final = re.compile(
    r"ssse3|sse4_[12]|fma4?|f16c|avx\w*|amx_\w+|asimd\w*|fphp|neon|sve\w*|sme[2bfi]\w*|bf16|i8mm"
)
"""CPU flags by which engines choose their code."""
PACKAGES_OF: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "onnx": re.compile(r"bascule|numpy|ml_dtypes|onnxruntime(-gpu)?"),
        "torchscript": re.compile(r"bascule|numpy|ml_dtypes|torch|triton"),
        "torch_export": re.compile(r"bascule|numpy|ml_dtypes|torch|triton"),
    }
)
"""Packages that can change a result of a format; of formats that are not listed here, all do."""
GPU_PACKAGE: Final = re.compile(r"nvidia-.*")
CUDNN_PACKAGE: Final = re.compile(r"nvidia-cudnn-cu\d+")
PLAIN_FIELDS: Final = (
    "python",
    "libc",
    "cpu_model",
    "gpu",
    "driver",
    "cuda",
    "cudnn",
    "threads",
)


class Described(Protocol):
    """What is known of an environment: here, or in a manifest."""

    @property
    def python(self) -> str:
        """Python's version."""

    @property
    def platform(self) -> str:
        """System and architecture, for people."""

    @property
    def packages(self) -> Mapping[str, str]:
        """Installed version of each package that can change a result."""

    @property
    def libc(self) -> str:
        """The C library with its version."""

    @property
    def cpu_model(self) -> str:
        """The CPU; empty: nobody measured the environment."""

    @property
    def cpu_flags(self) -> tuple[str, ...]:
        """The flags that choose code paths in engines, sorted."""

    @property
    def gpu(self) -> str:
        """Name of the GPU that computes; empty: the CPU does."""

    @property
    def driver(self) -> str:
        """Its driver's version."""

    @property
    def cuda(self) -> str:
        """The engine's CUDA."""

    @property
    def cudnn(self) -> str:
        """The cuDNN beside it."""

    @property
    def threads(self) -> int:
        """Engine threads of a run; 0: left open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment as it is here; the fields are those of `Described`."""

    python: str
    platform: str
    packages: Mapping[str, str]
    libc: str
    cpu_model: str
    cpu_flags: tuple[str, ...]
    gpu: str
    driver: str
    cuda: str
    cudnn: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two environments."""

    field: str
    """`numpy`, `driver`, `threads`, … or `cpu_flags`."""
    before: str
    after: str
    matters: bool = True
    """It can change a result: it is part of the fingerprint."""

    def __str__(self) -> str:
        """Print as people write it: `numpy 2.4.1 → 2.4.6`."""
        return f"{self.field} {self.before or 'none'} → {self.after or 'none'}"


def environment_of(
    facts: NodeFacts, *, format_name: str, threads: int, device: Device = CPU
) -> Environment:
    """Return the environment of a run on a node.

    Args:
        facts: The node.
        format_name: The model's format, which says whose CUDA counts.
        threads: Engine threads of the run.
        device: Where it ran.
    """
    gpu = _gpu(facts, device)
    return Environment(
        python=facts.python,
        platform=f"{facts.system} {facts.machine}".strip(),
        packages=dict(sorted(facts.packages.items())),
        libc=facts.libc,
        cpu_model=facts.cpu_model,
        cpu_flags=tuple(sorted(flag for flag in facts.cpu_flags if ENGINE_FLAG.fullmatch(flag))),
        gpu=gpu.name if gpu else "",
        driver=facts.driver if gpu else "",
        cuda=_cuda(facts, format_name) if gpu else "",
        cudnn=_cudnn(facts) if gpu else "",
        threads=threads,
    )


def fingerprint(environment: Described, format_name: str) -> str:
    """Return the sha256 of all that can change a result, as canonical JSON, in hexadecimal."""
    values = dict(_fields(environment, format_name, only_what_matters=True))
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(before: Described, after: Described, format_name: str = "") -> tuple[Change, ...]:
    """Return what differs between two environments, what can change a result first."""
    both = before, after
    shown = [dict(_fields(item, format_name, only_what_matters=False)) for item in both]
    counted = {
        name for item in both for name, _ in _fields(item, format_name, only_what_matters=True)
    }
    flags = [frozenset(item.cpu_flags) for item in both]
    found = [
        Change(
            field=name,
            before=shown[0].get(name, ""),
            after=shown[1].get(name, ""),
            matters=name in counted,
        )
        for name in dict.fromkeys((*shown[0], *shown[1]))
        if shown[0].get(name, "") != shown[1].get(name, "") and name != "cpu_flags"
    ]
    if flags[0] != flags[1]:
        gone, new = (" ".join(sorted(some)) for some in (flags[0] - flags[1], flags[1] - flags[0]))
        found.append(Change(field="cpu_flags", before=gone, after=new))
    return tuple(sorted(found, key=lambda change: not change.matters))


def _fields(
    environment: Described, format_name: str, *, only_what_matters: bool
) -> Iterator[tuple[str, str]]:
    """Yield the fields by name; a package is a field of its own."""
    for name, version in environment.packages.items():
        if not only_what_matters or _matters(name, format_name, on_gpu=bool(environment.gpu)):
            yield name, version
    for name in PLAIN_FIELDS:
        yield name, str(getattr(environment, name) or "")
    yield "cpu_flags", " ".join(sorted(environment.cpu_flags))
    if not only_what_matters:
        yield "platform", environment.platform


def _matters(package: str, format_name: str, *, on_gpu: bool) -> bool:
    if GPU_PACKAGE.fullmatch(package):
        return on_gpu
    pattern = PACKAGES_OF.get(format_name)
    return pattern is None or pattern.fullmatch(package) is not None


def _gpu(facts: NodeFacts, device: Device) -> GpuFacts | None:
    if device.kind == "cpu":
        return None
    return next((gpu for gpu in facts.gpus if gpu.index == device.index), None)


def _cuda(facts: NodeFacts, format_name: str) -> str:
    if format_name == "onnx":
        return facts.onnxruntime.cuda_version if facts.onnxruntime else ""
    return facts.torch.cuda_version if facts.torch else ""


def _cudnn(facts: NodeFacts) -> str:
    return next(
        (text for name, text in facts.packages.items() if CUDNN_PACKAGE.fullmatch(name)), ""
    )
