"""`/v1/models/{model}/labels…` on the admin socket: how many labels came, and what they say.

Answered by the node, from the prediction log that it can read: where nodes share no folder and no
URL, each knows its part. One question is answered at a time: reading takes memory.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from starlette.requests import Request

from runtimes.errors import InvalidArgumentError
from serving.clock import utc_s
from serving.collector_pause import paused_collector
from serving.edge.admin_api import call_with_body, who_asked
from serving.edge.admin_openapi import AdminCall, Words
from serving.edge.data_alarms import data_alarms
from serving.edge.desk import Desk
from serving.edge.label_review_body import ReviewBody
from serving.edge.label_routes import required_store
from serving.ids import model_name, version_number
from serving.predictions.labels.book import LabelBook, LabelStatus, Performance, cut_of
from serving.predictions.labels.forecast import ModelForecast, forecast_of
from serving.predictions.labels.joining import Wanted
from serving.predictions.labels.review_queue import (
    SuspectList,
    label_under_review,
    suspect_list,
)
from serving.predictions.labels.reviews import Review, Reviews
from serving.predictions.reading import Filter
from serving.predictions.wanted import log_order
from serving.settings import Settings

OF_LABELS: Final = "/v1/models/{model}/labels"
OF_VERSION: Final = {"version": {"type": "integer", "minimum": 1}}
MOST_SUSPECTS: Final = 100
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
        AdminCall(
            "GET",
            f"{OF_LABELS}/suspects",
            calls.suspects,
            Words("labels", "Labels that look wrong, and wait for somebody", SuspectList),
            query={**OF_VERSION, **OF_SOURCE, "limit": {"type": "integer", "minimum": 1}},
        ),
        AdminCall(
            "GET",
            f"{OF_LABELS}/estimate",
            calls.estimate,
            Words("labels", "What is expected of answers without labels", ModelForecast),
            query={**OF_VERSION, **OF_SOURCE},
        ),
        call_with_body(
            f"{OF_LABELS}/review",
            ReviewBody,
            calls.review,
            Words("labels", "Say that a label that looked wrong is wrong, or right", Review),
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

    async def suspects(self, request: Request) -> object:
        wanted, most = self._wanted(request), _limit(request)

        def work() -> SuspectList:
            found = self._book.joined(wanted, utc_s())
            reviews = Reviews(self._book.labels.reviews(wanted.predictions.model))
            return suspect_list(found, reviews, most)

        return await self._ask(work)

    async def estimate(self, request: Request) -> object:
        wanted = self._wanted(request)
        alarms = await data_alarms(self._desk, wanted.predictions.model)
        return await self._ask(
            lambda: forecast_of(self._book.joined(wanted, utc_s()), alarms.found, alarms.unasked)
        )

    async def review(self, request: Request, body: ReviewBody) -> object:
        store, model = required_store(self._desk), model_name(request.path_params["model"])
        who = who_asked(request)

        def work() -> Review:
            key, given = label_under_review(
                self._book.labels, model, body.prediction_id.lower(), body.row, body.output
            )
            review = Review(
                model=model,
                prediction_id=key.prediction_id,
                row=key.row,
                output=key.output,
                given=given,
                verdict=body.verdict,
                who=who,
                reason=body.reason.strip(),
                at_ns=int(utc_s() * 1e9),
            )
            store.add_review(review)
            return review

        return await self._ask(work)

    async def _ask(self, work: Callable[[], T]) -> T:
        required_store(self._desk)
        async with self._lock:
            return await asyncio.to_thread(_uncollected, work)

    def _wanted(self, request: Request) -> Wanted:
        version = request.query_params.get("version")
        predictions = Filter(
            model=model_name(request.path_params["model"]),
            version=None if version is None else version_number(version),
        )
        source = request.query_params.get("source")
        return Wanted(predictions=predictions, source=source, grace_s=self._grace_s)


def _uncollected(work: Callable[[], T]) -> T:
    with paused_collector():
        return work()


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(MOST_SUSPECTS))
    if not (text.isascii() and text.isdecimal() and int(text[:9]) > 0):
        raise InvalidArgumentError(f"limit: a number above 0 is expected, got {text[:40]!r}")
    return int(text[:9])
