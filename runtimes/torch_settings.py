"""What a version's profile and policy set in torch, which knows such settings for a process only.

Where versions in one process want different things, the strictest counts: TF32 stays forbidden and
algorithms stay deterministic once a version asked for that. Of threads and of the bound on GPU
memory the last loaded version's count. A CUDA version has a process of its own.
"""

import os
from collections.abc import Iterator
from typing import Any, Final

import torch

from runtimes.contract import LoadRequest
from runtimes.devices import Device
from runtimes.errors import ModelLoadError
from runtimes.profile import Precision

CUBLAS_WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"
DETERMINISTIC_WORKSPACES: Final = (":4096:8", ":16:8")
"""The workspaces with which cuBLAS gives the same bits in every run, the faster one first."""


def apply_settings(request: LoadRequest) -> tuple[str, ...]:
    """Set up torch for a version that is about to be loaded; return notes for operators.

    Raises:
        ModelLoadError: Deterministic algorithms can no longer be had in this process.
    """
    torch.set_num_threads(1 if request.deterministic else request.threads)
    if request.deterministic:
        use_deterministic(request.device)
    if request.device.kind == "cpu":
        return ()
    bound_memory(request.device, request.gpu_arena_bytes)
    return tuple(set_precision(request.precision))


def use_deterministic(device: Device) -> None:
    """Allow only algorithms that give the same bits in every run, from now on.

    An operator that has none fails when it runs.

    Raises:
        ModelLoadError: CUDA has started with a workspace that rules it out.
    """
    # torch and cuBLAS read this name themselves, when CUDA starts.
    told = os.environ.get(CUBLAS_WORKSPACE)  # noqa: TID251  no setting of ours
    if device.kind == "cuda" and told not in DETERMINISTIC_WORKSPACES:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch has no types here
            raise ModelLoadError(
                f"the version asks for deterministic algorithms, and CUDA has started here with "
                f"{CUBLAS_WORKSPACE}={told or ''}: serve it in a process of its own, or start with "
                f"{CUBLAS_WORKSPACE}={DETERMINISTIC_WORKSPACES[0]}"
            )
        os.environ[CUBLAS_WORKSPACE] = DETERMINISTIC_WORKSPACES[0]  # noqa: TID251  see above
    torch.use_deterministic_algorithms(mode=True)


def set_precision(precision: Precision) -> Iterator[str]:
    """Forbid or allow TF32 in products and convolutions; yield a note where it stays forbidden."""
    backends: Any = torch.backends  # has no types here
    places = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    wanted = "ieee" if precision == "fp32" else "tf32"
    # torch begins with TF32 in convolutions: "ieee" there is what another version asked for.
    if wanted == "tf32" and backends.cudnn.conv.fp32_precision == "ieee":
        yield "TF32 stays forbidden: another version in this process asked for FP32"
        return
    for place in places:
        place.fp32_precision = wanted


def bound_memory(device: Device, limit_bytes: int) -> None:
    """Keep torch from taking more memory than this on a CUDA device; 0: all of it."""
    total = torch.cuda.get_device_properties(device.index).total_memory
    fraction = min(1.0, limit_bytes / total) if limit_bytes else 1.0
    torch.cuda.set_per_process_memory_fraction(fraction, device.index)
