"""Waivers at the gate: what is allowed is loaded and told, and an end stops nothing that serves."""

from dataclasses import replace
from datetime import UTC, datetime

from runtimes.findings import Severity
from runtimes.preflight.waivers import Waiver
from serving.ids import VersionKey
from serving.registry.version import GoldenSpec
from serving.rollout.gate import Gate, Judged
from serving.rollout.sources import Selection, Sources
from serving.rollout.waived import waived
from tests.fakes.cluster import version_spec
from tests.fakes.gate_parts import FakeChecks, FakeNodes, finding
from tests.fakes.node_facts import CPU_NODE
from tests.fakes.sources import FakeFolder, FakeRegistry

A1, B1 = VersionKey("a", 1), VersionKey("b", 1)
ERROR = finding(Severity.ERROR)


def test_what_is_waived_is_wanted_and_told() -> None:
    """An error that somebody allows for this version keeps nothing from being loaded."""
    registry = FakeRegistry()
    registry.allowed = (waiver("BP-O01", version=1),)
    gate = Gate(FakeNodes(CPU_NODE), FakeChecks({A1: (ERROR,), B1: (ERROR,)}))
    folder = FakeFolder(version_spec(A1), version_spec(B1))

    desired = Sources(registry, folder, Selection(), gate).read()

    assert set(desired.versions) == {A1}
    assert set(desired.failed) == {B1}
    (told,) = desired.findings[A1]
    assert (told.severity, told.waiver) == (Severity.INFO, str(registry.allowed[0]))


def test_a_waiver_that_ends_takes_nothing_out_of_service() -> None:
    """What serves goes on, with the failure told; a process that starts then refuses it."""
    registry = FakeRegistry()
    registry.allowed = (waiver("BP-O01"),)
    gate = Gate(FakeNodes(CPU_NODE), FakeChecks({A1: (ERROR,)}))
    folder = FakeFolder(version_spec(A1))
    running = Sources(registry, folder, Selection(), gate)
    running.read()
    registry.allowed = ()

    desired = running.read()

    assert set(desired.versions) == {A1}
    assert desired.failed[A1] == str(ERROR)
    assert not Sources(registry, folder, Selection(), gate).read().versions


def test_golden_answers_are_waived_in_the_worker() -> None:
    """The waiver travels with the version, whose digest is another one: what failed is retried."""
    golden = GoldenSpec(
        samples=("0.npz",), inputs=(), outputs=(), same_environment=(), other_environment=()
    )
    spec = replace(version_spec(A1), golden=golden)
    allowed = waived(Judged(spec=spec), (waiver("BP-R01"),)).spec

    assert waived(Judged(spec=spec), ()).spec == spec
    assert allowed.digest != spec.digest
    assert allowed.golden is not None
    assert "by ana: trial" in allowed.golden.waiver
    assert waived(Judged(spec=version_spec(A1)), (waiver("BP-R01"),)).spec == version_spec(A1)


def waiver(code: str, *, version: int | None = None) -> Waiver:
    """A waiver of Ana's for model a."""
    until = datetime(2026, 5, 1, tzinfo=UTC)
    return Waiver(code=code, model="a", version=version, reason="trial", by="ana", until_utc=until)
