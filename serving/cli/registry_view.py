"""`bascule list`, `show` and `diff`: what the registry holds."""

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.text import Text

from serving.cli.json_flag import Json
from serving.cli.registry_access import manifest_named, manifest_of, opened, target_of
from serving.cli.render import console, print_json, size_text
from serving.cli.shown_text import shown, shown_line
from serving.cli.tables import plain_table
from serving.errors import NotFoundError
from serving.ids import LIVE, VersionKey, model_name
from serving.registry.aliases import aliases_of, stored_version
from serving.registry.bundles.difference import Comparison, compare
from serving.registry.bundles.manifest import Manifest
from serving.registry.catalog import Alias, RegisteredVersion
from serving.registry.nearest import nearest
from serving.registry.store import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A version as `bascule list` shows it."""

    model: str
    version: int
    state: str
    """`wanted`, `archived`, or `collected`: archived, and its files are gone."""
    aliases: tuple[str, ...]
    format: str
    size_bytes: int
    digest: str
    pushed_utc: str
    pushed_by: str


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("list", epilog="Examples: bascule list · bascule list resnet")(list_versions)
    app.command(epilog="Examples: bascule show resnet:3 · bascule show resnet@live")(show)
    app.command(epilog="Example: bascule diff resnet@live resnet:4")(diff)


def list_versions(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only this one.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the versions of the registry, archived ones too."""
    if model is not None:
        model_name(model)
    with opened() as registry:
        rows, aliases = registry.versions(model), aliases_of(registry, model)
        if model is not None and not rows:
            raise _unknown(registry, model)
    listed = [_listed(row, aliases) for row in rows]
    if as_json:
        print_json(listed)
        return
    columns = ("model", "version", "state", "aliases", "format", "size", "pushed (UTC)", "by")
    table = plain_table(columns)
    for item in listed:
        table.add_row(
            Text(shown_line(item.model)),
            str(item.version),
            item.state,
            " ".join(item.aliases),
            item.format,
            size_text(item.size_bytes),
            item.pushed_utc[:16].replace("T", " "),
            Text(item.pushed_by),
        )
    console().print(table if listed else "the registry is empty: bascule push puts versions there")


def show(
    target: Annotated[
        str, typer.Argument(metavar="MODEL[:VERSION]", help="Or MODEL@ALIAS; default: @live.")
    ],
    *,
    as_json: Json = False,
) -> None:
    """Show all that a version says of itself: files, tensors, policy, lineage, where packed."""
    with opened() as registry:
        model, version = target_of(registry, target)
        aliases = aliases_of(registry, model)
        if version is None:
            version = _default_version(registry, model, aliases)
        row = stored_version(registry, VersionKey(model, version))
        manifest = manifest_of(registry, row)
    listed = _listed(row, aliases)
    if as_json:
        print_json({"version": listed, "manifest": manifest.model_dump(mode="json")})
        return
    typer.echo("\n".join(_shown(listed, row, manifest)))


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="MODEL:VERSION, @ALIAS or a bundle.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    *,
    as_json: Json = False,
) -> None:
    """Show what changed from one version to another, what did not, and whether callers notice."""
    with opened() as registry:
        old_name, old = manifest_named(registry, before)
        new_name, new = manifest_named(registry, after)
    found = compare(old, new)
    if as_json:
        print_json({"before": old_name, "after": new_name, "comparison": found})
        return
    typer.echo("\n".join((shown_line(f"{old_name} → {new_name}"), *_difference_lines(found))))


def _listed(row: RegisteredVersion, aliases: tuple[Alias, ...]) -> Listed:
    archived = "archived" if row.collected_utc is None else "collected"
    return Listed(
        model=row.model,
        version=row.version,
        state="wanted" if row.wanted else archived,
        aliases=tuple(
            f"@{alias.name}"
            for alias in aliases
            if (alias.model, alias.version) == (row.model, row.version)
        ),
        format=row.format,
        size_bytes=row.size_bytes,
        digest=row.digest,
        pushed_utc=row.created_utc.isoformat(),
        pushed_by=row.pushed_by,
    )


def _unknown(registry: Registry, model: str) -> NotFoundError:
    return NotFoundError(f"nothing of '{model}' was pushed; {nearest(model, registry.models())}")


def _default_version(registry: Registry, model: str, aliases: tuple[Alias, ...]) -> int:
    live = next((alias.version for alias in aliases if alias.name == LIVE), None)
    if live is not None:
        return live
    rows = registry.versions(model)
    if not rows:
        raise _unknown(registry, model)
    return rows[-1].version


def _shown(listed: Listed, row: RegisteredVersion, manifest: Manifest) -> list[str]:
    lines = [
        f"{shown_line(listed.model)}:{listed.version}  {' '.join((listed.state, *listed.aliases))}",
        f"  pushed    {row.created_utc:%Y-%m-%d %H:%M} UTC by {row.pushed_by or 'unknown'}",
        f"  digest    {row.digest}",
        f"  model     {manifest.model_file} ({manifest.format}, {size_text(row.size_bytes)})",
    ]
    if row.archived_utc is not None:
        lines.append(f"  archived  {row.archived_utc:%Y-%m-%d %H:%M} UTC")
    if row.collected_utc is not None:
        lines.append(
            f"  files     collected {row.collected_utc:%Y-%m-%d %H:%M} UTC: push the bundle again"
        )
    return [*lines, *_parts_of(manifest)]


def _parts_of(manifest: Manifest) -> list[str]:
    """Show every part of a manifest: as its difference from nothing."""
    blank = manifest.model_copy(
        update={
            "files": (),
            "inputs": (),
            "outputs": (),
            "golden": None,
            "config": "",
            "licence": "",
            "notes": "",
            "lineage": type(manifest.lineage)(),
            "requirements": type(manifest.requirements)(),
            "packed_on": manifest.packed_on.model_copy(update={"packages": {}}),
        }
    )
    lines = []
    for part in compare(blank, manifest).parts:
        if part.differences:
            lines.append(f"  {part.name}")
            lines += [
                f"    {shown_line(item.field)}  {_indented(item.after)}"
                for item in part.differences
            ]
    where = manifest.packed_on
    lines.append(f"  packed on {shown_line(f'{where.platform}, Python {where.python}')}")
    return lines


def _difference_lines(found: Comparison) -> list[str]:
    lines = []
    for part in found.parts:
        if part.differences:
            lines.append(f"{part.name}")
            lines += [
                f"  {shown_line(item.field)}: {_indented(item.before)} → {_indented(item.after)}"
                for item in part.differences
            ]
    same = [part.name for part in found.parts if not part.differences]
    if same:
        lines.append(f"unchanged: {', '.join(same)}")
    return [*lines, *_contract_lines(found)]


def _contract_lines(found: Comparison) -> list[str]:
    if found.contract is None:
        return ["callers: unknown, a bundle does not say its tensors (pack it again)"]
    if not found.contract:
        return ["callers: notice nothing"]
    lines = [
        f"  {'compatible' if change.is_compatible else 'BREAKS'}: "
        f"{shown_line(f'{change.subject} {change.text}')}"
        for change in found.contract
    ]
    breaks = sum(not change.is_compatible for change in found.contract)
    head = f"callers: {breaks} changes break them" if breaks else "callers: all changes compatible"
    return [head, *lines]


def _indented(text: str) -> str:
    return shown(text.strip(), " " * 6)
