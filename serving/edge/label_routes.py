"""`POST /v2/models/{model}[/versions/{version}]/labels`: the truth about predictions, as it comes.

The body is a JSON list of labels (`serving.predictions.labels.entries`); the reply says how many
were kept, and comes when they are on the disk. Over HTTP only: the gRPC service is the protocol's
own, which has no such call. Whoever may ask for predictions may post labels.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from runtimes.errors import UnsupportedError
from serving.clock import utc_s
from serving.edge import lookup
from serving.edge.desk import Desk
from serving.edge.json_body import BodyReader
from serving.errors import NotFoundError, QueueFullError
from serving.predictions.labels.entries import MAX_BODY_BYTES, read_entries
from serving.predictions.labels.store import LabelStore
from serving.wire import refusals

MAX_WAITING: Final = 16
"""Posts that wait for the disk: each may have `MAX_BODY_BYTES`. Those that are being read have the
room of all bodies, so that a few slow senders keep nobody else out.

They are written by a thread of their own: a disk that hangs must not take those that routes need.
"""

Endpoint = Callable[[Request], Awaitable[Response]]


def label_routes(desk: Desk, reader: BodyReader) -> list[tuple[str, str, Endpoint]]:
    """Return methods, path and endpoint of each route."""
    waiting = 0
    writer = ThreadPoolExecutor(1, thread_name_prefix="labels")

    async def post(request: Request) -> Response:
        nonlocal waiting
        desk.check_live()
        store = required_store(desk)
        model, version = request.path_params["model"], _version(request)
        _check_known(desk, model, version)
        body = await reader.read(request, MAX_BODY_BYTES)
        if waiting >= MAX_WAITING:
            raise QueueFullError(
                f"{MAX_WAITING} posts of labels wait to be written: post these again later"
            )
        waiting += 1
        try:
            kept = writer.submit(_keep, store, model, version, body)
            cells = await asyncio.wrap_future(kept)
        finally:
            waiting -= 1
        return Response(msgspec.json.encode({"labels": cells}), media_type="application/json")

    model = "/v2/models/{model}"
    return [
        ("POST", f"{model}/labels", post),
        ("POST", f"{model}/versions/{{version}}/labels", post),
    ]


def required_store(desk: Desk) -> LabelStore:
    """Return where labels are kept.

    Raises:
        UnsupportedError: Nowhere: there is no prediction log.
    """
    if desk.labels is None:
        raise UnsupportedError(
            "labels are not taken here: they are about logged predictions; set "
            "BASCULE_PREDICTION_LOG and start again"
        )
    return desk.labels


def _keep(store: LabelStore, model: str, version: int | None, body: bytearray) -> int:
    cells = read_entries(bytes(body), utc_s())
    if cells:
        store.add(model, version, cells)
    return len(cells)


def _version(request: Request) -> int | None:
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise NotFoundError(refusals.NOT_FOUND)
    return lookup.path_version(text)


def _check_known(desk: Desk, model: str, version: int | None) -> None:
    """Refuse labels of a model that nobody has heard of; versions that are gone may have some.

    Raises:
        NotFoundError: There is no such model, or none of its versions was ever loaded.
    """
    snapshot = desk.snapshot
    versions = {key.version for key in snapshot.versions if key.model == model}
    if not versions and model not in snapshot.known_models:
        raise NotFoundError(refusals.unknown_model(model))
    if version is not None and version < 1:
        raise NotFoundError(refusals.NOT_FOUND)
