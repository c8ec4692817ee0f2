"""The states of a rollout and its transitions. Pure: (rollout, what is seen) → the next change.

::

    PENDING → PREFLIGHT → LOADING → VERIFYING → [SHADOW] → [CANARY 1…n] → SWITCHED → COMPLETE
       │          │          │          │            │            │            │
       └──────────┴──────────┴──────────┴─ FAILED    └────────────┴────────────┴─ ROLLING_BACK
                                                                                       │
                                                                                  ROLLED_BACK

A change is recorded first, and what it does to aliases and wanted versions is in the same
transaction; routes follow from what is recorded. So a controller that is killed at any moment finds
either the state before, and sees again what it saw, or the state after, and makes the routes obey.

A rollback is guarded, too: while the version before is not ready to take the traffic back, the
rollout stays where it is and says so, without a limit: an operator may end it (`skip-step`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.registry.approval import waiting
from serving.registry.rollouts.plan import Plan, Strategy
from serving.registry.rollouts.record import ENDED, HELD, Change, Order, Rollout, RolloutState
from serving.registry.version import VersionState
from serving.rollout.engine.guardrails import Ruling
from serving.rollout.engine.limits import lets_go, overdue

State = RolloutState

UNOBEYED: Final = "not every edge obeyed"
SEQUENCES_KNOWN_S: Final = 3.0
"""After a flip workers have been asked for their sequences anew, and their answers have come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is seen of a rollout's versions at one moment."""

    live: int | None = None
    """What is live, or shall be; None: nothing is, or it is not known yet."""
    candidate: VersionState | None = None
    """None: it is not known yet."""
    candidate_reason: str = ""
    is_old_ready: bool = True
    """Whether the version before could answer all calls now; True where there was none."""
    is_obeyed: bool = False
    """Whether every living edge obeys what this state asks for."""
    breaks: str = ""
    """What callers of the live version would lose; empty: nothing."""
    missing_approval_count: int = 0
    ruling: Ruling = Ruling.WATCHING
    ruling_reason: str = ""
    has_sequences: bool = False
    """Whether one of the two is served in sequences."""
    old_sequence_count: int | None = None
    """Sequences that the version before has under way; None: it is not served in any."""
    call_count: int = 0
    """Calls that the candidate has answered in this state and step: copies, in SHADOW."""


def next_change(rollout: Rollout, sight: Sight, now_utc: datetime) -> Change | None:
    """Return the transition that is due, or None.

    Args:
        rollout: As it was recorded last.
        sight: What is seen now.
        now_utc: The wall clock: a rollout outlives processes.
    """
    if rollout.state in ENDED:
        return None
    waited_s = max(0.0, (now_utc - rollout.since_utc).total_seconds())  # clocks are set back
    if rollout.state is State.ROLLING_BACK:
        return _returned(rollout, sight, waited_s)
    fault = next(_faults(rollout, sight), None)
    if fault is not None:
        return _back(rollout, sight, fault)
    return None if rollout.is_paused else _onward(rollout, sight, waited_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Which of a rollout's versions could answer all calls now."""

    old: bool = True
    candidate: bool = True


def ordered(rollout: Rollout, order: Order, reason: str, readiness: Readiness) -> Change:
    """Return the transition that an operator asks for.

    Raises:
        InvalidArgumentError: It makes no sense in this state.
    """
    is_going_back = rollout.state is State.ROLLING_BACK
    if rollout.state in ENDED or (is_going_back and order is not Order.SKIP):
        raise InvalidArgumentError(
            f"rollout {rollout.id} is {rollout.state}: there is nothing to {order}"
        )
    if order is Order.ABORT:
        why = f"aborted: {reason}" if reason else "aborted"
        change = _back(rollout, Sight(is_old_ready=readiness.old), why)
        if change is None:
            raise InvalidArgumentError(f"rollout {rollout.id} is {rollout.note}")
        return change
    if order is Order.SKIP:
        return _skipped(rollout, reason, readiness)
    is_paused = order is Order.PAUSE
    if rollout.is_paused is is_paused:
        told = "is paused already" if is_paused else "is not paused"
        raise InvalidArgumentError(f"rollout {rollout.id} {told}")
    why = f"{'paused' if is_paused else 'resumed'}: {reason}".removesuffix(": ")
    return Change(state=rollout.state, step=rollout.step, is_paused=is_paused, reason=why)


def _returned(rollout: Rollout, sight: Sight, waited_s: float) -> Change | None:
    """End the way back when all edges obey, or when that takes too long."""
    if sight.is_obeyed:
        return _ended(rollout, State.ROLLED_BACK, rollout.note)
    is_away = rollout.from_version is not None and not sight.is_old_ready
    away = f"version {rollout.from_version} was not ready to take the traffic back"
    late = overdue(rollout, waited_s, away if is_away else UNOBEYED)
    return _ended(rollout, State.ROLLED_BACK, f"{rollout.note}; {late}") if late else None


def _onward(rollout: Rollout, sight: Sight, waited_s: float) -> Change | None:
    """Go on if the wait of the state is over, or back if it takes too long."""
    change = FORWARD[rollout.state](rollout, sight, waited_s)
    if change is not None:
        return change
    late = overdue(rollout, waited_s, _waits_for(rollout, sight))
    return _back(rollout, sight, late) if late else None


def _waits_for(rollout: Rollout, sight: Sight) -> str:
    """Say what is missing for the next state."""
    state, key = rollout.state, rollout.candidate
    if state is State.PENDING:
        return f"{key} had {sight.missing_approval_count} approvals too few"
    if sight.candidate is not VersionState.READY:
        return f"{key} was not ready"
    if state is State.SWITCHED:
        return UNOBEYED
    return f"{sight.call_count:,} calls were not enough ({sight.ruling_reason or 'too few'})"


def _faults(rollout: Rollout, sight: Sight) -> Iterator[str]:
    """Say why the rollout cannot go on."""
    state, plan = rollout.state, rollout.plan
    if rollout.damage:
        yield rollout.damage
    if state is State.PENDING:
        yield from _overtaken(rollout, sight.live)
        return
    if sight.candidate is VersionState.UNAVAILABLE:
        reason = sight.candidate_reason or "no reason was given"
        yield f"{rollout.candidate} cannot serve: {reason}"
    if plan.strategy is Strategy.ROLLBACK:  # it served before: nothing else is asked of it
        return
    if sight.ruling is Ruling.BREACH:
        yield sight.ruling_reason
    if sight.has_sequences and plan.steps:
        yield no_shares(rollout.model, plan.strategy)
    if state is State.VERIFYING and sight.breaks and not plan.is_forced:
        yield (
            f"{rollout.candidate} would break callers of version {rollout.from_version}: "
            f"{sight.breaks}; start it with --force --reason TEXT if they are ready for it"
        )


def _overtaken(rollout: Rollout, live: int | None) -> Iterator[str]:
    """Say that something else became live while the rollout waited to begin."""
    if live in {None, rollout.from_version}:
        return
    if live == rollout.to_version:
        yield f"{rollout.candidate} became live meanwhile: there is nothing to move"
        return
    was = f"version {rollout.from_version}" if rollout.from_version else "nothing"
    yield (
        f"version {live} became live while the rollout waited, and it was planned from {was}: "
        f"start it again (bascule rollout start {rollout.model} --to {rollout.to_version})"
    )


def no_shares(model: str, strategy: Strategy) -> str:
    """Say why a model has no share of its calls answered by another version."""
    return (
        f"'{model}' is served in sequences (sequence_batching), which cannot be split call by "
        f"call as a {strategy} rollout does: use blue-green, where each sequence ends on the "
        "version that it began on"
    )


def _from_pending(rollout: Rollout, sight: Sight, _: float) -> Change | None:
    is_rollback = rollout.plan.strategy is Strategy.ROLLBACK
    if is_rollback and sight.candidate is VersionState.READY:
        # It may be about to go: the version that it is still loaded for let go of it.
        return replace(_after(rollout, State.VERIFYING, 0), want=(rollout.to_version,))
    # What is live is pinned with it, so that nothing else moves it.
    begun = Change(state=State.PREFLIGHT, live=rollout.from_version, want=(rollout.to_version,))
    missing = sight.missing_approval_count
    if is_rollback or missing == 0:
        return begun
    note = waiting(rollout.candidate, missing)
    return None if rollout.note == note else Change(state=State.PENDING, reason=note)


def _from_preflight(rollout: Rollout, sight: Sight, _: float) -> Change | None:
    is_judged = sight.candidate is not None
    return Change(state=State.LOADING, unwant=_recreated(rollout)) if is_judged else None


def _from_loading(_: Rollout, sight: Sight, __: float) -> Change | None:
    is_ready = sight.candidate is VersionState.READY
    return Change(state=State.VERIFYING, reason=sight.candidate_reason) if is_ready else None


def _from_verifying(rollout: Rollout, sight: Sight, _: float) -> Change | None:
    is_ready = sight.candidate is VersionState.READY
    return _after(rollout, State.VERIFYING, 0) if is_ready else None


def _from_shadow(rollout: Rollout, sight: Sight, waited_s: float) -> Change | None:
    plan = rollout.plan
    is_due = waited_s >= plan.shadow_s and sight.call_count >= plan.shadow_call_count
    return _passed(rollout, sight) if is_due else None


def _from_canary(rollout: Rollout, sight: Sight, waited_s: float) -> Change | None:
    step = rollout.plan.steps[rollout.step]
    is_due = waited_s >= step.hold_s and sight.call_count >= step.call_count
    is_open = rollout.plan.strategy is Strategy.AB  # somebody decides
    return _passed(rollout, sight) if is_due and not is_open else None


def _from_switched(rollout: Rollout, sight: Sight, waited_s: float) -> Change | None:
    is_baked = waited_s >= rollout.plan.baked_s
    is_due = sight.is_obeyed and is_baked and not _has_sequences(rollout.plan, sight, waited_s)
    return _ended(rollout, State.COMPLETE, "") if is_due else None


FORWARD: Final[Mapping[RolloutState, Callable[[Rollout, Sight, float], Change | None]]] = {
    State.PENDING: _from_pending,
    State.PREFLIGHT: _from_preflight,
    State.LOADING: _from_loading,
    State.VERIFYING: _from_verifying,
    State.SHADOW: _from_shadow,
    State.CANARY: _from_canary,
    State.SWITCHED: _from_switched,
}
"""State → what leads on from it: (rollout, what is seen, seconds in the state) → change."""


def _passed(rollout: Rollout, sight: Sight) -> Change | None:
    """Go on from a step whose time is over, if enough was seen and the candidate is there."""
    if sight.ruling is not Ruling.ENOUGH or sight.candidate is not VersionState.READY:
        return None
    return _after(rollout, rollout.state, rollout.step, sight.ruling_reason)


def _after(rollout: Rollout, state: RolloutState, step: int, reason: str = "") -> Change:
    """Return the change into what follows a state."""
    plan = rollout.plan
    if state is State.VERIFYING and (plan.shadow_s > 0 or plan.shadow_call_count > 0):
        return Change(state=State.SHADOW, reason=reason)
    following = step + 1 if state is State.CANARY else 0
    if following < len(plan.steps):
        return Change(state=State.CANARY, step=following, reason=reason)
    return Change(state=State.SWITCHED, reason=reason, live=rollout.to_version)


def _skipped(rollout: Rollout, reason: str, readiness: Readiness) -> Change:
    why = f"skipped: {reason}" if reason else "skipped"
    if rollout.state is State.SWITCHED:
        return _ended(rollout, State.COMPLETE, why)
    if rollout.state is State.ROLLING_BACK:  # the version before may never be ready again
        return _ended(rollout, State.ROLLED_BACK, f"{rollout.note}; {why}")
    if rollout.state not in {State.SHADOW, State.CANARY}:
        raise InvalidArgumentError(
            f"rollout {rollout.id} is {rollout.state}: only SHADOW, CANARY, SWITCHED and "
            "ROLLING_BACK have a wait that can be skipped"
        )
    if not readiness.candidate:
        raise InvalidArgumentError(
            f"rollout {rollout.id} stays {rollout.state}: {rollout.candidate} is not READY and "
            "cannot take more calls"
        )
    return _after(rollout, rollout.state, rollout.step, why)


def _back(rollout: Rollout, sight: Sight, why: str) -> Change | None:
    """Undo what was done so far; hold where the version before cannot take the traffic."""
    state = rollout.state
    has_traffic = state in {State.CANARY, State.SWITCHED} or rollout.plan.strategy is (
        Strategy.RECREATE
    )
    if state is State.PENDING:  # nothing was asked for yet
        return Change(state=State.FAILED, reason=why)
    if not has_traffic and state is not State.SHADOW:
        return _ended(rollout, State.FAILED, why)
    is_unloaded = rollout.plan.strategy is Strategy.RECREATE
    if state is State.SWITCHED and not sight.is_old_ready and not is_unloaded:
        return _held(rollout, why)
    old = rollout.from_version
    return Change(
        state=State.ROLLING_BACK,
        reason=why,
        live=old,
        want=() if old is None else (old,),
        unwant=(rollout.to_version,) if is_unloaded else (),  # both do not fit
    )


def _held(rollout: Rollout, why: str) -> Change | None:
    if rollout.is_held:
        return None
    note = (
        f"{HELD}version {rollout.from_version} is not ready to take the traffic back: {why}; to "
        f"keep version {rollout.to_version} all the same: bascule rollout {Order.SKIP} "
        f"{rollout.model}"
    )
    return Change(state=rollout.state, step=rollout.step, reason=note, is_paused=rollout.is_paused)


def _ended(rollout: Rollout, state: RolloutState, why: str) -> Change:
    """End: what serves no purpose any more is no longer wanted, unless it was wanted before."""
    is_done = state is State.COMPLETE
    gone = rollout.from_version if is_done else rollout.to_version
    stays = gone is None or (is_done and rollout.plan.keep_old)
    return Change(state=state, reason=why, unwant=() if stays or gone is None else (gone,))


def _recreated(rollout: Rollout) -> tuple[int, ...]:
    """What goes before the candidate is loaded: the old version, where both do not fit."""
    old = rollout.from_version
    is_recreated = rollout.plan.strategy is Strategy.RECREATE
    return (old,) if is_recreated and old is not None else ()


def _has_sequences(plan: Plan, sight: Sight, waited_s: float) -> bool:
    """Whether the version before stays loaded for the sequences that began on it."""
    if lets_go(plan) or sight.old_sequence_count is None or waited_s >= plan.sequence_limit_s:
        return False
    return sight.old_sequence_count > 0 or waited_s < SEQUENCES_KNOWN_S
