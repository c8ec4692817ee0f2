"""How events and receivers are shown."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from serving.cli.tables import plain_table
from serving.events.cloud_event import cloud_event
from serving.events.deliveries import Delivery, DeliveryState
from serving.events.outbox_book import Told
from serving.events.receivers import Receiver, Tally
from serving.registry.announcing.event_types import EventType, Severity, kind_of, severity_of
from serving.registry.announcing.outbox import OutboxEvent

SHOWN_ID: Final = 8
COLOURS: Final = {
    DeliveryState.DELIVERED: "green",
    DeliveryState.PENDING: "yellow",
    DeliveryState.DEAD: "red",
}

SEVERITIES: Final = {Severity.INFO: "", Severity.WARNING: "yellow", Severity.CRITICAL: "red"}


def events_view(found: Iterable[Told]) -> Table:
    """Return what `bascule events list` shows."""
    table = _table("id", "when (UTC)", "event", "subject", "by", "why", "receivers")
    for one in found:
        data = _data(one.event)
        table.add_row(
            one.event.uid[:SHOWN_ID],
            f"{one.event.at_utc:%Y-%m-%d %H:%M:%S}",
            _kind(one.event.type),
            Text(one.event.subject),
            Text(str(data.get("who", ""))),
            Text(_why(data)),
            Text("\n").join(map(_delivery, one.deliveries)),
        )
    return table


def receivers_view(found: Iterable[Receiver], tallies: Mapping[str, Tally]) -> Table:
    """Return what `bascule events receivers` shows."""
    table = _table("receiver", "url", "types", "from", "subjects", "delivered", "pending", "dead")
    for one in found:
        tally = tallies.get(one.name, Tally())
        table.add_row(
            one.name,
            Text(url_text(one.url)),
            Text("\n".join(one.types)),
            _severity(one.min_severity),
            Text("\n".join(one.subjects)),
            str(tally.delivered),
            Text(str(tally.pending), style="yellow" if tally.pending else ""),
            Text(str(tally.dead), style="red" if tally.dead else ""),
        )
    return table


def types_view(found: Iterable[EventType]) -> Table:
    """Return what `bascule events types` shows."""
    table = _table("event", "severity", "when")
    for one in found:
        table.add_row(one.kind, _severity(one.severity), Text(one.text))
    return table


def tail_line(event: OutboxEvent) -> str:
    """Return an event in one line."""
    data = _data(event)
    words = (
        f"{event.at_utc:%H:%M:%S}.{event.at_utc.microsecond // 1000:03}",
        event.uid[:SHOWN_ID],
        kind_of(event.type),
        event.subject,
        str(data.get("who", "")),
        _why(data),
    )
    return "  ".join(words).rstrip()


def event_json(told: Told, source: str) -> dict[str, Any]:
    """Return an event and what became of it, for programs."""
    return {"event": cloud_event(told.event, source), "deliveries": told.deliveries}


def receiver_json(receiver: Receiver, tally: Tally | None) -> dict[str, Any]:
    """Return a receiver and how it stands, for programs."""
    return {
        "name": receiver.name,
        "url": url_text(receiver.url),
        "types": receiver.types,
        "min_severity": receiver.min_severity,
        "subjects": receiver.subjects,
        "events": tally or Tally(),
    }


def url_text(url: str) -> str:
    """Return a URL without what follows its path, which may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}{'?…' if parts.query else ''}"


def _table(*columns: str) -> Table:
    return plain_table(columns, whole={"id", "event"})


def _kind(event_type: str) -> Text:
    return Text(kind_of(event_type), style=SEVERITIES[severity_of(event_type)])


def _severity(severity: Severity) -> Text:
    return Text(severity.value, style=SEVERITIES[severity])


def _delivery(found: Delivery) -> Text:
    attempts = f" after {found.attempt_count} attempts" if found.attempt_count > 1 else ""
    is_taken = found.state is DeliveryState.DELIVERED
    told = f": {found.told}" if found.told and not is_taken else ""
    return Text.assemble(
        f"{found.receiver} ", (found.state.value, COLOURS[found.state]), f"{attempts}{told}"
    )


def _why(data: Mapping[str, Any]) -> str:
    """Return what somebody said of a change, or what an alarm says."""
    return str(data.get("reason") or data.get("text", ""))


def _data(event: OutboxEvent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.data)
    return found
