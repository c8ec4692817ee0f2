"""SIGTERM and hangups end what runs on a loop where it waits, not in the midst of a step."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from serving.cli.ending import run_unwinding


@pytest.fixture
def hears_hangups() -> Iterator[None]:
    """Whoever runs the tests may ignore them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hears_hangups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_step_is_finished_and_what_it_began_is_ended(number: signal.Signals) -> None:
    """A process that is being started when the signal comes is known to whoever ends it."""
    done = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            done.append("started")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("ended")

    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        run_unwinding(work())

    assert ended.value.code == 128 + number
    assert done == ["started", "ended"]
    assert signal.getsignal(number) is before


def test_what_it_returns_and_raises_is_passed_on() -> None:
    """Nobody told it to end: a cancellation of its own is none of ours."""

    async def answer() -> int:
        return 7

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert run_unwinding(answer()) == 7
    with pytest.raises(asyncio.CancelledError):
        run_unwinding(cancelled())
