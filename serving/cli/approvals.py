"""`bascule approve` and `bascule approvals`: people who vouch for a version before it is live."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from serving.cli.json_flag import Json
from serving.cli.registry_access import Reason, opened, who
from serving.cli.render import console, print_json
from serving.cli.tables import plain_table
from serving.ids import model_name
from serving.registry.aliases import Author, named_version
from serving.registry.approval import waiting
from serving.registry.approvals import Standing, approve, require_approvals, rules, standings

LISTING: Final = "list"


class Listing(TyperGroup):
    """A group whose words without a command are those of its list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer brings a click of its own
        """Read the words; `approvals resnet` is `approvals list resnet`."""
        is_named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_named else [LISTING, *args])


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        cls=Listing,
        help="Show who approved what, and what is missing; say how many approvals a model needs.",
        epilog="Examples: bascule approvals resnet · bascule approvals require resnet 2",
    )
    group.command(LISTING, epilog="Example: bascule approvals resnet")(show)
    group.command(
        "require", epilog="Example: bascule approvals require resnet 2 --reason 'audit of May'"
    )(require)
    app.add_typer(group, name="approvals")
    app.command(
        "approve", epilog="Example: bascule approve resnet:3 --reason 'golden and card are fine'"
    )(give)


def give(
    target: Annotated[str, typer.Argument(metavar="MODEL:VERSION", help="Or MODEL@ALIAS.")],
    *,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Vouch for a version, as it is in the registry: its digest is recorded with your name.

    Whoever pushed it cannot. A rollout that waits for it goes on by itself.
    """
    with opened() as registry:
        key = named_version(registry, target)
        done = approve(registry, key, Author(who=who(), reason=reason.strip()))
    if as_json:
        print_json(done)
        return
    rest = _rest(done) or "nothing is missing"
    typer.echo(f"{key} (digest {done.digest[:12]}) is approved by {who()}: {rest}")


def require(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="It need not be there yet.")],
    count: Annotated[int, typer.Argument(metavar="N", help="How many people; 0: nobody.")],
    *,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Let versions of a model get traffic only when N people, not the pusher, have approved them.

    What is live stays live. Rollouts wait, promotions are refused, a rollback never asks. Calls
    that name a version reach it as soon as it is loaded.
    """
    with opened() as registry:
        author = Author(who=who(), reason=reason.strip())
        before = require_approvals(registry, model_name(model), count, author)
    if as_json:
        print_json({"model": model, "required": count, "before": before})
    else:
        typer.echo(f"{model}: {count} approvals are required (before: {before})")


def show(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="All if left out.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show who approved what, and what is missing."""
    with opened() as registry:
        found = standings(registry, None if model is None else model_name(model))
        required = rules(registry)
    if as_json:
        print_json({"required": required, "versions": found})
    elif found:
        console().print(_view(found))
    else:
        told = ", ".join(f"{name} requires {n}" for name, n in sorted(required.items()))
        typer.echo(f"no version waits or was approved{f' ({told})' if told else ''}")


def _view(found: Iterable[Standing]) -> Table:
    table = plain_table(("version", "digest", "pushed by", "approved by", "state"))
    for one in found:
        people = "\n".join(
            f"{each.who} {each.at_utc:%Y-%m-%d %H:%M} {each.reason}".rstrip()
            for each in one.approvals
        )
        state = _rest(one) or ("approved" if one.needed else "none required")
        row = (f"{one.model}:{one.version}", one.digest[:12], one.pushed_by, people or "-", state)
        table.add_row(*(Text(cell) for cell in row))
    return table


def _rest(standing: Standing) -> str:
    key = f"{standing.model}:{standing.version}"
    return waiting(key, standing.missing) if standing.missing else ""
