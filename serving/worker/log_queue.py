"""Answered calls on their way from the loop to the thread that writes the prediction log."""

import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final

import msgspec

from runtimes.contract import Array
from serving.monitor.log_counts import LogTally
from serving.predictions.record import Route
from serving.registry.policies.log_policy import LogPolicy
from serving.registry.version import ServedVersion
from serving.wire.call import InferCall
from serving.wire.padding import Padding

MAX_CALLS: Final = 4096
MANY_CALLS: Final = MAX_CALLS // 4
MAX_BYTES: Final = 64 << 20
"""What all waiting calls may keep from being freed."""


class TakenCall(msgspec.Struct, frozen=True):
    """An answered call on its way to the log."""

    id: str
    call: InferCall
    outputs: Sequence[Array]
    rows: int
    index: int
    first_row: int
    enqueued_ns: int
    route: Route
    is_sent: bool


class TakenBatch(msgspec.Struct, frozen=True):
    """The chosen calls of one batch."""

    version: "LoggedVersion"
    calls: Sequence[TakenCall]
    number: int
    """0: they were in no batch."""
    rows: int
    call_count: int
    moments_ns: tuple[int, int, int, int]
    """Begin, infer, split, end: on the monotonic clock."""
    held_bytes: int
    padded_length: int = 0
    """To which all calls of the batch were padded; 0: they were not."""


class LoggedVersion(msgspec.Struct, frozen=True, weakref=True):
    """A version whose calls are logged."""

    number: int
    served: ServedVersion
    policy: LogPolicy
    tally: LogTally
    padding: Padding | None = None


class CallQueue:
    """Calls that wait for the writer. One thread puts, one takes; neither ever waits for a lock."""

    def __init__(self, max_calls: int = MAX_CALLS, max_bytes: int = MAX_BYTES) -> None:
        """Begin empty."""
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._waiting: SimpleQueue[TakenBatch | None] = SimpleQueue()
        self.hurry = threading.Event()
        """Set when much waits, or somebody looks for an end."""
        # Two sums each: every one of them has a single writer.
        self._put_calls = self._put_bytes = 0
        self._taken_calls = self._taken_bytes = 0

    def put(self, batch: TakenBatch) -> bool:
        """Append a batch; False: there is no room."""
        calls, held = self._put_calls - self._taken_calls, self._put_bytes - self._taken_bytes
        calls, held = calls + len(batch.calls), held + batch.held_bytes
        if calls >= MANY_CALLS or held >= self._max_bytes // 4:
            self.hurry.set()
        if calls > self._max_calls or held > self._max_bytes:
            return False
        self._put_calls += len(batch.calls)
        self._put_bytes += batch.held_bytes
        self._waiting.put(batch)
        return True

    def take(self, timeout_s: float) -> TakenBatch | None:
        """Return the next batch; `done` must follow. None: there was none, or `wake`."""
        try:
            return self._waiting.get(timeout=timeout_s)
        except Empty:
            return None

    def wake(self) -> None:
        """Let who waits for a batch look around at once."""
        self.hurry.set()
        self._waiting.put(None)

    def done(self, batch: TakenBatch) -> None:
        """Give a batch's room back."""
        self._taken_calls += len(batch.calls)
        self._taken_bytes += batch.held_bytes

    @property
    def waiting_calls(self) -> int:
        """How many calls are not done."""
        return self._put_calls - self._taken_calls

    @property
    def is_empty(self) -> bool:
        """Whether everything that was put is done."""
        return self._put_calls == self._taken_calls
