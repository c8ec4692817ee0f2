"""A rollout as the catalog keeps it: where it stands, and every step that took it there."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from serving.ids import VersionKey
from serving.registry.rollouts.plan import Plan


class RolloutState(StrEnum):
    """Where a rollout stands. What follows from a state is done after it was recorded."""

    PENDING = "PENDING"
    """Recorded; it may wait for approvals."""
    PREFLIGHT = "PREFLIGHT"
    """The candidate is wanted; files, graph, nodes and configuration are judged."""
    LOADING = "LOADING"
    """A worker loads it and replays its golden samples."""
    VERIFYING = "VERIFYING"
    """It is READY; what it would change for callers of the live version is judged."""
    SHADOW = "SHADOW"
    """It gets copies of live calls."""
    CANARY = "CANARY"
    """It answers a share of the calls."""
    SWITCHED = "SWITCHED"
    """It is live; the version before stays loaded (bake)."""
    COMPLETE = "COMPLETE"
    ROLLING_BACK = "ROLLING_BACK"
    """The version before is live again, and not yet on every edge."""
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"
    """It ended before any caller could notice."""


ENDED: Final = frozenset({RolloutState.COMPLETE, RolloutState.ROLLED_BACK, RolloutState.FAILED})
HELD: Final = "held: "
"""How the note of a rollout begins that should go back, and whose version before is away."""
WITH_CANDIDATE: Final = frozenset(
    {
        RolloutState.PREFLIGHT,
        RolloutState.LOADING,
        RolloutState.VERIFYING,
        RolloutState.SHADOW,
        RolloutState.CANARY,
    }
)
"""States in which the candidate is wanted, and not live."""


class Order(StrEnum):
    """What operators may ask of a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip-step"
    """Go on to the next step, to the flip, or to the end, without waiting for it."""
    ABORT = "abort"
    """Back to the version before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One rollout as it stands."""

    id: int
    model: str
    from_version: int | None
    """The version that was live at its start; None: there was none."""
    to_version: int
    plan: Plan
    state: RolloutState
    step: int = 0
    """Index of the plan's step, in the state CANARY."""
    since_utc: datetime
    """When it entered its state and step, or went on with it after a pause."""
    is_paused: bool = False
    note: str = ""
    """What it waits for, or why it ended; empty if there is nothing to say."""
    who: str
    reason: str = ""
    created_utc: datetime
    ended_utc: datetime | None = None
    change_count: int = 0
    """Transitions so far: who records the next one says after which."""
    missing_approval_count: int = 0
    """How many approvals its version waits for, while it is PENDING."""
    damage: str = ""
    """Why its plan cannot be read from the catalog: `plan` is a stand-in, and the rollout ends."""

    @property
    def candidate(self) -> VersionKey:
        """The version that traffic is to move to."""
        return VersionKey(self.model, self.to_version)

    @property
    def is_held(self) -> bool:
        """Whether it should go back, and its version before is away."""
        return self.state is RolloutState.SWITCHED and self.note.startswith(HELD)

    @property
    def ending_order(self) -> Order:
        """What ends it: nothing goes back that is on its way already, or has nowhere to go."""
        is_stuck = self.is_held or self.state is RolloutState.ROLLING_BACK
        return Order.SKIP if is_stuck else Order.ABORT

    @property
    def share(self) -> int:
        """Ten-thousandths of the calls that the candidate answers now."""
        if self.state is not RolloutState.CANARY or self.step >= len(self.plan.steps):
            return 0
        return self.plan.steps[self.step].share

    @property
    def live_version(self) -> int | None:
        """The version that shall be live in this state."""
        is_moved = self.state in {RolloutState.SWITCHED, RolloutState.COMPLETE}
        return self.to_version if is_moved else self.from_version


def hindrance(rollouts: Iterable[Rollout], model: str, version: int | None = None) -> str:
    """Say which rollout is in the way of who moves a model's traffic, or takes its versions.

    Args:
        rollouts: Those that have not ended.
        model: Whose traffic.
        version: Only a rollout that this version takes part in is in the way; None: any.
    """
    for one in rollouts:
        if one.model != model or version not in {None, one.from_version, one.to_version}:
            continue
        return (
            f"rollout {one.id} moves '{model}' to version {one.to_version} ({one.state}): end it "
            f"first (bascule rollout {one.ending_order} {model})"
        )
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One transition: recorded as a whole, with what it does to aliases and wanted versions."""

    state: RolloutState
    step: int = 0
    reason: str = ""
    is_paused: bool = False
    evidence: str = ""
    """JSON: what was compared, with numbers."""
    live: int | None = None
    """The version that is live from now on; None: the alias stays as it is, and goes on the way
    back to where there was none."""
    want: tuple[int, ...] = ()
    unwant: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change as it was recorded."""

    number: int
    at_utc: datetime
    state: RolloutState
    step: int
    who: str
    reason: str
    evidence: str = ""
