"""That somebody vouches for a version before it gets traffic. Pure records."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's word for one version."""

    model: str
    version: int
    digest: str
    """What was approved."""
    who: str
    reason: str
    at_utc: datetime


def waiting(version: object, missing: int) -> str:
    """Say what a version waits for, and what to do.

    Args:
        version: Its name, as `MODEL:VERSION`.
        missing: How many approvals.
    """
    plural = "" if missing == 1 else "s"
    return f"waits for {missing} approval{plural} (bascule approve {version})"
