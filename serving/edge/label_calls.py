"""`/v1/models/{model}/labels…` on the admin socket: how many labels came, and what they say.

Answered by the node, from the prediction log that it can read: where nodes share no folder and no
URL, each knows its part. One question is answered at a time: reading takes memory.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from starlette.requests import Request

from serving.clock import utc_s
from serving.edge.admin_openapi import AdminCall, Words
from serving.edge.desk import Desk
from serving.edge.label_routes import required_store
from serving.ids import model_name, version_number
from serving.predictions.labels.book import LabelBook, LabelStatus, Performance, cut_of
from serving.predictions.labels.joining import Wanted
from serving.predictions.reading import Filter
from serving.predictions.wanted import log_order
from serving.settings import Settings

OF_LABELS: Final = "/v1/models/{model}/labels"
OF_VERSION: Final = {"version": {"type": "integer", "minimum": 1}}
OF_SOURCE: Final = {"source": {"type": "string"}}

T = TypeVar("T")


def label_calls(desk: Desk, settings: Settings) -> tuple[AdminCall, ...]:
    """Return the calls, over a node's desk and log."""
    calls = _Calls(desk, settings)
    return (
        AdminCall(
            "GET",
            OF_LABELS,
            calls.status,
            Words("labels", "How many labels came, and of what", LabelStatus),
            query={**OF_VERSION, **OF_SOURCE},
        ),
        AdminCall(
            "GET",
            f"{OF_LABELS}/performance",
            calls.performance,
            Words("labels", "How good versions were, by their labels", Performance),
            query={**OF_VERSION, **OF_SOURCE, "window": {"type": "string"}},
        ),
    )


class _Calls:
    def __init__(self, desk: Desk, settings: Settings) -> None:
        self._desk = desk
        order = log_order(settings)
        self._book = LabelBook(*(() if order is None else (order.folder, order.url)))
        self._grace_s = settings.label_grace_s
        self._lock = asyncio.Lock()

    async def status(self, request: Request) -> object:
        wanted = self._wanted(request)
        return await self._ask(lambda: self._book.status(wanted, utc_s()))

    async def performance(self, request: Request) -> object:
        wanted, cut = self._wanted(request), cut_of(request.query_params.get("window", ""))
        return await self._ask(lambda: self._book.performance(wanted, cut, utc_s()))

    async def _ask(self, work: Callable[[], T]) -> T:
        required_store(self._desk)
        async with self._lock:
            return await asyncio.to_thread(work)

    def _wanted(self, request: Request) -> Wanted:
        version = request.query_params.get("version")
        predictions = Filter(
            model=model_name(request.path_params["model"]),
            version=None if version is None else version_number(version),
        )
        source = request.query_params.get("source")
        return Wanted(predictions=predictions, source=source, grace_s=self._grace_s)
