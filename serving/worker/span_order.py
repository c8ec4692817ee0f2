"""Where a worker's spans go. By itself: the command line is read before anything is imported."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanOrder:
    """Where spans go, and of which calls."""

    endpoint: str
    """Of OTLP over HTTP, without `/v1/traces`."""
    share: float
    """Of the calls without a trace context."""
