"""What served, and cannot be loaded again at once, has not failed yet."""

from serving.registry.version import VersionState
from serving.rollout.ports import HostedVersion
from tests.fakes.cluster import version_spec
from tests.unit.rollout.test_reconcile import A1, World, wanted

RETRIED = HostedVersion(
    state=VersionState.UNAVAILABLE, reason="no memory", digest="1", is_retried=True
)
GIVEN_UP = HostedVersion(state=VersionState.UNAVAILABLE, reason="no memory", digest="1")


def reloading() -> World:
    """A version that served, and failed to load when its worker was started again."""
    world = World(desired=wanted(version_spec(A1)))
    world.settle()
    world.cluster.crash("s1", None)
    world.controller_pass()
    say(world, RETRIED)
    return world


def say(world: World, said: HostedVersion) -> None:
    """Let its worker be ready, and say this of the version."""
    (worker,) = world.cluster.pools["s1"]
    worker.state = "ready"
    worker.hosted[A1] = said
    for _ in range(3):
        world.controller_pass()


def test_a_version_that_is_loaded_once_more_keeps_its_route() -> None:
    """Nobody else answers meanwhile, and it is told why it does not."""
    world = reloading()
    record = world.snapshot.versions[A1]
    assert record.state is VersionState.LOADING
    assert "no memory" in record.reason
    assert world.pool(A1) == "s1"
    assert not world.memory.failures
    world.cluster.pools["s1"][0].hosted[A1] = HostedVersion(state=VersionState.LOADING, digest="1")
    world.settle()
    assert world.snapshot.ready


def test_a_version_that_was_given_up_has_failed() -> None:
    """Its route goes, and the reason stands in its place."""
    world = reloading()
    say(world, GIVEN_UP)
    record = world.snapshot.versions[A1]
    assert (record.state, record.reason) == (VersionState.UNAVAILABLE, "no memory")
    assert world.pool(A1) is None


def test_a_version_that_never_served_fails_at_once() -> None:
    """Who asked for it waits for no further try."""
    world = World(desired=wanted(version_spec(A1)))
    world.controller_pass()
    say(world, RETRIED)
    assert world.snapshot.versions[A1].reason == "no memory"
    assert world.cluster.pools == {}
