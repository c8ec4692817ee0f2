"""Pure: which nodes of an ONNX model run on the CPU although it was loaded for CUDA.

ONNX Runtime computes shapes on the CPU on purpose: the values are a few numbers that are needed
there. Its own switch against the CPU (`session.disable_cpu_ep_fallback`) refuses models for that,
too. So the nodes are looked at: operators that reckon with shapes are all right, any other one on
the CPU has no CUDA kernel for its datatype, and copies its tensors there and back in every run.

An engine that is too old to tell what runs where is told to refuse such nodes itself where none is
allowed; where some are, nobody knows which, and that is said.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runtimes.errors import ModelLoadError
from runtimes.findings import Finding, Severity
from runtimes.preflight.catalogue import Evidence, found

CODE: Final = "BP-E01"
SHARE_CODE: Final = "BP-O06"
LARGE_SHARE: Final = 0.1
"""Of the nodes: more on the CPU than that is worth a warning."""
NAMED_OPERATORS: Final = 5
_SHAPE_WORK: Final = """
Abs Add And Cast Ceil Concat Constant ConstantOfShape Div Equal Expand Flatten Floor Gather
GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg Not Or
Range ReduceMax ReduceMin ReduceProd ReduceSum Reshape ScatterElements ScatterND Shape Size Slice
Split Squeeze Sub Tile Transpose Unsqueeze Where
"""
SHAPE_OPERATORS: Final = frozenset(_SHAPE_WORK.split())
"""What models compute shapes with. All have CUDA kernels for the datatypes of activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedNode:
    """One node of a graph as it will be run."""

    provider: str
    name: str
    operator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What may run on the CPU of a model that was loaded for CUDA."""

    nodes: bool
    """Nodes without a kernel there."""
    whole_model: bool = False
    """All of it, where no node has a kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What becomes of a model that was loaded for CUDA, and what an operator should know of it."""

    goes_to_cpu: bool = False
    """It is to be loaded again, for the CPU."""
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def placement_of(
    nodes: Sequence[AssignedNode] | None, provider: str, permission: Permission, engine: str
) -> Placement:
    """Judge the nodes that the wanted provider does not run.

    Args:
        nodes: All nodes of the graph; None: the engine does not tell what runs where.
        provider: The one that was asked for.
        permission: What may run elsewhere.
        engine: The engine with its version, for people.

    Raises:
        ModelLoadError: Something is not allowed; the message says what would allow it.
    """
    if nodes is None:
        return Placement(findings=(_untold(engine),)) if permission.nodes else Placement()
    elsewhere = [node for node in nodes if node.provider != provider]
    if nodes and len(elsewhere) == len(nodes):
        if permission.whole_model:
            return Placement(goes_to_cpu=True, findings=(_moved(nodes),))
        raise ModelLoadError(
            f"none of the model's {len(nodes)} nodes has a CUDA kernel ({_named(nodes)}), so all "
            "of it would run on the CPU: serve it with device cpu",
            finding=SHARE_CODE,
        )
    foreign = [node for node in elsewhere if node.operator not in SHAPE_OPERATORS]
    if not foreign:
        return Placement()
    told = f"{len(foreign)} of {len(nodes)} nodes have no CUDA kernel ({_named(foreign)})"
    if not permission.nodes:
        raise ModelLoadError(
            f"{told}, and the hardware profile lets none run on the CPU: export the model without "
            "them, or use a profile with allow_cpu_nodes",
            finding=SHARE_CODE,
        )
    if len(foreign) > LARGE_SHARE * len(nodes):
        return Placement(findings=(_shared(told, len(foreign), len(nodes)),))
    note = f"{told} and run on the CPU: tensors are copied there and back in each run"
    return Placement(notes=(note,))


def _moved(nodes: Sequence[AssignedNode]) -> Finding:
    return found(
        CODE,
        "device",
        f"it runs on the CPU of a worker that has a GPU: none of its {len(nodes)} nodes has a CUDA "
        f"kernel ({_named(nodes)})",
        "write kind: KIND_CPU into its instance_group, or let it list a profile for the CPU, so "
        "that it holds no GPU",
        severity=Severity.WARNING,
    )


def _shared(told: str, count: int, node_count: int) -> Finding:
    return found(
        SHARE_CODE,
        "device",
        f"{told} and run on the CPU, more than {LARGE_SHARE:.0%}: tensors are copied there and "
        "back in each run",
        "export the model with operators and datatypes that CUDA has kernels for, or serve it on "
        "the CPU",
        evidence=Evidence(f"{count} of {node_count}", f"at most {LARGE_SHARE:.0%} on the CPU"),
        severity=Severity.WARNING,
    )


def _untold(engine: str) -> Finding:
    return found(
        CODE,
        "device",
        f"some or all of its nodes may run on the CPU, and {engine} does not tell which",
        "let it run with a newer onnxruntime, or with a profile without allow_cpu_nodes, which "
        "refuses it if one does",
        severity=Severity.WARNING,
    )


def _named(nodes: Sequence[AssignedNode]) -> str:
    """Return the operators of nodes, the most frequent first."""
    counts = Counter(node.operator for node in nodes).most_common()
    named = [f"{count} {operator}" for operator, count in counts[:NAMED_OPERATORS]]
    return ", ".join(named) + (", …" if len(counts) > NAMED_OPERATORS else "")
