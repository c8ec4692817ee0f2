"""Alerts on the parts of an instance: nodes, versions, workers, queues, logs; and on alerting."""

from collections.abc import Iterator

from serving.monitor import catalogue, edge_catalogue, node_catalogue
from serving.monitor.alerting.promql import Alert, grew, series
from serving.monitor.alerting.slo import Slo

UP = "up"
"""Prometheus' own: whether a scrape succeeded."""


def part_alerts(slo: Slo) -> Iterator[Alert]:
    """Give the alerts."""
    yield from _of_watching(slo)
    yield from _of_versions()
    yield from _of_processes()
    yield from _of_environments()
    yield from _of_gpus()
    yield from _of_queues(slo)
    yield from _of_records()


def _of_watching(slo: Slo) -> Iterator[Alert]:
    job = f'job="{slo.job}"'
    yield Alert(
        name="BasculeDeadMansSwitch",
        expression="vector(1)",
        severity="none",
        summary="This alert always fires: when it does not arrive any more, alerts do not arrive",
        action="Route it to a service that tells you when it stops.",
    )
    yield Alert(
        name="BasculeNodeDown",
        expression=f"{UP}{{{job}}} == 0",
        after="2m",
        severity="page",
        summary="{{ $labels.instance }} does not answer Prometheus",
        action="Look at the node, and at `bascule serve` or Ray on it.",
    )
    yield Alert(
        name="BasculeNotScraped",
        expression=f"absent({UP}{{{job}}})",
        after="5m",
        severity="page",
        summary=f"Prometheus has no target of job {slo.job}",
        action="Look at its scrape configuration and its service discovery.",
    )
    yield Alert(
        name="BasculeMetricsMissing",
        expression=f"{UP}{{{job}}} == 1 unless on (job, instance) {series(catalogue.READY)}",
        after="5m",
        severity="warning",
        summary="{{ $labels.instance }} answers, but not with Bascule's metrics",
        action="Look at what listens on the metrics port, and at the log of the edge.",
    )
    labels = "job, instance, model, version"
    counted = series(catalogue.REQUEST_SUCCESS)
    yield Alert(
        name="BasculeVersionNotCounted",
        expression=f"{series(catalogue.VERSION_READY)} == 1 unless on ({labels}) {counted}",
        after="5m",
        severity="warning",
        summary="Nothing is counted of {{ $labels.model }}:{{ $labels.version }}, which is ready",
        action="Look at the workers' logs: one that hangs does not say what it counted.",
    )


def _no_more(selected: str, by: str) -> str:
    """What is 0, and was not at some time of the last day: what only begins wakes nobody."""
    before = f"max by ({by}) (max_over_time({selected}[1d]))"
    return f"max by ({by}) ({selected}) == 0 and {before} > 0"


def _of_versions() -> Iterator[Alert]:
    ready = series(catalogue.VERSION_READY)
    yield Alert(
        name="BasculeModelNotReady",
        expression=_no_more(ready, "job, model"),
        after="2m",
        severity="page",
        summary="No version of {{ $labels.model }} can answer any more",
        action="`bascule status` says why its versions are not ready.",
    )
    yield Alert(
        name="BasculeNoWorker",
        expression=_no_more(series(edge_catalogue.EDGE_WORKERS_UP), "job, instance, pool"),
        after="1m",
        severity="page",
        summary="The edge of {{ $labels.instance }} has no worker of pool {{ $labels.pool }} any "
        "more: its calls fail, on both wires",
        action="`bascule status` shows how its workers ended.",
    )
    yield Alert(
        name="BasculeVersionNotReady",
        expression=f"max by (job, model, version) ({ready}) == 0",
        after="15m",
        severity="warning",
        summary="{{ $labels.model }}:{{ $labels.version }} is wanted and cannot answer",
        action="`bascule status` has the reason; `bascule unload` ends the wish.",
    )


def _of_processes() -> Iterator[Alert]:
    restarts = grew(catalogue.WORKER_RESTARTS, "15m")
    yield Alert(
        name="BasculeWorkerRestarts",
        expression=f"max by (job, pool, worker) ({restarts}) > 2",
        severity="warning",
        summary="Worker {{ $labels.worker }} of pool {{ $labels.pool }} keeps ending",
        action="`bascule status` shows how it ended, and what was running in it.",
    )
    yield Alert(
        name="BasculeEdgeRestarts",
        expression=f"{grew(catalogue.EDGE_RESTARTS, '15m')} > 0",
        severity="warning",
        summary="HAProxy of {{ $labels.instance }} was restarted: open connections broke",
        action="Look at logs/haproxy.log in BASCULE_HOME.",
    )


def _of_environments() -> Iterator[Alert]:
    yield Alert(
        name="BasculeEnvironment",
        expression=f"max by (job, kind) ({series(node_catalogue.ENVIRONMENT_ISSUES)}) > 0",
        after="5m",
        severity="warning",
        summary="What workers compute with is not as it was, or not the same: {{ $labels.kind }}",
        action="`bascule environment MODEL` names the fields, before and after.",
    )


def _of_gpus() -> Iterator[Alert]:
    xids, errors = "max by (job, gpu_uuid, xid)", series(node_catalogue.GPU_XIDS)
    yield Alert(
        name="BasculeGpuXid",
        # A series is born with its first error: what it counts then has not grown.
        expression=f"{xids} ({grew(node_catalogue.GPU_XIDS, '15m')}) > 0 or "
        f"({xids} ({errors}) > 0 unless {xids} ({errors} offset 15m))",
        severity="warning",
        summary="GPU {{ $labels.gpu_uuid }} reports Xid {{ $labels.xid }}",
        action="`bascule status` says whether a worker left it; the driver's table says the rest.",
    )
    ecc = grew(node_catalogue.GPU_ECC, "1h", 'kind="uncorrected"')
    yield Alert(
        name="BasculeGpuMemoryErrors",
        expression=f"max by (job, gpu_uuid) ({ecc}) > 0",
        severity="warning",
        summary="The memory of GPU {{ $labels.gpu_uuid }} has errors that cannot be corrected",
        action="Take its node out, and let the GPU be tested.",
    )


def _of_queues(slo: Slo) -> Iterator[Alert]:
    pending = f"sum by (job, model) ({series(catalogue.PENDING)})"
    limit = f"{slo.max_queued_calls:g}"
    yield Alert(
        name="BasculeQueueGrows",
        expression=(
            f"min_over_time(({pending})[10m:1m]) > {limit} and deriv(({pending})[10m:1m]) > 0"
        ),
        severity="warning",
        summary="{{ $value | humanize }} calls of {{ $labels.model }} have waited for 10 minutes, "
        "and they become more",
        action="More replicas, larger batches, or a shorter queue that refuses early.",
    )
    yield Alert(
        name="BasculeCallsRefused",
        expression=f"sum by (job, model) ({grew(catalogue.REQUEST_FAILURE, '5m', _REJECTED)}) > 0",
        after="10m",
        severity="warning",
        summary="Calls of {{ $labels.model }} find its queue full, or time out in it",
        action="More replicas, larger batches, or clients that send less.",
    )


_REJECTED = 'reason="REJECTED"'


def _of_records() -> Iterator[Alert]:
    lost = grew(catalogue.LOG_LOST, "15m", 'reason!="removed"')
    yield Alert(
        name="BasculePredictionLogLosses",
        expression=f"sum by (job, model, reason) ({lost}) > 0",
        severity="warning",
        summary="Predictions of {{ $labels.model }} are not logged: {{ $labels.reason }}",
        action="Look at the place of the log: it is full, slow, or cannot be written.",
    )
    yield Alert(
        name="BasculeEventsUndelivered",
        expression=f"max by (job, receiver) ({_DEAD}) > 0",
        severity="warning",
        summary="{{ $value }} events did not reach {{ $labels.receiver }}",
        action="`bascule events list --dead` says which; `bascule events redeliver` sends them.",
    )


_DEAD = series(catalogue.EVENTS, 'state="DEAD"')
