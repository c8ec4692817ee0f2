"""Pools over Serve: Serve hears of a pool once, and a new controller finds what runs."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from structlog.testing import capture_logs

from serving.clock import SystemClock
from serving.cluster.adapter import RayPools
from serving.cluster.pool_board import PoolBoard
from serving.cluster.recall import remembered
from serving.edge.routes import RouteTable
from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.monitor.traffic import Lives, TrafficCounters
from serving.rollout.ports import PoolSpec
from serving.worker.control import TrafficQuestion
from tests.fakes.cluster import version_spec
from tests.unit.cluster.test_pool_board import worker

POOL = PoolSpec(
    pool="s1",
    dedicated=False,
    replica_count=1,
    gpu_count=0,
    versions=(version_spec(VersionKey("m", 1)),),
)


@dataclass
class FakeServe:
    """Serve's applications in memory; the first calls can be made to fail."""

    counts: dict[str, int] = field(default_factory=dict)
    deployed: list[str] = field(default_factory=list)
    failure_count: int = 0
    takes_what_it_refuses: bool = False
    """Serve does what it is asked for, and its answer is lost."""
    undeleted_count: int = 0
    deleted: threading.Event = field(default_factory=threading.Event)
    """A pool has ended."""

    def running(self) -> frozenset[str]:
        """Every pool that was deployed and not deleted."""
        return frozenset(self.counts)

    def deploy(self, specs: Sequence[PoolSpec]) -> None:
        """Start pools, unless this call is one of those that fail."""
        if self.failure_count:
            self.failure_count -= 1
            if self.takes_what_it_refuses:
                self.counts |= {spec.pool: spec.replica_count for spec in specs}
            raise NotReadyError("Serve is away")
        self.counts |= {spec.pool: spec.replica_count for spec in specs}
        self.deployed += [spec.pool for spec in specs]

    def delete(self, pool: str) -> None:
        """End a pool, unless this call is one of those that fail."""
        if self.undeleted_count:
            self.undeleted_count -= 1
            raise NotReadyError("Serve is away")
        self.counts.pop(pool, None)  # as Serve: what is not there is gone
        self.deleted.set()


def run(
    serve: FakeServe,
    file: Path,
    body: Callable[[RayPools], Awaitable[None]],
    *,
    retry_s: float = 0.0,
) -> None:
    """Run one controller's life: the pools' own task begins, then recall, then the body."""

    async def life() -> None:
        board = PoolBoard(SystemClock(), first_revision=1)
        pools = RayPools(serve, board, file, retry_s=retry_s)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(pools.run())
            await asyncio.sleep(0)  # it has begun
            async with asyncio.timeout(90):
                await pools.recall(RouteTable())
                await body(pools)
                await pools.settled()
            task.cancel()

    asyncio.run(life())


async def nothing(_: RayPools) -> None:
    """Nobody asks."""


def test_a_new_pool_is_deployed(tmp_path: Path) -> None:
    """A pool that was never there becomes an application."""
    serve = FakeServe()
    run(serve, tmp_path / "pools.json", lambda pools: pools.ensure_pool(POOL))
    assert serve.counts == {"s1": 1}


def test_changed_versions_do_not_reach_serve(tmp_path: Path) -> None:
    """Versions travel by the replicas' own channel: Serve would restart the workers."""
    serve = FakeServe()

    async def body(pools: RayPools) -> None:
        await pools.ensure_pool(POOL)
        await pools.settled()
        await pools.ensure_pool(replace(POOL, versions=()))

    run(serve, tmp_path / "pools.json", body)
    assert serve.deployed == ["s1"]


def test_a_changed_count_reaches_serve(tmp_path: Path) -> None:
    """Replicas are Serve's to start and to end."""
    serve = FakeServe()

    async def body(pools: RayPools) -> None:
        await pools.ensure_pool(POOL)
        await pools.settled()
        await pools.ensure_pool(replace(POOL, replica_count=3))

    run(serve, tmp_path / "pools.json", body)
    assert serve.counts == {"s1": 3}


def test_a_pool_without_replicas_has_no_application(tmp_path: Path) -> None:
    """It ends, the pool stays, and a later wish brings it back; a new controller knows of it."""
    serve = FakeServe()
    sleeping = replace(POOL, replica_count=0, scaled=True)

    async def sleep(pools: RayPools) -> None:
        await pools.ensure_pool(replace(sleeping, replica_count=1))
        await pools.settled()
        await pools.ensure_pool(sleeping)
        await asyncio.to_thread(serve.deleted.wait, 5)
        await pools.ensure_pool(replace(sleeping, replica_count=2))

    run(serve, tmp_path / "pools.json", sleep)
    assert serve.counts == {"s1": 2}
    assert serve.deployed == ["s1", "s1"]

    async def rest(pools: RayPools) -> None:
        serve.deleted.clear()
        await pools.ensure_pool(sleeping)
        await asyncio.to_thread(serve.deleted.wait, 5)

    run(serve, tmp_path / "pools.json", rest)

    async def recall(pools: RayPools) -> None:
        memory = remembered(await pools.recall(RouteTable()), RouteTable())
        assert memory.pools["s1"].spec("s1") == sleeping

    run(serve, tmp_path / "pools.json", recall)
    assert serve.counts == {}


def test_a_refused_deployment_is_tried_again(tmp_path: Path) -> None:
    """Serve may be away for a moment; the wish stays."""
    serve = FakeServe(failure_count=2)
    run(serve, tmp_path / "pools.json", lambda pools: pools.ensure_pool(POOL))
    assert serve.counts == {"s1": 1}


def test_a_stopped_pool_is_deleted(tmp_path: Path) -> None:
    """Nothing of a stopped pool stays, in Serve or in what is observed."""
    serve = FakeServe()

    async def body(pools: RayPools) -> None:
        await pools.ensure_pool(POOL)
        await pools.settled()
        await pools.stop_pool("s1")
        assert pools.observe() == {}

    run(serve, tmp_path / "pools.json", body)
    assert serve.counts == {}


def test_a_pool_that_serve_took_without_saying_so_is_ended(tmp_path: Path) -> None:
    """Its answer was lost, and the pool is stopped before it is asked again: no worker remains."""
    serve = FakeServe(failure_count=1, takes_what_it_refuses=True)

    async def body(pools: RayPools) -> None:
        await pools.ensure_pool(POOL)
        while serve.failure_count:  # noqa: ASYNC110  the fake has no event
            await asyncio.sleep(0)
        await pools.stop_pool("s1")

    run(serve, tmp_path / "pools.json", body)
    assert serve.counts == {}


def test_a_stop_that_cannot_be_noted_yet_is_carried_out_when_it_can(tmp_path: Path) -> None:
    """A disk may be full for a while: the pool ends all the same, and so does the wait for it."""
    serve, folder = FakeServe(), tmp_path / "run"
    folder.mkdir()

    async def body(pools: RayPools) -> None:
        await pools.ensure_pool(POOL)
        await pools.settled()
        folder.rename(tmp_path / "away")
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(pools.stop_pool("s1"))
            while "s1" not in pools.ending:  # noqa: ASYNC110  nobody else waits for that
                await asyncio.sleep(0)
            await asyncio.to_thread((tmp_path / "away").rename, folder)
            await stopping
        assert pools.observe() == {}

    run(serve, folder / "pools.json", body)
    assert serve.counts == {}


def test_a_pool_that_does_not_end_is_ended_again(tmp_path: Path) -> None:
    """Serve may be away for a moment; a pool that nobody wants must not keep its GPU."""
    serve = FakeServe(undeleted_count=2)

    async def body(pools: RayPools) -> None:
        await pools.ensure_pool(POOL)
        await pools.settled()
        await pools.stop_pool("s1")
        assert pools.observe() == {}

    run(serve, tmp_path / "pools.json", body)
    assert serve.counts == {}


def test_a_new_controller_finds_running_pools(tmp_path: Path) -> None:
    """After a restart the pool is observed again, and Serve is asked for nothing."""
    serve = FakeServe()
    run(serve, tmp_path / "pools.json", lambda pools: pools.ensure_pool(POOL))

    async def body(pools: RayPools) -> None:
        assert pools.observe() == {"s1": ()}
        await pools.ensure_pool(POOL)

    run(serve, tmp_path / "pools.json", body)
    assert serve.deployed == ["s1"]


def test_pools_whose_note_is_damaged_are_ended(tmp_path: Path) -> None:
    """Nobody knows what they are: a controller starts all the same, and new ones get new names."""
    serve, file = FakeServe(), tmp_path / "pools.json"
    run(serve, file, lambda pools: pools.ensure_pool(POOL))
    file.write_bytes(b'{"pools": [')

    async def body(pools: RayPools) -> None:
        assert pools.observe() == {}
        assert remembered({}, RouteTable(), pools.ending).pool_count == 1
        await pools.ensure_pool(replace(POOL, pool="s2"))
        while pools.ending:  # noqa: ASYNC110  nobody else waits for that
            await asyncio.sleep(0)

    with capture_logs() as logs:
        run(serve, file, body)
    assert serve.counts == {"s2": 1}
    (told,) = [line for line in logs if line["event"] == "pools_lost"]
    assert Path(told["kept"]).read_bytes() == b'{"pools": ['


def test_a_pool_that_was_lost_is_deployed_again(tmp_path: Path) -> None:
    """A controller that died between its note and its call to Serve makes good for it."""
    serve = FakeServe()
    run(serve, tmp_path / "pools.json", lambda pools: pools.ensure_pool(POOL))
    serve.counts.clear()

    run(serve, tmp_path / "pools.json", nothing)
    assert serve.counts == {"s1": 1}


def test_a_count_that_serve_has_not_taken_is_told_by_the_next_controller(tmp_path: Path) -> None:
    """A controller that died between its note and Serve's answer makes good for it."""
    serve, file = FakeServe(), tmp_path / "pools.json"
    run(serve, file, lambda pools: pools.ensure_pool(POOL))

    async def killed() -> None:
        pools = RayPools(serve, PoolBoard(SystemClock(), first_revision=1), file, retry_s=3600)
        await pools.recall(RouteTable())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(pools.run())
            serve.failure_count = 1
            await pools.ensure_pool(replace(POOL, replica_count=3))
            while serve.failure_count:  # noqa: ASYNC110  the fake has no event
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(killed())
    assert serve.counts == {"s1": 1}

    run(serve, file, nothing)
    assert serve.counts == {"s1": 3}


def test_a_pool_that_was_ending_is_ended_by_the_next_controller(tmp_path: Path) -> None:
    """A controller that died meanwhile leaves no pool behind, nor one that is taken to run."""
    serve, file = FakeServe(undeleted_count=1), tmp_path / "pools.json"
    run(serve, file, lambda pools: pools.ensure_pool(POOL))

    async def killed() -> None:
        pools = RayPools(serve, PoolBoard(SystemClock(), first_revision=1), file, retry_s=3600)
        await pools.recall(RouteTable())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(pools.stop_pool("s1"))
            while serve.undeleted_count:  # noqa: ASYNC110  the fake has no event
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(killed())
    assert serve.counts == {"s1": 1}

    async def body(pools: RayPools) -> None:
        assert pools.observe() == {}
        assert remembered({}, RouteTable(), pools.ending).pool_count == 1
        while pools.ending:  # noqa: ASYNC110  nobody else waits for that
            await asyncio.sleep(0)

    run(serve, file, body)
    assert serve.counts == {}
    assert json.loads(file.read_bytes()) == {"pools": [], "ending": [], "deployed": {}}


def test_a_pool_that_was_woken_while_it_ended_runs_again(tmp_path: Path) -> None:
    """Its application is ended and a new one started, though the controller died between."""
    serve, file = FakeServe(), tmp_path / "pools.json"
    sleeping = replace(POOL, replica_count=0, scaled=True)
    run(serve, file, lambda pools: pools.ensure_pool(replace(sleeping, replica_count=1)))

    async def killed(pools: RayPools) -> None:
        serve.undeleted_count = 1
        await pools.ensure_pool(sleeping)
        while serve.undeleted_count:  # noqa: ASYNC110  the fake has no event
            await asyncio.sleep(0)
        await pools.ensure_pool(replace(sleeping, replica_count=1))

    run(serve, file, killed, retry_s=3600)
    assert serve.counts == {"s1": 1}
    assert json.loads(file.read_bytes())["ending"] == ["s1"]

    async def body(pools: RayPools) -> None:
        await asyncio.to_thread(serve.deleted.wait, 5)
        while pools.ending:  # noqa: ASYNC110  nobody else waits for that
            await asyncio.sleep(0)

    run(serve, file, body)
    assert serve.deployed == ["s1", "s1"]
    assert serve.counts == {"s1": 1}


def test_traffic_comes_with_the_reports(tmp_path: Path) -> None:
    """The first question is passed on; then each life's counters of the asked version are told."""
    key = VersionKey("m", 1)
    counted = TrafficCounters(model="m", version=1, began_ns=1)
    other = TrafficCounters(model="m", version=2, began_ns=1)

    async def life() -> tuple[Lives, Lives]:
        board = PoolBoard(SystemClock(), first_revision=1)
        pools = RayPools(FakeServe(), board, tmp_path / "pools.json")
        await pools.ensure_pool(POOL)
        first = await pools.traffic([key])
        state = replace(worker(), traffic=(counted, other), restart_count=3)
        order = await board.exchange("s1", state, -1, 0.0)
        assert order is not None
        assert order.question == TrafficQuestion(keys=(key,))
        return first, await pools.traffic([key])

    assert asyncio.run(life()) == ({}, {"s1-a/3": (counted,)})
