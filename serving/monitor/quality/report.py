"""What contracts counted: one worker's numbers, and their sum over workers. They travel as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from serving.registry.contracts.data_contract import Action, MissingKind

MAX_SAMPLES: Final = 10
"""Of each rule: the latest rows that broke it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSample:
    """One row that broke a rule; never its value, unless the contract lets values be shown."""

    row: int
    at_s: float
    """Seconds since 1970."""
    request_id: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """How often a rule was broken."""

    rule: str
    name: str
    """Of the input, feature or output."""
    action: Action
    row_count: int = 0
    request_count: int = 0
    samples: tuple[RowSample, ...] = ()

    def __add__(self, other: "RuleCount") -> "RuleCount":
        """Add another worker's."""
        samples = sorted((*self.samples, *other.samples), key=lambda one: one.at_s)
        return replace(
            self,
            row_count=self.row_count + other.row_count,
            request_count=self.request_count + other.request_count,
            samples=tuple(samples[-MAX_SAMPLES:]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCount:
    """How many values were missing, in one of the ways."""

    name: str
    kind: MissingKind
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """The latest rows, and how many of them broke a rule or had a missing value."""

    row_count: int = 0
    violating_row_count: int = 0
    null_rows: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "WindowCounts") -> "WindowCounts":
        """Add another worker's."""
        return WindowCounts(
            row_count=self.row_count + other.row_count,
            violating_row_count=self.violating_row_count + other.violating_row_count,
            null_rows=_summed(self.null_rows, other.null_rows),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLimits:
    """What the window's rates may come to."""

    min_rows: int = 500
    window_s: float = 600.0
    max_violation_rate: float | None = None
    max_null_rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRate:
    """A share of the window's rows that the contract sets a limit for."""

    rule: str
    rate: float
    limit: float
    is_alarm: bool = False
    """It is over the limit, and the window has enough rows to say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """What one version's contract has seen since it was loaded."""

    is_draft: bool
    request_count: int = 0
    row_count: int = 0
    violating_row_count: int = 0
    rejected_request_count: int = 0
    withheld_answer_count: int = 0
    """Answers that were not sent because the model's outputs broke the contract."""
    rules: tuple[RuleCount, ...] = ()
    """Every rule of the contract, broken or not."""
    missing: tuple[MissingCount, ...] = ()
    window: WindowCounts = WindowCounts()
    limits: WindowLimits = WindowLimits()
    event_lag_s: float | None = None
    """Age of the oldest event of the latest request that said it."""
    reference_age_s: float | None = None
    training_age_s: float | None = None

    def __add__(self, other: "QualityReport") -> "QualityReport":
        """Add another worker's."""
        rules = {one.rule: one for one in self.rules}
        for one in other.rules:
            rules[one.rule] = rules[one.rule] + one if one.rule in rules else one
        missing = {(one.name, one.kind): one.count for one in self.missing}
        for each in other.missing:
            place = (each.name, each.kind)
            missing[place] = missing.get(place, 0) + each.count
        return replace(
            self,
            is_draft=self.is_draft and other.is_draft,
            request_count=self.request_count + other.request_count,
            row_count=self.row_count + other.row_count,
            violating_row_count=self.violating_row_count + other.violating_row_count,
            rejected_request_count=self.rejected_request_count + other.rejected_request_count,
            withheld_answer_count=self.withheld_answer_count + other.withheld_answer_count,
            rules=tuple(rules.values()),
            missing=tuple(
                MissingCount(name=name, kind=kind, count=count)
                for (name, kind), count in sorted(missing.items())
            ),
            window=self.window + other.window,
            event_lag_s=_larger(self.event_lag_s, other.event_lag_s),
            reference_age_s=_larger(self.reference_age_s, other.reference_age_s),
            training_age_s=_larger(self.training_age_s, other.training_age_s),
        )

    def rates(self) -> tuple[WindowRate, ...]:
        """Return the window's share of rows for each limit that the contract sets."""
        rows = self.window.row_count
        counts = {
            f"{name}.max_null_rate": (self.window.null_rows.get(name, 0), limit)
            for name, limit in self.limits.max_null_rates.items()
        }
        if self.limits.max_violation_rate is not None:
            limit = self.limits.max_violation_rate
            counts["max_violation_rate"] = (self.window.violating_row_count, limit)
        has_enough = rows >= self.limits.min_rows
        shares = {
            rule: (min(count / max(rows, 1), 1.0), limit)  # rows may leave before their answers
            for rule, (count, limit) in counts.items()
        }
        return tuple(
            WindowRate(rule=rule, rate=rate, limit=limit, is_alarm=has_enough and rate > limit)
            for rule, (rate, limit) in shares.items()
        )

    def alarms(self) -> tuple[WindowRate, ...]:
        """Return the rates that are over their limits; too few rows raise none."""
        return tuple(one for one in self.rates() if one.is_alarm)


def merged(one: QualityReport | None, other: QualityReport | None) -> QualityReport | None:
    """Add what two workers counted; None: it has no contract there."""
    if one is None or other is None:
        return one or other
    return one + other


def _larger(one: float | None, other: float | None) -> float | None:
    known = [each for each in (one, other) if each is not None]
    return max(known, default=None)


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}
