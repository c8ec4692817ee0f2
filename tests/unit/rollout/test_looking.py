"""The loop of watchers."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from runtimes.errors import InvalidArgumentError
from serving.rollout.looking import look_always


def looking(faults: list[Exception | None]) -> Callable[[], asyncio.Future[None]]:
    """A look that goes wrong in these ways, one after the other, and is cancelled at the end."""
    left = iter(faults)

    def look() -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        fault = next(left, asyncio.CancelledError())
        if fault is None:
            done.set_result(None)
        elif isinstance(fault, asyncio.CancelledError):
            done.cancel()
        else:
            done.set_exception(fault)
        return done

    return look


def test_a_fault_is_told_once_until_all_is_well_or_another_comes() -> None:
    """Looks go on after each; ours is told without a traceback, any other with one."""
    ours, other = InvalidArgumentError("the file is gone"), ValueError("odd")
    faults = [ours, ours, other, None, None, other, other, ours]

    with capture_logs() as told, pytest.raises(asyncio.CancelledError):
        asyncio.run(look_always(looking(faults), 0.0, "not_watched"))

    assert {one["event"] for one in told} == {"not_watched"}
    assert [(one["error"], one["exc_info"]) for one in told] == [
        (repr(ours), False),
        (repr(other), True),
        (repr(other), True),
        (repr(ours), False),
    ]
