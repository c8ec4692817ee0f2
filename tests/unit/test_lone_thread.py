"""Calls that may never return hold up nobody but who asked, and that one for a limited time."""

import asyncio
import subprocess
import sys
import threading

import pytest

from serving.errors import NotReadyError
from serving.lone_thread import LoneThread

ENDS_WHILE_A_CALL_HANGS = """
import asyncio, threading
from serving.errors import NotReadyError
from serving.lone_thread import LoneThread

async def main():
    try:
        await LoneThread("it").call(threading.Event().wait, 0.01)
    except NotReadyError as error:
        print(error)

asyncio.run(main())
"""


def test_a_result_and_an_error_come_back() -> None:
    """One after the other, from the same thread's name."""

    async def ask() -> tuple[int, str]:
        lone = LoneThread("it")
        with pytest.raises(ZeroDivisionError):
            await lone.call(lambda: 1 // 0, 10.0)
        return await lone.call(lambda: 7, 10.0), await lone.call(
            lambda: threading.current_thread().name, 10.0
        )

    assert asyncio.run(ask()) == (7, "it")


def test_a_call_that_hangs_is_told_and_takes_no_second_thread() -> None:
    """When it ends after all, the next one is asked."""

    async def ask() -> tuple[str, str, int]:
        lone, go_on = LoneThread("it"), threading.Event()
        with pytest.raises(NotReadyError) as first:
            await lone.call(go_on.wait, 0.01)
        with pytest.raises(NotReadyError) as second:
            await lone.call(lambda: 7, 10.0)
        go_on.set()
        while True:
            try:
                return str(first.value), str(second.value), await lone.call(lambda: 7, 10.0)
            except NotReadyError:
                await asyncio.sleep(0)

    assert asyncio.run(ask()) == (
        "it has not answered for 0.01 s",
        "it does not answer: an earlier question still waits",
        7,
    )


def test_a_process_ends_while_a_call_hangs() -> None:
    """Nobody waits for its thread."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDS_WHILE_A_CALL_HANGS],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == "it has not answered for 0.01 s\n"
