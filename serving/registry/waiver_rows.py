"""What is said to the table of waivers, on a connection that the caller holds.

A waiver is never deleted: to end one is to bring its end forward, so the number of those that are
over only rises, and whoever polls it notices every end.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sql

from runtimes.preflight.waivers import Waiver
from serving.registry.audit import MAX_WHO_CHARACTERS
from serving.registry.schema import WAIVERS


def read(connection: sql.Connection) -> tuple[Waiver, ...]:
    """Return every waiver, those that are over included, oldest first."""
    return _waivers(connection, ())


def count_over(connection: sql.Connection, now_utc: datetime) -> int:
    """Return how many are over."""
    query = sql.select(sql.func.count()).where(WAIVERS.c.until_utc <= now_utc.isoformat())
    return int(connection.execute(query).scalar_one())


def insert(connection: sql.Connection, waiver: Waiver, now_utc: datetime) -> None:
    """Add one."""
    row = {
        "code": waiver.code,
        "model": waiver.model,
        "number": waiver.version,
        "reason": waiver.reason,
        "granted_by": waiver.by[:MAX_WHO_CHARACTERS],
        "granted_utc": now_utc.isoformat(),
        "until_utc": waiver.until_utc.isoformat(),
    }
    connection.execute(sql.insert(WAIVERS).values(row))


def end(
    connection: sql.Connection, code: str, model: str, version: int | None, now_utc: datetime
) -> tuple[Waiver, ...]:
    """End those for a code and exactly this scope; return them as they were."""
    scope = (
        WAIVERS.c.code == code,
        WAIVERS.c.model == model,
        WAIVERS.c.number.is_(None) if version is None else WAIVERS.c.number == version,
        WAIVERS.c.until_utc > now_utc.isoformat(),
    )
    ended = _waivers(connection, scope)
    change = sql.update(WAIVERS).values(until_utc=now_utc.isoformat())
    connection.execute(change.where(*scope))
    return ended


def _waivers(
    connection: sql.Connection, scope: Sequence[sql.ColumnElement[bool]]
) -> tuple[Waiver, ...]:
    query = sql.select(WAIVERS).where(*scope).order_by(WAIVERS.c.id)
    return tuple(
        Waiver(
            code=row.code,
            model=row.model,
            version=row.number,
            reason=row.reason,
            by=row.granted_by,
            until_utc=datetime.fromisoformat(row.until_utc),
        )
        for row in connection.execute(query)
    )
