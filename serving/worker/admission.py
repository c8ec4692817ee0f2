"""Pure: may this call enter the queue? What cannot is refused now, before anything was executed."""

from dataclasses import dataclass
from math import ceil
from typing import Final

from runtimes.errors import BasculeError
from serving.errors import DeadlineError, DrainingError, QueueFullError, QueueTimeoutError
from serving.worker.forecast import Outlook, Timed

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """Bounds of what may wait."""

    max_rows: int
    """Rows that may wait for one version; 0: no bound."""
    max_bytes: int
    """Bytes of tensors that may wait in the whole process."""
    max_calls: int = 0
    """Calls that may wait for one version (Triton's max_queue_size); 0: no bound."""


def refusal(
    limits: QueueLimits, queued_rows: int, rows: int, queued_bytes: int, call_bytes: int
) -> BasculeError | None:
    """Return why a call may not enter, or None.

    A call that finds nothing waiting always enters: a bound smaller than one call must not make
    the version useless.

    Args:
        limits: The bounds.
        queued_rows: Rows that wait for the version.
        rows: Rows of the call.
        queued_bytes: Bytes that wait in the process.
        call_bytes: Bytes of the call.
    """
    if limits.max_rows and queued_rows and queued_rows + rows > limits.max_rows:
        return QueueFullError(
            f"Exceeds maximum queue size: {queued_rows} of {limits.max_rows} rows wait and the "
            f"call has {rows}; nothing was executed, retry later"
        )
    if queued_bytes and queued_bytes + call_bytes > limits.max_bytes:
        return QueueFullError(
            f"Exceeds maximum queue size: {queued_bytes} of {limits.max_bytes} bytes wait and the "
            f"call has {call_bytes}; nothing was executed, retry later"
        )
    return None


def crowd_refusal(limits: QueueLimits, queued_calls: int) -> BasculeError | None:
    """Return why one more call may not wait, where calls are counted; None if it may."""
    if not limits.max_calls or queued_calls < limits.max_calls:
        return None
    return QueueFullError(
        f"Exceeds maximum queue size: {queued_calls} of {limits.max_calls} calls wait; nothing was "
        "executed, retry later"
    )


def late_refusal(call: Timed, outlook: Outlook, now_ns: int) -> BasculeError | None:
    """Return why a call may not enter that would come too late, or None.

    What can begin at once always enters: else a cost that was overestimated would never be
    measured again.

    Args:
        call: It may have a deadline.
        outlook: What it has before it.
        now_ns: The clock.
    """
    if outlook.begin_ns <= now_ns or not outlook.misses(call):
        return None
    return hopeless_error(call, outlook, now_ns)


def hopeless_error(call: Timed, outlook: Outlook, now_ns: int) -> BasculeError:
    """Return the refusal of a call that will come too late."""
    left_ms = max(call.deadline_ns - now_ns, 0) / NS_PER_MS
    if call.has_grpc_deadline:
        end_ms = (outlook.end_ns - now_ns) / NS_PER_MS
        return DeadlineError(
            f"Deadline Exceeded: it has {left_ms:.1f} ms left, and could be answered in "
            f"{end_ms:.1f} ms; nothing was executed"
        )
    wait_ns = outlook.begin_ns - now_ns
    return QueueTimeoutError(
        f"Request timeout expired: it may wait {left_ms:.1f} ms, and would wait "
        f"{wait_ns / NS_PER_MS:.1f} ms; nothing was executed, retry later",
        retry_after_s=max(1, ceil(wait_ns / NS_PER_S)),
    )


def expired_error(call: Timed) -> BasculeError:
    """Return the refusal of a call whose time in the queue is over."""
    if call.has_grpc_deadline:
        return DeadlineError("Deadline Exceeded")
    return QueueTimeoutError("Request timeout expired")


def draining_error() -> DrainingError:
    """Return the refusal of a worker that is on its way out."""
    return DrainingError(
        "Server is stopping, scheduler for model has stopped accepting new inference requests; "
        "nothing was executed, retry"
    )
