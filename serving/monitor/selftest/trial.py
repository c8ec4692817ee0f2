"""What a self-test tried, and what came of it. Pure records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

DRIFT: Final = "drift.alarm"
"""The kind of event that alarms of drift are told by."""


class Outcome(StrEnum):
    """What became of one trial."""

    RANG = "RANG"
    """The alarm that should ring did."""
    QUIET = "QUIET"
    """Data as in the reference, or within their limits, rang nothing."""
    SILENT = "SILENT"
    """The alarm did not ring: it is broken."""
    FALSE = "FALSE"
    """An alarm rang without a cause."""
    SKIPPED = "SKIPPED"
    """There is no such alarm: the reason says what it would need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One alarm, tried."""

    kind: str
    """Of the event that tells of it."""
    alarm: str
    injected: str
    """What was made up."""
    outcome: Outcome
    told: str = ""
    """What people would have read, or why it is so."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What a receiver would have been told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTrials:
    """All trials of one version."""

    model: str
    version: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverTrial:
    """Whether somebody took an alarm that was made up."""

    kind: str
    receiver: str
    """Empty: no receiver wants events of that kind."""
    outcome: Outcome
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Everything that was tried."""

    versions: tuple[VersionTrials, ...]
    receivers: tuple[ReceiverTrial, ...]

    @property
    def is_good(self) -> bool:
        """Whether every alarm rings, and reaches somebody."""
        return all(is_good(outcome) for outcome in self.outcomes())

    def outcomes(self) -> list[Outcome]:
        """Return what came of all trials."""
        tried = [one.outcome for version in self.versions for one in version.trials]
        return tried + [one.outcome for one in self.receivers]


def is_good(outcome: Outcome) -> bool:
    """Say whether that is as it should be."""
    return outcome not in {Outcome.SILENT, Outcome.FALSE}
