"""What is said to the catalog's tables: every statement, on a connection that the caller holds.

A change raises the revision first (`begin_change`), so changes happen one after the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sql

from serving.registry.manifest import Manifest
from serving.registry.schema import ALIASES, EVENTS, MODELS, REVISION, VERSIONS

LIVE: Final = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """A version of the catalog."""

    model: str
    version: int
    digest: str
    content_digest: str
    """Equal for versions that serve the same: only number or packing differ."""
    format: str
    model_file: str
    size_bytes: int
    config: str
    wanted: bool
    """False: archived."""
    created_utc: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change, as it was recorded."""

    at_utc: datetime
    who: str
    action: str
    """`push`, `want`, `unwant`, `pin_live` or `unpin_live`."""
    model: str
    version: int | None
    """None: all versions of the model."""
    detail: str


def read_revision(connection: sql.Connection) -> int:
    """Return the number that rises with every change."""
    return int(connection.execute(sql.select(REVISION.c.number)).scalar_one())


def begin_change(connection: sql.Connection) -> None:
    """Raise the revision: other changes wait until this transaction ends."""
    connection.execute(sql.update(REVISION).values(number=REVISION.c.number + 1))


def read_models(connection: sql.Connection) -> frozenset[str]:
    """Return every model that was pushed once."""
    return frozenset(connection.execute(sql.select(MODELS.c.name)).scalars())


def read_version(connection: sql.Connection, model: str, version: int) -> RegisteredVersion | None:
    """Return one version, wanted or archived."""
    query = sql.select(VERSIONS).where(VERSIONS.c.model == model, VERSIONS.c.number == version)
    row = connection.execute(query).first()
    return None if row is None else _registered(row)


def read_versions(
    connection: sql.Connection, model: str | None = None, *, only_wanted: bool = False
) -> tuple[RegisteredVersion, ...]:
    """Return the versions of a model, or of all, by model and number."""
    query = sql.select(VERSIONS).order_by(VERSIONS.c.model, VERSIONS.c.number)
    if model is not None:
        query = query.where(VERSIONS.c.model == model)
    if only_wanted:
        query = query.where(VERSIONS.c.wanted)
    return tuple(_registered(row) for row in connection.execute(query))


def next_version(connection: sql.Connection, model: str) -> int:
    """Return the first number above all that the model has had."""
    query = sql.select(sql.func.max(VERSIONS.c.number)).where(VERSIONS.c.model == model)
    return int(connection.execute(query).scalar() or 0) + 1


def insert_version(
    connection: sql.Connection, manifest: Manifest, digest: str, now_utc: datetime
) -> None:
    """Add a version, wanted from now on, and its model where that is new."""
    now = now_utc.isoformat()
    known = sql.select(MODELS.c.name).where(MODELS.c.name == manifest.name)
    if connection.execute(known).first() is None:
        connection.execute(sql.insert(MODELS).values(name=manifest.name, created_utc=now))
    connection.execute(
        sql.insert(VERSIONS).values(
            model=manifest.name,
            number=manifest.version,
            digest=digest,
            content_digest=manifest.content_digest(),
            format=manifest.format,
            model_file=manifest.model_file,
            size_bytes=sum(file.size_bytes for file in manifest.files),
            config=manifest.config,
            wanted=True,
            created_utc=now,
        )
    )


def set_wanted(
    connection: sql.Connection, model: str, version: int | None, *, is_wanted: bool
) -> bool:
    """Want or archive one version, or all (None); return whether that changed anything."""
    change = sql.update(VERSIONS).values(wanted=is_wanted)
    change = change.where(VERSIONS.c.model == model, VERSIONS.c.wanted != is_wanted)
    if version is not None:
        change = change.where(VERSIONS.c.number == version)
    return connection.execute(change).rowcount > 0


def read_pins(connection: sql.Connection) -> Mapping[str, int]:
    """Return the promoted version of each model that has one."""
    query = sql.select(ALIASES.c.model, ALIASES.c.number).where(ALIASES.c.alias == LIVE)
    return {row.model: row.number for row in connection.execute(query)}


def set_pin(connection: sql.Connection, model: str, version: int | None) -> int | None:
    """Store a promotion, or forget it (None); return the one before."""
    where = (ALIASES.c.model == model, ALIASES.c.alias == LIVE)
    before: int | None = connection.execute(sql.select(ALIASES.c.number).where(*where)).scalar()
    connection.execute(sql.delete(ALIASES).where(*where))
    if version is not None:
        row = {"model": model, "alias": LIVE, "number": version}
        connection.execute(sql.insert(ALIASES).values(row))
    return before


def record_event(connection: sql.Connection, event: Event) -> None:
    """Add an event; none is ever changed or removed."""
    connection.execute(
        sql.insert(EVENTS).values(
            at_utc=event.at_utc.isoformat(),
            who=event.who[:200],
            action=event.action,
            model=event.model,
            number=event.version,
            detail=event.detail,
        )
    )


def read_events(connection: sql.Connection, model: str | None, limit: int) -> tuple[Event, ...]:
    """Return the latest events, of a model or of all, newest first."""
    query = sql.select(EVENTS).order_by(EVENTS.c.id.desc()).limit(limit)
    if model is not None:
        query = query.where(EVENTS.c.model == model)
    return tuple(
        Event(
            at_utc=datetime.fromisoformat(row.at_utc),
            who=row.who,
            action=row.action,
            model=row.model,
            version=row.number,
            detail=row.detail,
        )
        for row in connection.execute(query)
    )


def _registered(row: sql.Row[tuple[object, ...]]) -> RegisteredVersion:
    return RegisteredVersion(
        model=row.model,
        version=row.number,
        digest=row.digest,
        content_digest=row.content_digest,
        format=row.format,
        model_file=row.model_file,
        size_bytes=row.size_bytes,
        config=row.config,
        wanted=row.wanted,
        created_utc=datetime.fromisoformat(row.created_utc),
    )
