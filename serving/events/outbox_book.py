"""The outbox as the courier and operators use it: each call one reading or one transaction.

Blocking, and safe for several processes at once. Nothing here raises the catalog's revision: that
an event was delivered is no change of what is served. Only what an operator orders is a change.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sql

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.events import deliveries, forgetting
from serving.events.deliveries import SENT, Claim, Delivery, DeliveryState
from serving.events.receivers import Receiver, Tally
from serving.registry import audit
from serving.registry.aliases import Author
from serving.registry.announcing.outbox import (
    Announcement,
    OutboxEvent,
    about,
    announce,
    outbox_event,
    read_events,
)
from serving.registry.schema import OUTBOX
from serving.registry.store import Registry

LEASE_S: Final = 30.0
"""A controller that died while it sent has its events sent by the next one after so long."""
KEPT_DAYS: Final = 90
"""Events that nobody waits for are kept so long."""
LEAST_PREFIX: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event and what became of it."""

    event: OutboxEvent
    deliveries: tuple[Delivery, ...]


class OutboxBook:
    """A registry's outbox."""

    def __init__(self, registry: Registry) -> None:
        """Keep it where the registry keeps everything."""
        self._registry = registry

    def tell(self, told: Announcement) -> str:
        """Record an event that goes with no other change; return its id."""
        with self._registry.database.noting() as connection:
            return announce(connection, told, self._registry.clock.utc_now())

    def tell_all(self, told: Sequence[Announcement]) -> None:
        """Record events that go with no other change: all of them, or none."""
        with self._registry.database.noting() as connection:
            for one in told:
                announce(connection, one, self._registry.clock.utc_now())

    def claim(self, receivers: Sequence[Receiver], room: Mapping[str, int]) -> tuple[Claim, ...]:
        """Hand new events out, and take those that are due.

        Args:
            receivers: Who is told now.
            room: How many more events each of them can be sent at this moment, by name.
        """
        now_utc = self._registry.clock.utc_now()
        with self._registry.database.reading() as connection:
            if not deliveries.has_news(connection, receivers, now_utc):
                return ()
        with self._registry.database.noting() as connection:
            deliveries.hand_out(connection, receivers, now_utc)
            return tuple(
                claimed
                for one in receivers
                for claimed in deliveries.claim(
                    connection, one.name, now_utc, limit=room.get(one.name, 0), lease_s=LEASE_S
                )
            )

    def resume(self, names: Sequence[str]) -> None:
        """Send at once what receivers wait for, whatever a courier before this one had planned."""
        now_utc = self._registry.clock.utc_now()
        with self._registry.database.noting() as connection:
            deliveries.resume(connection, names, now_utc)

    def delivered(self, claimed: Claim, told: str, *, hastens: bool) -> None:
        """Note that a receiver has an event.

        Args:
            claimed: The event.
            told: What it answered.
            hastens: It took none before: what it did not take is sent at once.
        """
        now_utc = self._registry.clock.utc_now()
        with self._registry.database.noting() as connection:
            deliveries.end(connection, claimed, DeliveryState.DELIVERED, told, now_utc)
            if hastens:
                deliveries.hasten(connection, claimed.receiver, now_utc)

    def postponed(self, claimed: Claim, told: str, pause_s: float) -> None:
        """Note that an event was not taken and is sent again."""
        due_utc = self._registry.clock.utc_now() + timedelta(seconds=pause_s)
        with self._registry.database.noting() as connection:
            deliveries.postpone(connection, claimed, told, due_utc)

    def given_up(self, claimed: Claim, why: str) -> None:
        """Note that an event is not sent any more."""
        now_utc = self._registry.clock.utc_now()
        with self._registry.database.noting() as connection:
            deliveries.end(connection, claimed, DeliveryState.DEAD, why, now_utc)

    def forget_old(self) -> int:
        """Remove old events that nobody waits for; return how many."""
        before_utc = self._registry.clock.utc_now() - timedelta(days=KEPT_DAYS)
        with self._registry.database.noting() as connection:
            return forgetting.forget_old(connection, before_utc)

    def drop_unnamed(self, named: Collection[str]) -> int:
        """Give up what others than these receivers wait for: see `forgetting.drop_unnamed`."""
        now_utc = self._registry.clock.utc_now()
        with self._registry.database.noting() as connection:
            return forgetting.drop_unnamed(connection, named, now_utc)

    def read(
        self, model: str | None = None, *, after_id: int | None = None, limit: int = 100
    ) -> tuple[Told, ...]:
        """Return events, oldest first, with what became of them: see `outbox.read_events`."""
        with self._registry.database.reading() as connection:
            events = read_events(connection, model=model, after_id=after_id, limit=limit)
            return _told(connection, events)

    def dead(self, model: str | None = None, *, limit: int = 100) -> tuple[Told, ...]:
        """Return the latest events that a receiver has not got for good, oldest first."""
        is_dead = sql.select(SENT.event).where(SENT.state == DeliveryState.DEAD)
        query = sql.select(OUTBOX).where(OUTBOX.c.id.in_(is_dead), about(model))
        with self._registry.database.reading() as connection:
            rows = connection.execute(query.order_by(OUTBOX.c.id.desc()).limit(limit))
            return _told(connection, [outbox_event(row) for row in rows][::-1])

    def tallies(self) -> dict[str, Tally]:
        """Count the events of each receiver that was ever told of one."""
        query = sql.select(SENT.receiver, SENT.state, sql.func.count()).group_by(
            SENT.receiver, SENT.state
        )
        counts: dict[str, dict[str, int]] = {}
        with self._registry.database.reading() as connection:
            for receiver, state, count in connection.execute(query):
                counts.setdefault(receiver, {})[DeliveryState(state).name.lower()] = count
        return {name: Tally(**each) for name, each in counts.items()}

    def newest_id(self) -> int:
        """Return the id of the newest event; 0: there is none."""
        with self._registry.database.reading() as connection:
            found = read_events(connection, limit=1)
        return found[-1].id if found else 0

    def redeliver(self, uid: str, receiver: str | None, author: Author) -> int:
        """Send an event again to whom it was for; return how many deliveries that are.

        Args:
            uid: Its id, or the beginning of it.
            receiver: Only this one; None: all.
            author: Who asks for it.

        Raises:
            NotFoundError: There is no such event, or it was not for that receiver.
            InvalidArgumentError: More than one id begins so.
        """
        with self._registry.database.changing() as connection:
            event = _named(connection, uid)
            where = SENT.event == event.id
            if receiver is not None:
                where = sql.and_(where, SENT.receiver == receiver)
            count = deliveries.redeliver(connection, where, self._registry.clock.utc_now())
            if count == 0:
                told = "any receiver" if receiver is None else f"'{receiver}'"
                raise NotFoundError(f"event {event.uid} was not for {told}: nothing is sent")
            self._note(connection, author, f"{event.uid} to {receiver or 'all'}")
        return count

    def redeliver_dead(self, receiver: str | None, author: Author) -> int:
        """Send again what was given up; return how many deliveries that are."""
        where = SENT.state == DeliveryState.DEAD
        if receiver is not None:
            where = sql.and_(where, SENT.receiver == receiver)
        with self._registry.database.changing() as connection:
            count = deliveries.redeliver(connection, where, self._registry.clock.utc_now())
            if count:
                self._note(connection, author, f"{count} dead to {receiver or 'all'}")
        return count

    def _note(self, connection: sql.Connection, author: Author, detail: str) -> None:
        registry, whole = self._registry, audit.WHOLE_REGISTRY
        event = registry.event(author.who, "redeliver", whole, None, detail, author.reason)
        audit.append(connection, event)


def _named(connection: sql.Connection, uid: str) -> OutboxEvent:
    if len(uid) < LEAST_PREFIX:
        raise InvalidArgumentError(f"'{uid}' is too short: an id's first {LEAST_PREFIX} characters")
    query = sql.select(OUTBOX).where(OUTBOX.c.uid.startswith(uid, autoescape=True)).limit(2)
    rows = connection.execute(query).all()
    if not rows:
        raise NotFoundError(f"there is no event '{uid}' (bascule events list)")
    if len(rows) > 1:
        raise InvalidArgumentError(f"several events' ids begin with '{uid}': write more of it")
    return outbox_event(rows[0])


def _told(connection: sql.Connection, events: Sequence[OutboxEvent]) -> tuple[Told, ...]:
    found = deliveries.read_deliveries(connection, [one.id for one in events])
    return tuple(
        Told(event=one, deliveries=tuple(each for each in found if each.event == one.id))
        for one in events
    )
