"""The threshold that a budget of false alarms means at the rate of rows. Pure.

A budget in time (`1 per 30d`) is few rows where few come in a second, and many where many do.
The threshold follows the rate when that has changed twofold, once it is known for a while.
"""

from dataclasses import replace
from typing import Final

from serving.monitor.drift.calibration import MIN_ROWS_BETWEEN, threshold_for
from serving.monitor.drift.profile import Profile
from serving.registry.policies.drift_policy import DriftPolicy

KNOWN_S: Final = 60.0
"""Rows are watched for so long before their rate counts."""
CHANGED: Final = 2.0


class Pace:
    """One version's budget. `profile` is the reference with the threshold that holds."""

    def __init__(self, profile: Profile, policy: DriftPolicy) -> None:
        """Begin with what was calibrated, or what the policy says in rows."""
        self._calibrated = profile
        self._since_s: float | None = None
        self.rows_between = profile.allowed.mean_rows_between
        """Rows from one false alarm to the next, on average."""
        self.seconds_between = policy.seconds_between if profile.calibration.scale else None
        """What they follow; None: no time was said, or the reference does not say how."""
        self.profile = profile
        if policy.rows_between is not None:
            self._set(policy.rows_between)

    def follow(self, rows_per_s: float, now_s: float) -> Profile | None:
        """Take in the rate of rows; return the reference with another threshold if that is due."""
        if self.seconds_between is None or not rows_per_s:
            return None
        if self._since_s is None:
            self._since_s = now_s
        wanted = max(self.seconds_between * rows_per_s, MIN_ROWS_BETWEEN)
        is_same = wanted / CHANGED < self.rows_between < wanted * CHANGED
        if is_same or now_s - self._since_s < KNOWN_S or not self._set(wanted):
            return None
        return self.profile

    def _set(self, rows_between: float) -> bool:
        """Set the threshold; False: the reference does not say how."""
        known = self._calibrated.calibration
        threshold = threshold_for(known, self._calibrated.allowed, rows_between)
        if threshold is None:
            return False
        self.rows_between = rows_between
        self.profile = replace(self._calibrated, calibration=replace(known, threshold=threshold))
        return True
