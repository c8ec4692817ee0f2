"""Which receiver has which event: every statement, on a connection that the caller holds.

A receiver gets a subject's events one after the other. The oldest that is PENDING is the only one
that is sent; the next one waits until it is DELIVERED or DEAD. Whoever sends claims the delivery
first: its attempt is counted and it is due again later, so that of two controllers only one sends,
and a controller that dies while it sends leaves the delivery to the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sql

from serving.events.receivers import Receiver
from serving.events.retrying import LONGEST_ASKED_PAUSE_S
from serving.registry.announcing.outbox import OutboxEvent, outbox_event
from serving.registry.schema import EVENT_DELIVERIES, EVENT_RECEIVERS, OUTBOX

SENT: Final = EVENT_DELIVERIES.c
LONGEST_WAIT_S: Final = LONGEST_ASKED_PAUSE_S + 60.0
"""No event is due later than that: a pause, and what statements take."""
ON_ITS_WAY: Final = ""
"""What is told of an attempt while it is made, and before the first."""


class DeliveryState(StrEnum):
    """How far an event is with a receiver."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"
    """Given up; `bascule events redeliver` sends it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An event that is to be sent to a receiver now, by whoever holds this."""

    event: OutboxEvent
    receiver: str
    attempt_count: int
    """This attempt included."""
    since_utc: datetime
    """When the receiver was to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far an event is with a receiver."""

    event: int
    receiver: str
    state: DeliveryState
    attempt_count: int
    since_utc: datetime
    due_utc: datetime
    """When it is sent next, while it is PENDING."""
    ended_utc: datetime | None
    told: str
    """What came of the last attempt."""


def has_news(connection: sql.Connection, receivers: Sequence[Receiver], now_utc: datetime) -> bool:
    """Whether an event is not handed out yet, or one is due."""
    newest = _newest_id(connection)
    seen = {row.name: row.seen_id for row in connection.execute(sql.select(EVENT_RECEIVERS))}
    if any(seen.get(one.name, -1) < newest for one in receivers):
        return True
    names = [one.name for one in receivers]
    return bool(connection.execute(_due(names, now_utc).limit(1)).first())


def hand_out(connection: sql.Connection, receivers: Sequence[Receiver], now_utc: datetime) -> None:
    """Note which receivers are to get the events that were recorded since the last time.

    A receiver that was not known is told of what comes from now on.
    """
    newest = _newest_id(connection)
    seen = {row.name: row.seen_id for row in connection.execute(sql.select(EVENT_RECEIVERS))}
    for one in receivers:
        if one.name not in seen:
            row = {"name": one.name, "seen_id": newest}
            connection.execute(sql.insert(EVENT_RECEIVERS).values(row))
        elif seen[one.name] < newest:
            _hand_out_to(connection, one, seen[one.name], now_utc)
            mine = EVENT_RECEIVERS.c.name == one.name
            connection.execute(sql.update(EVENT_RECEIVERS).where(mine).values(seen_id=newest))


def claim(
    connection: sql.Connection, name: str, now_utc: datetime, *, limit: int, lease_s: float
) -> tuple[Claim, ...]:
    """Take events that are due to a receiver, at most one of each subject.

    Args:
        connection: Of a change.
        name: The receiver's.
        now_utc: The wall clock.
        limit: At most so many.
        lease_s: Whoever claims has so long to send it before others may.
    """
    rows = connection.execute(_due([name], now_utc).limit(limit)).all()
    later = (now_utc + timedelta(seconds=lease_s)).isoformat()
    for row in rows:
        mine = sql.update(EVENT_DELIVERIES).where(SENT.event == row.id, SENT.receiver == name)
        values = {"due_utc": later, "attempt_count": row.attempt_count + 1, "told": ON_ITS_WAY}
        connection.execute(mine.values(values))
    return tuple(
        Claim(
            event=outbox_event(row),
            receiver=name,
            attempt_count=row.attempt_count + 1,
            since_utc=datetime.fromisoformat(row.since_utc),
        )
        for row in rows
    )


def end(
    connection: sql.Connection, claimed: Claim, state: DeliveryState, told: str, now_utc: datetime
) -> None:
    """Note that an event is delivered, or given up."""
    values = {"state": state, "told": told, "ended_utc": now_utc.isoformat()}
    _note(connection, claimed, values)


def postpone(connection: sql.Connection, claimed: Claim, told: str, due_utc: datetime) -> None:
    """Note when an event that was not taken is sent again."""
    _note(connection, claimed, {"told": told, "due_utc": due_utc.isoformat()})


def hasten(connection: sql.Connection, name: str, now_utc: datetime) -> None:
    """Let all that a receiver did not take be due: it takes events again."""
    waits = sql.and_(SENT.receiver == name, SENT.state == DeliveryState.PENDING)
    is_failed = sql.and_(SENT.attempt_count > 0, SENT.told != ON_ITS_WAY)
    late = sql.update(EVENT_DELIVERIES).where(waits, is_failed, SENT.due_utc > now_utc.isoformat())
    connection.execute(late.values(due_utc=now_utc.isoformat()))


def resume(connection: sql.Connection, names: Sequence[str], now_utc: datetime) -> None:
    """Let all that receivers wait for be due, also what a controller that is gone has claimed."""
    waits = sql.and_(SENT.receiver.in_(names), SENT.state == DeliveryState.PENDING)
    late = sql.update(EVENT_DELIVERIES).where(waits, SENT.due_utc > now_utc.isoformat())
    connection.execute(late.values(due_utc=now_utc.isoformat()))


def redeliver(connection: sql.Connection, where: sql.ColumnElement[bool], now_utc: datetime) -> int:
    """Send deliveries again as if never sent; return how many."""
    again = sql.update(EVENT_DELIVERIES).where(where).values(_never_sent(now_utc))
    return connection.execute(again).rowcount


def read_deliveries(connection: sql.Connection, events: Sequence[int]) -> tuple[Delivery, ...]:
    """Return how far events are with each receiver that gets them."""
    query = sql.select(EVENT_DELIVERIES).where(SENT.event.in_(events))
    rows = connection.execute(query.order_by(SENT.event, SENT.receiver))
    return tuple(
        Delivery(
            event=row.event,
            receiver=row.receiver,
            state=DeliveryState(row.state),
            attempt_count=row.attempt_count,
            since_utc=datetime.fromisoformat(row.since_utc),
            due_utc=datetime.fromisoformat(row.due_utc),
            ended_utc=None if row.ended_utc is None else datetime.fromisoformat(row.ended_utc),
            told=row.told,
        )
        for row in rows
    )


def _newest_id(connection: sql.Connection) -> int:
    return int(connection.execute(sql.select(sql.func.max(OUTBOX.c.id))).scalar() or 0)


def _due(names: Sequence[str], now_utc: datetime) -> sql.Select[tuple[object, ...]]:
    """Select what may be sent now: of each receiver's subjects the oldest, if it is due.

    So is what would wait for longer than anything does: the clock was set back meanwhile.
    """
    latest_utc = now_utc + timedelta(seconds=LONGEST_WAIT_S)
    is_due = sql.or_(SENT.due_utc <= now_utc.isoformat(), SENT.due_utc > latest_utc.isoformat())
    first = (
        sql.select(SENT.receiver, sql.func.min(SENT.event).label("event"))
        .where(SENT.state == DeliveryState.PENDING, SENT.receiver.in_(names))
        .group_by(SENT.receiver, SENT.subject)
        .subquery()
    )
    is_first = sql.and_(SENT.event == first.c.event, SENT.receiver == first.c.receiver)
    return (
        sql.select(OUTBOX, SENT.receiver, SENT.attempt_count, SENT.since_utc)
        .join_from(EVENT_DELIVERIES, first, is_first)
        .join(OUTBOX, OUTBOX.c.id == SENT.event)
        .where(is_due)
        .order_by(OUTBOX.c.id)
    )


def _hand_out_to(
    connection: sql.Connection, receiver: Receiver, seen_id: int, now_utc: datetime
) -> None:
    columns = (OUTBOX.c.id, OUTBOX.c.type, OUTBOX.c.subject)
    query = sql.select(*columns).where(OUTBOX.c.id > seen_id).order_by(OUTBOX.c.id)
    fresh = _never_sent(now_utc)
    rows = [
        {"event": row.id, "receiver": receiver.name, "subject": row.subject, **fresh}
        for row in connection.execute(query)
        if receiver.wants(row.type, row.subject)
    ]
    if rows:
        connection.execute(sql.insert(EVENT_DELIVERIES), rows)


def _never_sent(now_utc: datetime) -> dict[str, object]:
    """The columns of a delivery that begins now."""
    now = now_utc.isoformat()
    return {
        "state": DeliveryState.PENDING,
        "attempt_count": 0,
        "since_utc": now,
        "due_utc": now,
        "ended_utc": None,
        "told": ON_ITS_WAY,
    }


def _note(connection: sql.Connection, claimed: Claim, values: Mapping[str, object]) -> None:
    """Write what came of a claim, if nobody has claimed or ended it since."""
    mine = sql.and_(
        SENT.event == claimed.event.id,
        SENT.receiver == claimed.receiver,
        SENT.state == DeliveryState.PENDING,
        SENT.attempt_count == claimed.attempt_count,
    )
    connection.execute(sql.update(EVENT_DELIVERIES).where(mine).values(dict(values)))
