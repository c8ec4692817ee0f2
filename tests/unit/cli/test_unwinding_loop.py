"""SIGTERM ends what runs on a loop where it waits, not in the midst of a step."""

import asyncio
import os
import signal

import pytest

from serving.cli.ending import run_unwinding


def test_a_step_is_finished_and_what_it_began_is_ended() -> None:
    """A process that is being started when the signal comes is known to whoever ends it."""
    done = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("started")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("ended")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        run_unwinding(work())

    assert ended.value.code == 128 + signal.SIGTERM
    assert done == ["started", "ended"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_it_returns_and_raises_is_passed_on() -> None:
    """Nobody told it to end: a cancellation of its own is none of ours."""

    async def answer() -> int:
        return 7

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert run_unwinding(answer()) == 7
    with pytest.raises(asyncio.CancelledError):
        run_unwinding(cancelled())
