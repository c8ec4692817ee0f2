"""Alerts on drift, and on monitors that have fallen silent."""

from collections.abc import Iterator
from typing import Final

from serving.monitor import catalogue
from serving.monitor.alerting.promql import Alert, grew, rate, series
from serving.monitor.alerting.slo import Slo

VERSION: Final = ("job", "model", "version")
BY: Final = ", ".join(VERSION)
SILENT_INTERVALS: Final = 3
SILENT_ROWS: Final = 256
"""Rows that should have been heard of meanwhile: four blocks."""


def watching_alerts(slo: Slo) -> Iterator[Alert]:
    """Give the alerts."""
    yield from _of_drift()
    yield from _of_silence(slo)


def _of_drift() -> Iterator[Alert]:
    for severity, name, wakes in (
        ("critical", "BasculeDriftCritical", "page"),
        ("warning", "BasculeDrift", "warning"),
    ):
        is_open = series(catalogue.DRIFT_OPEN, f'severity="{severity}"')
        yield Alert(
            name=name,
            expression=f"max by ({BY}) ({is_open}) > 0",
            severity=wakes,
            summary="The rows for {{ $labels.model }}:{{ $labels.version }} are not as those of "
            "its reference",
            action="`bascule drift show MODEL` names the columns, and how they moved.",
        )


def _of_silence(slo: Slo) -> Iterator[Alert]:
    limit_s = SILENT_INTERVALS * slo.monitor_interval_s
    updated = f"max by ({BY}) ({series(catalogue.DRIFT_UPDATE)})"
    asked = rate(catalogue.REQUEST_SUCCESS, "3m", by=VERSION)
    # Rows are told of by the block: at few rows a second a long wait is no silence.
    missed = f"(time() - {updated}) * ({rate(catalogue.DRIFT_ROWS, '1h', by=VERSION)})"
    yield Alert(
        name="BasculeDriftMonitorSilent",
        expression=f"time() - {updated} > {limit_s:g} and {missed} > {SILENT_ROWS} "
        f"and ({asked} > {slo.min_calls_per_s:g})",
        after="5m",
        severity="warning",
        summary="{{ $labels.model }}:{{ $labels.version }} answers calls, and nobody looks at them "
        "for drift",
        action="Look at the workers' logs, and at the controller's.",
    )
    yield Alert(
        name="BasculeDriftNotWatched",
        expression=f"max by ({BY}) ({series(catalogue.DRIFT_FAILED)}) > 0",
        after="5m",
        severity="warning",
        summary="The rows for {{ $labels.model }}:{{ $labels.version }} should be watched for "
        "drift, and cannot be",
        action="`bascule drift show MODEL` says why.",
    )
    skipped = f"sum by ({BY}) ({grew(catalogue.MONITOR_SKIPPED, '15m')})"
    yield Alert(
        name="BasculeDriftRowsSkipped",
        expression=f"{skipped} > 0",
        after="15m",
        severity="warning",
        summary="Rows for {{ $labels.model }}:{{ $labels.version }} come faster than they are "
        "looked at for drift",
        action="Lower BASCULE_DRIFT_ROWS_PER_S; detection has fewer rows then, evenly chosen.",
    )
