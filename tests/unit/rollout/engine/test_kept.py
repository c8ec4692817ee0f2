"""What goes on record with a change of a rollout, and comes back from there."""

from serving.monitor.comparison import ComparisonReport, OutputDifference
from serving.monitor.traffic import TrafficDelta
from serving.registry.rollouts.plan import Guardrails, Plan
from serving.registry.rollouts.record import RolloutState, Transition
from serving.rollout.engine.evidence import Compared, Evidence, Look
from serving.rollout.engine.kept import (
    MAX_SAMPLES,
    Arm,
    Kept,
    Sample,
    arm_of,
    decoded_kept,
    with_sample,
)
from tests.fakes.rollouts import BEGAN, rollout_record
from tests.unit.rollout.engine.test_evidence import lives

CANARY = rollout_record(
    state=RolloutState.CANARY, plan=Plan(guardrails=Guardrails(min_call_count=10))
)
REPORT = ComparisonReport(
    model="m",
    version=2,
    against=1,
    compared_rows=20,
    mismatched_rows=1,
    outputs={"y": OutputDifference(mismatched_rows=1, largest_absolute_error=0.5)},
)


def kept_of(evidence: Evidence, state: RolloutState = RolloutState.SWITCHED) -> Kept:
    """What a change into a state leaves behind."""
    return decoded_kept(evidence.kept(state))


def seen_twice() -> Evidence:
    """A canary's evidence after a window of 100 live calls and 50 of the candidate's, 4 failed."""
    evidence = Evidence(CANARY)
    evidence.see(Look(at_s=0, elapsed_s=5, lives=lives()))
    compared = Compared(calls=2, rows=20, mismatched_rows=1, report=REPORT)
    now = lives(old=100, new=46, new_faults=4)
    evidence.see(Look(at_s=1, elapsed_s=6, lives=now, compared=compared))
    return evidence


def test_a_change_keeps_the_numbers_that_were_judged() -> None:
    """Also at a flip, where the watch begins to count anew."""
    figures = kept_of(seen_twice()).figures
    assert figures is not None
    assert (figures.candidate.call_count, figures.candidate.fault_count) == (50, 4)
    assert (figures.live.call_count, figures.is_live_before) == (100, False)


def test_a_change_keeps_what_was_compared_output_by_output() -> None:
    """A controller that is started again, and a state without copies, do not lose it."""
    first = seen_twice().kept(RolloutState.SWITCHED)
    transition = Transition(
        number=5,
        at_utc=BEGAN,
        state=RolloutState.SWITCHED,
        step=0,
        who="engine",
        reason="",
        evidence=first,
    )
    after = Evidence(rollout_record(state=RolloutState.SWITCHED), (transition,))
    after.see(Look(at_s=9, lives=lives()))
    assert kept_of(after, RolloutState.COMPLETE).comparison == REPORT


def test_a_change_keeps_what_happened_when() -> None:
    """A sample for each window, by the wall clock; the next state begins with none."""
    evidence = seen_twice()
    (sample,) = kept_of(evidence).samples
    assert (sample.from_s, sample.until_s, sample.candidate.call_count) == (5, 6, 50)
    evidence.move(rollout_record(state=RolloutState.CANARY, step=1))
    assert kept_of(evidence).samples == ()


def test_samples_are_joined_before_they_are_too_many() -> None:
    """All calls stay counted, no time is left out, and no slow time is lost."""
    samples: tuple[Sample, ...] = ()
    for second in range(1000):
        slow_s = 9.0 if second == 500 else 0.1
        arm = Arm(call_count=3, fault_count=1, p99_s=slow_s)
        samples = with_sample(
            samples, Sample(from_s=second, until_s=second + 1, candidate=arm, live=Arm())
        )
        assert len(samples) <= MAX_SAMPLES
    assert sum(one.candidate.call_count for one in samples) == 3000
    assert [one.until_s for one in samples[:-1]] == [one.from_s for one in samples[1:]]
    assert max(one.candidate.p99_s or 0 for one in samples) == 9.0
    assert {one.live.p99_s for one in samples} == {None}


def test_quantiles_are_those_of_the_calls() -> None:
    """Of 100 calls two are slow: the 99th percentile shows it, the 95th does not."""
    arm = arm_of(TrafficDelta(answered_count=100, latency_counts={80: 98, 120: 2}))
    assert arm.p50_s is not None
    assert arm.p50_s == arm.p95_s
    assert arm.p99_s is not None
    assert arm.p99_s > 30 * arm.p50_s


def test_what_an_older_bascule_kept_is_read() -> None:
    """Its watch is gone on from, and what it did not write is empty."""
    old = '{"verdict":"fine","findings":[],"watch":{"seed":7}}'
    found = decoded_kept(old)
    assert found.watch is not None
    assert (found.verdict, found.watch.seed, found.figures, found.samples) == ("fine", 7, None, ())
