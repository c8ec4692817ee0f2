"""Rollouts for people: one with its changes, and a list of many."""

from collections.abc import Iterable
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from serving.cli.tables import plain_table
from serving.edge.control import RolloutReport
from serving.registry.rollouts.plan import WHOLE_SHARE
from serving.registry.rollouts.record import ENDED, Rollout, RolloutState

COLOURS = {
    RolloutState.COMPLETE: "green",
    RolloutState.ROLLED_BACK: "red",
    RolloutState.ROLLING_BACK: "red",
    RolloutState.FAILED: "red",
}


def rollout_view(report: RolloutReport, now_utc: datetime) -> RenderableType:
    """Show one rollout: where it stands, and what took it there."""
    rollout = report.rollout
    head = Text.assemble(
        (f"rollout {rollout.id}  ", "bold"),
        f"{rollout.model}: {rollout.from_version or '-'} → {rollout.to_version}  ",
        f"{rollout.plan.strategy}  ",
        (_place(rollout), COLOURS.get(rollout.state, "yellow")),
        f"  for {_length(rollout, now_utc)}",
    )
    table = plain_table(("at (UTC)", "state", "by", "why"))
    for one in report.transitions:
        step = f" {one.step + 1}" if one.state is RolloutState.CANARY else ""
        table.add_row(
            f"{one.at_utc:%H:%M:%S.%f}"[:12], f"{one.state}{step}", Text(one.who), Text(one.reason)
        )
    return Group(head, table, *([Text(f"now: {report.seen}")] if report.seen else []))


def history_view(rollouts: Iterable[Rollout]) -> Table:
    """List rollouts, a line each."""
    table = plain_table(
        ("id", "model", "from", "to", "strategy", "state", "began (UTC)", "by", "note")
    )
    for one in rollouts:
        table.add_row(
            str(one.id),
            Text(one.model),
            str(one.from_version or "-"),
            str(one.to_version),
            str(one.plan.strategy),
            Text(_place(one), style=COLOURS.get(one.state, "yellow")),
            f"{one.created_utc:%Y-%m-%d %H:%M:%S}",
            Text(one.who),
            Text(one.note),
        )
    return table


def _place(rollout: Rollout) -> str:
    place = str(rollout.state)
    if rollout.state is RolloutState.CANARY:
        share = 100 * rollout.share / WHOLE_SHARE
        place += f" {rollout.step + 1}/{len(rollout.plan.steps)} ({share:g} %)"
    return f"{place} (paused)" if rollout.is_paused else place


def _length(rollout: Rollout, now_utc: datetime) -> str:
    end_utc = rollout.ended_utc or now_utc
    since_utc = rollout.created_utc if rollout.state in ENDED else rollout.since_utc
    return f"{(end_utc - since_utc).total_seconds():.1f} s"
