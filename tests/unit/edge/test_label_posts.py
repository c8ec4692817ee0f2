"""Posts of labels at the front desk: those that are slow keep no others out."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.types import Message, Receive

from serving.edge.front_desk import front_desk_app
from serving.edge.label_routes import MAX_WAITING
from serving.predictions.labels.entries import Cell
from serving.predictions.labels.store import LabelStore
from serving.predictions.order import LogOrder
from tests.fakes.front_desk import desk_parts
from tests.unit.edge.test_json_body import scope_of

BODY = msgspec.json.encode([{"prediction_id": "01a221b6-b1db-71ae-881c-82dca3813a69", "label": 1}])


class _Kept(LabelStore):
    """Writes nothing."""

    def add(self, model: str, version: int | None, cells: Sequence[Cell]) -> None:
        """Take them."""


def label_desk(folder: Path) -> Starlette:
    """A front desk that takes labels of model m."""
    desk, *others = desk_parts()
    desk.labels = _Kept(LogOrder(folder=str(folder)), "test", lambda: 1)
    desk.snapshot = replace(desk.snapshot, known_models=frozenset({"m"}))
    return front_desk_app(desk, *others)


async def status_of(app: Starlette, receive: Receive) -> int:
    """Post a body as it comes; return the status."""
    statuses = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope_of("/v2/models/m/labels"), receive, send)
    return statuses[0]


def test_posts_that_do_not_come_keep_no_others_out(tmp_path: Path) -> None:
    """Only what waits for the disk has a place, not what is still on its way."""
    app = label_desk(tmp_path)

    async def scenario() -> None:
        started, rest_comes = asyncio.Semaphore(0), asyncio.Event()

        async def slowly() -> Message:
            started.release()
            await rest_comes.wait()
            return {"type": "http.request", "body": BODY}

        async def at_once() -> Message:
            return {"type": "http.request", "body": BODY}

        async with asyncio.TaskGroup() as group:
            slow = [group.create_task(status_of(app, slowly)) for _ in range(2 * MAX_WAITING)]
            for _ in slow:
                await started.acquire()
            assert await status_of(app, at_once) == 200
            rest_comes.set()
        assert 200 in {task.result() for task in slow}

    asyncio.run(asyncio.wait_for(scenario(), 20))
