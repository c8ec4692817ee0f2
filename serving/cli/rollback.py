"""`bascule rollback`: alone and lean, because whoever types it is in a hurry."""

import time
from typing import Annotated

import msgspec
import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.targets import named_target
from serving.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: bascule rollback resnet --reason 'scores look wrong'")(rollback)


def rollback(
    target: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    *,
    reason: Annotated[str, typer.Option(help="Why: it goes to the audit log.")] = "",
    as_json: Json = False,
) -> None:
    """Give all traffic to the version that was live before, and return when every edge does.

    During a rollout it is aborted. Afterwards the version before is loaded again first, if it is
    not there any more. Nobody has to approve it.
    """
    model, version = named_target(target)
    if version is not None:
        raise InvalidArgumentError(
            f"rollback takes a model: to go to a version of your choice, use bascule promote "
            f"{model} --to {version}"
        )
    began_s = time.monotonic()
    done = AdminClient(load_settings().admin_socket).rollback(model, reason.strip())
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(done)).decode())
        return
    live = done.live_version or done.to_version
    typer.echo(
        f"{model}: version {live} is live at every edge ({time.monotonic() - began_s:.2f} s)"
    )
