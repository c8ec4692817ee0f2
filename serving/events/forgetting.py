"""What leaves the outbox: old events, and receivers whom nobody names any more.

Every statement runs on a connection that the caller holds.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sql

from serving.events.deliveries import SENT, DeliveryState
from serving.events.retrying import GIVE_UP_S
from serving.registry.schema import EVENT_DELIVERIES, EVENT_RECEIVERS, OUTBOX

UNNAMED: Final = "events.yaml no longer names this receiver"
MOST_AT_ONCE: Final = 1000


def forget_old(connection: sql.Connection, before_utc: datetime) -> int:
    """Remove events from before that moment that nobody waits for; return how many.

    The newest stays however old it is: SQLite gives the highest id again once its row is gone, and
    an event with an id that receivers have seen already would be told to nobody.
    """
    newest = sql.select(sql.func.max(OUTBOX.c.id)).scalar_subquery()
    waited_for = sql.select(SENT.event).where(SENT.state == DeliveryState.PENDING)
    old = sql.and_(
        OUTBOX.c.at_utc < before_utc.isoformat(),
        OUTBOX.c.id < newest,
        OUTBOX.c.id.not_in(waited_for),
    )
    query = sql.select(OUTBOX.c.id).where(old).limit(MOST_AT_ONCE)
    gone = list(connection.execute(query).scalars())
    connection.execute(sql.delete(EVENT_DELIVERIES).where(SENT.event.in_(gone)))
    connection.execute(sql.delete(OUTBOX).where(OUTBOX.c.id.in_(gone)))
    return len(gone)


def drop_unnamed(connection: sql.Connection, named: Collection[str], now_utc: datetime) -> int:
    """Give up what receivers that nobody names any more have waited for a day; return how much.

    Who is named again within the day misses nothing. Later, it is as one that was never known.

    Args:
        connection: Of a change.
        named: The names of all receivers that are told now.
        now_utc: The wall clock.
    """
    day_ago = (now_utc - timedelta(seconds=GIVE_UP_S)).isoformat()
    waits = sql.and_(
        SENT.receiver.not_in(named),
        SENT.state == DeliveryState.PENDING,
        SENT.since_utc <= day_ago,
    )
    dead = {"state": DeliveryState.DEAD, "told": UNNAMED, "ended_utc": now_utc.isoformat()}
    count = connection.execute(sql.update(EVENT_DELIVERIES).where(waits).values(dead)).rowcount
    missed = sql.exists().where(OUTBOX.c.id > EVENT_RECEIVERS.c.seen_id, OUTBOX.c.at_utc <= day_ago)
    unnamed = sql.and_(EVENT_RECEIVERS.c.name.not_in(named), missed)
    connection.execute(sql.delete(EVENT_RECEIVERS).where(unnamed))
    return count
