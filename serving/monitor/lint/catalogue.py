"""Every code of `bascule monitor lint`: what must hold of monitoring, and how bad it is if not.

Numbers that are missing asked for what this monitoring does not have: ML08 for two ways to bin one
index, ML16 for a test set beside the reference, ML18 for times without a zone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from runtimes.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Entry:
    """One code."""

    code: str
    severity: Severity
    """At worst."""
    title: str
    """What must hold."""


_ENTRIES: Final = (
    Entry("ML01", Severity.ERROR, "what is watched is a tensor of the model"),
    Entry("ML02", Severity.ERROR, "the reference is there, whole, young and has 500 rows"),
    Entry("ML03", Severity.WARNING, "a limit on a rate stands over enough rows to measure it"),
    Entry("ML04", Severity.ERROR, "false alarms stay within their budget at the rate of rows now"),
    Entry("ML05", Severity.ERROR, "at the rate of rows now, a window is full within a day"),
    Entry("ML06", Severity.WARNING, "somebody is told of what is serious, and what to do"),
    Entry("ML07", Severity.ERROR, "every receiver can be reached"),
    Entry("ML09", Severity.WARNING, "no two rules ring for the same thing"),
    Entry("ML10", Severity.WARNING, "a watched column was not constant in the reference"),
    Entry("ML11", Severity.ERROR, "a rule names metrics and labels that are exported"),
    Entry("ML12", Severity.INFO, "an alert needs to hold no longer than what it counts stays"),
    Entry("ML13", Severity.WARNING, "a rate is taken over four scrapes at least"),
    Entry("ML14", Severity.ERROR, "a limit on a histogram is the end of one of its buckets"),
    Entry("ML15", Severity.WARNING, "no alarm is silenced for ever"),
    Entry("ML17", Severity.WARNING, "rules and models make no more series than were planned"),
    Entry("ML19", Severity.ERROR, "an alert can fire"),
    Entry("ML20", Severity.ERROR, "an alert can be silent"),
)

CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType({one.code: one for one in _ENTRIES})


def found(
    code: str, subject: str, message: str, fix: str, *, severity: Severity | None = None
) -> Finding:
    """Return a finding.

    Args:
        code: Of the catalogue.
        subject: What it is about.
        message: What is wrong, with the value and its limit.
        fix: What to do.
        severity: Less than the catalogue's; None: as bad as that.
    """
    return Finding(
        code=code,
        severity=severity or CATALOGUE[code].severity,
        subject=subject,
        message=message,
        fix=fix,
    )
