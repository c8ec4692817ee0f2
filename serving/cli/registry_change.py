"""`bascule alias` and `bascule archive`: names for versions, and versions that are not wanted."""

from typing import Annotated

import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.json_flag import Json
from serving.cli.registry_access import Reason, opened, who
from serving.cli.render import print_json
from serving.ids import VersionKey, model_name, version_number
from serving.registry.aliases import (
    Author,
    named_version,
    remove_alias,
    set_alias,
    stored_version,
)
from serving.registry.archiving import archive as archive_version


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        epilog="Examples: bascule alias resnet staging --to 4 · bascule alias resnet old --delete"
    )(alias)
    app.command(epilog="Example: bascule archive resnet:2 --reason 'replaced by 3'")(archive)


def alias(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in MODEL@NAME.")],
    *,
    to: Annotated[str | None, typer.Option("--to", metavar="VERSION", help="Its version.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Forget the name.")] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Let a name stand for a version of a model; `live` is what `bascule promote` sets."""
    if (to is None) is not delete:
        raise InvalidArgumentError("say either --to VERSION or --delete")
    author = Author(who=who(), reason=reason)
    model_name(model)
    with opened() as registry:
        if to is None:
            before: int | None = remove_alias(registry, model, name, author)
            version = None
        else:
            version = version_number(to)
            before = set_alias(registry, VersionKey(model, version), name, author)
    if as_json:
        print_json({"model": model, "alias": name, "version": version, "before": before})
        return
    stood = "" if before is None else f" (before: {before})"
    now = "stands for nothing" if version is None else f"stands for version {version}"
    typer.echo(f"{model}@{name} {now}{stood}")


def archive(
    target: Annotated[str, typer.Argument(metavar="MODEL:VERSION", help="Or MODEL@ALIAS.")],
    *,
    reason: Annotated[str, typer.Option(help="Why: it goes to the audit log.")],
    as_json: Json = False,
) -> None:
    """Want a version no more: instances unload it; its row, number and files stay (see gc)."""
    if not reason.strip():
        raise InvalidArgumentError("--reason must say why the version is archived")
    with opened() as registry:
        key = named_version(registry, target)
        stored_version(registry, key)
        archive_version(registry, key, Author(who=who(), reason=reason.strip()))
    if as_json:
        print_json({"model": key.model, "version": key.version, "state": "archived"})
    else:
        typer.echo(f"{key} is archived; pushing it again makes it wanted")
