"""By which numbers each change of a rollout was decided, and how often that errs. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from serving.registry.rollouts.plan import Guardrails
from serving.rollout.engine.evidence import COMPARED_STATES
from serving.rollout.engine.guardrails import alpha_each, comparison_count
from serving.rollout.engine.kept import Arm, Figures, Kept, Sample
from serving.rollout.report.guardrail_rows import COLUMNS, rows
from serving.rollout.report.history import History
from serving.rollout.report.page import Block, Paragraph, Plot, Point, Section, Series, Table
from serving.rollout.report.words import (
    latency,
    moment,
    percent,
    place,
    short,
)

LONGEST_TEXT: Final = 2000


def guardrails(history: History) -> Section:
    """Say by which numbers each change was decided, and how often that errs."""
    rails = history.rollout.plan.guardrails
    blocks: list[Block] = [Paragraph(text=_odds_text(rails))]
    for title, kept in _decisions(history):
        blocks.append(Paragraph(text=f"{title}: {short(kept.verdict, LONGEST_TEXT)}"))
        blocks.append(Table(columns=COLUMNS, rows=tuple(rows(kept, rails)), caption=_caption(kept)))
    if len(blocks) == 1:
        text = "Nothing was compared: it stood in no state in which guardrails look."
        blocks.append(Paragraph(text=text))
    blocks += _plots(history)
    return Section(title="Guardrails", blocks=tuple(blocks))


def samples_of(history: History) -> tuple[Sample, ...]:
    """Return the windows of all states, in order; what was kept twice comes once."""
    found: list[Sample] = []
    kept = [*(stop.kept for stop in history.stops), *([history.now] if history.now else [])]
    for one in kept:
        if one.samples:
            found = [old for old in found if old.until_s <= one.samples[0].from_s]
            found += one.samples
    return tuple(found)


def _decisions(history: History) -> Iterator[tuple[str, Kept]]:
    plan = history.rollout.plan
    for before, after in zip(history.stops, history.stops[1:], strict=False):
        one, other = before.transition, after.transition
        was_compared = one.state in COMPARED_STATES
        if was_compared and (after.kept.findings or after.kept.figures is not None):
            where = f"{place(plan, one.state, one.step)} → {place(plan, other.state, other.step)}"
            yield f"{where}, {moment(other.at_utc)}", after.kept
    if history.now is not None:
        rollout = history.rollout
        yield f"Now, {place(plan, rollout.state, rollout.step)}", history.now


def _odds_text(rails: Guardrails) -> str:
    count = comparison_count(rails)
    if not count:
        return "No comparison that chance has a part in is on."
    return (
        f"A candidate that is as good as the live version is taken back by chance with at most "
        f"{percent(rails.alpha)} (alpha), however often one looks: {percent(alpha_each(rails))} "
        f"for each of the {count} sequential tests that are on, of which those of rates keep half "
        "for the bound on the live version's rate. An e-value that reaches its limit ends the "
        "rollout. For plain limits (restarts, memory, no row off) no such chance is stated."
    )


def _caption(kept: Kept) -> str:
    figures = kept.figures
    if figures is None:
        return "Numbers were not recorded one by one: an older Bascule wrote this."
    live = "from before the flip" if figures.is_live_before else "in the same time"
    arms = [f"{name}: {_arm_text(arm)}" for name, arm in _arms(figures)]
    return f"{'; '.join(arms)} ({live})"


def _arms(figures: Figures) -> tuple[tuple[str, Arm], tuple[str, Arm]]:
    return ("candidate", figures.candidate), ("live", figures.live)


def _arm_text(arm: Arm) -> str:
    if arm.p50_s is None:
        return f"{arm.call_count:,} calls, latencies not counted"
    return (
        f"{arm.call_count:,} calls, p50 {latency(arm.p50_s)}, p95 {latency(arm.p95_s)}, "
        f"p99 {latency(arm.p99_s)}"
    )


def _plots(history: History) -> Iterator[Block]:
    samples = samples_of(history)
    if not samples:
        yield Paragraph(text="No window of traffic was recorded, so there is nothing to plot.")
        return
    yield Plot(
        title="Latency",
        unit="ms",
        series=(
            _line(samples, "candidate p50", lambda one: one.candidate.p50_s, 1e3),
            _line(samples, "candidate p99", lambda one: one.candidate.p99_s, 1e3, is_dashed=True),
            _line(samples, "live p50", lambda one: one.live.p50_s, 1e3, is_candidate=False),
            _line(
                samples,
                "live p99",
                lambda one: one.live.p99_s,
                1e3,
                is_candidate=False,
                is_dashed=True,
            ),
        ),
    )
    yield Plot(
        title="Failed calls",
        unit="calls in a window",
        series=(
            _line(samples, "candidate", lambda one: one.candidate.fault_count),
            _line(samples, "live", lambda one: one.live.fault_count, is_candidate=False),
        ),
    )


def _line(
    samples: Sequence[Sample],
    name: str,
    read: Callable[[Sample], float | None],
    factor: float = 1.0,
    *,
    is_candidate: bool = True,
    is_dashed: bool = False,
) -> Series:
    points = tuple(
        Point(x=sample.until_s, y=factor * value)
        for sample in samples
        for value in (read(sample),)
        if value is not None
    )
    return Series(name=name, points=points, is_candidate=is_candidate, is_dashed=is_dashed)
