"""Shared workers that have too much to do give versions away, and nothing else moves."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.edge.routes import RouteTable, VersionRoute, WorkerAddress
from serving.ids import VersionKey
from serving.monitor.traffic import TrafficCounters
from serving.monitor.vitals import VersionVitals
from serving.registry.version import Isolation, ServingPolicy
from serving.rollout.crowding import BESIDE, CROWDED, FORGIVEN_S, LEAST_GAIN, relieved
from serving.rollout.memory import Limits, Memory
from serving.rollout.placement import place
from serving.rollout.ports import WorkerState
from tests.fakes.cluster import version_spec
from tests.fakes.world import World, wanted

ROUNDING = 1e-9
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


class Saturated:
    """Shared workers of small versions, and what they say at looks that are a time apart.

    Whatever is said, a move is carried out at once, and its version is young where it came to.
    """

    def __init__(self, count: int, limits: Limits) -> None:
        """Begin with one worker that has all."""
        self.keys = [VersionKey(f"m{number}", 1) for number in range(count)]
        self.desired = wanted(*(version_spec(key) for key in self.keys))
        self.limits = limits
        self.memory = place(Memory(), self.desired, limits)
        self.age_s = dict.fromkeys(self.keys, 1e6)
        self.move_count = Counter[VersionKey]()

    def look(self, shares: dict[VersionKey, float], passed_s: float) -> set[VersionKey]:
        """Let time pass, and let the workers say what versions take; return who moved."""
        for key in self.keys:
            self.age_s[key] += passed_s
        before = self.memory.placement
        routes = RouteTable(versions={key: VersionRoute(pool) for key, pool in before.items()})
        self.memory = replace(self.memory, in_force=(routes,))
        observed = {pool: [self.worker(pool, shares)] for pool in self.memory.pools}
        self.memory = relieved(self.memory, self.desired, observed, self.limits)
        moved = {key for key, pool in self.memory.placement.items() if before[key] != pool}
        for key in moved:
            self.age_s[key] = 0.0
        self.move_count.update(moved)
        return moved

    def worker(self, pool: str, shares: dict[VersionKey, float]) -> WorkerState:
        """Describe the worker of a pool, which is never busy for more than all of the time."""
        hosted = [key for key, home in self.memory.placement.items() if home == pool]
        most = max(1.0, sum(shares[key] for key in hosted))
        vitals = tuple(
            VersionVitals(
                traffic=TrafficCounters(
                    model=key.model, version=1, began_ns=1, age_s=self.age_s[key]
                ),
                busy=None if self.age_s[key] < 10 else shares[key] / most,
            )
            for key in hosted
        )
        address = WorkerAddress(f"{pool}-0", "here", "/w.sock")
        return WorkerState(address=address, pool=pool, pid=1, state="ready", vitals=vitals)


@given(st.integers(2, 8), st.integers(2, 4), st.randoms(use_true_random=False))
def test_saturated_workers_do_not_give_versions_to_each_other_for_ever(
    count: int, workers: int, random: Random
) -> None:
    """Whatever they say for an hour, looked at every 10 s: each version moves ever more seldom."""
    world = Saturated(count, replace(LIMITS, scaled_workers=workers))
    for _ in range(360):
        shares = {key: random.choice([0.02, 0.2, 0.5, 0.9]) for key in world.keys}
        world.look(shares, 10.0)
    assert max(world.move_count.values(), default=0) <= MOST_MOVES_AN_HOUR


MOST_MOVES_AN_HOUR = 8
"""The first, and those after 1, 2, 4, 8, 16 and 32 minutes; one more where a worker was new."""


def test_two_saturated_workers_come_to_rest() -> None:
    """Who took a version over last seems to have less room: it was a move a look, for ever."""
    world, full, moves = Saturated(9, replace(LIMITS, scaled_workers=2)), "s1", []
    for _ in range(60):
        homes = world.memory.placement
        hosted = Counter(homes.values())
        shares = {key: (0.9 if p == full else 0.5) / hosted[p] for key, p in homes.items()}
        moved = world.look(shares, 12.0)
        full = next((world.memory.placement[key] for key in moved), full)
        moves.append(bool(moved))
    assert sum(moves[:30]) <= 6
    assert sum(moves[30:]) <= 2


def test_a_worker_that_took_versions_over_is_relieved_by_a_new_one() -> None:
    """It does not give back what it got; where there is a CPU, a worker more takes it."""
    world = Saturated(4, LIMITS)
    assert world.look(dict.fromkeys(world.keys, 0.2), 10.0)
    assert set(world.memory.placement.values()) == {"s1", "s2"}
    busy = {key: 0.45 if pool == "s2" else 0.2 for key, pool in world.memory.placement.items()}
    assert world.look(busy, 30.0)
    assert set(world.memory.placement.values()) == {"s1", "s2", "s3"}


@example([0.5, 0.5, 0.375, 0.375, 0.375, 0.3])  # one worker may give only after it has stayed
@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=12))
def test_moving_ends_and_leaves_no_gain_behind(shares: list[float]) -> None:
    """Whatever versions take, they come to rest, and no crowded worker could be relieved by one."""
    world = crowd(*shares)
    world.settle()
    world.cluster.age_s = FORGIVEN_S  # whoever took versions over may give them away again
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
    assert rooms[crowded] <= CROWDED or all(
        rooms[crowded] - one < LEAST_GAIN + ROUNDING for one in after
    )
