"""How many workers a scaled version shall have: (policy, what was decided, load, now) → decision.

Pure. `work` is the load in workers that are exactly at the policy's target. Up: at once, when there
is more work than workers, to `ROOM` times the work, so several at a time in a burst; or by one when
calls come near their limit while workers are busy. Down: when for the whole delay fewer, with that
room, would have been enough, to the most that it took. To zero: when nobody called for so long.

Between the load that calls for one more and the load that one more is sized for lies a factor of
`ROOM`. A load that stays within a fifth of some value never crosses both, so it changes the number
upwards once at most, and downwards once a delay at most.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Final

from serving.monitor.load import Load
from serving.registry.policies.scaling_policy import ScalingPolicy

ROOM: Final = 1.5
"""Workers are as many as the work needs, times this."""
NEAR_SLO: Final = 0.8
"""So much of its limit may a call take before another worker comes."""
BUSY_FOR_SLO: Final = 0.3
"""Workers that are less busy than this are not why calls are slow."""
SETTLE_S: Final = 3.0
"""So long new workers have to show what they do for calls near their limit."""
_EXACT: Final = 1e-9


class Cause(StrEnum):
    """Why the number of workers changed last."""

    START = "start"  # it has not changed since the version was placed
    CALLS = "calls"  # more calls in a worker at a time than the target
    BUSY = "busy"  # workers run batches for a larger share of the time than the target
    LATENCY = "latency"  # calls come near their limit
    LOW = "low"  # fewer were enough for the whole delay
    IDLE = "idle"  # nobody called
    FIRST_CALL = "first_call"  # somebody called a version without a worker
    BOUNDS = "bounds"  # the policy, or a rollout, asks for others


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided last, and what the next decision needs of the past."""

    count: int
    cause: Cause = Cause.START
    changed_s: float
    active_s: float
    """When somebody called last."""
    needs: tuple[tuple[float, int], ...] = ()
    """How many would have been enough at times of the delay, descending: each but the newest was
    more than all after it."""


def first_decision(
    policy: ScalingPolicy, now_s: float, count: int = 1, *, is_proven: bool = False
) -> Decision:
    """Begin with so many workers as there are.

    One at least, for it proves that the version loads, unless a controller before has seen it.
    """
    count = max(policy.min_replicas, min(policy.max_replicas, count), 0 if is_proven else 1)
    return Decision(count=count, changed_s=now_s, active_s=now_s)


def decide(
    policy: ScalingPolicy,
    before: Decision,
    load: Load | None,
    now_s: float,
    *,
    most: int,
    least: int,
) -> Decision:
    """Decide anew.

    Args:
        policy: What the version asks for.
        before: What was decided last.
        load: Of all workers together; None: nobody knows, so the number is not lowered.
        now_s: Seconds, monotonic.
        most: As many workers as may be: the policy's, or fewer where there is no room.
        least: As few as may be: the policy's, or more where the version must not be without one.
    """
    if before.count == 0 and least == 0:
        return before
    if not least <= before.count <= most:
        return _changed(before, max(least, min(before.count, most)), Cause.BOUNDS, now_s)
    if load is None:
        needs = _with_need(before, before.count, policy, now_s)
        return replace(before, active_s=now_s, needs=needs)
    before = replace(before, active_s=before.active_s if load.is_idle else now_s)
    if least == 0 and now_s - before.active_s >= policy.idle_to_zero_s:
        return _changed(before, 0, Cause.IDLE, now_s)
    return _by_load(policy, before, load, now_s, bounds=(least, most))


def _by_load(
    policy: ScalingPolicy, before: Decision, load: Load, now_s: float, *, bounds: tuple[int, int]
) -> Decision:
    least, most = bounds
    more = _more(policy, before, load, now_s)
    need = max(_enough(_work(policy, load)), least, 1 if more is None else before.count + 1)
    need = min(need, most)
    before = replace(before, needs=_with_need(before, need, policy, now_s))
    if more is not None and need > before.count:
        return _changed(before, need, more, now_s)
    fewer = before.needs[0][1]
    if fewer < before.count and now_s - before.changed_s >= policy.down_delay_s:
        return _changed(before, fewer, Cause.LOW, now_s)
    return before


def woken(before: Decision, policy: ScalingPolicy, now_s: float) -> Decision:
    """Somebody calls: there is a worker, or one comes."""
    if before.count:
        return replace(before, active_s=now_s)
    return _changed(
        replace(before, active_s=now_s), max(policy.min_replicas, 1), Cause.FIRST_CALL, now_s
    )


def _more(policy: ScalingPolicy, before: Decision, load: Load, now_s: float) -> Cause | None:
    """Say why more workers are needed; None: they are not."""
    if load.calls > before.count * policy.target_calls:
        return Cause.CALLS
    if load.busy > before.count * policy.target_busy:
        return Cause.BUSY
    is_slow = policy.slo_p99_s > 0 and load.p99_s > NEAR_SLO * policy.slo_p99_s
    is_settled = now_s - before.changed_s >= SETTLE_S
    if is_slow and is_settled and load.busy > before.count * BUSY_FOR_SLO:
        return Cause.LATENCY
    return None


def _work(policy: ScalingPolicy, load: Load) -> float:
    return max(load.calls / policy.target_calls, load.busy / policy.target_busy)


def _enough(work: float) -> int:
    return ceil(work * ROOM - _EXACT)


def _changed(before: Decision, count: int, cause: Cause, now_s: float) -> Decision:
    return replace(before, count=count, cause=cause, changed_s=now_s)


def _with_need(
    before: Decision, need: int, policy: ScalingPolicy, now_s: float
) -> tuple[tuple[float, int], ...]:
    """Add how many are enough now; forget what is older than the delay, or less than that."""
    oldest_s = now_s - policy.down_delay_s
    kept = [one for one in before.needs if one[0] > oldest_s and one[1] > need]
    return (*kept, (now_s, need))
