"""What is said to the catalog's tables: every statement, on a connection that the caller holds.

A change raises the revision first (`begin_change`), so changes happen one after the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sql

from serving.ids import LIVE, VersionKey
from serving.registry.audit import MAX_WHO_CHARACTERS
from serving.registry.bundles.manifest import Manifest
from serving.registry.schema import ALIASES, EVENTS, MODELS, REVISION, VERSIONS


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
    manifest_json: str
    """The manifest as canonical JSON; empty for a version that an older Bascule pushed."""
    pushed_by: str
    archived_utc: datetime | None
    collected_utc: datetime | None
    """When `gc` removed its files; None: they are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name that stands for one version of a model."""

    model: str
    name: str
    version: int


def read_revision(connection: sql.Connection) -> int:
    """Return the number that rises with every change."""
    return int(connection.execute(sql.select(REVISION.c.number)).scalar_one())


def begin_change(connection: sql.Connection) -> None:
    """Raise the revision: other changes wait until this transaction ends."""
    connection.execute(sql.update(REVISION).values(number=REVISION.c.number + 1))


def hold_changes(connection: sql.Connection) -> None:
    """Let changes wait until this transaction ends, without one of our own."""
    connection.execute(sql.update(REVISION).values(number=REVISION.c.number))


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


def is_referenced(connection: sql.Connection, digest: str) -> bool:
    """Whether a version refers to the files of that digest."""
    query = sql.select(VERSIONS.c.digest).where(
        VERSIONS.c.digest == digest, VERSIONS.c.collected_utc.is_(None)
    )
    return connection.execute(query).first() is not None


def read_pushed(connection: sql.Connection) -> frozenset[VersionKey]:
    """Return every version whose push the audit log tells of."""
    query = sql.select(EVENTS.c.model, EVENTS.c.number).where(EVENTS.c.action == "push")
    return frozenset(VersionKey(row.model, row.number) for row in connection.execute(query))


def next_version(connection: sql.Connection, model: str) -> int:
    """Return the first number above all that the model has had."""
    query = sql.select(sql.func.max(VERSIONS.c.number)).where(VERSIONS.c.model == model)
    return int(connection.execute(query).scalar() or 0) + 1


def insert_version(
    connection: sql.Connection, manifest: Manifest, *, now_utc: datetime, who: str
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
            digest=manifest.digest(),
            content_digest=manifest.content_digest(),
            format=manifest.format,
            model_file=manifest.model_file,
            size_bytes=sum(file.size_bytes for file in manifest.files),
            config=manifest.config,
            wanted=True,
            created_utc=now,
            manifest=manifest.canonical().decode(),
            pushed_by=who[:MAX_WHO_CHARACTERS],
        )
    )


def want(connection: sql.Connection, model: str, version: int) -> bool:
    """Want a version; return whether it was archived before."""
    change = sql.update(VERSIONS).values(wanted=True, archived_utc=None, collected_utc=None)
    change = change.where(VERSIONS.c.model == model, VERSIONS.c.number == version)
    return connection.execute(change.where(~VERSIONS.c.wanted)).rowcount > 0


def archive(connection: sql.Connection, model: str, version: int | None, now_utc: datetime) -> bool:
    """Archive one version, or all (None); return whether one was wanted before."""
    change = sql.update(VERSIONS).values(wanted=False, archived_utc=now_utc.isoformat())
    change = change.where(VERSIONS.c.model == model, VERSIONS.c.wanted)
    if version is not None:
        change = change.where(VERSIONS.c.number == version)
    return connection.execute(change).rowcount > 0


def set_collected(connection: sql.Connection, model: str, version: int, now_utc: datetime) -> None:
    """Note that an archived version loses its files."""
    change = sql.update(VERSIONS).values(collected_utc=now_utc.isoformat())
    connection.execute(change.where(VERSIONS.c.model == model, VERSIONS.c.number == version))


def read_pins(connection: sql.Connection) -> Mapping[str, int]:
    """Return the promoted version of each model that has one."""
    query = sql.select(ALIASES.c.model, ALIASES.c.number).where(ALIASES.c.alias == LIVE)
    return {row.model: row.number for row in connection.execute(query)}


def read_aliases(connection: sql.Connection, model: str | None = None) -> tuple[Alias, ...]:
    """Return every alias, of a model or of all, `live` included, by model and name."""
    query = sql.select(ALIASES).order_by(ALIASES.c.model, ALIASES.c.alias)
    if model is not None:
        query = query.where(ALIASES.c.model == model)
    return tuple(
        Alias(model=row.model, name=row.alias, version=row.number)
        for row in connection.execute(query)
    )


def set_alias(connection: sql.Connection, model: str, name: str, version: int | None) -> int | None:
    """Let an alias name a version, or nothing any more (None); return what it named before."""
    where = (ALIASES.c.model == model, ALIASES.c.alias == name)
    before: int | None = connection.execute(sql.select(ALIASES.c.number).where(*where)).scalar()
    connection.execute(sql.delete(ALIASES).where(*where))
    if version is not None:
        row = {"model": model, "alias": name, "number": version}
        connection.execute(sql.insert(ALIASES).values(row))
    return before


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
        manifest_json=row.manifest,
        pushed_by=row.pushed_by,
        archived_utc=_moment(row.archived_utc),
        collected_utc=_moment(row.collected_utc),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
