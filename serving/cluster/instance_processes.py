"""Every process of one instance, found by its mark in the environment, and their end.

What Bascule starts has `BASCULE_INSTANCE` in its environment, and so has all that Ray starts in
turn. So the end of an instance needs neither Ray nor process ids on disk, and never touches a
process of anybody else. A zombie counts as ended: its parent may be one that never waits.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import psutil

MARK: Final = "BASCULE_INSTANCE"
LOOK_S: Final = 0.05


def processes_of(instance: str) -> list[psutil.Process]:
    """Return the living processes with this instance's mark, this process excepted."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _mark_of(process) == instance and is_alive(process)
    ]


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs, and is the process that was meant (ids are used again)."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_instance(instance: str, *, grace_s: float) -> int:
    """Ask every process of the instance to end, then make it; return how many there were.

    Supervisors may start children while they end, so the look is repeated until none is left.
    """
    first = processes_of(instance)
    _signal(first, psutil.Process.terminate)
    _wait_until_gone(first, grace_s)
    seen = {process.pid for process in first}
    while left := processes_of(instance):
        seen |= {process.pid for process in left}
        _signal(left, psutil.Process.kill)
        _wait_until_gone(left, grace_s)
    return len(seen)


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):  # it ended, or belongs to somebody else: not ours
        return None


def _signal(processes: Sequence[psutil.Process], action: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        try:
            action(process)
        except psutil.NoSuchProcess:
            continue  # it ended by itself, which is what was wanted


def _wait_until_gone(processes: Sequence[psutil.Process], limit_s: float) -> None:
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s and any(is_alive(process) for process in processes):
        time.sleep(LOOK_S)
