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
         (serving.registry.rollout_forecast)
    POST /v1/models/{model}/rollout/{order} {"reason": ""}  → 200 Rollout
         order: pause, resume, skip-step, abort
    POST /v1/models/{model}/rollback {"reason": ""}         → 200 Rollout
    GET  /v1/rollouts?model=NAME                → 200 [Rollout (serving.registry.rollout_record)]
    GET  /v1/rollouts/{number}                  → 200 {"rollout": Rollout, "transitions": […]}

Who asked is the owner of the process at the other end of the socket, as the kernel says.

`{model}` is percent-encoded by the caller (`urllib.parse.quote(model, safe="")`). A reply comes
when the change is done and every living edge has acknowledged it, so callers wait without a limit
of their own or with a generous one. Every failure is `{"error": text, "code": code}` with the HTTP
status that `serving.errors.WIRE` gives the code; an unknown path or method has the codes
`not_found` and `method_not_allowed`.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtimes.errors import BasculeError, Code, InvalidArgumentError
from serving.edge.control import OPERATOR, Asked, Control, RolloutControl
from serving.edge.rollout_body import MAX_REASON_CHARACTERS, OrderBody, RolloutBody
from serving.errors import WIRE, NotFoundError
from serving.ids import MAX_VERSION, model_name
from serving.registry.rollout_record import Order

log = structlog.get_logger(__name__)

MAX_NUMBER_DIGITS: Final = 18
"""What the catalog can count to."""

Body = TypeVar("Body", bound=BaseModel)


class PromoteBody(BaseModel):
    """Which version becomes the live one, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(gt=0, le=MAX_VERSION, strict=True)
    force: bool = Field(default=False, strict=True)
    reason: str = Field(default="", max_length=MAX_REASON_CHARACTERS)


class RetireBody(BaseModel):
    """Which version goes; None: all versions of the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int | None = Field(None, gt=0, le=MAX_VERSION, strict=True)


def admin_app(control: Control) -> Starlette:
    """Build the admin API over a controller."""
    operations = _Operations(control)
    return Starlette(
        routes=[
            Route("/v1/status", _answered(operations.status), methods=["GET"]),
            Route("/v1/sync", _answered(operations.sync), methods=["POST"]),
            Route("/v1/models/{model}/promote", _answered(operations.promote), methods=["POST"]),
            Route("/v1/models/{model}/retire", _answered(operations.retire), methods=["POST"]),
            Route("/v1/models/{model}/load", _answered(operations.load), methods=["POST"]),
            *_rollout_routes(_RolloutOperations(control)),
        ],
        exception_handlers={HTTPException: _refuse_route},
    )


def _rollout_routes(operations: "_RolloutOperations") -> list[Route]:
    model = "/v1/models/{model}"
    return [
        Route(f"{model}/rollout", _answered(operations.start), methods=["POST"]),
        Route(f"{model}/rollout/plan", _answered(operations.plan), methods=["POST"]),
        Route(f"{model}/rollout/{{order}}", _answered(operations.order), methods=["POST"]),
        Route(f"{model}/rollback", _answered(operations.rollback), methods=["POST"]),
        Route("/v1/rollouts", _answered(operations.history), methods=["GET"]),
        Route("/v1/rollouts/{number}", _answered(operations.report), methods=["GET"]),
    ]


class _Operations:
    """One method per route: parse, call the controller, give the reply's record."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def status(self, _: Request) -> object:
        return await self._control.status()

    async def sync(self, _: Request) -> object:
        await self._control.sync()
        return {}

    async def promote(self, request: Request) -> object:
        body = await _body(request, PromoteBody)
        if body.force and not body.reason.strip():
            raise InvalidArgumentError("a forced promotion needs a reason: say why, with --reason")
        asked = Asked(who=_who(request), reason=body.reason.strip(), is_forced=body.force)
        return {"revision": await self._control.promote(_model(request), body.version, asked)}

    async def retire(self, request: Request) -> object:
        body = await _body(request, RetireBody)
        asked = Asked(who=_who(request))
        await self._control.retire(_model(request), body.version, asked)
        return {}

    async def load(self, request: Request) -> object:
        await self._control.load(_model(request))
        return {}


class _RolloutOperations:
    """The same for rollouts."""

    def __init__(self, control: RolloutControl) -> None:
        self._control = control

    async def start(self, request: Request) -> object:
        body = await _body(request, RolloutBody)
        if body.force and not body.reason.strip():
            raise InvalidArgumentError("a forced rollout needs a reason: say why, with --reason")
        asked = Asked(who=_who(request), reason=body.reason.strip(), is_forced=body.force)
        return await self._control.start_rollout(_model(request), body.version, body.plan(), asked)

    async def plan(self, request: Request) -> object:
        body = await _body(request, RolloutBody)
        return await self._control.plan_rollout(_model(request), body.version, body.plan())

    async def order(self, request: Request) -> object:
        text = request.path_params["order"]
        if text not in set(Order):
            raise InvalidArgumentError(
                f"order: one of {', '.join(Order)} is expected, got {text!r}"
            )
        body = await _body(request, OrderBody)
        asked = Asked(who=_who(request), reason=body.reason.strip())
        return await self._control.order_rollout(_model(request), Order(text), asked)

    async def rollback(self, request: Request) -> object:
        body = await _body(request, OrderBody)
        asked = Asked(who=_who(request), reason=body.reason.strip())
        return await self._control.rollback(_model(request), asked)

    async def history(self, request: Request) -> object:
        return await self._control.rollouts(request.query_params.get("model"))

    async def report(self, request: Request) -> object:
        return await self._control.rollout(_number(request))


def _who(request: Request) -> str:
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
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidArgumentError(
            f"{field}: {first['msg']}, got {str(first['input'])[:80]!r}; "
            "see the shapes in serving/edge/admin_api.py"
        ) from error


def _answered(
    operation: Callable[[Request], Awaitable[object]],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return _json(200, await operation(request))
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
