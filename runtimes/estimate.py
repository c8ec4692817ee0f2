"""What a batch is estimated to take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a batch takes beside the weights."""

    peak_bytes: int | None
    """None: it could not be estimated."""
    note: str
    """What it supposes, or why there is none."""
