"""No state of a rollout waits for ever: each has a limit, and says what it had waited for."""

from dataclasses import replace
from datetime import timedelta

import pytest

from serving.registry.rollouts.plan import Guardrails, Plan, Step, Strategy
from serving.registry.rollouts.record import RolloutState
from serving.registry.version import VersionState
from serving.rollout.engine.guardrails import Ruling
from serving.rollout.engine.machine import Sight, next_change
from tests.fakes.rollouts import BEGAN, rollout_record

State = RolloutState
LIMITS = Plan(
    strategy=Strategy.CANARY,
    steps=(Step(share=100, hold_s=5),),
    shadow_s=5,
    bake_s=5,
    sequence_limit_s=5,
    approval_limit_s=10,
    load_limit_s=20,
    verify_limit_s=30,
    traffic_limit_s=40,
    switch_limit_s=50,
    guardrails=Guardrails(min_call_count=50),
)
READY = Sight(candidate=VersionState.READY, is_obeyed=True, ruling=Ruling.ENOUGH)
AWAY = replace(READY, candidate=VersionState.LOADING, is_obeyed=False)
FEW = replace(READY, ruling=Ruling.WATCHING, ruling_reason="12 of 50", call_count=12)


@pytest.mark.parametrize(
    ("state", "sight", "limit_s", "end", "said"),
    [
        (State.PENDING, replace(AWAY, missing_approval_count=2), 10, State.FAILED, "2 approvals"),
        (State.PREFLIGHT, replace(AWAY, candidate=None), 20, State.FAILED, "m:2 was not ready"),
        (State.LOADING, AWAY, 20, State.FAILED, "m:2 was not ready after 20 s in LOADING"),
        (State.VERIFYING, AWAY, 30, State.FAILED, "m:2 was not ready after 30 s in VERIFYING"),
        (State.SHADOW, FEW, 45, State.ROLLING_BACK, "12 calls were not enough (12 of 50)"),
        (State.SHADOW, AWAY, 45, State.ROLLING_BACK, "m:2 was not ready after 40 s"),
        (State.CANARY, FEW, 45, State.ROLLING_BACK, "--limit traffic"),
        (State.SWITCHED, replace(READY, is_obeyed=False), 55, State.ROLLING_BACK, "every edge"),
        (
            State.ROLLING_BACK,
            replace(AWAY, is_old_ready=False),
            50,
            State.ROLLED_BACK,
            "errors; version 1 was not ready to take the traffic back after 50 s in ROLLING_BACK",
        ),
    ],
)
def test_a_wait_that_is_too_long_ends_the_rollout_with_its_reason(
    state: RolloutState, sight: Sight, limit_s: float, end: RolloutState, said: str
) -> None:
    """Up to the limit it waits; after it the live version is as it was, and the text says why."""
    note = "errors" if state is State.ROLLING_BACK else ""
    if state is State.PENDING:
        note = "waits for 2 approvals (bascule approve m:2)"
    rollout = rollout_record(plan=LIMITS, state=state, note=note)
    assert next_change(rollout, sight, BEGAN + timedelta(seconds=limit_s)) is None
    late = next_change(rollout, sight, BEGAN + timedelta(seconds=limit_s + 1))
    assert late is not None
    assert late.state is end
    assert said in late.reason


def test_what_has_come_by_then_counts_though_the_limit_has_passed() -> None:
    """A controller that was away for long does not undo what is ready now."""
    late = BEGAN + timedelta(days=2)
    for state in (State.LOADING, State.VERIFYING, State.SHADOW, State.CANARY, State.SWITCHED):
        change = next_change(rollout_record(plan=LIMITS, state=state), READY, late)
        assert change is not None
        assert change.state not in {State.FAILED, State.ROLLING_BACK}


def test_a_pause_has_no_limit_and_an_open_test_neither() -> None:
    """A person decides when it goes on."""
    late = BEGAN + timedelta(days=80)
    paused = rollout_record(plan=LIMITS, state=State.CANARY, is_paused=True)
    assert next_change(paused, FEW, late) is None
    split = Plan(strategy=Strategy.AB, steps=(Step(share=100),))
    assert next_change(rollout_record(plan=split, state=State.CANARY), FEW, late) is None


@pytest.mark.parametrize("strategy", [Strategy.ROLLBACK, Strategy.RECREATE])
def test_a_flip_without_a_bake_has_its_limit_from_the_flip(strategy: Strategy) -> None:
    """What neither bakes nor waits for sequences is late once edges have not obeyed for so long."""
    plan = Plan(strategy=strategy, bake_s=300, sequence_limit_s=300, switch_limit_s=50)
    rollout = rollout_record(plan=plan, state=State.SWITCHED)
    unobeyed = replace(READY, is_obeyed=False)
    assert next_change(rollout, unobeyed, BEGAN + timedelta(seconds=50)) is None
    late = next_change(rollout, unobeyed, BEGAN + timedelta(seconds=51))
    assert late is not None
    assert "after 50 s in SWITCHED" in late.reason


def test_a_clock_that_was_set_back_makes_nobody_wait_who_need_not() -> None:
    """A rollback is complete when every edge obeys, whatever time it is said to be."""
    rollout = rollout_record(plan=Plan(strategy=Strategy.ROLLBACK), state=State.SWITCHED)
    change = next_change(rollout, READY, BEGAN - timedelta(hours=1))
    assert change is not None
    assert change.state is State.COMPLETE
