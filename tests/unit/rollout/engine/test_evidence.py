"""What the guardrails of one rollout are shown, and what of it outlives the controller."""

from dataclasses import replace

import pytest

from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.monitor.traffic import Lives, TrafficCounters, TrafficDelta
from serving.registry.rollouts.plan import Guardrails, Plan
from serving.registry.rollouts.record import Rollout, RolloutState, Transition
from serving.registry.version import VersionState
from serving.rollout.engine.evidence import Compared, Evidence, Look, workers_of
from serving.rollout.engine.guardrails import Ruling
from serving.rollout.ports import HostedVersion, WorkerState
from tests.fakes.rollouts import BEGAN, rollout_record

RAILS = Guardrails(min_call_count=10)
OLD, NEW = VersionKey("m", 1), VersionKey("m", 2)
FAST, SLOW = 80, 120


def rollout_in(state: RolloutState) -> Rollout:
    """Return a rollout that stands in a state."""
    return rollout_record(state=state, plan=Plan(guardrails=RAILS))


def lives(old: int = 0, new: int = 0, *, new_faults: int = 0, new_bucket: int = FAST) -> Lives:
    """Return what two workers have counted since they were loaded."""
    counted = {
        OLD: TrafficDelta(answered_count=old, latency_counts={FAST: old}),
        NEW: TrafficDelta(
            answered_count=new, fault_count=new_faults, latency_counts={new_bucket: new}
        ),
    }
    return {
        f"w{key.version}": (
            TrafficCounters(
                model=key.model, version=key.version, began_ns=1, age_s=1e6, counted=delta
            ),
        )
        for key, delta in counted.items()
    }


def test_only_what_came_since_the_first_look_is_compared() -> None:
    """Calls that a version answered before the rollout, or before its first look, do not count."""
    evidence = Evidence(rollout_in(RolloutState.CANARY))
    evidence.see(Look(at_s=0, lives=lives(old=500, new=500)))
    evidence.see(Look(at_s=1, lives=lives(old=520, new=505)))
    assert evidence.call_count() == 5
    assert evidence.verdict().ruling is Ruling.WATCHING
    evidence.see(Look(at_s=2, lives=lives(old=530, new=510)))
    assert evidence.verdict().ruling is Ruling.ENOUGH


def test_lives_that_end_count_and_so_do_silent_ones() -> None:
    """Each life of a worker counts its own calls; one that missed a look is made up."""

    def counted(life: str, count: int, began_ns: int) -> Lives:
        delta = TrafficDelta(answered_count=count, latency_counts={FAST: count})
        found = TrafficCounters(model="m", version=2, began_ns=began_ns, counted=delta)
        return {life: (found,)}

    evidence = Evidence(rollout_in(RolloutState.CANARY))
    evidence.see(Look(at_s=0, lives={}))
    for restart in range(100):
        evidence.see(Look(at_s=restart + 1, lives=counted(f"w2/{restart}", 1, restart)))
    assert evidence.call_count() == 100
    evidence.see(Look(at_s=200, lives=counted("w1/0", 5, 200)))
    evidence.see(Look(at_s=201, lives=counted("w2/99", 4, 99)))
    assert evidence.call_count() == 108


def started_again(evidence: Evidence) -> Evidence:
    """What the next controller has, from what this one kept with a change."""
    kept = Transition(
        number=5,
        at_utc=BEGAN,
        state=RolloutState.CANARY,
        step=0,
        who="engine",
        reason="",
        evidence=evidence.kept(RolloutState.CANARY),
    )
    return Evidence(rollout_in(RolloutState.CANARY), (kept,))


def test_a_candidate_that_fails_is_a_breach_and_stays_one() -> None:
    """Also for a controller that was started again: what was seen is kept with the change."""
    evidence = Evidence(rollout_in(RolloutState.CANARY))
    evidence.see(Look(at_s=0, lives=lives()))
    evidence.see(Look(at_s=1, lives=lives(old=100, new=50, new_faults=50)))
    assert evidence.verdict().ruling is Ruling.BREACH
    again = started_again(evidence)
    assert again.verdict().reason == evidence.verdict().reason


@pytest.mark.parametrize("damaged", ['{"watch": {"see', '{"watch": 3}', "\0"])
def test_what_is_kept_and_damaged_ends_nothing(damaged: str) -> None:
    """It goes on from what was kept before, as a report does; no step of the rollout fails."""
    evidence = Evidence(rollout_in(RolloutState.CANARY))
    evidence.see(Look(at_s=0, lives=lives()))
    evidence.see(Look(at_s=1, lives=lives(old=100, new=50, new_faults=20)))
    good = Transition(
        number=5,
        at_utc=BEGAN,
        state=RolloutState.CANARY,
        step=0,
        who="engine",
        reason="",
        evidence=evidence.kept(RolloutState.CANARY),
    )
    bad = replace(good, number=6, evidence=damaged)
    again = Evidence(rollout_in(RolloutState.CANARY), (good, bad))
    assert again.verdict().reason == evidence.verdict().reason


def test_calls_of_one_step_do_not_pass_the_next_one() -> None:
    """Nor for a controller that was started again in it: each step needs calls of its own."""
    evidence = Evidence(rollout_in(RolloutState.CANARY))
    evidence.see(Look(at_s=0, lives=lives()))
    evidence.see(Look(at_s=1, lives=lives(old=100, new=50)))
    assert evidence.verdict().ruling is Ruling.ENOUGH
    kept = Transition(
        number=5,
        at_utc=BEGAN,
        state=RolloutState.CANARY,
        step=1,
        who="engine",
        reason="",
        evidence=evidence.kept(RolloutState.CANARY),
    )
    again = Evidence(replace(rollout_in(RolloutState.CANARY), step=1), (kept,))
    assert (again.call_count(), again.verdict().ruling) == (0, Ruling.WATCHING)


def test_after_the_flip_the_candidate_is_compared_with_the_time_before() -> None:
    """A candidate that is slower than the old version was is found though nothing runs beside."""
    evidence = Evidence(rollout_in(RolloutState.VERIFYING))
    evidence.see(Look(at_s=0, lives=lives(old=5000)))
    evidence.see(Look(at_s=1, lives=lives(old=5100)))
    evidence.move(rollout_in(RolloutState.SWITCHED))
    for second in range(2, 40):
        counted = lives(old=5100, new=100 * second, new_bucket=SLOW)
        evidence.see(Look(at_s=second, lives=counted))
    verdict = evidence.verdict()
    assert verdict.ruling is Ruling.BREACH
    assert "latency" in verdict.reason


def test_a_shadow_passes_by_its_copies() -> None:
    """No client has asked the candidate: what was compared is what counts."""
    evidence = Evidence(rollout_in(RolloutState.SHADOW))
    evidence.see(Look(at_s=0, lives=lives()))
    evidence.see(Look(at_s=1, lives=lives(old=50), compared=Compared(calls=9, rows=9)))
    assert evidence.verdict().ruling is Ruling.WATCHING
    evidence.see(Look(at_s=2, lives=lives(old=90), compared=Compared(calls=20, rows=20)))
    assert evidence.call_count() == 20
    assert evidence.verdict().ruling is Ruling.ENOUGH


def test_rows_that_differ_are_a_breach() -> None:
    """A hundredth of the rows is off, and a thousandth may be."""
    evidence = Evidence(rollout_in(RolloutState.SHADOW))
    evidence.see(Look(at_s=0, lives=lives()))
    for second in range(1, 12):
        seen = Compared(calls=100 * second, rows=100 * second, mismatched_rows=second)
        evidence.see(Look(at_s=second, lives=lives(old=100 * second), compared=seen))
    assert evidence.verdict().ruling is Ruling.BREACH
    assert "mismatch" in evidence.verdict().reason


def test_ends_of_workers_count_from_the_first_look_on() -> None:
    """Those of before were judged when they happened; each end counts once."""
    worker = WorkerState(
        address=WorkerAddress("d1-0", "local", "/w.sock"),
        pool="d1",
        pid=1,
        state="ready",
        versions={NEW: HostedVersion(state=VersionState.READY)},
        restart_count=1,
        crashed_on=NEW,
    )
    evidence = Evidence(rollout_in(RolloutState.CANARY))
    for second, count in enumerate((1, 1, 2, 2, 3)):
        at_work = replace(worker, restart_count=count)
        evidence.see(Look(at_s=second, lives=lives(new=20 * second), workers=(at_work,)))
    verdict = evidence.verdict()
    assert verdict.ruling is Ruling.BREACH
    assert "2 times" in verdict.reason
    assert workers_of({"d1": (worker,)}, NEW) == (worker,)
    assert workers_of({"d1": (worker,)}, OLD) == ()


def test_ends_of_workers_that_were_kept_count_on() -> None:
    """A controller that is started again adds to them: it began at none, and never came to two."""
    worker = WorkerState(
        address=WorkerAddress("d1-0", "local", "/w.sock"),
        pool="d1",
        pid=1,
        state="ready",
        versions={NEW: HostedVersion(state=VersionState.READY)},
    )
    died = replace(worker, restart_count=1, crashed_on=NEW)
    evidence = Evidence(rollout_in(RolloutState.CANARY))
    evidence.see(Look(at_s=0, lives=lives(), workers=(worker,)))
    evidence.see(Look(at_s=1, lives=lives(new=20), workers=(died,)))
    assert evidence.verdict().ruling is Ruling.ENOUGH

    again = started_again(evidence)
    again.see(Look(at_s=2, lives=lives(new=20), workers=(died,)))
    again.see(Look(at_s=3, lives=lives(new=40), workers=(died,)))
    assert again.verdict().ruling is Ruling.ENOUGH
    again.see(Look(at_s=4, lives=lives(new=60), workers=(replace(died, restart_count=2),)))
    assert again.verdict().ruling is Ruling.BREACH
    assert "2 times" in again.verdict().reason


def test_copies_that_were_compared_before_the_first_look_do_not_count_again() -> None:
    """Workers' totals outlive the controller: only what comes after its first look is new."""
    evidence = Evidence(rollout_in(RolloutState.SHADOW))
    past = Compared(calls=500, rows=500, mismatched_rows=400)
    evidence.see(Look(at_s=0, lives=lives(), compared=past))
    evidence.see(Look(at_s=1, lives=lives(), compared=replace(past, calls=510, rows=510)))
    assert evidence.call_count() == 10
    assert evidence.verdict().ruling is Ruling.ENOUGH
