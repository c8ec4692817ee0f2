"""What running rollouts mean for routes."""

import pytest

from serving.registry.rollouts.plan import Plan, Step, Strategy
from serving.registry.rollouts.record import ENDED, RolloutState
from serving.rollout.desired import Split
from serving.rollout.engine.splits import splits_of
from tests.fakes.rollouts import rollout_record

PLAN = Plan(strategy=Strategy.CANARY, steps=(Step(share=700),), sticky_by="bascule-key")


@pytest.mark.parametrize("state", RolloutState)
def test_a_candidate_has_its_share_in_its_step_and_never_takes_over_by_itself(
    state: RolloutState,
) -> None:
    """From PREFLIGHT until it is live or gone it is named as candidate, also on the way back."""
    splits = splits_of([rollout_record(state=state, plan=PLAN)])
    if state in ENDED or state in {RolloutState.PENDING, RolloutState.SWITCHED}:
        assert splits == {}
    else:
        share = 700 if state is RolloutState.CANARY else 0
        assert splits == {"m": Split(candidate=2, share=share, sticky_by="bascule-key")}
