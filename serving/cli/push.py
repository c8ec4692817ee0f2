"""`bascule push`: a bundle, or a model file that becomes one, becomes a version of the registry."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.cli.pack import pack_checked
from serving.cli.pack_options import Config, Include, Json, Rows, config_text
from serving.cli.registry_access import Reason
from serving.cli.render import print_json
from serving.cli.repository_place import Forced, displaced, replaced_text
from serving.clock import SystemClock
from serving.edge.control import VersionRecord
from serving.errors import NotFoundError
from serving.ids import model_name, version_number
from serving.registry.approval import waiting
from serving.registry.bundles.archive import is_archive, opened_archive
from serving.registry.bundles.bundle import read_manifest
from serving.registry.bundles.packing import PackOrder, renumber
from serving.registry.model_folder import refuse_model_folder
from serving.registry.people import current_user
from serving.registry.store import Pushed, Registry
from serving.registry.version import VersionState
from serving.settings import Settings, load_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A push, and what it took the place of."""

    pushed: Pushed
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What every push needs."""

    settings: Settings
    client: AdminClient
    forced: Forced

    def push(self, registry: Registry, bundle: Path, model: str) -> _Done:
        """Put a bundle into the registry, if it may take the place of what is served."""
        gone = displaced(self.client, model, self.forced)
        note = f"forced: replaces the repository's {', '.join(gone)}" if gone else ""
        pushed = registry.push(bundle, current_user(), reason=self.forced.reason.strip(), note=note)
        return _Done(pushed=pushed, gone=gone)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Examples: bascule push resnet-3 · bascule push resnet.onnx")(push)


def push(  # noqa: PLR0913  one parameter for each flag
    target: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE|FILE", help="A bundle: its folder or .tar, .tar.gz; or a model file."
        ),
    ],
    *,
    name: Annotated[str | None, typer.Option(help="Model file: its name; default: FILE's.")] = None,
    version: Annotated[
        str | None, typer.Option(help="Model file: its number; default: the next one.")
    ] = None,
    config: Config = None,
    max_batch_size: Rows = None,
    include: Include = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if it takes the place of a repository's model.")
    ] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Put a version into the registry; a running instance loads it before this returns.

    Exit status 1 when the version cannot be loaded. Pushing the same content again does nothing.
    A model that the instance serves from its repository would lose its calls to a version in the
    registry: such a push is refused without --force.
    """
    settings = load_settings()
    client = AdminClient(settings.admin_socket)
    work = _Work(settings=settings, client=client, forced=Forced(is_forced=force, reason=reason))
    if target.is_dir() or is_archive(target):
        if name or version or config or max_batch_size is not None or include:
            raise InvalidArgumentError(f"{target} is a bundle: it says all of that itself")
        done = _push_bundle(target, work)
    else:
        order = PackOrder(
            model_file=target,
            name=model_name(name or _name_of(target)),
            version=version_number(version) if version else 1,
            created_utc=SystemClock().utc_now(),
            config=config_text(config, max_batch_size),
            extra_files=tuple(include or ()),
        )
        done = _push_file(order, work, is_numbered=version is not None)
    _report(done, client, as_json=as_json)


def _push_bundle(target: Path, work: _Work) -> _Done:
    with Registry.of(work.settings) as registry:
        if target.is_dir():
            refuse_model_folder(target)
            return work.push(registry, target, read_manifest(target).name)
        with registry.blobs.scratch() as scratch, opened_archive(target, scratch) as folder:
            return work.push(registry, folder, read_manifest(folder).name)


def _push_file(order: PackOrder, work: _Work, *, is_numbered: bool) -> _Done:
    displaced(work.client, order.name, work.forced)  # a refusal needs no packing
    with (
        tempfile.TemporaryDirectory(prefix="bascule-pack-") as folder,
        Registry.of(work.settings) as registry,
    ):
        bundle, _ = pack_checked(order, Path(folder) / "bundle")
        if not is_numbered:
            number = registry.next_version(bundle.manifest)
            bundle = renumber(bundle, number, Path(folder) / "numbered")
        return work.push(registry, bundle.folder, order.name)


def _report(done: _Done, client: AdminClient, *, as_json: bool) -> None:
    """Let the running instance, if there is one, load what was pushed; say what became of it."""
    pushed = done.pushed
    found = _loaded(pushed, client) if client.is_running() else None
    failed = found is not None and found.state is not VersionState.READY
    if as_json:
        print_json({"pushed": pushed, "loaded": found, "replaced": done.gone})
    else:
        there = "is in the registry" if pushed.created else "was in the registry already"
        typer.echo(f"{pushed.model}:{pushed.version} {there} (digest {pushed.digest[:12]})")
        if pushed.missing_approval_count:
            key = f"{pushed.model}:{pushed.version}"
            typer.echo(f"it {waiting(key, pushed.missing_approval_count)} before it gets traffic")
        typer.echo(_loaded_text(found), err=failed)
        if done.gone and found is not None:
            typer.echo(replaced_text(client.status(), str(found.key), pushed.model, done.gone))
    if failed:
        raise typer.Exit(1)


def _loaded(pushed: Pushed, client: AdminClient) -> VersionRecord:
    screen = Console(stderr=True)
    with screen.status(f"loading {pushed.model}:{pushed.version}"):
        client.sync()
    for record in client.status().versions:
        if (record.model, record.version) == (pushed.model, pushed.version):
            return record
    raise NotFoundError(
        f"{pushed.model}:{pushed.version} is in the registry, and the running instance does not "
        "list it: look at bascule status and the instance's log"
    )


def _loaded_text(found: VersionRecord | None) -> str:
    if found is None:
        return "no instance runs: bascule serve, or bascule up, will load it"
    if found.state is VersionState.READY:
        return f"it is READY in pool {found.pool}"
    return f"it is {found.state.value}: {found.reason or 'no reason was given'}"


def _name_of(file: Path) -> str:
    if file.stem == "model":
        raise InvalidArgumentError(f"{file} needs a name to be served under: add --name NAME")
    return file.stem
