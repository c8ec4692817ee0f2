"""`bascule history`, `audit log` and `audit verify`: who changed what, when and why."""

from typing import Annotated, Final

import typer
from rich.text import Text

from serving.cli.json_flag import Json
from serving.cli.registry_access import opened
from serving.cli.render import console, print_json
from serving.cli.shown_text import shown, shown_line
from serving.cli.tables import plain_table
from serving.errors import NotFoundError
from serving.ids import model_name
from serving.registry import audit

MOST_EVENTS: Final = 10_000_000


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: bascule history resnet --limit 20")(history)
    log = typer.Typer(no_args_is_help=True, help="The audit log of the registry.")
    log.command("log", epilog="Example: bascule audit log --limit 20")(show_log)
    log.command(epilog="Example: bascule audit verify")(verify)
    app.add_typer(log, name="audit", epilog="Example: bascule audit verify")


def history(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    *,
    limit: Annotated[int, typer.Option(min=1, max=MOST_EVENTS, help="The latest so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Show what was done to a model, newest first: when, by whom, and why."""
    model_name(model)
    with opened() as registry:
        events = registry.events(model, limit=limit)
    if not events:
        raise NotFoundError(f"the audit log tells nothing of '{model}'")
    _show(events, as_json=as_json)


def show_log(
    *,
    limit: Annotated[int, typer.Option(min=1, max=MOST_EVENTS, help="The latest so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Show what was done to the registry, newest first: versions, and the rules themselves."""
    with opened() as registry:
        events = registry.events(limit=limit)
    _show(events, as_json=as_json)


def verify(*, as_json: Json = False) -> None:
    """Follow the chain of the audit log; exit status 1 at the first event that does not fit."""
    with opened() as registry, registry.database.reading() as connection:
        found = audit.verify(connection)
    if as_json:
        print_json(found)
    elif found.broken:
        typer.echo(f"broken: {found.broken}", err=True)
    else:
        typer.echo(f"{found.event_count} events, unbroken; head {found.head or '-'}")
    if found.broken:
        raise typer.Exit(1)


def _show(events: tuple[audit.Event, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(events)
        return
    table = plain_table(("when (UTC)", "who", "what", "of", "version", "detail", "why"))
    for event in events:
        is_all = event.version is None
        table.add_row(
            f"{event.at_utc:%Y-%m-%d %H:%M:%S}",
            Text(shown_line(event.who)),
            event.action,
            Text(shown_line(event.model or "the registry")),
            ("all" if event.model else "-") if is_all else str(event.version),
            Text(shown(event.detail)),
            Text(shown(event.reason)),
        )
    console().print(table)
