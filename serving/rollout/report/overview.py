"""Who did what and why, what was planned, and how long each state lasted. Pure."""

from collections.abc import Iterator
from typing import Final

from serving.registry.rollouts.book import ENGINE
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import ENDED, RolloutState, Transition
from serving.rollout.report.history import History
from serving.rollout.report.page import Block, Paragraph, Plot, Point, Section, Series, Table, facts
from serving.rollout.report.words import (
    NOTHING,
    duration,
    moment,
    percent,
    place,
    share_in,
    short,
)

LONGEST_REASON: Final = 4000
ENDS: Final = {
    RolloutState.COMPLETE: "It ended well: version {new} then had all calls that name no version.",
    RolloutState.ROLLED_BACK: "It was taken back: {old} then answered as before.",
    RolloutState.FAILED: "It ended before any call that names no version reached version {new}.",
}


def lead(history: History) -> str:
    """Say in a sentence what became of it."""
    rollout = history.rollout
    old = "nobody" if rollout.from_version is None else f"version {rollout.from_version}"
    if _is_cut_short(history):
        return f"It was taken back, and ended before {old} answered: {_note(history)}"
    if rollout.state in ENDED:
        return ENDS[rollout.state].format(new=rollout.to_version, old=old)
    paused = ", paused" if rollout.is_paused else ""
    where = place(rollout.plan, rollout.state, rollout.step)
    return f"It is under way: {where}{paused} since {moment(rollout.since_utc)}."


def _is_cut_short(history: History) -> bool:
    """Whether a limit or an order ended the way back: its end then has a reason of its own."""
    ends = [stop.transition for stop in history.stops[-2:]]
    if tuple(one.state for one in ends) != _WAY_BACK:
        return False
    return ends[1].reason.startswith(f"{ends[0].reason}; ")


def _note(history: History) -> str:
    return short(history.rollout.note, LONGEST_REASON)


def overview(history: History) -> Section:
    """Say what was moved, how, by whom, and how it ended."""
    rollout = history.rollout
    end_utc = rollout.ended_utc or history.made_utc
    return Section(
        title="At a glance",
        blocks=(
            facts(
                (
                    ("model", rollout.model),
                    ("from version", _version(history, rollout.from_version)),
                    ("to version", _version(history, rollout.to_version)),
                    ("strategy", str(rollout.plan.strategy)),
                    ("plan", _plan(rollout.plan)),
                    ("state", place(rollout.plan, rollout.state, rollout.step)),
                    ("note", _note(history)),
                    ("now", history.seen),
                    ("started", f"{moment(rollout.created_utc)} by {rollout.who}"),
                    ("reason", rollout.reason or "none was given"),
                    ("ended", moment(rollout.ended_utc)),
                    ("length", duration((end_utc - rollout.created_utc).total_seconds())),
                    ("report made", moment(history.made_utc)),
                )
            ),
        ),
    )


def people(history: History) -> Section:
    """Say who started, approved, paused, and took back, and why."""
    rollout, (first, *later) = history.rollout, history.stops
    rows = [("started", first.transition.who, moment(rollout.created_utc), rollout.reason)]
    for given in history.approvals:
        is_same = history.new.row is not None and given.digest == history.new.row.digest
        counts = is_same and given.who in history.counted
        of_what = f"digest {given.digest}{'' if counts else '; does not count'}"
        why = f"{given.reason} ({of_what})".strip()
        rows.append(("approved", given.who, moment(given.at_utc), why))
    rows += [
        (_deed(stop.transition), stop.transition.who, moment(stop.transition.at_utc), why)
        for stop in later
        for why in (short(stop.transition.reason, LONGEST_REASON),)
        if stop.transition.who != ENGINE or stop.transition.state in _TOLD
    ]
    needed = history.needed_approval_count
    count = len(history.counted)
    told = f"{needed} approvals are required now, {count} count." if needed else ""
    told = told or "No approval is required of this model now."
    columns = ("what", "who", "when", "why")
    return Section(
        title="Who and why",
        blocks=(Table(columns=columns, rows=tuple(rows)), Paragraph(text=told)),
    )


def timeline(history: History) -> Section:
    """Say when it stood where, for how long, and with which share of the calls."""
    rollout, blocks = history.rollout, list[Block]()
    ends = [stop.transition.at_utc for stop in history.stops[1:]]
    last_utc = rollout.ended_utc or history.made_utc
    rows = []
    for stop, end_utc in zip(history.stops, (*ends, last_utc), strict=True):
        one = stop.transition
        length_s = (end_utc - one.at_utc).total_seconds()
        rows.append(
            (
                moment(one.at_utc),
                place(rollout.plan, one.state, one.step),
                NOTHING if one.state in ENDED else duration(length_s),
                percent(share_in(rollout.plan, one.state, one.step)),
                one.who,
                short(one.reason, LONGEST_REASON),
            )
        )
    columns = ("entered", "state", "lasted", "candidate's share", "by", "why")
    blocks.append(Table(columns=columns, rows=tuple(rows)))
    blocks.append(_share_plot(history))
    return Section(title="Timeline", blocks=tuple(blocks))


_WAY_BACK: Final = (RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK)
_TOLD: Final = frozenset({RolloutState.ROLLING_BACK, *ENDED})


def _deed(transition: Transition) -> str:
    word = transition.reason.partition(":")[0]
    if word in {"paused", "resumed", "skipped", "aborted"}:
        return word
    return "rolled back" if transition.state is RolloutState.ROLLING_BACK else str(transition.state)


def _share_plot(history: History) -> Plot:
    rollout = history.rollout
    points = [
        Point(
            x=(stop.transition.at_utc - rollout.created_utc).total_seconds(),
            y=100 * share_in(rollout.plan, stop.transition.state, stop.transition.step),
        )
        for stop in history.stops
    ]
    end_utc = rollout.ended_utc or history.made_utc
    end_s = (end_utc - rollout.created_utc).total_seconds()
    points.append(Point(x=max(end_s, points[-1].x), y=points[-1].y))
    series = Series(name="candidate", points=tuple(points))
    return Plot(title="Share of the calls", unit="%", series=(series,), is_stepped=True)


def _version(history: History, version: int | None) -> str:
    if version is None:
        return "none: nothing was live"
    side = history.old if version != history.rollout.to_version else history.new
    row = None if side is None else side.row
    if row is None:
        return f"{version} (not in the registry: of a model repository, or removed)"
    return (
        f"{version} (digest {row.digest}, pushed {moment(row.created_utc)} by "
        f"{row.pushed_by or 'nobody knows whom'})"
    )


def _plan(plan: Plan) -> str:
    return "; ".join(_plan_parts(plan))


def _plan_parts(plan: Plan) -> Iterator[str]:
    if plan.has_shadow:
        calls = f", at least {plan.shadow_call_count:,} calls" if plan.shadow_call_count else ""
        yield f"shadow for {duration(plan.shadow_s)}{calls}"
    for step in plan.steps:
        calls = f", at least {step.call_count:,} calls" if step.call_count else ""
        yield f"{percent(step.share / 10_000)} for {duration(step.hold_s)}{calls}"
    yield f"bake for {duration(plan.baked_s)}" if plan.baked_s > 0 else "no bake"
    if plan.sticky_by:
        yield f"callers stick to a version by the header {plan.sticky_by}"
    if plan.keep_old:
        yield "the old version stays loaded"
    if plan.is_forced:
        yield "forced: callers may break"
