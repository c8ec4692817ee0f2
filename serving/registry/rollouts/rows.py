"""What is said to the tables of rollouts, on a connection that the caller holds."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sql

from runtimes.errors import InvalidArgumentError
from serving.errors import AlreadyExistsError
from serving.registry.approval_rows import missing_count
from serving.registry.audit import MAX_WHO_CHARACTERS
from serving.registry.rollouts.plan import Plan, decoded_plan
from serving.registry.rollouts.record import (
    ENDED,
    Change,
    Rollout,
    RolloutState,
    Transition,
    hindrance,
)
from serving.registry.schema import EVENTS, ROLLOUTS, TRANSITIONS


def insert(connection: sql.Connection, rollout: Rollout, evidence: str = "") -> Rollout:
    """Add a rollout in its first state; return it with its id."""
    row = {
        "model": rollout.model,
        "from_number": rollout.from_version,
        "to_number": rollout.to_version,
        "plan": rollout.plan.encoded(),
        "state": rollout.state,
        "step": rollout.step,
        "since_utc": rollout.since_utc.isoformat(),
        "is_paused": rollout.is_paused,
        "note": rollout.note,
        "who": rollout.who[:MAX_WHO_CHARACTERS],
        "reason": rollout.reason,
        "created_utc": rollout.created_utc.isoformat(),
        "change_count": 1,
    }
    added = sql.insert(ROLLOUTS).values(row).returning(ROLLOUTS.c.id)
    rollout = replace(rollout, id=connection.execute(added).scalar_one(), change_count=1)
    first = Change(state=rollout.state, reason=rollout.reason, evidence=evidence)
    _insert_transition(connection, rollout, first, rollout.created_utc, rollout.who)
    return rollout


def advance(
    connection: sql.Connection, rollout: Rollout, change: Change, *, now_utc: datetime, who: str
) -> Rollout:
    """Take a rollout one change further; return it as it stands now."""
    is_resumed = rollout.is_paused and not change.is_paused
    is_same = (rollout.state, rollout.step) == (change.state, change.step) and not is_resumed
    after = replace(
        rollout,
        state=change.state,
        step=change.step,
        since_utc=rollout.since_utc if is_same else now_utc,
        is_paused=change.is_paused,
        note=change.reason,
        ended_utc=now_utc if change.state in ENDED else None,
        change_count=rollout.change_count + 1,
    )
    values = {
        "state": after.state,
        "step": after.step,
        "since_utc": after.since_utc.isoformat(),
        "is_paused": after.is_paused,
        "note": after.note,
        "ended_utc": after.ended_utc.isoformat() if after.ended_utc else None,
        "change_count": after.change_count,
    }
    connection.execute(sql.update(ROLLOUTS).values(values).where(ROLLOUTS.c.id == rollout.id))
    _insert_transition(connection, after, change, now_utc, who)
    return after


def read_one(connection: sql.Connection, number: int) -> Rollout | None:
    """Return one rollout."""
    found = _read(connection, (ROLLOUTS.c.id == number,))
    return found[0] if found else None


def read_active(connection: sql.Connection, model: str | None = None) -> tuple[Rollout, ...]:
    """Return the rollouts that have not ended, oldest first."""
    where = () if model is None else (ROLLOUTS.c.model == model,)
    return _read(connection, (ROLLOUTS.c.ended_utc.is_(None), *where))


def require_free(connection: sql.Connection, model: str, version: int | None = None) -> None:
    """Let nobody else move a model's traffic, or take a version that a rollout needs.

    Raises:
        AlreadyExistsError: A rollout is in the way; it says which, and how to end it.
    """
    hindered = hindrance(read_active(connection, model), model, version)
    if hindered:
        raise AlreadyExistsError(hindered)


def read_history(connection: sql.Connection, model: str | None, limit: int) -> tuple[Rollout, ...]:
    """Return the latest rollouts of a model, or of all, newest first."""
    where = () if model is None else (ROLLOUTS.c.model == model,)
    query = sql.select(ROLLOUTS).where(*where).order_by(ROLLOUTS.c.id.desc()).limit(limit)
    return tuple(_rollout(row) for row in connection.execute(query))


def read_live_before(connection: sql.Connection, model: str, live: int | None) -> int | None:
    """Return the version that was made live last, other than this one, as the audit log tells."""
    query = sql.select(EVENTS.c.number).where(
        EVENTS.c.model == model, EVENTS.c.action == "pin_live", EVENTS.c.number != (live or 0)
    )
    found: int | None = connection.execute(query.order_by(EVENTS.c.id.desc()).limit(1)).scalar()
    return found


def was_asked_for(connection: sql.Connection, rollout: Rollout, version: int) -> bool:
    """Whether the rollout itself asked for a version that was not wanted before."""
    query = sql.select(EVENTS.c.id).where(
        EVENTS.c.model == rollout.model,
        EVENTS.c.number == version,
        EVENTS.c.action == "want",
        EVENTS.c.detail == asked_by(rollout),
    )
    return connection.execute(query.limit(1)).first() is not None


def asked_by(rollout: Rollout) -> str:
    """Name a rollout in the events of what it does."""
    return f"rollout {rollout.id}"


def read_transitions(connection: sql.Connection, number: int) -> tuple[Transition, ...]:
    """Return the changes of a rollout, oldest first."""
    query = sql.select(TRANSITIONS).where(TRANSITIONS.c.rollout == number)
    rows = connection.execute(query.order_by(TRANSITIONS.c.number))
    return tuple(
        Transition(
            number=row.number,
            at_utc=datetime.fromisoformat(row.at_utc),
            state=RolloutState(row.state),
            step=row.step,
            who=row.who,
            reason=row.reason,
            evidence=row.evidence,
        )
        for row in rows
    )


def _insert_transition(
    connection: sql.Connection, rollout: Rollout, change: Change, now_utc: datetime, who: str
) -> None:
    row = {
        "rollout": rollout.id,
        "number": rollout.change_count,
        "at_utc": now_utc.isoformat(),
        "state": change.state,
        "step": change.step,
        "who": who[:MAX_WHO_CHARACTERS],
        "reason": change.reason,
        "evidence": change.evidence,
    }
    connection.execute(sql.insert(TRANSITIONS).values(row))


def _read(
    connection: sql.Connection, where: Sequence[sql.ColumnElement[bool]]
) -> tuple[Rollout, ...]:
    query = sql.select(ROLLOUTS).where(*where).order_by(ROLLOUTS.c.id)
    found = tuple(_rollout(row) for row in connection.execute(query))
    return tuple(
        one
        if one.state is not RolloutState.PENDING
        else replace(one, missing_approval_count=missing_count(connection, one.candidate))
        for one in found
    )


def _rollout(row: sql.Row[tuple[object, ...]]) -> Rollout:
    plan, damage = Plan(), ""
    try:
        plan = decoded_plan(row.plan)
    except InvalidArgumentError as error:  # one damaged row must not hide the others
        damage = f"the plan of rollout {row.id} {error.message}"
    return Rollout(
        damage=damage,
        id=row.id,
        model=row.model,
        from_version=row.from_number,
        to_version=row.to_number,
        plan=plan,
        state=RolloutState(row.state),
        step=row.step,
        since_utc=datetime.fromisoformat(row.since_utc),
        is_paused=row.is_paused,
        note=row.note,
        who=row.who,
        reason=row.reason,
        created_utc=datetime.fromisoformat(row.created_utc),
        ended_utc=None if row.ended_utc is None else datetime.fromisoformat(row.ended_utc),
        change_count=row.change_count,
    )
