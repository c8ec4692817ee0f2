"""The HTTP routes of shared memory: status, register and unregister, of system and CUDA regions."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from runtimes.errors import InvalidArgumentError
from serving.edge.cuda_regions import decoded_handle
from serving.edge.json_body import BodyReader, json_object
from serving.edge.regions import RegionBook
from serving.wire.region_table import CudaRegion, Region

KINDS: Final = {"systemsharedmemory": "system", "cudasharedmemory": "cuda"}
MAX_UINT64: Final = 2**64 - 1

Endpoint = Callable[[Request], Awaitable[Response]]


def region_routes(book: RegionBook, reader: BodyReader) -> list[tuple[str, str, Endpoint]]:
    """Return methods, path and endpoint of each route."""
    routes: list[tuple[str, str, Endpoint]] = []
    for word, kind in KINDS.items():
        calls = _Calls(book, reader, kind)
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
    def __init__(self, book: RegionBook, reader: BodyReader, kind: str) -> None:
        self._book = book
        self._reader = reader
        self._kind = kind

    async def status(self, request: Request) -> Response:
        name = request.path_params.get("region")
        if self._kind == "cuda":
            shown = [_shown_cuda(region) for region in self._book.cuda_status(name)]
        else:
            shown = [_shown(region) for region in self._book.system_status(name)]
        return Response(msgspec.json.encode(shown), media_type="application/json")

    async def register(self, request: Request) -> Response:
        self._book.check(self._kind)
        asked = await json_object(self._reader, request)
        name = request.path_params["region"]
        if self._kind == "cuda":
            size_bytes = _unsigned("byte_size", asked)
            device = _unsigned("device_id", asked)
            await self._book.register_cuda(name, _handle(asked), device, size_bytes)
            return Response(b"")
        key = asked.get("key")
        if not isinstance(key, str):
            raise _unreadable("key", asked, "non-string as string")
        await self._book.register_system(
            name, key, _unsigned("offset", asked, default=0), _unsigned("byte_size", asked)
        )
        return Response(b"")

    async def unregister(self, request: Request) -> Response:
        await self._book.unregister(self._kind, request.path_params.get("region"))
        return Response(b"")


def _handle(asked: Mapping[str, object]) -> bytes:
    if "raw_handle" not in asked:
        raise InvalidArgumentError("Shared memory register request has no 'raw_handle' field")
    given = asked["raw_handle"]
    if not isinstance(given, dict) or "b64" not in given:
        raise InvalidArgumentError(
            "Unable to parse 'b64': attempt to access non-existing object member 'b64'"
        )
    return decoded_handle(given["b64"])


def _shown_cuda(region: CudaRegion) -> Mapping[str, object]:
    return {"name": region.name, "device_id": region.device, "byte_size": region.size_bytes}


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
