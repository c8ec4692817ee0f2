"""Pure: at which rate of calls a server is measured next, until the highest that holds is known."""

from collections.abc import Sequence
from typing import Final

from serving.cli.tune.records import Stage

STAGES: Final = 5
"""Each halves what is not known yet: a thirtieth of the capacity is left."""
FIRST_SHARE: Final = 0.7
"""Of the capacity: close to where most policies end."""
MOST_SHARE: Final = 1.25
"""The capacity was measured for a moment only."""


def next_rate(capacity: float, stages: Sequence[Stage], slo_s: float) -> float | None:
    """Return the rate of the next stage, calls a second; None: it is known well enough.

    Args:
        capacity: Calls a second that clients got who wait for their answers.
        stages: What was measured so far.
        slo_s: What 99 of 100 calls may take.
    """
    if len(stages) >= STAGES or capacity <= 0:
        return None
    if not stages:
        return FIRST_SHARE * capacity
    held = [stage.rate for stage in stages if stage.holds(slo_s)]
    missed = [stage.rate for stage in stages if not stage.holds(slo_s)]
    low = max(held, default=0.0)
    # Noise may break a rate below one that held: what held counts.
    high = min((rate for rate in missed if rate > low), default=MOST_SHARE * capacity)
    return (low + high) / 2
