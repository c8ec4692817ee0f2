"""What operators and the front desk may ask of the controller; the work itself is `loop.py`'s."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from runtimes.errors import InvalidArgumentError, ModelLoadError
from runtimes.threads import available_cpus
from serving.edge.control import (
    ANONYMOUS,
    Asked,
    ClusterStatus,
    LoadOverride,
    VersionRecord,
    WorkerStatus,
)
from serving.errors import IncompatibleError, NotFoundError, NotReadyError
from serving.events.outbox_book import OutboxBook
from serving.ids import VersionKey
from serving.monitor.alarms.latch import StandingAlarm
from serving.monitor.drift.view import DriftAlarm, VersionDrift
from serving.monitor.selftest.trial import SelfTest
from serving.registry.repository import ModelScan
from serving.registry.version import VersionState
from serving.rollout.drift.wanted import drift_order
from serving.rollout.drift.watch import DriftWatch
from serving.rollout.driven import Ports
from serving.rollout.engine.operations import RolloutOperations
from serving.rollout.interface_break import broken_by
from serving.rollout.loop import ControlLoop
from serving.rollout.memory import Limits
from serving.rollout.ports import WorkerState
from serving.rollout.version_news import VersionNews
from serving.rollout.watching import Watching
from serving.rollout.way_back import OF_REGISTRY, archived, served_from_registry, taken_out
from serving.settings import Settings

log = structlog.get_logger(__name__)


class Controller(RolloutOperations):
    """`serving.edge.control.Control` around the loop."""

    def __init__(self, ports: Ports, settings: Settings, *, mode: str) -> None:
        """Build the loop.

        Args:
            ports: What is driven and read.
            settings: The instance's settings.
            mode: `standalone` or `ray`, for status.
        """
        # Here all workers are on this node's CPUs; on Ray nobody knows which nodes will come.
        workers = available_cpus() if mode == "standalone" else 0
        limits = replace(limits_of(settings), scaled_workers=workers)
        loop = ControlLoop(ports, limits, repository_poll_s=settings.repository_poll_s)
        super().__init__(loop, ports, settings.sticky_headers)
        self._ports = ports
        self._settings = settings
        self._mode = mode
        self.loop = loop
        order = drift_order(settings)
        self._drift = (
            None
            if order is None
            else DriftWatch(
                ports.cluster, lambda: loop.desired.versions, order, ports.drift, ports.clock
            )
        )
        self._watching = Watching(
            settings,
            ports.cluster,
            lambda: loop.desired.versions,
            self._drift,
            ports.drift,
            ports.clock,
        )

    async def run(self, on_running: Callable[[], None] = lambda: None) -> None:
        """Work until cancelled: the loop, the rollouts that it carries out, the events of them.

        Args:
            on_running: Called when operators' changes are taken.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.loop.run(on_running))
            group.create_task(self.run_rollouts())
            if self._drift is not None:
                group.create_task(self._drift.run())
            group.create_task(self._watching.run())
            if self._ports.courier is not None:
                group.create_task(self._ports.courier.run())
            if self._ports.rollouts is not None:
                outbox = OutboxBook(self._ports.rollouts.registry)
                group.create_task(VersionNews(self.loop, outbox).run())
            if self._ports.environment_book is not None:
                observe = self._ports.cluster.observe
                group.create_task(
                    self._ports.environment_book.run(lambda: self.loop.desired, observe)
                )
            if self._ports.labels is not None:
                group.create_task(self._ports.labels.run())

    async def status(self) -> ClusterStatus:
        """Everything that `bascule status` shows."""
        snapshot, book = self.loop.snapshot, self._ports.environment_book
        pools = self._ports.cluster.observe().values()
        return ClusterStatus(
            mode=self._mode,
            home=str(self._settings.home),
            model_control=self._ports.sources.mode,
            revision=snapshot.routes.revision,
            ready=snapshot.ready,
            settled=snapshot.settled,
            live={model: live.version for model, live in sorted(snapshot.routes.live.items())},
            versions=tuple(snapshot.versions[key] for key in sorted(snapshot.versions)),
            workers=tuple(worker_status(worker) for workers in pools for worker in workers),
            edges=tuple(self._ports.edges.observe()),
            http=str(self._settings.http),
            grpc=str(self._settings.grpc),
            metrics=str(self._settings.metrics),
            environment=() if book is None else book.standing,
            environment_counts={} if book is None else book.counts,
            scales=self.loop.scales(),
            labels=() if self._ports.labels is None else self._ports.labels.summaries,
            events={} if self._ports.courier is None else dict(self._ports.courier.tallies),
        )

    async def drift(self, model: str | None = None) -> tuple[VersionDrift, ...]:
        """Describe the versions that are watched for drift, of a model or all."""
        return () if self._drift is None else await self._drift.view(model)

    async def acknowledge_drift(
        self, model: str, version: int | None, alarm: str, asked: Asked
    ) -> tuple[DriftAlarm, ...]:
        """Note that somebody has seen alarms of a model; return which.

        Raises:
            NotFoundError: It has no open alarm that nobody has seen, or none of that name.
        """
        if self._drift is None:
            raise NotFoundError("nothing is watched for drift here: BASCULE_DRIFT_ROWS_PER_S is 0")
        return await self._drift.acknowledge(model, version, alarm, asked)

    async def alarms(self) -> tuple[StandingAlarm, ...]:
        """Describe what is wrong now, drift aside."""
        return self._watching.alarms

    async def self_test(self, model: str | None) -> SelfTest:
        """Try every alarm of a model's versions, or of all, with data that are made up.

        Raises:
            NotFoundError: No version of it is served.
        """
        return await self._watching.self_test(model)

    async def wake(self, model: str, version: int) -> None:
        """Have a worker started for a version that has none; returns at once, routes follow."""
        self.loop.wake(VersionKey(model, version))

    async def load(self, model: str, override: LoadOverride | None = None) -> None:
        """Load a model of the repository, or reload it when its files changed.

        With an override that fails, the model is wanted again as it was.

        Raises:
            NotFoundError: The repository has no such model.
            NotReadyError: Explicit loading is off in this mode.
            InvalidArgumentError: It has no version that could be loaded, or is the registry's.
            UnsupportedError: It comes with an override, and those are off.
            ModelLoadError: It failed to load; a version that served before still serves.
        """
        self._refuse_registrys(model)
        sources = self._ports.sources
        before = sources.scan_of(model)
        scan = await self.loop.change(lambda: sources.load(model, override), forget=model)
        keys = [spec.key for spec in scan.versions]
        await self.loop.until(lambda: not any(self.loop.is_on_its_way(key) for key in keys))
        reasons = self._failures(scan)
        if reasons and not self._is_served(model):
            await self.loop.change(lambda: sources.unload(model))
        elif reasons and before is not None and _is_undone(before, reasons, override):
            await self.loop.change(lambda: sources.restore(before))
        await asyncio.to_thread(sources.drop_overrides)
        if reasons:
            raise ModelLoadError(_load_failure(model, reasons))
        log.info("model_loaded", model=model, versions=len(keys))

    async def unload(self, model: str, *, dependents: bool = False) -> None:
        """Unload every version of a repository model (explicit mode); absent models succeed.

        With `dependents`, an ensemble takes the models of its steps with it, but for those whose
        traffic a rollout moves.

        Raises:
            InvalidArgumentError: The model is the registry's.
            NotReadyError: Explicit unloading is off in this mode.
            AlreadyExistsError: A rollout moves the model's traffic.
        """
        await self.refuse_during_rollout(model)
        self._refuse_registrys(model)
        await self.loop.change(lambda: self._ports.sources.unload(model, dependents=dependents))
        log.info("model_unloaded", model=model)

    async def promote(self, model: str, version: int, asked: Asked = ANONYMOUS) -> int:
        """Make a version the live one; return the route revision that every edge acknowledged.

        Raises:
            NotFoundError: No such model or version.
            NotReadyError: The version is not READY: the live version stays as it was.
            IncompatibleError: Calls that the live version answers would fail, and nobody forced it.
            AlreadyExistsError: A rollout moves the model's traffic.
        """
        key = VersionKey(model, version)
        await self._refuse_unloaded(key)
        self._refuse_promotion(key)
        await self.refuse_during_rollout(model)
        broken = self._refuse_break(key, is_forced=asked.is_forced)
        note = f"forced: {broken}" if broken else ""
        await self.loop.change(lambda: self._ports.sources.pin_live(model, version, asked, note))
        if self._live(model) != version:  # it went away between the check and the swing
            raise NotReadyError(
                f"{key} is pinned as live and was lost before it could swing: "
                f"'{model}' is answered by version {self._live(model)} until it is back"
            )
        log.info("version_promoted", model=model, version=version)
        return self.loop.snapshot.routes.revision

    async def sync(self) -> None:
        """Read the registry again, and the repository unless its mode is none; settle."""
        await self.loop.change(lambda: None, rescan=True)
        await self.loop.until(lambda: self.loop.is_settled)

    async def retire(self, model: str, version: int | None, asked: Asked = ANONYMOUS) -> None:
        """Operator's unload, in every mode: one version, or all of a model.

        Raises:
            NotFoundError: Nothing of that name is wanted.
            AlreadyExistsError: A rollout of the model needs it.
        """
        await self.refuse_during_rollout(model, version)
        await self.loop.change(lambda: self._ports.sources.retire(model, version, asked.who))
        log.info("version_retired", model=model, version=version)

    def _failures(self, scan: ModelScan) -> dict[int, str]:
        found = {one.version: one.reason for one in scan.failed}
        for spec in scan.versions:
            reason = self.loop.failure(spec.key)
            if reason:
                found[spec.version] = reason
        return dict(sorted(found.items()))

    def _refuse_registrys(self, model: str) -> None:
        """Clients of the repository's interface load and unload none of the registry's models."""
        wanted = self.loop.desired.versions.values()
        found = [one for one in wanted if one.model == model and one.origin.startswith(OF_REGISTRY)]
        if found:
            raise InvalidArgumentError(served_from_registry(model, [one.version for one in found]))

    async def _refuse_unloaded(self, key: VersionKey) -> None:
        """Say of a version that somebody took out of service what brings it back."""
        if key in self.loop.desired.versions or key in self.loop.desired.failed:
            return
        if self._ports.sources.is_taken_out(key):
            raise NotReadyError(taken_out(key, self._ports.sources.mode, self._live(key.model)))
        book = self._ports.rollouts
        row = None if book is None else await asyncio.to_thread(book.registered, key)
        if row is not None and not row.wanted:
            raise NotReadyError(archived(row, self._live(key.model)))

    def _refuse_promotion(self, key: VersionKey) -> None:
        record = self._record(key)
        if record is None:
            known = sorted(k.version for k in self.loop.desired.versions if k.model == key.model)
            if not known:
                raise NotFoundError(f"Request for unknown model: '{key.model}' is not found")
            raise NotFoundError(
                f"Request for unknown model: '{key.model}' version {key.version} is not found; "
                f"it has {', '.join(map(str, known))}"
            )
        state = self.loop.usable_state(key)
        if state is not VersionState.READY:
            why = f" ({record.reason})" if record.reason else ""
            raise NotReadyError(
                f"{key} is {state}{why} and cannot be promoted: the live version stays "
                f"{self._live(key.model) or 'none'}; promote it when it is READY"
            )

    def _refuse_break(self, key: VersionKey, *, is_forced: bool) -> str:
        """Say what callers of the live version would lose; raise if nobody forces it."""
        live = self._live(key.model)
        broken = broken_by(self.loop.snapshot, key.model, live, key.version)
        if broken and not is_forced:
            raise IncompatibleError(
                f"{key} would break callers of the live version {live}: {broken}; the live version "
                f"stays {live}. Promote it with --force --reason TEXT if they are ready for it"
            )
        return broken

    def _record(self, key: VersionKey) -> VersionRecord | None:
        return self.loop.snapshot.versions.get(key)

    def _is_served(self, model: str) -> bool:
        return any(
            record.state is VersionState.READY
            for key, record in self.loop.snapshot.versions.items()
            if key.model == model
        )

    def _live(self, model: str) -> int | None:
        live = self.loop.snapshot.routes.live.get(model)
        return None if live is None else live.version


def _is_undone(before: ModelScan, reasons: Iterable[int], override: LoadOverride | None) -> bool:
    """Whether a model is wanted as it was once more, since a load failed.

    A folder whose files of a known version are broken stays wanted: a repair of it counts.
    """
    known = {spec.version for spec in before.versions}
    return override is not None or not known.issuperset(reasons)


def limits_of(settings: Settings) -> Limits:
    """Take the bounds on placement out of the settings."""
    return Limits(
        shared_pool_versions=settings.shared_pool_versions,
        shared_model_bytes=settings.shared_model_bytes,
        slow_run_s=settings.slow_run_s,
        pool_slots=settings.pool_slots,
        sequence_drain_s=settings.sequence_drain_s,
    )


def worker_status(worker: WorkerState) -> WorkerStatus:
    """Describe a worker for operators."""
    return WorkerStatus(
        worker=worker.address.worker,
        pool=worker.pool,
        node=worker.address.node,
        pid=worker.pid,
        state=worker.state,
        restart_count=worker.restart_count,
        last_exit=worker.last_exit,
        rss_bytes=worker.rss_bytes,
        devices=worker.devices,
        gpu_errors=() if worker.surroundings is None else worker.surroundings.gpu_errors,
        fingerprints={
            f"{key.model}/{key.version}": said.served.fingerprint
            for key, said in worker.versions.items()
            if said.served is not None and said.served.fingerprint
        },
    )


def _load_failure(model: str, reasons: dict[int, str]) -> str:
    states = " ".join(
        f"version {version} is at UNAVAILABLE state: {reason};"
        for version, reason in reasons.items()
    )
    return f"failed to load '{model}': load failed for model '{model}': {states}"
