"""The gate before placement: what cannot work is refused, what is odd is told."""

from dataclasses import replace

import pytest

from runtimes.findings import Severity
from serving.cluster.recall import accepted_versions, remembered
from serving.edge.routes import RouteTable
from serving.ids import VersionKey
from serving.registry.repository import FailedVersion, ModelScan
from serving.registry.version import VersionSpec
from serving.rollout.gate import Gate
from serving.rollout.ports import PoolSpec
from serving.rollout.sources import Selection, Sources
from tests.fakes.cluster import version_spec
from tests.fakes.gate_parts import FakeChecks, FakeNodes, UnreadableChecks, finding
from tests.fakes.node_facts import CPU_NODE, T4_NODE
from tests.fakes.sources import FakeFolder, FakeRegistry

A1, B1 = VersionKey("a", 1), VersionKey("b", 1)
ERROR, WARNING = finding(Severity.ERROR), finding(Severity.WARNING)


def sources(folder: FakeFolder, checks: FakeChecks) -> Sources:
    """Sources over a folder, with a gate."""
    gate = Gate(FakeNodes(CPU_NODE), checks)
    return Sources(FakeRegistry(), folder, Selection(mode="poll"), gate)


def pool_of(pool: str, *specs: VersionSpec) -> PoolSpec:
    """A pool that hosts these versions."""
    return PoolSpec(pool=pool, dedicated=False, replica_count=1, gpu_count=0, versions=specs)


def test_an_error_keeps_a_version_from_being_wanted() -> None:
    """It has failed, with code and remedy; the others are wanted."""
    folder = FakeFolder(version_spec(A1), version_spec(B1))

    desired = sources(folder, FakeChecks({A1: (ERROR,)})).read()

    assert set(desired.versions) == {B1}
    assert desired.failed[A1] == str(ERROR)
    assert desired.findings[A1] == (ERROR,)


def test_a_warning_is_told_and_refuses_nothing() -> None:
    """The version is wanted, and what was noticed goes with it."""
    desired = sources(FakeFolder(version_spec(A1)), FakeChecks({A1: (WARNING,)})).read()

    assert set(desired.versions) == {A1}
    assert desired.findings == {A1: (WARNING,)}
    assert not desired.failed


def test_a_refused_form_does_not_end_the_one_before_it() -> None:
    """What served goes on serving, and the failure of the newer form is told."""
    before = version_spec(A1)
    folder, checks = FakeFolder(before), FakeChecks()
    read = sources(folder, checks)
    read.read()
    folder.put(ModelScan(model="a", versions=(replace(before, digest="newer"),)))
    checks.found[A1] = (ERROR,)

    desired = read.read(rescan=True)

    assert desired.versions[A1].digest == before.digest
    assert desired.failed[A1] == str(ERROR)


def test_a_refused_version_that_is_not_wanted_any_more_is_forgotten() -> None:
    """Nothing of an accepted form stays behind when its model leaves the folder."""
    folder = FakeFolder(version_spec(A1))
    read = sources(folder, FakeChecks())
    read.read()
    del folder.scans["a"]

    assert not read.read(rescan=True).versions


@pytest.mark.parametrize(
    ("scan", "checks"),
    [
        pytest.param(
            ModelScan(model="a", versions=(version_spec(A1, "newer"),)),
            FakeChecks({A1: (ERROR,)}),
            id="refused",
        ),
        pytest.param(
            ModelScan(model="a", failed=(FailedVersion(model="a", version=1, reason="cut off"),)),
            FakeChecks(),
            id="unreadable",
        ),
    ],
)
def test_a_controller_that_resumes_keeps_the_form_that_serves(
    scan: ModelScan, checks: FakeChecks
) -> None:
    """What pools host is what was accepted: a newer form that cannot be served does not end it."""
    before = version_spec(A1)
    folder = FakeFolder(before)
    folder.put(scan)
    memory = remembered({"s1": pool_of("s1", before)}, RouteTable())
    gate = Gate(FakeNodes(CPU_NODE), checks)
    read = Sources(FakeRegistry(), folder, Selection(), gate, accepted_versions(memory))

    desired = read.read()

    assert desired.versions == {A1: before}
    assert A1 in desired.failed


def test_of_two_pools_the_newer_has_the_accepted_form() -> None:
    """A controller that was killed on the way from one pool to the next had accepted the next."""
    older, newer = version_spec(A1), version_spec(A1, "newer")

    memory = remembered({"d10": pool_of("d10", newer), "d9": pool_of("d9", older)}, RouteTable())

    assert accepted_versions(memory) == (newer,)


def test_what_an_operator_took_out_is_not_kept_for_its_newer_form() -> None:
    """An unload ends the form that serves, even while the gate refuses the one in the folder."""
    before = version_spec(A1)
    folder, checks = FakeFolder(before), FakeChecks()
    read = sources(folder, checks)
    read.read()
    folder.put(ModelScan(model="a", versions=(replace(before, digest="newer"),)))
    checks.found[A1] = (ERROR,)
    read.read(rescan=True)
    read.retire("a", 1, "somebody")

    assert not read.read().versions


def test_a_version_that_left_and_came_back_is_judged_anew() -> None:
    """Nothing is known any more of what nobody wants."""
    folder, checks = FakeFolder(version_spec(A1)), FakeChecks()
    read = sources(folder, checks)
    read.read()
    scan = folder.scans.pop("a")
    read.read(rescan=True)
    folder.put(scan)
    read.read(rescan=True)

    assert checks.count == 2


@pytest.mark.parametrize(
    ("is_new_node", "times"), [pytest.param(False, 1, id="same"), pytest.param(True, 2, id="new")]
)
def test_a_version_is_judged_once_for_the_same_nodes(is_new_node: bool, times: int) -> None:  # noqa: FBT001  a case
    """Checks read files, so they run again only when the nodes are others."""
    nodes, checks = FakeNodes(CPU_NODE), FakeChecks()
    gate = Gate(nodes, checks)
    gate.judge(version_spec(A1))
    nodes.nodes = (T4_NODE,) if is_new_node else nodes.nodes

    gate.judge(version_spec(A1))

    assert checks.count == times


def test_what_could_not_be_judged_is_asked_again() -> None:
    """Files that cannot be read for a moment are no verdict, and refuse nothing."""
    checks = UnreadableChecks()
    gate = Gate(FakeNodes(CPU_NODE), checks)

    assert [gate.judge(version_spec(A1)).findings for _ in range(2)] == [(), ()]
    assert checks.count == 2


def test_a_version_that_comes_with_another_word_is_judged_anew() -> None:
    """The same digest with another warning of the registry is not answered from memory."""
    gate = Gate(FakeNodes(CPU_NODE), FakeChecks())
    gate.judge(version_spec(A1))

    assert gate.judge(replace(version_spec(A1), warning="odd")).spec.warning == "odd"
