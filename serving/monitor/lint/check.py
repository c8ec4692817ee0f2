"""Pure: everything that `bascule monitor lint` has to say, worst first."""

from collections.abc import Iterable
from itertools import chain
from typing import Final

from runtimes.findings import Finding, Severity
from serving.monitor.lint.rule_checks import RuleChecks
from serving.monitor.lint.subject import LintSubject
from serving.monitor.lint.version_checks import (
    Wants,
    receiver_findings,
    series_findings,
    version_findings,
)
from serving.monitor.metric_spec import MetricSpec

ORDER: Final = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def lint(subject: LintSubject, metrics: Iterable[MetricSpec], wants: Wants) -> tuple[Finding, ...]:
    """Judge monitoring.

    Args:
        subject: All of it.
        metrics: What may be exported.
        wants: Whether a receiver is told of a type and a subject.
    """
    versions = (version_findings(one, subject, wants) for one in subject.versions)
    found = (
        *chain.from_iterable(versions),
        *RuleChecks(metrics, subject).findings(),
        *receiver_findings(subject),
        *series_findings(subject),
    )
    return tuple(sorted(found, key=lambda one: (ORDER.index(one.severity), one.code, one.subject)))
