"""Gathers what :8002/metrics shows: workers' counters, the cluster's state, the node, HAProxy."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog

from runtimes.errors import BasculeError
from runtimes.findings import Finding
from runtimes.gpu_probe import SystemNvml
from runtimes.gpu_reading import GpuReading, read_gpus
from serving.edge.control import ClusterStatus, EdgeStatus
from serving.edge.desk import Desk
from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.lone_thread import LoneThread
from serving.monitor import catalogue, exposition, label_catalogue, node, node_catalogue
from serving.monitor.drift.samples import drift_samples
from serving.monitor.drift.view import VersionDrift
from serving.monitor.environment.records import IssueKind
from serving.monitor.exposition import Sample
from serving.monitor.gpu_samples import gpu_samples, xid_samples
from serving.monitor.labels.samples import label_samples
from serving.monitor.quality.samples import quality_samples
from serving.registry.version import VersionState

log = structlog.get_logger(__name__)

ASK_CONTROLLER_S: Final = 1.0
ASK_HAPROXY_S: Final = 2.0
ASK_NVML_S: Final = 3.0
HAPROXY_METRICS: Final = "/metrics?scope=global&scope=frontend"


class NodeMetrics:
    """Renders this node's metrics; a part that does not answer is left out."""

    def __init__(
        self,
        desk: Desk,
        edge: Callable[[], EdgeStatus],
        exporter: Path,
        pools: Callable[[], Awaitable[list[Sample]]],
        remember: Callable[[], None] | None = None,
    ) -> None:
        """Remember whom to ask.

        Args:
            desk: The workers' counters and the cluster's state.
            edge: This edge about itself.
            exporter: Socket of HAProxy's own exporter.
            pools: Asks HAProxy about its pools.
            remember: Keeps the totals for the next edge; None: there will be none.
        """
        self._desk = desk
        self._edge = edge
        self._exporter = exporter
        self._nvml = SystemNvml()
        self._nvml_thread = LoneThread("NVML")
        self._nvml_turn = asyncio.Lock()
        self._pools = pools
        self._remember = remember

    async def render(self) -> bytes:
        """Return the text of a scrape."""
        async with asyncio.TaskGroup() as group:
            statistics = group.create_task(self._desk.statistics_by_gpu())
            status = group.create_task(self._cluster_status())
            drift = group.create_task(self._drift())
            machine = group.create_task(asyncio.to_thread(_machine_samples))
            gpus = group.create_task(self._gpus())
            haproxy = group.create_task(self._haproxy())
            pools = group.create_task(self._pool_samples())
        if self._remember is not None:
            try:
                self._remember()
            except OSError as error:  # a full disk is when metrics are needed
                log.warning("totals_not_kept", reason=str(error))
        load_s = {
            (key.model, key.version): record.served.load_s
            for key, record in self._desk.snapshot.versions.items()
            if record.served is not None
        }
        samples = [
            *exposition.version_samples(statistics.result(), load_s),
            *quality_samples(statistics.result()),
            *machine.result(),
            *gpu_samples(gpus.result(), _pids(status.result(), self._edge().node)),
            *self._own_samples(),
            *pools.result(),
            *_worker_samples(status.result()),
            *_event_samples(status.result()),
            *_scale_samples(status.result()),
            *drift_samples(drift.result()),
            *_environment_samples(status.result()),
            *_label_samples(status.result(), self._desk),
        ]
        return exposition.render(samples) + haproxy.result()

    def _own_samples(self) -> Iterator[Sample]:
        snapshot, edge = self._desk.snapshot, self._edge()
        states = Counter(record.state for record in snapshot.versions.values())
        for state, count in sorted(states.items()):
            yield Sample(catalogue.VERSIONS_BY_STATE, count, (state.value,))
        for key, record in snapshot.versions.items():
            is_ready = int(record.state is VersionState.READY)
            yield Sample(catalogue.VERSION_READY, is_ready, (key.model, str(key.version)))
            for (code, severity), count in _by_code(record.findings).items():
                labels = (key.model, str(key.version), code, severity)
                yield Sample(catalogue.FINDINGS, count, labels)
        yield Sample(catalogue.READY, int(snapshot.ready))
        yield Sample(catalogue.ROUTE_REVISION, edge.revision)
        yield Sample(catalogue.EDGE_RESTARTS, edge.restart_count)

    async def _cluster_status(self) -> ClusterStatus | None:
        try:
            async with asyncio.timeout(ASK_CONTROLLER_S):
                return await self._desk.control.status()
        except (BasculeError, TimeoutError) as error:
            log.info("metrics_without_controller", error=str(error))
            return None

    async def _drift(self) -> tuple[VersionDrift, ...]:
        try:
            async with asyncio.timeout(ASK_CONTROLLER_S):
                return await self._desk.control.drift()
        except (BasculeError, TimeoutError) as error:
            log.info("metrics_without_drift", error=str(error))
            return ()

    async def _gpus(self) -> tuple[GpuReading, ...]:
        try:
            async with self._nvml_turn:  # scrapes of one moment read one after the other
                return await self._nvml_thread.call(lambda: read_gpus(self._nvml), ASK_NVML_S)
        except NotReadyError as error:
            log.warning("metrics_without_gpus", error=error.message)
            return ()

    async def _pool_samples(self) -> list[Sample]:
        try:
            return await self._pools()
        except NotReadyError as error:
            log.info("metrics_without_pools", error=error.message)
            return []

    async def _haproxy(self) -> bytes:
        async with LocalHttp(str(self._exporter)) as client:
            try:
                reply = await client.ask("GET", HAPROXY_METRICS, timeout_s=ASK_HAPROXY_S)
            except NotReadyError as error:
                log.info("metrics_without_haproxy", error=error.message)
                return b""
        return reply.body


def _by_code(findings: Iterable[Finding]) -> Counter[tuple[str, str]]:
    return Counter((finding.code, finding.severity.value) for finding in findings)


def _machine_samples() -> list[Sample]:
    return [*node.cpu_samples(), *node.load_samples()]


def _worker_samples(status: ClusterStatus | None) -> Iterator[Sample]:
    for worker in status.workers if status is not None else ():
        labels = (worker.pool, worker.worker)
        yield Sample(catalogue.WORKER_RESTARTS, worker.restart_count, labels)
        yield Sample(catalogue.WORKER_RSS, worker.rss_bytes, labels)


def _event_samples(status: ClusterStatus | None) -> Iterator[Sample]:
    for receiver, tally in (status.events if status is not None else {}).items():
        yield Sample(catalogue.EVENTS, tally.delivered, (receiver, "DELIVERED"))
        yield Sample(catalogue.EVENTS, tally.pending, (receiver, "PENDING"))
        yield Sample(catalogue.EVENTS, tally.dead, (receiver, "DEAD"))


def _scale_samples(status: ClusterStatus | None) -> Iterator[Sample]:
    for scale in status.scales if status is not None else ():
        labels = (scale.model, str(scale.version))
        yield Sample(catalogue.SCALE_WANTED, scale.wanted, labels)
        yield Sample(catalogue.SCALE_READY, scale.ready, labels)
        for cause, count in scale.changes.items():
            yield Sample(catalogue.SCALE_CHANGES, count, (*labels, cause))


def _pids(status: ClusterStatus | None, node: str) -> dict[int, str]:
    """Return the workers of a node by the ids of their processes."""
    workers = status.workers if status is not None else ()
    return {one.pid: one.worker for one in workers if one.node == node}


def _environment_samples(status: ClusterStatus | None) -> Iterator[Sample]:
    if status is None:
        return
    for worker in status.workers:
        for version, fingerprint in worker.fingerprints.items():
            model, _, number = version.rpartition("/")
            labels = (model, number, worker.worker, fingerprint)
            yield Sample(node_catalogue.ENVIRONMENT, 1, labels)
    yield from xid_samples(error for one in status.workers for error in one.gpu_errors)
    standing = Counter(one.kind for one in status.environment)
    for kind, count in status.environment_counts.items():
        yield Sample(node_catalogue.ENVIRONMENT_CHANGES, count, (kind,))
        yield Sample(node_catalogue.ENVIRONMENT_ISSUES, standing[IssueKind(kind)], (kind,))


def _label_samples(status: ClusterStatus | None, desk: Desk) -> Iterator[Sample]:
    if desk.labels is not None:
        yield Sample(label_catalogue.LABELS_POSTED, desk.labels.posted_count)
    yield from label_samples(status.labels if status is not None else ())
