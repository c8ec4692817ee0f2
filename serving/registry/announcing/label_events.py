"""What receivers outside are told of labels: that a version has become worse, once."""

import json
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
    """Tell of a drop, unless the outbox has told of it; return whether it was new.

    Of each output of a version one is told, and one of each if the version's files are others: the
    data's `output` and `digest` say which. The caller holds the revision.
    """
    subject = subject_of(key)
    told = sql.select(OUTBOX.c.data).where(
        OUTBOX.c.type == TYPE.format(kind=DROP), OUTBOX.c.subject == subject
    )
    asked = _what_of(data)
    if any(_what_of(json.loads(each)) == asked for each in connection.scalars(told)):
        return False
    announce(connection, Announcement(kind=DROP, subject=subject, data=data), at_utc)
    return True


def _what_of(data: Mapping[str, object]) -> tuple[object, object]:
    return data.get("output"), data.get("digest")
