"""How much an alarm matters: evidence alone is not importance. Pure."""

from enum import IntEnum
from typing import Final

from serving.monitor.drift.calibration import Assumption
from serving.monitor.drift.profile import MIN_PAGING_ROWS, Profile

SMALL_EFFECT: Final = 0.1
LARGE_EFFECT: Final = 0.5
SMALL_SHARE: Final = 0.02
SMALL_MISSING: Final = 0.01
ALL: Final = 0.999


class Severity(IntEnum):
    """Who should look, and when."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        """As it is written in reports and metrics."""
        return self.name.lower()


def judge(effect_name: str, effect: float, *, is_lost: bool, alarmed_features: int) -> Severity:
    """Say how much a change matters.

    Args:
        effect_name: What the effect is measured in.
        effect: Its size.
        is_lost: Whether the column is constant or missing now, and was not.
        alarmed_features: How many columns are over the threshold.
    """
    small = {"share": SMALL_SHARE, "missing": SMALL_MISSING, "never seen": SMALL_MISSING}
    if is_lost or effect >= LARGE_EFFECT:
        return Severity.CRITICAL
    if effect >= small.get(effect_name, SMALL_EFFECT) or alarmed_features > 1:
        return Severity.WARNING
    return Severity.INFO


def cap_of(profile: Profile) -> tuple[Severity, str]:
    """Return the most that an alarm by this profile may be, and why."""
    rows = profile.baseline.rows
    if rows < MIN_PAGING_ROWS:
        return Severity.INFO, (
            f"the reference has {rows} rows; alarms are more than notes from "
            f"{MIN_PAGING_ROWS} rows on"
        )
    if profile.assumption is Assumption.IID_ASSUMED:
        return Severity.WARNING, (
            "the reference's rows are not in the order of time, so correlated traffic is not "
            "allowed for (calibration: iid-assumed)"
        )
    return Severity.CRITICAL, ""
