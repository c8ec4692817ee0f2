"""One worker process and the versions that it shall host: start, apply, watch, restart, stop.

States of a worker, as its host sees them::

    (before each start its environment is looked for, and built if it is not there; where that fails
    the first time, its versions have failed; later it counts as an end of the process)
    starting ── first apply done ──► ready ── process ended ──► restarting ──► ready
        │                              │                            │
        └── keeps ending quickly ──► failed ◄───────────────────────┘
            (tried again, after growing pauses)          any ── stop ──► draining

A host belongs to one event loop. It is used by the standalone adapter and by a replica in Ray
alike; it knows neither placement nor routes. Longer than most files: one life, one state machine.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec
import structlog

from runtimes.errors import BasculeError
from serving.clock import Clock
from serving.edge.routes import WorkerAddress
from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.registry.version import VersionSpec
from serving.rollout.drift.link import DriftLink
from serving.rollout.forked_child import fork
from serving.rollout.host_watch import HostWatch, WorkerView
from serving.rollout.hosted import Hosted
from serving.rollout.load_link import LoadLink
from serving.rollout.loading_priority import first_start
from serving.rollout.mirror_link import MirrorLink
from serving.rollout.ports import WorkerState
from serving.rollout.process_memory import resident_bytes
from serving.rollout.sequence_counts import counted_sequences
from serving.rollout.silence import Silence
from serving.rollout.vitals_link import VitalsLink
from serving.rollout.worker_environment import EnvironmentOrder, worker_python
from serving.supervise import Child, ChildSpec, RestartPolicy
from serving.worker.control import ApplyRequest, HostedLine, WorkerReport
from serving.worker.process import END_ORDER
from serving.worker.recorder import suspects

log = structlog.get_logger(__name__)

CONNECT_PAUSE_S: Final = 0.02
APPLY_LIMIT_S: Final = 3600.0
STOP_GRACE_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLaunch:
    """How one worker is started, and where it listens."""

    address: WorkerAddress
    pool: str
    child: ChildSpec
    recorder: Path
    """The worker's flight recorder: names what was at work when it died."""
    devices: str = ""
    template: Path | None = None
    """Where the template listens that may fork it; None: it is started."""
    relocated: "Callable[[], WorkerLaunch] | None" = None
    """Gives the same worker on a GPU that works; None: it starts again where it was."""
    environment: EnvironmentOrder | None = None
    """What its interpreter comes from; None: it runs in our environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a host waits for what."""

    look_s: float = 1.0
    """Between two questions after a worker's health."""
    answer_s: float = 20.0
    """A worker that is silent for so long hangs, and is killed."""
    loading_answer_s: float = 180.0
    """The same while it loads: engines may hold the interpreter's lock meanwhile."""
    quick_end_count: int = 5
    """A worker that ends so often without having been stable has failed."""
    restart: RestartPolicy = field(default_factory=lambda: RestartPolicy(longest_pause_s=30.0))
    load_tries: int = 5
    """A version that fails to load so often in a row is given up, also one that served before."""
    reload: RestartPolicy = field(default_factory=lambda: RestartPolicy(first_pause_s=1.0))
    """The pauses between these tries."""


class WorkerHost:
    """Supervises one worker process; `run` is its life, the other methods steer it."""

    def __init__(
        self,
        launch: WorkerLaunch,
        *,
        clock: Clock,
        on_change: Callable[[], None],
        patience: Patience | None = None,
        watch: HostWatch | None = None,
    ) -> None:
        """Remember what to start; `run` starts it.

        Args:
            launch: The process.
            clock: Tells quick ends from late ones.
            on_change: Called on the loop whenever `observe` would give something new.
            patience: Limits; the defaults if None.
            watch: Knows what changes around the worker; None: nobody does.
        """
        self._launch = launch
        self._clock = clock
        self._on_change = on_change
        self._patience = patience or Patience()
        self._hosted = Hosted(self._patience.load_tries)
        self._apply_wanted = asyncio.Event()
        self._stop_wanted = asyncio.Event()
        self._stopped = asyncio.Event()
        self._child: Child | None = None
        self._is_applying = False
        self._hung_s = 0.0
        self._trouble = ""
        self._drain_s = 0.0
        self._quick_end_count = 0
        self._view = WorkerView(watch)
        self.mirrors = MirrorLink()
        """What the worker copies and compares."""
        self.drift = DriftLink()
        self.vitals = VitalsLink()
        self.loads = LoadLink()
        self._state = WorkerState(
            address=launch.address,
            pool=launch.pool,
            pid=0,
            state="starting",
            devices=launch.devices,
        )

    @property
    def address(self) -> WorkerAddress:
        """Where the worker listens."""
        return self._launch.address

    def observe(self) -> WorkerState:
        """Describe the worker as last heard of."""
        return replace(
            self._state,
            versions=dict(self._hosted.versions),
            rss_bytes=self._rss_bytes(),
            surroundings=self._view.around(self._launch.child.argv[0], self._state.facts),
            comparisons=self.mirrors.comparisons,
            drift=self.drift.reports,
            vitals=self.vitals.found,
            loads=self.loads.found,
        )

    def set_versions(self, specs: Sequence[VersionSpec]) -> None:
        """Say what the worker shall host from now on; returns at once."""
        self._hosted.want(specs)
        self.loads.is_wanted = any(spec.policy.scaling is not None for spec in specs)
        self._apply_wanted.set()

    async def run(self) -> None:
        """Keep a worker process running until `stop`."""
        try:
            while not self._stop_wanted.is_set():
                if await self._prepare():
                    await self._run_once()
                if not self._stop_wanted.is_set():
                    await self._pause()
        finally:  # also when cancelled, because another part failed: nobody waits in vain
            if self._child is not None:
                await self._child.stop(STOP_GRACE_S, END_ORDER)
            self._stopped.set()

    async def stop(self, drain_s: float) -> None:
        """Let the worker finish what it has, end it, and return when it is gone.

        Args:
            drain_s: How long it may take; then it is killed.
        """
        self._drain_s = drain_s
        self._stop_wanted.set()
        self._change(state="draining")
        await self._stopped.wait()

    async def _prepare(self) -> bool:
        """Find or build the environment; say whether the process can be started.

        Somebody may have removed it since the last start. One that cannot be built at first never
        could; one that cannot be built again may be when an index can be reached.
        """
        order, child = self._launch.environment, self._launch.child
        if order is None:
            return True
        began_s = self._clock.monotonic_s()
        try:
            python = await worker_python(order, self._stop_wanted, self._tell_progress)
        except BasculeError as error:
            log.warning("environment_failed", lock=str(order.lock_file), error=error.message)
            if self._state.restart_count:
                self._note_end(began_s, error.message)
                return False
            self._hosted.refusal = error.message
            self._tell_progress("")
            await self._stop_wanted.wait()
            return False
        if python is None:  # it was stopped meanwhile
            return False
        ready = replace(child, argv=(python, *child.argv[1:]))
        self._launch = replace(self._launch, child=ready)
        self._tell_progress("")
        return True

    def _tell_progress(self, line: str) -> None:
        if self._hosted.begin(line and f"building environment: {line}"):
            self._on_change()

    async def _run_once(self) -> None:
        """One life of the process, from its start to its noted end."""
        started_s = self._clock.monotonic_s()
        try:
            self._child = child = await self._start()
        except NotReadyError as error:
            self._note_end(started_s, error.message)
            return
        self._hung_s = 0.0
        self._trouble = ""
        self._view.begin()
        self._change(pid=child.pid, facts=None)
        channel = self._launch.address.control
        async with LocalHttp(channel) as http, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._apply_always(http)),
                group.create_task(self.mirrors.run(http)),
                group.create_task(self.drift.run(http)),
                group.create_task(self.vitals.run(http)),
                group.create_task(self.loads.run(http)),
                group.create_task(self._watch_health(http, child)),
                group.create_task(self._watch_gpus(child)),
                group.create_task(self._stop_when_wanted(child)),
            ]
            ending = await child.wait()
            for task in tasks:
                task.cancel()
        hung = f" (no answer for {self._hung_s:g} s)" if self._hung_s else ""
        hung = f" ({self._trouble})" if self._trouble else hung
        log_name = self._launch.child.log_file.name
        told = f", see its log {log_name}" if ending.returncode and ending.returncode > 0 else ""
        self._note_end(started_s, ending.text + hung + told)

    async def _start(self) -> Child:
        own, child = Path(self._launch.address.socket), self._launch.child
        for path in (own, Path(self._launch.address.control)):
            path.unlink(missing_ok=True)
        child = child if self._state.restart_count else first_start(child, own)
        return await fork(self._launch.template, child) or Child.start(child)

    def _note_end(self, started_s: float, ending: str) -> None:
        """Draw the conclusions from the end of the process."""
        self._child = None
        if self._stop_wanted.is_set():
            self._hosted.versions.clear()
            self._change(pid=0)
            return
        has_been_stable = self._clock.monotonic_s() - started_s >= self._patience.restart.stable_s
        self._quick_end_count = 1 if has_been_stable else self._quick_end_count + 1
        culprits = suspects(self._launch.recorder, self._hosted.versions)
        self._hosted.begin()
        has_failed = self._quick_end_count >= self._patience.quick_end_count
        self._change(
            pid=0,
            state="failed" if has_failed else "restarting",
            last_exit=ending,
            crashed_on=culprits[0] if culprits else None,
            restart_count=self._state.restart_count + 1,
        )
        if self._trouble and self._launch.relocated is not None:
            self._launch = self._launch.relocated()
            self._change(devices=self._launch.devices)
        log.warning(
            "worker_ended",
            worker=self._launch.address.worker,
            ending=ending,
            at_work=[str(key) for key in culprits],
            log_file=str(self._launch.child.log_file),
        )

    async def _pause(self) -> None:
        """Wait before the next start, the longer the more often it ended quickly."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.restart.pause_s(self._quick_end_count)):
                await self._stop_wanted.wait()

    async def _apply_always(self, http: LocalHttp) -> None:
        """Hand every change of the list to the worker, the whole list first; again, what failed."""
        self._apply_wanted.set()
        while True:
            await self._until_due()
            self._apply_wanted.clear()
            self._is_applying = True
            try:
                await self._apply(http)
            except (NotReadyError, msgspec.DecodeError):
                # Not listening yet, or on its way out: the next try, or the next life, tells.
                self._apply_wanted.set()
                await asyncio.sleep(CONNECT_PAUSE_S)
            else:
                self._is_applying = False

    async def _until_due(self) -> None:
        """Wait for another list, and for a pause only if something is to be loaded once more."""
        failed = self._hosted.failure_count
        pause_s = self._patience.reload.pause_s(failed + 1) if failed else None
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._apply_wanted.wait()

    async def _apply(self, http: LocalHttp) -> None:
        asked = self._hosted.wanted
        body = msgspec.json.encode(ApplyRequest(versions=tuple(asked.values())))
        lines = http.lines("POST", "/worker/apply", body, timeout_s=APPLY_LIMIT_S)
        is_done = False
        async for line in lines:
            is_done = line == b"{}"
            if line and not is_done:
                self._hosted.note(msgspec.json.decode(line, type=HostedLine))
                self._on_change()
        if not is_done:
            raise NotReadyError("the worker broke off in the middle of its report")
        if self._hosted.is_loading or self._state.facts is None:
            await self._ask_for_all(http)
        self._hosted.applied(asked)
        if self._state.state not in {"ready", "draining"}:
            log.info("worker_ready", worker=self._launch.address.worker, versions=len(asked))
        self._change(state="draining" if self._stop_wanted.is_set() else "ready")

    async def _ask_for_all(self, http: LocalHttp) -> None:
        """Read the whole state: a version whose state did not change has no line of its own."""
        reply = await http.ask("GET", "/worker/state")
        report = msgspec.json.decode(reply.body, type=WorkerReport)
        for line in report.versions:
            self._hosted.note(line)
        self._change(facts=report.facts)

    async def _watch_health(self, http: LocalHttp, child: Child) -> None:
        """Kill a worker that does not answer any more: its end starts the next one."""
        patience, now_s = self._patience, self._clock.monotonic_s
        silence = Silence(now_s())
        while True:
            await asyncio.sleep(patience.look_s)
            limit_s = patience.loading_answer_s if self._is_applying else patience.answer_s
            asked_s = now_s()
            try:
                await http.ask("GET", "/v2/health/live", timeout_s=limit_s)
                silence.end(now_s())
                counted = await counted_sequences(http, self._hosted.versions)
                self._hosted.versions |= counted
            except NotReadyError:
                self._hung_s = silence.hung_s(asked_s, limit_s, now_s())
                if self._hung_s:
                    await child.stop(0)

    async def _watch_gpus(self, child: Child) -> None:
        """Kill a worker whose GPU cannot be relied upon any more; it may start on another one."""
        while not self._trouble:
            await asyncio.sleep(self._patience.look_s)
            self._trouble = self._view.trouble(self._launch.devices)
        await child.stop(0)

    async def _stop_when_wanted(self, child: Child) -> None:
        await self._stop_wanted.wait()
        await child.stop(self._drain_s + STOP_GRACE_S, END_ORDER)

    def _change(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]  # names are ours
        self._on_change()

    def _rss_bytes(self) -> int:
        if self._child is None or self._child.ended is not None:
            return 0
        return resident_bytes(self._child.pid)
