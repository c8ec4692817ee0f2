"""Pure: what is known of drift, in words: a line of scores, how a column moved, when."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from serving.monitor.drift.view import DriftAlarm, FeatureDrift, ScorePoint, VersionDrift

BARS: Final = "▁▂▃▄▅▆▇█"
SPARK_POINTS: Final = 60
DAY_S: Final = 86_400.0
LONG: Final = ((DAY_S, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
SHOWN_LEVELS: Final = 3


def spark(points: Sequence[ScorePoint]) -> str:
    """Draw scores as a line of bars; the highest bar is a score of 1, an alarm, or more."""
    step = -(-len(points) // SPARK_POINTS) or 1
    tops = [
        max(point.score for point in points[at : at + step]) for at in range(0, len(points), step)
    ]
    return "".join(BARS[min(int(top * (len(BARS) - 1)), len(BARS) - 1)] for top in tops)


def moment(at_s: float) -> str:
    """Write an instant."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def long_text(span_s: float) -> str:
    """Write a span of time, in the largest unit that it has."""
    for unit_s, name in LONG:
        if span_s >= unit_s:
            return f"{span_s / unit_s:.3g} {name}"
    return "less than a second"


def head(each: VersionDrift) -> list[str]:
    """Say what is watched, by what, and how often that errs."""
    lines = [f"{each.model}:{each.version}  {each.state}  reference: {each.reference}"]
    if each.reference_rows:
        lines[0] += f" ({each.reference_rows:,} rows, {each.calibration})"
    if each.reason:
        lines.append(each.reason)
    if not each.reference_rows:
        return lines
    lines.append(
        f"{each.rows:,} rows watched by {each.worker_count} workers, {each.rows_per_s:.3g} a "
        f"second, {each.skipped_rows:,} skipped"
    )
    between = f"one in {each.rows_between_false_alarms:,.0f} rows"
    if each.seconds_between_false_alarms is not None:
        between += f", {long_text(each.seconds_between_false_alarms)} at this rate"
    lines.append(f"expected false alarms: {between}; most severe: {each.most_severe}")
    if each.history:
        lines.append(f"score  {spark(each.history)}  since {moment(each.history[0].at_s)}")
    return lines


def effect_text(one: FeatureDrift) -> str:
    """Say how far a column moved."""
    if one.effect is None:
        return "-"
    is_share = one.effect_name == "share"
    return f"{100 * one.effect:.1f} points" if is_share else f"{one.effect:.2f} sd"


def summary_text(summary: Mapping[str, Any]) -> str:
    """Write a column's summary."""
    if not summary:
        return "-"
    if "p50" in summary:
        p05, p50, p95 = (_number(summary[name]) for name in ("p05", "p50", "p95"))
        end = f" {summary['median_end']}" if summary.get("median_end") else ""
        text = f"{p50}{end} [{p05}, {p95}]"
    else:
        levels = summary["top_levels"][:SHOWN_LEVELS]
        text = ", ".join(f"{name} {100 * share:.0f} %" for name, share in levels)
        if summary["never_seen"]:
            text += f", never seen {100 * summary['never_seen']:.1f} %"
    return text + (f", missing {100 * summary['missing']:.1f} %" if summary["missing"] else "")


def alarm_text(alarm: DriftAlarm) -> str:
    """Say what an alarm is, and what became of it."""
    text = f"{alarm.id}: {alarm.text} Noticed {alarm.count} times, last {moment(alarm.last_s)}."
    if alarm.acknowledged is not None:
        said = alarm.acknowledged
        text += f" Acknowledged by {said.who}, {moment(said.at_s)}: {said.reason}."
    return text + ("" if alarm.is_open else " It is over.")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
