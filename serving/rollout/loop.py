"""The controller's loop: observe, reconcile, act, record. It makes all changes, one pass at a time.

Whoever wants a change hands it to `change`: the sources are changed and read again, and the call
returns when a pass that began after that is done, every edge's acknowledgement included. What
workers report is gathered for a moment, so that a thousand loading versions do not cause a
thousand passes.

It is one thing, and longer than most files, because every method here shares the state of the one
pass that may be under way.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

import structlog

from serving.edge.control import ScaleStatus, Snapshot
from serving.edge.routes import RouteTable
from serving.errors import DrainingError
from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.rollout.autoscaler import LOOK_S, Autoscaler
from serving.rollout.crowding import CROWD_LOOK_S, is_crowded
from serving.rollout.desired import Desired
from serving.rollout.driven import Ports
from serving.rollout.ensembles import linked
from serving.rollout.environment_watch import EnvironmentWatch, Look
from serving.rollout.learning import without_failures
from serving.rollout.memory import Limits, Memory, Observed
from serving.rollout.pass_log import log_changes, log_pools, told
from serving.rollout.reconcile import reconcile
from serving.rollout.routing import PoolView
from serving.rollout.sequence_hold import SequenceHold
from serving.rollout.succession import with_predecessors

log = structlog.get_logger(__name__)

T = TypeVar("T")

GATHER_S: Final = 0.05
"""Shortest pause between two passes that workers' news caused."""
GATHER_PASSES: Final = 3.0
"""And at least so many times what reconciling took: at most a quarter of a core while loading."""
REGISTRY_POLL_S: Final = 1.0
AFTER_ERROR_S: Final = 1.0
STOPPING: Final = "the instance is stopping: ask again when it runs"


class ControlLoop:
    """Makes what is observed match what is wanted. Belongs to one event loop."""

    def __init__(self, ports: Ports, limits: Limits, *, repository_poll_s: float) -> None:
        """Remember the parts; `start` reads the sources, `run` works.

        Args:
            ports: What is driven and read.
            limits: Bounds on placement.
            repository_poll_s: Seconds between two looks at a repository that is polled.
        """
        self._ports = ports
        self._limits = limits
        self._hold = SequenceHold(limits.sequence_drain_s)
        self._scaler = Autoscaler(limits.scaled_workers)
        self._repository_poll_s = repository_poll_s
        revision = max((edge.revision for edge in ports.edges.observe()), default=0)
        self._memory = ports.memory or Memory(in_force=(RouteTable(revision=revision),))
        self._desired = Desired()
        self._linked = Desired()
        self._published = Snapshot(versions=ports.asleep)
        self._served_digests = self._memory.asleep_digests(ports.asleep)
        self._reading = asyncio.Lock()
        self._wake = asyncio.Event()
        self._kick = asyncio.Event()
        self._passed = asyncio.Condition()
        self._ticket = 0
        self._done_ticket = 0
        self._stopping: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        self._is_idle = False
        self._is_looking = False
        self._reckoning_s = 0.0
        self.trouble = ""
        """Why the latest pass failed; empty: it did not."""

    @property
    def snapshot(self) -> Snapshot:
        """What every edge has acknowledged last."""
        return self._published

    @property
    def desired(self) -> Desired:
        """What is wanted."""
        return self._desired

    @property
    def is_settled(self) -> bool:
        """Whether every wanted version is READY or has failed, and nothing is left to be done."""
        return self._is_idle and self._published.settled and not self._stopping

    def failure(self, key: VersionKey) -> str:
        """Say why a wanted version cannot be loaded as it is now; empty if that is not so."""
        spec = self._linked.versions.get(key)
        learnt = self._memory.failure(key, spec.digest) if spec is not None else ""
        record = self._published.versions.get(key)
        if record is not None and record.state is VersionState.UNAVAILABLE:
            return learnt or record.reason
        return learnt or self._linked.failed.get(key, "") or self._memory.unplaced.get(key, "")

    def usable_state(self, key: VersionKey) -> VersionState | None:
        """Return a version's state for who would give it more calls; None: there is none.

        One whose worker is silent is READY for who calls it, and LOADING here: it may be gone.
        """
        record = self._published.versions.get(key)
        workers = self._ports.cluster.observe().get(self._memory.routed_pool(key) or "", ())
        view = PoolView.of(workers)
        if record is not None and key not in view.ready and view.silent(key) is not None:
            return VersionState.LOADING
        return None if record is None else record.state

    def sequence_count(self, key: VersionKey) -> int | None:
        """Return how many sequences a version has under way; None: it is not served in any."""
        spec = self._linked.versions.get(key)
        if spec is None or spec.policy.sequences is None:
            return None
        workers = self._ports.cluster.observe().get(self._memory.routed_pool(key) or "", ())
        said = (worker.versions.get(key) for worker in workers)
        return sum(one.sequence_count for one in said if one is not None)

    def is_on_its_way(self, key: VersionKey) -> bool:
        """Whether a wanted version is neither served in its newest form nor failed."""
        spec = self._linked.versions.get(key)
        if spec is None or self.failure(key):
            return False
        record = self._published.versions.get(key)
        is_ready = record is not None and record.state is VersionState.READY
        return not is_ready or self._served_digests.get(key) != spec.digest

    def wake(self, key: VersionKey) -> None:
        """Have a worker started for a version that has none since nobody called it."""
        spec = self._linked.versions.get(key)
        if self._scaler.wake(key, spec, self._ports.clock.monotonic_s()):
            self._wake.set()
            self._kick.set()

    def scales(self) -> tuple[ScaleStatus, ...]:
        """Describe the versions whose number of workers follows their calls."""
        return self._scaler.statuses(self._memory, self._linked, self._ports.cluster.observe())

    async def start(self) -> None:
        """Read all sources for the first time.

        Raises:
            BasculeError: The repository or the registry cannot be read.
        """
        async with self._reading:
            self._desired = await asyncio.to_thread(self._ports.sources.read)

    async def run(self, on_running: Callable[[], None] = lambda: None) -> None:
        """Work until cancelled; say so when changes are taken."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                on_running()
                await self._work(group)
        finally:
            self._group = None
            async with self._passed:
                self._passed.notify_all()  # whoever waits is told that nothing will come

    async def change(
        self, change: Callable[[], T], *, rescan: bool = False, forget: str | None = None
    ) -> T:
        """Change the sources, read them again, and return when all edges obey.

        A caller that leaves does not stop a change half-way.

        Args:
            change: Blocking; called in a thread, alone.
            rescan: Read the repository again.
            forget: A model whose failures are forgotten, so that it is tried again.

        Raises:
            BasculeError: What `change` raised, or the sources cannot be read.
            DrainingError: The instance is stopping.
        """
        if self._group is None:
            raise DrainingError(STOPPING)
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._group.create_task(self._change(change, rescan, forget, outcome))
        return await outcome

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Return when a condition holds; it is looked at after every pass.

        Raises:
            DrainingError: The instance is stopping.
        """
        async with self._passed:
            await self._passed.wait_for(lambda: is_done() or self._group is None)
        if not is_done():
            raise DrainingError(STOPPING)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        group.create_task(self._listen_always())
        group.create_task(self._poll_registry_always())
        group.create_task(self._scale_always())
        if self._ports.sources.is_polled:
            group.create_task(self._poll_repository_always())
        while True:
            await self._pass_or_report(group)
            await self._gather(max(GATHER_S, GATHER_PASSES * self._reckoning_s))
            await self._wake.wait()

    async def _change(
        self,
        change: Callable[[], T],
        rescan: bool,  # noqa: FBT001  passed on by `change`
        forget: str | None,
        outcome: asyncio.Future[T],
    ) -> None:
        try:
            async with self._reading:
                result = await asyncio.to_thread(change)
                self._desired = await asyncio.to_thread(self._ports.sources.read, rescan=rescan)
                self._memory = without_failures(self._memory, self._desired, forget)
            self._ticket += 1
            ticket = self._ticket
            self._is_idle = False
            self._wake.set()
            self._kick.set()
            await self.until(lambda: self._done_ticket >= ticket)
        except Exception as error:  # noqa: BLE001  it goes to the caller, who may have left
            if not outcome.done():
                outcome.set_exception(error)
        else:
            if not outcome.done():
                outcome.set_result(result)
        finally:
            if not outcome.done():  # the loop was cancelled
                outcome.set_exception(DrainingError(STOPPING))

    async def _pass_or_report(self, group: asyncio.TaskGroup) -> None:
        """Make one pass; a failing one is logged and made again."""
        ticket = self._ticket
        self._wake.clear()
        self._kick.clear()
        try:
            await self._make_pass(group)
            self._done_ticket = ticket
            self.trouble = ""
        except Exception as error:  # noqa: BLE001  a process edge: it must outlive any one pass
            self.trouble = told("pass_failed", error)
            await asyncio.sleep(AFTER_ERROR_S)
            self._wake.set()
        async with self._passed:
            self._passed.notify_all()

    async def _make_pass(self, group: asyncio.TaskGroup) -> None:
        before = self._memory
        began_s = self._ports.clock.monotonic_s()
        observed = self._ports.cluster.observe()
        link = linked(self._with_environments(group, observed), before)
        desired = self._linked = link.desired
        actions = reconcile(
            before,
            desired,
            observed,
            self._limits,
            self._published,
            groups=link.groups,
            counts=self._scaler.counts(before, desired, began_s),
        )
        self._reckoning_s = self._ports.clock.monotonic_s() - began_s
        # Until the edges obey, what shall stop is known: a pass that fails here is made again.
        self._memory = replace(actions.memory, pools={**before.pools, **actions.memory.pools})
        try:
            for spec in actions.ensure:
                await self._ports.cluster.ensure_pool(spec)
        except BaseException:
            self._memory = before  # as if nothing had been asked for: the next pass asks again
            raise
        if actions.snapshot is not None:
            await self._publish(actions.snapshot)
        self._memory = replace(self._memory, pools=actions.memory.pools)
        for pool in actions.stop:
            self._stopping.add(pool)
            group.create_task(self._stop_pool(pool))
        self._is_idle = actions.is_empty
        if not actions.is_empty:
            self._wake.set()  # what was done may be the condition of the next step
        self._served_digests = self._memory.still_asleep(self._served_digests) | {
            key: said.digest
            for workers in observed.values()
            for worker in workers
            for key, said in worker.versions.items()
            if said.state is VersionState.READY
        }
        log_pools(actions)

    async def _scale_always(self) -> None:
        """Choose the number of workers of what is scaled, and relieve shared ones, for ever."""
        while True:
            is_scaled = any(spec.policy.scaling for spec in self._linked.versions.values())
            await asyncio.sleep(LOOK_S if is_scaled else CROWD_LOOK_S)
            try:
                is_due = self._looks_at_loads()
            except Exception as error:  # noqa: BLE001  as with a pass: what serves must outlive it
                told("loads_not_looked_at", error)
                await asyncio.sleep(AFTER_ERROR_S)
            else:
                if is_due:
                    self._wake.set()
                    self._kick.set()

    def _looks_at_loads(self) -> bool:
        """Decide how many workers what is scaled shall have; say whether a pass is due."""
        observed, now_s = self._ports.cluster.observe(), self._ports.clock.monotonic_s()
        has_changed = self._scaler.look(self._memory, self._linked, observed, now_s)
        return has_changed or is_crowded(self._memory, self._linked, observed, self._limits)

    def _with_environments(self, group: asyncio.TaskGroup, observed: Observed) -> Desired:
        """Return what is wanted with what is known of where it runs; new things are looked into."""
        watch = self._ports.environments
        routes = self._memory.routes
        desired = with_predecessors(self._desired, self._published, routes)
        now_s = self._ports.clock.monotonic_s()
        desired = self._hold.with_held(desired, self._published, routes, self.sequence_count, now_s)
        if watch is None:
            return desired
        look = watch.look(desired, observed)
        if look.unknown and not self._is_looking:
            self._is_looking = True
            group.create_task(self._look_into(watch, look))
        return look.desired

    async def _look_into(self, watch: EnvironmentWatch, look: Look) -> None:
        try:
            await asyncio.to_thread(watch.look_into, look.unknown, look.desired)
        except Exception as error:  # noqa: BLE001  as with a pass; it is looked into again
            told("environments_not_looked_into", error)
            await asyncio.sleep(AFTER_ERROR_S)
        finally:
            self._is_looking = False
            self._wake.set()

    async def _publish(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to all edges; until they have it, both tables may be obeyed."""
        self._memory = self._memory.offering(snapshot.routes)
        await self._ports.edges.publish(snapshot)
        self._memory = replace(self._memory, in_force=(snapshot.routes,))
        log_changes(self._published, snapshot)
        self._published = snapshot

    async def _stop_pool(self, pool: str) -> None:
        try:
            await self._ports.cluster.stop_pool(pool)
            log.info("pool_stopped", pool=pool)
        except Exception as error:  # noqa: BLE001  as with a pass
            told("pool_stop_failed", error, pool=pool)
        self._stopping.discard(pool)
        self._wake.set()

    async def _gather(self, pause_s: float) -> None:
        """Let news gather; a change that somebody waits for ends the pause."""
        try:
            async with asyncio.timeout(pause_s):
                await self._kick.wait()
        except TimeoutError:
            return

    async def _listen_always(self) -> None:
        while True:
            await self._ports.cluster.changed()
            self._wake.set()

    async def _poll_registry_always(self) -> None:
        while True:
            await asyncio.sleep(REGISTRY_POLL_S)
            await self._look_again(rescan=False)

    async def _poll_repository_always(self) -> None:
        while True:
            await asyncio.sleep(self._repository_poll_s)
            await self._look_again(rescan=True)

    async def _look_again(self, *, rescan: bool) -> None:
        """Read the sources if there may be news; what cannot be read is left as it was."""
        sources = self._ports.sources
        try:
            async with self._reading:
                if rescan or await asyncio.to_thread(sources.has_registry_changed):
                    self._desired = await asyncio.to_thread(sources.read, rescan=rescan)
                    self._wake.set()
        except Exception as error:  # noqa: BLE001  as with a pass: what serves must outlive it
            told("sources_not_read", error)
