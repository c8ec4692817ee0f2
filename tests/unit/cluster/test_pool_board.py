"""The pools' channel: who hears what, and who is forgotten."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from serving.cluster.attention import LOST_S, SILENCE_S
from serving.cluster.pool_board import PoolBoard, PoolOrder
from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport
from serving.registry.version import VersionSpec
from serving.rollout.ports import Mirror, WorkerState


@dataclass
class HandClock:
    """A clock that moves when it is told to."""

    now_s: float = 100.0

    def monotonic_s(self) -> float:
        """The time as it was set."""
        return self.now_s

    def utc_now(self) -> datetime:
        """A fixed day, for what needs a date."""
        return datetime(2026, 1, 1, tzinfo=UTC)


def look_for(clock: HandClock, limit_s: float, look: Callable[[], object]) -> None:
    """Let time pass for one who looks every second."""
    end_s = clock.now_s + limit_s
    while clock.now_s < end_s:
        clock.now_s += 1
        look()


def spec(version: int = 1) -> VersionSpec:
    """A version to host."""
    return VersionSpec(
        model="m",
        version=version,
        file="/models/m/1/model.onnx",
        format="onnx",
        size_bytes=1,
        digest=f"digest-{version}",
        origin="repository",
    )


def worker(name: str = "s1-a", state: str = "ready", rss_bytes: int = 0) -> WorkerState:
    """A worker of pool s1 as its replica reports it."""
    address = WorkerAddress(name, "node", f"/run/w/{name}.sock")
    return WorkerState(
        address=address,
        pool="s1",
        pid=1,
        state=state,
        versions=MappingProxyType({}),
        rss_bytes=rss_bytes,
    )


def pool_board(clock: HandClock) -> PoolBoard:
    """A board with one pool that has an order."""
    board = PoolBoard(clock, first_revision=7)
    board.order("s1", (spec(),))
    return board


def test_a_replica_hears_its_order_at_once() -> None:
    """A replica that knows no order gets it without waiting."""
    board = pool_board(HandClock())
    order = asyncio.run(board.exchange("s1", worker(), -1, 60.0))
    assert order is not None
    assert order.versions == (spec(),)


def test_a_waiting_replica_hears_a_new_order() -> None:
    """A long poll ends when the pool's versions change."""

    async def changed() -> object:
        board = pool_board(HandClock())
        first = await board.exchange("s1", worker(), -1, 0.0)
        assert first is not None
        async with asyncio.TaskGroup() as group:
            poll = group.create_task(board.exchange("s1", worker(), first.revision, 60.0))
            await asyncio.sleep(0)
            board.order("s1", (spec(1), spec(2)))
        return poll.result()

    order = asyncio.run(changed())
    assert getattr(order, "versions", None) == (spec(1), spec(2))


def test_an_unchanged_order_keeps_its_revision() -> None:
    """Saying the same versions again disturbs no replica."""

    async def again() -> object:
        board = pool_board(HandClock())
        first = await board.exchange("s1", worker(), -1, 0.0)
        assert first is not None
        board.order("s1", (spec(),))
        return await board.exchange("s1", worker(), first.revision, 0.0)

    assert asyncio.run(again()) is None


def test_a_report_is_observed() -> None:
    """What a replica reports is what the controller observes."""
    board = pool_board(HandClock())
    asyncio.run(board.exchange("s1", worker(), -1, 0.0))
    assert board.observe() == {"s1": (worker(),)}


MIRROR = Mirror(live=VersionKey("m", 1), candidate=2)


def mirrored_board(clock: HandClock) -> PoolBoard:
    """A board whose pool s1 hosts the live version and d2 the candidate, with a worker each."""
    board = pool_board(clock)
    board.order("d2", (spec(2),))
    for pool, name in (("s1", "s1-a"), ("d2", "d2-a")):
        asyncio.run(board.exchange(pool, worker(name), -1, 0.0))
    return board


def ordered(board: PoolBoard, pool: str = "s1", name: str = "s1-a") -> PoolOrder:
    """What a pool is told now."""
    order = asyncio.run(board.exchange(pool, worker(name), -1, 0.0))
    assert order is not None
    return order


def test_nobody_is_told_of_mirrors_before_the_controller_spoke() -> None:
    """A new controller does not end what an earlier one began."""
    assert ordered(mirrored_board(HandClock())).mirrors is None


def test_a_mirror_names_the_workers_of_its_candidate() -> None:
    """Both pools are told; the same mirrors again disturb nobody."""
    board = mirrored_board(HandClock())
    board.set_mirrors([MIRROR])
    told = ordered(board)
    assert told.mirrors is not None
    assert [[target.worker for target in order.targets] for order in told.mirrors] == [["d2-a"]]
    assert ordered(board, "d2", "d2-a").mirrors == told.mirrors
    board.set_mirrors([MIRROR])
    assert ordered(board) == told


def test_a_mirror_follows_the_workers() -> None:
    """A candidate's worker that comes or goes, or its pool, changes whom copies are sent to."""
    clock = HandClock()
    board = mirrored_board(clock)
    board.set_mirrors([MIRROR])
    asyncio.run(board.exchange("d2", worker("d2-b"), -1, 0.0))

    def targets() -> list[str]:
        (order,) = ordered(board).mirrors or ()
        return [target.worker for target in order.targets]

    assert targets() == ["d2-a", "d2-b"]
    board.leave("d2", "d2-a")
    assert targets() == ["d2-b"]
    board.forget("d2")
    assert targets() == []
    board.set_mirrors([])
    assert ordered(board).mirrors == ()


def test_comparisons_of_all_workers_add_up() -> None:
    """They come with the reports, and alone are no news."""
    board = mirrored_board(HandClock())
    heard = board.news.count
    part = ComparisonReport(model="m", version=2, against=1, compared_rows=3)
    for pool, name in (("s1", "s1-a"), ("d2", "d2-a")):
        state = replace(worker(name), comparisons=(part,))
        asyncio.run(board.exchange(pool, state, -1, 0.0))
    assert [report.compared_rows for report in board.comparisons()] == [6]
    assert board.news.count == heard


def test_a_report_of_an_unknown_pool_is_ignored() -> None:
    """A late replica of a stopped pool does not bring the pool back."""
    board = PoolBoard(HandClock(), first_revision=1)
    asyncio.run(board.exchange("s1", worker(), -1, 0.0))
    assert board.observe() == {}


def test_a_silent_worker_is_forgotten() -> None:
    """A worker whose replica no longer calls leaves the observation; its pool stays."""
    clock = HandClock()
    board = pool_board(clock)
    asyncio.run(board.exchange("s1", worker(), -1, 0.0))
    look_for(clock, LOST_S + 1, board.observe)
    assert board.observe() == {"s1": ()}


def test_a_worker_is_forgotten_sooner_where_another_one_serves() -> None:
    """The last one stays: its replica alone may be silent, and calls have nowhere else to go."""
    clock = HandClock()
    board = pool_board(clock)
    asyncio.run(board.exchange("s1", worker("s1-a"), -1, 0.0))
    look_for(clock, SILENCE_S + 1, board.observe)
    (unheard,) = board.observe()["s1"]
    assert (unheard.state, unheard.address.worker) == ("silent", "s1-a")

    asyncio.run(board.exchange("s1", worker("s1-b"), -1, 0.0))

    assert [state.address.worker for state in board.observe()["s1"]] == ["s1-b"]


def test_nobody_is_forgotten_for_a_pause_of_ours() -> None:
    """After it, reports wait to be read: those who sent them were not silent."""
    clock = HandClock()
    board = pool_board(clock)
    for name in ("s1-a", "s1-b"):
        asyncio.run(board.exchange("s1", worker(name), -1, 0.0))

    clock.now_s += 10 * LOST_S

    asyncio.run(board.exchange("s1", worker("s1-b"), -1, 0.0))
    assert len(board.observe()["s1"]) == 2


def test_a_worker_that_leaves_is_forgotten_at_once() -> None:
    """A replica that says goodbye is not waited for."""
    board = pool_board(HandClock())
    asyncio.run(board.exchange("s1", worker(), -1, 0.0))
    board.leave("s1", "s1-a")
    assert board.observe() == {"s1": ()}


def test_memory_alone_is_no_news() -> None:
    """A report that differs in memory only wakes nobody, and is observed all the same."""

    async def rings() -> bool:
        board = pool_board(HandClock())
        await board.exchange("s1", worker(), -1, 0.0)
        async with asyncio.TaskGroup() as group:
            news = group.create_task(board.news.wait(60.0))
            await asyncio.sleep(0)
            await board.exchange("s1", worker(rss_bytes=5), -1, 0.0)
            await asyncio.sleep(0)
            is_done = news.done()
            news.cancel()
        assert board.observe()["s1"][0].rss_bytes == 5
        return is_done

    assert asyncio.run(rings()) is False
