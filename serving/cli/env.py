"""`bascule env`: what results depend on besides model and inputs, here and elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from runtimes.devices import CPU, Device
from runtimes.errors import InvalidArgumentError
from runtimes.facts import NodeFacts
from runtimes.node_probe import probe
from runtimes.threads import threads_for
from serving.cli.bundle_target import bundle_folder
from serving.cli.render import print_json
from serving.registry.bundles.bundle import read_manifest
from serving.registry.bundles.manifest import Manifest, PackedOn
from serving.registry.environment import differences, environment_of, fingerprint
from serving.registry.preflight.facts_file import read_facts

HERE: Final = "here"
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two environments: a bundle's, or a node's, which depends on who asks."""

    manifest: Manifest | None = None
    facts: NodeFacts | None = None

    def environment(self, other: Manifest | None) -> PackedOn:
        """Return the environment; a node is described for the other side's model."""
        if self.manifest is not None:
            return self.manifest.packed_on
        facts = self.facts or probe()
        on_gpu = other is not None and bool(other.packed_on.gpu) and bool(facts.gpus)
        here = environment_of(
            facts,
            format_name=other.format if other is not None else "",
            threads=threads_for(facts.cpu_count, 1),
            device=Device("cuda") if on_gpu else CPU,
        )
        return PackedOn.of(here)


def register(app: typer.Typer) -> None:
    """Add the command and its own ones."""
    group = typer.Typer(
        name="env",
        help="Show what results depend on, and what differs between two environments.",
        epilog="Examples: bascule env show · bascule env diff resnet-3 here",
        no_args_is_help=True,
    )
    group.command("show", epilog="Example: bascule env show resnet:3")(show)
    group.command("diff", epilog="Example: bascule env diff resnet-3 node.json")(diff)
    app.add_typer(group)


def show(
    target: Annotated[
        str,
        typer.Argument(
            metavar="[BUNDLE|MODEL:VERSION|FACTS.json|here]",
            help="Whose environment: a version's, a node's by its facts, or this node's.",
        ),
    ] = HERE,
    *,
    as_json: Json = False,
) -> None:
    """Show an environment and its fingerprint."""
    side = _side(target)
    found = side.environment(None)
    digest = fingerprint(found, side.manifest.format if side.manifest else "")
    if as_json:
        print_json({"environment": found.model_dump(mode="json"), "fingerprint": digest})
        return
    values = {**found.model_dump(exclude={"packages", "cpu_flags"}), **found.packages}
    shown = {**values, "cpu_flags": " ".join(found.cpu_flags), "fingerprint": digest}
    typer.echo("\n".join(f"{name:<16} {value}" for name, value in shown.items() if value))


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A bundle, MODEL:VERSION, …")],
    after: Annotated[str, typer.Argument(metavar="B", help="… a facts file, or `here`.")],
    *,
    as_json: Json = False,
) -> None:
    """Show field by field what differs from A to B; what can change a result comes first."""
    sides = _side(before), _side(after)
    known = next((side.manifest for side in sides if side.manifest), None)
    first, second = (side.environment(known) for side in sides)
    name = known.format if known else ""
    changes = differences(first, second, name)
    if as_json:
        prints = [fingerprint(item, name) for item in (first, second)]
        print_json({"fingerprints": prints, "changes": changes})
        return
    for change in changes:
        typer.echo(f"{change}{'' if change.matters else '  (cannot change a result)'}")
    if not changes:
        typer.echo("no difference")


def _side(target: str) -> Side:
    if target == HERE:
        return Side()
    path = Path(target)
    if path.is_file():
        return Side(facts=read_facts(path))
    if not path.is_dir() and ":" not in target:
        raise InvalidArgumentError(
            f"'{target}' is neither a bundle's folder, MODEL:VERSION, a facts file nor `{HERE}`"
        )
    return Side(manifest=read_manifest(bundle_folder(target)))
