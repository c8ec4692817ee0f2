"""Day-to-day commands on the running instance: promote, unload, status; and config."""

import sys
import time
from contextlib import suppress
from typing import Annotated, Final

import msgspec
import typer
from rich.console import RenderableType

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.cli.render import console, print_json, status_view
from serving.cli.targets import named_number, named_target
from serving.ids import model_name
from serving.settings import (
    Settings,
    described_settings,
    inherited_environment,
    load_settings,
    without_password,
)

WATCH_S: Final = 1.0

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        epilog="Examples: bascule promote resnet --to 3 · bascule promote resnet --to 4 --force "
        "--reason 'all clients send mask'"
    )(promote)
    app.command(epilog="Examples: bascule unload resnet:2 · bascule unload resnet")(unload)
    app.command(epilog="Examples: bascule status --watch · bascule status --json")(status)
    app.command("config", epilog="Example: BASCULE_HTTP=0.0.0.0:8000 bascule config")(show_config)


def promote(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="VERSION", help="Its number, or @ALIAS for one.")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Even if callers of the live version would break.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why: it goes to the audit log.")] = "",
    as_json: Json = False,
) -> None:
    """Make a version the one that answers calls which name no version.

    The version must be READY; calls in flight finish on the version that they started on. One that
    callers of the live version cannot use (an input renamed, a narrower shape, …) is refused.
    """
    if force and not reason.strip():
        raise InvalidArgumentError("--force needs --reason TEXT: why are callers ready for it?")
    version = named_number(model_name(model), to)
    revision = _client().promote(model, version, force=force, reason=reason)
    if as_json:
        print_json({"model": model, "version": version, "revision": revision})
    else:
        typer.echo(f"{model}: version {version} is live (route revision {revision}, at every edge)")


def unload(
    target: Annotated[str, typer.Argument(metavar="MODEL[:VERSION]", help="Or MODEL@ALIAS.")],
    *,
    as_json: Json = False,
) -> None:
    """Take a version, or every version of a model, out of service.

    A version of the registry is archived: bascule rollout start, or pushing it again, brings it
    back. One of the model repository is left out until it is loaded (explicit mode), changes (poll
    mode), or the instance starts again.
    """
    model, version = named_target(target)
    _client().retire(model, version)
    if as_json:
        print_json({"model": model, "version": version})
    else:
        typer.echo(f"{target} is unloaded")


def status(
    *,
    as_json: Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Refresh each second; with --json a line each.")
    ] = False,
) -> None:
    """Show versions, workers and edges; exit status 1 when a version is not ready."""
    client = _client()
    if watch:
        with suppress(KeyboardInterrupt):
            if as_json or not sys.stdout.isatty():
                _follow(client, as_json=as_json)
            else:
                _watch(client)
        return
    if as_json:
        raw = client.status_bytes()
        print_json(msgspec.json.decode(raw))
        is_ready = client.status().ready
    else:
        seen = client.status()
        console().print(status_view(seen))
        is_ready = seen.ready
    if not is_ready:
        raise typer.Exit(1)


def show_config(*, as_json: Json = False) -> None:
    """Show every setting in force, its value and where it is from."""
    settings = load_settings()
    rows = [
        {
            "setting": variable,
            "value": _value(settings, variable),
            "origin": "environment" if variable in inherited_environment() else "default",
            "meaning": meaning,
        }
        for variable, _, meaning in described_settings()
    ]
    if as_json:
        print_json(rows)
        return
    width = max(len(row["setting"]) for row in rows)
    for row in rows:
        typer.echo(
            f"{row['setting']:<{width}}  {row['value']}  ({row['origin']}: {row['meaning']})"
        )


def _client() -> AdminClient:
    return AdminClient(load_settings().admin_socket)


def _watch(client: AdminClient) -> None:
    from rich.live import Live  # noqa: PLC0415  only watching pays for it

    with Live(console=console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(_view(client), refresh=True)
            time.sleep(WATCH_S)


def _follow(client: AdminClient, *, as_json: bool) -> None:
    """Tell it again and again where nothing can be drawn over: JSON a line each."""
    while True:
        if as_json:
            typer.echo(client.status_bytes())
        else:
            console().print(_view(client))
        time.sleep(WATCH_S)


def _view(client: AdminClient) -> RenderableType:
    try:
        return status_view(client.status())
    except BasculeError as error:
        return error.message


def _value(settings: Settings, variable: str) -> str:
    value = getattr(settings, variable.removeprefix("BASCULE_").lower())
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value) or "-"
    if variable == "BASCULE_REGISTRY_URL" and value:
        return without_password(value)
    return "-" if value in {None, ""} else str(value)
