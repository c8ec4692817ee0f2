"""Reads off an engine's files what it is, without importing it.

What only the engine itself can answer is 0 or empty here; `runtimes.onnx_probe` and
`runtimes.torch_probe` ask it, and pay for its import.
"""

import ast
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Final

from runtimes.facts import OnnxRuntimeFacts, TorchFacts

ONNX_DISTRIBUTIONS: Final = ("onnxruntime", "onnxruntime-gpu")
"""Distributions that write the module `onnxruntime`."""


def installed_version(distribution: str) -> str:
    """Return a distribution's version; empty where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def read_onnxruntime() -> OnnxRuntimeFacts | None:
    """Return what ONNX Runtime's files say, without importing it; None where there is none."""
    found = tuple(name for name in ONNX_DISTRIBUTIONS if installed_version(name))
    written = constants_of("onnxruntime", "capi/build_and_package_info.py")
    if written is None:
        return None
    return OnnxRuntimeFacts(
        version=written.get("__version__", "") or "".join(map(installed_version, found[-1:])),
        distributions=found,
        providers=(),
        max_opset=0,
        max_ir_version=0,
        cuda_version=written.get("cuda_version", ""),
    )


def read_torch() -> TorchFacts | None:
    """Return what torch's files say, without importing it; None where there is none."""
    written = constants_of("torch", "version.py")
    if written is None:
        return None
    return TorchFacts(version=written.get("__version__", ""), cuda_version=written.get("cuda", ""))


def constants_of(package: str, file: str) -> dict[str, str] | None:
    """Return the texts that a file of an installed package assigns to names, without running it.

    None where the package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / file
        if path.is_file():
            return assigned_texts(path.read_text(encoding="utf-8"))
    return None


def assigned_texts(code: str) -> dict[str, str]:
    """Return the string constants that Python code assigns to plain names at its top."""
    found: dict[str, str] = {}
    for node in ast.parse(code).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and is_text:
            found[target.id] = str(value.value)
    return found
