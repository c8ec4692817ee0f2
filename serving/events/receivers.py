"""Who is told of which events. Pure records."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from serving.events.address_guard import Network
from serving.registry.announcing.event_types import Severity, kind_of, severity_of

DEFAULT_SOURCE: Final = "/bascule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One address that events are sent to."""

    name: str
    url: str
    secret_file: Path | None
    secret_env: str
    """A variable of the controller's process; empty: `secret_file` has the secret."""
    types: tuple[str, ...] = ("*",)
    """Patterns of whole types, or of what they are called here: `rollout.*`."""
    min_severity: Severity = Severity.INFO
    subjects: tuple[str, ...] = ("*",)
    allow_networks: tuple[Network, ...] = ()
    ca_file: Path | None = None
    """Certificates that vouch for the receiver, instead of the system's."""

    def wants(self, kind: str, subject: str) -> bool:
        """Whether it is to be told of events like that.

        Args:
            kind: The event's whole type.
            subject: The event's.
        """
        if severity_of(kind).rank < self.min_severity.rank:
            return False
        names = (kind, kind_of(kind))
        has_type = any(fnmatchcase(name, one) for name in names for one in self.types)
        return has_type and any(fnmatchcase(subject, one) for one in self.subjects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivers:
    """What the file says."""

    source: str = DEFAULT_SOURCE
    """CloudEvents' `source` of every event that is sent."""
    receivers: tuple[Receiver, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many events a receiver waits for, has, and lacks for good."""

    pending: int = 0
    delivered: int = 0
    dead: int = 0
