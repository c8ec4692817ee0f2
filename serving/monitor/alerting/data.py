"""Alerts on what models are asked and answer: contracts, labels, ages."""

from collections.abc import Iterator
from typing import Final

from serving.monitor import catalogue, label_catalogue
from serving.monitor.alerting.promql import Alert, series
from serving.monitor.alerting.slo import Slo

DAY_S: Final = 86_400
VERSION: Final = "job, model, version"


def data_alerts(slo: Slo) -> Iterator[Alert]:
    """Give the alerts."""
    yield from _of_contracts()
    yield from _of_labels()
    yield from _of_ages(slo)


def _of_contracts() -> Iterator[Alert]:
    alarm = f"max by ({VERSION}, rule) ({series(catalogue.CONTRACT_ALARM)})"
    yield Alert(
        name="BasculeContractLimit",
        expression=f"{alarm} == 1",
        after="1m",
        severity="warning",
        summary="Too many rows for {{ $labels.model }}:{{ $labels.version }} break its data "
        "contract: {{ $labels.rule }}",
        action="`bascule quality MODEL` names rules, rows and requests.",
    )
    bad = f"sum by ({VERSION}) (rate({series(catalogue.CONTRACT_BAD_ROWS)}[15m]))"
    rows = f"sum by ({VERSION}) (rate({series(catalogue.CONTRACT_ROWS)}[15m]))"
    yield Alert(
        name="BasculeContractViolations",
        expression=f"{bad} / ({rows} > 0) > 0.05",
        after="15m",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the rows for {{ $labels.model }}:"
        "{{ $labels.version }} break a rule of its data contract",
        action="`bascule quality MODEL` names rules, rows and requests.",
    )
    withheld = f"sum by ({VERSION}) (increase({series(catalogue.CONTRACT_WITHHELD)}[15m]))"
    yield Alert(
        name="BasculeAnswersWithheld",
        expression=f"{withheld} > 0",
        severity="warning",
        summary="Answers of {{ $labels.model }}:{{ $labels.version }} break its data contract and "
        "were not sent",
        action="`bascule quality MODEL` names the rule; the version before may be the better one.",
    )


def _of_labels() -> Iterator[Alert]:
    dropped = f"max by ({VERSION}, output) ({series(label_catalogue.LABEL_DROP)})"
    yield Alert(
        name="BasculeLabelsDrop",
        expression=f"{dropped} == 1",
        severity="warning",
        summary="By its labels {{ $labels.model }}:{{ $labels.version }} has become worse: "
        "{{ $labels.output }}",
        action="`bascule labels performance MODEL` has the figures over time.",
    )


def _of_ages(slo: Slo) -> Iterator[Alert]:
    for name, what, metric, limit_days in (
        ("Reference", "reference data", catalogue.REFERENCE_AGE, slo.max_reference_age_days),
        ("Training", "training data", catalogue.TRAINING_AGE, slo.max_training_age_days),
    ):
        yield Alert(
            name=f"Bascule{name}Outdated",
            expression=f"max by ({VERSION}) ({series(metric)}) > {limit_days * DAY_S:g}",
            severity="warning",
            summary=f"The {what} of {{{{ $labels.model }}}}:{{{{ $labels.version }}}} ended "
            "{{ $value | humanizeDuration }} ago",
            action="Train again, or say in the SLO file that older data will do.",
        )
