"""Garbage: which bundles nobody refers to any more, and how they go.

A bundle stays while a version refers to it. A version stops doing so when it is collected itself,
which needs all of: it is archived since `keep_days`, has no alias, is not deployed, and no rollout
is going to load it. Its row stays for ever, and says when its files went. Rows change first, files
go afterwards: whoever is killed in between leaves bundles that the next collection finds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sql

from serving.ids import VersionKey
from serving.registry import audit, catalog
from serving.registry.catalog import Alias, RegisteredVersion
from serving.registry.rollouts import rows as rollout_rows
from serving.registry.store import Registry

KEEP_DAYS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may go."""

    keep_days: float = KEEP_DAYS
    takes_archived: bool = False
    """Versions that were archived longer ago than `keep_days` lose their files."""
    deployed: frozenset[VersionKey] = frozenset()
    """What an instance still has loaded."""
    is_dry: bool = False
    """Only tell what would go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What went, or would go."""

    bundles: tuple[str, ...]
    """Digests."""
    size_bytes: int
    versions: tuple[VersionKey, ...]
    """Archived versions whose files went."""
    abandoned_count: int
    """Processes that had been killed and left something half done."""


def referenced(rows: Iterable[RegisteredVersion]) -> frozenset[str]:
    """Return the digests that versions refer to."""
    return frozenset(row.digest for row in rows if row.collected_utc is None)


def collectable(
    rows: Iterable[RegisteredVersion], aliases: Iterable[Alias], rules: Rules, now_utc: datetime
) -> tuple[RegisteredVersion, ...]:
    """Return the archived versions that may lose their files."""
    if not rules.takes_archived:
        return ()
    kept = rules.deployed | {VersionKey(alias.model, alias.version) for alias in aliases}
    latest = _before(now_utc, rules.keep_days)
    return tuple(
        row
        for row in rows
        if not row.wanted
        and row.collected_utc is None
        and row.archived_utc is not None
        and row.archived_utc <= latest
        and VersionKey(row.model, row.version) not in kept
    )


def _before(now_utc: datetime, days: float) -> datetime:
    """Return the moment so many days ago; the beginning of time if that is later."""
    try:
        return now_utc - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def collect(registry: Registry, rules: Rules, who: str) -> Collected:
    """Remove what may go; safe beside pushes and other collections, and when it is killed."""
    if rules.is_dry:
        return _foreseen(registry, rules)
    versions = _collect_versions(registry, rules, who)
    sizes = {digest: registry.blobs.size_bytes(digest) for digest in registry.blobs.digests()}
    gone = [digest for digest in sorted(sizes) if _discard_unreferenced(registry, digest)]
    return Collected(
        bundles=tuple(gone),
        size_bytes=sum(sizes[digest] for digest in gone),
        versions=versions,
        abandoned_count=registry.blobs.clear_abandoned(),
    )


def _foreseen(registry: Registry, rules: Rules) -> Collected:
    with registry.database.reading() as connection:
        rows = catalog.read_versions(connection)
        aliases = catalog.read_aliases(connection)
        rules = _with_candidates(connection, rules)
    leaving = collectable(rows, aliases, rules, registry.clock.utc_now())
    kept = referenced(row for row in rows if row not in leaving)
    bundles = tuple(sorted(registry.blobs.digests() - kept))
    return Collected(
        bundles=bundles,
        size_bytes=sum(registry.blobs.size_bytes(digest) for digest in bundles),
        versions=tuple(VersionKey(row.model, row.version) for row in leaving),
        abandoned_count=registry.blobs.count_abandoned(),
    )


def _collect_versions(registry: Registry, rules: Rules, who: str) -> tuple[VersionKey, ...]:
    now_utc = registry.clock.utc_now()
    with registry.database.reading() as connection:
        rows, aliases = catalog.read_versions(connection), catalog.read_aliases(connection)
    if not collectable(rows, aliases, rules, now_utc):
        return ()
    with registry.database.changing() as connection:
        rows, aliases = catalog.read_versions(connection), catalog.read_aliases(connection)
        rules = _with_candidates(connection, rules)
        leaving = collectable(rows, aliases, rules, now_utc)
        for row in leaving:
            catalog.set_collected(connection, row.model, row.version, now_utc)
            event = registry.event(who, "collect", row.model, row.version, row.digest)
            audit.append(connection, event)
    return tuple(VersionKey(row.model, row.version) for row in leaving)


def _with_candidates(connection: sql.Connection, rules: Rules) -> Rules:
    """Keep what a rollout that waits for approvals is going to load, archived as it is."""
    needed = {one.candidate for one in rollout_rows.read_active(connection)}
    return replace(rules, deployed=rules.deployed | needed)


def _discard_unreferenced(registry: Registry, digest: str) -> bool:
    """Remove one bundle while no push can write its row; whoever waits for that copies it anew."""
    with registry.database.holding() as connection:
        if catalog.is_referenced(connection, digest):
            return False
        registry.blobs.discard(digest)
    return True
