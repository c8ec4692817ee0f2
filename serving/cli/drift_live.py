"""`bascule drift MODEL`: how far a served model's rows are from their reference, as of now."""

from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.render import console, print_json
from serving.monitor.drift.view import VersionDrift
from serving.settings import load_settings

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model that is served.")]
OneVersion = Annotated[int | None, typer.Option("--version", min=1, help="Only this version.")]


class ShownByDefault(TyperGroup):
    """Takes a first word that is no command for the model to show."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's own click
        """Put the command in that was left out."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


def show(model: Model, *, version: OneVersion = None, as_json: Json = False) -> None:
    """Show how far the rows of a served model are from its reference, column by column."""
    found = AdminClient(load_settings().admin_socket).drift(model, version)
    if as_json:
        print_json(found)
        return
    for each in found:
        _show(each)


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
        console().print(f"acknowledged {one.id}: {one.severity}, {one.feature}")


def _show(each: VersionDrift) -> None:
    out = console()
    out.print(f"{each.model}:{each.version} {each.state}, {each.rows:,} rows")
    table = Table(box=None, pad_edge=False)
    for column in ("feature", "score", "effect"):
        table.add_column(column)
    for one in each.features:
        table.add_row(one.feature, f"{one.score:.2f}", f"{one.effect or 0:.2f}")
    out.print(table)
    for alarm in each.alarms:
        out.print(alarm.text)
