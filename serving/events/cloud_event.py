"""An event as receivers get it: CloudEvents 1.0, structured JSON over HTTP. Pure."""

import json
from datetime import UTC, datetime
from typing import Final

from serving.registry.announcing.event_types import severity_of
from serving.registry.announcing.outbox import OutboxEvent

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
SPEC_VERSION: Final = "1.0"


def cloud_event(event: OutboxEvent, source: str) -> dict[str, object]:
    """Return the event with the attributes of CloudEvents 1.0, and `severity`, an extension.

    Args:
        event: As it was recorded.
        source: A URI reference of the installation: with the id it is unique.
    """
    return {
        "specversion": SPEC_VERSION,
        "id": event.uid,
        "source": source,
        "type": event.type,
        "subject": event.subject,
        "time": rfc3339(event.at_utc),
        "datacontenttype": "application/json",
        "severity": severity_of(event.type).value,
        "data": json.loads(event.data),
    }


def encoded(event: OutboxEvent, source: str) -> bytes:
    """Return the body of the request: the same bytes for the same event and source."""
    text = json.dumps(cloud_event(event, source), ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def rfc3339(at_utc: datetime) -> str:
    """Return a moment as CloudEvents writes it."""
    return at_utc.astimezone(UTC).isoformat().replace("+00:00", "Z")
