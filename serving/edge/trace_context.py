"""W3C trace context of calls that are sent into the edge again: it goes with them unchanged."""

from collections.abc import Iterable
from typing import Final

NAMES: Final = frozenset({"traceparent", "tracestate"})


def trace_context(headers: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Return what a call's headers, or its metadata, say of its trace.

    Args:
        headers: Names in lower case.
    """
    return {key: str(value) for key, value in headers if key in NAMES}
