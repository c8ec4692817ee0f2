"""Keeps one HAProxy running and in agreement with the wanted state.

Every change goes through one lock. When HAProxy ends by itself it is started again with the wanted
state in its files, so it knows all routes and servers from its first moment. Routes to new servers
are set when one of them takes calls. Servers that left are deleted behind the scenes when their
last call has ended; until then their slot is theirs.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

import structlog

from runtimes.errors import BasculeError
from serving.clock import Clock
from serving.edge import haproxy_process
from serving.edge.haproxy_admin import AdminSocket, EdgeError
from serving.edge.haproxy_commands import (
    HaproxyState,
    Server,
    arrivals,
    deletion,
    departures,
    retirement,
    routings,
)
from serving.edge.haproxy_layout import ADMIN_SOCKET, LIVE_MAP, VERSIONS_MAP
from serving.edge.haproxy_process import HaproxyProcess, HaproxySpec
from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.supervise import RestartPolicy

log = structlog.get_logger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task in the process's own group: `TaskGroup.create_task`."""

PROBE_S: Final = 0.5  # a worker that does not answer in this time comes up by HAProxy's checks
UP_S: Final = 4.0  # longest wait for that, where no other worker can answer the calls
SETTLE_S: Final = 1.0  # longest wait for the calls of a leaving server within a change
REAP_S: Final = 0.25
POLL_S: Final = 0.02
QUICK_PROBES: Final = 32


class HaproxyKeeper:
    """One HAProxy for the life of an edge."""

    def __init__(self, spec: HaproxySpec, clock: Clock, spawn: Spawn) -> None:
        """Prepare; `start` starts it."""
        self._spec = spec
        self._clock = clock
        self._spawn = spawn
        self._admin = AdminSocket(spec.folder / ADMIN_SOCKET)
        self._lock = asyncio.Lock()
        self._process: HaproxyProcess | None = None
        self._known = HaproxyState()
        self._wanted = HaproxyState()
        self._leaving: set[Server] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.restart_count = 0

    @property
    def pid(self) -> int:
        """HAProxy's process id; 0 while it is being restarted."""
        return self._process.pid if self._process is not None else 0

    @property
    def slots_in_use(self) -> frozenset[str]:
        """Slots that have a server (those on their way out too) or that a route points to."""
        leaving = frozenset(server.slot for server in self._leaving)
        return leaving | self._known.slots() | self._wanted.slots()

    async def start(self, wanted: HaproxyState) -> None:
        """Adopt a running HAProxy or start one, and bring it to the wanted state.

        Raises:
            EdgeError: It does not start.
        """
        async with self._lock:
            self._wanted = wanted
            self._process = await haproxy_process.adopt(self._spec)
            if self._process is None:
                await self._start_fresh()
            else:
                log.info("haproxy_adopted", pid=self.pid)
                await self._resynchronise()
        self._tasks = [self._spawn(self._guard()), self._spawn(self._keep_reaping())]

    async def change(self, wanted: HaproxyState) -> None:
        """Bring HAProxy to a state; return when it has acknowledged every command.

        Raises:
            EdgeError: It refuses; what it knows then is found out at the next change.
            NotReadyError: It does not answer and does not come back either.
        """
        async with self._lock:
            self._wanted = wanted
            if self._process is None:
                raise NotReadyError("HAProxy is being restarted: retry")
            try:
                await self._converge()
            except BasculeError:
                await self._recover()

    async def reap(self) -> None:
        """Delete the servers that left and whose last call has ended."""
        for server in sorted(self._leaving):
            async with self._lock:
                await self._reap_one(server)

    async def count_calls(self) -> int:
        """Calls in flight between the edge and the workers or the front desk."""
        return await self._admin.running_call_count()

    async def backend_statistics(self) -> str:
        """What HAProxy says of its backends, as CSV."""
        return await self._admin.backend_statistics()

    async def refuse_calls(self) -> None:
        """Answer every new call with "exiting" from now on."""
        await self._admin.ask("experimental-mode on; set var proc.draining bool(true)")

    async def stop(self) -> None:
        """End HAProxy, or leave it to the next supervisor if that is its kind."""
        for task in self._tasks:
            task.cancel()
        async with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            if self._spec.outlives:
                process.release()
            else:
                await process.stop()

    async def _start_fresh(self) -> None:
        self._process = await haproxy_process.start(self._spec, self._wanted)
        self._known = self._wanted
        self._leaving.clear()
        log.info("haproxy_started", pid=self.pid, server_count=len(self._known.servers))

    async def _recover(self) -> None:
        """A change failed: start afresh if HAProxy has died, else find out what it knows."""
        process = self._process
        try:
            await self._resynchronise()
        except NotReadyError:
            if process is None:
                raise
            await _ended(process)
            self.restart_count += 1
            await self._start_fresh()

    async def _resynchronise(self) -> None:
        found = await self._admin.read_state()
        self._leaving = set(found.leaving)
        staying = {
            server: address
            for server, address in found.state.servers.items()
            if server not in found.leaving
        }
        self._known = HaproxyState(
            servers=staying, versions=found.state.versions, live=found.state.live
        )
        await self._converge()

    async def _converge(self) -> None:
        old, new = self._known, self._wanted
        fresh = new.servers.keys() - old.servers.keys()
        ready = await self._probe(fresh, new)
        await self._admin.run(arrivals(old, new, ready=ready, leaving=self._leaving))
        self._leaving -= fresh
        changed = {server.slot for server in fresh} | (new.routed_slots() - old.routed_slots())
        await self._until_up(new, changed - {server.slot for server in ready})
        await self._admin.run(routings(old, new))
        gone = old.servers.keys() - new.servers.keys()
        await self._admin.run(departures(old, new))
        self._leaving |= gone
        await self._verify(new)
        self._known = new
        await self._settle(gone)

    async def _verify(self, new: HaproxyState) -> None:
        counts = await self._admin.entry_counts()
        expected = {VERSIONS_MAP: len(new.versions), LIVE_MAP: len(new.live)}
        if dict(counts) != expected:
            raise EdgeError(f"HAProxy's maps have {dict(counts)} entries, expected {expected}")

    async def _probe(self, servers: Iterable[Server], state: HaproxyState) -> frozenset[Server]:
        """Ask new workers themselves whether they are ready, all at once."""
        gate = asyncio.Semaphore(QUICK_PROBES)
        folder = self._spec.folder
        paths = {server: _socket_of(state.servers[server], folder) for server in servers}
        async with asyncio.TaskGroup() as group:
            answers = {
                server: group.create_task(_is_ready(path, gate)) for server, path in paths.items()
            }
        return frozenset(server for server, answer in answers.items() if answer.result())

    async def _until_up(self, state: HaproxyState, slots: AbstractSet[str]) -> None:
        """Return when slots that are about to be routed have a server that takes calls.

        Until then the old routes are in force. Workers that stay silent hold a change up for a
        moment only: their calls are refused then.
        """
        end_s = self._clock.monotonic_s() + UP_S
        with_servers = {server.slot for server in state.servers}
        for slot in sorted(slots & state.routed_slots() & with_servers):
            # HAProxy sends no events: it has to be asked again.
            while not state.servers.keys() & await self._admin.servers_up(slot):
                if self._clock.monotonic_s() >= end_s:
                    log.warning("slot_without_worker", slot=slot, after_s=UP_S)
                    break
                await asyncio.sleep(POLL_S)

    async def _settle(self, servers: Iterable[Server]) -> None:
        """Give the calls of leaving servers a moment to end, or at least to reach their worker."""
        end_s = self._clock.monotonic_s() + SETTLE_S
        for server in servers:
            # HAProxy sends no events: it has to be asked again.
            while self._clock.monotonic_s() < end_s and await self._admin.call_count(server):  # noqa: ASYNC110  polled
                await asyncio.sleep(POLL_S)

    async def _guard(self) -> None:
        """Start HAProxy again whenever it ends by itself."""
        policy = RestartPolicy(longest_pause_s=2.0)
        quick_end_count = 0
        while True:
            started_s = self._clock.monotonic_s()
            process = self._process
            ending = await process.wait() if process is not None else None
            lived_s = self._clock.monotonic_s() - started_s
            quick_end_count = 1 if lived_s >= policy.stable_s else quick_end_count + 1
            async with self._lock:
                if process is not self._process:
                    continue  # a change noticed first and has started it again
                self._process = None
                log.error("haproxy_ended", how=ending.text if ending else "did not start")
                await asyncio.sleep(policy.pause_s(quick_end_count))
                self.restart_count += 1
                try:
                    await self._start_fresh()
                except BasculeError as error:
                    log.error("haproxy_start_failed", error=error.message)  # noqa: TRY400  expected

    async def _keep_reaping(self) -> None:
        while True:
            await asyncio.sleep(REAP_S)
            await self.reap()

    async def _reap_one(self, server: Server) -> None:
        if server not in self._leaving or self._process is None:
            return
        try:
            if await self._admin.call_count(server) == 0:
                await self._admin.run([retirement(server)])
                await asyncio.sleep(POLL_S)  # its idle connections go in HAProxy's next round
                await self._admin.run([deletion(server)])
                self._leaving.discard(server)
        except BasculeError as error:
            # A connection is still attached; the next round tries again.
            log.debug("server_not_deleted_yet", server=str(server), error=error.message)


async def _ended(process: HaproxyProcess) -> None:
    try:
        async with asyncio.timeout(SETTLE_S):
            await process.wait()
    except TimeoutError:
        raise NotReadyError("HAProxy runs and does not answer: retry") from None


async def _is_ready(path: str, gate: asyncio.Semaphore) -> bool:
    if not path:
        return False  # by TCP, from another node: its checks bring it up
    async with gate, LocalHttp(path) as worker:
        try:
            reply = await worker.ask("GET", "/v2/health/ready", timeout_s=PROBE_S)
        except NotReadyError:
            return False
    return reply.status == 200  # noqa: PLR2004  HTTP's OK


def _socket_of(address: str, folder: Path) -> str:
    """Return where a server listens, as we see it and not HAProxy from its folder; empty: TCP."""
    path = address.removeprefix("unix@").replace("\\ ", " ").replace("\\\\", "\\")
    return "" if path == address else os.path.normpath(folder / path)
