"""What operators may ask for: JSON over the admin socket, which only the owner of home can open.

::

    GET  /v1/status                             → 200 ClusterStatus (serving.edge.control) as JSON:
         {"mode", "home", "model_control", "revision", "ready", "settled",
          "live": {model: version | null},
          "versions": [{"model", "version", "state", "reason", "pool", "isolation", "origin",
                        "config_text", "served": {…} | null, "findings": [{…}]}],
          "workers": [{"worker", "pool", "node", "pid", "state", "restart_count", "last_exit",
                       "rss_bytes", "devices"}],
          "edges": [{"node", "haproxy_pid", "revision", "restart_count"}],
          "http", "grpc", "metrics"}
    POST /v1/sync                               → 200 {}
    POST /v1/models/{model}/promote {"version": n, "force": false, "reason": ""}
                                                → 200 {"revision": n}
    POST /v1/models/{model}/retire  {"version": n | null}  → 200 {}
    POST /v1/models/{model}/load                → 200 {}
    POST /v1/models/{model}/rollout  RolloutBody (serving.edge.rollout_body)  → 200 Rollout
    POST /v1/models/{model}/rollout/plan  RolloutBody → 200 Forecast; nothing is changed
         (serving.registry.rollouts.forecast)
    POST /v1/models/{model}/rollout/{order} {"reason": ""}  → 200 Rollout
         order: pause, resume, skip-step, abort
    POST /v1/models/{model}/rollback {"reason": ""}         → 200 Rollout
    GET  /v1/rollouts?model=NAME                → 200 [Rollout (serving.registry.rollouts.record)]
    GET  /v1/rollouts/{number}                  → 200 {"rollout": Rollout, "transitions": […]}
    GET  /v1/models/{model}/quality             → 200 [VersionQuality (serving.edge.quality_call)]
    GET  /v1/models/{model}/drift?version=N     → 200 [VersionDrift (serving.monitor.drift.view)]
    POST /v1/models/{model}/drift/ack {"version": n | null, "alarm": "", "reason": ""}
                                                → 200 [DriftAlarm]: those that it was said of
    GET  /v1/alarms                             → 200 [StandingAlarm (serving.monitor.alarms.latch)]
    POST /v1/monitor/selftest {"model": name | null}
                                                → 200 SelfTest (serving.monitor.selftest.trial)
    GET  /v1/rollouts/{number}/report?format=md|html|json   → 200 one page, as text
    GET  /openapi.json                          → 200 all of the above as OpenAPI 3.1

Who asked is the owner of the process at the other end of the socket, as the kernel says.

`{model}` is percent-encoded by the caller (`urllib.parse.quote(model, safe="")`). A reply comes
when the change is done and every living edge has acknowledged it, so callers wait without a limit
of their own or with a generous one. Every failure is `{"error": text, "code": code}` with the HTTP
status that `serving.errors.WIRE` gives the code; an unknown path or method has the codes
`not_found` and `method_not_allowed`.
"""

from collections.abc import Awaitable, Callable, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from runtimes.errors import BasculeError, Code, InvalidArgumentError
from serving.edge.admin_openapi import AdminCall, Words, admin_document, reference_to
from serving.edge.control import (
    OPERATOR,
    Asked,
    ClusterStatus,
    Control,
    PageForm,
    RolloutControl,
    RolloutReport,
)
from serving.edge.json_body import LEFT
from serving.edge.rollout_body import OrderBody, Reason, RolloutBody
from serving.errors import WIRE, CancelledCallError, NotFoundError
from serving.ids import MAX_VERSION, model_name
from serving.own_version import own_version
from serving.registry.rollouts.forecast import Forecast
from serving.registry.rollouts.record import Order, Rollout

log = structlog.get_logger(__name__)

MAX_NUMBER_DIGITS: Final = 18
"""What the catalog can count to."""
OF_MODEL: Final = "/v1/models/{model}"
PAGE_MEDIA: Final = MappingProxyType(
    {
        PageForm.MARKDOWN: "text/markdown",
        PageForm.HTML: "text/html",
        PageForm.JSON: "application/json",
    }
)

Body = TypeVar("Body", bound=BaseModel)


class PromoteBody(BaseModel):
    """Which version becomes the live one, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(gt=0, le=MAX_VERSION, strict=True)
    force: bool = Field(default=False, strict=True)
    reason: Reason = ""


class RetireBody(BaseModel):
    """Which version goes; None: all versions of the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int | None = Field(None, gt=0, le=MAX_VERSION, strict=True)


class Promoted(msgspec.Struct, frozen=True):
    """The route revision that every edge has acknowledged."""

    revision: int


def admin_app(control: Control, more: Sequence[AdminCall] = ()) -> Starlette:
    """Build the admin API over a controller, and over what the node itself answers."""
    calls = (
        *_general_calls(_Operations(control)),
        *_rollout_calls(_RolloutOperations(control)),
        *more,
    )
    document: dict[str, object] = {}

    async def description(_: Request) -> object:
        return document

    words = Words("metadata", "This document")
    table = (*calls, AdminCall("GET", "/openapi.json", description, words))
    document |= admin_document(table, own_version())
    return Starlette(
        routes=[Route(call.path, _answered(call.answer), methods=[call.method]) for call in table],
        exception_handlers={HTTPException: _refuse_route},
    )


def _general_calls(operations: "_Operations") -> tuple[AdminCall, ...]:
    return (
        AdminCall(
            "GET", "/v1/status", operations.status, Words("instance", "Everything", ClusterStatus)
        ),
        AdminCall(
            "POST",
            "/v1/sync",
            operations.sync,
            Words("instance", "Read the registry again, and a repository that is not of mode none"),
        ),
        call_with_body(
            f"{OF_MODEL}/promote",
            PromoteBody,
            operations.promote,
            Words("models", "Make a version the live one, at once", Promoted),
        ),
        call_with_body(
            f"{OF_MODEL}/retire",
            RetireBody,
            operations.retire,
            Words("models", "Take a version, or the whole model, out of service"),
        ),
        AdminCall(
            "POST",
            f"{OF_MODEL}/load",
            operations.load,
            Words("models", "Load a model of the repository"),
        ),
    )


def _rollout_calls(operations: "_RolloutOperations") -> tuple[AdminCall, ...]:
    return (
        call_with_body(
            f"{OF_MODEL}/rollout",
            RolloutBody,
            operations.start,
            Words("rollouts", "Begin to move traffic to a version", Rollout),
        ),
        call_with_body(
            f"{OF_MODEL}/rollout/plan",
            RolloutBody,
            operations.plan,
            Words("rollouts", "What a rollout would do; nothing is changed", Forecast),
        ),
        call_with_body(
            f"{OF_MODEL}/rollout/{{order}}",
            OrderBody,
            operations.order,
            Words("rollouts", "Pause, resume, abort, or skip a step", Rollout),
        ),
        call_with_body(
            f"{OF_MODEL}/rollback",
            OrderBody,
            operations.rollback,
            Words("rollouts", "Give all traffic to the version before", Rollout),
        ),
        AdminCall(
            "GET",
            "/v1/rollouts",
            operations.history,
            Words("rollouts", "The latest rollouts, newest first", tuple[Rollout, ...]),
            query={"model": {"type": "string"}},
        ),
        AdminCall(
            "GET",
            "/v1/rollouts/{number}",
            operations.report,
            Words("rollouts", "One rollout with all its changes", RolloutReport),
        ),
        AdminCall(
            "GET",
            "/v1/rollouts/{number}/report",
            operations.page,
            Words("rollouts", "One page about a rollout, with all evidence"),
            query={"format": {"type": "string", "enum": list(PageForm), "default": "md"}},
            media=tuple(PAGE_MEDIA.values()),
        ),
    )


def call_with_body(
    path: str,
    shape: type[Body],
    operation: Callable[[Request, Body], Awaitable[object]],
    words: Words,
) -> AdminCall:
    """Return a call with a body: what is described is what is checked."""

    async def answer(request: Request) -> object:
        return await operation(request, await _body(request, shape))

    schema = shape.model_json_schema(ref_template=reference_to("{model}"))
    return AdminCall("POST", path, answer, words, body=schema)


class _Operations:
    """One method per route: parse, call the controller, give the reply's record."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def status(self, _: Request) -> object:
        return await self._control.status()

    async def sync(self, _: Request) -> object:
        await self._control.sync()
        return {}

    async def promote(self, request: Request, body: PromoteBody) -> object:
        if body.force and not body.reason.strip():
            raise InvalidArgumentError("a forced promotion needs a reason: say why, with --reason")
        asked = Asked(who=who_asked(request), reason=body.reason.strip(), is_forced=body.force)
        return Promoted(await self._control.promote(_model(request), body.version, asked))

    async def retire(self, request: Request, body: RetireBody) -> object:
        asked = Asked(who=who_asked(request))
        await self._control.retire(_model(request), body.version, asked)
        return {}

    async def load(self, request: Request) -> object:
        await self._control.load(_model(request))
        return {}


class _RolloutOperations:
    """The same for rollouts."""

    def __init__(self, control: RolloutControl) -> None:
        self._control = control

    async def start(self, request: Request, body: RolloutBody) -> object:
        if body.force and not body.reason.strip():
            raise InvalidArgumentError("a forced rollout needs a reason: say why, with --reason")
        asked = Asked(who=who_asked(request), reason=body.reason.strip(), is_forced=body.force)
        return await self._control.start_rollout(_model(request), body.version, body.plan(), asked)

    async def plan(self, request: Request, body: RolloutBody) -> object:
        return await self._control.plan_rollout(_model(request), body.version, body.plan())

    async def order(self, request: Request, body: OrderBody) -> object:
        text = request.path_params["order"]
        if text not in set(Order):
            raise InvalidArgumentError(
                f"order: one of {', '.join(Order)} is expected, got {text!r}"
            )
        asked = Asked(who=who_asked(request), reason=body.reason.strip())
        return await self._control.order_rollout(_model(request), Order(text), asked)

    async def rollback(self, request: Request, body: OrderBody) -> object:
        asked = Asked(who=who_asked(request), reason=body.reason.strip())
        return await self._control.rollback(_model(request), asked)

    async def history(self, request: Request) -> object:
        return await self._control.rollouts(request.query_params.get("model"))

    async def report(self, request: Request) -> object:
        return await self._control.rollout(_number(request))

    async def page(self, request: Request) -> object:
        text = request.query_params.get("format", PageForm.MARKDOWN)
        if text not in set(PageForm):
            raise InvalidArgumentError(
                f"format: one of {', '.join(PageForm)} is expected, got {text[:40]!r}"
            )
        form = PageForm(text)
        written = await self._control.rollout_page(_number(request), form)
        return Response(written, media_type=PAGE_MEDIA[form])


def who_asked(request: Request) -> str:
    """Return who is at the other end: `serving.edge.local_server` asked the kernel."""
    return OPERATOR if request.client is None else request.client.host


def _model(request: Request) -> str:
    return model_name(request.path_params["model"])


def _number(request: Request) -> int:
    text = request.path_params["number"]
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_NUMBER_DIGITS):
        raise NotFoundError(f"there is no rollout {text[:40]!r} (bascule rollout history)")
    return int(text)


async def _body(request: Request, shape: type[Body]) -> Body:
    try:
        return shape.model_validate_json(await request.body() or b"{}")
    except ClientDisconnect as error:
        raise CancelledCallError(LEFT) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidArgumentError(
            f"{field}: {first['msg']}, got {str(first['input'])[:80]!r}; "
            "see the shapes in /openapi.json of the admin socket"
        ) from error


def _answered(
    operation: Callable[[Request], Awaitable[object]],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            reply = await operation(request)
            return reply if isinstance(reply, Response) else _json(200, reply)
        except BasculeError as error:
            return _failure(error.code, error.message)
        except Exception:
            log.exception("admin_call_failed", path=request.url.path)
            return _failure(Code.INTERNAL, "internal error: see the log of this process")

    return endpoint


async def _refuse_route(request: Request, error: Exception) -> Response:
    wrong_method = getattr(error, "status_code", 404) == WIRE[Code.METHOD_NOT_ALLOWED].http
    code = Code.METHOD_NOT_ALLOWED if wrong_method else Code.NOT_FOUND
    return _failure(code, f"{request.method} {request.url.path} is no admin call")


def _failure(code: Code, message: str) -> Response:
    return _json(WIRE[code].http, {"error": message, "code": code.value})


def _json(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
