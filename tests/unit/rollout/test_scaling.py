"""How many workers: up at once, down after the delay, never to and fro."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.monitor.load import Load, VersionLoad, lately, load_of, together
from serving.monitor.traffic import latency_bucket
from serving.registry.policies.scaling_policy import ScalingPolicy
from serving.rollout.scaling import Cause, Decision, decide, first_decision, woken

LOOK_S = 0.25
DELAY_S = 10.0
POLICY = ScalingPolicy(
    min_replicas=1, max_replicas=16, target_calls=4, down_delay_s=DELAY_S, idle_to_zero_s=30
)
SLEEPY = replace(POLICY, min_replicas=0)


def run(
    policy: ScalingPolicy, loads: list[Load | None], before: Decision | None = None
) -> list[Decision]:
    """Decide at every look."""
    decision = before or first_decision(policy, 0.0)
    decisions = []
    for number, load in enumerate(loads, start=1):
        now_s = number * LOOK_S
        decision = decide(
            policy, decision, load, now_s, most=policy.max_replicas, least=policy.min_replicas
        )
        decisions.append(decision)
    return decisions


def looks(seconds: float) -> int:
    """So many looks are made in some seconds."""
    return int(seconds / LOOK_S)


def changes(decisions: list[Decision], first: int) -> list[tuple[float, int]]:
    """When the count changed, and to what."""
    found, before = [], first
    for one in decisions:
        if one.count != before:
            found.append((one.changed_s, one.count))
            before = one.count
    return found


def test_a_burst_brings_all_that_it_needs_at_once() -> None:
    """One look at many calls is enough, and one step."""
    (decision,) = run(POLICY, [Load(calls=16, busy=1, answered_count=100)])
    assert (decision.count, decision.cause) == (6, Cause.CALLS)


def test_busy_workers_bring_another() -> None:
    """Calls that hardly wait may keep a worker busy all the same."""
    (decision,) = run(POLICY, [Load(calls=1, busy=0.9, answered_count=9)])
    assert (decision.count, decision.cause) == (2, Cause.BUSY)


def test_calls_near_their_limit_bring_another_once_the_last_has_settled() -> None:
    """p99 near the limit adds one, waits for its effect, and keeps it for the delay."""
    policy = replace(POLICY, slo_p99_s=0.1)
    slow = Load(
        calls=1,
        busy=0.5,
        answered_count=100,
        latency_counts={latency_bucket(95_000_000): 100},
    )
    decisions = run(policy, [slow] * looks(7))
    assert [count for _, count in changes(decisions, 1)] == [2]  # then none is busy enough
    assert decisions[-1].cause is Cause.LATENCY
    assert run(policy, [replace(slow, busy=0.1)] * looks(7))[-1].count == 1


def test_workers_leave_after_the_whole_delay() -> None:
    """A look at much work in the middle begins the delay again."""
    much, little = Load(calls=16, answered_count=9), Load(calls=0.5, answered_count=9)
    decisions = run(POLICY, [much, *[little] * looks(6), much, *[little] * looks(12)])
    assert changes(decisions, 1) == [(LOOK_S, 6), (LOOK_S * (1 + looks(6) + 1) + DELAY_S, 1)]
    assert decisions[-1].cause is Cause.LOW


def test_nobody_lowers_what_nobody_has_heard_of() -> None:
    """Workers that say nothing, since they start, are not taken away, not even the last one."""
    before = Decision(count=5, changed_s=0, active_s=0)
    assert {one.count for one in run(SLEEPY, [None] * looks(100), before)} == {5}


def test_a_version_that_nobody_calls_has_no_worker_if_it_says_so() -> None:
    """After the idle time from the last call, and from a call that came while it was away."""
    idle, busy = Load(), Load(calls=0.1, answered_count=1)
    decisions = run(SLEEPY, [busy, *[idle] * looks(40)])
    assert changes(decisions, 1) == [(LOOK_S + SLEEPY.idle_to_zero_s, 0)]
    assert decisions[-1].cause is Cause.IDLE
    back = woken(decisions[-1], SLEEPY, 100.0)
    assert (back.count, back.cause, back.active_s) == (1, Cause.FIRST_CALL, 100.0)
    kept = decide(SLEEPY, back, idle, 129.9, most=16, least=0)
    assert kept.count == 1
    assert run(POLICY, [idle] * looks(100))[-1].count == 1


def test_a_version_that_must_not_be_without_one_gets_a_worker() -> None:
    """A rollout's candidate is woken, and kept."""
    asleep = Decision(count=0, changed_s=0, active_s=0)
    assert decide(SLEEPY, asleep, None, 1, most=16, least=1).count == 1
    assert decide(SLEEPY, asleep, None, 1, most=16, least=0).count == 0


loads = st.floats(0, 60)
noise = st.lists(st.floats(0.8, 1.2), min_size=looks(4 * DELAY_S), max_size=looks(4 * DELAY_S))


@given(loads, st.floats(0, 12))
def test_a_constant_load_has_a_fixed_point(calls: float, busy: float) -> None:
    """It is reached with one change at most, and enough for the load."""
    load = Load(calls=calls, busy=busy, answered_count=1)
    decisions = run(POLICY, [load] * looks(4 * DELAY_S))
    assert len(changes(decisions, 1)) <= 1
    last = decisions[-1].count
    assert last == POLICY.max_replicas or (calls <= 4 * last and busy <= 0.75 * last)


@given(loads, noise, st.integers(1, 16))
def test_noise_changes_the_count_once_a_delay_at_most(
    calls: float, factors: list[float], count: int
) -> None:
    """A load within a fifth of its mean moves the count up once at most, and never to and fro."""
    before = Decision(count=count, changed_s=0, active_s=0)
    around = [Load(calls=calls * factor, answered_count=1) for factor in factors]
    found = changes(run(POLICY, [*around], before), count)
    times = [at for at, _ in found]
    assert all(later - at >= DELAY_S for at, later in pairwise(times))
    counts = [count, *(new for _, new in found)]
    ups = [new > old for old, new in pairwise(counts)]
    assert not any(ups[1:])


@given(st.lists(st.one_of(st.none(), st.builds(Load, calls=loads, busy=loads)), max_size=200))
def test_the_count_stays_within_the_bounds(loads: list[Load | None]) -> None:
    """Whatever is reported."""
    assert all(0 <= one.count <= 16 for one in run(SLEEPY, loads))
    assert all(1 <= one.count <= 16 for one in run(POLICY, loads))


def said(at_s: float, *, waiting: int = 0, answered: int = 0, present_s: float = 0) -> VersionLoad:
    """What a worker says at a time."""
    return VersionLoad(
        model="m",
        version=1,
        began_ns=0,
        at_ns=round(at_s * 1e9),
        open_count=waiting,
        answered_count=answered,
        failed_count=0,
        present_ns=round(present_s * 1e9),
        busy_ns=round(at_s * 5e8),
        latency_counts={latency_bucket(10**9): answered},
    )


def test_load_is_a_difference() -> None:
    """Calls at a time are the time that answered ones stayed; a moment's queue alone is none."""
    load = load_of([said(1), said(2, waiting=90), said(3, answered=10, present_s=6)])
    assert load is not None
    assert (load.calls, load.busy, load.answered_count) == (3.0, 0.5, 10)
    assert load.p99_s == pytest.approx(1.0, rel=0.1)
    assert load_of([said(1)]) is None
    waiting = load_of([said(1, waiting=7), said(2, waiting=9)])
    assert waiting is not None
    assert waiting.calls == 7
    assert together([load, waiting]).calls == 10


def test_a_long_call_is_one_call() -> None:
    """Not none while it runs, and not as many as the seconds it took when it ends."""
    running = load_of([said(1, waiting=1), said(2, waiting=1)])
    assert running is not None
    assert not running.is_idle
    ended = load_of([said(20, waiting=1), said(21, answered=1, present_s=20)])
    assert ended is not None
    assert ended.calls == 1


def test_calls_that_fail_are_calls() -> None:
    """A version under traffic is not idle because none is answered."""
    failing = load_of([said(1), replace(said(2), failed_count=5)])
    assert failing is not None
    assert not together([Load(), failing]).is_idle


def test_what_is_old_or_of_another_life_is_forgotten() -> None:
    """The span is covered as long as something reaches that far back."""
    kept = lately([said(1), said(2), said(3)], said(3.5), 1.0)
    assert [one.at_ns for one in kept] == [2_000_000_000, 3_000_000_000, 3_500_000_000]
    assert lately([said(1)], replace(said(0.1), began_ns=5), 1.0)[0].began_ns == 5
