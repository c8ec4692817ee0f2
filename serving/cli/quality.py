"""`bascule quality`: what the data contracts of a model's versions have seen."""

from collections.abc import Iterator
from typing import Annotated

import typer

from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.render import console, print_json
from serving.cli.tables import plain_table
from serving.edge.quality_call import VersionQuality
from serving.monitor.quality.report import QualityReport, RuleCount
from serving.settings import load_settings

DAY_S = 86_400


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Examples: bascule quality fraud · bascule quality fraud --json")(quality)


def quality(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that is served.")],
    *,
    as_json: Json = False,
) -> None:
    """Show which rules of a model's data contracts were broken, and what was missing.

    Of this node's workers, since they loaded the versions; /metrics has the same counters.
    """
    found = AdminClient(load_settings().admin_socket).quality(model)
    if as_json:
        print_json(found)
        return
    for each in found:
        _show(each)


def _show(each: VersionQuality) -> None:
    report = each.report
    if report is None:
        typer.echo(f"{each.model}:{each.version} has no data contract (bascule contract infer)")
        return
    for line in _lines(each, report):
        typer.echo(line)
    if not report.rules:
        return
    table = plain_table(
        ("rule", "action", "rows", "requests", "latest rows (request id)"),
        right={"rows", "requests"},
    )
    for rule in report.rules:
        table.add_row(
            rule.rule,
            rule.action.value,
            str(rule.row_count),
            str(rule.request_count),
            _samples(rule),
        )
    console().print(table)


def _lines(each: VersionQuality, report: QualityReport) -> Iterator[str]:
    status = "draft contract: nothing is refused" if report.is_draft else "active contract"
    yield (
        f"{each.model}:{each.version}  {status}; requests: {report.request_count}, refused: "
        f"{report.rejected_request_count}; rows: {report.row_count}, that broke a rule: "
        f"{report.violating_row_count}; answers withheld: {report.withheld_answer_count}"
    )
    if report.missing:
        counts = (f"{one.name} {one.kind} {one.count}" for one in report.missing)
        yield f"missing values: {', '.join(counts)}"
    ages = {
        "reference data": report.reference_age_s,
        "training data": report.training_age_s,
    }
    known = [f"{what} {age / DAY_S:.0f} days" for what, age in ages.items() if age is not None]
    if known:
        yield f"age: {', '.join(known)}"
    if report.event_lag_s is not None:
        yield f"latest event: {report.event_lag_s:.1f} s old"
    for alarm in each.alarms:
        yield f"ALARM {alarm.rule}: {alarm.rate:.2%} of the window's rows, limit {alarm.limit:.2%}"


def _samples(rule: RuleCount) -> str:
    shown = [
        f"{one.row}{f' ({one.request_id})' if one.request_id else ''}"
        f"{f' = {one.value}' if one.value else ''}"
        for one in rule.samples[-3:]
    ]
    return ", ".join(shown)
