"""The edges' channel: who hears which snapshot, and who is waited for."""

import asyncio
from dataclasses import replace

import pytest

from serving.cluster.attention import LOST_S, SILENCE_S
from serving.cluster.edge_board import EdgeBoard, EdgeReport, Publication
from serving.edge.control import EdgeStatus, Snapshot
from serving.edge.routes import RouteTable
from serving.errors import NotReadyError
from tests.unit.cluster.test_pool_board import HandClock, look_for, worker


def edge(revision: int, node: str = "node", *, applied: int = -1, refused: int = -1) -> EdgeReport:
    """An edge's report."""
    status = EdgeStatus(node=node, haproxy_pid=1, revision=revision)
    return EdgeReport(status=status, applied=applied, refused=refused, reason="no slot is free")


def snapshot(revision: int) -> Snapshot:
    """A snapshot with nothing but a revision."""
    return Snapshot(routes=RouteTable(revision=revision))


def edge_board(clock: HandClock | None = None) -> EdgeBoard:
    """A board that nothing was published on."""
    return EdgeBoard(clock or HandClock(), first_number=10)


def test_an_edge_gets_a_snapshot_that_it_lacks() -> None:
    """An edge that joins hears the newest snapshot at once."""

    async def joined() -> Publication | None:
        board = edge_board()
        await board.publish(snapshot(5))
        return await board.exchange(edge(0, applied=-1), 60.0)

    assert asyncio.run(joined()) == Publication(number=11, snapshot=snapshot(5))


def test_an_edge_gets_a_snapshot_whose_routes_are_the_same() -> None:
    """A version's new state reaches the edges although no route has changed."""

    async def heard() -> Publication | None:
        board = edge_board()
        await board.publish(snapshot(5))
        await board.publish(replace(snapshot(5), ready=True))
        return await board.exchange(edge(5, applied=11), 60.0)

    publication = asyncio.run(heard())
    assert publication is not None
    assert publication.snapshot.ready


def test_publish_waits_for_every_living_edge() -> None:
    """A snapshot counts as published when the slowest living edge has applied it."""

    async def publish() -> bool:
        board = edge_board()
        await board.exchange(edge(1, "a", applied=-1), 0.0)
        await board.exchange(edge(1, "b", applied=-1), 0.0)
        async with asyncio.TaskGroup() as group:
            done = group.create_task(board.publish(snapshot(2)))
            await asyncio.sleep(0)
            await board.exchange(edge(2, "a", applied=11), 0.0)
            await asyncio.sleep(0)
            was_early = done.done()
            await board.exchange(edge(2, "b", applied=11), 0.0)
        return was_early

    assert asyncio.run(publish()) is False


def test_publish_waits_for_an_edge_that_obeys_a_controller_from_the_future() -> None:
    """The wall clock was set back between two controllers: the earlier one's numbers are higher."""

    async def publish() -> tuple[bool, bool]:
        board = edge_board()
        await board.exchange(edge(1, applied=5000), 0.0)
        async with asyncio.TaskGroup() as group:
            done = group.create_task(board.publish(snapshot(2)))
            await asyncio.sleep(0)
            heard = await board.exchange(edge(1, applied=5000), 0.0)
            await asyncio.sleep(0)
            was_early = done.done()
            await board.exchange(edge(2, applied=11), 0.0)
        return heard is not None, was_early

    assert asyncio.run(publish()) == (True, False)


def test_publish_waits_for_a_silent_edge_whose_haproxy_routes() -> None:
    """Its actor is away, not its HAProxy: what that one routes to must not end."""

    async def publish() -> bool:
        clock = HandClock()
        board = edge_board(clock)
        await board.exchange(edge(1, applied=10), 0.0)
        look_for(clock, SILENCE_S + 1, board.observe)
        async with asyncio.TaskGroup() as group:
            done = group.create_task(board.publish(snapshot(2)))
            await asyncio.sleep(0)
            was_early = done.done()
            await board.exchange(edge(1, applied=-1), 0.0)  # another actor, the same HAProxy
            await asyncio.sleep(0)
            was_early |= done.done()
            await board.exchange(edge(2, applied=11), 0.0)
        return was_early

    assert asyncio.run(publish()) is False


def test_publish_does_not_wait_for_a_dead_edge() -> None:
    """An edge that stays silent holds nobody up for ever."""

    async def publish() -> None:
        clock = HandClock()
        board = edge_board(clock)
        await board.exchange(edge(1, "dead", applied=-1), 0.0)
        look_for(clock, LOST_S + 1, board.observe)
        await board.publish(snapshot(2))

    asyncio.run(publish())


def test_publish_does_not_wait_for_an_edge_without_routes() -> None:
    """One that has obeyed nothing yet sends no calls anywhere: it is gone sooner."""

    async def publish() -> None:
        clock = HandClock()
        board = edge_board(clock)
        await board.exchange(edge(0, "dead", applied=-1), 0.0)
        look_for(clock, SILENCE_S + 1, board.observe)
        await board.publish(snapshot(2))

    asyncio.run(publish())


def test_publish_does_not_wait_for_an_edge_whose_node_is_gone() -> None:
    """It is named as silent, whoever knows that its node is dead says so, and publishing ends."""

    async def publish() -> frozenset[str]:
        clock = HandClock()
        board = edge_board(clock)
        await board.exchange(edge(1, "dead"), 0.0)
        was_silent = board.silent()
        look_for(clock, SILENCE_S + 1, board.observe)
        async with asyncio.TaskGroup() as group:
            group.create_task(board.publish(snapshot(2)))
            await asyncio.sleep(0)
            silent = board.silent()
            board.forget(silent)
        return silent - was_silent

    assert asyncio.run(publish()) == {"dead"}


def test_an_edge_that_is_busy_obeying_is_not_silent() -> None:
    """Its beats count as reports, but say nothing new of it; those of a stranger say nothing."""

    async def publish() -> bool:
        clock = HandClock()
        board = edge_board(clock)
        await board.exchange(edge(0, applied=-1), 0.0)
        look_for(clock, LOST_S, lambda: (board.beat("node"), board.observe()))
        board.beat("stranger")
        assert [status.node for status in board.observe()] == ["node"]
        assert board.silent() == frozenset()
        async with asyncio.TaskGroup() as group:
            done = group.create_task(board.publish(snapshot(2)))
            await asyncio.sleep(0)
            was_early = done.done()
            await board.exchange(edge(2, applied=11), 0.0)
        return was_early

    assert asyncio.run(publish()) is False


def test_publish_tells_why_an_edge_refuses() -> None:
    """An edge that cannot apply a snapshot does not hold the controller up for ever."""

    async def publish() -> None:
        board = edge_board()
        await board.exchange(edge(1, refused=11), 0.0)
        await board.publish(snapshot(2))

    with pytest.raises(NotReadyError, match="no slot is free"):
        asyncio.run(publish())


def test_an_edge_with_the_newest_snapshot_waits() -> None:
    """An edge that has everything gets nothing when its wait is over."""

    async def poll() -> Publication | None:
        board = edge_board()
        await board.publish(snapshot(2))
        return await board.exchange(edge(2, applied=11), 0.0)

    assert asyncio.run(poll()) is None


def test_a_worker_is_waited_for_until_it_is_unrouted() -> None:
    """Whoever takes leave of the edges waits for the table without it."""

    async def leave() -> bool:
        board = edge_board()
        address = worker().address
        routed = Snapshot(routes=RouteTable(revision=1, pools={"s1": (address,)}))
        await board.publish(routed)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(board.until_unrouted("s1-a", 60.0))
            await asyncio.sleep(0)
            was_early = waiting.done()
            await board.publish(snapshot(2))
        return was_early

    assert asyncio.run(leave()) is False


def test_a_worker_of_a_table_on_its_way_is_routed() -> None:
    """Some edge may obey it already, though not all have said so."""

    async def leave() -> bool:
        board = edge_board()
        routed = Snapshot(routes=RouteTable(revision=2, pools={"s1": (worker().address,)}))
        await board.publish(snapshot(1))
        await board.exchange(edge(1, applied=11), 0.0)
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(board.publish(routed))
            await asyncio.sleep(0)
            waiting = group.create_task(board.until_unrouted("s1-a", 60.0))
            await asyncio.sleep(0)
            was_early = waiting.done()
            await board.exchange(edge(2, applied=12), 0.0)
            await publishing
            group.create_task(board.publish(snapshot(3)))
            await asyncio.sleep(0)
            await board.exchange(edge(3, applied=13), 0.0)
        return was_early

    assert asyncio.run(leave()) is False
