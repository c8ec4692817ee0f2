"""What pools and edges have said, and what they shall hear: the controller's half of two channels.

Serve tells nobody where a replica's worker listens, and a handle cannot address all replicas of a
deployment. So replicas and edges call the controller, again and again: what they report is also
their heartbeat, and the call is answered as soon as there is something new for them (long poll).
Who has not called for `SILENCE_S` is forgotten. All methods run on the controller's one event loop.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from serving.clock import Clock
from serving.edge.control import EdgeStatus, Snapshot
from serving.registry.version import VersionSpec
from serving.rollout.ports import WorkerState

SILENCE_S: Final = 8.0
"""A replica or an edge that has said nothing for so long is gone; both call every 2 s or sooner."""
LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOrder:
    """What the workers of a pool shall host from now on."""

    revision: int
    versions: tuple[VersionSpec, ...]


class Bell:
    """Wakes everybody who waits for something new."""

    def __init__(self) -> None:
        """Start silent."""
        self._rung = asyncio.Event()
        self.count = 0
        """How often it has rung."""

    def ring(self) -> None:
        """Wake all who wait now."""
        self.count += 1
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, limit_s: float) -> None:
        """Return when it rings, or after the limit."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._rung.wait()


@dataclass(slots=True)
class _Pool:
    order: PoolOrder | None = None
    workers: dict[str, tuple[WorkerState, float]] = field(default_factory=dict)


class PoolBoard:
    """Orders for pools, and the workers that reported themselves."""

    def __init__(self, clock: Clock, *, first_revision: int) -> None:
        """Start empty.

        Args:
            clock: Tells who has been silent for too long.
            first_revision: Above every revision that an earlier controller gave out.
        """
        self._clock = clock
        self._revision = first_revision
        self._pools: dict[str, _Pool] = {}
        self._news_for_pools = Bell()
        self.news = Bell()
        """Rings when a worker reported something new, or was forgotten."""

    def expect(self, pool: str) -> None:
        """Take a pool into account that runs already, whatever it hosts."""
        self._pools.setdefault(pool, _Pool())

    def order(self, pool: str, versions: tuple[VersionSpec, ...]) -> None:
        """Say what a pool's workers shall host; an unchanged order disturbs nobody."""
        entry = self._pools.setdefault(pool, _Pool())
        if entry.order is not None and entry.order.versions == versions:
            return
        self._revision += 1
        entry.order = PoolOrder(revision=self._revision, versions=versions)
        self._news_for_pools.ring()

    def forget(self, pool: str) -> None:
        """Drop a pool that was stopped; late reports of its workers are ignored."""
        self._pools.pop(pool, None)
        self.news.ring()

    async def exchange(
        self, pool: str, state: WorkerState, known_revision: int, wait_s: float
    ) -> PoolOrder | None:
        """Take a worker's report; return the pool's order once it differs from the known one."""
        self._hear(pool, state)
        end_s = self._clock.monotonic_s() + wait_s
        while True:
            entry = self._pools.get(pool)
            if entry is not None and entry.order and entry.order.revision != known_revision:
                return entry.order
            left_s = end_s - self._clock.monotonic_s()
            if left_s <= 0:
                return None
            await self._news_for_pools.wait(left_s)

    def leave(self, pool: str, worker: str) -> None:
        """Forget one worker at once: it is about to end."""
        entry = self._pools.get(pool)
        if entry is not None and entry.workers.pop(worker, None) is not None:
            self.news.ring()

    def observe(self) -> Mapping[str, Sequence[WorkerState]]:
        """Return the workers of every known pool, without those that fell silent."""
        oldest_s = self._clock.monotonic_s() - SILENCE_S
        for entry in self._pools.values():
            for worker, (_, at_s) in list(entry.workers.items()):
                if at_s < oldest_s:
                    del entry.workers[worker]
        return {
            pool: tuple(state for state, _ in entry.workers.values())
            for pool, entry in self._pools.items()
        }

    def _hear(self, pool: str, state: WorkerState) -> None:
        entry = self._pools.get(pool)
        if entry is None:
            return
        before = entry.workers.get(state.address.worker)
        entry.workers[state.address.worker] = (state, self._clock.monotonic_s())
        if before is None or _steady(before[0]) != _steady(state):
            self.news.ring()


def _steady(state: WorkerState) -> WorkerState:
    """The report without what always changes: memory alone is no news."""
    return replace(state, rss_bytes=0)


class EdgeBoard:
    """The snapshot for all edges, and how far each has come."""

    def __init__(self, clock: Clock) -> None:
        """Start without a snapshot: edges keep what they have until the first `publish`."""
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._edges: dict[str, tuple[EdgeStatus, float]] = {}
        self._news_for_edges = Bell()
        self._heard = Bell()
        self._acknowledged: Snapshot | None = None

    async def exchange(self, status: EdgeStatus, wait_s: float) -> Snapshot | None:
        """Take an edge's report, which acknowledges its revision; return a snapshot it lacks."""
        self._edges[status.node] = (status, self._clock.monotonic_s())
        self._heard.ring()
        end_s = self._clock.monotonic_s() + wait_s
        while True:
            snapshot = self._snapshot
            if snapshot is not None and snapshot.routes.revision != status.revision:
                return snapshot
            left_s = end_s - self._clock.monotonic_s()
            if left_s <= 0:
                return None
            await self._news_for_edges.wait(left_s)

    async def publish(self, snapshot: Snapshot) -> None:
        """Offer a snapshot to every edge; return when all that live have acknowledged it."""
        self._snapshot = snapshot
        self._news_for_edges.ring()
        while any(edge.revision < snapshot.routes.revision for edge in self.observe()):
            await self._heard.wait(LOOK_S)
        self._acknowledged = snapshot
        self._heard.ring()

    async def until_unrouted(self, worker: str, limit_s: float) -> None:
        """Return when no edge sends calls to a worker any more, or after the limit."""
        end_s = self._clock.monotonic_s() + limit_s
        while self._is_routed(worker) and (left_s := end_s - self._clock.monotonic_s()) > 0:
            await self._heard.wait(min(left_s, LOOK_S))

    def _is_routed(self, worker: str) -> bool:
        in_force = self._acknowledged or self._snapshot
        pools = in_force.routes.pools.values() if in_force else ()
        return any(address.worker == worker for pool in pools for address in pool)

    def observe(self) -> Sequence[EdgeStatus]:
        """Return every edge that reported lately."""
        oldest_s = self._clock.monotonic_s() - SILENCE_S
        self._edges = {node: heard for node, heard in self._edges.items() if heard[1] >= oldest_s}
        return tuple(status for status, _ in self._edges.values())
