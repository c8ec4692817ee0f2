"""Rollouts as tests need them."""

from dataclasses import replace
from datetime import UTC, datetime

from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Rollout, RolloutState
from serving.rollout.engine.guardrails import Watch
from serving.rollout.engine.kept import Kept, decoded_kept

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


def read_again(watch: Watch) -> Watch:
    """Return a watch as the next controller reads it from the record."""
    found = decoded_kept(Kept(watch=watch).encoded()).watch
    assert found is not None
    return found
