"""`rollout.ports.Cluster` and `Edges` over Ray Serve.

What pools should be, and which are about to end, is kept in `run/pools.json`, written before Serve
is asked for anything, with what it took last: after one that was killed, a controller finds there
what runs, tells Serve what that one could not, and ends what it was ending. Versions travel by the
boards' channel; Serve hears of a pool only when it is new or its replica count changed. An
application of Serve has one replica at least: a pool that shall have none has no application, until
it shall have some.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from serving.clock import Clock
from serving.cluster.edge_board import EdgeBoard
from serving.cluster.pool_board import PoolBoard
from serving.cluster.recall import RoutesFile
from serving.edge.control import EdgeStatus, Snapshot
from serving.edge.routes import RouteTable
from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport
from serving.monitor.traffic import Lives
from serving.rollout.damaged_file import read_or_set_aside
from serving.rollout.ports import Mirror, PoolSpec, WorkerState
from serving.rollout.traffic_asking import life_of
from serving.worker.control import TrafficQuestion

RETRY_S: Final = 1.0
CHANGED_LIMIT_S: Final = 1.0

log = structlog.get_logger(__name__)


class _SavedPools(msgspec.Struct, frozen=True):
    pools: tuple[PoolSpec, ...] = ()
    ending: tuple[str, ...] = ()
    deployed: dict[str, int] = msgspec.field(default_factory=dict)
    """Replica counts that Serve was told last."""


class PoolApps(Protocol):
    """Serve, as far as pools need it; its calls block and run in a thread."""

    def running(self) -> frozenset[str]:
        """The pools that Serve has an application for."""

    def deploy(self, specs: Sequence[PoolSpec]) -> None:
        """Start pools or change their replica counts; returns without waiting for them.

        Raises:
            NotReadyError: Serve did not take it.
        """

    def delete(self, pool: str) -> None:
        """Drain and end a pool; returns when it is gone.

        Raises:
            NotReadyError: It is not gone.
        """


class RayPools:
    """Pools as Serve applications. `run` must be running for anything to happen."""

    def __init__(
        self, apps: PoolApps, board: PoolBoard, file: Path, *, retry_s: float = RETRY_S
    ) -> None:
        """Use `recall` before the first call.

        Args:
            apps: Serve.
            board: What replicas report to.
            file: Where the pools' specs outlive this process.
            retry_s: Pause after Serve did not take a wish.
        """
        self._apps = apps
        self._board = board
        self._file = file
        self._retry_s = retry_s
        self._specs: dict[str, PoolSpec] = {}
        self._deployed: dict[str, int] = {}
        self._ending: set[str] = set()
        self._to_end: set[str] = set()
        """Of those that are ending: whose end nobody has begun here."""
        self._is_saved = True
        self._seen_count = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._serve_lock = asyncio.Lock()

    @property
    def ending(self) -> frozenset[str]:
        """Pools that are not gone yet: no new one must have the name of one of them."""
        return frozenset(self._ending)

    async def recall(self, routes: RouteTable) -> Mapping[str, PoolSpec]:
        """Learn which pools an earlier controller started, and return them.

        Args:
            routes: Its newest table: who serves in them until they report themselves.
        """
        saved = await asyncio.to_thread(self._read)
        running = await asyncio.to_thread(self._apps.running)
        # Each was noted before Serve heard of it: who is not, has a note that was lost.
        unknown = running.difference(spec.pool for spec in saved.pools)
        self._ending = set(running.intersection(saved.ending) | unknown)
        self._to_end = set(self._ending)
        for spec in saved.pools:
            self._specs[spec.pool] = spec
            self._board.recall(spec, routes)
            if spec.pool in running and spec.pool not in self._ending:
                self._deployed[spec.pool] = saved.deployed.get(spec.pool, 0)
        self._ring()
        return dict(self._specs)

    async def ensure_pool(self, spec: PoolSpec) -> None:
        """Start a pool, or change its versions or its replica count in place."""
        if self._specs.get(spec.pool) == spec:
            return
        self._specs[spec.pool] = spec
        self._is_saved = False
        self._board.order(spec.pool, spec.versions)
        self._ring()

    async def stop_pool(self, pool: str) -> None:
        """Drain and end a pool; returns when it is gone."""
        if self._specs.pop(pool, None) is None:
            return
        async with self._serve_lock:  # not while it is being deployed
            is_deployed = self._deployed.pop(pool, None) is not None
            if is_deployed:
                self._ending.add(pool)
            self._is_saved = False
            await self._save()
        if is_deployed:
            await self._end(pool)
        self._board.forget(pool)

    def observe(self) -> Mapping[str, Sequence[WorkerState]]:
        """Return the workers of every pool, as last heard of."""
        return self._board.observe()

    def set_mirrors(self, mirrors: Sequence[Mirror]) -> None:
        """Say which calls are copied and compared from now on."""
        self._board.set_mirrors(mirrors)

    def comparisons(self) -> Sequence[ComparisonReport]:
        """Return what is known of each pair that is compared."""
        return self._board.comparisons()

    async def traffic(self, keys: Collection[VersionKey], *, with_outputs: bool = False) -> Lives:
        """Return what workers have reported of some versions, by the life of its process.

        The first call asks them to; what they count comes with their reports, a second old.
        """
        self._board.ask_traffic(TrafficQuestion(keys=tuple(keys), with_outputs=with_outputs))
        states = [state for pool in self._board.observe().values() for state in pool]
        wanted = set(keys)
        found = {
            life_of(state): tuple(one for one in state.traffic if one.key in wanted)
            for state in states
        }
        return {life: series for life, series in found.items() if series}

    async def changed(self) -> None:
        """Return when `observe` may give something new."""
        if self._board.news.count == self._seen_count:
            await self._board.news.wait(CHANGED_LIMIT_S)
        self._seen_count = self._board.news.count

    async def settled(self) -> None:
        """Return when every wish so far is on the disk and with Serve."""
        await self._idle.wait()

    async def run(self) -> None:
        """Carry wishes to the disk and to Serve, for as long as the controller lives."""
        async with asyncio.TaskGroup() as group:
            await self._carry(group)

    async def _carry(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self._serve_lock:
                self._rest()
                await self._save()
                while self._to_end:
                    group.create_task(self._end(self._to_end.pop()))
                await self._deploy()
            if not self._wake.is_set():
                self._idle.set()

    def _ring(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def _save(self) -> None:
        if self._is_saved:
            return
        self._is_saved = True
        saved = _SavedPools(
            pools=tuple(self._specs.values()),
            ending=tuple(sorted(self._ending)),
            deployed=dict(self._deployed),
        )
        while True:
            try:
                await asyncio.to_thread(self._write, saved)
            except OSError as error:  # a disk that is full: nothing is done that is not noted
                log.warning("pools_not_kept", file=str(self._file), reason=str(error))
                await asyncio.sleep(self._retry_s)
            else:
                return

    def _rest(self) -> None:
        """Note which applications end although their pools stay: they shall have no replica."""
        resting = [
            spec.pool
            for spec in self._specs.values()
            if spec.replica_count == 0 and self._deployed.pop(spec.pool, None) is not None
        ]
        self._ending.update(resting)
        self._to_end.update(resting)
        self._is_saved &= not resting

    async def _deploy(self) -> None:
        due = [
            spec
            for spec in self._specs.values()
            if self._deployed.get(spec.pool, 0) != spec.replica_count
            and spec.pool not in self._ending  # it is deployed again when its end is over
        ]
        if not due:
            return
        for spec in due:  # a failure does not say that Serve has none of them: they are to be ended
            self._deployed.setdefault(spec.pool, 0)
        try:
            await asyncio.to_thread(self._apps.deploy, due)
        except NotReadyError as error:
            log.warning("pools_not_deployed", reason=error.message)
            await asyncio.sleep(self._retry_s)
            self._ring()
        else:
            self._deployed |= {spec.pool: spec.replica_count for spec in due}
            self._is_saved = False
            await self._save()

    async def _end(self, pool: str) -> None:
        """End a pool; nobody will ask again, so Serve is asked until it is done."""
        while True:
            try:
                await asyncio.to_thread(self._apps.delete, pool)
            except NotReadyError as error:
                log.warning("pool_not_ended", pool=pool, reason=error.message)
                await asyncio.sleep(self._retry_s)
            else:
                break
        self._ending.discard(pool)
        self._is_saved = False
        self._ring()

    def _read(self) -> _SavedPools:
        saved = read_or_set_aside(
            self._file,
            _SavedPools,
            event="pools_lost",
            remedy="those that run are ended and versions get new ones: calls are refused until "
            "these are ready",
        )
        return _SavedPools() if saved is None else saved

    def _write(self, saved: _SavedPools) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(saved))
        fresh.replace(self._file)


class RayEdges:
    """Edges by their long poll."""

    def __init__(self, board: EdgeBoard, file: RoutesFile) -> None:
        """Use the board that edges report to, and the file for the next controller."""
        self._board = board
        self._file = file

    async def publish(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to every edge; returns when all living ones acknowledged it."""
        await asyncio.to_thread(self._file.save, snapshot)
        await self._board.publish(snapshot)

    def observe(self) -> Sequence[EdgeStatus]:
        """Return every living edge and the revision it has applied."""
        return self._board.observe()


def clock_revision(clock: Clock) -> int:
    """A first revision above those of every earlier controller: milliseconds since 1970."""
    return int(clock.utc_now().timestamp() * 1000)
