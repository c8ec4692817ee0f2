"""Pure: which nodes of an ONNX model run on the CPU although it was loaded for CUDA.

ONNX Runtime computes shapes on the CPU on purpose: the values are a few numbers that are needed
there. Its own switch against the CPU (`session.disable_cpu_ep_fallback`) refuses models for that,
too. So the nodes are looked at: operators that reckon with shapes are all right, any other one on
the CPU has no CUDA kernel for its datatype, and copies its tensors there and back in every run.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runtimes.errors import ModelLoadError

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


def placement_notes(
    nodes: Sequence[AssignedNode], provider: str, *, allow_cpu_nodes: bool
) -> tuple[str, ...]:
    """Return what an operator should know of nodes that the wanted provider does not run.

    Args:
        nodes: All nodes of the graph.
        provider: The one that was asked for.
        allow_cpu_nodes: Nodes without a kernel there may run elsewhere.

    Raises:
        ModelLoadError: They may not; or all nodes would, and the model as a whole never may.
    """
    elsewhere = [node for node in nodes if node.provider != provider]
    if nodes and len(elsewhere) == len(nodes):
        raise ModelLoadError(
            f"none of the model's {len(nodes)} nodes has a CUDA kernel ({_named(nodes)}), so all "
            "of it would run on the CPU: serve it with device cpu"
        )
    foreign = [node for node in elsewhere if node.operator not in SHAPE_OPERATORS]
    if not foreign:
        return ()
    told = f"{len(foreign)} of {len(nodes)} nodes have no CUDA kernel ({_named(foreign)})"
    if not allow_cpu_nodes:
        raise ModelLoadError(
            f"{told}, and the hardware profile lets none run on the CPU: export the model without "
            "them, or use a profile with allow_cpu_nodes"
        )
    return (f"{told} and run on the CPU: tensors are copied there and back in each run",)


def _named(nodes: Sequence[AssignedNode]) -> str:
    """Return the operators of nodes, the most frequent first."""
    counts = Counter(node.operator for node in nodes).most_common()
    named = [f"{count} {operator}" for operator, count in counts[:NAMED_OPERATORS]]
    return ", ".join(named) + (", …" if len(counts) > NAMED_OPERATORS else "")
