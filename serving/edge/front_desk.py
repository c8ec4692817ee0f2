"""Answers everything that is asked over HTTP and is no infer call. HAProxy stands in front of it.

Every reply that is no success is `{"error": text}` with exactly `application/json`; nothing is ever
compressed; a query string and the content type of a request mean nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtimes.contract import TensorSpec
from runtimes.errors import BasculeError, Code, InvalidArgumentError, UnsupportedError
from serving.edge import lookup
from serving.edge.call_relay import CallRelay
from serving.edge.caller_headers import caller_headers
from serving.edge.departure import departure_of
from serving.edge.desk import PROTOCOL_VERSION, Desk
from serving.edge.generate_relay import EVENT_STREAM, GenerateRelay, as_event, infer_body
from serving.edge.http_regions import region_routes
from serving.edge.json_body import MAX_BODY_BYTES, BodyReader, json_object
from serving.edge.label_routes import label_routes
from serving.edge.local_server import refuse_unread
from serving.edge.openapi import openapi_document
from serving.edge.protocol_settings import TraceValue
from serving.edge.shared_ask import SharedAsk
from serving.edge.sleepers import sleeper_of
from serving.errors import WIRE, DrainingError, NotFoundError, NotReadyError
from serving.local_http import LocalReply
from serving.monitor.triton_statistics import triton_statistics
from serving.own_version import own_version
from serving.registry.model_config.completion import config_json
from serving.wire import refusals

log = structlog.get_logger(__name__)

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Endpoint = Callable[[Request], Awaitable[Response]]


def front_desk_app(
    desk: Desk,
    metrics: Callable[[], Awaitable[bytes]],
    generator: GenerateRelay,
    relay: CallRelay,
    *,
    max_request_bytes: int = MAX_BODY_BYTES,
) -> Starlette:
    """Build the application.

    Args:
        desk: What is answered.
        metrics: Renders the node's metrics.
        generator: Makes infer calls of `generate` calls.
        relay: Sends infer calls into the edge again that waited for a worker.
        max_request_bytes: The largest body that is read.
    """
    http = _HttpDesk(desk, generator, BodyReader(max_body_bytes=max_request_bytes))

    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/metrics", _exposition(SharedAsk(metrics))),
        ("GET", "/v2", http.server_metadata),
        ("GET", "/v2/health/live", http.live),
        ("GET", "/v2/health/ready", http.ready),
        ("GET", "/v2/models/stats", http.statistics),
        ("GET POST", "/v2/logging", http.logging),
        ("GET POST", "/v2/trace/setting", http.trace),
        ("GET POST", "/v2/models/{model}/trace/setting", http.trace),
        ("POST", "/v2/repository/index", http.index),
        ("POST", "/v2/repository/{repository}/index", http.index),
        ("POST", "/v2/repository/models//load", http.load),
        ("POST", "/v2/repository/models/{model}/load", http.load),
        ("POST", "/v2/repository/models/{model}/unload", http.unload),
        ("POST", "/v2/repository/{repository}/models/{model}/load", http.other_repository),
        ("POST", "/v2/repository/{repository}/models/{model}/unload", http.other_repository),
    ]
    table += [*region_routes(desk.regions, http.reader), *label_routes(desk, http.reader)]
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        table += [
            ("GET", model, http.model_metadata),
            ("GET", f"{model}/ready", http.model_ready),
            ("GET", f"{model}/config", http.config),
            ("GET", f"{model}/stats", http.statistics),
            ("POST", f"{model}/generate", http.generate),
            ("POST", f"{model}/generate_stream", http.generate_stream),
        ]
    table.append(("GET", "/openapi.json", http.openapi))
    http.describe([(methods, path) for methods, path, _ in table])
    app = Starlette(
        routes=[
            Route(path, _answered(endpoint), methods=methods.split())
            for methods, path, endpoint in (*table, *_asleep_infer(desk, relay))
        ],
        exception_handlers={HTTPException: _refuse_route},
    )
    app.router.redirect_slashes = False
    return app


class _HttpDesk:
    """One method per route: read the request, ask the desk, write the reply."""

    def __init__(self, desk: Desk, generator: GenerateRelay, reader: BodyReader) -> None:
        self._desk = desk
        self.reader = reader
        self._document: Mapping[str, object] = {}
        self._generator = generator

    def describe(self, routes: Sequence[tuple[str, str]]) -> None:
        """Write the OpenAPI document of the routes: their methods and paths."""
        self._document = openapi_document(routes, own_version())

    async def openapi(self, _: Request) -> Response:
        return _json(self._document)

    async def live(self, _: Request) -> Response:
        try:
            self._desk.check_live()
        except DrainingError as error:
            return _failure(error, live=False)
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        try:
            ready = self._desk.ready
        except DrainingError as error:
            return _failure(error, ready=False, live=False)
        if not ready:
            why = lookup.not_ready_text(self._desk.snapshot)
            return _json({"ready": False, "live": True, "error": why}, status=400)
        return _json({"ready": True, "live": True})

    async def server_metadata(self, _: Request) -> Response:
        self._desk.check_live()
        name = self._desk.server_id
        return _json(
            {"name": name, "version": PROTOCOL_VERSION, "extensions": self._desk.extensions}
        )

    async def model_ready(self, request: Request) -> Response:
        model, version = _asked(request)
        try:
            self._desk.check_live()
            lookup.ready_version(self._desk.snapshot, model, version)
        except NotReadyError:
            body = {"name": model, "ready": False, "error": "Model version not ready"}
            return _json(body, status=400)
        except (NotFoundError, DrainingError) as error:
            return _failure(error, ready=False)
        return _json({"name": model, "ready": True})

    async def model_metadata(self, request: Request) -> Response:
        facts = lookup.model_facts(self._desk.snapshot, *_asked(request))
        return _json(
            {
                "name": facts.name,
                "versions": facts.versions,
                "platform": facts.platform,
                "inputs": [_tensor(spec) for spec in facts.inputs],
                "outputs": [_tensor(spec) for spec in facts.outputs],
            }
        )

    async def config(self, request: Request) -> Response:
        found = lookup.ready_version(self._desk.snapshot, *_asked(request))
        return _json(config_json(found.config_text, found.model, found.served))

    async def statistics(self, request: Request) -> Response:
        statistics = await self._desk.statistics(*_asked(request))
        return _json({"model_stats": [triton_statistics(item) for item in statistics]})

    async def index(self, request: Request) -> Response:
        only_ready = (await self._object(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise InvalidArgumentError("Invalid value for 'ready': expected a boolean")
        entries = lookup.index_entries(self._desk.snapshot, only_ready=only_ready)
        return _json([_index_entry(entry) for entry in entries])

    async def load(self, request: Request) -> Response:
        parameters = (await self._large_object(request)).get("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidArgumentError("Unable to parse 'parameters': an object is expected")
        await self._desk.load(request.path_params.get("model", ""), parameters)
        return _empty()

    async def unload(self, request: Request) -> Response:
        parameters = (await self._object(request)).get("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidArgumentError("Unable to parse 'parameters': an object is expected")
        dependents = parameters.get("unload_dependents", False)
        await self._desk.unload(request.path_params["model"], dependents)
        return _empty()

    async def other_repository(self, _: Request) -> Response:
        raise UnsupportedError("'repository_name' specification is not supported")

    async def trace(self, request: Request) -> Response:
        given = await self._object(request) if request.method == "POST" else {}
        changes = {name: _trace_value(value) for name, value in given.items()}
        return _json(await self._desk.change_trace(request.path_params.get("model", ""), changes))

    async def logging(self, request: Request) -> Response:
        changes = await self._object(request) if request.method == "POST" else {}
        return _json(await self._desk.change_logging(changes))

    async def _object(self, request: Request) -> dict[str, object]:
        return await json_object(self.reader, request)

    async def _large_object(self, request: Request) -> dict[str, object]:
        return await json_object(self.reader, request, self.reader.max_body_bytes)

    async def generate(self, request: Request) -> Response:
        return _passed_on(await self._generated(request))

    async def generate_stream(self, request: Request) -> Response:
        """Models answer once: the stream is one event, and an error comes before it begins."""
        reply = await self._generated(request)
        if reply.status != HTTPStatus.OK:
            return _passed_on(reply)
        return Response(as_event(reply), media_type=EVENT_STREAM)

    async def _generated(self, request: Request) -> LocalReply:
        found = lookup.ready_version(self._desk.snapshot, *_asked(request))
        # Of the parsed values nothing is kept while the call waits.
        body = infer_body(await self._large_object(request), found.served.inputs)
        async with departure_of(request.scope).interrupts():
            return await self._generator.ask(
                request.scope["raw_path"].decode("latin-1"),
                body,
                headers=caller_headers(request.headers.items()),
            )


def _exposition(metrics: Callable[[], Awaitable[bytes]]) -> Endpoint:
    async def exposition(_: Request) -> Response:
        return Response(await metrics(), headers={"content-type": METRICS_TYPE})

    return exposition


def _asleep_infer(desk: Desk, relay: CallRelay) -> list[tuple[str, str, Endpoint]]:
    """Answer the infer calls that have to wait for a worker; all others never come here."""

    async def infer(request: Request) -> Response:
        sleeper = sleeper_of(request.headers.items())
        if sleeper is None:
            raise NotFoundError(refusals.NOT_FOUND)
        async with departure_of(request.scope).interrupts():
            await desk.sleepers.until_awake(sleeper)
            return await relay.ask(request, sleeper.woken)

    model = "/v2/models/{model}"
    return [("POST", f"{each}/infer", infer) for each in (model, model + "/versions/{version}")]


def _asked(request: Request) -> tuple[str, int | None]:
    """Model ("" where the path names none) and version of a path."""
    version = request.path_params.get("version")
    if version is None:
        return request.path_params.get("model", ""), None
    if not (version.isascii() and version.isdigit()):
        raise NotFoundError(refusals.NOT_FOUND)
    return request.path_params["model"], lookup.path_version(version)


def _trace_value(value: object) -> TraceValue | None:
    if isinstance(value, list):
        return tuple(str(item) for item in value)
    return None if value is None else str(value)


def _tensor(spec: TensorSpec) -> Mapping[str, object]:
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": spec.shape}


def _index_entry(entry: lookup.IndexEntry) -> Mapping[str, str]:
    fields = {"version": entry.version, "state": entry.state, "reason": entry.reason}
    return {"name": entry.name} | {name: value for name, value in fields.items() if value}


def _answered(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
            refuse_unread(request.scope, response.body)
        except BasculeError as error:
            return _failure(error)
        except Exception:
            log.exception("front_desk_failed", path=request.url.path)
            return _json({"error": "internal error"}, status=WIRE[Code.INTERNAL].http)
        return response

    return answer


async def _refuse_route(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == WIRE[Code.METHOD_NOT_ALLOWED].http:
        return _json({"error": refusals.METHOD_NOT_ALLOWED}, status=error.status_code)
    return _json({"error": refusals.NOT_FOUND}, status=WIRE[Code.NOT_FOUND].http)


def _failure(error: BasculeError, **more: object) -> Response:
    wire = WIRE[error.code]
    reply = _json({"error": error.message, **more}, status=wire.http)
    if wire.retry:
        reply.headers["retry-after"] = "1"
    if error.code is Code.REQUEST_TIMEOUT:
        reply.headers["connection"] = "close"  # the rest would be read for ever
    return reply


def _passed_on(reply: LocalReply) -> Response:
    passed = Response(reply.body, reply.status, media_type="application/json")
    if any(wire.http == reply.status and wire.retry for wire in WIRE.values()):
        passed.headers["retry-after"] = "1"
    return passed


def _json(body: object, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _empty() -> Response:
    return Response(b"", 200)
