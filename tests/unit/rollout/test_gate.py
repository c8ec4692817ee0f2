"""The gate before placement: what cannot work is refused, what is odd is told."""

from dataclasses import replace

import pytest

from runtimes.findings import Severity
from serving.ids import VersionKey
from serving.registry.repository import ModelScan
from serving.rollout.gate import Gate
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
    return Sources(FakeRegistry(), folder, Selection(), gate)


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
