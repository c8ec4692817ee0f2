"""Both sides of shadow traffic in one worker, and the routes that steer them."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.monitor.comparison import merge_comparisons
from serving.worker.control import MirrorTable
from serving.worker.exchange import Desk
from serving.worker.hosting import Hosting
from serving.worker.shadow.comparison import Comparisons
from serving.worker.shadow.mirror import Mirrors
from serving.worker.shadow.sender import KEY_HEADER, PATH

JSON: Final = "application/json"

Endpoint = Callable[[Request], Any]


class Shadows:
    """What a worker copies, and what it compares."""

    def __init__(self, desk: Desk, hosting: Hosting) -> None:
        """Copy and compare nothing."""
        self._mirrors = Mirrors(desk)
        self._comparisons = Comparisons(hosting, desk)

    async def run(self) -> None:
        """Send copies, for ever."""
        await self._mirrors.run()

    def routes(self, local: Callable[[Endpoint], Endpoint]) -> list[Route]:
        """Return the routes; `local` hides one from connections of other machines."""
        return [
            Route("/worker/mirrors", local(self._take_mirrors), methods=["POST"]),
            Route("/worker/comparisons", local(self._tell_comparisons)),
            Route(PATH, self._take_copies, methods=["POST"]),
        ]

    async def _take_mirrors(self, request: Request) -> Response:
        try:
            table = msgspec.json.decode(await request.body(), type=MirrorTable)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"invalid MirrorTable: {error}") from error
        self._comparisons.replace(table)
        self._mirrors.replace(table)
        return Response(b"{}", media_type=JSON)

    async def _tell_comparisons(self, _: Request) -> Response:
        told = merge_comparisons((*self._mirrors.reports(), *self._comparisons.reports()))
        return Response(msgspec.json.encode(told), media_type=JSON)

    async def _take_copies(self, request: Request) -> Response:
        is_local = request.scope["state"].get("is_local")
        if not is_local and not self._comparisons.knows(request.headers.get(KEY_HEADER, "")):
            raise NotFoundError("Not Found")
        reply = await self._comparisons.take(await request.body())
        return Response(msgspec.json.encode(reply), media_type=JSON)
