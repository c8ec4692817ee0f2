"""The audit log as a chain: every event carries a hash of itself and of the event before it.

The hash is the sha256 of the event's canonical JSON: its columns and the previous event's hash,
keys sorted, no spaces, ASCII. Whoever changes, removes or inserts an event breaks the chain at that
place, and the newest hash (the head) stands for the whole log: noted elsewhere, it proves later
that nothing was rewritten. Migration 0002 chains older events in the same way.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sql

from serving.registry.announcing.change_events import announcement_of
from serving.registry.announcing.outbox import announce
from serving.registry.schema import EVENTS, REVISION

MAX_WHO_CHARACTERS: Final = 200
WHOLE_REGISTRY: Final = ""
"""The model of an event that is about the registry itself, such as its rules."""
NO_HASH: Final = ""
"""What the first event has in the place of a previous hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change, as it was recorded."""

    at_utc: datetime
    who: str
    action: str
    """`push`, `want`, `unwant`, `pin_live`, `unpin_live`, `alias`, `unalias`, `collect`, `waive`,
    `unwaive`, `rollout`, `rollout_step`, `approve`, `require_approvals`, `redeliver`, or one
    of `serving.registry.trust.rule_book`."""
    model: str
    """Empty: the whole registry."""
    version: int | None
    """None: all versions of the model."""
    detail: str = ""
    reason: str = ""
    """Why, in the words of who did it."""
    hash: str = ""
    """The chain up to here; empty before it is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What the chain was found to be."""

    event_count: int
    head: str
    """Hash of the newest event; empty if there is none."""
    broken: str = ""
    """The first event that does not fit, and why; empty: the chain is whole."""


def append(connection: sql.Connection, event: Event) -> Event:
    """Add an event at the end of the chain and return it as it was recorded.

    Receivers outside are told of it, unless it is of no interest, or told by somebody else.

    The caller holds the revision (`catalog.begin_change`): nobody else appends meanwhile.
    """
    last = sql.select(EVENTS.c.id, EVENTS.c.hash).order_by(EVENTS.c.id.desc()).limit(1)
    before = connection.execute(last).first()
    row = {
        "id": 1 if before is None else before.id + 1,
        "at_utc": event.at_utc.isoformat(),
        "who": event.who[:MAX_WHO_CHARACTERS],
        "action": event.action,
        "model": event.model,
        "number": event.version,
        "detail": event.detail,
        "reason": event.reason,
        "prev_hash": NO_HASH if before is None else before.hash,
    }
    row["hash"] = chained(row)
    connection.execute(sql.insert(EVENTS).values(row))
    connection.execute(sql.update(REVISION).values(audit_head=row["hash"]))
    told = announcement_of(event)
    if told is not None:
        announce(connection, told, event.at_utc)
    return event_of(row)


def read(connection: sql.Connection, model: str | None, limit: int) -> tuple[Event, ...]:
    """Return the latest events, of a model or of all, newest first."""
    query = sql.select(EVENTS).order_by(EVENTS.c.id.desc()).limit(limit)
    if model is not None:
        query = query.where(EVENTS.c.model == model)
    return tuple(event_of(dict(row)) for row in connection.execute(query).mappings())


def verify(connection: sql.Connection) -> Verified:
    """Follow the chain from its first event to its head; stop where it is broken."""
    query = sql.select(EVENTS).order_by(EVENTS.c.id)
    head, count = NO_HASH, 0
    for row in connection.execute(query).mappings():
        fault = _fault(dict(row), head)
        if fault:
            return Verified(event_count=count, head=head, broken=f"event {row['id']} {fault}")
        head, count = row["hash"], count + 1
    noted = connection.execute(sql.select(REVISION.c.audit_head)).scalar_one()
    broken = ""
    if noted != head:
        broken = f"the newest events are gone: the log ends after event {count}, before its head"
    return Verified(event_count=count, head=head, broken=broken)


def chained(row: dict[str, object]) -> str:
    """Return the hash of an event's row, its `prev_hash` included."""
    values = {key: value for key, value in row.items() if key != "hash"}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _fault(row: dict[str, object], head: str) -> str:
    told = f"({row['at_utc']}, {row['who']}: {row['action']} {row['model']})"
    if row["prev_hash"] != head:
        return f"{told} does not follow the event before it: events were removed or inserted"
    if row["hash"] != chained(row):
        return f"{told} is not what was recorded: it was changed afterwards"
    return ""


def event_of(row: dict[str, object]) -> Event:
    """Return a row of the log as an event."""
    number = row["number"]
    return Event(
        at_utc=datetime.fromisoformat(str(row["at_utc"])),
        who=str(row["who"]),
        action=str(row["action"]),
        model=str(row["model"]),
        version=None if number is None else int(str(number)),
        detail=str(row["detail"]),
        reason=str(row["reason"]),
        hash=str(row["hash"]),
    )
