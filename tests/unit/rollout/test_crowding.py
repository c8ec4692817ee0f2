"""Shared workers that have too much to do give versions away, and nothing else moves."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.ids import VersionKey
from serving.registry.version import Isolation, ServingPolicy
from serving.rollout.crowding import BESIDE, CROWDED, LEAST_GAIN
from serving.rollout.memory import Limits
from tests.fakes.cluster import version_spec
from tests.fakes.world import World, wanted

LIMITS = Limits(shared_pool_versions=100, pool_slots=32, scaled_workers=4)


def crowd(*shares: float, limits: Limits = LIMITS, policy: ServingPolicy | None = None) -> World:
    """Versions in one shared worker, settled before they become as busy as said."""
    keys = [VersionKey(f"m{number}", 1) for number in range(len(shares))]
    specs = [version_spec(key, policy=policy or ServingPolicy()) for key in keys]
    world = World(desired=wanted(*specs), limits=limits)
    world.settle()
    assert world.cluster.pools.keys() == {"s1"}
    world.cluster.busy = dict(zip(keys, shares, strict=True))
    return world


def busy_pools(world: World) -> Counter[str]:
    """How busy each pool's worker is, by where calls go."""
    found: Counter[str] = Counter()
    for key, share in world.cluster.busy.items():
        pool = world.pool(key)
        assert pool is not None
        found[pool] += share  # type: ignore[assignment]  # shares, not counts
    return found


def test_who_takes_most_of_a_crowded_worker_gets_one_of_its_own() -> None:
    """Status says why; the others stay where they are, without a gap."""
    world = crowd(0.8, 0.1, 0.0)
    world.settle()
    assert world.pool(VersionKey("m0", 1)) == "d2"
    assert world.pool(VersionKey("m1", 1)) == world.pool(VersionKey("m2", 1)) == "s1"
    isolation = world.snapshot.versions[VersionKey("m0", 1)].isolation
    assert isolation == "dedicated: it took 80% of a shared worker's time, and others 10%"


def test_many_that_crowd_a_worker_together_are_spread() -> None:
    """By what they take, not by their number: none is left with much more than another."""
    world = crowd(*[0.2] * 2, *[0.02] * 20)
    world.settle()
    found = busy_pools(world)
    assert found.keys() == {"s1", "s2"}
    assert max(found.values()) <= CROWDED


@pytest.mark.parametrize(
    "shares",
    [
        pytest.param((0.3, 0.1), id="not crowded"),
        pytest.param((0.9, BESIDE / 2), id="nobody beside it"),
        pytest.param((0.9,), id="alone"),
    ],
)
def test_who_would_gain_nothing_stays(shares: tuple[float, ...]) -> None:
    """A move costs a process, or loading at least."""
    world = crowd(*shares)
    assert world.controller_pass().is_empty


def test_a_version_that_is_to_share_shares() -> None:
    """What an operator has said holds."""
    world = crowd(0.5, 0.4, policy=ServingPolicy(isolation=Isolation.SHARED))
    assert world.controller_pass().is_empty


def test_there_are_no_more_workers_than_cpus() -> None:
    """Another process on a busy CPU makes nothing faster."""
    world = crowd(0.5, 0.4, limits=replace(LIMITS, scaled_workers=1))
    assert world.controller_pass().is_empty


def test_nothing_moves_until_what_moved_was_measured() -> None:
    """A version that was loaded just now may not have said what it takes."""
    world = crowd(0.3, 0.3)
    observed = world.cluster.observe()
    (worker,) = observed["s1"]
    young = tuple(
        replace(one, busy=None, traffic=replace(one.traffic, age_s=1.0)) for one in worker.vitals
    )
    world.cluster.observe = lambda: {"s1": [replace(worker, vitals=young)]}  # type: ignore[method-assign]
    assert world.controller_pass().is_empty


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=12))
def test_moving_ends_and_leaves_no_gain_behind(shares: list[float]) -> None:
    """Whatever versions take, they come to rest, and no crowded worker could be relieved by one."""
    world = crowd(*shares)
    world.settle()
    found = busy_pools(world)
    assert sum(found.values()) == pytest.approx(sum(shares))
    rooms = {pool: found[pool] for pool in world.cluster.pools if pool.startswith("s")}
    if len(rooms) < LIMITS.scaled_workers == len(world.cluster.pools) or not rooms:
        return
    crowded = max(rooms, key=lambda pool: rooms[pool])
    least = min((rooms[pool] for pool in rooms if pool != crowded), default=1.0)
    guests = [share for key, share in world.cluster.busy.items() if world.pool(key) == crowded]
    after = [max(rooms[crowded] - share, least + share) for share in guests]
    assert rooms[crowded] <= CROWDED or all(rooms[crowded] - one < LEAST_GAIN for one in after)
