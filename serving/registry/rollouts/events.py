"""What receivers outside are told of rollouts and approvals: one event for each recorded step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sql

from serving.ids import VersionKey
from serving.registry import catalog
from serving.registry.announcing.outbox import Announcement, announce
from serving.registry.approval import Approval
from serving.registry.rollouts.plan import WHOLE_SHARE
from serving.registry.rollouts.record import Change, Rollout, RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A rollout's step: where it stood, where it stands, and who took it there."""

    before: Rollout | None
    """None: it has just begun."""
    after: Rollout
    change: Change
    who: str


def announce_begin(connection: sql.Connection, rollout: Rollout) -> None:
    """Tell that a rollout was begun, in the transaction that records it."""
    change = Change(state=rollout.state, reason=rollout.reason)
    move = Move(before=None, after=rollout, change=change, who=rollout.who)
    announce_move(connection, move, rollout.created_utc)


def announce_move(connection: sql.Connection, move: Move, at_utc: datetime) -> None:
    """Tell of a step of a rollout, in the transaction that records it."""
    key = move.after.candidate
    row = catalog.read_version(connection, key.model, key.version)
    told = Announcement(
        kind=kind_of(move),
        subject=subject_of(key),
        data=move_data(move, digest="" if row is None else row.digest),
    )
    announce(connection, told, at_utc)


def announce_approval(connection: sql.Connection, approval: Approval, missing: int) -> None:
    """Tell that somebody vouched for a version, in the transaction that records it."""
    told = Announcement(
        kind="approval.granted",
        subject=subject_of(VersionKey(approval.model, approval.version)),
        data={
            "model": approval.model,
            "version": approval.version,
            "who": approval.who,
            "reason": approval.reason,
            "digest": approval.digest,
            "missing_approval_count": missing,
        },
    )
    announce(connection, told, approval.at_utc)


def subject_of(key: VersionKey) -> str:
    """Return the subject of events about a version."""
    return f"{key.model}/{key.version}"


def kind_of(move: Move) -> str:
    """Name a step by where it leads; what stays there by what was said of it."""
    before, change = move.before, move.change
    if before is None or (before.state, before.step) != (change.state, change.step):
        return f"rollout.{change.state.lower()}"
    if before.is_paused is not change.is_paused:
        return "rollout.paused" if change.is_paused else "rollout.resumed"
    return "approval.requested" if change.state is RolloutState.PENDING else "rollout.held"


def move_data(move: Move, *, digest: str) -> dict[str, object]:
    """Say what a step was: who, why, from where, and what was compared.

    Args:
        move: The step.
        digest: Of the bundle; empty for a version of a repository.
    """
    after, before, change = move.after, move.before, move.change
    evidence = _evidence(change)
    return {
        "rollout": after.id,
        "transition": after.change_count,
        "model": after.model,
        "version": after.to_version,
        "from_version": after.from_version,
        "live_version": after.live_version,
        "strategy": after.plan.strategy.value,
        "state": change.state.value,
        "previous_state": None if before is None else before.state.value,
        "step": change.step + 1 if change.state is RolloutState.CANARY else None,
        "step_count": len(after.plan.steps),
        "share": after.share / WHOLE_SHARE,
        "is_paused": change.is_paused,
        "who": move.who,
        "reason": change.reason,
        "begun_by": after.who,
        "begun_reason": after.reason,
        "digest": digest,
        "verdict": evidence.get("verdict", ""),
        "findings": evidence.get("findings", []),
        "figures": evidence.get("figures"),
    }


def _evidence(change: Change) -> Mapping[str, object]:
    """Return what was compared; the numbers that only the engine goes on from stay here."""
    found = json.loads(change.evidence) if change.evidence else {}
    return found if isinstance(found, dict) else {}
