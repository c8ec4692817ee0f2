"""A rollout that waits to begin: what became live meanwhile is not overrun."""

from dataclasses import replace

import pytest

from serving.registry.rollouts.plan import Plan, Strategy
from serving.registry.rollouts.record import RolloutState
from serving.registry.version import VersionState
from serving.rollout.engine.driver import LOOK_S, NEWS_S, pause_s
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


def test_a_wait_for_people_is_looked_at_seldom() -> None:
    """Approvals come by hand; all other waits are ended by machines."""
    pauses = {state: pause_s(rollout_record(state=state)) for state in RolloutState}
    assert pauses.pop(State.PENDING) == NEWS_S
    assert set(pauses.values()) == {LOOK_S}


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (State.PENDING, State.FAILED),
        (State.VERIFYING, State.FAILED),
        (State.CANARY, State.ROLLING_BACK),
        (State.SWITCHED, State.ROLLING_BACK),
    ],
)
def test_a_rollout_whose_plan_is_lost_ends(state: RolloutState, end: RolloutState) -> None:
    """Nobody knows what it should do next: back to the version before, with the reason."""
    change = next_change(rollout_record(state=state, damage="its plan is lost"), READY, BEGAN)
    assert change is not None
    assert (change.state, change.reason) == (end, "its plan is lost")
