"""The HTTP routes of shared memory: status, register and unregister, of system and CUDA regions."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from runtimes.errors import InvalidArgumentError
from serving.edge.json_body import BodyRoom, json_object
from serving.edge.regions import RegionBook
from serving.wire.region_table import Region

KINDS: Final = {"systemsharedmemory": "system", "cudasharedmemory": "cuda"}
MAX_UINT64: Final = 2**64 - 1

Endpoint = Callable[[Request], Awaitable[Response]]


def region_routes(book: RegionBook, room: BodyRoom) -> list[tuple[str, str, Endpoint]]:
    """Return methods, path and endpoint of each route."""
    routes: list[tuple[str, str, Endpoint]] = []
    for word, kind in KINDS.items():
        calls = _Calls(book, room, kind)
        one = f"/v2/{word}/region/{{region}}"
        routes += [
            ("GET", f"/v2/{word}/status", calls.status),
            ("GET", f"{one}/status", calls.status),
            ("POST", f"{one}/register", calls.register),
            ("POST", f"/v2/{word}/unregister", calls.unregister),
            ("POST", f"{one}/unregister", calls.unregister),
        ]
    return routes


class _Calls:
    def __init__(self, book: RegionBook, room: BodyRoom, kind: str) -> None:
        self._book = book
        self._room = room
        self._kind = kind

    async def status(self, request: Request) -> Response:
        found = self._book.status(self._kind, request.path_params.get("region"))
        body = msgspec.json.encode([_shown(region) for region in found])
        return Response(body, media_type="application/json")

    async def register(self, request: Request) -> Response:
        if self._kind == "cuda" or not self._book.is_on:
            self._book.refuse_cuda()
        asked = await json_object(self._room, request)
        key = asked.get("key")
        if not isinstance(key, str):
            raise _unreadable("key", asked, "non-string as string")
        await self._book.register_system(
            request.path_params["region"],
            key,
            _unsigned("offset", asked, default=0),
            _unsigned("byte_size", asked),
        )
        return Response(b"")

    async def unregister(self, request: Request) -> Response:
        await self._book.unregister(self._kind, request.path_params.get("region"))
        return Response(b"")


def _shown(region: Region) -> Mapping[str, object]:
    return {
        "name": region.name,
        "key": region.key,
        "offset": region.offset,
        "byte_size": region.size_bytes,
    }


def _unsigned(field: str, asked: Mapping[str, object], default: int | None = None) -> int:
    value = asked.get(field, default)
    if type(value) is not int or not 0 <= value <= MAX_UINT64:
        raise _unreadable(field, asked, "JSON non-unsigned-integer as unsigned-integer")
    return value


def _unreadable(field: str, asked: Mapping[str, object], access: str) -> InvalidArgumentError:
    if field not in asked:
        access = f"non-existing object member '{field}'"
    return InvalidArgumentError(f"Unable to parse '{field}': attempt to access {access}")
