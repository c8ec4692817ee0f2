"""Plans of rollouts that could never end are refused before they begin."""

import pytest
from pydantic import ValidationError

from runtimes.errors import InvalidArgumentError
from serving.edge.rollout_body import GuardrailsBody, RolloutBody
from serving.registry.rollouts.plan import Plan, Strategy, decoded_plan, require_sound


@pytest.mark.parametrize(
    "plan",
    [
        Plan(strategy=Strategy.SHADOW),
        Plan(strategy=Strategy.RECREATE, shadow_s=60),
        Plan(strategy=Strategy.SHADOW, shadow_s=60, shadow_share=0),
        RolloutBody(version=2, shadow_call_count=100, shadow_percent=0.001).plan(),
    ],
)
def test_a_shadow_of_nothing_is_refused(plan: Plan) -> None:
    """Without a copy of a call the state SHADOW would be left by nothing."""
    with pytest.raises(InvalidArgumentError, match="shadow"):
        require_sound(plan)


def test_a_shadow_before_a_flip_is_sound() -> None:
    """Also where the strategy is another one that keeps the old version."""
    require_sound(Plan(shadow_call_count=100))


def test_numbers_that_json_cannot_keep_are_refused() -> None:
    """What a body lets through is read from the catalog as it was written."""
    with pytest.raises(ValidationError):
        GuardrailsBody.model_validate_json('{"mismatch_share": -Infinity}')
    plan = RolloutBody(version=2, guardrails=GuardrailsBody(mismatch_share=-1)).plan()
    assert decoded_plan(plan.encoded()) == plan
