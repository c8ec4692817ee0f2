"""Something about a version that is wrong now, with the numbers that say so. Pure records."""

from dataclasses import dataclass
from typing import Any, Final

from serving.monitor.drift.severity import Severity

CONTRACT: Final = "contract.violation"
BURN: Final = "slo.burn"
OUTDATED: Final = "data.outdated"
SILENT: Final = "monitor.silent"
KINDS: Final = (CONTRACT, BURN, OUTDATED, SILENT)
"""Of the events that tell of them (`serving.registry.announcing.outbox`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One thing that is wrong."""

    kind: str
    """One of `KINDS`."""
    name: str
    """What of that kind: a rule, an objective, a data set."""
    value: float
    limit: float
    severity: Severity
    text: str
    """For people: what it is, and the limit."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the data of an event."""
        return {
            "alarm": self.name,
            "severity": self.severity.word,
            "value": self.value,
            "limit": self.limit,
            "text": self.text,
        }
