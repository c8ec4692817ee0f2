"""The worker's other routes: health, metadata, statistics; and the control channel.

Control routes answer only on the unix socket, which its owner alone can open. On any other
connection they do not exist.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import msgspec
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from runtimes.errors import BasculeError, Code, InvalidArgumentError
from serving.clock import Clock
from serving.errors import WIRE, NotFoundError, NotReadyError, PayloadTooLargeError
from serving.ids import MAX_VERSION
from serving.logs import apply_switches
from serving.monitor.diagnostics import Diagnostics
from serving.monitor.statistics import VersionStatistics
from serving.monitor.triton_statistics import triton_statistics
from serving.wire import refusals
from serving.wire.peer_table import PeerTable
from serving.wire.region_table import RegionTable
from serving.worker.admission import draining_error
from serving.worker.control import ApplyRequest, HostedLine, TrafficQuestion, WorkerReport
from serving.worker.drift.monitor import DriftMonitor
from serving.worker.drift.route import drift_routes
from serving.worker.exchange import Desk
from serving.worker.front import Front
from serving.worker.handover import MAX_BEGUN_BYTES, Begun
from serving.worker.hosting import Hosting
from serving.worker.loaded import LoadedVersion
from serving.worker.own_environment import gpu_uuid
from serving.worker.process import rss_bytes
from serving.worker.regions import OpenRegions
from serving.worker.shadow.sides import Shadows
from serving.worker.targets import PathTarget, Targets
from serving.worker.traffic_route import answer_traffic
from serving.worker.vitals_route import vitals

JSON: Final = "application/json"
EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "parameters",
    "schedule_policy",
    "sequence",
    "statistics",
)
PROTOCOL_VERSION: Final = "0.1.0"

Told = TypeVar("Told")
Endpoint = Callable[[Request], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this worker is."""

    worker: str
    server_id: str
    pid: int


class WorkerApp:
    """The routes, over the parts that they describe."""

    def __init__(  # noqa: PLR0913  the parts of the process, built in one place
        self,
        identity: Identity,
        *,
        hosting: Hosting,
        targets: Targets,
        desk: Desk,
        clock: Clock,
        front: Front,
        shadows: Shadows,
        regions: OpenRegions | None = None,
        drift: DriftMonitor | None = None,
    ) -> None:
        """Take the parts: who we are, what we host, and the sockets that calls come in by."""
        self._identity = identity
        self._hosting = hosting
        self._targets = targets
        self._desk = desk
        self._clock = clock
        self._front = front
        self._shadows = shadows
        self._regions = regions
        self._drift = drift

    def asgi(self) -> Starlette:
        """Return the application."""
        model = "/v2/models/{model}"
        version = model + "/versions/{version:int}"
        app = Starlette(
            routes=[
                Route("/v2/health/live", self._live),
                Route("/v2/health/ready", self._ready),
                Route("/v2", self._server),
                Route("/v2/models/stats", self._all_statistics),
                Route(model, self._metadata),
                Route(version, self._metadata),
                Route(model + "/ready", self._model_ready),
                Route(version + "/ready", self._model_ready),
                Route(model + "/stats", self._statistics),
                Route(version + "/stats", self._statistics),
                *(Route(each + "/infer", _no_path, methods=["POST"]) for each in (model, version)),
                Route("/worker/apply", _local(self._apply), methods=["POST"]),
                Route("/worker/state", _local(self._state)),
                Route("/worker/statistics", _local(self._worker_statistics)),
                Route("/worker/traffic", _local(self._traffic), methods=["POST"]),
                Route("/worker/vitals", _local(self._vitals)),
                Route("/worker/load", _local(self._load)),
                Route("/worker/regions", _local(self._take_regions), methods=["POST"]),
                Route("/worker/diagnostics", _local(self._diagnostics), methods=["POST"]),
                Route("/worker/peers", _local(self._take_peers), methods=["POST"]),
                Route("/worker/begun", self._end_begun, methods=["POST"]),
                Route("/worker/drain", _local(self._drain_worker), methods=["POST"]),
                *self._shadows.routes(_local),
                *drift_routes(self._drift, _local),
            ],
            exception_handlers={HTTPException: _http_error, BasculeError: _bascule_error},
        )
        app.router.redirect_slashes = False
        return app

    async def _live(self, _: Request) -> Response:
        if self._desk.is_draining:
            return _json({"live": False, "error": refusals.SERVER_EXITING}, status=503)
        return _json({"live": True})

    async def _ready(self, _: Request) -> Response:
        if self._desk.is_draining:
            return _json(
                {"ready": False, "live": False, "error": refusals.SERVER_EXITING}, status=503
            )
        if not self._hosting.was_applied:
            return _json({"ready": False, "live": True, "error": "server not ready"}, status=400)
        return _json({"ready": True, "live": True})

    async def _server(self, _: Request) -> Response:
        return _json(
            {
                "name": self._identity.server_id,
                "version": PROTOCOL_VERSION,
                "extensions": EXTENSIONS,
            }
        )

    async def _metadata(self, request: Request) -> Response:
        loaded = self._asked(request)
        served = loaded.served
        versions = [loaded.spec.version]
        if "version" not in request.path_params:
            versions = sorted(
                other.spec.version
                for other in self._hosting.loaded
                if other.spec.model == loaded.spec.model
            )
        return _json(
            {
                "name": loaded.spec.model,
                "versions": [str(number) for number in versions],
                "platform": served.platform,
                "inputs": [_tensor(spec.name, spec.datatype, spec.shape) for spec in served.inputs],
                "outputs": [
                    _tensor(spec.name, spec.datatype, spec.shape) for spec in served.outputs
                ],
            }
        )

    async def _model_ready(self, request: Request) -> Response:
        try:
            loaded = self._asked(request)
        except NotReadyError:
            model = request.path_params["model"]
            body = {"name": model, "ready": False, "error": "Model version not ready"}
            return _json(body, status=400)
        except NotFoundError as error:
            return _failure(error, ready=False)
        return _json({"name": loaded.spec.model, "ready": True})

    async def _all_statistics(self, _: Request) -> Response:
        return _json(
            {"model_stats": [triton_statistics(self._count(each)) for each in self._hosting.loaded]}
        )

    async def _statistics(self, request: Request) -> Response:
        name, number = request.path_params["model"], request.path_params.get("version")
        ready = [each for each in self._hosting.loaded if each.spec.model == name]
        found = [each for each in ready if number in (None, each.spec.version)]
        if not found:
            raise InvalidArgumentError(refusals.nothing_measured(name, has_others=bool(ready)))
        return _json({"model_stats": [triton_statistics(self._count(each)) for each in found]})

    async def _apply(self, request: Request) -> Response:
        if self._desk.is_draining:
            raise draining_error()
        try:
            asked = msgspec.json.decode(await request.body(), type=ApplyRequest)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"invalid ApplyRequest: {error}") from error
        changes = self._hosting.want(asked.versions)
        return StreamingResponse(_json_lines(changes, self._front.take_calls), media_type=JSON)

    async def _state(self, _: Request) -> Response:
        report = WorkerReport(
            worker=self._identity.worker,
            pid=self._identity.pid,
            ready=self._hosting.was_applied and not self._desk.is_draining,
            draining=self._desk.is_draining,
            queued_rows=sum(loaded.batcher.queued_rows for loaded in self._hosting.loaded),
            rss_bytes=rss_bytes(),
            versions=self._hosting.counted_lines(),
            facts=self._hosting.facts,
        )
        return Response(msgspec.json.encode(report), media_type=JSON)

    async def _worker_statistics(self, _: Request) -> Response:
        counted = [self._count(loaded) for loaded in self._hosting.loaded]
        return Response(msgspec.json.encode(counted), media_type=JSON)

    async def _traffic(self, request: Request) -> Response:
        try:
            question = msgspec.json.decode(await request.body(), type=TrafficQuestion)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"invalid TrafficQuestion: {error}") from error
        counted = answer_traffic(question, self._hosting.loaded, self._desk.now_ns())
        return Response(msgspec.json.encode(counted), media_type=JSON)

    async def _vitals(self, _: Request) -> Response:
        found = vitals(self._hosting.loaded, self._desk.now_ns())
        return Response(msgspec.json.encode(found), media_type=JSON)

    async def _load(self, _: Request) -> Response:
        now_ns = self._desk.now_ns()
        found = [
            loaded.statistics.load(
                now_ns=now_ns,
                waiting_count=loaded.batcher.queued_count,
                is_running=loaded.batcher.is_running,
            )
            for loaded in self._hosting.loaded
            if loaded.spec.policy.scaling is not None
        ]
        return Response(msgspec.json.encode(found), media_type=JSON)

    async def _take_regions(self, request: Request) -> Response:
        try:
            table = msgspec.json.decode(await request.body(), type=RegionTable)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"invalid RegionTable: {error}") from error
        faults = () if self._regions is None else await self._regions.take(table)
        return Response(msgspec.json.encode(faults), media_type=JSON)

    async def _take_peers(self, request: Request) -> Response:
        table = _body_of(await request.body(), PeerTable)
        self._desk.handover.take(table, self._hosting.routed_sequences())
        return _json({})

    async def _end_begun(self, request: Request) -> Response:
        begun = _body_of(await _read(request, MAX_BEGUN_BYTES), Begun)
        self._hosting.end_begun(begun)
        return _json({})

    async def _diagnostics(self, request: Request) -> Response:
        try:
            settings = msgspec.json.decode(await request.body(), type=Diagnostics)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"invalid Diagnostics: {error}") from error
        apply_switches(settings.switches)
        self._hosting.tracing.change(settings)
        return _json({})

    async def _drain_worker(self, _: Request) -> Response:
        await self._front.drain()
        return _json({})

    def _asked(self, request: Request) -> LoadedVersion:
        name: str = request.path_params["model"]
        version: int | None = request.path_params.get("version")
        target = PathTarget(
            self._targets.model(name), None if version is None else min(version, MAX_VERSION)
        )
        loaded = target.loaded({})
        if loaded is None:
            raise self._targets.missing(target, {})
        return loaded

    def _count(self, loaded: LoadedVersion) -> VersionStatistics:
        counted = loaded.statistics.snapshot(
            now_ns=self._desk.now_ns(),
            now_ms=int(self._clock.utc_now().timestamp() * 1e3),
            pending_count=loaded.batcher.queued_count,
        )
        return replace(
            counted,
            gpu_uuid=gpu_uuid(self._hosting.facts, loaded.served.device),
            quality=None if loaded.quality is None else loaded.quality.report(),
        )


async def _read(request: Request, max_bytes: int) -> bytes:
    """Read the body of a request that anybody may have sent."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_bytes:
            raise PayloadTooLargeError(
                f"body of at least {len(body)} bytes; {max_bytes} are read: send it in parts"
            )
    return bytes(body)


def _body_of(body: bytes, kind: type[Told]) -> Told:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"invalid {kind.__name__}: {error}") from error


def _local(endpoint: Endpoint) -> Endpoint:
    """Hide a control route from connections that did not come over the unix socket."""

    async def guarded(request: Request) -> Response:
        if not request.scope["state"].get("is_local"):
            raise NotFoundError("Not Found")
        response: Response = await endpoint(request)
        return response

    return guarded


async def _json_lines(
    changes: AsyncIterator[HostedLine], take_calls: Callable[[], Awaitable[None]]
) -> AsyncIterator[bytes]:
    async for line in changes:
        yield msgspec.json.encode(line) + b"\n"
    await take_calls()
    yield b"{}\n"


def _json(content: object, *, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type=JSON)


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, object]:
    return {"name": name, "datatype": str(datatype), "shape": shape}


async def _no_path(_: Request) -> Response:
    """Only POSTs that are no infer calls come here: those never reach ASGI."""
    raise HTTPException(WIRE[Code.NOT_FOUND].http)


async def _bascule_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, BasculeError):
        raise error
    return _failure(error)


def _failure(error: BasculeError, **more: object) -> Response:
    wire = WIRE[error.code]
    reply = _json({"error": error.message, **more}, status=wire.http)
    if wire.retry:
        reply.headers["retry-after"] = "1"
    return reply


async def _http_error(_: Request, error: Exception) -> Response:
    wrong_method = WIRE[Code.METHOD_NOT_ALLOWED].http
    if isinstance(error, HTTPException) and error.status_code == wrong_method:
        return _json({"error": refusals.METHOD_NOT_ALLOWED}, status=wrong_method)
    return _json({"error": refusals.NOT_FOUND}, status=WIRE[Code.NOT_FOUND].http)
