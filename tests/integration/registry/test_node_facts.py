"""A node's facts carry the limits of its engine, and a gate refuses by them."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtimes import onnx_probe
from runtimes.engine_probe import read_onnxruntime
from runtimes.facts_json import facts_json
from runtimes.profile import SHIPPED
from serving.ids import VersionKey
from serving.registry.bundles.dependencies import Policy
from serving.registry.preflight.facts_file import parse_facts
from serving.registry.preflight.node_facts import measure_node, with_limits
from serving.rollout.static_checks import StaticChecks
from tests.fakes.cluster import version_spec
from tests.fakes.models import bad_opset


def test_the_limits_are_what_the_engine_says() -> None:
    """A process that does not import it learns its newest opsets and IR version."""
    assert measure_node().onnxruntime == replace(onnx_probe.ask(), providers=(), cuda_problem="")


@pytest.mark.parametrize(
    "program",
    [
        pytest.param((sys.executable, "-c", "raise SystemExit('broken')"), id="it fails"),
        pytest.param((sys.executable, "-c", "print('no JSON')"), id="it says something else"),
        pytest.param(("/no/such/program",), id="it is not there"),
    ],
)
def test_an_engine_that_does_not_answer_has_no_known_limits(program: tuple[str, ...]) -> None:
    """Nothing is refused for what nobody knows; the workers will say what is wrong."""
    found = read_onnxruntime()
    assert found is not None

    assert with_limits(found, program) == found


@pytest.mark.parametrize(
    ("lock_file", "codes"), [("", {"BP-O01"}), ("/locks/lock.txt", set())], ids=["ours", "isolated"]
)
def test_a_gate_refuses_by_the_limits_of_another_node(
    tmp_path: Path, lock_file: str, codes: set[str]
) -> None:
    """Facts that were exported there are enough; a version with an engine of its own is let by."""
    node = parse_facts(facts_json(measure_node()).encode(), "facts.json")
    file = tmp_path / "model.onnx"
    file.write_bytes(bad_opset())
    spec = version_spec(VersionKey("m", 1), file=str(file), lock_file=lock_file)

    found = StaticChecks(SHIPPED, Policy.WARN).check(spec, (node,))

    assert found is not None
    assert {one.code for one in found if one.code.startswith("BP-O")} == codes
