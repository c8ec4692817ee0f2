"""What a log line says of the calls that it is about: their ids, so that their callers find it."""

from collections.abc import Mapping, Sequence
from typing import Final

from serving.worker.queued import QueuedCall

MAX_CALLS: Final = 16
"""Of a batch; a line does not grow with it."""
MAX_LETTERS: Final = 128
TRACEPARENT_PARTS: Final = 4


def call_fields(call: QueuedCall) -> dict[str, str]:
    """Return the request id that a client gave and the id of its trace, where there are any."""
    asked = call.asked
    known = getattr(asked, "call", None)  # none before it was decoded
    headers: Mapping[bytes, bytes] = getattr(asked, "headers", {})
    parts = headers.get(b"traceparent", b"").split(b"-")
    trace = parts[1].decode("latin-1") if len(parts) == TRACEPARENT_PARTS else ""
    given = {"request_id": "" if known is None else known.id, "trace_id": trace}
    return {name: text[:MAX_LETTERS] for name, text in given.items() if text}


def batch_fields(batch: Sequence[QueuedCall]) -> dict[str, list[dict[str, str]]]:
    """Return the same of the first calls of a batch."""
    found = [fields for call in batch[:MAX_CALLS] if (fields := call_fields(call))]
    return {"calls": found} if found else {}
