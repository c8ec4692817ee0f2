"""A new controller goes on with the workers of the one before, also with those that are silent."""

import asyncio
from collections.abc import Callable

import pytest

from serving.cluster.attention import LOST_S, SILENCE_S
from serving.cluster.pool_board import PoolBoard
from serving.cluster.recall import remembered
from serving.edge.routes import RouteTable
from serving.registry.version import ServingPolicy
from serving.rollout.memory import Memory
from serving.rollout.routing import next_routes, views_of
from tests.fakes.cluster import version_spec
from tests.unit.cluster.test_pool_board import HandClock, look_for
from tests.unit.rollout.test_reconcile import B1, World, wanted
from tests.unit.rollout.test_scaled_pools import scaled


def paired() -> World:
    """A world with a version that two workers serve."""
    world = World(desired=wanted(version_spec(B1, policy=ServingPolicy(replica_count=2))))
    world.settle()
    return world


def taken_over(world: World, clock: HandClock) -> tuple[Memory, PoolBoard]:
    """What the next controller remembers of a world, and its board."""
    specs = {pool: known.spec(pool) for pool, known in world.memory.pools.items()}
    board = PoolBoard(clock, first_revision=1)
    for spec in specs.values():
        board.recall(spec, world.snapshot.routes)
    return remembered(specs, world.snapshot.routes), board


@pytest.mark.parametrize("make", [paired, scaled])
def test_workers_that_nobody_hears_keep_their_routes(make: Callable[[], World]) -> None:
    """Their replicas may be slow to find the new controller: calls go on as they were."""
    world, clock = make(), HandClock()
    memory, board = taken_over(world, clock)

    def next_table() -> RouteTable:
        return next_routes(memory, world.desired, views_of(board.observe()))

    look_for(clock, LOST_S - 1, board.observe)
    assert next_table() == world.snapshot.routes
    look_for(clock, 2, board.observe)
    assert not any(next_table().pools.values())


def test_a_worker_that_nobody_hears_gives_way_to_one_that_serves() -> None:
    """It has the time that every replica has; calls need it no longer."""
    world, clock = paired(), HandClock()
    _, board = taken_over(world, clock)
    ((pool, (first, second)),) = world.cluster.observe().items()

    def hear() -> None:
        asyncio.run(board.exchange(pool, first, -1, 0.0))

    look_for(clock, SILENCE_S - 1, hear)
    states = {state.address.worker: state.state for state in board.observe()[pool]}
    assert states == {first.address.worker: "ready", second.address.worker: "silent"}
    look_for(clock, 2, hear)
    assert [state.address.worker for state in board.observe()[pool]] == [first.address.worker]


def test_a_worker_that_reports_is_as_it_says() -> None:
    """What was taken for granted of it is forgotten."""
    world, clock = scaled(), HandClock()
    _, board = taken_over(world, clock)
    ((pool, (said,)),) = world.cluster.observe().items()
    asyncio.run(board.exchange(pool, said, -1, 0.0))
    assert board.observe() == {pool: (said,)}
