"""What one worker says of a version's calls and contract, for whoever looks at all of them."""

from dataclasses import dataclass, replace

from serving.ids import VersionKey
from serving.monitor.quality.report import QualityReport
from serving.monitor.traffic import TrafficCounters


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionVitals:
    """One version in one worker, since it was loaded there."""

    traffic: TrafficCounters
    """Without outputs."""
    quality: QualityReport | None = None
    """Its contract's window; without rules and samples. None: it has no contract."""

    @property
    def key(self) -> VersionKey:
        """Which version."""
        return self.traffic.key


def of_the_window(report: QualityReport) -> QualityReport:
    """Leave out what rates are not made of: it is long."""
    return replace(report, rules=(), missing=())
