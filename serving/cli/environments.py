"""`bascule environments`: what was built for versions that pin packages."""

from pathlib import Path
from typing import Annotated

import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.render import console, duration_text, print_json, size_text
from serving.cli.tables import plain_table
from serving.environments.build import build_environment
from serving.environments.record import Environment
from serving.environments.store import Environments
from serving.registry.bundles.bundle import read_bundle
from serving.registry.bundles.pins import read_pins
from serving.settings import load_settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def register(app: typer.Typer) -> None:
    """Add the command and its own ones."""
    group = typer.Typer(
        name="environments",
        help="Show, build or remove the environments of versions that pin packages.",
        epilog="Examples: bascule environments list · bascule environments build resnet-3",
        no_args_is_help=True,
    )
    group.command("list", epilog="Example: bascule environments list --json")(list_environments)
    group.command("build", epilog="Example: bascule environments build resnet-3")(build)
    group.command("clear", epilog="Example: bascule environments clear")(clear)
    app.add_typer(group)


def list_environments(*, as_json: Json = False) -> None:
    """Show every environment: what was installed, its size, how long building took."""
    environments = _environments()
    listed = environments.listed()
    if as_json:
        print_json({"folder": str(environments.folder), "environments": listed})
        return
    if not listed:
        typer.echo(f"there is none in {environments.folder}")
        return
    table = plain_table(("environment", "python", "size", "built in", "packages"))
    for one in listed:
        table.add_row(
            one.key,
            one.python_version,
            size_text(one.size_bytes),
            duration_text(one.build_s),
            " ".join(one.packages),
        )
    console().print(table)


def build(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE|LOCK", help="A bundle's folder, or a lock file.")
    ],
    *,
    as_json: Json = False,
) -> None:
    """Build the environment of a bundle now, so that its first start need not wait for it."""
    pins = read_pins(_lock_of(bundle))
    environment = build_environment(_environments(), pins, _tell)
    if as_json:
        print_json(environment)
    else:
        _print(environment)


def clear(*, as_json: Json = False) -> None:
    """Remove every environment that no process of this machine runs in."""
    cleared = _environments().clear()
    if as_json:
        print_json(cleared)
        return
    for key in cleared.removed:
        typer.echo(f"removed {key}")
    for kept in cleared.kept:
        typer.echo(f"kept {kept.key}: {kept.reason}")
    if not cleared.removed and not cleared.kept:
        typer.echo("there was none")


def _environments() -> Environments:
    return Environments(load_settings().home)


def _lock_of(target: Path) -> Path:
    if not target.is_dir():
        return target
    bundle = read_bundle(target)
    if not bundle.manifest.requirements.lock_file:
        raise InvalidArgumentError(
            f"{target} pins no packages: pack it with --lock FILE, or name a lock file"
        )
    return bundle.folder / bundle.manifest.requirements.lock_file


def _print(environment: Environment) -> None:
    typer.echo(f"environment {environment.key}: {' '.join(environment.packages)}")
    typer.echo(f"  python  {environment.python}")
    typer.echo(f"  size    {size_text(environment.size_bytes)}")


def _tell(line: str) -> None:
    typer.echo(line, err=True)
