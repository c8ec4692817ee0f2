"""A rollout that waits to begin: what became live meanwhile is not overrun."""

from dataclasses import replace

import pytest

from serving.registry.rollout_plan import Plan, Strategy
from serving.registry.rollout_record import RolloutState
from serving.registry.version import VersionState
from serving.rollout.engine.machine import Sight, next_change
from tests.fakes.rollouts import BEGAN, rollout_record

State = RolloutState
READY = Sight(candidate=VersionState.READY, is_obeyed=True)


@pytest.mark.parametrize("plan", [Plan(), Plan(strategy=Strategy.ROLLBACK)])
@pytest.mark.parametrize(
    ("live", "told"),
    [
        (3, "version 3 became live while the rollout waited, and it was planned from version 1"),
        (2, "m:2 became live meanwhile: there is nothing to move"),
    ],
)
def test_what_became_live_meanwhile_ends_a_rollout_that_waits(
    plan: Plan, live: int, told: str
) -> None:
    """It was planned from another version: nothing is pinned, wanted or archived."""
    end = next_change(rollout_record(plan=plan), replace(READY, live=live), BEGAN)
    assert end is not None
    assert (end.state, end.live, end.want, end.unwant) == (State.FAILED, None, (), ())
    assert told in end.reason


@pytest.mark.parametrize("live", [1, None])
def test_what_was_live_may_be_away_meanwhile(live: int | None) -> None:
    """A controller that has just started knows no routes yet: that is no other version."""
    begun = next_change(rollout_record(), replace(READY, live=live), BEGAN)
    assert begun is not None
    assert (begun.state, begun.live) == (State.PREFLIGHT, 1)
