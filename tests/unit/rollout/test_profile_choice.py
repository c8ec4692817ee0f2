"""A version runs with the first of its profiles that a node fits, or not at all."""

from dataclasses import replace

import pytest

from runtimes.facts import NodeFacts
from runtimes.findings import Severity
from runtimes.profile import SHIPPED
from serving.registry.version import ServingPolicy
from serving.rollout.profile_choice import choose
from tests.fakes.node_facts import CPU_NODE, T4_NODE


@pytest.mark.parametrize(
    ("nodes", "chosen", "device", "gpu_count"),
    [
        pytest.param((T4_NODE,), "cuda-turing", "cuda", 1.0, id="the first choice"),
        pytest.param((CPU_NODE,), "cpu", "cpu", 0.0, id="the second choice"),
        pytest.param((CPU_NODE, T4_NODE), "cuda-turing", "cuda", 1.0, id="one node of several"),
    ],
)
def test_the_first_profile_that_a_node_fits_is_chosen(
    nodes: tuple[NodeFacts, ...], chosen: str, device: str, gpu_count: float
) -> None:
    """The order of preference counts, not the order of nodes."""
    policy = ServingPolicy(profiles=("cuda-turing", "cpu"))

    made = choose(policy, SHIPPED, nodes).policy

    assert (made.profile, made.device, made.gpu_count) == (chosen, device, gpu_count)


def test_a_second_choice_is_said_with_its_reason() -> None:
    """A warning names the profile that was passed over, and what the node lacks."""
    choice = choose(ServingPolicy(profiles=("cuda-turing", "cpu")), SHIPPED, (CPU_NODE,))

    (warning,) = choice.findings
    assert warning.severity is Severity.WARNING
    assert "not with cuda-turing" in warning.message
    assert "0 usable GPUs" in warning.message


def test_where_no_node_fits_the_version_is_refused() -> None:
    """The error names every profile, what was found, and a remedy."""
    choice = choose(ServingPolicy(profiles=("cuda-turing", "cuda-hopper")), SHIPPED, (CPU_NODE,))

    (error,) = choice.findings
    assert error.severity is Severity.ERROR
    assert {"cuda-turing", "cuda-hopper"} <= set(error.subject.split(", "))
    assert "use a node with an NVIDIA GPU" in error.fix
    assert choice.policy.profile == ""


def test_an_unknown_profile_is_refused() -> None:
    """Its name is told, and the names that there are."""
    (error,) = choose(ServingPolicy(profiles=("cuda-amper",)), SHIPPED, (CPU_NODE,)).findings

    assert "'cuda-amper' is not defined" in error.message
    assert "cuda-ampere" in error.fix


@pytest.mark.parametrize("policy", [ServingPolicy(), ServingPolicy(profiles=("cuda",))])
def test_nothing_is_refused_for_nodes_that_nobody_knows(policy: ServingPolicy) -> None:
    """Without facts, and without profiles, the policy stays as it is."""
    assert choose(policy, SHIPPED, ()).policy == policy


def test_threads_of_the_configuration_win() -> None:
    """A profile completes a policy and overrules nothing that it says."""
    small = choose(ServingPolicy(profiles=("cpu-small",)), SHIPPED, (CPU_NODE,)).policy
    own = choose(ServingPolicy(profiles=("cpu-small",), threads=2), SHIPPED, (CPU_NODE,)).policy

    assert (small.threads, own.threads) == (1, 2)


@pytest.mark.parametrize(
    ("profiles", "may_use_cpu"),
    [
        pytest.param(("cuda-turing",), False, id="CUDA was asked for"),
        pytest.param(("cuda-turing", "cpu"), True, id="a CPU will do"),
        pytest.param(("lenient",), True, id="the profile allows it"),
    ],
)
def test_a_model_without_a_kernel_may_run_on_the_cpu_if_it_was_left_open(
    profiles: tuple[str, ...],
    may_use_cpu: bool,  # noqa: FBT001  a case
) -> None:
    """Who lists GPUs only, and no profile that lets nodes run on the CPU, gets a GPU or nothing."""
    lenient = replace(SHIPPED["cuda"], name="lenient", allow_cpu_nodes=True)

    made = choose(ServingPolicy(profiles=profiles), {**SHIPPED, "lenient": lenient}, (T4_NODE,))

    assert made.policy.device == "cuda"
    assert made.policy.may_use_cpu is may_use_cpu
