"""`bascule import`: models that others keep become bundles; what does not come along is listed."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.cli.admin_client import AdminClient
from serving.cli.lock_options import Dependencies, dependency_requirements
from serving.cli.pack import pack_checked
from serving.cli.render import print_json
from serving.cli.repository_place import Forced, displaced
from serving.clock import SystemClock
from serving.errors import NotFoundError
from serving.ids import version_number
from serving.registry.bundles.manifest import Requirements
from serving.registry.bundles.packing import renumber
from serving.registry.interchange.imports import Candidate, Refusal, Survey, disagreements
from serving.registry.interchange.mlflow_import import MLMODEL_FILE, MlflowOrder, survey_mlflow
from serving.registry.interchange.triton_import import is_model_folder, survey_model
from serving.registry.people import current_user
from serving.registry.store import Registry
from serving.registry.version import VersionState
from serving.settings import Settings, load_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one version."""

    model: str
    version: int
    bundle: str
    """The bundle's folder; in the registry if it was pushed."""
    digest: str
    losses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    """What to do with every version."""

    output: Path
    registry: Registry | None
    client: AdminClient
    requirements: Requirements


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was typed about a model that does not say its name and number."""

    name: str
    version: str
    scratch: Path
    """Where files may be written that are packed later."""

    def order(self, created_utc: datetime) -> MlflowOrder:
        return MlflowOrder(
            name=self.name,
            version=version_number(self.version) if self.version else None,
            created_utc=created_utc,
            scratch=self.scratch,
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "import",
        epilog="Examples: bascule import triton-models -o bundles · "
        "bascule import mlruns/0/RUN/artifacts/model --name fraud --push",
    )(import_models)


def import_models(  # noqa: PLR0913  one parameter for each flag
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|MODEL_DIR",
            help="A folder of models, or one: Triton's layout (config.pbtxt, VERSION/model.onnx), "
            "or a model that MLflow saved (MLmodel).",
        ),
    ],
    *,
    push: Annotated[bool, typer.Option("--push", help="Put them into the registry.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where bundles appear. Default: here."),
    ] = None,
    name: Annotated[str, typer.Option(help="MLflow: the model's name; default: FOLDER's.")] = "",
    version: Annotated[
        str, typer.Option(help="MLflow: the version; default: 1, or the next one with --push.")
    ] = "",
    dependencies: Dependencies = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Make bundles of models in Triton's or MLflow's layout, and list what does not come along.

    One model that cannot be imported does not stop the others; exit status 1 says there was one.
    """
    settings = load_settings()
    requirements = dependency_requirements(dependencies)
    with tempfile.TemporaryDirectory(prefix="bascule-import-") as place, ExitStack() as stack:
        scratch = Path(place)
        survey = _survey(folder.absolute(), _Asked(name=name, version=version, scratch=scratch))
        work = _Import(
            output=output or (scratch / "bundles" if push else Path()),
            registry=stack.enter_context(Registry.of(settings)) if push else None,
            client=AdminClient(settings.admin_socket),
            requirements=requirements,
        )
        done, refused = _carry_out(survey, work)
    if push:
        refused = (*refused, *_loaded(done, settings))
    _print(done, refused, as_json=as_json)
    if refused or not done:
        raise typer.Exit(1)


def _survey(folder: Path, asked: _Asked) -> Survey:
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no folder: name a folder of models, or one model's")
    now = SystemClock().utc_now()
    if (folder / MLMODEL_FILE).is_file():
        return survey_mlflow(folder, asked.order(now))
    if asked.name or asked.version:
        raise InvalidArgumentError(
            f"--name and --version are for one model of MLflow, and {folder} holds no "
            f"{MLMODEL_FILE}: Triton's layout says both"
        )
    if is_model_folder(folder):
        return survey_model(folder, now)
    found = Survey()
    for inner in sorted(folder.iterdir()):
        if inner.name.startswith(".") or not inner.is_dir():
            continue
        if (inner / MLMODEL_FILE).is_file():
            found += survey_mlflow(inner, asked.order(now))
        else:
            found += survey_model(inner, now)
    return found


def _carry_out(survey: Survey, work: _Import) -> tuple[tuple[Imported, ...], tuple[Refusal, ...]]:
    done: list[Imported] = []
    refused = list(survey.refusals)
    for candidate in survey.candidates:
        order = candidate.order
        try:
            done.append(_imported(candidate, work))
        except (BasculeError, OSError) as error:
            reason = error.message if isinstance(error, BasculeError) else str(error)
            refused.append(Refusal(model=order.name, version=order.version, reason=reason))
    return tuple(done), tuple(refused)


def _imported(candidate: Candidate, work: _Import) -> Imported:
    order = candidate.order
    if work.registry is not None:
        displaced(work.client, order.name, Forced())
    if order.lock_file is not None:
        order = replace(order, requirements=work.requirements)
    bundle, seen = pack_checked(order, work.output / f"{order.name}-{order.version}")
    folder = bundle.folder
    if work.registry is not None:
        number = order.version
        if not candidate.is_numbered:
            number = work.registry.next_version(bundle.manifest)
        if number != order.version:
            bundle = renumber(bundle, number, work.output / f"{order.name}-{number}")
            shutil.rmtree(folder)
        folder = work.registry.push(bundle.folder, current_user()).folder
    return Imported(
        model=order.name,
        version=bundle.manifest.version,
        bundle=str(folder),
        digest=bundle.digest,
        losses=(
            *candidate.losses,
            *disagreements(candidate.declared, (*seen.inputs, *seen.outputs)),
        ),
    )


def _loaded(done: Sequence[Imported], settings: Settings) -> Iterator[Refusal]:
    """Let the running instance, if there is one, load what was pushed; give what it cannot load."""
    client = AdminClient(settings.admin_socket)
    if not done or not client.is_running():
        return
    client.sync()
    pushed = {(one.model, one.version) for one in done}
    for record in client.status().versions:
        key = (record.model, record.version)
        if key in pushed and record.state is not VersionState.READY:
            reason = f"it is in the registry, and {record.state.value}: {record.reason}"
            yield Refusal(model=record.model, version=record.version, reason=reason)


def _print(done: Sequence[Imported], refused: Sequence[Refusal], *, as_json: bool) -> None:
    if as_json:
        print_json({"imported": done, "refused": refused})
        return
    for one in done:
        typer.echo(f"{one.model}:{one.version}  {one.bundle}  (digest {one.digest[:12]})")
        for loss in one.losses:
            typer.echo(f"  not carried  {loss}")
    for refusal in refused:
        number = "" if refusal.version is None else f":{refusal.version}"
        typer.echo(f"{refusal.model}{number}  refused: {refusal.reason}", err=True)
    if not done and not refused:
        typer.echo("there is no model in it", err=True)
