"""`bascule rollback`: alone and lean, because whoever types it is in a hurry."""

import time
from typing import Annotated

import msgspec
import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.targets import named_target
from serving.registry.rollouts.plan import Strategy
from serving.registry.rollouts.record import Rollout, RolloutState
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
    typer.echo(f"{model}: {told(done)} ({time.monotonic() - began_s:.2f} s)")


def told(done: Rollout) -> str:
    """Say what a rollback has done: moved the traffic, or only ended a rollout that was to."""
    live = done.live_version
    if done.plan.strategy is Strategy.ROLLBACK:
        return f"version {live} is live at every edge"
    name = f"rollout {done.id} to version {done.to_version}"
    if done.state is RolloutState.FAILED:
        stays = "nothing is live, as before" if live is None else f"version {live} stays live"
        return f"{name} is ended before any call went there; {stays}"
    if live is None:
        return f"{name} is taken back; nothing is live, as before"
    return f"{name} is taken back; version {live} is live at every edge"
