"""However many ask for statistics or metrics at once, a worker is asked once or twice for them all.

Each question opened connections of its own to every worker: two thousand clients kept the loop of
`bascule serve` for a minute, and it took its workers for hanging.
"""

import asyncio
from pathlib import Path

import msgspec

from serving.edge.desk import Desk
from serving.edge.front_desk import front_desk_app
from serving.edge.regions import RegionBook, RegionPolicy
from serving.edge.routes import WorkerAddress
from tests.fakes.control import FakeControl
from tests.fakes.edge_worker import EdgeWorker
from tests.fakes.front_desk import desk_parts
from tests.integration.edge.bench import snapshot
from tests.integration.edge.test_front_desk import COUNTED

CROWD = 200


def test_a_crowd_that_asks_for_statistics_asks_each_worker_twice_at_most(tmp_path: Path) -> None:
    """Each gets the sum over all workers."""
    workers = [EdgeWorker(name, statistics=msgspec.json.encode([COUNTED])) for name in ("v", "w")]
    book = RegionBook(RegionPolicy(), tmp_path / "regions", "test")
    desk = Desk(FakeControl(), book, server_id="triton", node="local")
    sockets = {worker.name: tmp_path / f"{worker.name}.sock" for worker in workers}
    addresses = [WorkerAddress(name, "local", str(path)) for name, path in sockets.items()]
    desk.take(snapshot(1, {"p": addresses}, {("m a", 1): "p"}, {"m a": 1}))

    async def run() -> set[int]:
        async with workers[0].serving(sockets["v"]), workers[1].serving(sockets["w"]):
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(desk.statistics("m a", None)) for _ in range(CROWD)]
            return {each.result()[0].inference_count for each in asked}

    assert asyncio.run(run()) == {2 * COUNTED.inference_count}
    assert all(1 <= worker.counted_count <= 2 for worker in workers)


def test_a_crowd_that_changes_settings_has_each_worker_told_twice_at_most(tmp_path: Path) -> None:
    """One after the other: a worker that hears two at once might obey the older one."""
    worker = EdgeWorker("w")
    book = RegionBook(RegionPolicy(), tmp_path / "regions", "test")
    desk = Desk(FakeControl(), book, server_id="triton", node="local")
    socket = tmp_path / "w.sock"
    routed = {"p": [WorkerAddress("w", "local", str(socket))]}
    desk.take(snapshot(1, routed, {("m a", 1): "p"}, {"m a": 1}))

    async def run() -> None:
        async with worker.serving(socket), asyncio.TaskGroup() as group:
            for level in range(CROWD):
                group.create_task(desk.change_logging({"log_verbose_level": level}))

    asyncio.run(run())
    assert 1 <= len(worker.begun) <= 2
    assert worker.busiest_count == 1
    assert worker.begun[-1].body == msgspec.json.encode(desk.protocol_settings.diagnostics())


def test_a_crowd_of_scrapes_renders_twice_at_most() -> None:
    """Each has what was counted after it asked."""
    rendered_count = 0

    async def render() -> bytes:
        nonlocal rendered_count
        rendered_count += 1
        await asyncio.sleep(0)
        return b"counted 1\n"

    async def run() -> list[bytes]:
        desk, _, generator, relay = desk_parts()
        app = front_desk_app(desk, render, generator, relay)
        bodies: list[bytes] = []

        async def scrape() -> None:
            async def send(message: dict[str, object]) -> None:
                if message["type"] == "http.response.body":
                    bodies.append(bytes(message["body"]))  # type: ignore[call-overload]  # ASGI's

            async def receive() -> dict[str, object]:
                return {"type": "http.request", "body": b"", "more_body": False}

            scope = {"type": "http", "method": "GET", "path": "/metrics", "raw_path": b"/metrics",
                     "query_string": b"", "headers": [], "root_path": ""}  # fmt: skip
            await app(scope, receive, send)  # type: ignore[arg-type]  # as above

        async with asyncio.TaskGroup() as group:
            for _ in range(CROWD):
                group.create_task(scrape())
        return bodies

    assert asyncio.run(run()) == [b"counted 1\n"] * CROWD
    assert rendered_count <= 2
