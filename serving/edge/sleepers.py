"""Calls for versions that have no worker since nobody called them: they wait while one starts.

HAProxy cannot let calls wait at a backend without servers, so it sends them here, with the name and
version that it has looked up. Here the controller is asked for a worker, the call waits until the
routes say that the version is awake, and then it goes into the edge again as it came. What waits
over HTTP is not read yet; a gRPC message is, and has its place in the room of all messages.

While HAProxy is told new routes, a call may have come by the old or by the new ones: it waits if
the version is asleep by either. A worker may end while a call is on its way back to it: such a call
comes here again, and waits again.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote

import structlog

from runtimes.errors import BasculeError
from serving.edge.control import Snapshot
from serving.edge.drain import Drain
from serving.edge.routes import RouteTable, VersionRoute
from serving.errors import NotReadyError, QueueFullError
from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.wire import refusals

log = structlog.get_logger(__name__)

MODEL_HEADER: Final = "bascule-model"
"""Set by HAProxy on a call that has to wait: the model's name, percent-encoded."""
VERSION_HEADER: Final = "bascule-version"
WOKEN_HEADER: Final = "bascule-woken"
"""Set here on a call that has waited: a mark for each time."""
MAX_WAITS: Final = 5
"""Times that one call waits: workers that end so often while a call is under way are broken."""
VERSION: Final = re.compile(r"[0-9]{1,19}")
MAX_CALLS: Final = 512
"""Calls that wait at a time, for whatever version; half of them for one."""
LIMIT_S: Final = 240.0
"""Longest wait: shorter than the silence that the edge allows a client."""
AGAIN_S: Final = 2.0
"""The controller is asked again after so long: it may be another one."""
AWAKE: Final = VersionRoute(None)


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A call that has to wait for a worker."""

    key: VersionKey
    wait_count: int
    """Times that it has waited before."""

    @property
    def woken(self) -> dict[str, str]:
        """Headers that it goes on with."""
        return {WOKEN_HEADER: "1" * (self.wait_count + 1)}


class Waker(Protocol):
    """What is needed of `serving.edge.control.Control`."""

    async def wake(self, model: str, version: int) -> None:
        """Have a worker started."""


class Sleepers:
    """Who waits for what. Belongs to one event loop."""

    def __init__(
        self,
        waker: Waker,
        snapshot: Callable[[], Snapshot],
        drain: Drain,
        *,
        max_calls: int = MAX_CALLS,
    ) -> None:
        """Begin without calls.

        Args:
            waker: The controller.
            snapshot: What the edge obeys now.
            drain: Says whether the server is on its way out.
            max_calls: So many may wait, half of them for one version.
        """
        self._waker = waker
        self._snapshot = snapshot
        self._drain = drain
        self._max_calls = max_calls
        self._call_counts: Counter[VersionKey] = Counter()
        self._asked_s: dict[VersionKey, float] = {}
        self._news = asyncio.Condition()
        self._coming = RouteTable()

    def expect(self, snapshot: Snapshot) -> None:
        """HAProxy is about to be told another snapshot, which it obeys before `hear` is called."""
        self._coming = snapshot.routes

    async def hear(self) -> None:
        """The edge obeys another snapshot: see who is awake; who sleeps again is woken at once."""
        routes = self._snapshot().routes.versions
        for key in [key for key in self._asked_s if not routes.get(key, AWAKE).asleep]:
            del self._asked_s[key]
        async with self._news:
            self._news.notify_all()

    async def until_awake(self, sleeper: Sleeper, limit_s: float = LIMIT_S) -> None:
        """Return when calls for a version reach a worker, or find out by themselves that none can.

        Args:
            sleeper: Who waits.
            limit_s: How long at most.

        Raises:
            QueueFullError: Too many calls wait.
            NotReadyError: The version cannot be started, or it takes too long.
            DrainingError: The server is on its way out.
        """
        with self._place(sleeper.key):
            async with self._drain.interrupts():
                await self._until_awake(sleeper.key, limit_s)

    async def _until_awake(self, key: VersionKey, limit_s: float) -> None:
        end_s = asyncio.get_running_loop().time() + limit_s
        while self._is_asleep(key):
            left_s = end_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                raise NotReadyError(
                    f"{_not_ready(key)}: it was scaled to zero, and no worker has started "
                    f"within {limit_s:g} s; the call was not executed"
                )
            await self._until_decided(key, left_s)

    @contextmanager
    def _place(self, key: VersionKey) -> Iterator[None]:
        count, own_count = self._call_counts.total(), self._call_counts[key]
        # One version that takes long to start must not keep the first calls of all others out.
        if count >= self._max_calls or own_count >= max(self._max_calls // 2, 1):
            raise QueueFullError(
                f"{_not_ready(key)}: {own_count} calls wait for its worker to start, {count} for "
                "any, which is the maximum; the call was not executed: retry"
            )
        self._call_counts[key] += 1
        try:
            yield
        finally:
            self._call_counts[key] -= 1
            if not self._call_counts[key]:
                del self._call_counts[key]

    def _is_asleep(self, key: VersionKey) -> bool:
        snapshot = self._snapshot()
        record = snapshot.versions.get(key)
        if record is not None and record.state is VersionState.UNAVAILABLE and record.reason:
            raise NotReadyError(f"{_not_ready(key)}: {record.reason}; the call was not executed")
        routes = (table.versions.get(key) for table in (snapshot.routes, self._coming))
        return any(route is not None and route.asleep for route in routes)

    def _is_decided(self, key: VersionKey) -> bool:
        """Whether a call for a version goes on, or is refused."""
        try:
            return not self._is_asleep(key)
        except NotReadyError:
            return True

    async def _until_decided(self, key: VersionKey, limit_s: float) -> None:
        """Ask for a worker until calls for a version go on or are refused, or the time is over.

        The news count, not the answer: the controller may be away when it has been woken.
        """
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._keep_asking(key))
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s), self._news:
                    await self._news.wait_for(lambda: self._is_decided(key))
            asking.cancel()

    async def _keep_asking(self, key: VersionKey) -> None:
        while True:
            await self._ask(key)
            await asyncio.sleep(AGAIN_S)

    async def _ask(self, key: VersionKey) -> None:
        """Ask for a worker, one of all that wait for it."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._asked_s.get(key, now_s - AGAIN_S) < AGAIN_S:
            return
        self._asked_s[key] = now_s
        try:
            await self._waker.wake(key.model, key.version)
        except BasculeError as error:  # it is asked again: the controller may be restarting
            log.info("version_not_woken", version=str(key), reason=error.message)


def sleeper_of(headers: Iterable[tuple[str, str | bytes]]) -> Sleeper | None:
    """Return what a call waits for, by its headers or metadata; None: it need not.

    Raises:
        NotReadyError: It has waited too often.
    """
    found = {name: str(value) for name, value in headers if name.startswith("bascule-")}
    # A client may say so itself, of a call that HAProxy sends here for another reason.
    if MODEL_HEADER not in found or not VERSION.fullmatch(found.get(VERSION_HEADER, "")):
        return None
    key = VersionKey(unquote(found[MODEL_HEADER]), int(found[VERSION_HEADER]))
    wait_count = len(found.get(WOKEN_HEADER, ""))
    if wait_count >= MAX_WAITS:
        raise NotReadyError(
            f"{_not_ready(key)}: its worker has ended {wait_count} times while this call was on "
            "its way to it; the call was not executed: retry"
        )
    return Sleeper(key, wait_count)


def _not_ready(key: VersionKey) -> str:
    return refusals.version_not_ready(key.model, str(key.version))
