"""Replies that wait for clients who do not read: how many bytes, and for how long."""

import asyncio
from collections.abc import Callable
from typing import cast

from serving.unsent import LOOK_S, PATIENT_BYTES, STALL_S, UnsentReplies

MAX_BYTES = 2 * PATIENT_BYTES


class HandClock:
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        """Return the time."""
        return self.now_s

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Remember a call."""
        self.due.append((self.now_s + delay_s, call))

    def pass_s(self, seconds: float) -> None:
        """Let time pass, in steps of a look."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += LOOK_S
            ready = [call for at_s, call in self.due if at_s <= self.now_s]
            self.due = [entry for entry in self.due if entry[0] > self.now_s]
            for call in ready:
                call()


class Pipe:
    """A connection that holds so many bytes."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        """Return what is not sent."""
        return self.size_bytes

    def abort(self) -> None:
        """End it."""
        self.is_aborted = True


def held(*pipes: Pipe) -> tuple[HandClock, UnsentReplies]:
    """Replies that wait in these connections, and their clock."""
    clock = HandClock()
    unsent = UnsentReplies(cast("asyncio.AbstractEventLoop", clock), MAX_BYTES)
    for pipe in pipes:
        unsent.begin(cast("asyncio.Transport", pipe))
    return clock, unsent


def test_a_reply_is_refused_where_others_leave_it_no_room() -> None:
    """One alone has room whatever its size; beside others the limit holds, until they are read."""
    pipe = Pipe(MAX_BYTES - 10)
    _, unsent = held()
    assert unsent.refusal([bytes(11)]) is None
    unsent.begin(cast("asyncio.Transport", pipe))
    assert unsent.refusal([bytes(4), bytes(6)]) is None
    refusal = unsent.refusal([bytes(5), bytes(6)])
    assert refusal is not None
    assert f"{MAX_BYTES - 10} of {MAX_BYTES} bytes wait for clients" in refusal.message
    pipe.size_bytes -= 1
    assert unsent.refusal([bytes(5), bytes(6)]) is None
    unsent.end(cast("asyncio.Transport", pipe))
    assert unsent.refusal([bytes(5), bytes(6)]) is None


def test_who_takes_nothing_is_ended_while_much_waits() -> None:
    """A connection that takes a byte now and then stays; one that stands still does not."""
    still, slow = Pipe(PATIENT_BYTES), Pipe(PATIENT_BYTES)
    clock, _ = held(still, slow)
    while clock.now_s < STALL_S:
        assert not still.is_aborted
        slow.size_bytes -= 1
        clock.pass_s(LOOK_S)
    assert still.is_aborted
    assert not slow.is_aborted


def test_who_takes_nothing_may_stay_while_little_waits() -> None:
    """A client that rests costs nobody anything, and looks end with the last that waits."""
    still = Pipe(PATIENT_BYTES)
    clock, unsent = held(still)
    clock.pass_s(3 * STALL_S)
    assert not still.is_aborted
    unsent.end(cast("asyncio.Transport", still))
    clock.pass_s(LOOK_S)
    assert not clock.due
