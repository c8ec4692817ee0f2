"""What is told of a rollout: each recorded step has its type, its data, and fits into a request."""

import json

import pytest

from serving.registry.announcing.outbox import MAX_DATA_CHARACTERS, bounded
from serving.registry.rollouts.events import Move, kind_of, move_data
from serving.registry.rollouts.plan import Plan, Step, Strategy
from serving.registry.rollouts.record import Change, Rollout, RolloutState
from tests.fakes.rollouts import rollout_record

State = RolloutState
CANARY = rollout_record(
    state=State.CANARY,
    step=1,
    change_count=7,
    plan=Plan(strategy=Strategy.CANARY, steps=(Step(share=100), Step(share=5000))),
    reason="release of May",
)


def move(before: Rollout | None, change: Change) -> Move:
    """A step that somebody took."""
    return Move(before=before, after=CANARY, change=change, who="ann")


@pytest.mark.parametrize(
    ("before", "change", "kind"),
    [
        (None, Change(state=State.PENDING), "rollout.pending"),
        (rollout_record(), Change(state=State.PREFLIGHT), "rollout.preflight"),
        (rollout_record(), Change(state=State.PENDING, reason="waits"), "approval.requested"),
        (rollout_record(state=State.CANARY), Change(state=State.CANARY, step=1), "rollout.canary"),
        (CANARY, Change(state=State.CANARY, step=1, is_paused=True), "rollout.paused"),
        (CANARY, Change(state=State.ROLLING_BACK), "rollout.rolling_back"),
        (rollout_record(state=State.SWITCHED), Change(state=State.SWITCHED), "rollout.held"),
        (
            rollout_record(state=State.SHADOW, is_paused=True),
            Change(state=State.SHADOW),
            "rollout.resumed",
        ),
    ],
    ids=["begun", "on", "waits", "next step", "paused", "back", "held", "resumed"],
)
def test_a_step_is_named_by_where_it_leads(
    before: Rollout | None, change: Change, kind: str
) -> None:
    """A step that leads nowhere is named by what was said of it."""
    assert kind_of(move(before, change)) == kind


def test_an_event_says_who_why_and_what_was_compared() -> None:
    """Verdict and findings come from the record; what only the engine needs is left out."""
    evidence = json.dumps({"verdict": "slower", "findings": [{"guardrail": "latency"}], "watch": 1})
    change = Change(state=State.CANARY, step=1, reason="more calls", evidence=evidence)
    data = move_data(move(rollout_record(), change), digest="abc")

    assert (
        data.items()
        >= {
            "who": "ann",
            "reason": "more calls",
            "begun_by": "ann",
            "begun_reason": "release of May",
            "digest": "abc",
            "state": "CANARY",
            "previous_state": "PENDING",
            "step": 2,
            "share": 0.5,
            "transition": 7,
            "verdict": "slower",
        }.items()
    )
    assert data["findings"] == [{"guardrail": "latency"}]
    assert "watch" not in data


def test_data_that_is_too_long_loses_its_longest_fields() -> None:
    """A change never fails for what is told of it; what is left out is named."""
    data = {"who": "ann", "findings": ["x" * MAX_DATA_CHARACTERS], "reason": "y" * 100}
    kept = json.loads(bounded(data))

    assert kept == {"who": "ann", "reason": "y" * 100, "left_out": ["findings"]}
