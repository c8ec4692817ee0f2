"""All that a catalog has of one rollout, read after the fact: no instance need run.

Blocking (SQL and files). What is not there any more, or never was, is left empty.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sql

from runtimes.errors import BasculeError
from serving.ids import VersionKey
from serving.registry import approval_rows, audit, catalog
from serving.registry.approval import Approval
from serving.registry.audit import Event, Verified
from serving.registry.bundles.bundle import read_head
from serving.registry.bundles.manifest import Manifest, parse_manifest
from serving.registry.catalog import RegisteredVersion
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.record import Rollout, Transition
from serving.registry.schema import EVENTS
from serving.registry.store import Registry
from serving.registry.trust.trust import judge
from serving.registry.trust.trust_gate import candidate_of
from serving.rollout.engine.kept import Kept, readable_kept

OF_ROLLOUTS: Final = frozenset({"rollout", "rollout_step"})
OF_PEOPLE: Final = frozenset({"push", "approve", "require_approvals"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who vouches for a bundle, as it was found when the report was made."""

    key_ids: tuple[str, ...] = ()
    """Of signatures that were verified."""
    trusted_names: tuple[str, ...] = ()
    """Those of them that count for the model by the registry's rules."""
    problem: str = ""
    """Why nothing can be said; empty: it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two versions."""

    version: int
    row: RegisteredVersion | None
    """None: it was never pushed; it may be one of a model repository."""
    manifest: Manifest | None
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event of the audit log, by its number."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A change, and what was kept with it of the time before."""

    transition: Transition
    kept: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One rollout with all that is known of it."""

    made_utc: datetime
    rollout: Rollout
    stops: tuple[Stop, ...]
    now: Kept | None
    """What is compared now; None: it has ended, compares nothing, or no instance was asked."""
    seen: str
    """What the engine says of it now."""
    old: Side | None
    new: Side
    approvals: tuple[Approval, ...]
    """Of the candidate, whatever their digest."""
    counted: frozenset[str]
    """People whose approval counts."""
    needed_approval_count: int
    """As the rule is when the report is made."""
    entries: tuple[Entry, ...]
    chain: Verified


def gathered(registry: Registry, number: int, *, now: str = "", seen: str = "") -> History:
    """Read a rollout's history.

    Args:
        registry: Where it is.
        number: The rollout's.
        now: What its engine would keep now, as JSON; empty: nothing.
        seen: What its engine says of it.

    Raises:
        NotFoundError: There is no such rollout.
        NotReadyError: The catalog does not answer.
    """
    rollout, transitions = RolloutBook(registry).found(number)
    key = rollout.candidate
    with registry.database.reading() as connection:
        entries, chain = _entries(connection, rollout), audit.verify(connection)
        given = approval_rows.read(connection, rollout.model)
        needed = approval_rows.read_rules(connection).get(rollout.model, 0)
    old = rollout.from_version
    new = _side(registry, key)
    return History(
        made_utc=registry.clock.utc_now(),
        rollout=rollout,
        stops=tuple(Stop(transition=one, kept=readable_kept(one.evidence)) for one in transitions),
        now=readable_kept(now) if now else None,
        seen=seen,
        old=None if old is None else _side(registry, VersionKey(rollout.model, old)),
        new=new,
        approvals=tuple(one for one in given if one.version == key.version),
        counted=frozenset() if new.row is None else approval_rows.approvers(new.row, given),
        needed_approval_count=needed,
        entries=entries,
        chain=chain,
    )


def _side(registry: Registry, key: VersionKey) -> Side:
    with registry.database.reading() as connection:
        row = catalog.read_version(connection, key.model, key.version)
    if row is None:
        unknown = Signature(problem="it is not in the registry")
        return Side(version=key.version, row=None, manifest=None, signature=unknown)
    source = f"manifest of {key}"
    text = row.manifest_json.encode()
    manifest = parse_manifest(text, source) if text else None
    return Side(
        version=key.version, row=row, manifest=manifest, signature=_signature(registry, row)
    )


def _signature(registry: Registry, row: RegisteredVersion) -> Signature:
    if row.collected_utc is not None:
        return Signature(problem=f"its files were collected {row.collected_utc:%Y-%m-%d}")
    try:
        head = read_head(registry.blobs.folder(row.digest))
        verdict = judge(registry.trust.policy(), candidate_of(head))
    except BasculeError as error:
        return Signature(problem=error.message)
    return Signature(
        key_ids=tuple(key.key_id for key in head.signers), trusted_names=verdict.signed_by
    )


def _entries(connection: sql.Connection, rollout: Rollout) -> tuple[Entry, ...]:
    """Return the events of a rollout, and what people did to its candidate before its end."""
    query = sql.select(EVENTS).where(EVENTS.c.model == rollout.model).order_by(EVENTS.c.id)
    found = []
    for row in connection.execute(query).mappings():
        event = audit.event_of(dict(row))
        if _belongs(event, rollout):
            found.append(Entry(number=int(row["id"]), event=event))
    return tuple(found)


def _belongs(event: Event, rollout: Rollout) -> bool:
    if event.action in OF_ROLLOUTS:
        return event.detail.startswith(f"{rollout.id}: ")
    if event.action in OF_PEOPLE:
        is_of_it = event.version in {None, rollout.to_version}
        return is_of_it and (rollout.ended_utc is None or event.at_utc <= rollout.ended_utc)
    return re.search(rf"\brollout {rollout.id}\b", event.detail) is not None
