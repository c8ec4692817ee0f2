"""Pure: what is wrong with what watches a version: its contract, its reference, its rates."""

from collections import Counter
from collections.abc import Callable, Iterator
from math import expm1
from typing import Final

from runtimes.findings import Finding, Severity
from serving.monitor.lint.catalogue import found
from serving.monitor.lint.subject import (
    DAY_S,
    WEEK_S,
    DriftReference,
    LintReceiver,
    LintSubject,
    MonitoredVersion,
)
from serving.registry.announcing.drift_book import ALARM
from serving.registry.announcing.outbox import TYPE
from serving.registry.contracts.data_contract import DataContract

MIN_REFERENCE_ROWS: Final = 500
LONGEST_SILENCE_S: Final = 14 * DAY_S
LEAST_PROBABILITY: Final = 1e-4
"""The least that `bascule drift learn --false-alarms` takes."""
HORIZON_ROWS: Final = 10_000
DRIFT_TYPE: Final = TYPE.format(kind=ALARM)

Wants = Callable[[LintReceiver, str, str], bool]
"""Whether a receiver is told of a type and a subject."""


def version_findings(
    one: MonitoredVersion, subject: LintSubject, wants: Wants
) -> Iterator[Finding]:
    """Judge a version."""
    yield from _of_tensors(one)
    yield from _of_reference(one)
    if one.contract is not None:
        yield from _of_contract(one, one.contract)
    yield from _of_rates(one, subject)
    yield from _of_people(one, subject, wants)


def series_findings(subject: LintSubject) -> Iterator[Finding]:
    """Judge how much all of it is."""
    counted = 0 if subject.exported is None else subject.exported.series_count
    rules = sum(_series_of(one.contract) for one in subject.versions if one.contract is not None)
    for count, what in ((counted, "the server exports"), (rules, "the contracts' rules make")):
        if count > subject.max_series:
            yield found(
                "ML17",
                "metrics",
                f"{what} {count:,} series, more than {subject.max_series:,}",
                "watch fewer columns, or plan for more (--max-series)",
            )


def receiver_findings(subject: LintSubject) -> Iterator[Finding]:
    """Judge who is told."""
    for one in subject.receivers:
        if one.problem:
            yield found(
                "ML07",
                f"receiver {one.name}",
                f"it cannot be reached: {one.problem}",
                "mend its address in events.yaml; bascule events test sends it an event",
            )


def _of_tensors(one: MonitoredVersion) -> Iterator[Finding]:
    for misfit in one.contract_misfits:
        yield found(
            "ML01",
            f"{one.name} contract.yaml",
            misfit,
            "name a tensor of the model, or one of its columns",
        )
    known = set(one.tensors)
    for tensor in one.reference.tensors if one.reference is not None and known else ():
        if tensor not in known:
            yield found(
                "ML01",
                f"{one.name} reference",
                f"it watches '{tensor}', which the model does not have; it has "
                f"{', '.join(sorted(known))}",
                "learn it again from rows with the model's tensors (bascule drift learn)",
            )


def _of_reference(one: MonitoredVersion) -> Iterator[Finding]:
    name = f"{one.name} reference"
    if one.reference_problem:
        yield found("ML02", name, one.reference_problem, "pack the version with --reference again")
    reference = one.reference
    if reference is not None and reference.rows < MIN_REFERENCE_ROWS:
        yield found(
            "ML02",
            name,
            f"it has {reference.rows} rows, fewer than {MIN_REFERENCE_ROWS}: no alarm of it is "
            "more than a note",
            f"learn it from {MIN_REFERENCE_ROWS} rows or more",
            severity=Severity.WARNING,
        )
    for column in reference.constant_columns if reference is not None else ():
        yield found(
            "ML10",
            name,
            f"'{column}' had one value in all of its rows: any other one is drift",
            "leave the column out, or learn from rows in which it varies",
        )
    limit_s = one.age_limits.warn_s
    for what, age_s in one.ages_s.items():
        if limit_s is not None and age_s > limit_s:
            yield found(
                "ML02",
                name,
                f"the {what} ended {age_s / DAY_S:.0f} days ago, limit {limit_s / DAY_S:.0f}",
                "learn it from newer rows",
                severity=Severity.WARNING,
            )


def _of_contract(one: MonitoredVersion, contract: DataContract) -> Iterator[Finding]:
    window = contract.window
    limits = [
        ("window_policy.max_violation_rate", window.max_violation_rate),
        *(
            (f"{each.name}.max_null_rate", each.max_null_rate)
            for each in (*contract.inputs, *contract.outputs)
        ),
    ]
    for name, rate in limits:
        if rate is None:
            continue
        subject = f"{one.name} {name}"
        if rate >= 1:
            yield found(
                "ML19",
                subject,
                "no share of rows is above 1: it never rings",
                "put it below 1, or leave it out",
            )
        elif 0 < rate * window.min_rows < 1:
            yield found(
                "ML03",
                subject,
                f"{rate:g} of {window.min_rows} rows is less than one row: a single row rings",
                f"let the window have {1 / rate:.0f} rows at least (min_rows)",
            )
    has_limit = any(rate is not None for _, rate in limits)
    if has_limit and one.rows_per_s is not None:
        yield from _of_window(one, contract)
    yield from _of_doubles(one, contract)


def _of_window(one: MonitoredVersion, contract: DataContract) -> Iterator[Finding]:
    window = contract.window
    rows = (one.rows_per_s or 0) * window.window_s
    if rows < window.min_rows:
        yield found(
            "ML05",
            f"{one.name} window_policy",
            f"at {one.rows_per_s:g} rows/s its window of {window.window_s:g} s has {rows:.0f} of "
            f"the {window.min_rows} rows that it needs: it never rings",
            "make the window longer, or ask for fewer rows (min_rows)",
            severity=None if one.rows_per_s else Severity.WARNING,
        )


def _of_doubles(one: MonitoredVersion, contract: DataContract) -> Iterator[Finding]:
    asked = Counter(
        (each.tensor, each.column, rule.check, rule.limit, rule.allowed)
        for each in (*contract.inputs, *contract.outputs)
        for rule in each.rules
    )
    for (tensor, column, check, *_), count in asked.items():
        if count > 1:
            where = tensor if column is None else f"{tensor}[{column}]"
            yield found(
                "ML09",
                f"{one.name} contract.yaml",
                f"'{check.value}' is asked of {where} {count} times",
                "leave one of the rules out",
            )


def _of_rates(one: MonitoredVersion, subject: LintSubject) -> Iterator[Finding]:
    reference, rate = one.reference, one.watched_rows_per_s
    if reference is None or rate is None:
        return
    name = f"{one.name} drift"
    if rate * DAY_S < reference.window_rows:
        wait = "never" if rate == 0 else f"in {reference.window_rows / rate / DAY_S:.0f} days"
        yield found(
            "ML05",
            name,
            f"at {rate:g} rows/s its first window of {reference.window_rows} rows is full {wait}",
            "nothing can be said of so little traffic: look at its rows from time to time with "
            "bascule drift check",
            severity=Severity.WARNING if rate == 0 else None,
        )
        return
    said_s = reference.seconds_between_false_alarms
    every_s = reference.rows_between_false_alarms / rate if said_s is None else said_s
    if every_s < subject.false_alarm_every_s:
        yield found(
            "ML04",
            name,
            f"at {rate:g} rows/s it alarms without cause every {_time(every_s)}, "
            f"{WEEK_S / every_s:.1f} times a week; the budget is once in "
            f"{_time(subject.false_alarm_every_s)}",
            _remedy(reference, rate, subject.false_alarm_every_s),
        )


def _remedy(reference: DriftReference, rate: float, every_s: float) -> str:
    """Say how the budget can be kept: by fewer rows, or by a rarer alarm where that is possible."""
    if reference.seconds_between_false_alarms is not None:
        return f"let the configuration say drift_false_alarms: 1 per {every_s / DAY_S:g}d"
    between = reference.rows_between_false_alarms
    fewer = f"watch {between / every_s:.2g} rows/s (BASCULE_DRIFT_ROWS_PER_S)"
    probability = -expm1(-HORIZON_ROWS / (rate * every_s))
    if probability < LEAST_PROBABILITY:
        return fewer
    return f"learn the reference with --false-alarms {probability:.1g}, or {fewer}"


def _of_people(one: MonitoredVersion, subject: LintSubject, wants: Wants) -> Iterator[Finding]:
    about = f"{one.model}/{one.version}"
    is_heard = any(wants(each, DRIFT_TYPE, about) for each in subject.receivers)
    if one.reference is not None and not is_heard and not _has_drift_rule(subject):
        yield found(
            "ML06",
            f"{one.name} drift",
            f"nobody is told of its alarms: no receiver of events.yaml takes {DRIFT_TYPE} about "
            f"{about}, and no rule looks at bascule_drift_*",
            "name a receiver in events.yaml, or give Prometheus the rules of bascule metrics rules",
        )
    for alarm in one.silenced:
        if alarm.age_s > LONGEST_SILENCE_S:
            yield found(
                "ML15",
                f"{one.name} {alarm.feature}",
                f"{alarm.who} acknowledged its alarm {alarm.age_s / DAY_S:.0f} days ago, and it is "
                f"still open; limit {LONGEST_SILENCE_S / DAY_S:.0f} days",
                "learn a reference from rows as they are now, or mend what sends them",
            )


def _has_drift_rule(subject: LintSubject) -> bool:
    return any(one.is_alert and "bascule_drift_" in one.expression for one in subject.rules)


def _series_of(contract: DataContract) -> int:
    return sum(len(each.rules) + 1 for each in (*contract.inputs, *contract.outputs))


def _time(duration_s: float) -> str:
    for unit_s, unit in ((DAY_S, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if duration_s >= 2 * unit_s:
            return f"{duration_s / unit_s:.0f} {unit}"
    return f"{duration_s:.0f} seconds"
