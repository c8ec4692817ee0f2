"""Is this node fit for the measurement: its facts, its tools, and preflight of every model.

`obstacle` is pure and says why a case cannot run here; the rest asks the node.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.cases import Case
from benchmarks.instance import BASCULE
from benchmarks.load_tools import PACKAGES
from runtimes.facts import NodeFacts
from runtimes.node_probe import probe

LOAD_TOOL: Final = "wrk"
SHARED_MODE: Final = "default"


class NodeError(Exception):
    """A command that checks the node did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that preflight or doctor found."""

    code: str
    is_error: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The node that is measured, as it was before."""

    facts: NodeFacts
    has_load_tool: bool
    doctor: tuple[Problem, ...]
    """What `bascule doctor` does not call ok."""


def look() -> Node:
    """Measure the node: facts with both engines asked, tools, doctor.

    Raises:
        NodeError: `bascule doctor` did not answer.
        EngineError: An engine is installed and cannot be imported.
    """
    lines = _asked(["doctor", "--json"])
    return Node(
        facts=probe(("onnx", "torch")),
        has_load_tool=shutil.which(LOAD_TOOL) is not None,
        doctor=tuple(
            Problem(
                code=line["subject"],
                is_error=line["level"] == "error",
                text=". ".join(filter(None, (line["text"], line["remedy"]))),
            )
            for line in lines
            if line["level"] != "ok"
        ),
    )


def preflight(folder: Path) -> tuple[Problem, ...]:
    """Return what `bascule preflight` finds of a model's folder on this node.

    Raises:
        NodeError: It could not be checked.
    """
    return findings_of(_asked(["preflight", str(folder), "--json"]))


def findings_of(told: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Read what preflight printed."""
    return tuple(
        Problem(
            code=one["code"],
            is_error=one["severity"] == "error",
            text=f"{one['subject']}: {one['message']}",
        )
        for one in told["findings"]
    )


def obstacle(case: Case, node: Node, found: Sequence[Problem]) -> str | None:
    """Return why a case cannot run on this node, the first cause first; None: it can.

    Args:
        case: What is to run.
        node: Where.
        found: What preflight says of the case's model.
    """
    if case.device == "cuda":
        reason = _gpu_obstacle(node.facts) or _engine_obstacle(case, node.facts)
        if reason is not None:
            return reason
    if errors := [one for one in found if one.is_error]:
        return "; ".join(f"preflight {one.code}: {one.text}" for one in errors)
    if not node.has_load_tool:
        return (
            f"no {LOAD_TOOL} on PATH to load the edge with: apt-get install {PACKAGES[LOAD_TOOL]}"
        )
    return None


def _gpu_obstacle(facts: NodeFacts) -> str | None:
    if not facts.gpus:
        return f"no GPU here: {facts.gpu_problem or 'the driver shows none'}"
    usable = next((gpu for gpu in facts.gpus if not gpu.is_mig), None)
    if usable is None:
        return f"GPU {facts.gpus[0].index} is cut into MIG instances, and none of them can be used"
    if usable.compute_mode != SHARED_MODE:
        return (
            f"GPU {usable.index} is in compute mode {usable.compute_mode}: the bare loop and the "
            "worker hold it at the same time"
        )
    return None


def _engine_obstacle(case: Case, facts: NodeFacts) -> str | None:
    is_onnx = case.engine == "onnx"
    engine, name = (facts.onnxruntime, "ONNX Runtime") if is_onnx else (facts.torch, "torch")
    if engine is None:
        return f"{name} is not installed"
    if not engine.cuda_version:
        return f"{name} {engine.version} is a build for the CPU"
    if engine.cuda_problem:
        return f"{name} {engine.version} cannot use CUDA here: {engine.cuda_problem}"
    return None


def _asked(arguments: Sequence[str]) -> Any:
    """Run a command that prints JSON, and exits with what it found."""
    done = subprocess.run([BASCULE, *arguments], capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as error:
        said = done.stderr.strip() or done.stdout.strip()
        raise NodeError(f"bascule {' '.join(arguments)}: {said}") from error
