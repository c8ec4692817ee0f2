"""Measures this node for those who judge versions: with the limits of its engine.

Which opsets ONNX Runtime loads only it can tell, and importing it takes memory that a controller or
an edge has no use for: so a child process asks it, in about half a second.
"""

import subprocess
import sys
from dataclasses import replace
from typing import Final

import msgspec
import structlog

from runtimes.facts import NodeFacts, OnnxRuntimeFacts
from runtimes.node_probe import probe

ASK: Final = (sys.executable, "-P", "-m", "runtimes.onnx_probe")
LIMIT_S: Final = 60.0
SHOWN_CHARACTERS: Final = 400

log = structlog.get_logger(__name__)


def measure_node() -> NodeFacts:
    """Return what this node is; where the engine does not answer, its limits are unknown."""
    facts = probe()
    if facts.onnxruntime is None:
        return facts
    return replace(facts, onnxruntime=with_limits(facts.onnxruntime))


def with_limits(found: OnnxRuntimeFacts, ask: tuple[str, ...] = ASK) -> OnnxRuntimeFacts:
    """Return what an engine's files say of it, with the limits that it names itself.

    Args:
        found: What its files say.
        ask: The program that asks it.
    """
    try:
        said = subprocess.run(  # noqa: S603  our own program only
            ask, capture_output=True, timeout=LIMIT_S, check=True, stdin=subprocess.DEVNULL
        )
        asked = msgspec.json.decode(said.stdout, type=OnnxRuntimeFacts)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        raw = error.stderr if isinstance(error, subprocess.CalledProcessError) else b""
        told = (raw or b"").decode(errors="replace")[-SHOWN_CHARACTERS:].strip()
        log.warning("engine_limits_unknown", error=str(error), said=told)
        return found
    return replace(
        found,
        max_opset=asked.max_opset,
        max_ir_version=asked.max_ir_version,
        domains=asked.domains,
        missing_cpu_kernels=asked.missing_cpu_kernels,
    )
