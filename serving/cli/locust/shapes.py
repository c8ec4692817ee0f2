"""How many users there are when: the shapes of a load, as stages. Pure; knows no Locust."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

STEP_COUNT: Final = 4
LOW_SHARE: Final = 0.2
"""Of the users before and after a peak."""
PEAK_FROM: Final = 0.4
PEAK_TO: Final = 0.6
"""Of the duration: between them all users are there."""
SOAK_RAMP_SHARE: Final = 0.1
SOAK_RAMP_MOST_S: Final = 60.0
MOST_STARTS_PER_S: Final = 100.0
"""Locust itself becomes slow when it starts more."""


class Shape(StrEnum):
    """What a load looks like over time."""

    STEADY = "steady"
    STEP = "step"
    SPIKE = "spike"
    SOAK = "soak"


PARTS: Final = {
    Shape.STEADY: ((1.0, 1.0),),
    Shape.STEP: tuple(((step + 1) / STEP_COUNT,) * 2 for step in range(STEP_COUNT)),
    Shape.SPIKE: ((PEAK_FROM, LOW_SHARE), (PEAK_TO, 1.0), (1.0, LOW_SHARE)),
}
"""Until which share of the time which share of the users is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stretch of the load with one number of users."""

    until_s: float
    """Since the load began."""
    user_count: int
    starts_per_s: float
    """How many users may start, or leave, in a second."""


def stages(
    shape: Shape, *, user_count: int, duration_s: float, least_count: int
) -> tuple[Stage, ...]:
    """Return the stages of a load, in order.

    Args:
        shape: How the users come and go.
        user_count: How many there are when most are there.
        duration_s: Of all stages together.
        least_count: No stage has fewer users: one for each way of asking.
    """
    if shape is Shape.SOAK:
        ramp_s = min(SOAK_RAMP_MOST_S, SOAK_RAMP_SHARE * duration_s)
        starts_per_s = min(MOST_STARTS_PER_S, user_count / ramp_s)
        return (Stage(until_s=duration_s, user_count=user_count, starts_per_s=starts_per_s),)
    return tuple(
        Stage(
            until_s=until * duration_s,
            user_count=max(least_count, round(share * user_count)),
            starts_per_s=min(MOST_STARTS_PER_S, float(user_count)),
        )
        for until, share in PARTS[shape]
    )


def stage_at(found: Sequence[Stage], now_s: float) -> Stage | None:
    """Return the stage of a moment; None when the load is over."""
    return next((stage for stage in found if now_s < stage.until_s), None)
