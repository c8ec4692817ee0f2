"""Numbers as a report writes them. Pure."""

from datetime import datetime

from serving.registry.rollouts.plan import WHOLE_SHARE, Plan
from serving.registry.rollouts.record import RolloutState

NOTHING = "-"
_STEP = 1000


def moment(at_utc: datetime | None) -> str:
    """Write a moment; none is a dash."""
    return NOTHING if at_utc is None else f"{at_utc:%Y-%m-%d %H:%M:%S} UTC"


def duration(length_s: float) -> str:
    """Write seconds."""
    return f"{length_s:,.1f} s" if length_s < _STEP else f"{length_s:,.0f} s"


def latency(length_s: float | None) -> str:
    """Write a latency."""
    return NOTHING if length_s is None else f"{length_s * 1e3:,.3g} ms"


def size(size_bytes: float) -> str:
    """Write a size in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < _STEP:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= _STEP
    return f"{size_bytes:,.3g} TB"


def percent(share: float) -> str:
    """Write a share of 1."""
    return f"{100 * share:.4g} %"


def count_of(events: int, everything: int, what: str, deed: str) -> str:
    """Write how many of how many did something."""
    if not everything:
        return f"no {what} came"
    return f"{events:,} of {everything:,} {what} {deed} ({percent(events / everything)})"


def share_in(plan: Plan, state: RolloutState, step: int) -> float:
    """Return the share of calls that the candidate answers in a state, of 1."""
    if state in {RolloutState.SWITCHED, RolloutState.COMPLETE}:
        return 1.0
    is_step = state is RolloutState.CANARY and step < len(plan.steps)
    return plan.steps[step].share / WHOLE_SHARE if is_step else 0.0


def place(plan: Plan, state: RolloutState, step: int) -> str:
    """Name a state, with its step."""
    if state is not RolloutState.CANARY:
        return str(state)
    return f"{state} {step + 1} of {len(plan.steps)} ({percent(share_in(plan, state, step))})"


def short(text: str, limit: int) -> str:
    """Cut a text that is too long, and say so."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters in all)"
