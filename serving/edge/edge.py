"""One node's front door: HAProxy, the front desk's two servers and the admin API, as one part.

Order of a start: the front desk opens its sockets, then HAProxy opens the ports. Order of a stop:
readiness says no and new calls are refused, calls in flight finish, HAProxy ends (or is left to the
next edge), the front desk closes.
"""

import asyncio
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from runtimes.errors import BasculeError
from serving.clock import Clock, SystemClock
from serving.edge import haproxy_process, snapshot_file
from serving.edge.admin_api import admin_app
from serving.edge.alarm_calls import alarm_calls
from serving.edge.bounded_logs import keep_bounded
from serving.edge.call_relay import CallRelay
from serving.edge.control import Control, EdgeStatus, Snapshot
from serving.edge.desk import Desk
from serving.edge.drift_call import drift_calls
from serving.edge.front_desk import front_desk_app
from serving.edge.front_desk_grpc import FrontDeskGrpc
from serving.edge.generate_relay import GenerateRelay
from serving.edge.haproxy_admin import EdgeError
from serving.edge.haproxy_commands import HaproxyState, assign_slots, pools_of, wanted_state
from serving.edge.haproxy_keeper import HaproxyKeeper, Spawn
from serving.edge.haproxy_layout import EXPORTER_SOCKET, HTTP_SOCKET, RELAY_SOCKET, EdgeLayout
from serving.edge.haproxy_process import HaproxySpec
from serving.edge.label_calls import label_calls
from serving.edge.label_keeper import LabelKeeper
from serving.edge.local_server import LocalServer
from serving.edge.node_metrics import NodeMetrics
from serving.edge.pool_samples import pool_samples
from serving.edge.protocol_settings import ProtocolSettings
from serving.edge.quality_call import quality_calls
from serving.edge.regions import RegionBook, RegionPolicy
from serving.edge.routes import RouteTable, workers_of
from serving.edge.sequence_peers import PeerTeller
from serving.edge.snapshot_file import Remembered
from serving.errors import NotReadyError
from serving.logs import switches_of
from serving.monitor.exposition import Sample
from serving.settings import Settings
from serving.supervise import child_environment

log = structlog.get_logger(__name__)

FOLDER: Final = "edge"
FRONT_DESK_SOCKET: Final = "front-desk.sock"
FRONT_DESK_GRPC_SOCKET: Final = "front-desk-grpc.sock"
MEMORY_FILE: Final = "snapshot.json"
TOTALS_FILE: Final = "totals.json"
LOCK_FILE: Final = "lock"
TALLY: Final = "traces-taken-"
LOCAL_NODE: Final = "local"
DRAIN_POLL_S: Final = 0.05


class Edge:
    """The edge of one node. All calls are made from one event loop."""

    def __init__(  # noqa: PLR0913  the last three have defaults for the common, local case
        self,
        settings: Settings,
        control: Control,
        spawn: Spawn,
        *,
        instance: str,
        node: str = LOCAL_NODE,
        outlives: bool = False,
        clock: Clock | None = None,
        gpus: tuple[str, ...] = (),
    ) -> None:
        """Build the parts; nothing runs yet.

        Args:
            settings: Of the instance.
            control: The controller, for what changes things.
            spawn: `create_task` of the process's task group.
            instance: The instance's id.
            node: This node's name, as in `WorkerAddress.node`.
            outlives: HAProxy stays when this process ends, and the next edge adopts it.
            clock: Time.
            gpus: Those of the node, as clients count them who share memory there.
        """
        self._settings = settings
        self._spawn = spawn
        self._instance = instance
        self._node = node
        self._outlives = outlives
        self._clock = clock or SystemClock()
        self._folder = settings.run_dir / FOLDER
        self._lock = asyncio.Lock()
        self._slots: dict[str, str] = {}
        self._lock_file = -1
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[LocalServer] = []
        self._grpc: FrontDeskGrpc | None = None
        self._regions = RegionBook(
            RegionPolicy(
                is_on=settings.system_shared_memory,
                prefixes=settings.shared_memory_prefixes,
                is_cuda_on=settings.cuda_shared_memory,
                gpus=gpus,
            ),
            settings.regions_file,
            instance,
        )
        self._desk = Desk(
            control,
            self._regions,
            server_id=settings.server_id,
            node=node,
            settings=_protocol_settings(settings),
            is_strict=settings.strict_readiness,
        )
        self._labels = LabelKeeper(settings, node)
        self._desk.labels = self._labels.store
        self._peers = PeerTeller(node)
        self._tellers: list[asyncio.Task[None]] = []
        self._keeper = HaproxyKeeper(self._haproxy_spec(), self._clock, spawn)

    async def start(self) -> None:
        """Open every socket and port; calls are answered when this returns.

        Raises:
            EdgeError: Another edge runs in this folder, or HAProxy does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = _exclusive(self._folder / LOCK_FILE)
        for old in self._folder.glob(f"{TALLY}*"):
            old.unlink(missing_ok=True)
        await asyncio.to_thread(self._regions.recall, keep=self._outlives)
        try:
            await self._start_front_desk()
            await self._keeper.start(self._recall())
        except BaseException:
            await self._close_front_desk()
            raise

    async def apply(self, snapshot: Snapshot) -> int:
        """Obey a snapshot; return its revision when HAProxy has acknowledged all of it.

        Raises:
            NotReadyError: There are not enough slots, or HAProxy is away.
            EdgeError: HAProxy refuses, or the snapshot cannot be kept for the next edge.
        """
        async with self._lock:
            table = snapshot.routes
            slots = await self._assign(table)
            wanted = self._wanted(table, slots)
            if self._outlives:
                await asyncio.to_thread(self._remember, snapshot)
            workers = workers_of(table, self._node)
            await self._regions.hear(workers)
            await self._peers.hear(snapshot)
            self._desk.sleepers.expect(snapshot)
            await self._keeper.change(wanted)
            self._regions.route_only(workers)
            self._desk.take(snapshot)
            await self._desk.sleepers.hear()
            return table.revision

    def status(self) -> EdgeStatus:
        """Say how it stands."""
        return EdgeStatus(
            node=self._node,
            haproxy_pid=self._keeper.pid,
            revision=self._desk.snapshot.routes.revision,
            restart_count=self._keeper.restart_count,
        )

    async def drain(self) -> None:
        """Say not ready, refuse new calls, and return when those in flight have ended.

        They get `drain_s` at most. Calls that wait for a worker are refused, and streams end when
        the calls that they have brought are answered. Doing it again does nothing.
        """
        if self._desk.drain.has_begun:
            return
        self._desk.drain.begin()
        try:
            await self._keeper.refuse_calls()
            async with asyncio.timeout(self._settings.drain_s):
                await asyncio.sleep(DRAIN_POLL_S)  # who calls now is told, too
                # HAProxy sends no events: it has to be asked again.
                while await self._keeper.count_calls():  # noqa: ASYNC110  polled
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            log.warning("drain_gave_up", after_s=self._settings.drain_s)
        except BasculeError as error:
            log.warning("drain_failed", error=error.message)

    async def stop(self) -> None:
        """Stop in order. An edge whose HAProxy outlives it lets calls go on."""
        if not self._outlives:
            await self.drain()
        await self._keeper.stop()
        await self._close_front_desk()

    async def _close_front_desk(self) -> None:
        for server in self._servers:
            server.stop()
        for teller in self._tellers:
            teller.cancel()
        if self._grpc is not None:
            await self._grpc.stop(grace_s=1.0)
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._labels.close()
        if self._lock_file >= 0:  # a start that failed has closed everything before
            os.close(self._lock_file)
            self._lock_file = -1

    async def _assign(self, table: RouteTable) -> dict[str, str]:
        """Give pools their slots; a pool that leaves keeps its own until it is empty."""
        slot_count = self._settings.pool_slots
        try:
            slots = assign_slots(table, self._held(table), slot_count)
        except NotReadyError:
            await self._keeper.reap()
            slots = assign_slots(table, self._held(table), slot_count)
        self._slots = self._held(table) | slots
        return slots

    def _held(self, table: RouteTable) -> dict[str, str]:
        in_use, wanted = self._keeper.slots_in_use, pools_of(table)
        return {
            pool: slot for pool, slot in self._slots.items() if slot in in_use or pool in wanted
        }

    async def _start_front_desk(self) -> None:
        run = self._settings.run_dir
        metrics = NodeMetrics(
            self._desk,
            self.status,
            self._folder / EXPORTER_SOCKET,
            self._pool_samples,
            self._keep_totals if self._outlives else None,
        )
        generator = GenerateRelay(self._folder / HTTP_SOCKET)
        self._servers = [
            LocalServer(
                front_desk_app(
                    self._desk,
                    metrics.render,
                    generator,
                    CallRelay(self._folder / HTTP_SOCKET),
                    max_request_bytes=self._settings.max_request_bytes,
                ),
                run / FRONT_DESK_SOCKET,
            ),
            LocalServer(
                admin_app(
                    self._desk.control,
                    (
                        *quality_calls(self._desk),
                        *drift_calls(self._desk.control),
                        *alarm_calls(self._desk.control),
                        *label_calls(self._desk, self._settings),
                    ),
                ),
                self._settings.admin_socket,
            ),
        ]
        self._tasks = [self._spawn(server.run()) for server in self._servers]
        self._tellers = [
            self._spawn(self._desk.worker_settings.keep_telling()),
            self._spawn(self._peers.keep_telling()),
            self._spawn(self._labels.keep()),
            self._spawn(keep_bounded(self._settings.log_dir)),
        ]
        self._grpc = FrontDeskGrpc(
            self._desk,
            run / FRONT_DESK_GRPC_SOCKET,
            self._folder / RELAY_SOCKET,
            max_request_bytes=self._settings.max_request_bytes,
            max_inflated_bytes=self._settings.max_inflated_bytes,
        )
        await self._grpc.start()

    def _recall(self) -> HaproxyState:
        """What HAProxy shall know at first: what this instance's last edge knew, or nothing."""
        try:
            memory = snapshot_file.decode((self._folder / MEMORY_FILE).read_bytes())
        except FileNotFoundError:
            return HaproxyState()
        if memory is None or not self._outlives or memory.instance != self._instance:
            return HaproxyState()
        self._slots = dict(memory.slots)
        self._desk.take(memory.snapshot)
        self._regions.route_only(workers_of(memory.snapshot.routes, self._node))
        self._recall_totals()
        log.info("edge_recalled", revision=memory.snapshot.routes.revision)
        return self._wanted(memory.snapshot.routes, memory.slots)

    def _wanted(self, table: RouteTable, slots: Mapping[str, str]) -> HaproxyState:
        return wanted_state(table, slots, self._node, str(self._folder.parent))

    def _remember(self, snapshot: Snapshot) -> None:
        memory = Remembered(instance=self._instance, snapshot=snapshot, slots=self._slots)
        text = snapshot_file.encode(memory).decode()
        with haproxy_process.writing_files(self._folder):
            haproxy_process.replace_text(self._folder / MEMORY_FILE, text)

    async def _pool_samples(self) -> list[Sample]:
        return [*pool_samples(await self._keeper.backend_statistics(), self._slots)]

    def _keep_totals(self) -> None:
        text = self._desk.totals.encode(self._instance).decode()
        haproxy_process.replace_text(self._folder / TOTALS_FILE, text)

    def _recall_totals(self) -> None:
        """Count on from where the last edge was: a sum that fell would be read as new calls."""
        try:
            is_read = self._desk.totals.recall(
                (self._folder / TOTALS_FILE).read_bytes(), self._instance
            )
        except FileNotFoundError:
            return
        if not is_read:
            log.warning("totals_not_recalled", path=str(self._folder / TOTALS_FILE))

    def _haproxy_spec(self) -> HaproxySpec:
        settings = self._settings
        return HaproxySpec(
            binary=haproxy_process.haproxy_binary(settings.haproxy),
            folder=self._folder,
            layout=EdgeLayout(
                http=settings.http,
                grpc=settings.grpc,
                metrics=settings.metrics,
                front_desk=f"../{FRONT_DESK_SOCKET}",
                front_desk_grpc=f"../{FRONT_DESK_GRPC_SOCKET}",
                pool_slots=settings.pool_slots,
                sticky_headers=settings.sticky_headers,
                threads=settings.haproxy_threads,
                max_request_bytes=settings.max_request_bytes,
                max_connections=haproxy_process.connection_limit(),
                access_log=settings.access_log,
            ),
            env=child_environment(settings.home, self._instance),
            log_file=settings.log_dir / "haproxy.log",
            outlives=self._outlives,
        )


def _protocol_settings(settings: Settings) -> ProtocolSettings:
    trace_file = "" if settings.trace_file is None else str(settings.trace_file)
    tally = settings.run_dir / FOLDER / TALLY
    return ProtocolSettings(switches_of(settings.log_level), trace_file, str(tally))


def _exclusive(path: Path) -> int:
    """Take the folder: a second HAProxy in it would take the first one's sockets away."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise EdgeError(
            f"another instance runs in this folder ({path.parent.parent.parent}): stop it, or set "
            "BASCULE_HOME to another folder"
        ) from None
    return descriptor
