"""What receivers outside are told of labels: that a version has become worse, once."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sql

from serving.ids import VersionKey
from serving.registry.announcing.outbox import TYPE, Announcement, announce
from serving.registry.rollouts.events import subject_of
from serving.registry.schema import OUTBOX

DROP = "label.drop"


def announce_drop(
    connection: sql.Connection, key: VersionKey, data: Mapping[str, object], at_utc: datetime
) -> bool:
    """Tell of a version's drop, unless the outbox has told of it; return whether it was new.

    The caller holds the revision.
    """
    subject = subject_of(key)
    told = sql.select(OUTBOX.c.id).where(
        OUTBOX.c.type == TYPE.format(kind=DROP), OUTBOX.c.subject == subject
    )
    if connection.execute(told.limit(1)).first() is not None:
        return False
    announce(connection, Announcement(kind=DROP, subject=subject, data=data), at_utc)
    return True
