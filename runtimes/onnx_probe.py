"""Asks ONNX Runtime what it is. Imports it.

    python -m runtimes.onnx_probe      prints it as JSON, for a process that shall not import it

Its newest opset and IR version are in no documentation of the installed build: a model that claims
absurd ones is refused, and the refusal names them.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runtimes.cuda_libraries import DRIVER_LIBRARY, missing_for_provider
from runtimes.engine_probe import ONNX_DISTRIBUTIONS, installed_version
from runtimes.facts import DomainLimit, OnnxRuntimeFacts
from runtimes.facts_json import plain
from runtimes.onnx_engine import engine, onnxruntime
from runtimes.onnx_kernels import missing_cpu_kernels
from runtimes.onnx_refusals import IR_LIMIT, OPSET_LIMIT
from runtimes.onnxrt import CPU_PROVIDER, LOAD_FAILURES, preload_libraries, session_options

ABSURD: Final = 9999
"""No engine knows such an opset or IR version."""
KNOWN_IR: Final = 8
KNOWN_OPSET: Final = 17
DOMAINS: Final = ("ai.onnx.ml", "ai.onnx.preview.training", "ai.onnx.training", "com.microsoft")
"""Domains besides `ai.onnx` whose opsets it may limit."""


def ask() -> OnnxRuntimeFacts:
    """Return what the installed ONNX Runtime says of itself."""
    # A build without CUDA has no such attribute.
    cuda_version = str(getattr(onnxruntime, "cuda_version", "") or "")
    return OnnxRuntimeFacts(
        version=str(onnxruntime.__version__),
        distributions=tuple(name for name in ONNX_DISTRIBUTIONS if installed_version(name)),
        providers=tuple(onnxruntime.get_available_providers()),
        max_opset=limit_of(minimal_model(ir_version=KNOWN_IR, opset=ABSURD), OPSET_LIMIT),
        max_ir_version=limit_of(minimal_model(ir_version=ABSURD, opset=KNOWN_OPSET), IR_LIMIT),
        cuda_version=cuda_version,
        cuda_problem=cuda_problem() if cuda_version else "",
        missing_cpu_kernels=missing_cpu_kernels(),
        domains=tuple(domain_limits()),
    )


def domain_limits() -> Iterator[DomainLimit]:
    """Yield the newest opset of each domain for which the engine names one."""
    for domain in DOMAINS:
        model = minimal_model(ir_version=KNOWN_IR, opset=ABSURD, domain=domain)
        newest = limit_of(model, OPSET_LIMIT)
        if newest:
            yield DomainLimit(domain=domain, max_opset=newest)


def cuda_problem() -> str:
    """Return what keeps the CUDA provider from being loaded here; empty where it loads."""
    folder = Path(engine.__file__).parent
    lacking = missing_for_provider(folder)
    if lacking not in (None, DRIVER_LIBRARY):
        # With a driver, the libraries that came as packages count, which it has to be told of.
        preload_libraries()
        lacking = missing_for_provider(folder)
    return "" if lacking is None else f"library {lacking} is missing"


def minimal_model(*, ir_version: int, opset: int, domain: str = "") -> bytes:
    """Return the smallest ModelProto whose versions an engine looks at.

    Fields: 1 ir_version, 7 graph (2 its name), 8 opset_import (1 its domain, 2 its version).
    """
    graph = b"\x12\x01g"
    name = domain.encode()
    imported = (b"\x0a" + varint(len(name)) + name if name else b"") + b"\x10" + varint(opset)
    head = b"\x08" + varint(ir_version) + b"\x3a" + varint(len(graph)) + graph
    return head + b"\x42" + varint(len(imported)) + imported


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    out = bytearray()
    while number >> 7:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    return bytes([*out, number])


def limit_of(model: bytes, pattern: str) -> int:
    """Return the limit that the engine names when it refuses a model: the pattern's last group.

    0 where it names none: then nobody can say, and nothing is judged by it.
    """
    try:
        onnxruntime.InferenceSession(
            model, session_options(1), providers=[CPU_PROVIDER], enable_fallback=0
        )
    except LOAD_FAILURES as error:
        found = re.search(pattern, str(error), re.DOTALL)
        return int(found[found.re.groups]) if found else 0
    return 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(plain(ask())))
