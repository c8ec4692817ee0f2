"""What labels say of a version, short enough for status and metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """One output of one version."""

    model: str
    version: int
    output: str
    rows: int
    """Answered rows that were looked at."""
    labelled_rows: int
    accuracy: float | None = None
    mae: float | None = None
    delay_p50_s: float | None = None
    drop_score: float = 0.0
    """Evidence for a drop, as a part of what it takes: 1 is the alarm."""
    is_dropped: bool = False
