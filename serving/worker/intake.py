"""What takes the calls of a version: its batcher, or something that stands in front of one."""

from typing import Protocol

from serving.monitor.statistics import Phases
from serving.worker.queued import QueuedCall


class Intake(Protocol):
    """Takes calls and sees to it that each is finished or failed once. Belongs to one loop."""

    @property
    def queued_count(self) -> int:
        """Calls that wait."""

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""

    @property
    def is_running(self) -> bool:
        """Whether a batch runs."""

    def submit(self, item: QueuedCall) -> None:
        """Take a call.

        Raises:
            BasculeError: It may not enter; it was not executed.
        """

    def cancel(self, item: QueuedCall) -> None:
        """Forget a call whose client left."""

    def phases_of(self, submitted_ns: int, now_ns: int) -> Phases:
        """Return what the call that is being answered spent where; for its `finish` to ask.

        Args:
            submitted_ns: When it was handed in.
            now_ns: The clock.
        """

    async def idle(self) -> None:
        """Return when no accepted call is left."""

    def close(self) -> None:
        """Let go of what is held; it is idle and gets no more calls."""
