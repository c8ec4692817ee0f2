"""What follows from a receiver's answer: the event is delivered, sent again, or given up. Pure."""

from dataclasses import dataclass
from typing import Final

GIVE_UP_S: Final = 24 * 3600.0
"""After so long an event that was never taken is given up; it is kept, and can be sent again."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0
LONGEST_ASKED_PAUSE_S: Final = 3600.0
"""What a receiver may ask for by Retry-After."""
GONE: Final = 410
NO_ANSWER: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of sending an event once."""

    status: int = NO_ANSWER
    """HTTP's; `NO_ANSWER` where none came."""
    told: str
    """For people: the status, or what went wrong."""
    retry_after_s: float = 0.0
    """What the receiver asked for; 0: nothing."""

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has the event."""
        return 200 <= self.status < 300  # noqa: PLR2004  HTTP's successes


@dataclass(frozen=True, slots=True)
class Again:
    """Send it again."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Send it no more."""

    why: str


def after_failure(
    answer: Answer, *, attempt_count: int, waited_s: float, chance: float
) -> Again | GivenUp:
    """Decide what becomes of an event that a receiver did not take.

    Every refusal is repeated, for a receiver's own fault may look like the event's; only 410 says
    that the receiver wants nothing more.

    Args:
        answer: What came of the last attempt.
        attempt_count: Attempts so far.
        waited_s: Since the receiver was to get it.
        chance: Uniform in [0, 1).
    """
    if answer.status == GONE:
        return GivenUp(f"{answer.told}: it is gone")
    if waited_s >= GIVE_UP_S:
        return GivenUp(f"{answer.told}; given up after {waited_s / 3600:.0f} h")
    asked_s = min(answer.retry_after_s, LONGEST_ASKED_PAUSE_S)
    return Again(max(asked_s, pause_s(attempt_count, chance)))


def pause_s(attempt_count: int, chance: float) -> float:
    """Return how long to wait after so many attempts: doubling, of which half is chance.

    Args:
        attempt_count: At least 1.
        chance: Uniform in [0, 1): receivers' callers shall not come all at once.
    """
    doublings = min(attempt_count - 1, 30)
    whole_s = min(FIRST_PAUSE_S * 2.0**doublings, LONGEST_PAUSE_S)
    return whole_s * (0.5 + chance / 2)
