"""What people and programs see of a version that is watched for drift. Pure records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any


class WatchState(StrEnum):
    """How far the watching of a version is."""

    WAITING = "WAITING"
    """No rows have come yet."""
    LEARNING = "LEARNING"
    """The first rows of its traffic become its reference."""
    WATCHING = "WATCHING"
    ALARM = "ALARM"
    """It watches, and an alarm is open."""
    FAILED = "FAILED"
    """It cannot be watched, or not by all of its workers: the reason says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Somebody has seen an alarm."""

    who: str
    reason: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftAlarm:
    """A change of a version's rows, from when it was first noticed."""

    id: str
    severity: str
    kind: str
    feature: str
    text: str
    since_s: float
    """When the rows began that showed it, in seconds since 1970."""
    at_s: float
    """When it was noticed."""
    last_s: float
    """When it was noticed last."""
    last_row: int
    """Rows that were watched then."""
    count: int = 1
    """How often it was noticed."""
    told_s: float = 0.0
    """When receivers were told last."""
    is_open: bool = True
    """False: rows are again as they were, or there is another reference."""
    acknowledged: Acknowledgement | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """`serving.monitor.drift.alert.DriftAlert` when it was told last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """One column of the reference now."""

    feature: str
    place: int
    """In the reference."""
    role: str
    score: float
    """Over the threshold: 1 is an alarm."""
    effect_name: str
    effect: float | None
    """How far it moved; None: nothing is known of it now."""
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePoint:
    """The largest score over some time."""

    at_s: float
    rows: int
    """Rows that were watched by then."""
    score: float
    feature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDrift:
    """All that is known of one version."""

    model: str
    version: int
    state: WatchState
    reason: str = ""
    """Why it is not watched, or what holds alarms down."""
    monitor_digest: str = ""
    reference: str = ""
    """Where the reference is from."""
    reference_rows: int = 0
    calibration: str = ""
    most_severe: str = ""
    """No alarm is more severe than that."""
    threshold: float = 0.0
    rows_between_false_alarms: float = 0.0
    seconds_between_false_alarms: float | None = None
    """At the rate of rows now; None: there is no traffic."""
    rows: int = 0
    """Rows that were watched, by all workers together."""
    rows_per_s: float = 0.0
    skipped_rows: int = 0
    worker_count: int = 0
    last_update_s: float | None = None
    """When the newest rows came."""
    score: float = 0.0
    """The largest of all, pairs included."""
    features: tuple[FeatureDrift, ...] = ()
    """Those with the largest score first."""
    pairs: tuple[tuple[str, float], ...] = ()
    """Relations of two columns: the largest scores."""
    alarms: tuple[DriftAlarm, ...] = ()
    """Newest first."""
    alarm_counts: Mapping[str, int] = field(default_factory=dict)
    """By severity, since the reference was taken."""
    history: tuple[ScorePoint, ...] = ()
    """Oldest first."""


def plain(value: Any) -> Any:  # noqa: ANN401  any of JSON's types
    """Return a value as JSON has it: what is no finite number is nothing."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
