"""What people see of versions."""

from dataclasses import replace

from serving.rollout.records import SILENT
from tests.fakes.cluster import version_spec
from tests.unit.rollout.test_reconcile import A1, World, wanted


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
