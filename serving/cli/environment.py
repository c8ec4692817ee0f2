"""`bascule environment`: what a model's versions run in now, and how that has changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.registry_access import opened
from serving.cli.render import console, environment_lines, print_json
from serving.cli.tables import plain_table
from serving.errors import NotFoundError, NotReadyError
from serving.ids import model_name
from serving.monitor.environment.records import Issue
from serving.monitor.environment.telling import Entry, State, entry_of
from serving.registry.environment_history import environment_events
from serving.settings import load_settings

if TYPE_CHECKING:
    from serving.edge.control import ClusterStatus
    from serving.registry.store import Registry

SHOWN_DIGITS: Final = 12
COLOURS: Final = {State.BEGUN: "yellow", State.ENDED: "green", State.NOTED: "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a version runs."""

    version: str
    worker: str
    node: str
    fingerprint: str


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        epilog="Examples: bascule environment resnet · bascule environment resnet --json | "
        "jq '.history[].changes'"
    )(environment)


def environment(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    *,
    limit: Annotated[int, typer.Option(min=1, max=5000, help="The latest so many changes.")] = 30,
    as_json: Json = False,
) -> None:
    """Show what a model's versions run in, what is wrong with it, and what has changed of it.

    Equal fingerprints give equal results. The history is read from the registry, for as long as
    events are kept there; the rest is asked of the instance, if it runs.
    """
    name = model_name(model)
    status = _status()
    places = _places(name, status)
    issues = [] if status is None else [one for one in status.environment if _is_of(name, one)]
    with opened() as registry:
        found = (entry_of(event, name) for event in environment_events(registry))
        history = [entry for entry in found if entry is not None][-limit:]
        if not history and not places and not _is_known(name, registry, status):
            where = "no instance runs" if status is None else "the instance has none"
            raise NotFoundError(
                f"no model '{name}' is in the registry, and {where}: bascule list and bascule "
                "status show all"
            )
    if as_json:
        print_json(
            {
                "model": name,
                "is_running": status is not None,
                "versions": places,
                "issues": issues,
                "history": history,
            }
        )
        return
    _show(name, places, issues, history, is_running=status is not None)


def _show(
    name: str,
    places: list[Place],
    issues: list[Issue],
    history: list[Entry],
    *,
    is_running: bool,
) -> None:
    out = console()
    if places:
        out.print(_places_view(places))
    else:
        why = "no version of it runs" if is_running else "no instance runs"
        typer.echo(f"{name}: {why}")
    for line in environment_lines(issues):
        out.print(line)
    if history:
        out.print(_history_view(history))
    else:
        typer.echo("nothing has changed since it was first seen")


def _places_view(places: Iterable[Place]) -> Table:
    table = plain_table(("version", "worker", "node", "fingerprint"))
    for one in places:
        table.add_row(one.version, one.worker, one.node, one.fingerprint[:SHOWN_DIGITS])
    return table


def _history_view(history: Iterable[Entry]) -> Table:
    table = plain_table(("when (UTC)", "", "what"))
    for one in history:
        table.add_row(
            f"{one.at_utc:%Y-%m-%d %H:%M:%S}",
            Text(one.state.value, style=COLOURS[one.state]),
            Text(one.reason),
        )
    return table


def _status() -> "ClusterStatus | None":
    try:
        return AdminClient(load_settings().admin_socket).status()
    except NotReadyError:
        return None


def _is_known(name: str, registry: "Registry", status: "ClusterStatus | None") -> bool:
    served = () if status is None else status.versions
    return name in registry.models() or any(one.model == name for one in served)


def _places(name: str, status: "ClusterStatus | None") -> list[Place]:
    return [
        Place(version=version, worker=one.worker, node=one.node, fingerprint=fingerprint)
        for one in (status.workers if status is not None else ())
        for version, fingerprint in sorted(one.fingerprints.items())
        if version.rpartition("/")[0] == name
    ]


def _is_of(name: str, issue: Issue) -> bool:
    return any(version.rpartition("/")[0] == name for version in issue.versions)
