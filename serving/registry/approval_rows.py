"""What is said to the tables of approvals, on a connection that the caller holds.

An approval is of a digest: that of the version's manifest, which holds the digest of every file and
the configuration. A version never changes, so that one digest stands for model and configuration.
"""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sql

from serving.ids import VersionKey
from serving.registry import catalog
from serving.registry.approval import Approval
from serving.registry.audit import MAX_WHO_CHARACTERS
from serving.registry.catalog import RegisteredVersion
from serving.registry.schema import APPROVAL_RULES, APPROVALS


def read_rules(connection: sql.Connection) -> Mapping[str, int]:
    """Return how many approvals each model requires, for those that require any."""
    return {row.model: row.approval_count for row in connection.execute(sql.select(APPROVAL_RULES))}


def set_rule(connection: sql.Connection, model: str, approval_count: int) -> int:
    """Require so many approvals of a model's versions (0: none); return how many before."""
    before = read_rules(connection).get(model, 0)
    connection.execute(sql.delete(APPROVAL_RULES).where(APPROVAL_RULES.c.model == model))
    if approval_count:
        row = {"model": model, "approval_count": approval_count}
        connection.execute(sql.insert(APPROVAL_RULES).values(row))
    return before


def read(connection: sql.Connection, model: str | None = None) -> tuple[Approval, ...]:
    """Return the approvals of a model, or of all, oldest first."""
    query = sql.select(APPROVALS).order_by(APPROVALS.c.id)
    if model is not None:
        query = query.where(APPROVALS.c.model == model)
    return tuple(
        Approval(
            model=row.model,
            version=row.number,
            digest=row.digest,
            who=row.who,
            reason=row.reason,
            at_utc=datetime.fromisoformat(row.at_utc),
        )
        for row in connection.execute(query)
    )


def insert(connection: sql.Connection, approval: Approval) -> None:
    """Add one."""
    row = {
        "model": approval.model,
        "number": approval.version,
        "digest": approval.digest,
        "who": approval.who[:MAX_WHO_CHARACTERS],
        "reason": approval.reason,
        "at_utc": approval.at_utc.isoformat(),
    }
    connection.execute(sql.insert(APPROVALS).values(row))


def approvers(row: RegisteredVersion, given: tuple[Approval, ...]) -> frozenset[str]:
    """Return who approved a version as it is; whoever pushed it does not count."""
    mine = (one for one in given if (one.model, one.version) == (row.model, row.version))
    return frozenset(one.who for one in mine if one.digest == row.digest) - {row.pushed_by}


def missing_count(connection: sql.Connection, key: VersionKey) -> int:
    """Return how many approvals a version waits for; one that was never pushed has none."""
    needed = read_rules(connection).get(key.model, 0)
    if needed == 0:
        return 0
    row = catalog.read_version(connection, key.model, key.version)
    given = 0 if row is None else len(approvers(row, read(connection, key.model)))
    return max(0, needed - given)


def read_unapproved(connection: sql.Connection) -> frozenset[VersionKey]:
    """Return every version of the registry that waits for an approval."""
    return frozenset(
        VersionKey(model, row.version)
        for model, needed in read_rules(connection).items()
        for given in (read(connection, model),)
        for row in catalog.read_versions(connection, model)
        if len(approvers(row, given)) < needed
    )
