"""Which nodes of a model that was loaded for CUDA may run on the CPU."""

import pytest

from runtimes.errors import ModelLoadError
from runtimes.onnx_placement import AssignedNode, placement_notes

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def node(operator: str, provider: str = CUDA) -> AssignedNode:
    """A node without a name."""
    return AssignedNode(provider=provider, name="", operator=operator)


def test_shapes_are_computed_on_the_cpu() -> None:
    """Operators that reckon with shapes stand on the CPU on purpose, and need no permission."""
    nodes = [node("Conv"), node("Shape", CPU), node("Gather", CPU), node("Concat", CPU)]

    assert placement_notes(nodes, CUDA, allow_cpu_nodes=False) == ()


def test_an_operator_without_a_kernel_is_told() -> None:
    """Where they are allowed, the operators that run on the CPU are named, with their number."""
    nodes = [node("Conv"), node("NonMaxSuppression", CPU), node("NonMaxSuppression", CPU)]

    (note,) = placement_notes(nodes, CUDA, allow_cpu_nodes=True)

    assert note.startswith("2 of 3 nodes have no CUDA kernel (2 NonMaxSuppression)")


def test_an_operator_without_a_kernel_needs_permission() -> None:
    """Where they are not, the model is refused, and what would allow them is said."""
    nodes = [node("Conv"), node("NonMaxSuppression", CPU), node("Shape", CPU)]

    with pytest.raises(ModelLoadError, match=r"1 NonMaxSuppression.*allow_cpu_nodes"):
        placement_notes(nodes, CUDA, allow_cpu_nodes=False)


def test_a_whole_model_never_runs_on_the_cpu_instead() -> None:
    """With no node on CUDA no permission helps: the device was asked for."""
    nodes = [node("TreeEnsembleRegressor", CPU), node("Cast", CPU)]

    with pytest.raises(ModelLoadError, match=r"none of the model's 2 nodes.*device cpu"):
        placement_notes(nodes, CUDA, allow_cpu_nodes=True)


def test_a_model_without_nodes_is_nowhere() -> None:
    """A graph that optimization has emptied runs nothing anywhere."""
    assert placement_notes([], CUDA, allow_cpu_nodes=False) == ()
