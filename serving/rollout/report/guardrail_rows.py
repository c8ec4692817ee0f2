"""The guardrails by which a change was decided, a row each: numbers, statistic, limit. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from serving.monitor.sequential import Counted
from serving.monitor.traffic import QualityCounts
from serving.registry.rollouts.plan import Guardrails, QualityTest
from serving.rollout.engine.findings import Finding
from serving.rollout.engine.kept import Figures, Kept
from serving.rollout.engine.quality_signs import TESTS, broken, refused
from serving.rollout.report.words import NOTHING, count_of, latency, percent, short, size

LONGEST_TEXT: Final = 2000
COLUMNS: Final = ("guardrail", "candidate", "live version", "statistic", "limit", "verdict")


def rows(kept: Kept, rails: Guardrails) -> Iterator[tuple[str, ...]]:
    """Return a row for each guardrail, on or off."""
    found = {one.guardrail: one for one in kept.findings}
    for name, (is_on, limit, written) in _table(rails).items():
        one = found.get(name)
        if not is_on:
            yield (name, *(NOTHING,) * 4, "off: not compared")
        elif one is None:
            yield (name, *(NOTHING,) * 3, limit, "not measured: nothing to compare came")
        else:
            sides = written(kept.figures) if kept.figures else (short(one.text, LONGEST_TEXT), "")
            yield (name, *sides, _statistic(one), _limit(one, limit), _verdict(one, kept.figures))


Written = Callable[[Figures], tuple[str, str]]


def _table(rails: Guardrails) -> dict[str, tuple[bool, str, Written]]:
    """Each guardrail: whether it is on, its limit in words, and who writes its numbers."""
    quantile = f"p{100 * rails.latency_quantile:g}"
    return {
        "error_rate": (rails.error_rate, "no more than the live version", _errors),
        "latency": (
            rails.latency_ratio > 0,
            f"{quantile} at most {rails.latency_ratio:g} times the live version's",
            lambda figures: _latencies(figures, quantile),
        ),
        "mismatch": (
            rails.mismatch_share >= 0,
            f"{percent(max(0.0, rails.mismatch_share))} of the rows",
            lambda figures: (
                count_of(figures.rows.event_count, figures.rows.all_count, "rows", "are off"),
                "what is compared with",
            ),
        ),
        "output_shift": (rails.output_shift, "the same distribution", _shift),
        "input_quality": _quality(rails, refused, "calls", "were refused"),
        "output_quality": _quality(rails, broken, "answers", "break a rule"),
        "label_loss": (rails.label_loss, "no more than the live version", _labels),
        "restarts": (
            rails.restart_count > 0,
            f"fewer than {rails.restart_count}",
            lambda figures: (f"{figures.restart_count} ends of workers", NOTHING),
        ),
        "memory": (
            rails.memory_growth_share > 0,
            f"{percent(rails.memory_growth_share)} or 64 MiB of growth",
            _memory,
        ),
    }


def _errors(figures: Figures) -> tuple[str, str]:
    one, other = figures.candidate, figures.live
    return (
        count_of(one.fault_count, one.call_count, "calls", "failed"),
        count_of(other.fault_count, other.call_count, "calls", "failed"),
    )


def _latencies(figures: Figures, quantile: str) -> tuple[str, str]:
    count = figures.worse_windows + figures.better_windows + figures.tie_windows
    windows = f"over the ratio in {figures.worse_windows} of {count} windows of both"
    return (
        f"{quantile} {latency(figures.candidate_quantile_s)}; {windows}",
        f"{quantile} {latency(figures.live_quantile_s)}",
    )


def _shift(_: Figures) -> tuple[str, str]:
    return "see the verdict above", NOTHING


def _quality(
    rails: Guardrails, read: Callable[[QualityCounts], Counted], what: str, deed: str
) -> tuple[bool, str, Written]:
    is_limited = rails.data_quality is QualityTest.LIMITED
    limit = (
        f"{percent(rails.violation_share)} of the {what}"
        if is_limited
        else "no more than the live version's contract"
    )

    def told(counts: QualityCounts) -> str:
        counted = read(counts)
        if not counted.all_count:
            return f"no {what} were judged"
        return count_of(counted.event_count, counted.all_count, what, deed)

    def written(figures: Figures) -> tuple[str, str]:
        live = NOTHING if is_limited else told(figures.live_quality)
        return told(figures.candidate_quality), live

    return rails.data_quality in TESTS, limit, written


def _labels(figures: Figures) -> tuple[str, str]:
    one, other = (
        count_of(counted.event_count, counted.all_count, "labelled requests", "are wrong")
        if counted.all_count
        else "no labels came"
        for counted in (figures.labels.candidate, figures.labels.live)
    )
    return one, other


def _memory(figures: Figures) -> tuple[str, str]:
    if not figures.first_rss_bytes:
        return "its worker hosts other versions, or too few calls came", NOTHING
    return f"{size(figures.first_rss_bytes)} → {size(figures.rss_bytes)}", NOTHING


def _statistic(found: Finding) -> str:
    return NOTHING if found.evidence is None else found.evidence.text.partition(", limit")[0]


def _limit(found: Finding, words: str) -> str:
    if found.evidence is None:
        return words
    return f"{words}; e-value {found.evidence.text.rpartition('limit ')[2]}"


def _verdict(found: Finding, figures: Figures | None) -> str:
    if found.is_breach:
        return "BREACHED"
    is_blank = figures is not None and found.guardrail in BLANK and BLANK[found.guardrail](figures)
    return "not measured" if is_blank else "held"


BLANK: Final[Mapping[str, Callable[[Figures], bool]]] = {
    "error_rate": lambda figures: not figures.candidate.call_count,
    "latency": lambda figures: (
        not figures.worse_windows + figures.better_windows + figures.tie_windows
    ),
    "output_shift": lambda figures: not figures.candidate.call_count,
    "input_quality": lambda figures: not figures.candidate_quality.judged_count,
    "output_quality": lambda figures: not figures.candidate_quality.answer_count,
    "label_loss": lambda figures: not figures.labels.candidate.all_count,
    "memory": lambda figures: not figures.first_rss_bytes,
}
"""Guardrail → whether it had nothing to look at, though nothing was found either."""
