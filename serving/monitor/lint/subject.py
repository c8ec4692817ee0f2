"""What is judged: versions with what watches them, rules of Prometheus, receivers. Pure records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from runtimes.preflight.subject import AgeLimits
from serving.registry.contracts.data_contract import NO_LIMITS, DataContract

DAY_S: Final = 86_400.0
WEEK_S: Final = 7 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReference:
    """The profile that a version's rows are compared with."""

    rows: int
    tensors: tuple[str, ...]
    """What its columns are made of."""
    constant_columns: tuple[str, ...] = ()
    """Those that had one value in all rows of the reference."""
    rows_between_false_alarms: float
    window_rows: int
    """Rows of the shortest window that is judged."""
    seconds_between_false_alarms: float | None = None
    """What the configuration allows in time, whatever the rate of rows; None: it says no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SilencedAlarm:
    """An open alarm that somebody has acknowledged."""

    feature: str
    who: str
    age_s: float
    """Since then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoredVersion:
    """One version and what watches it."""

    model: str
    version: int
    tensors: tuple[str, ...] = ()
    """Inputs and outputs of the model; empty: they are not known."""
    contract: DataContract | None = None
    contract_misfits: tuple[str, ...] = ()
    """What the contract asks that the model's tensors cannot answer."""
    reference: DriftReference | None = None
    reference_problem: str = ""
    """Why a reference that the version names cannot be used; empty: it can, or there is none."""
    ages_s: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """`reference data`, `training data` → since its end."""
    age_limits: AgeLimits = NO_LIMITS
    rows_per_s: float | None = None
    """Now; None: not measured."""
    watched_rows_per_s: float | None = None
    """Of them, those that drift is looked for in."""
    silenced: tuple[SilencedAlarm, ...] = ()

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.model}:{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusRule:
    """One rule of a file."""

    file: str
    name: str
    expression: str
    is_alert: bool
    holds_s: float = 0.0
    """How long it has to hold, of an alert."""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def subject(self) -> str:
        """What it is called in findings."""
        return f"{self.file}: {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReceiver:
    """Somebody who is told by events."""

    name: str
    types: tuple[str, ...]
    subjects: tuple[str, ...]
    problem: str = ""
    """Why it cannot be reached; empty: it can, or nobody tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What a running server exports now."""

    names: frozenset[str]
    series_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LintSubject:
    """Everything that is judged together."""

    versions: tuple[MonitoredVersion, ...] = ()
    rules: tuple[PrometheusRule, ...] = ()
    receivers: tuple[LintReceiver, ...] = ()
    exported: Exported | None = None
    """None: no server was asked."""
    scrape_interval_s: float = 15.0
    false_alarm_every_s: float = 30 * DAY_S
    """The budget: one false alarm of drift of a version in so long."""
    max_series: int = 10_000
