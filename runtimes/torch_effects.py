"""What a TorchScript `forward` changes besides its results, read from its graph.

A module that assigns its own attributes keeps state between calls, and so mixes its clients' calls.
One that writes into its inputs must not see memory that others use.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch

# Counts batches during training; eval() modules never reach the instruction that changes it.
IDLE_ATTRIBUTES: Final = frozenset({"num_batches_tracked"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What `forward` changes besides its results."""

    attributes: tuple[str, ...]
    """Attributes of the module that it assigns or writes into."""
    writes_tensors: bool
    """It writes into tensors that may be its inputs."""


def effects_of(graph: torch.Graph) -> Effects:
    """Find what a `forward` changes, from its inlined graph."""
    attributes: set[str] = set()
    writes_tensors = False
    for node in _nodes(graph):
        if node.kind() == "prim::SetAttr":
            attributes.add(node.s("name"))
        elif "!" in node.schema():  # an operator that writes: (a!) marks what it writes into
            target = next(iter(node.inputs())).node()
            if target.kind() == "prim::GetAttr":
                attributes.add(target.s("name"))
            else:
                writes_tensors = True
    return Effects(
        attributes=tuple(sorted(attributes - IDLE_ATTRIBUTES)), writes_tensors=writes_tensors
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
