"""What a TorchScript `forward` does besides giving its results, read from its graph.

A module that assigns its own attributes keeps state between calls, and so mixes its clients' calls.
One that writes into its inputs must not see memory that others use.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

# Counts batches during training; eval() modules never reach the instruction that changes it.
IDLE_ATTRIBUTES: Final = frozenset({"num_batches_tracked"})
TAKES_OUT: Final = frozenset(
    {"prim::ListUnpack", "prim::TupleUnpack", "prim::TupleIndex", "aten::__getitem__"}
)
"""What gives an element of its first input itself, although no schema says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What `forward` does besides giving its results."""

    attributes: tuple[str, ...]
    """Attributes of the module that it assigns or writes into."""
    writes_tensors: bool
    """It writes into tensors that may be its inputs."""
    has_loops: bool = False
    """It has a loop, whose number of turns may follow from its inputs' values."""


def effects_of(graph: torch.Graph) -> Effects:
    """Find what a `forward` does, from its inlined graph."""
    attributes: set[str] = set()
    writes_tensors = has_loops = False
    for node in _nodes(graph):
        has_loops = has_loops or node.kind() == "prim::Loop"
        if node.kind() == "prim::SetAttr":
            attributes.add(node.s("name"))
        for value in _written(node):
            origin = _origin(value.node())
            if origin.kind() == "prim::GetAttr":
                attributes.add(origin.s("name"))
            else:
                writes_tensors = True
    return Effects(
        attributes=tuple(sorted(attributes - IDLE_ATTRIBUTES)),
        writes_tensors=writes_tensors,
        has_loops=has_loops,
    )


def notes_of(effects: Effects) -> tuple[str, ...]:
    """Return what an operator should know of a module with these effects."""
    if not effects.attributes:
        return ()
    names = ", ".join(effects.attributes)
    note = (
        f"forward changes the module's own attributes ({names}): an answer can depend on the calls "
        "before it, also on other clients' calls; export a module that takes and returns its state"
    )
    return (note,)


def _nodes(block: torch.Graph | torch.Block) -> Iterator[torch.Node]:
    """Yield all nodes, those of branches and loops too."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _written(node: torch.Node) -> list[torch.Value]:
    """Return what an operator writes into: its schema marks that with (a!)."""
    if "!" not in node.schema():
        return []
    return [
        value
        for argument, value in zip(_arguments(node), node.inputs(), strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]


def _origin(node: torch.Node) -> torch.Node:
    """Return what first gave a tensor's memory: a view, or an element, is another's."""
    while (viewed := _viewed(node)) is not None:
        node = viewed.node()
    return node


def _viewed(node: torch.Node) -> torch.Value | None:
    """Return the input whose memory an operator's result shares: its schema marks both with (a)."""
    if node.kind() in TAKES_OUT:
        return next(iter(node.inputs()))
    if "(a" not in node.schema().rpartition("->")[2]:
        return None
    shared = zip(_arguments(node), node.inputs(), strict=False)
    return next((value for argument, value in shared if argument.alias_info is not None), None)


def _arguments(node: torch.Node) -> list[Any]:
    parsed: Any = torch._C.parse_schema(node.schema())  # noqa: SLF001  torch has no other reader
    return list(parsed.arguments)
