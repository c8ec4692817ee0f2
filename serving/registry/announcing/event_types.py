"""The catalogue of events: every type that receivers outside can be told of, a line each. Pure.

To add one, write its line here and announce it (`serving.registry.announcing.outbox`); `bascule
events types`, the severity that receivers ask for, and the documents follow.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

PREFIX: Final = "dev.bascule."
SUFFIX: Final = ".v1"


class Severity(StrEnum):
    """How much an event matters, least first."""

    INFO = "info"
    """Something was done."""
    WARNING = "warning"
    """Something went wrong and was dealt with, or rules were changed: somebody should look."""
    CRITICAL = "critical"
    """Nothing deals with it: somebody must."""

    @property
    def rank(self) -> int:
        """Its place among them."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One type of event."""

    kind: str
    """The middle of the whole type, such as `rollout.canary`."""
    severity: Severity
    text: str
    """When it is told."""


def _type(kind: str, severity: Severity, text: str) -> EventType:
    return EventType(kind=kind, severity=severity, text=text)


INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL

EVENT_TYPES: Final = (
    _type("rollout.pending", INFO, "a rollout was begun, or waits for approvals"),
    _type("rollout.preflight", INFO, "its candidate is judged"),
    _type("rollout.loading", INFO, "its candidate is loaded"),
    _type("rollout.verifying", INFO, "its candidate is loaded and replays golden samples"),
    _type("rollout.shadow", INFO, "its candidate gets copies of calls"),
    _type("rollout.canary", INFO, "its candidate gets a share of the calls"),
    _type("rollout.switched", INFO, "its candidate gets all calls that name no version"),
    _type("rollout.complete", INFO, "it ended well"),
    _type("rollout.paused", INFO, "somebody paused it"),
    _type("rollout.resumed", INFO, "somebody let it go on"),
    _type("rollout.held", CRITICAL, "it cannot go back: the old version cannot serve either"),
    _type("rollout.rolling_back", WARNING, "a guardrail or a person takes it back"),
    _type("rollout.rolled_back", WARNING, "it was taken back: the old version answers"),
    _type("rollout.failed", WARNING, "it ended before its candidate had a call"),
    _type("approval.requested", INFO, "a rollout waits for people to approve its version"),
    _type("approval.granted", INFO, "somebody approved a version"),
    _type("approval.rule_changed", WARNING, "how many approvals a model needs was changed"),
    _type("live.moved", INFO, "another version became live: promoted, or by a rollout"),
    _type("live.unset", WARNING, "no version is named as live any more"),
    _type("alias.moved", INFO, "an alias names another version"),
    _type("alias.removed", INFO, "an alias was removed"),
    _type("version.pushed", INFO, "a version came into the registry"),
    _type("version.wanted", INFO, "a version is to be loaded"),
    _type("version.archived", INFO, "a version is not to be loaded any more"),
    _type("version.collected", INFO, "the files of an archived version were removed"),
    _type("version.loaded", INFO, "a version can answer calls"),
    _type("version.unloaded", INFO, "a version that answered calls is gone"),
    _type("version.load_failed", WARNING, "a version that is wanted cannot be loaded"),
    _type("waiver.granted", WARNING, "somebody allows a finding of preflight for a while"),
    _type("waiver.withdrawn", INFO, "a finding of preflight is not allowed any more"),
    _type("trust.changed", WARNING, "which keys and rules the registry trusts was changed"),
    _type("contract.violation", WARNING, "calls break a version's data contract over its limit"),
    _type("drift.alarm", WARNING, "a version's inputs or outputs left their reference"),
    _type("label.drop", WARNING, "labels show that a version does worse than it did"),
    _type("env.changed", WARNING, "where versions run is not what it was"),
    _type("slo.burn", CRITICAL, "calls fail or are slow: the budget of what was promised burns"),
    _type("data.outdated", WARNING, "reference or training data are older than the contract wants"),
    _type("monitor.silent", CRITICAL, "calls come, and nobody looks at their rows for drift"),
    _type("monitor.selftest", INFO, "bascule monitor selftest: an alarm that was made up"),
    _type("events.test", INFO, "bascule events test: kept nowhere"),
)

BY_KIND: Final = MappingProxyType({one.kind: one for one in EVENT_TYPES})


def kind_of(event_type: str) -> str:
    """Return what a type is called here: `dev.bascule.rollout.canary.v1` is `rollout.canary`."""
    return event_type.removeprefix(PREFIX).removesuffix(SUFFIX)


def severity_of(event_type: str) -> Severity:
    """Return how much events of a type matter; a type that nobody knows here is INFO."""
    found = BY_KIND.get(kind_of(event_type))
    return Severity.INFO if found is None else found.severity
