"""The loop stays awake after short runs for as long as that pays, and no longer."""

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from typing import cast

import pytest

from serving.worker.busy_polling import FEW_CALLS, MAX_MISSES, PREEMPTED_NS, BusyPolling

LIMIT_NS = 100_000
TURN_NS = 3_000


class OneTurnLoop:
    """A loop whose turns are made one by one: it sleeps when nothing is ready."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._ready: deque[Callable[[], None]] = deque()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run in the next turn."""
        self._ready.append(callback)

    @property
    def is_awake(self) -> bool:
        """Whether the next turn begins at once."""
        return bool(self._ready)

    def turn(self, duration_ns: int = TURN_NS) -> None:
        """Run what is ready now."""
        self.now_ns += duration_ns
        for _ in range(len(self._ready)):
            self._ready.popleft()()

    def sleep(self) -> int:
        """Turn until it sleeps; return how long it was awake."""
        begin_ns = self.now_ns
        while self.is_awake:
            self.turn()
        return self.now_ns - begin_ns


def polling(loop: OneTurnLoop, limit_ns: int = LIMIT_NS) -> BusyPolling:
    """Make what is tested, with the loop's clock."""
    return BusyPolling(cast(AbstractEventLoop, loop), lambda: loop.now_ns, limit_ns)


def test_it_looks_for_as_long_as_it_was_told() -> None:
    """From the end of the turn that answered the calls."""
    loop = OneTurnLoop()
    polling(loop).renew(FEW_CALLS)
    assert LIMIT_NS <= loop.sleep() <= LIMIT_NS + 2 * TURN_NS


def test_each_run_begins_it_anew() -> None:
    """A client that asks in time finds the loop awake, for ever."""
    loop = OneTurnLoop()
    polls = polling(loop)
    for _ in range(100):
        polls.renew(FEW_CALLS)
        for _ in range(LIMIT_NS // TURN_NS - 2):
            loop.turn()
        assert loop.is_awake


def test_where_nobody_asks_in_time_it_is_tried_ever_more_seldom() -> None:
    """After each miss twice as many runs pass without it, up to 63 of 64; a hit ends that."""
    loop = OneTurnLoop()
    polls = polling(loop)

    def runs_until_awake() -> int:
        for count in range(1, 1000):
            polls.renew(FEW_CALLS)
            if loop.is_awake:
                return count
        pytest.fail("never tried again")

    found = []
    for _ in range(MAX_MISSES + 3):
        found.append(runs_until_awake())
        loop.sleep()
    assert found == [1, 2, 4, 8, 16, 32, 64, 64, 64]

    runs_until_awake()
    loop.turn()
    polls.renew(FEW_CALLS)  # a call came while it looked
    loop.sleep()
    assert runs_until_awake() == 2


def test_it_ends_where_others_want_the_processor() -> None:
    """A turn without work that took long was interrupted: whoever did that shall have it."""
    loop = OneTurnLoop()
    polling(loop).renew(FEW_CALLS)
    loop.turn()
    loop.turn(PREEMPTED_NS + 1)
    assert not loop.is_awake


def test_a_turn_that_answers_may_take_long() -> None:
    """Replies of many calls are written in the turn after the run: that is no interruption."""
    loop = OneTurnLoop()
    polls = polling(loop)
    polls.renew(FEW_CALLS)
    loop.turn(10 * PREEMPTED_NS)
    assert loop.is_awake
    polls.renew(FEW_CALLS)
    loop.turn(10 * PREEMPTED_NS)
    assert loop.is_awake


def test_many_calls_together_end_it() -> None:
    """The next ones come anyway; whether one client asks is tried again, more seldom."""
    loop = OneTurnLoop()
    polls = polling(loop)
    polls.renew(FEW_CALLS)
    loop.turn()
    polls.renew(FEW_CALLS + 1)
    loop.turn()
    assert not loop.is_awake
    polls.renew(FEW_CALLS + 1)
    assert not loop.is_awake
    polls.renew(FEW_CALLS)
    assert not loop.is_awake
    polls.renew(FEW_CALLS)
    assert loop.is_awake


def test_without_a_limit_it_always_sleeps() -> None:
    """Zero turns it off."""
    loop = OneTurnLoop()
    polls = polling(loop, 0)
    for _ in range(1000):
        polls.renew(FEW_CALLS)
        assert not loop.is_awake
