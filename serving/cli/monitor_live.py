"""What `bascule monitor lint` asks of a running instance: its metrics, twice, and its alarms."""

import re
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from runtimes.errors import BasculeError
from serving.cli.admin_client import AdminClient
from serving.edge.control import VersionRecord
from serving.errors import NotReadyError
from serving.monitor import catalogue
from serving.monitor.drift.view import VersionDrift, WatchState
from serving.monitor.drift.windows import WINDOWS
from serving.monitor.lint.reading import policy_of
from serving.monitor.lint.subject import (
    DriftReference,
    Exported,
    MonitoredVersion,
    SilencedAlarm,
)
from serving.registry.policies.drift_policy import DEFAULT_DRIFT, DriftPolicy
from serving.registry.version import VersionState
from serving.settings import Settings

SAMPLE: Final = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ASK_S: Final = 10.0
MAX_METRICS_BYTES: Final = 64 << 20
REGISTRY: Final = "registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What an instance says."""

    exported: Exported
    rows_per_s: dict[str, float]
    """By `MODEL:VERSION`."""
    drift: dict[str, VersionDrift]
    policies: dict[str, DriftPolicy]
    """How configurations want rows to be watched, likewise."""
    registered: tuple[str, ...]
    """The versions of the registry that it serves."""
    others: tuple[MonitoredVersion, ...]
    """The versions that it serves out of a repository."""


def ask_instance(settings: Settings, measure_s: float, now_s: Callable[[], float]) -> Live | None:
    """Ask the running instance; None: there is none.

    Args:
        settings: Where it is.
        measure_s: How long its rows are counted.
        now_s: Seconds, monotonic.

    Raises:
        BasculeError: It does not show its metrics.
    """
    client = AdminClient(settings.admin_socket)
    try:
        status = client.status()
    except NotReadyError:
        return None
    ready = [one for one in status.versions if one.state is VersionState.READY]
    before, began_s = _metrics(status.metrics), now_s()
    time.sleep(measure_s)
    after, elapsed_s = _metrics(status.metrics), now_s() - began_s
    counts = _rows(after)
    counts.subtract(_rows(before))
    return Live(
        exported=Exported(names=frozenset(name for name, _, _ in after), series_count=len(after)),
        rows_per_s={str(one.key): max(0, counts[str(one.key)]) / elapsed_s for one in ready},
        drift={
            f"{each.model}:{each.version}": each
            for model in sorted({one.model for one in ready})
            for each in _drift(client, model)
        },
        policies={str(one.key): policy_of(one.model, one.config_text) for one in ready},
        registered=tuple(str(one.key) for one in ready if one.origin.startswith(REGISTRY)),
        others=tuple(_served(one) for one in ready if not one.origin.startswith(REGISTRY)),
    )


def with_rate(
    version: MonitoredVersion, live: Live | None, given: float | None, settings: Settings
) -> MonitoredVersion:
    """Add how many rows come, and what an instance knows of a version's alarms.

    Args:
        version: As its bundle says it.
        live: What an instance says; None: there is none.
        given: Rows a second that somebody states.
        settings: How many of them are watched.
    """
    rate = given if given is not None or live is None else live.rows_per_s.get(version.name)
    drift = None if live is None else live.drift.get(version.name)
    workers = max(1, drift.worker_count) if drift is not None else 1
    return replace(
        version,
        reference=_judged_by(version, live),
        reference_problem=version.reference_problem or _problem(drift),
        rows_per_s=rate,
        watched_rows_per_s=None if rate is None else min(rate, settings.drift_rows_per_s * workers),
        silenced=() if drift is None else _silenced(drift),
    )


def _served(one: VersionRecord) -> MonitoredVersion:
    """Return what an instance says of a version without a bundle."""
    served = one.served
    names = () if served is None else (spec.name for spec in (*served.inputs, *served.outputs))
    return MonitoredVersion(model=one.model, version=one.version, tensors=tuple(names))


def _judged_by(version: MonitoredVersion, live: Live | None) -> DriftReference | None:
    """Return the reference as an instance judges by it, which it may have learnt itself."""
    drift = None if live is None else live.drift.get(version.name)
    if live is None or drift is None or not drift.rows_between_false_alarms:
        return version.reference
    between = drift.rows_between_false_alarms
    if version.reference is not None:
        return replace(version.reference, rows_between_false_alarms=between)
    return DriftReference(
        rows=drift.reference_rows,
        tensors=(),
        rows_between_false_alarms=between,
        window_rows=WINDOWS[0],
        seconds_between_false_alarms=live.policies.get(version.name, DEFAULT_DRIFT).seconds_between,
    )


def _problem(drift: VersionDrift | None) -> str:
    """Say why an instance cannot watch a version; empty: it can, or learns to."""
    return drift.reason if drift is not None and drift.state is WatchState.FAILED else ""


def _silenced(drift: VersionDrift) -> tuple[SilencedAlarm, ...]:
    now_s = time.time()  # noqa: TID251  alarms are dated by the wall clock
    return tuple(
        SilencedAlarm(
            feature=one.feature,
            who=one.acknowledged.who,
            age_s=now_s - one.acknowledged.at_s,
        )
        for one in drift.alarms
        if one.is_open and one.acknowledged is not None
    )


def _drift(client: AdminClient, model: str) -> tuple[VersionDrift, ...]:
    try:
        return client.drift(model)
    except BasculeError:  # no version of it is watched
        return ()


def _metrics(place: str) -> list[tuple[str, dict[str, str], float]]:
    url = f"http://{place}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=ASK_S) as reply:
            text = reply.read(MAX_METRICS_BYTES).decode()
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise NotReadyError(f"{url} does not answer: {error}: is it the instance's?") from error
    found = (SAMPLE.match(line) for line in text.splitlines() if not line.startswith("#"))
    return [
        (one[1], dict(LABEL.findall(one[2] or "")), float(one[3]))
        for one in found
        if one is not None
    ]


def _rows(samples: list[tuple[str, dict[str, str], float]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for name, labels, value in samples:
        if name == catalogue.INFERENCES.name:
            counted[f"{labels['model']}:{labels['version']}"] += int(value)
    return counted
