"""The outbox: events that receivers outside are told, recorded with the change that they tell of.

Whoever changes something worth telling calls `announce` on the connection of the change: both are
in the catalog, or neither. So a process that dies at any moment loses no event, and invents none.
Who is told, and how, is `serving.events`' part.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sql

from serving.registry.announcing.event_types import PREFIX, SUFFIX
from serving.registry.schema import OUTBOX

TYPE: Final = f"{PREFIX}{{kind}}{SUFFIX}"
MAX_DATA_CHARACTERS: Final = 64_000
"""Longer data loses its longest fields; `left_out` names them."""
MAX_SUBJECT_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What shall be told."""

    kind: str
    """The middle of the event's type, such as `rollout.canary`: one of `event_types`."""
    subject: str
    """What it is about, such as `resnet/3`: events of one subject are told in their order."""
    data: Mapping[str, object]
    """Of JSON's types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEvent:
    """An event as it was recorded."""

    id: int
    """Rises with every event of the catalog."""
    uid: str
    """What receivers tell it by; the same whenever it is sent."""
    type: str
    subject: str
    at_utc: datetime
    data: str
    """A JSON object."""


def announce(connection: sql.Connection, told: Announcement, at_utc: datetime) -> str:
    """Record an event with the change that the connection is about to make; return its id.

    The caller holds the revision (`catalog.begin_change`): ids rise in the order of the changes.
    """
    row = {
        "uid": str(uuid.uuid4()),
        "type": TYPE.format(kind=told.kind),
        "subject": told.subject[:MAX_SUBJECT_CHARACTERS],
        "at_utc": at_utc.isoformat(),
        "data": bounded(told.data),
    }
    connection.execute(sql.insert(OUTBOX).values(row))
    return row["uid"]


def read_events(
    connection: sql.Connection,
    *,
    model: str | None = None,
    after_id: int | None = None,
    limit: int = 100,
) -> tuple[OutboxEvent, ...]:
    """Return events, oldest first.

    Args:
        connection: Of a reading.
        model: Only those about this model or its versions; None: all.
        after_id: The first that came after that one; None: the latest.
        limit: At most so many.
    """
    query = sql.select(OUTBOX).where(about(model)).limit(limit)
    if after_id is not None:
        rows = connection.execute(query.where(OUTBOX.c.id > after_id).order_by(OUTBOX.c.id))
        return tuple(map(outbox_event, rows))
    rows = connection.execute(query.order_by(OUTBOX.c.id.desc()))
    return tuple(map(outbox_event, rows))[::-1]


def bounded(data: Mapping[str, object]) -> str:
    """Write data as JSON that is not too long."""
    texts = {name: _text(value) for name, value in data.items()}
    left_out: list[str] = []
    while sum(map(len, texts.values())) > MAX_DATA_CHARACTERS:
        longest = max(texts, key=lambda name: len(texts[name]))
        left_out.append(longest)
        del texts[longest]
    kept = {name: value for name, value in data.items() if name in texts}
    return _text({**kept, "left_out": left_out} if left_out else kept)


def about(model: str | None) -> sql.ColumnElement[bool]:
    """Return what holds for events about a model or its versions; None: for all."""
    if model is None:
        return sql.true()
    is_version = OUTBOX.c.subject.startswith(f"{model}/", autoescape=True)
    return sql.or_(OUTBOX.c.subject == model, is_version)


def outbox_event(row: sql.Row[tuple[object, ...]]) -> OutboxEvent:
    """Build the record of a row that has the outbox's columns."""
    return OutboxEvent(
        id=row.id,
        uid=row.uid,
        type=row.type,
        subject=row.subject,
        at_utc=datetime.fromisoformat(row.at_utc),
        data=row.data,
    )


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
