"""`bascule gc` and `bascule registry check`: give space back, and prove that all agrees."""

from typing import Annotated

import typer

from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.registry_access import opened, who
from serving.cli.render import print_json, size_text
from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.registry.checker import check
from serving.registry.collection import KEEP_DAYS, Rules, collect
from serving.registry.version import VersionState
from serving.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Examples: bascule gc --dry-run · bascule gc --archived --keep-days 90")(gc)
    group = typer.Typer(no_args_is_help=True, help="The registry as a whole.")
    group.command("check", epilog="Example: bascule registry check")(check_registry)
    group.callback()(_registry)
    app.add_typer(group, name="registry", epilog="Example: bascule registry check")


def gc(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    archived: Annotated[
        bool, typer.Option("--archived", help="Archived versions lose their files, too.")
    ] = False,
    keep_days: Annotated[
        float, typer.Option(min=0, help="With --archived: if archived longer ago than that.")
    ] = KEEP_DAYS,
    as_json: Json = False,
) -> None:
    """Remove bundles that no version refers to, and what killed processes left half done.

    A version that is wanted, has an alias or is loaded keeps its files, whatever is said here.
    """
    rules = Rules(
        keep_days=keep_days,
        takes_archived=archived,
        deployed=_deployed() if archived else frozenset(),
        is_dry=dry_run,
    )
    with opened() as registry:
        done = collect(registry, rules, who())
    if as_json:
        print_json(done)
        return
    would = "would remove" if dry_run else "removed"
    typer.echo(
        f"{would} {len(done.bundles)} bundles ({size_text(done.size_bytes)}) and the leftovers of "
        f"{done.abandoned_count} killed processes"
    )
    for key in done.versions:
        typer.echo(f"  {key} {'would lose' if dry_run else 'lost'} its files; its row stays")


def check_registry(*, as_json: Json = False) -> None:
    """Compare rows, files, digests, aliases and the audit log; exit status 1 if any disagree."""
    with opened() as registry:
        problems = check(registry)
        count = len(registry.versions())
    if as_json:
        print_json({"versions": count, "problems": problems})
    else:
        for problem in problems:
            kind = "leftover" if problem.is_leftover else "PROBLEM"
            typer.echo(f"{kind}: {problem.subject}: {problem.text} ({problem.remedy})", err=True)
        if not problems:
            typer.echo(f"{count} versions: rows, files, aliases and the audit log agree")
    if problems:
        raise typer.Exit(1)


def _deployed() -> frozenset[VersionKey]:
    """Return what the running instance of this home has loaded, if there is one."""
    client = AdminClient(load_settings().admin_socket)
    try:
        versions = client.status().versions
    except NotReadyError:
        return frozenset()
    return frozenset(
        record.key for record in versions if record.state is not VersionState.UNAVAILABLE
    )


def _registry() -> None:
    """Keep `check` a word of its own."""
