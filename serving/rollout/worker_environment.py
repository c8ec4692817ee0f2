"""The interpreter of a worker whose version pins packages: found, or built by a child process.

Building takes seconds to minutes and talks to the network, so it is neither on the loop nor in a
thread of ours: the child (`python -m serving.environments`) can be ended, and dies with us.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtimes.errors import ModelLoadError
from serving.environments.store import Environments, environment_key
from serving.registry.bundles.pins import read_pins
from serving.rollout.loading_priority import LOADING_NICENESS
from serving.settings import Settings
from serving.supervise import Child, ChildSpec

LOOK_S: Final = 0.5
MAX_TAIL_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentOrder:
    """Which environment a worker needs."""

    home: Path
    lock_file: Path
    child: ChildSpec
    """The worker's: the builder gets its environment variables and the folder of its log."""


def environment_order(
    settings: Settings, lock_file: str, child: ChildSpec
) -> EnvironmentOrder | None:
    """Say which environment a worker needs; None for a pool without a lock."""
    if not lock_file:
        return None
    return EnvironmentOrder(home=settings.home, lock_file=Path(lock_file), child=child)


async def worker_python(
    order: EnvironmentOrder, stop: asyncio.Event, tell: Callable[[str], None]
) -> str | None:
    """Return the interpreter to start the worker with; None if `stop` was set before.

    Args:
        order: Which environment.
        stop: Ends the building.
        tell: Called on the loop with a line of progress now and then.

    Raises:
        BasculeError: The lock cannot be read, or the environment cannot be built: the message has
            the package, the reason and the remedy.
    """
    found = await asyncio.to_thread(_look, order)
    if found.python:
        return found.python
    key = found.key
    log_file = order.child.log_file.with_name(f"environment-{key}.log")
    begin = await asyncio.to_thread(_size, log_file)
    child = Child.start(
        ChildSpec(
            name=f"builder of environment {key}",
            argv=(
                sys.executable,
                "-m",
                "serving.environments",
                str(order.home),
                str(order.lock_file),
            ),
            env=order.child.env,
            log_file=log_file,
            niceness=LOADING_NICENESS,
        )
    )
    try:
        while child.ended is None and not stop.is_set():
            await _wait(child)
            tell(await asyncio.to_thread(_last_line, log_file, begin))
    finally:
        if child.ended is None:
            await child.stop(0)
    if stop.is_set():
        return None
    found = await asyncio.to_thread(_look, order)
    if not found.python:
        said = await asyncio.to_thread(_last_line, log_file, begin)
        raise ModelLoadError(said or f"the builder of environment {key} ended")
    return found.python


async def _wait(child: Child) -> None:
    """Return when it has ended, or it is time to look at its progress."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            await child.wait()


@dataclass(frozen=True, slots=True)
class _Found:
    key: str
    python: str
    """Empty: it is not built."""


def _look(order: EnvironmentOrder) -> _Found:
    pins = read_pins(order.lock_file)
    found = Environments(order.home).find(pins)
    return _Found(environment_key(pins), str(found.python) if found else "")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _last_line(file: Path, begin: int) -> str:
    """Return the last line that was written behind a place of a log; empty if there is none."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(min(begin, size), size - MAX_TAIL_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")
