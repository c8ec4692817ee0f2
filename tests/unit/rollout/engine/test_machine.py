"""The states of a rollout: where it may go, and that no moment of death changes where it ends."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.registry.rollouts.plan import Plan, Step, Strategy
from serving.registry.rollouts.record import (
    ENDED,
    Change,
    Order,
    Rollout,
    RolloutState,
    hindrance,
)
from serving.registry.version import VersionState
from serving.rollout.engine.guardrails import Ruling
from serving.rollout.engine.machine import Readiness, Sight, next_change, ordered
from tests.fakes.rollouts import BEGAN, rollout_record

State = RolloutState
READY = Sight(candidate=VersionState.READY, is_obeyed=True, ruling=Ruling.ENOUGH)
LONG = timedelta(days=1)
CANARY = Plan(strategy=Strategy.CANARY, steps=(Step(share=100), Step(share=5000)), bake_s=60)
PLANS = {
    "blue-green": Plan(bake_s=60),
    "canary": CANARY,
    "shadow": Plan(strategy=Strategy.SHADOW, shadow_s=10, bake_s=60),
    "recreate": Plan(strategy=Strategy.RECREATE),
}


def taken(rollout: Rollout, change: Change) -> Rollout:
    """Return the rollout after a change, as the catalog would keep it."""
    return replace(
        rollout,
        state=change.state,
        step=change.step,
        is_paused=change.is_paused,
        note=change.reason,
        change_count=rollout.change_count + 1,
    )


def walked(rollout: Rollout, sight: Sight) -> list[RolloutState]:
    """Return the states that follow while nothing that is seen changes, all waits being over."""
    states = []
    while change := next_change(rollout, sight, BEGAN + LONG * 0.01):
        rollout = taken(rollout, change)
        states.append(rollout.state)
    return states


@pytest.mark.parametrize(
    ("plan", "stages"),
    [
        ("blue-green", []),
        ("canary", [State.CANARY, State.CANARY]),
        ("shadow", [State.SHADOW]),
        ("recreate", []),
    ],
)
def test_a_healthy_candidate_goes_through_all_stages(plan: str, stages: list[RolloutState]) -> None:
    """Each strategy passes its own stages, then the flip, then the bake, and completes."""
    states = walked(rollout_record(plan=PLANS[plan]), READY)
    before = [State.PREFLIGHT, State.LOADING, State.VERIFYING]
    assert states == [*before, *stages, State.SWITCHED, State.COMPLETE]


def test_the_flip_and_the_way_back_move_the_alias_in_their_own_change() -> None:
    """`live` is set by the changes into SWITCHED and ROLLING_BACK, with the state."""
    baking = rollout_record(state=State.VERIFYING)
    flip = next_change(baking, READY, BEGAN)
    assert flip is not None
    assert (flip.state, flip.live) == (State.SWITCHED, 2)
    breach = replace(READY, ruling=Ruling.BREACH, ruling_reason="errors")
    back = next_change(taken(baking, flip), breach, BEGAN)
    assert back is not None
    assert (back.state, back.live, back.want) == (State.ROLLING_BACK, 1, (1,))
    assert back.reason == "errors"


def test_the_old_version_is_let_go_at_the_end_only() -> None:
    """During the bake both are wanted; at the end the one that lost is not."""
    baking = rollout_record(state=State.SWITCHED, plan=Plan(bake_s=60))
    assert next_change(baking, READY, BEGAN + timedelta(seconds=59)) is None
    end = next_change(baking, READY, BEGAN + timedelta(seconds=60))
    assert end is not None
    assert (end.state, end.unwant) == (State.COMPLETE, (1,))
    kept = replace(baking, plan=Plan(bake_s=60, keep_old=True))
    end = next_change(kept, READY, BEGAN + LONG)
    assert end is not None
    assert end.unwant == ()


def test_a_rollback_waits_for_an_old_version_that_can_take_the_traffic() -> None:
    """If the old version is away too, the rollout holds and says so once; then it goes back."""
    baking = rollout_record(state=State.SWITCHED)
    bad = replace(READY, ruling=Ruling.BREACH, ruling_reason="p95 is 2.1 times", is_old_ready=False)
    held = next_change(baking, bad, BEGAN)
    assert held is not None
    assert held.state is State.SWITCHED
    assert held.live is None
    assert "held: version 1 is not ready" in held.reason
    baking = taken(baking, held)
    assert next_change(baking, bad, BEGAN) is None
    back = next_change(baking, replace(bad, is_old_ready=True), BEGAN)
    assert back is not None
    assert back.state is State.ROLLING_BACK


@pytest.mark.parametrize("state", [State.PREFLIGHT, State.LOADING, State.VERIFYING])
def test_what_fails_before_it_had_traffic_has_failed(state: RolloutState) -> None:
    """Nobody noticed: the live version was never touched, and the candidate goes."""
    sight = Sight(candidate=VersionState.UNAVAILABLE, candidate_reason="no kernel for Foo")
    end = next_change(rollout_record(state=state), sight, BEGAN)
    assert end is not None
    assert (end.state, end.live, end.unwant) == (State.FAILED, None, (2,))
    assert "no kernel for Foo" in end.reason


def test_callers_of_the_live_version_are_not_broken_unless_somebody_says_so() -> None:
    """A changed interface ends the rollout before the flip, and names the change."""
    sight = replace(READY, breaks="input 'mask' is new and required")
    rollout = rollout_record(state=State.VERIFYING)
    end = next_change(rollout, sight, BEGAN)
    assert end is not None
    assert end.state is State.FAILED
    assert "input 'mask' is new and required" in end.reason
    forced = next_change(replace(rollout, plan=Plan(is_forced=True)), sight, BEGAN)
    assert forced is not None
    assert forced.state is State.SWITCHED


def test_a_pause_stops_the_way_on_and_not_the_guardrails() -> None:
    """A paused canary stays at its share; a breach still takes it back."""
    rollout = rollout_record(state=State.CANARY, plan=CANARY)
    pause = ordered(rollout, Order.PAUSE, "lunch", Readiness())
    paused = taken(rollout, pause)
    assert paused.is_paused
    assert next_change(paused, READY, BEGAN + LONG) is None
    breach = next_change(paused, replace(READY, ruling=Ruling.BREACH), BEGAN)
    assert breach is not None
    assert breach.state is State.ROLLING_BACK
    resumed = taken(paused, ordered(paused, Order.RESUME, "", Readiness()))
    assert next_change(resumed, READY, BEGAN + LONG) is not None


def test_orders_that_make_no_sense_are_refused() -> None:
    """Whoever asks is told where the rollout stands."""
    loading, ended = rollout_record(state=State.LOADING), rollout_record(state=State.COMPLETE)
    with pytest.raises(InvalidArgumentError, match="LOADING"):
        ordered(loading, Order.SKIP, "", Readiness())
    with pytest.raises(InvalidArgumentError, match="is not paused"):
        ordered(loading, Order.RESUME, "", Readiness())
    with pytest.raises(InvalidArgumentError, match="COMPLETE"):
        ordered(ended, Order.ABORT, "", Readiness())


def test_a_way_back_that_never_ends_can_be_ended() -> None:
    """The version before does not come back: an operator lets the rollout end, and says why."""
    stuck = rollout_record(state=State.ROLLING_BACK, note="errors")
    assert next_change(stuck, replace(READY, is_obeyed=False), BEGAN + LONG * 0.01) is None
    with pytest.raises(InvalidArgumentError, match="ROLLING_BACK"):
        ordered(stuck, Order.ABORT, "", Readiness(old=False))
    end = ordered(stuck, Order.SKIP, "its disk is gone", Readiness(old=False))
    assert (end.state, end.unwant) == (State.ROLLED_BACK, (2,))
    assert end.reason == "errors; skipped: its disk is gone"


@pytest.mark.parametrize("state", [State.LOADING, State.VERIFYING, State.SWITCHED])
def test_what_does_not_fit_twice_makes_room_before_it_goes_back(state: RolloutState) -> None:
    """Recreate: with the candidate still loaded the old version could never be loaded again."""
    rollout = rollout_record(state=state, plan=PLANS["recreate"])
    back = ordered(rollout, Order.ABORT, "", Readiness(old=False))
    assert (back.state, back.want, back.unwant) == (State.ROLLING_BACK, (1,), (2,))


@pytest.mark.parametrize("state", [State.SHADOW, State.CANARY])
def test_traffic_does_not_flip_to_a_worker_that_starts_again(state: RolloutState) -> None:
    """However much was seen before: the flip waits until the candidate is READY."""
    plan = Plan(strategy=Strategy.CANARY, steps=(Step(share=100),), shadow_s=1)
    rollout = rollout_record(state=state, plan=plan)
    away = replace(READY, candidate=VersionState.LOADING)
    assert next_change(rollout, away, BEGAN + LONG) is None
    assert next_change(rollout, READY, BEGAN + LONG) is not None


def test_traffic_waits_for_approvals_and_a_rollback_does_not() -> None:
    """Two approvals are missing: nothing is loaded, which is told once. A rollback asks nobody."""
    sight = replace(READY, missing_approval_count=2)
    told = next_change(rollout_record(), sight, BEGAN)
    assert told == Change(state=State.PENDING, reason="waits for 2 approvals (bascule approve m:2)")
    assert next_change(taken(rollout_record(), told), sight, BEGAN) is None
    back = rollout_record(plan=Plan(strategy=Strategy.ROLLBACK))
    flip = next_change(back, sight, BEGAN)
    assert flip is not None
    assert (flip.state, flip.live, flip.want) == (State.SWITCHED, 2, (2,))


sights = st.builds(
    Sight,
    candidate=st.sampled_from([None, *VersionState]),
    is_old_ready=st.booleans(),
    is_obeyed=st.booleans(),
    breaks=st.sampled_from(["", "", "input 'x' is gone"]),
    ruling=st.sampled_from(Ruling),
    call_count=st.integers(0, 1000),
)
orders = st.sampled_from(Order)


@given(
    plan=st.sampled_from(list(PLANS.values())),
    seen=st.lists(st.one_of(sights, orders), max_size=40),
    seconds=st.lists(st.integers(0, 100), min_size=40, max_size=40),
)
def test_live_is_never_a_version_that_cannot_answer(
    plan: Plan, seen: list[Sight | Order], seconds: list[int]
) -> None:
    """Whatever is seen and ordered: the flip needs a READY candidate, the way back a READY old one.

    An end state is left by nothing, and both versions are wanted while both may be needed.
    """
    rollout, live, wanted, now_utc = rollout_record(plan=plan), 1, {1}, BEGAN
    sight = Sight()
    for what, passed_s in zip(seen, seconds, strict=False):
        now_utc += timedelta(seconds=passed_s)
        if isinstance(what, Order):
            try:
                change = ordered(rollout, what, "", Readiness(old=sight.is_old_ready))
            except InvalidArgumentError:
                continue
        else:
            sight = what
            found = next_change(rollout, sight, now_utc)
            if found is None:
                continue
            change = found
        assert rollout.state not in ENDED
        if change.live == 2 and isinstance(what, Sight):
            assert rollout.state is not State.VERIFYING or sight.candidate is VersionState.READY
        if (
            change.live == 1
            and rollout.state is State.SWITCHED
            and plan.strategy is not (Strategy.RECREATE)
        ):
            assert sight.is_old_ready
        live = change.live or live
        wanted = (wanted | set(change.want)) - set(change.unwant)
        assert live in wanted or plan.strategy is Strategy.RECREATE
        rollout = replace(taken(rollout, change), since_utc=now_utc)
    assert live == rollout.live_version or rollout.state is State.PENDING


@given(
    plan=st.sampled_from(list(PLANS.values())),
    deaths=st.lists(st.sampled_from(["none", "before", "after"]), min_size=12, max_size=12),
    is_bad=st.booleans(),
)
def test_a_death_at_any_transition_changes_nothing(
    plan: Plan, deaths: list[str], *, is_bad: bool
) -> None:
    """Killed before a change is recorded, or after it and before routes follow: the same end.

    The record is all that a new controller has; routes are computed from it alone.
    """
    rollout, seen_live = rollout_record(plan=plan), []
    for death in deaths:
        has_traffic = rollout.state in {State.SWITCHED, State.CANARY, State.SHADOW}
        ruling = Ruling.BREACH if is_bad and has_traffic else Ruling.ENOUGH
        sight = replace(READY, ruling=ruling, is_obeyed=death != "after")
        change = next_change(rollout, sight, BEGAN + LONG * 0.01)
        if change is None or death == "before":
            continue  # the next controller sees the same and decides the same
        rollout = taken(rollout, change)
        seen_live.append(rollout.live_version)
    while change := next_change(rollout, READY, BEGAN + LONG * 0.01):
        rollout = taken(rollout, change)
    assert rollout.state in ENDED
    assert rollout.live_version == (2 if rollout.state is State.COMPLETE else 1)


def test_the_old_version_stays_for_its_sequences_up_to_the_limit() -> None:
    """COMPLETE waits until none is under way or the limit has passed, and for fresh numbers."""
    plan = Plan(bake_s=0, sequence_limit_s=100)
    baking = rollout_record(plan=plan, state=State.SWITCHED)

    def ends_after(waited_s: float, count: int | None) -> bool:
        sight = replace(READY, old_sequence_count=count)
        return next_change(baking, sight, BEGAN + timedelta(seconds=waited_s)) is not None

    assert ends_after(0.1, None)
    assert not ends_after(1, 0)
    assert ends_after(5, 0)
    assert not ends_after(99, 1)
    assert ends_after(100, 1)


@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.AB])
def test_shares_end_when_a_version_turns_out_to_have_sequences(strategy: Strategy) -> None:
    """What only loading shows fails the rollout before any call is split."""
    plan = Plan(strategy=strategy, steps=(Step(share=100),))
    verifying = rollout_record(plan=plan, state=State.VERIFYING)
    change = next_change(verifying, replace(READY, has_sequences=True), BEGAN)
    assert change is not None
    assert change.state is State.FAILED
    assert "cannot be split call by call" in change.reason


def test_a_held_rollout_is_told_once_whatever_the_numbers_are() -> None:
    """A reason whose figures change with each look is no new transition."""
    baking = rollout_record(state=State.SWITCHED)
    bad = replace(READY, ruling=Ruling.BREACH, ruling_reason="grew to 3 GiB", is_old_ready=False)
    held = next_change(baking, bad, BEGAN)
    assert held is not None
    later = replace(bad, ruling_reason="grew to 4 GiB")
    assert next_change(taken(baking, held), later, BEGAN) is None


def test_a_held_rollout_names_the_order_that_ends_it() -> None:
    """Aborted again, or in somebody's way: the text leads to an order that is not refused."""
    baking = rollout_record(state=State.SWITCHED)
    assert "bascule rollout abort m" in hindrance([baking], "m")
    away = Readiness(old=False)
    baking = taken(baking, ordered(baking, Order.ABORT, "it is wrong", away))
    remedy = "bascule rollout skip-step m"
    assert remedy in baking.note
    with pytest.raises(InvalidArgumentError, match=remedy):
        ordered(baking, Order.ABORT, "", away)
    assert remedy in hindrance([baking], "m")
    assert ordered(baking, Order.SKIP, "", away).state is State.COMPLETE


def test_nobody_skips_to_a_candidate_that_is_away() -> None:
    """More calls need a candidate that could answer them; the bake may be cut short."""
    canary = rollout_record(state=State.CANARY, plan=CANARY)
    with pytest.raises(InvalidArgumentError, match="m:2 is not READY"):
        ordered(canary, Order.SKIP, "", Readiness(candidate=False))
    baking = rollout_record(state=State.SWITCHED)
    assert ordered(baking, Order.SKIP, "", Readiness(candidate=False)).state is State.COMPLETE
