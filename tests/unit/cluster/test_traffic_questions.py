"""Counters that somebody wants travel with replicas' reports, for as long as they are wanted."""

import asyncio
from dataclasses import replace

from serving.cluster.pool_board import QUESTION_S
from serving.monitor.traffic import TrafficCounters
from serving.worker.control import TrafficQuestion
from tests.unit.cluster.test_pool_board import HandClock, pool_board, spec, worker


def test_a_question_travels_with_the_order() -> None:
    """Pools that host a version hear that its counters are wanted, and others hear nothing."""
    board = pool_board(HandClock())
    board.order("s2", (spec(2),))

    board.ask_traffic(TrafficQuestion(keys=(spec(1).key,), with_outputs=True))

    order = asyncio.run(board.exchange("s1", worker(), -1, 0.0))
    other = asyncio.run(board.exchange("s2", worker("s2-a"), -1, 0.0))
    assert order is not None
    assert other is not None
    assert order.question == TrafficQuestion(keys=(spec(1).key,), with_outputs=True)
    assert other.question is None


def test_a_question_that_is_asked_again_disturbs_nobody() -> None:
    """Whoever watches asks every second; the order keeps its revision."""
    board = pool_board(HandClock())
    question = TrafficQuestion(keys=(spec(1).key,))
    board.ask_traffic(question)
    first = asyncio.run(board.exchange("s1", worker(), -1, 0.0))
    assert first is not None

    board.ask_traffic(question)

    assert asyncio.run(board.exchange("s1", worker(), first.revision, 0.0)) is None


def test_a_question_that_nobody_repeats_ends() -> None:
    """The pool is told that its counters are wanted no more."""
    clock = HandClock()
    board = pool_board(clock)
    board.ask_traffic(TrafficQuestion(keys=(spec(1).key,)))
    first = asyncio.run(board.exchange("s1", worker(), -1, 0.0))
    assert first is not None

    clock.now_s += QUESTION_S + 1
    board.observe()

    order = asyncio.run(board.exchange("s1", worker(), first.revision, 0.0))
    assert order is not None
    assert order.question is None


def test_counters_alone_are_no_news() -> None:
    """A report that differs in them only wakes nobody, and is what is observed."""
    board = pool_board(HandClock())
    asyncio.run(board.exchange("s1", worker(), -1, 0.0))
    rung = board.news.count
    counted = (TrafficCounters(model="m", version=1, began_ns=1),)

    asyncio.run(board.exchange("s1", replace(worker(), traffic=counted), -1, 0.0))

    assert board.news.count == rung
    assert board.observe()["s1"][0].traffic == counted
