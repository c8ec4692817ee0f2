"""Approvals: a version of some models gets traffic when enough people vouched for it.

Whoever pushed a version cannot approve it. An approval counts for the digest that was approved, and
a rollback never asks for any. The first version that is approved becomes the live one where the
model has none: as the first push does where nobody has to approve.
"""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sql

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError, UntrustedError
from serving.ids import LIVE, VersionKey
from serving.registry import approval_rows, audit, catalog
from serving.registry.aliases import Author
from serving.registry.approval import Approval
from serving.registry.catalog import RegisteredVersion
from serving.registry.rollouts import rows as rollout_rows
from serving.registry.rollouts.events import announce_approval
from serving.registry.store import Registry

MOST_APPROVALS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a version is with its approvals."""

    model: str
    version: int
    digest: str
    pushed_by: str
    needed: int
    missing: int
    approvals: tuple[Approval, ...]
    """Those that count."""


def require_approvals(registry: Registry, model: str, count: int, author: Author) -> int:
    """Require so many approvals of a model's versions; return how many were required before.

    What is live stays live. The model need not be there yet.

    Raises:
        InvalidArgumentError: The number makes no sense.
    """
    if not 0 <= count <= MOST_APPROVALS:
        raise InvalidArgumentError(
            f"{count} approvals cannot be required: 0 (none) to {MOST_APPROVALS}"
        )
    with registry.database.changing() as connection:
        free = _free(connection, model)
        before = approval_rows.set_rule(connection, model, count)
        if before != count:
            told = f"{count}, before: {before}"
            event = registry.event(
                author.who, "require_approvals", model, None, told, author.reason
            )
            audit.append(connection, event)
            _settle(connection, registry, model, author, free)
    return before


def approve(registry: Registry, key: VersionKey, author: Author) -> Standing:
    """Vouch for a version; a second approval of the same person changes nothing.

    Raises:
        NotFoundError: The version was never pushed.
        UntrustedError: The author pushed it.
    """
    with registry.database.changing() as connection:
        row = catalog.read_version(connection, key.model, key.version)
        if row is None:
            raise NotFoundError(f"{key} is not in the registry: push it first")
        who = author.who[: audit.MAX_WHO_CHARACTERS]
        if who == row.pushed_by:
            raise UntrustedError(f"{who} pushed {key}: somebody else must approve it")
        if who not in approval_rows.approvers(row, approval_rows.read(connection, key.model)):
            approval = Approval(
                model=key.model,
                version=key.version,
                digest=row.digest,
                who=who,
                reason=author.reason,
                at_utc=registry.clock.utc_now(),
            )
            free = _free(connection, key.model)
            approval_rows.insert(connection, approval)
            event = registry.event(
                who, "approve", key.model, key.version, row.digest, author.reason
            )
            audit.append(connection, event)
            announce_approval(connection, approval, approval_rows.missing_count(connection, key))
            _settle(connection, registry, key.model, author, free)
        return _standing(connection, row)


def standings(registry: Registry, model: str | None = None) -> tuple[Standing, ...]:
    """Return how far versions are: those of models with a rule, and those that were approved.

    Archived versions that nobody approved are left out.
    """
    with registry.database.reading() as connection:
        rules = approval_rows.read_rules(connection)
        told = {(one.model, one.version) for one in approval_rows.read(connection, model)}
        rows = catalog.read_versions(connection, model)
        return tuple(
            _standing(connection, row)
            for row in rows
            if (row.model, row.version) in told or (row.wanted and row.model in rules)
        )


def rules(registry: Registry) -> dict[str, int]:
    """Return how many approvals each model requires, for those that require any."""
    with registry.database.reading() as connection:
        return dict(approval_rows.read_rules(connection))


def _standing(connection: sql.Connection, row: RegisteredVersion) -> Standing:
    given = approval_rows.read(connection, row.model)
    people = approval_rows.approvers(row, given)
    needed = approval_rows.read_rules(connection).get(row.model, 0)
    return Standing(
        model=row.model,
        version=row.version,
        digest=row.digest,
        pushed_by=row.pushed_by,
        needed=needed,
        missing=max(0, needed - len(people)),
        approvals=tuple(one for one in given if _counts(one, row, people)),
    )


def _counts(approval: Approval, row: RegisteredVersion, people: frozenset[str]) -> bool:
    same = (approval.model, approval.version, approval.digest)
    return same == (row.model, row.version, row.digest) and approval.who in people


def _settle(
    connection: sql.Connection, registry: Registry, model: str, author: Author, free: list[int]
) -> None:
    """Where no version is promoted: the first that may be live is; a new rule ends no service.

    Args:
        connection: Of the change.
        registry: Dates the event.
        model: Whose rule or approvals changed.
        author: Who changed them.
        free: The versions that waited for nobody before.
    """
    if model in catalog.read_pins(connection) or rollout_rows.read_active(connection, model):
        return
    now = _free(connection, model)
    live = min(now, default=None) if not free else max(free)
    if live is None or (free and live in now):
        return
    catalog.set_alias(connection, model, LIVE, live)
    audit.append(connection, registry.event(author.who, "pin_live", model, live))


def _free(connection: sql.Connection, model: str) -> list[int]:
    """Return the wanted versions that wait for nobody."""
    waits = approval_rows.read_unapproved(connection)
    rows = catalog.read_versions(connection, model, only_wanted=True)
    return [row.version for row in rows if VersionKey(model, row.version) not in waits]
