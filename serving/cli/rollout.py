"""`bascule rollout`: traffic moves to a version, watched and reversible."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.live import Live

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.render import console, print_json
from serving.cli.rollout_options import (
    STANDARD_BAKE,
    STANDARD_SEQUENCE_LIMIT,
    Bake,
    Force,
    Guard,
    KeepOld,
    Limit,
    PlanWords,
    SequenceLimit,
    Shadow,
    Steps,
    StickyBy,
    StrategyWord,
    To,
    plan_body,
)
from serving.cli.rollout_preview import plan
from serving.cli.rollout_report import report
from serving.cli.rollout_view import history_view, rollout_view
from serving.cli.targets import named_number
from serving.errors import NotFoundError
from serving.ids import model_name
from serving.registry.rollouts.plan import Strategy
from serving.registry.rollouts.record import ENDED, Order, Rollout, RolloutState
from serving.settings import load_settings

LOOK_S: Final = 0.25
GOOD_ENDS: Final = frozenset({RolloutState.COMPLETE})

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Reason = Annotated[str, typer.Option(help="Why: it goes to the audit log.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="Move traffic to a version: watched, reversible, recorded.",
        no_args_is_help=True,
        epilog="Example: bascule rollout start resnet --to 3 --strategy canary "
        "--steps 1%:60s,10%,50%",
    )
    group.command(
        "start",
        epilog="Examples: bascule rollout start resnet --to 3 --bake 10m · bascule rollout start "
        "resnet --to 3 --strategy canary --steps 1%:60s,10%:2000,50%:60s --sticky-by bascule-key",
    )(start)
    group.command(
        "plan", epilog="Example: bascule rollout plan resnet --to 3 --strategy canary --steps 10%"
    )(plan)
    group.command("status", epilog="Example: bascule rollout status resnet --json")(status)
    group.command("watch", epilog="Example: bascule rollout watch resnet")(watch)
    for order in Order:
        group.command(order, epilog=f"Example: bascule rollout {order} resnet --reason 'why'")(
            _ordering(order)
        )
    group.command("history", epilog="Example: bascule rollout history resnet")(history)
    group.command(
        "report",
        epilog="Examples: bascule rollout report 12 · bascule rollout report 12 -o rollout-12.html",
    )(report)
    app.add_typer(group, name="rollout")


def start(  # noqa: PLR0913  one option each
    model: Model,
    *,
    to: To,
    strategy: StrategyWord = Strategy.BLUE_GREEN,
    steps: Steps = "",
    sticky_by: StickyBy = "",
    shadow: Shadow = "",
    bake: Bake = STANDARD_BAKE,
    sequence_limit: SequenceLimit = STANDARD_SEQUENCE_LIMIT,
    limit: Limit = None,
    guard: Guard = None,
    keep_old: KeepOld = False,
    force: Force = False,
    reason: Reason = "",
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Begin to move a model's traffic to a version.

    The version is loaded beside the live one, checked, and given traffic as the strategy says.
    When a guardrail is broken it is rolled back by itself. One rollout of a model runs at a time.
    """
    if force and not reason.strip():
        raise InvalidArgumentError("--force needs --reason TEXT: why is it right all the same?")
    words = PlanWords(
        strategy=strategy,
        steps=steps,
        sticky_by=sticky_by,
        shadow=shadow,
        bake=bake,
        sequence_limit=sequence_limit,
        limits=limit or (),
        guards=guard or (),
        keep_old=keep_old,
    )
    body = plan_body(named_number(model_name(model), to), words)
    begun = _client().start_rollout(model, body | {"force": force, "reason": reason.strip()})
    if wait:
        begun = _followed(begun, is_shown=not as_json)
    if as_json:
        print_json(begun)
    elif not wait:
        typer.echo(
            f"rollout {begun.id}: {model} from version {begun.from_version or '-'} to "
            f"{begun.to_version}, {strategy} (bascule rollout watch {model})"
        )
    if wait:
        _exit(begun)


def status(model: Model, *, as_json: Json = False) -> None:
    """Show where the latest rollout of a model stands, and what took it there."""
    report = _client().rollout(_latest(model).id)
    if as_json:
        print_json(report)
    else:
        console().print(rollout_view(report, datetime.now(UTC)))


def watch(model: Model) -> None:
    """Follow the latest rollout of a model until it has ended; exit status 1 if it did not hold."""
    _exit(_followed(_latest(model), is_shown=True))


def history(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="All if left out.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the latest rollouts, newest first."""
    found = _client().rollouts(model)
    if as_json:
        print_json(found)
    else:
        console().print(history_view(found) if found else "there was no rollout yet")


def _ordering(order: Order) -> Callable[..., None]:
    def command(model: Model, *, reason: Reason = "", as_json: Json = False) -> None:
        done = _client().order_rollout(model, order, reason.strip())
        if as_json:
            print_json(done)
        else:
            note = f": {done.note}" if done.note else ""
            typer.echo(f"rollout {done.id} of {model} is {done.state}{note}")

    command.__doc__ = f"{ORDER_HELP[order]}\n"
    return command


ORDER_HELP: Final = {
    Order.PAUSE: "Stay where the rollout of a model stands; guardrails go on watching.",
    Order.RESUME: "Go on with a paused rollout; the time of its step begins anew.",
    Order.SKIP: "Go on to the next step, to the flip, or from the bake or the way back to the end.",
    Order.ABORT: "End the rollout; all traffic goes to the version before.",
}


def _followed(rollout: Rollout, *, is_shown: bool) -> Rollout:
    client = _client()
    report = client.rollout(rollout.id)
    with Live(console=console(), refresh_per_second=4, transient=not is_shown) as live:
        while True:
            report = client.rollout(rollout.id)
            if is_shown:
                live.update(rollout_view(report, datetime.now(UTC)))
            if report.rollout.state in ENDED:
                break
            time.sleep(LOOK_S)
    if is_shown:
        typer.echo()
    return report.rollout


def _exit(rollout: Rollout) -> None:
    if rollout.state not in GOOD_ENDS:
        raise typer.Exit(1)


def _latest(model: str) -> Rollout:
    found = _client().rollouts(model_name(model))
    if not found:
        raise NotFoundError(f"there was no rollout of '{model}' yet (bascule rollout start --help)")
    return found[0]


def _client() -> AdminClient:
    return AdminClient(load_settings().admin_socket)
