"""Pure: may this call enter the queue? Full means refused now, before anything was executed."""

from dataclasses import dataclass

from runtimes.errors import BasculeError
from serving.errors import DrainingError, QueueFullError


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


def draining_error() -> DrainingError:
    """Return the refusal of a worker that is on its way out."""
    return DrainingError(
        "Server is stopping, scheduler for model has stopped accepting new inference requests; "
        "nothing was executed, retry"
    )
