"""Environments of running versions: looked into once each, and compared with where they began."""

from dataclasses import replace
from pathlib import Path

import pytest

from runtimes.facts import NodeFacts
from runtimes.findings import Severity
from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.manifest import MANIFEST_FILE, PackedOn
from serving.registry.environment import environment_of
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.desired import Desired
from serving.rollout.environment_watch import EnvironmentWatch, Look
from serving.rollout.memory import Observed
from serving.rollout.placed_file import PlacedFile
from serving.rollout.ports import HostedVersion, WorkerState
from tests.fakes.bundles import make_bundle
from tests.fakes.cluster import served_version, version_spec
from tests.fakes.gate_parts import finding
from tests.fakes.node_facts import CPU_NODE, T4_NODE

A1 = VersionKey("a", 1)
SPEC = version_spec(A1)
NEWER_NUMPY = replace(CPU_NODE, packages={"numpy": "2.4.6"})


def watch(folder: Path) -> EnvironmentWatch:
    """A watch over the file of a home."""
    return EnvironmentWatch(PlacedFile(folder / "placed.json"))


def wanted(spec: VersionSpec = SPEC) -> Desired:
    """One version is wanted."""
    return Desired(versions={spec.key: spec})


def serves(facts: NodeFacts | None, spec: VersionSpec = SPEC, device: str = "cpu") -> Observed:
    """One worker serves it, and says what it computes with."""
    served = replace(served_version(), device=device, fingerprint=repr(facts))
    said = HostedVersion(state=VersionState.READY, digest=spec.digest, served=served)
    address = WorkerAddress("s1-0", "here", "/run/s1-0.sock")
    worker = WorkerState(
        address=address, pool="s1", pid=1, state="ready", versions={spec.key: said}, facts=facts
    )
    return {"s1": [worker]}


def looked(it: EnvironmentWatch, desired: Desired, observed: Observed) -> Look:
    """Look, look into what is unknown, and look again."""
    it.look_into(it.look(desired, observed).unknown, desired)
    return it.look(desired, observed)


def test_where_a_version_begins_nothing_is_told(tmp_path: Path) -> None:
    """It is looked into once; the wanted record stays the same object."""
    it, desired = watch(tmp_path), wanted()

    assert len(it.look(desired, serves(CPU_NODE)).unknown) == 1
    look = looked(it, desired, serves(CPU_NODE))

    assert look.desired is desired
    assert not look.unknown


@pytest.mark.parametrize(
    ("before", "after", "device", "told"),
    [
        pytest.param(CPU_NODE, NEWER_NUMPY, "cpu", "numpy 2.4.0 → 2.4.6", id="a library"),
        pytest.param(CPU_NODE, replace(CPU_NODE, cpu_model="EPYC"), "cpu", "EPYC", id="the CPU"),
        pytest.param(
            T4_NODE, replace(T4_NODE, driver="590.1"), "cuda:0", "driver 580.159.03 → 590.1"
        ),
    ],
)
def test_a_change_under_a_version_is_told_even_after_a_restart(
    tmp_path: Path, before: NodeFacts, after: NodeFacts, device: str, told: str
) -> None:
    """Where a version was first placed outlives the instance; the gate's findings stay."""
    looked(watch(tmp_path), wanted(), serves(before, device=device))
    gate = finding(Severity.WARNING)
    desired = replace(wanted(), findings={A1: (gate,)})

    look = looked(watch(tmp_path), desired, serves(after, device=device))

    first, change = look.desired.findings[A1]
    assert first == gate
    assert (change.code, change.severity) == ("BP-E12", Severity.WARNING)
    assert told in change.message


def test_what_is_as_it_was_again_is_told_no_more(tmp_path: Path) -> None:
    """A driver that is put back ends the warning."""
    it = watch(tmp_path)
    looked(it, wanted(), serves(CPU_NODE))
    assert looked(it, wanted(), serves(NEWER_NUMPY)).desired.findings
    assert not looked(it, wanted(), serves(CPU_NODE)).desired.findings


def test_another_form_of_a_version_begins_anew(tmp_path: Path) -> None:
    """A changed file was never placed anywhere before."""
    it, newer = watch(tmp_path), replace(SPEC, digest="newer")
    looked(it, wanted(), serves(CPU_NODE))

    assert not looked(it, wanted(newer), serves(NEWER_NUMPY, newer)).desired.findings


def test_a_version_that_was_unloaded_begins_anew(tmp_path: Path) -> None:
    """Nothing is kept of what nobody wants."""
    it, other = watch(tmp_path), version_spec(VersionKey("b", 1))
    looked(it, wanted(), serves(CPU_NODE))
    looked(it, wanted(other), serves(CPU_NODE, other))

    assert not looked(it, wanted(), serves(NEWER_NUMPY)).desired.findings


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"versions": 3}', b"\xff"])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    """It ends nothing, and is written anew."""
    (tmp_path / "placed.json").write_bytes(content)

    looked(watch(tmp_path), wanted(), serves(CPU_NODE))

    assert looked(watch(tmp_path), wanted(), serves(NEWER_NUMPY)).desired.findings


def test_a_worker_that_says_nothing_is_not_looked_into(tmp_path: Path) -> None:
    """Before it has told what it computes with, nobody knows."""
    assert not watch(tmp_path).look(wanted(), serves(None)).unknown


def packed(bundle: Bundle, environment: PackedOn) -> VersionSpec:
    """A version whose manifest says where it was packed."""
    manifest = bundle.manifest.model_copy(update={"packed_on": environment})
    path = bundle.folder / MANIFEST_FILE
    path.chmod(0o644)
    path.write_bytes(manifest.pretty())
    return version_spec(A1, folder=str(bundle.folder), format=manifest.format)


def test_a_bundle_is_compared_with_what_its_worker_has(tmp_path: Path) -> None:
    """Information, once; the number of threads is the operator's wish, not the environment's."""
    environment = environment_of(CPU_NODE, format_name="echo", threads=7)
    spec = packed(make_bundle(tmp_path / "b"), PackedOn.of(environment))

    same = looked(watch(tmp_path), wanted(spec), serves(CPU_NODE, spec))
    other = looked(watch(tmp_path / "b"), wanted(spec), serves(NEWER_NUMPY, spec))

    assert not same.desired.findings
    (told,) = other.desired.findings[A1]
    assert (told.severity, "packed in: numpy 2.4.0 → 2.4.6" in told.message) == (
        Severity.INFO,
        True,
    )


def test_a_bundle_that_cannot_be_read_is_compared_with_its_beginning(tmp_path: Path) -> None:
    """A manifest that is gone ends no control loop."""
    it, spec = watch(tmp_path), replace(SPEC, folder=str(tmp_path / "none"))

    assert not looked(it, wanted(spec), serves(CPU_NODE, spec)).unknown
    assert looked(it, wanted(spec), serves(NEWER_NUMPY, spec)).desired.findings
