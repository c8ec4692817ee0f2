"""Measures what this node is, without any verdict, and imports no engine unless it is asked to.

Without engines a probe takes some 50 ms, most of it NVML's.
"""

import importlib
import importlib.metadata
import os
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from runtimes.engine_probe import installed_version, read_onnxruntime, read_torch
from runtimes.errors import EngineError
from runtimes.facts import NodeFacts, OnnxRuntimeFacts, TorchFacts
from runtimes.gpu_probe import Nvml, SystemNvml, probe_gpus
from runtimes.gpu_visible import VARIABLE
from runtimes.kernel_files import text_of
from runtimes.memory import free_memory_bytes, usable_memory_bytes
from runtimes.threads import available_cpus

Engine = Literal["onnx", "torch"]

CPU_INFO: Final = Path("/proc/cpuinfo")
PACKAGES: Final = (
    "bascule",
    "ml_dtypes",
    "numpy",
    "nvidia-cublas",
    "nvidia-cublas-cu12",
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "triton",
)
"""Packages whose version can change a result."""


def probe(
    engines: Collection[Engine] = (),
    *,
    labels: Mapping[str, str] = MappingProxyType({}),
    nvml: Nvml | None = None,
) -> NodeFacts:
    """Measure this node.

    Args:
        engines: Engines to import and ask; of the others only what their files say is known.
        labels: What an operator says of the node.
        nvml: Where GPUs are asked for; the driver's, unless a test brings another.

    Raises:
        EngineError: An engine that was asked is there and cannot be imported.
    """
    own = os.environ.get(VARIABLE)  # noqa: TID251  CUDA's, no setting of ours
    gpus = probe_gpus(nvml or SystemNvml(), own)
    model, flags = cpu_of(text_of(CPU_INFO))
    return NodeFacts(
        machine=platform.machine(),
        system=f"{platform.system()}-{platform.release()}",
        libc=" ".join(platform.libc_ver()).strip(),
        cpu_model=model,
        cpu_flags=flags,
        cpu_count=available_cpus(),
        memory_bytes=usable_memory_bytes(),
        free_memory_bytes=free_memory_bytes(),
        python=platform.python_version(),
        packages=_versions(),
        driver=gpus.driver,
        driver_cuda=gpus.driver_cuda,
        gpus=gpus.gpus,
        gpu_problem=gpus.problem,
        onnxruntime=_onnxruntime(is_asked="onnx" in engines),
        torch=_torch(is_asked="torch" in engines),
        labels=MappingProxyType(dict(labels)),
    )


def cpu_of(info: str) -> tuple[str, frozenset[str]]:
    """Return model and flags of the first processor in the text of /proc/cpuinfo.

    x86 lists `flags`, Arm `Features`; a flag that not every processor has does not exist on x86,
    and the kernel leaves it out on Arm.
    """
    first = info.strip().partition("\n\n")[0]
    fields: dict[str, str] = {}
    for line in first.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags") or fields.get("Features") or ""
    return fields.get("model name", ""), frozenset(flags.split())


def _versions() -> Mapping[str, str]:
    found = {name: text for name in PACKAGES if (text := installed_version(name))}
    return MappingProxyType(found)


def _onnxruntime(*, is_asked: bool) -> OnnxRuntimeFacts | None:
    read = read_onnxruntime()
    asked: OnnxRuntimeFacts | None = _ask("runtimes.onnx_probe") if read and is_asked else None
    return asked or read


def _torch(*, is_asked: bool) -> TorchFacts | None:
    read = read_torch()
    asked: TorchFacts | None = _ask("runtimes.torch_probe") if read and is_asked else None
    return asked or read


def _ask(module: str) -> Any:  # noqa: ANN401  each module's own facts
    try:
        return importlib.import_module(module).ask()
    except ImportError as error:
        raise EngineError(
            f"an engine is installed and cannot be imported: {error}: install it again"
        ) from error
