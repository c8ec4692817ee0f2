"""`POST /worker/drift` on the control channel: what a worker has counted, and its learning."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtimes.errors import InvalidArgumentError
from serving.worker.drift.monitor import DriftMonitor

Endpoint = Callable[[Request], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftQuestion:
    """What who asks knows already."""

    known: dict[str, int] = field(default_factory=dict)
    """Epoch → the latest record of it that was heard."""


def drift_routes(
    monitor: DriftMonitor | None, local: Callable[[Endpoint], Endpoint]
) -> list[Route]:
    """Return the route; none where nothing is watched.

    Args:
        monitor: The worker's.
        local: Hides a route from connections of other machines.
    """
    if monitor is None:
        return []

    async def answer(request: Request) -> Response:
        try:
            question = msgspec.json.decode(await request.body(), type=DriftQuestion)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"invalid DriftQuestion: {error}") from error
        told = monitor.reports(question.known)
        return Response(msgspec.json.encode(told), media_type="application/json")

    return [Route("/worker/drift", local(answer), methods=["POST"])]
