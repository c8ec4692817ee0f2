"""`bascule monitor selftest` and `alarms`: do alarms ring, and which are ringing?"""

from typing import Annotated

import typer
from rich.markup import escape

from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.render import console, print_json
from serving.cli.tables import plain_table
from serving.monitor.drift.alarm_book import utc_text
from serving.monitor.selftest.trial import Outcome, SelfTest, is_good
from serving.settings import load_settings

COLOURS = {
    Outcome.RANG: "green",
    Outcome.QUIET: "green",
    Outcome.SKIPPED: "yellow",
    Outcome.SILENT: "bold red",
    Outcome.FALSE: "bold red",
}


def self_test(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="All that are served if left out.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Prove that every alarm of the running instance rings; exit status 1 if one does not.

    Data that should ring each alarm are made up, and data that should ring none, and judged by
    what judges real ones. Each kind of alarm that rang is sent to the receivers that want it, as an
    event of the type `dev.bascule.monitor.selftest.v1`. No counter, log or alarm of real traffic
    changes.
    """
    found = AdminClient(load_settings().admin_socket).self_test(model)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if not found.is_good:
        raise typer.Exit(1)


def alarms(*, as_json: Json = False) -> None:
    """Show what is wrong now with calls, data and the monitor itself (see also `bascule drift`)."""
    found = AdminClient(load_settings().admin_socket).alarms()
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("nothing is wrong")
    for one in found:
        sign = one.sign
        since = utc_text(one.since_s)
        typer.echo(
            f"{sign.severity.word.upper()} {one.model}:{one.version} {sign.kind} since {since}: "
            f"{sign.text}"
        )


def _show(found: SelfTest) -> None:
    out = console()
    for version in found.versions:
        table = plain_table(("alarm", "made up", "outcome", "what people would read"))
        table.title = f"{version.model}:{version.version}"
        table.title_justify = "left"
        for one in version.trials:
            outcome = f"[{COLOURS[one.outcome]}]{one.outcome}[/]"
            table.add_row(
                escape(f"{one.kind} {one.alarm}"), escape(one.injected), outcome, escape(one.told)
            )
        out.print(table)
    for told in found.receivers:
        colour = COLOURS[told.outcome]
        place = f"{told.kind} to {told.receiver}: " if told.receiver else ""
        out.print(f"[{colour}]{told.outcome}[/] {place}{escape(told.told)}")
    outcomes = found.outcomes()
    broken = sum(not is_good(one) for one in outcomes)
    skipped = outcomes.count(Outcome.SKIPPED)
    verdict = "every alarm rings" if not broken else f"{broken} do not do what they should"
    out.print(f"{len(outcomes)} trials, {skipped} skipped: {verdict}")
