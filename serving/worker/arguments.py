"""The worker's command line. It reads no settings: its supervisor hands it what it needs."""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes.catalogue import format_of
from runtimes.errors import BasculeError
from serving.host_port import HostPort
from serving.monitor.drift_order import DriftOrder
from serving.monitor.drift_order import decode_order as decode_drift
from serving.predictions.order import LogOrder, decode_order
from serving.registry.version import ServingPolicy, VersionSpec
from serving.worker.span_order import SpanOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What a worker is told at its start."""

    worker: str
    control: Path | None
    """Its own socket for the control channel; calls are taken after the first apply then."""
    socket: Path | None
    tcp: HostPort | None
    parent: int | None
    recorder: Path | None
    regions: Path | None
    """The front desk's table of shared-memory regions; None: clients may not share memory."""
    cuda_gpus: str | None
    """The server's GPUs, by whose place in this list clients call them; None: clients may share no
    memory on GPUs."""
    max_request_bytes: int
    max_inflated_bytes: int
    max_queue_bytes: int
    cache_size_bytes: int
    busy_poll_us: int
    prediction_log: LogOrder | None
    """Where answered calls are kept; None: nowhere."""
    drift: DriftOrder | None
    """How rows are watched for drift; None: they are not."""
    spans: SpanOrder | None
    """Where spans of answered calls go; None: nowhere."""
    drain_s: float
    log_level: str
    server_id: str
    gpus: str | None
    """What this process sees, as CUDA_VISIBLE_DEVICES lists them; None: all there are."""
    versions: tuple[VersionSpec, ...]


def parse_arguments(argv: Sequence[str] | None) -> Arguments:
    """Parse the command line; ends the process with a usage error where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m serving.worker", description=__doc__)
    add = parser.add_argument
    add("--worker", default="worker", help="this worker's name")
    add("--socket", type=Path, help="unix socket for calls, and for control without --control")
    add("--control", type=Path, help="unix socket for control; calls wait for the first apply")
    add("--tcp", type=_address, help="HOST:PORT to listen on as well; port 0 chooses one")
    add("--port", type=_local_port, dest="tcp", help="short for --tcp 127.0.0.1:PORT")
    add("--parent", type=int, help="process to die with; its pipe is on standard input")
    add("--recorder", type=Path, help="flight recorder: names what ran if this process dies")
    _add_regions(parser)
    _add_limits(parser)
    add("--drain-s", type=float, default=30.0, help="longest wait for calls in flight at the end")
    add("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    add("--server-id", default="triton", help="name in server metadata")
    add("--gpus", help="GPUs that it was given, as in CUDA_VISIBLE_DEVICES; by default all")
    add("--device", default="cpu", help="device of the models named here: cpu, cuda, cuda:N")
    add("--threads", type=int, default=0, help="their engine threads; 0: from this machine")
    add("--max-batch-rows", type=int, help="their batch limit; by default found out at load")
    add("models", nargs="*", type=Path, help="model files or bundles to serve at once")
    given = parser.parse_args(argv)
    if given.socket is None and given.tcp is None:
        parser.error("nowhere to listen: give --socket PATH, --tcp HOST:PORT or both")
    try:
        versions = _versions(given)
    except BasculeError as error:
        parser.error(error.message)
    except OSError as error:
        parser.error(str(error))
    return Arguments(
        worker=given.worker,
        control=given.control,
        socket=given.socket,
        tcp=given.tcp,
        parent=given.parent,
        recorder=given.recorder,
        regions=given.regions,
        cuda_gpus=given.cuda_gpus,
        max_request_bytes=given.max_request_bytes,
        max_inflated_bytes=given.max_inflated_bytes,
        max_queue_bytes=given.max_queue_bytes,
        cache_size_bytes=given.cache_size_bytes,
        busy_poll_us=given.busy_poll_us,
        prediction_log=given.prediction_log,
        drift=given.drift,
        spans=SpanOrder(endpoint=given.spans, share=given.spans_share) if given.spans else None,
        drain_s=given.drain_s,
        log_level=given.log_level,
        server_id=given.server_id,
        gpus=given.gpus,
        versions=versions,
    )


def file_version(file: Path, policy: ServingPolicy) -> VersionSpec:
    """Describe a model file as a version: MODEL/VERSION/model.onnx, or NAME.onnx as version 1."""
    file = file.absolute()
    version = file.parent.name
    is_layout = version.isdecimal() and int(version) > 0
    return VersionSpec(
        model=file.parent.parent.name if is_layout else file.stem,
        version=int(version) if is_layout else 1,
        file=str(file),
        format=format_of(file),
        size_bytes=file.stat().st_size,
        digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        origin=f"file {file}",
        policy=policy,
    )


def _add_regions(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--regions", type=Path, help="table of shared-memory regions; without it there are none")
    add("--cuda-gpus", help="the server's GPUs, if clients may share memory on them: 0,1")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--max-request-bytes", type=int, default=1 << 30, help="largest body that is read")
    add("--max-inflated-bytes", type=int, default=64 << 20, help="largest decompressed body")
    add("--max-queue-bytes", type=int, default=2 << 30, help="bytes that may wait in all queues")
    add("--spans", metavar="URL", help="receiver of spans, OTLP over HTTP; else none are made")
    add("--spans-share", type=float, default=0.0, help="of the calls without a trace context")
    add("--prediction-log", type=_log_order, help="LogOrder as JSON; without it nothing is logged")
    add("--drift", type=_drift_order, help="DriftOrder as JSON; without it nothing is watched")
    add("--cache-size-bytes", type=int, default=64 << 20, help="bound of all kept answers")
    add("--busy-poll-us", type=int, default=100, help="looks so long for a call before it sleeps")


def _versions(given: argparse.Namespace) -> tuple[VersionSpec, ...]:
    policy = ServingPolicy(
        device=given.device, threads=given.threads, max_batch_rows=given.max_batch_rows
    )
    return tuple(_version(path, policy) for path in given.models)


def _version(path: Path, policy: ServingPolicy) -> VersionSpec:
    if not path.is_dir():
        return file_version(path, policy)
    from serving.worker.bundles import bundle_version  # noqa: PLC0415  pydantic, only if asked for

    return bundle_version(path, device=policy.device, threads=policy.threads)


def _address(text: str) -> HostPort:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) >= 2**16:
        raise argparse.ArgumentTypeError(f"'{text}' is no address: write HOST:PORT")
    return HostPort(host, int(port))


def _log_order(text: str) -> LogOrder:
    try:
        return decode_order(text)
    except BasculeError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def _drift_order(text: str) -> DriftOrder:
    try:
        return decode_drift(text)
    except BasculeError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def _local_port(text: str) -> HostPort:
    return _address(f"127.0.0.1:{text}")
