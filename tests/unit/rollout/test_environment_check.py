"""What differs from where a version was packed or first placed is told, with both sides."""

from dataclasses import replace

import pytest

from runtimes.facts import NodeFacts
from runtimes.findings import Severity
from serving.registry.bundles.manifest import PackedOn
from serving.registry.environment import Environment, environment_of
from serving.rollout.environment_check import CODE, packed_findings, placed_findings
from tests.fakes.node_facts import CPU_NODE


def here(node: NodeFacts) -> Environment:
    """The environment of a run on the CPU."""
    return environment_of(node, format_name="echo", threads=1)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        pytest.param(CPU_NODE, "", id="the same"),
        pytest.param(
            replace(CPU_NODE, packages={"numpy": "2.4.6"}), "numpy 2.4.0 → 2.4.6", id="a library"
        ),
        pytest.param(replace(CPU_NODE, cpu_model="EPYC"), "→ EPYC", id="the CPU"),
        pytest.param(replace(CPU_NODE, system="Linux-7.0"), "", id="what changes no result"),
    ],
)
def test_what_can_change_results_is_told(node: NodeFacts, told: str) -> None:
    """Packing is information, the first placement a warning; nothing where nothing matters."""
    before, now = here(CPU_NODE), here(node)

    packed = list(packed_findings(PackedOn.of(before), now, "echo"))
    placed = list(placed_findings(before, now, "echo"))

    assert [(one.code, one.severity) for one in packed] == [(CODE, Severity.INFO)] * bool(told)
    assert [(one.code, one.severity) for one in placed] == [(CODE, Severity.WARNING)] * bool(told)
    assert all(told in one.message for one in (*packed, *placed))


def test_without_a_measured_environment_nothing_is_told() -> None:
    """A bundle that says little of its packing is no evidence."""
    assert not list(packed_findings(PackedOn(python="3.11", platform="Linux"), here(CPU_NODE), ""))
