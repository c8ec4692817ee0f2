"""Which nodes of a model that was loaded for CUDA may run on the CPU."""

import pytest

from runtimes.errors import ModelLoadError
from runtimes.findings import Severity
from runtimes.onnx_placement import AssignedNode, Permission, Placement, placement_of

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
NONE, NODES = Permission(nodes=False), Permission(nodes=True)
ALL = Permission(nodes=True, whole_model=True)
ENGINE = "ONNX Runtime 1.20.1"


def node(operator: str, provider: str = CUDA) -> AssignedNode:
    """A node without a name."""
    return AssignedNode(provider=provider, name="", operator=operator)


def test_shapes_are_computed_on_the_cpu() -> None:
    """Operators that reckon with shapes stand on the CPU on purpose, and need no permission."""
    nodes = [node("Conv"), node("Shape", CPU), node("Gather", CPU), node("Concat", CPU)]

    assert placement_of(nodes, CUDA, NONE, ENGINE) == Placement()


def test_an_operator_without_a_kernel_is_told() -> None:
    """Where they are allowed, the operators that run on the CPU are named, with their number."""
    nodes = [*(node("Conv") for _ in range(20)), node("NonMaxSuppression", CPU)]

    (note,) = placement_of(nodes, CUDA, NODES, ENGINE).notes

    assert note.startswith("1 of 21 nodes have no CUDA kernel (1 NonMaxSuppression)")


def test_a_large_share_on_the_cpu_is_a_warning() -> None:
    """More than a tenth of the nodes there is a finding of its own, with the numbers."""
    nodes = [node("Conv"), node("NonMaxSuppression", CPU), node("NonMaxSuppression", CPU)]

    (finding,) = placement_of(nodes, CUDA, NODES, ENGINE).findings

    assert (finding.code, finding.severity) == ("BP-O06", Severity.WARNING)
    assert finding.found == "2 of 3"


def test_an_operator_without_a_kernel_needs_permission() -> None:
    """Where they are not, the model is refused, and what would allow them is said."""
    nodes = [node("Conv"), node("NonMaxSuppression", CPU), node("Shape", CPU)]

    with pytest.raises(ModelLoadError, match=r"1 NonMaxSuppression.*allow_cpu_nodes"):
        placement_of(nodes, CUDA, NONE, ENGINE)


def test_a_whole_model_never_runs_on_the_cpu_instead() -> None:
    """With no node on CUDA no permission helps: the device was asked for."""
    nodes = [node("TreeEnsembleRegressor", CPU), node("Cast", CPU)]

    with pytest.raises(ModelLoadError, match=r"none of the model's 2 nodes.*device cpu"):
        placement_of(nodes, CUDA, NODES, ENGINE)


def test_a_model_that_left_the_device_open_goes_to_the_cpu_and_says_so() -> None:
    """Where nobody asked for CUDA, a model without any kernel there serves, with a warning."""
    nodes = [node("TreeEnsembleRegressor", CPU), node("Cast", CPU)]

    placement = placement_of(nodes, CUDA, ALL, ENGINE)

    assert placement.goes_to_cpu
    (finding,) = placement.findings
    assert (finding.code, finding.severity) == ("BP-E01", Severity.WARNING)
    assert "1 TreeEnsembleRegressor" in finding.message


def test_one_node_on_the_device_keeps_the_model_there() -> None:
    """A device that was left open is used by what can use it."""
    nodes = [node("Conv"), node("NonMaxSuppression", CPU)]

    assert not placement_of(nodes, CUDA, ALL, ENGINE).goes_to_cpu


@pytest.mark.parametrize("permission", [NODES, ALL])
def test_an_engine_that_cannot_tell_is_told_of(permission: Permission) -> None:
    """Nobody knows what runs where: the model serves, and a warning names the engine."""
    placement = placement_of(None, CUDA, permission, ENGINE)

    (finding,) = placement.findings
    assert (finding.code, finding.severity) == ("BP-E01", Severity.WARNING)
    assert ENGINE in finding.message
    assert not placement.goes_to_cpu


def test_an_engine_that_refuses_such_nodes_itself_needs_no_warning() -> None:
    """Without permission the session was opened so that nothing can be on the CPU."""
    assert placement_of(None, CUDA, NONE, ENGINE) == Placement()


def test_a_model_without_nodes_is_nowhere() -> None:
    """A graph that optimization has emptied runs nothing anywhere."""
    assert placement_of([], CUDA, NONE, ENGINE) == Placement()
