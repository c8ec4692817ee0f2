"""Rollouts as tests need them."""

from dataclasses import replace
from datetime import UTC, datetime

from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Rollout, RolloutState

BEGAN: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def rollout_record(**changes: object) -> Rollout:
    """Return a rollout of `m` from version 1 to 2 that has just been recorded."""
    rollout = Rollout(
        id=1,
        model="m",
        from_version=1,
        to_version=2,
        plan=Plan(),
        state=RolloutState.PENDING,
        since_utc=BEGAN,
        who="ann",
        created_utc=BEGAN,
    )
    return replace(rollout, **changes)  # type: ignore[arg-type]  # a test's own names
