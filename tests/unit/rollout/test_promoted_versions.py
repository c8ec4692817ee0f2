"""Who is live while the promoted version is still being loaded."""

from serving.edge.routes import LiveRoute
from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.rollout.ports import HostedVersion
from tests.fakes.cluster import served_version, version_spec
from tests.unit.rollout.test_reconcile import A1, A2, World, wanted

ALONE = version_spec(A2, format="torchscript")


def started(digest: str = "1") -> World:
    """An instance that has just started: only the version that is not promoted serves."""
    world = World(desired=wanted(version_spec(A1, digest), ALONE, pinned={"a": 1}))
    world.cluster.broken = {"bad"}
    world.controller_pass()
    (worker,) = world.cluster.pools["d2"]
    worker.state = "ready"
    worker.hosted[A2] = HostedVersion(state=VersionState.READY, digest="1", served=served_version())
    world.controller_pass()
    assert world.pool(A2) == "d2"
    return world


def live(world: World) -> LiveRoute:
    """Who answers calls that name no version."""
    return world.snapshot.routes.live["a"]


def test_nobody_answers_for_a_promoted_version_that_is_on_its_way() -> None:
    """After a start another one may be the very version that was rolled back."""
    world = started()
    assert live(world) == LiveRoute(None)
    world.settle()
    assert live(world) == LiveRoute(1)


def test_another_one_answers_for_a_promoted_version_that_cannot_be_loaded() -> None:
    """The highest that is ready, as if none were promoted."""
    world = started("bad")
    world.settle()
    assert live(world) == LiveRoute(2)


def test_another_one_answers_for_a_promoted_version_whose_worker_does_not_stay_up() -> None:
    """Nobody knows whether it ever will."""
    world = started()
    world.cluster.pools["s1"][0].state = "failed"
    world.controller_pass()
    assert live(world) == LiveRoute(2)


def test_who_is_live_stays_until_a_version_that_is_promoted_is_there() -> None:
    """Make before break: what answers goes on while the other one is loaded."""
    world = World(desired=wanted(ALONE))
    world.settle()
    third = VersionKey("a", 3)
    world.desired = wanted(version_spec(A1), ALONE, version_spec(third), pinned={"a": 1})
    world.controller_pass()
    (worker,) = world.cluster.pools["s2"]
    worker.state = "ready"
    worker.hosted[third] = HostedVersion(
        state=VersionState.READY, digest="1", served=served_version()
    )
    world.controller_pass()
    assert world.pool(third) == "s2"
    assert live(world) == LiveRoute(2)
    world.settle()
    assert live(world) == LiveRoute(1)
