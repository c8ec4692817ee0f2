"""`bascule up` and `bascule down`: an instance on Ray that outlives the command."""

import asyncio
from collections import Counter
from typing import Annotated, Final

import msgspec
import typer

from serving.cli.instance_options import (
    AllowLoadOverrides,
    CacheSizeBytes,
    Grpc,
    Http,
    LoadModel,
    Metrics,
    ModelControlMode,
    ModelRepository,
    PredictionLog,
    SystemSharedMemory,
    TraceFile,
)
from serving.cluster.lifecycle import end_instance_of, sole_start, start_instance
from serving.cluster.ray_process import RayInstance
from serving.edge.control import VersionRecord
from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.registry.version import VersionState
from serving.settings import Settings, load_settings, unusable_home
from serving.standalone.home import refuse_running, refuse_taken_ports

READY_LIMIT_S: Final = 600.0
LOOK_S: Final = 0.25


class _Status(msgspec.Struct, frozen=True):
    """What of `GET /v1/status` is shown here."""

    settled: bool
    versions: tuple[VersionRecord, ...]


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command(epilog="Example: bascule up --model-repository models --no-dashboard")(up)
    app.command(epilog="Example: bascule down")(down)


def up(  # noqa: PLR0913  one parameter for each flag
    *,
    model_repository: ModelRepository = None,
    http: Http = None,
    grpc: Grpc = None,
    metrics: Metrics = None,
    cache_size_bytes: CacheSizeBytes = None,
    model_control_mode: ModelControlMode = None,
    load_model: LoadModel = None,
    allow_load_overrides: AllowLoadOverrides = None,
    system_shared_memory: SystemSharedMemory = None,
    trace_file: TraceFile = None,
    prediction_log: PredictionLog = None,
    address: Annotated[
        str, typer.Option(help="A running Ray cluster, HOST:PORT, instead of a local one.")
    ] = "",
    no_dashboard: Annotated[
        bool, typer.Option("--no-dashboard", help="Without Ray's dashboard: saves memory.")
    ] = False,
) -> None:
    """Start an instance on Ray Serve, wait until its models are ready, and return."""
    settings = load_settings(
        model_repository=model_repository,
        http=http,
        grpc=grpc,
        metrics=metrics,
        cache_size_bytes=cache_size_bytes,
        model_control_mode=model_control_mode,
        load_model=tuple(load_model) if load_model else None,
        allow_load_overrides=allow_load_overrides,
        system_shared_memory=system_shared_memory,
        trace_file=trace_file,
        prediction_log=prediction_log,
    )
    refuse_running(settings)
    record = _started(settings, address, with_dashboard=not no_dashboard)
    status = asyncio.run(_settled(settings))
    _print_result(settings, record, status)


def down() -> None:
    """Drain and end this home's instance on Ray: every process of it, whatever died before."""
    settings = load_settings()
    count = end_instance_of(settings)
    if count is None:
        typer.echo(f"no instance on Ray runs in {settings.home}")
    else:
        typer.echo(f"the instance in {settings.home} has ended")


def _started(settings: Settings, address: str, *, with_dashboard: bool) -> RayInstance:
    """Start Ray, controller and edges, unless somebody else does in this home."""
    with sole_start(settings):
        refuse_taken_ports(settings)
        try:
            return start_instance(
                settings, address=address, with_dashboard=with_dashboard, tell=typer.echo
            )
        except OSError as error:  # a full disk; what was started has been ended again
            raise unusable_home(settings, error) from error


async def _settled(settings: Settings) -> _Status:
    """Wait until no version is on its way any more.

    Raises:
        NotReadyError: It took too long.
    """
    try:
        async with asyncio.timeout(READY_LIMIT_S), LocalHttp(str(settings.admin_socket)) as admin:
            return await _watch(admin)
    except TimeoutError as error:
        raise NotReadyError(
            f"versions are still loading after {READY_LIMIT_S:.0f} s; the instance runs on: "
            "see `bascule status`, or end it with `bascule down`"
        ) from error


async def _watch(admin: LocalHttp) -> _Status:
    """Say how far it is, whenever that changed, until it has settled."""
    shown = ""
    while True:
        status = await _status(admin)
        text = _progress(status)
        if text != shown:
            typer.echo(text)
            shown = text
        if status is not None and status.settled:
            return status
        await asyncio.sleep(LOOK_S)


async def _status(admin: LocalHttp) -> _Status | None:
    try:
        reply = await admin.ask("GET", "/v1/status")
    except NotReadyError:
        return None
    return msgspec.json.decode(reply.body, type=_Status) if reply.status == 200 else None  # noqa: PLR2004  HTTP's OK


def _progress(status: _Status | None) -> str:
    if status is None:
        return "waiting for the edge"
    counts = Counter(record.state for record in status.versions)
    return f"{counts[VersionState.READY]} of {len(status.versions)} versions are ready"


def _print_result(settings: Settings, record: RayInstance, status: _Status) -> None:
    typer.echo(f"HTTP       http://{settings.http}")
    typer.echo(f"gRPC       {settings.grpc}")
    typer.echo(f"metrics    http://{settings.metrics}/metrics")
    if record.dashboard:
        typer.echo(f"dashboard  {record.dashboard}")
        # Ray's own tools use the token of ~/.ray only when they are told that there is one.
        typer.echo(f"Ray Serve  RAY_AUTH_MODE=token serve status -a {record.dashboard}")
    for version in status.versions:
        if version.state is VersionState.UNAVAILABLE and version.reason != "unloaded":
            typer.echo(f"failed     {version.key}: {version.reason}", err=True)
