"""What became of the predictions that a version's log was to keep."""

from dataclasses import dataclass
from typing import Final

QUEUE_FULL: Final = "queue_full"
"""The writer could not keep up, or stands still."""
WRITE_FAILED: Final = "write_failed"
"""The place cannot be written: a full disk, no permission."""
TOO_LARGE: Final = "too_large"
"""A batch that is larger than a segment."""
REMOVED: Final = "removed"
"""It was written, and removed before its retention to make room for newer ones."""
REASONS: Final = (QUEUE_FULL, WRITE_FAILED, TOO_LARGE, REMOVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCounts:
    """Counters of one version's log; on the control channel they travel as JSON."""

    written: int = 0
    """Predictions."""
    written_bytes: int = 0
    queue_full: int = 0
    """Predictions that were lost for that reason, and so on."""
    write_failed: int = 0
    too_large: int = 0
    removed: int = 0

    def __add__(self, other: "LogCounts") -> "LogCounts":
        """Add the counters of another worker."""
        return LogCounts(
            written=self.written + other.written,
            written_bytes=self.written_bytes + other.written_bytes,
            queue_full=self.queue_full + other.queue_full,
            write_failed=self.write_failed + other.write_failed,
            too_large=self.too_large + other.too_large,
            removed=self.removed + other.removed,
        )

    def lost(self) -> dict[str, int]:
        """Return how many predictions were lost, by reason."""
        return {
            QUEUE_FULL: self.queue_full,
            WRITE_FAILED: self.write_failed,
            TOO_LARGE: self.too_large,
            REMOVED: self.removed,
        }


class LogTally:
    """Counts one version's log. Each field has one thread that writes it."""

    __slots__ = ("queue_full", "removed", "too_large", "write_failed", "written", "written_bytes")

    def __init__(self) -> None:
        """Start at zero."""
        self.queue_full = 0
        """The loop's; all others are the writer's."""
        self.written = 0
        self.written_bytes = 0
        self.write_failed = 0
        self.too_large = 0
        self.removed = 0

    def counts(self) -> LogCounts:
        """Return the counters as they are."""
        return LogCounts(
            written=self.written,
            written_bytes=self.written_bytes,
            queue_full=self.queue_full,
            write_failed=self.write_failed,
            too_large=self.too_large,
            removed=self.removed,
        )
