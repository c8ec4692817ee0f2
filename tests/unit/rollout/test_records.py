"""What people see of versions."""

from dataclasses import replace

from serving.rollout.records import SILENT
from tests.fakes.cluster import version_spec
from tests.unit.rollout.test_reconcile import A1, A2, B1, World, wanted


def test_a_version_whose_worker_is_silent_is_described_as_before() -> None:
    """Calls go to it, so it is READY, with all that was heard of it; the reason says why."""
    world = World(desired=wanted(version_spec(A1)))
    world.settle()
    heard = world.snapshot.versions[A1]
    world.cluster.pools["s1"][0].state = "silent"
    world.controller_pass()
    assert world.snapshot.versions[A1] == replace(heard, reason=SILENT)
    assert world.snapshot.ready
    assert world.snapshot.routes.pools["s1"] != ()


def test_what_keeps_an_instance_from_being_ready_is_named() -> None:
    """Versions that failed or are on their way; not those that nobody wants any more."""
    world = World(desired=wanted(version_spec(A1), version_spec(A2)))
    world.settle()
    assert (world.snapshot.ready, world.snapshot.waited_for) == (True, ())
    world.desired = replace(wanted(version_spec(A1), version_spec(B1)), failed={A1: "cut off"})
    world.controller_pass()
    assert not world.snapshot.ready
    assert world.snapshot.waited_for == (A1, B1)
