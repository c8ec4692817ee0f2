"""An alarm as people and programs read it: which feature, how it moved, how sure that is. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from serving.monitor.drift.columns import IntArray, Role
from serving.monitor.drift.detector import Alarm
from serving.monitor.drift.encoding import Component, Encoder
from serving.monitor.drift.number_codec import NumberReference
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.severity import ALL, Severity, cap_of, judge
from serving.monitor.drift.summaries import (
    LevelSummary,
    NumberSummary,
    largest_share_change,
    summarise_levels,
    summarise_numbers,
    wasserstein_ratio,
)

OTHERS_SHOWN: Final = 5
Summary = NumberSummary | LevelSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftAlert:
    """What an alarm says."""

    severity: Severity
    cap_reason: str
    """Why it is no more than that; empty if nothing holds it down."""
    kind: str
    """input, output, pair, missing, unseen or constant."""
    feature: str
    statistic: str
    score: float
    threshold: float
    deviation: float
    """Of the component that showed it, in standard errors."""
    window_rows: int
    at_row: int
    effect_name: str
    effect: float
    before: Summary
    after: Summary
    other_features: tuple[tuple[str, float], ...]
    """The next ones, and their scores over the threshold: 1 is an alarm."""
    probability: float
    """Of a false alarm within ..."""
    horizon_rows: int
    mean_rows_between: float
    calibration: str
    reference_rows: int
    monitor_digest: str

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**asdict(self), "severity": self.severity.word}

    def text(self, subject: str, since: str = "") -> str:
        """Return it as one line for people; `subject` is what it is about."""
        began = f" since {since}" if since else ""
        moved = f"{self.severity.word.upper()} {subject}: feature {self.feature!r} moved"
        line = f"{moved}{began} ({self.window_rows:,} rows): {_change(self)}"
        line += f". Expected false alarms: 1 per {self.mean_rows_between:,.0f} rows."
        if self.other_features:
            name, ratio = self.other_features[0]
            line += f" Next largest: {name!r} {ratio:.2f}."
        return line + (f" Not more severe: {self.cap_reason}." if self.cap_reason else "")


def alert_of(profile: Profile, encoder: Encoder, alarm: Alarm) -> DriftAlert:
    """Say what an alarm means."""
    component = encoder.components[alarm.component]
    place = next(i for i, c in enumerate(profile.columns) if c.name == component.features[0])
    column = profile.columns[place]
    chosen = slice(int(encoder.bin_starts[place]), int(encoder.bin_starts[place + 1]))
    before, after = profile.bins[chosen], alarm.window_bins[chosen]
    summaries = [
        summarise_numbers(column, bins)
        if isinstance(column, NumberReference)
        else summarise_levels(column, bins)
        for bins in (before, after)
    ]
    name, effect = _effect(profile, alarm, component, before, after)
    is_lost = _is_lost(before, after) and not component.is_pair
    ratios = _ratios(profile, encoder, alarm)
    own = " x ".join(component.features)
    severity = judge(
        name, effect, is_lost=is_lost, alarmed_features=sum(ratio > 1 for ratio in ratios.values())
    )
    cap, reason = cap_of(profile)
    return DriftAlert(
        severity=min(severity, cap),
        cap_reason=reason if severity > cap else "",
        kind="constant" if is_lost else _kind(column.role, component),
        feature=own,
        statistic=component.statistic,
        score=alarm.score,
        threshold=profile.calibration.threshold,
        deviation=alarm.deviation,
        window_rows=alarm.window_rows,
        at_row=alarm.at_row,
        effect_name=name,
        effect=effect,
        before=summaries[0],
        after=summaries[1],
        other_features=_others(ratios, component.features),
        probability=profile.allowed.probability,
        horizon_rows=profile.allowed.horizon_rows,
        mean_rows_between=profile.allowed.mean_rows_between,
        calibration=profile.assumption.value,
        reference_rows=profile.baseline.rows,
        monitor_digest=profile.digest,
    )


def _kind(role: Role, component: Component) -> str:
    if component.is_pair:
        return "pair"
    special = {"missing": "missing", "never seen": "unseen"}
    return special.get(component.statistic, role.value)


def _effect(
    profile: Profile, alarm: Alarm, component: Component, before: IntArray, after: IntArray
) -> tuple[str, float]:
    change = alarm.window_means[alarm.component] - profile.baseline.means[alarm.component]
    column = next(c for c in profile.columns if c.name == component.features[0])
    if component.is_pair:
        return "correlation", abs(float(change))
    if component.statistic in {"missing", "never seen"}:
        return component.statistic, abs(float(change))
    if isinstance(column, NumberReference):
        return "Wasserstein/std", wasserstein_ratio(column, before, after)
    return "share", largest_share_change(before, after)


def _is_lost(before: IntArray, after: IntArray) -> bool:
    """Say whether all rows are in one bin now, and were not."""
    return bool(after.max() >= ALL * max(int(after.sum()), 1) and before.max() < ALL * before.sum())


def _ratios(profile: Profile, encoder: Encoder, alarm: Alarm) -> dict[str, float]:
    """Return each column's largest score over the threshold, pairs left out."""
    ratios = dict.fromkeys((c.name for c in profile.columns), 0.0)
    scores: Sequence[float] = (alarm.component_scores / profile.calibration.threshold).tolist()
    for component, ratio in zip(encoder.components, scores, strict=True):
        if not component.is_pair:
            ratios[component.features[0]] = max(ratios[component.features[0]], ratio)
    return ratios


def _others(ratios: dict[str, float], own: Sequence[str]) -> tuple[tuple[str, float], ...]:
    ranked = sorted((one for one in ratios.items() if one[0] not in own), key=lambda one: -one[1])
    return tuple(ranked[:OTHERS_SHOWN])


def _change(alert: DriftAlert) -> str:
    before, after = alert.before, alert.after
    if alert.kind == "pair":
        moved = f"its relation changed, mean product of normal scores by {alert.effect:.2f}"
    elif isinstance(before, NumberSummary) and isinstance(after, NumberSummary):
        moved = f"median {_short(before.p50)} -> {_short(after.p50)} {after.median_end}".rstrip()
        moved += f", {alert.effect_name} {alert.effect:.2f}"
    else:
        moved = f"{alert.statistic}, {alert.effect_name} changed by {100 * alert.effect:.1f} points"
    missing = f"; missing {100 * before.missing:.1f} % -> {100 * after.missing:.1f} %"
    return moved + missing


def _short(number: float) -> str:
    return "none" if np.isnan(number) else f"{number:.4g}"
