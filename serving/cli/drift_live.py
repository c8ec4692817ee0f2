"""`bascule drift MODEL`: how far a served model's rows are from their reference, as of now."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.cli.drift_page import drift_page
from serving.cli.drift_words import alarm_text, effect_text, head, summary_text
from serving.cli.json_flag import Json
from serving.cli.render import console, print_json
from serving.cli.tables import plain_table
from serving.monitor.drift.view import VersionDrift
from serving.rollout.report.html import html
from serving.settings import load_settings

SHOWN_COLUMNS: Final = 12
LOOK_S: Final = 2.0

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model that is served.")]
OneVersion = Annotated[int | None, typer.Option("--version", min=1, help="Only this version.")]


class ShownByDefault(TyperGroup):
    """Takes a first word that is no command for the model to show."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's own click
        """Put the command in that was left out."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


def show(
    model: Model,
    *,
    version: OneVersion = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every 2 s.")] = False,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots into this file.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help=f"All columns, not the first {SHOWN_COLUMNS}.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how far the rows of a served model are from its reference, column by column.

    All workers' rows are judged together. A score of 1 is an alarm.
    """
    client = AdminClient(load_settings().admin_socket)
    found = client.drift(model, version)
    if page is not None:
        _write(page, html(drift_page(model, found)))
    if as_json:
        print_json(found)
        return
    out = console()
    with suppress(KeyboardInterrupt):
        while True:
            for each in found:
                _show(out, each, None if every else SHOWN_COLUMNS)
            if not watch:
                return
            time.sleep(LOOK_S)
            found = client.drift(model, version)
            out.clear()


def ack(
    model: Model,
    *,
    reason: Annotated[str, typer.Option(help="Why it needs no more attention.")],
    version: OneVersion = None,
    alarm: Annotated[str, typer.Option(help="Only the alarm of this id.")] = "",
    as_json: Json = False,
) -> None:
    """Say that open alarms were seen: they are told again only if they get worse."""
    client = AdminClient(load_settings().admin_socket)
    seen = client.acknowledge_drift(model, version, alarm, reason)
    if as_json:
        print_json(seen)
        return
    for one in seen:
        console().print(f"acknowledged {one.id}: {one.severity}, {escape(one.feature)}")


def _show(out: Console, each: VersionDrift, most: int | None) -> None:
    for line in head(each):
        out.print(line, markup=False)
    if each.features:
        table = plain_table(
            ("column", "score", "moved", "reference", f"last {min(each.rows, 4096):,}")
        )
        for one in each.features[:most]:
            table.add_row(
                escape(one.feature),
                f"{one.score:.2f}",
                effect_text(one),
                escape(summary_text(one.before)),
                escape(summary_text(one.after)),
            )
        out.print(table)
    for alarm in each.alarms:
        out.print(alarm_text(alarm), markup=False)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be written: {error.strerror}") from error
