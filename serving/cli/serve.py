"""`bascule serve`: one instance in the foreground, without Ray."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, TextIO

import structlog
import typer

from runtimes.errors import InvalidArgumentError
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
from serving.cluster.lifecycle import refuse_second_instance
from serving.logs import configure_logs
from serving.settings import Settings, load_settings, unusable_home
from serving.standalone.app import run_instance
from serving.standalone.log_copying import copied_logs
from serving.standalone.progress import Tell

log = structlog.get_logger(__name__)

LOG_FILE = "bascule.log"

CudaSharedMemory = Annotated[
    bool | None,
    typer.Option(help="Clients on this machine may share memory of its NVIDIA GPUs."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: bascule serve model.onnx · bascule serve --model-repository models"
    )(serve)


def serve(  # noqa: PLR0913  one parameter for each flag
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Model file, bundle or model folder, or NAME[:VERSION] of the registry. "
            "Without any: all that is wanted in the registry, and the repository.",
            show_default=False,
        ),
    ] = None,
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
    cuda_shared_memory: CudaSharedMemory = None,
    trace_file: TraceFile = None,
    prediction_log: PredictionLog = None,
) -> None:
    """Serve models on this machine until Ctrl-C: edge, controller and workers."""
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
        cuda_shared_memory=cuda_shared_memory,
        trace_file=trace_file,
        prediction_log=prediction_log,
    )
    _refuse_contradictions(settings)
    refuse_second_instance(settings)
    with _log_stream(settings) as stream, _shown_logs(settings) as tell:
        configure_logs(settings.log_level, stream)
        asyncio.run(run_instance(settings, models or (), tell))


@contextmanager
def _shown_logs(settings: Settings) -> Iterator[Tell]:
    """Have logs shown on standard error if they shall be, and then nothing else beside them."""
    if not settings.log_to_stderr:
        yield _tell
        return
    with copied_logs(settings.log_dir):
        yield _log_line


@contextmanager
def _log_stream(settings: Settings) -> Iterator[TextIO]:
    """Open the log; one that cannot be written to its end has been told of, and ends nothing."""
    try:
        settings.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        stream = (settings.log_dir / LOG_FILE).open("a", encoding="utf-8")
    except OSError as error:
        raise unusable_home(settings, error) from error
    try:
        yield stream
    finally:
        with suppress(OSError):
            stream.close()


def _refuse_contradictions(settings: Settings) -> None:
    mode = settings.model_control_mode
    if mode != "none" and settings.model_repository is None:
        raise InvalidArgumentError(
            f"--model-control-mode {mode} is about a repository: give --model-repository DIR"
        )
    if settings.load_model and mode != "explicit":
        raise InvalidArgumentError(
            f"--load-model is for --model-control-mode explicit, got {mode}: in this mode every "
            "model of the repository is loaded"
        )


def _log_line(line: str) -> None:
    """Say a line as one of the log."""
    log.info(line)


def _tell(line: str) -> None:
    """Say a line; a terminal that is gone ends nothing, and keeps nobody from stopping."""
    with suppress(OSError):
        typer.echo(line, err=True)
