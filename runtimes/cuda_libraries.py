"""Asks the dynamic loader which library keeps ONNX Runtime's CUDA provider from being loaded."""

import ctypes
from pathlib import Path
from typing import Final

DRIVER_LIBRARY: Final = "libcuda.so.1"
PROVIDER_LIBRARY: Final = "libonnxruntime_providers_cuda.so"


def missing_library(name: str) -> str | None:
    """Return the library that keeps `name` from being loaded (itself or a need of it), or None."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        library, _, reason = str(error).partition(": ")
        return Path(library).name if reason.startswith("cannot open shared object") else None
    return None


def missing_for_provider(folder: Path) -> str | None:
    """Return the first library that the CUDA provider lacks, or None where it can be loaded.

    Args:
        folder: Where ONNX Runtime keeps its own libraries.
    """
    for name in (DRIVER_LIBRARY, str(folder / PROVIDER_LIBRARY)):
        lacking = missing_library(name)
        if lacking is not None:
            return lacking
    return None


def explain_missing(library: str | None) -> str:
    """Return what to do about the library that `missing_for_provider` named."""
    if library is None:
        return (
            "the NVIDIA driver shows no such device to this process; run `nvidia-smi`, or use cpu"
        )
    if library == PROVIDER_LIBRARY:
        return (
            "this ONNX Runtime was built without CUDA; install onnxruntime-gpu instead of "
            "onnxruntime, or serve the model with device cpu"
        )
    remedy = "the NVIDIA driver" if library == DRIVER_LIBRARY else "bascule[gpu]"
    return f"library {library} is missing; install {remedy}, or serve the model with device cpu"
