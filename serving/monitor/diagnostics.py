"""What a node's processes are told at run time: what to log, and which calls to trace.

The front desk keeps it (the protocol's trace and logging settings) and tells the workers of its
node over their control channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.logs import EVERYTHING, LogSwitches


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePlan:
    """Which calls of a model are traced."""

    rate: int
    """One of so many calls."""
    count: int = -1
    """So many traces at most, of all that follow the same setting; -1: no limit."""
    tally: str = ""
    """File that has one byte for each trace that was taken; workers share it. Only with a count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """Settings of one moment."""

    switches: LogSwitches = EVERYTHING
    trace_file: str = ""
    """Where traces are appended; empty: nowhere, nothing is traced."""
    trace: TracePlan | None = None
    """For models that have no plan of their own; None: they are not traced."""
    models: Mapping[str, TracePlan | None] = field(default_factory=dict)
    """Model → its own plan."""

    def plan(self, model: str) -> TracePlan | None:
        """Return what holds for a model."""
        if not self.trace_file:
            return None
        return self.models.get(model, self.trace)
