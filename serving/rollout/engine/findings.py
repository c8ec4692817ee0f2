"""What the guardrails found, in words and numbers. Pure."""

import math
from dataclasses import dataclass

from serving.monitor.sequential import Counted
from serving.monitor.traffic import bucket_end_s
from serving.registry.rollouts.plan import Guardrails, QualityTest
from serving.rollout.engine.histograms import Histogram, quantile_key, size
from serving.rollout.engine.label_signs import LabelSigns
from serving.rollout.engine.latency_signs import LatencyLimit, LatencySigns
from serving.rollout.engine.output_shift import OutputShift
from serving.rollout.engine.quality_signs import QualitySide

_MIB = 2**20
MEANT = "; if it was trained to answer otherwise, start it with --guard mismatch_share=off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """An e-value and what it may not reach, as natural logarithms."""

    log_e: float
    log_limit: float

    @property
    def is_over(self) -> bool:
        """The null is given up."""
        return self.log_e >= self.log_limit

    @property
    def text(self) -> str:
        """For people."""
        return f"e-value {_large(self.log_e)}, limit {_large(self.log_limit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One guardrail by now."""

    guardrail: str
    text: str
    """What was compared, both numbers, counts, the evidence and its limit."""
    is_breach: bool = False
    evidence: Odds | None = None
    """None: a plain limit."""


def error_finding(candidate: Counted, live: Counted, odds: Odds, *, is_before: bool) -> Finding:
    """Say which part of the calls failed."""
    return Finding(
        guardrail="error_rate",
        text=(
            f"the candidate failed {_of(candidate, 'calls')}, the live version "
            f"{_of(live, 'calls')} {_when(is_before=is_before)} ({odds.text})"
        ),
        is_breach=odds.is_over,
        evidence=odds,
    )


def latency_finding(
    signs: LatencySigns, limit: LatencyLimit, odds: Odds, *, is_before: bool
) -> Finding:
    """Say how slow both were."""
    window_count = signs.worse_count + signs.better_count + signs.tie_count
    text = "no window with calls of both versions is complete"
    if window_count:
        percent = f"{100 * limit.quantile:g} %"
        text = (
            f"{percent} of the candidate's {size(signs.candidate):,} calls took at most "
            f"{_duration(signs.candidate, limit)}, of the live version's {size(signs.live):,} "
            f"{_duration(signs.live, limit)} {_when(is_before=is_before)}; it was over "
            f"{limit.ratio:g} times the live version's in {signs.worse_count} of {window_count} "
            f"windows and under in {signs.better_count} ({odds.text})"
        )
    return Finding(guardrail="latency", text=text, is_breach=odds.is_over, evidence=odds)


def mismatch_finding(rows: Counted, limit: float, largest_error: str, odds: Odds) -> Finding:
    """Say how many rows of copied calls differ."""
    worst = f"; {largest_error}" if largest_error else ""
    if limit <= 0:
        is_breach = rows.event_count > 0
        return Finding(
            guardrail="mismatch",
            text=f"{_of(rows, 'compared rows')} are off{worst}; none may be"
            + (MEANT if is_breach else ""),
            is_breach=is_breach,
        )
    return Finding(
        guardrail="mismatch",
        text=f"{_of(rows, 'compared rows')} are off, {limit:.3%} may be{worst} ({odds.text})"
        + (MEANT if odds.is_over else ""),
        is_breach=odds.is_over,
        evidence=odds,
    )


def shift_finding(shift: OutputShift, odds: Odds) -> Finding:
    """Say which output moved most."""
    if not shift.is_begun:
        text = "too few sampled rows to choose groups of outputs by"
    else:
        name, most = max(shift.series.items(), key=lambda item: item[1].log_e)
        text = f"{name} differs most among {len(shift.series)} outputs: {most.text} ({odds.text})"
    return Finding(guardrail="output_shift", text=text, is_breach=odds.is_over, evidence=odds)


def label_finding(signs: LabelSigns, odds: Odds) -> Finding:
    """Say how many answers were wrong by their labels."""
    counts = signs.counts
    return Finding(
        guardrail="label_loss",
        text=(
            f"by their labels {_of(counts.candidate, 'requests')} of the candidate were answered "
            f"wrongly, {_of(counts.live, 'requests')} of the live version "
            f"{_when(is_before=signs.is_before)} ({odds.text})"
        ),
        is_breach=odds.is_over,
        evidence=odds,
    )


def quality_finding(
    side: QualitySide, guardrails: Guardrails, log_limit: float, *, is_before: bool
) -> Finding:
    """Say what data contracts said of both versions' calls."""
    odds, text = _quality(side, guardrails, log_limit, is_before=is_before)
    is_enough = side.candidate.all_count >= guardrails.quality_call_count
    return Finding(
        guardrail=side.guardrail,
        text=f"{text} ({odds.text})",
        is_breach=is_enough and odds.is_over,
        evidence=odds,
    )


def _quality(
    side: QualitySide, guardrails: Guardrails, log_limit: float, *, is_before: bool
) -> tuple[Odds, str]:
    log_e = side.evidence.log_e
    ours = f"by the candidate's data contract {_of(side.candidate, side.what)}"
    if guardrails.data_quality is QualityTest.LIMITED:
        text = f"{ours}, {guardrails.violation_share:.3%} may be"
        return Odds(log_e=log_e, log_limit=log_limit), text
    # Half of its chance is kept for the bound on the live version's rate.
    odds = Odds(log_e=log_e, log_limit=log_limit + math.log(2))
    when = _when(is_before=is_before)
    return odds, f"{ours}, by the live version's {_of(side.live, side.what)} {when}"


def restart_finding(restart_count: int, limit: int) -> Finding:
    """Say how often its workers ended."""
    return Finding(
        guardrail="restarts",
        text=f"the candidate's workers ended by themselves {restart_count} times, limit {limit}",
        is_breach=restart_count >= limit,
    )


def memory_finding(first_bytes: int, now_bytes: int, limit_bytes: float) -> Finding:
    """Say how much a worker grew."""
    if not first_bytes:
        return Finding(guardrail="memory", text="its level is not known yet")
    return Finding(
        guardrail="memory",
        text=(
            f"the candidate's worker grew from {first_bytes / _MIB:,.0f} to "
            f"{now_bytes / _MIB:,.0f} MiB since its first calls, limit {limit_bytes / _MIB:,.0f}"
        ),
        is_breach=now_bytes > limit_bytes,
    )


def _when(*, is_before: bool) -> str:
    return "before the flip" if is_before else "in the same time"


def _of(counted: Counted, what: str) -> str:
    return f"{counted.event_count:,} of {counted.all_count:,} {what} ({counted.share:.3%})"


def _large(log_value: float) -> str:
    if log_value > math.log(1e6):
        return f"10^{log_value / math.log(10):.0f}"
    return (
        f"{math.exp(log_value):,.3g}"
        if log_value < math.log(100)
        else f"{math.exp(log_value):,.0f}"
    )


def _duration(histogram: Histogram, limit: LatencyLimit) -> str:
    return f"{bucket_end_s(quantile_key(histogram, limit.quantile)) * 1e3:,.3g} ms"
