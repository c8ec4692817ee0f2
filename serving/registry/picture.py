"""All that a controller needs of the catalog, as of one moment: read in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sql

from runtimes.preflight.waivers import Waiver, in_force
from serving.ids import VersionKey
from serving.registry import approval_rows, catalog, waiver_rows
from serving.registry.catalog import RegisteredVersion
from serving.registry.repository import FailedVersion
from serving.registry.rollouts import rows as rollout_rows
from serving.registry.rollouts.record import Rollout
from serving.registry.version import VersionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRows:
    """What the tables say."""

    changes: int
    wanted: tuple[RegisteredVersion, ...]
    models: frozenset[str]
    rollouts: tuple[Rollout, ...]
    pinned_live: Mapping[str, int]
    unapproved: frozenset[VersionKey]
    waivers: tuple[Waiver, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What there is, is wanted, and is under way."""

    changes: int = 0
    """A number that rises with every change and every end of a waiver."""
    wanted: tuple[VersionSpec, ...] = ()
    """Every version that shall be loaded and can be, by model and version."""
    failed: tuple[FailedVersion, ...] = ()
    """Every version that shall be loaded and cannot be."""
    models: frozenset[str] = frozenset()
    """Those that were ever pushed, wanted or not."""
    rollouts: tuple[Rollout, ...] = ()
    """Those that have not ended, oldest first."""
    pinned_live: Mapping[str, int] = field(default_factory=dict)
    """The promoted version of each model that has one, repository models included."""
    unapproved: frozenset[VersionKey] = frozenset()
    """The versions that wait for approvals: none of them becomes live by itself."""
    waivers: tuple[Waiver, ...] = ()
    """What is allowed now."""

    @property
    def is_partial(self) -> bool:
        """Whether a version could not be looked at for now: it is worth another look."""
        return any(one.is_passing for one in self.failed)


def read_changes(connection: sql.Connection, now_utc: datetime) -> int:
    """Return a number that rises with every change in the tables and every end of a waiver."""
    return catalog.read_revision(connection) + waiver_rows.count_over(connection, now_utc)


def read_rows(connection: sql.Connection, now_utc: datetime) -> CatalogRows:
    """Read the tables."""
    return CatalogRows(
        changes=read_changes(connection, now_utc),
        wanted=catalog.read_versions(connection, only_wanted=True),
        models=catalog.read_models(connection),
        rollouts=rollout_rows.read_active(connection),
        pinned_live=catalog.read_pins(connection),
        unapproved=approval_rows.read_unapproved(connection),
        waivers=in_force(waiver_rows.read(connection), now_utc),
    )
