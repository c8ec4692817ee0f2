"""`bascule pack` and `bascule push`: a model file becomes a bundle, a bundle becomes a version."""

import os
import pwd
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.cli.inspection import Inspection, inspect_bundle
from serving.cli.keys import Passphrase, read_passphrase
from serving.cli.lock_options import Dependencies, Lock, dependency_requirements
from serving.cli.render import duration_text, print_json, size_text, tensor_text
from serving.clock import SystemClock
from serving.edge.control import VersionRecord
from serving.errors import NotFoundError
from serving.ids import model_name, version_number
from serving.registry.bundle import Bundle
from serving.registry.formats import format_of_plain_file
from serving.registry.keys import read_signing_key
from serving.registry.manifest import Manifest
from serving.registry.packing import PackOrder, pack_bundle, renumber
from serving.registry.signing import sign_bundle
from serving.registry.store import Pushed, Registry
from serving.registry.triton_config import says_max_batch
from serving.registry.version import VersionState
from serving.settings import load_settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A Triton model configuration, config.pbtxt.")
]
Rows = Annotated[
    int | None,
    typer.Option("--max-batch-size", min=0, help="Rows of a batch at most; 0: no batch dimension."),
]
Include = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A file that the model reads beside it; may be repeated."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: bascule pack model.onnx --name resnet --version 3")(pack)
    app.command(epilog="Examples: bascule push resnet-3 · bascule push resnet.onnx")(push)


def pack(  # noqa: PLR0913  one parameter for each flag
    file: Annotated[Path, typer.Argument(metavar="FILE", help="model.onnx or model.pt")],
    *,
    name: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str, typer.Option(help="The version's number.")],
    config: Config = None,
    max_batch_size: Rows = None,
    include: Include = None,
    lock: Lock = None,
    dependencies: Dependencies = "",
    licence: Annotated[str, typer.Option(help="The model's licence.")] = "",
    notes: Annotated[str, typer.Option(help="Anything a colleague should know.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: NAME-VERSION.")
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign with this private key.")
    ] = None,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Check that a model loads, and make a bundle of it: files, checksums, where it was packed."""
    order = PackOrder(
        model_file=file,
        name=model_name(name),
        version=version_number(version),
        created_utc=SystemClock().utc_now(),
        config=_config_text(config, max_batch_size),
        extra_files=tuple(include or ()),
        lock_file=lock,
        requirements=dependency_requirements(dependencies),
        licence=licence,
        notes=notes,
    )
    key = None if sign is None else read_signing_key(sign, read_passphrase(passphrase_file))
    bundle, seen = pack_checked(
        order, output or Path(f"{name}-{version}"), may_execute=key is not None
    )
    if key is not None:
        sign_bundle(bundle.folder, key)
    if as_json:
        print_json({"bundle": str(bundle.folder), "digest": bundle.digest, "inspection": seen})
        return
    _print_bundle(bundle, seen)
    typer.echo(f"next: bascule push {bundle.folder}")


def push(  # noqa: PLR0913  one parameter for each flag
    target: Annotated[
        Path, typer.Argument(metavar="BUNDLE|FILE", help="A bundle's folder, or a model file.")
    ],
    *,
    name: Annotated[str | None, typer.Option(help="Model file: its name; default: FILE's.")] = None,
    version: Annotated[
        str | None, typer.Option(help="Model file: its number; default: the next one.")
    ] = None,
    config: Config = None,
    max_batch_size: Rows = None,
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Put a version into the registry; a running instance loads it before this returns.

    Exit status 1 when the version cannot be loaded. Pushing the same content again does nothing.
    """
    settings = load_settings()
    if target.is_dir():
        if name or version or config or max_batch_size is not None or include:
            raise InvalidArgumentError(f"{target} is a bundle: it says all of that itself")
        with Registry(settings.home) as registry:
            pushed = registry.push(target, _who())
    else:
        order = PackOrder(
            model_file=target,
            name=model_name(name or _name_of(target)),
            version=version_number(version) if version else 1,
            created_utc=SystemClock().utc_now(),
            config=_config_text(config, max_batch_size),
            extra_files=tuple(include or ()),
        )
        pushed = _push_file(order, settings.home, is_numbered=version is not None)
    _report(pushed, AdminClient(settings.admin_socket), as_json=as_json)


def pack_checked(
    order: PackOrder, destination: Path, *, may_execute: bool = False
) -> tuple[Bundle, Inspection]:
    """Write a bundle whose model was loaded from it, and return what the engine says of it.

    Args:
        order: What to pack.
        destination: The bundle's folder.
        may_execute: Loading may run code that the file carries: who packs it vouches for it.

    Raises:
        BasculeError: It cannot be packed, or the model does not load.
    """
    if not may_execute:
        format_of_plain_file(order.model_file.name)
    seen: list[Inspection] = []

    def complete(draft: Bundle) -> Manifest:
        seen.append(inspect_bundle(draft, may_execute=may_execute))
        return draft.manifest

    bundle = pack_bundle(order, destination, complete)
    return bundle, seen[0]


def _push_file(order: PackOrder, home: Path, *, is_numbered: bool) -> Pushed:
    with (
        tempfile.TemporaryDirectory(prefix="bascule-pack-") as folder,
        Registry(home) as registry,
    ):
        bundle, _ = pack_checked(order, Path(folder) / "bundle")
        if is_numbered:
            return registry.push(bundle.folder, _who())
        number = registry.next_version(bundle.manifest)
        renumbered = renumber(bundle, number, Path(folder) / "numbered")
        return registry.push(renumbered.folder, _who())


def _report(pushed: Pushed, client: AdminClient, *, as_json: bool) -> None:
    """Let the running instance, if there is one, load what was pushed; say what became of it."""
    found = _loaded(pushed, client) if client.is_running() else None
    failed = found is not None and found.state is not VersionState.READY
    if as_json:
        print_json({"pushed": pushed, "loaded": found})
    else:
        done = "is in the registry" if pushed.created else "was in the registry already"
        typer.echo(f"{pushed.model}:{pushed.version} {done} (digest {pushed.digest[:12]})")
        typer.echo(_loaded_text(found), err=failed)
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


def _print_bundle(bundle: Bundle, seen: Inspection) -> None:
    manifest = bundle.manifest
    lines = [
        f"{manifest.name}:{manifest.version}  {manifest.format}  {size_text(bundle.size_bytes)}",
        *(f"  input   {tensor_text(spec)}" for spec in seen.inputs),
        *(f"  output  {tensor_text(spec)}" for spec in seen.outputs),
        f"  batch   {_batch_text(seen.max_batch_rows)}",
        f"  run     {duration_text(seen.run_s)} for one row on this CPU",
        *(f"  file    {file.path}  {size_text(file.size_bytes)}" for file in manifest.files),
        *(f"  note    {note}" for note in seen.notes),
        f"  bundle  {bundle.folder}",
        f"  digest  {bundle.digest}",
    ]
    typer.echo("\n".join(lines))


def _batch_text(rows: int) -> str:
    return f"up to {rows} rows along the first dimension" if rows else "none: one call, one run"


def _config_text(path: Path | None, max_batch_size: int | None) -> str:
    """Return the configuration with the flag's value in it."""
    try:
        text = path.read_text(encoding="utf-8") if path is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}") from error
    if max_batch_size is None:
        return text
    if says_max_batch(text):
        raise InvalidArgumentError(
            f"{path} says max_batch_size: change it there, or leave out --max-batch-size"
        )
    return f"{text.rstrip()}\nmax_batch_size: {max_batch_size}\n".lstrip()


def _name_of(file: Path) -> str:
    if file.stem == "model":
        raise InvalidArgumentError(f"{file} needs a name to be served under: add --name NAME")
    return file.stem


def _who() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
