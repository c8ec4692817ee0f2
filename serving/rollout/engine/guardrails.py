"""Is the candidate no worse than the live version? Windows in, a verdict out. Pure.

A `Watch` is folded over the windows of a rollout by `observe` and judged by `judged`, after every
window if one likes: each comparison is a sequential test (`sequential`), the allowed chance of a
false alarm is divided equally among those that are on (Bonferroni), and what was once a breach
stays one. Restarts and memory have plain limits.

During a canary both arms are compared in the same time. At a flip the caller hands in the live
version's traffic from before it (`baking`); from then on the candidate is compared with that. That
is before against after and not randomised: what changed for both in between counts against the
candidate. For the error rate and data quality, half of each test's chance is kept for the bound on
the live version's true rate, from the start.

Callers that stick to an arm by a header are the units of chance, not their calls: a caller all of
whose calls fail weighs more than the stated rate allows for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from serving.monitor.sequential import (
    NOTHING,
    Counted,
    Evidence,
    rate_excess,
    share_above,
    share_bound,
)
from serving.monitor.traffic import TrafficDelta
from serving.registry.rollouts.plan import Guardrails
from serving.rollout.engine import label_signs
from serving.rollout.engine.findings import (
    Finding,
    Odds,
    error_finding,
    label_finding,
    latency_finding,
    memory_finding,
    mismatch_finding,
    quality_finding,
    restart_finding,
    shift_finding,
)
from serving.rollout.engine.label_signs import NO_LABELS, LabelCounts, LabelSigns
from serving.rollout.engine.latency_signs import LatencyLimit, LatencySigns, closed, waited
from serving.rollout.engine.output_shift import OutputShift, shifted, stored
from serving.rollout.engine.quality_signs import (
    TEST_COUNT,
    TESTS,
    QualitySigns,
    sides,
    since_flip,
    weighed,
)

MIN_GROWTH_BYTES: Final = 64 * 2**20
"""Memory that a worker may take beyond its level whatever its share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What happened to both versions in some time: the difference of two looks."""

    duration_s: float
    candidate: TrafficDelta = field(default_factory=TrafficDelta)
    live: TrafficDelta = field(default_factory=TrafficDelta)
    compared_rows: int = 0
    """Of copied calls, answered by both versions."""
    mismatched_rows: int = 0
    largest_error: str = ""
    """In words, of what was compared so far; empty: nothing was off."""
    restart_count: int = 0
    """How often the candidate's workers have ended by themselves since calls began, in all."""
    rss_bytes: int = 0
    """Memory of the largest of the candidate's workers now; 0: not known, or not its own."""
    live_rss_bytes: int = 0
    labels: LabelCounts = NO_LABELS
    """What labels that came said of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """All that is known of a rollout's traffic. Kept with the rollout, as JSON."""

    seed: int = 0
    """Decides which calls of the larger arm are compared."""
    baseline: TrafficDelta | None = None
    """The live version's traffic from before the flip; None: it serves in the same time."""
    candidate_calls: Counted = NOTHING
    """Failed, of all."""
    live_calls: Counted = NOTHING
    step_call_count: int = 0
    """The candidate's since the last step."""
    all_calls: Counted = NOTHING
    """The candidate's since the start."""
    errors: Evidence = field(default_factory=Evidence)
    latency: LatencySigns = field(default_factory=LatencySigns)
    rows: Counted = NOTHING
    """Mismatched, of the compared ones."""
    mismatches: Evidence = field(default_factory=Evidence)
    largest_error: str = ""
    shift: OutputShift = field(default_factory=OutputShift)
    quality: QualitySigns = field(default_factory=QualitySigns)
    labels: LabelSigns = field(default_factory=LabelSigns)
    restart_count: int = 0
    first_rss_bytes: int = 0
    """Memory after the candidate's first `min_call_count` calls; 0: not yet."""
    rss_bytes: int = 0
    live_rss_bytes: int = 0
    breaches: Mapping[str, str] = field(default_factory=dict)
    """Guardrail -> what was found when it was first reached."""


class Ruling(StrEnum):
    """What a watch says."""

    WATCHING = "watching"
    """Too few calls to go on."""
    ENOUGH = "enough"
    """As many calls as a step needs, and no guardrail was reached."""
    BREACH = "breach"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a watch says, and why."""

    ruling: Ruling
    reason: str
    findings: tuple[Finding, ...] = ()


def next_step(watch: Watch) -> Watch:
    """Begin a step: its calls are counted anew, what was found stays."""
    return replace(watch, step_call_count=0)


def baking(watch: Watch, baseline: TrafficDelta) -> Watch:
    """Go on without a live arm: compare with its traffic from before the flip.

    Counts begin anew, what was found stays. Calls that wait for the end of a window are left out:
    theirs had another live arm.
    """
    return replace(
        watch,
        baseline=baseline,
        candidate_calls=NOTHING,
        live_calls=_faults(baseline),
        step_call_count=0,
        latency=LatencySigns(evidence=watch.latency.evidence, live=baseline.latency_counts),
        shift=stored(watch.shift, baseline.outputs),
        quality=since_flip(watch.quality, baseline.quality),
        labels=label_signs.since_flip(watch.labels),
    )


def observe(watch: Watch, window: Window, guardrails: Guardrails) -> Watch:
    """Add a window."""
    candidate, live = window.candidate, window.live
    if watch.baseline is not None:
        live = TrafficDelta()
    seen = replace(
        watch,
        candidate_calls=_more(watch.candidate_calls, _faults(candidate)),
        live_calls=_more(watch.live_calls, _faults(live)),
        all_calls=_more(watch.all_calls, _faults(candidate)),
        step_call_count=watch.step_call_count + candidate.call_count,
        errors=_errors(watch, _faults(candidate), _faults(live), guardrails),
        latency=_latency(watch, window.duration_s, candidate, live, guardrails),
        rows=_more(watch.rows, Counted(window.mismatched_rows, window.compared_rows)),
        mismatches=_mismatches(watch.mismatches, window, guardrails),
        largest_error=window.largest_error or watch.largest_error,
        shift=_shift(watch, candidate, live, guardrails),
        quality=_quality(watch, candidate, live, guardrails),
        labels=_labels(watch, window, guardrails),
        restart_count=window.restart_count,
        rss_bytes=window.rss_bytes or watch.rss_bytes,
        live_rss_bytes=window.live_rss_bytes or watch.live_rss_bytes,
    )
    if not seen.first_rss_bytes and seen.all_calls.all_count >= guardrails.min_call_count:
        seen = replace(seen, first_rss_bytes=window.rss_bytes)
    found = {one.guardrail: one.text for one in findings(seen, guardrails) if one.is_breach}
    return replace(seen, breaches={**found, **watch.breaches})


def judged(watch: Watch, guardrails: Guardrails) -> Verdict:
    """Say whether to go on, and why. The same after every look at the same windows."""
    found = findings(watch, guardrails)
    if watch.breaches:
        reasons = (f"{name}: {text}" for name, text in sorted(watch.breaches.items()))
        return Verdict(ruling=Ruling.BREACH, reason="; ".join(reasons), findings=found)
    needed = guardrails.min_call_count
    if watch.step_call_count < needed:
        return Verdict(
            ruling=Ruling.WATCHING,
            reason=f"{watch.step_call_count} of the {needed} calls that are needed came",
            findings=found,
        )
    texts = "; ".join(f"{one.guardrail}: {one.text}" for one in found)
    return Verdict(
        ruling=Ruling.ENOUGH,
        reason=f"no guardrail was reached in {watch.step_call_count:,} calls; {texts}",
        findings=found,
    )


def findings(watch: Watch, guardrails: Guardrails) -> tuple[Finding, ...]:
    """Say what each guardrail that is on has seen by now."""
    is_before = watch.baseline is not None
    limit = -math.log(alpha_each(guardrails))
    found: list[Finding] = []
    if guardrails.error_rate:
        # Half of its chance is kept for the bound on the live version's rate.
        odds = Odds(log_e=watch.errors.log_e, log_limit=limit + math.log(2))
        found.append(
            error_finding(watch.candidate_calls, watch.live_calls, odds, is_before=is_before)
        )
    if guardrails.latency_ratio > 0:
        odds = Odds(log_e=watch.latency.evidence.log_e, log_limit=limit)
        found.append(latency_finding(watch.latency, _limit(guardrails), odds, is_before=is_before))
    if guardrails.mismatch_share >= 0 and watch.rows.all_count:
        odds = Odds(log_e=watch.mismatches.log_e, log_limit=limit)
        found.append(
            mismatch_finding(watch.rows, guardrails.mismatch_share, watch.largest_error, odds)
        )
    if guardrails.output_shift:
        found.append(shift_finding(watch.shift, Odds(log_e=watch.shift.log_e, log_limit=limit)))
    if guardrails.data_quality in TESTS:
        found += [
            quality_finding(side, guardrails, limit, is_before=is_before)
            for side in sides(watch.quality)
        ]
    if guardrails.label_loss:
        odds = Odds(log_e=watch.labels.evidence.log_e, log_limit=limit + math.log(2))
        found.append(label_finding(watch.labels, odds))
    return (*found, *_plain_findings(watch, guardrails))


def comparison_count(guardrails: Guardrails) -> int:
    """Count the comparisons among which the chance of a false alarm is divided.

    It follows from what was recorded when the rollout began: a comparison that a later Bascule
    adds must be off in a plan that does not name it, so that no chance is added under way.
    """
    return (
        guardrails.error_rate
        + (guardrails.latency_ratio > 0)
        + (guardrails.mismatch_share > 0)
        + guardrails.output_shift
        + (guardrails.data_quality in TESTS) * TEST_COUNT
        + guardrails.label_loss
    )


def alpha_each(guardrails: Guardrails) -> float:
    """Return the chance of a false alarm that each comparison has."""
    return guardrails.alpha / max(1, comparison_count(guardrails))


def _plain_findings(watch: Watch, guardrails: Guardrails) -> tuple[Finding, ...]:
    found: list[Finding] = []
    if guardrails.restart_count > 0:
        found.append(restart_finding(watch.restart_count, guardrails.restart_count))
    if guardrails.memory_growth_share > 0:
        first = watch.first_rss_bytes
        limit = first + max(MIN_GROWTH_BYTES, guardrails.memory_growth_share * first)
        found.append(memory_finding(first, watch.rss_bytes, limit))
    return tuple(found)


def _errors(watch: Watch, candidate: Counted, live: Counted, guardrails: Guardrails) -> Evidence:
    if not guardrails.error_rate:
        return watch.errors
    if watch.baseline is None:
        return rate_excess(watch.errors, candidate=candidate, live=live)
    bound = share_bound(_faults(watch.baseline), alpha_each(guardrails) / 2)
    return share_above(watch.errors, candidate, bound)


def _latency(
    watch: Watch,
    duration_s: float,
    candidate: TrafficDelta,
    live: TrafficDelta,
    guardrails: Guardrails,
) -> LatencySigns:
    if guardrails.latency_ratio <= 0:
        return watch.latency
    return closed(
        waited(watch.latency, duration_s, candidate.latency_counts, live.latency_counts),
        _limit(guardrails),
        baseline=None if watch.baseline is None else watch.baseline.latency_counts,
        seed=watch.seed,
    )


def _mismatches(before: Evidence, window: Window, guardrails: Guardrails) -> Evidence:
    if guardrails.mismatch_share <= 0 or not window.compared_rows:
        return before
    counted = Counted(window.mismatched_rows, window.compared_rows)
    return share_above(before, counted, guardrails.mismatch_share)


def _shift(
    watch: Watch, candidate: TrafficDelta, live: TrafficDelta, guardrails: Guardrails
) -> OutputShift:
    if not guardrails.output_shift:
        return watch.shift
    is_stored = watch.baseline is not None
    return shifted(watch.shift, candidate.outputs, live.outputs, is_stored=is_stored)


def _quality(
    watch: Watch, candidate: TrafficDelta, live: TrafficDelta, guardrails: Guardrails
) -> QualitySigns:
    before = watch.baseline
    return weighed(
        watch.quality,
        candidate.quality,
        live.quality,
        guardrails,
        before=None if before is None else (before.quality, alpha_each(guardrails) / 2),
    )


def _labels(watch: Watch, window: Window, guardrails: Guardrails) -> LabelSigns:
    if not guardrails.label_loss:
        return watch.labels
    return label_signs.weighed(watch.labels, window.labels, alpha_each(guardrails))


def _limit(guardrails: Guardrails) -> LatencyLimit:
    return LatencyLimit(quantile=guardrails.latency_quantile, ratio=guardrails.latency_ratio)


def _faults(traffic: TrafficDelta) -> Counted:
    return Counted(traffic.fault_count, traffic.call_count)


def _more(before: Counted, more: Counted) -> Counted:
    return Counted(before.event_count + more.event_count, before.all_count + more.all_count)
