"""The events of the outbox that tell of environments, newest last."""

from typing import Final

import sqlalchemy as sql

from serving.registry.announcing.outbox import TYPE, OutboxEvent, outbox_event
from serving.registry.schema import OUTBOX
from serving.registry.store import Registry

ENVIRONMENT: Final = TYPE.format(kind="env.changed")
MOST_READ: Final = 5000


def environment_events(registry: Registry) -> tuple[OutboxEvent, ...]:
    """Return what was told of environments, oldest first, for as long as events are kept."""
    query = sql.select(OUTBOX).where(OUTBOX.c.type == ENVIRONMENT)
    with registry.database.reading() as connection:
        rows = connection.execute(query.order_by(OUTBOX.c.id.desc()).limit(MOST_READ)).all()
    return tuple(map(outbox_event, rows))[::-1]
