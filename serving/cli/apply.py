"""`bascule apply`: make live versions, strategies and approvals what a file says."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from serving.cli.admin_client import AdminClient, RefusedCallError
from serving.cli.apply_plan import Difference, Seen, differences, waits_for_people
from serving.cli.json_flag import Json
from serving.cli.models_file import WantedModel, read_models_file
from serving.cli.registry_access import opened, who
from serving.cli.render import print_json
from serving.edge.control import ClusterStatus
from serving.registry.aliases import Author
from serving.registry.approvals import require_approvals, rules
from serving.registry.rollouts.record import ENDED, Rollout, RolloutState
from serving.registry.store import Registry
from serving.settings import load_settings

LOOK_S: Final = 0.25


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        "apply",
        epilog="Examples: bascule apply -f models.yaml --diff · bascule apply -f models.yaml "
        "--wait   A file: {models: {resnet: {version: 3, strategy: canary, steps: [1%:60s, 50%], "
        "bake: 10m, approvals: 2, guardrails: {latency_ratio: 2}}}}",
    )(apply)


def apply(
    *,
    file: Annotated[Path, typer.Option("--file", "-f", help="What shall be live (YAML).")],
    diff: Annotated[bool, typer.Option("--diff", help="Only show what would change.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when all rollouts have ended, or wait for people")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Start again what was rolled back.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make models as a file says; doing it twice does nothing.

    Where another version is live than the file says, a rollout to that one is started. What was
    rolled back is not started again without --retry. Exit status 1: something could not be done,
    or with --wait: not all of it has ended well.
    """
    wanted = read_models_file(file)
    client = AdminClient(load_settings().admin_socket)
    with opened() as registry:
        found = differences(wanted, _seen(client, registry, wanted), retry=retry)
        begun: tuple[Rollout, ...] = ()
        if not diff:
            found, begun = _carried_out(client, registry, wanted, found)
    ended = _ended(client, begun) if wait else begun
    if as_json:
        print_json({"differences": found, "rollouts": ended})
    else:
        _tell(found, ended, f"nothing to do: {len(wanted)} models are as {file} says")
    is_well = not wait or all(one.state is RolloutState.COMPLETE for one in ended)
    if any(one.blocked for one in found) or not is_well:
        raise typer.Exit(1)


def _seen(client: AdminClient, registry: Registry, wanted: Iterable[WantedModel]) -> Seen:
    status = client.status()
    names = [one.model for one in wanted]
    latest = {name: client.rollouts(name) for name in names}
    return Seen(
        live=status.live,
        versions={name: _versions(status, registry, name) for name in names},
        rules=rules(registry),
        latest={name: found[0] for name, found in latest.items() if found},
    )


def _versions(status: ClusterStatus, registry: Registry, model: str) -> frozenset[int]:
    loaded = {one.version for one in status.versions if one.model == model}
    kept = {row.version for row in registry.versions(model) if row.collected_utc is None}
    return frozenset(loaded | kept)


def _carried_out(
    client: AdminClient,
    registry: Registry,
    wanted: Iterable[WantedModel],
    found: Iterable[Difference],
) -> tuple[tuple[Difference, ...], tuple[Rollout, ...]]:
    """Change rules and start rollouts; return what was not done, and what is under way now.

    What the instance refuses for one model keeps nobody from the others.
    """
    bodies: Mapping[str, Mapping[str, object]] = {one.model: one.body for one in wanted}
    done: list[Difference] = []
    begun: list[Rollout] = []
    for one in found:
        if one.requires is not None:
            require_approvals(registry, one.model, one.requires, Author(who=who(), reason="apply"))
        try:
            begun += _begun(client, one, bodies[one.model])
        except RefusedCallError as error:
            done.append(replace(one, blocked=error.message))
        else:
            done.append(one)
    return tuple(done), tuple(begun)


def _begun(client: AdminClient, one: Difference, body: Mapping[str, object]) -> Iterable[Rollout]:
    if one.starts:
        return (client.start_rollout(one.model, body),)
    return () if one.follows is None else (client.rollout(one.follows).rollout,)


def _ended(client: AdminClient, begun: Iterable[Rollout]) -> tuple[Rollout, ...]:
    """Return rollouts when they have ended, or wait for people."""
    return tuple(_last(client, one) for one in begun)


def _last(client: AdminClient, rollout: Rollout) -> Rollout:
    while rollout.state not in ENDED and not waits_for_people(rollout):
        time.sleep(LOOK_S)
        rollout = client.rollout(rollout.id).rollout
    return rollout


def _tell(found: Sequence[Difference], rollouts: Sequence[Rollout], nothing: str) -> None:
    if not found:
        typer.echo(nothing)
    for one in found:
        typer.echo(f"{one.model}: {one.text}{f': not done: {one.blocked}' * bool(one.blocked)}")
    for rollout in rollouts:
        note = f": {rollout.note}" if rollout.note else ""
        typer.echo(f"rollout {rollout.id} of {rollout.model} is {rollout.state}{note}")
