"""A client of the HTTP front desk that leaves takes its call along: nobody goes on for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from serving.edge.control import Snapshot
from serving.edge.edge import FOLDER
from serving.edge.haproxy_admin import AdminSocket
from serving.edge.haproxy_layout import ADMIN_SOCKET
from serving.edge.routes import RouteTable, VersionRoute
from serving.errors import NotReadyError
from serving.ids import VersionKey
from tests.fakes.waiting import until_told
from tests.integration.edge.bench import Bench, fresh_edge, snapshot, until

LIMIT_S = 90.0


def on_an_edge(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a scenario with model m, version 3, on one worker."""

    async def run() -> None:
        async with asyncio.timeout(LIMIT_S), fresh_edge() as bench:
            worker = await bench.add_worker("w0")
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 3): "p"}, {"m": 3}))
            await scenario(bench)

    asyncio.run(run())


async def called(bench: Bench, path: str, body: bytes) -> asyncio.StreamWriter:
    """Send a call, and do not read its answer."""
    address = bench.settings.http
    _, writer = await asyncio.open_connection(address.host, address.port)
    head = f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return writer


async def until_nothing_runs(bench: Bench) -> None:
    """Return when HAProxy has no call any more, neither a client's nor the front desk's."""
    admin = AdminSocket(bench.settings.run_dir / FOLDER / ADMIN_SOCKET)

    async def is_idle() -> bool:
        return not await admin.running_call_count()

    await until_told(is_idle, "no call runs", excused=(NotReadyError,))


def test_a_client_of_generate_that_leaves_takes_its_call_along() -> None:
    """The worker hears of it, as it does of an infer call's."""

    async def scenario(bench: Bench) -> None:
        worker = bench.workers["w0"]
        worker.gate.clear()
        client = await called(bench, "/v2/models/m/generate", b'{"x": [1.0, 2.0]}')
        await worker.until_begun(1)
        client.transport.abort()
        await until_nothing_runs(bench)

    on_an_edge(scenario)


def test_a_client_that_leaves_while_its_call_waits_for_a_worker_is_not_run_for() -> None:
    """It keeps no place from others, and no worker is busy with it once there is one."""

    async def scenario(bench: Bench) -> None:
        key = VersionKey("m", 3)
        awake = snapshot(3, {"p": [await bench.add_worker("w1")]}, {("m", 3): "p"}, {"m": 3})
        routes = RouteTable(revision=2, versions={key: VersionRoute("p", asleep=True)})
        await bench.edge.apply(Snapshot(routes=routes, versions=awake.versions, ready=True))
        path = "/v2/models/m/versions/3/infer"
        leaving = await called(bench, path, b'{"who": "left"}')
        await until(lambda: ("wake", "m", 3) in bench.control.asked)
        leaving.transport.abort()
        await until_nothing_runs(bench)
        await bench.edge.apply(replace(awake, ready=True))
        reply = await bench.ask("POST", path, b'{"who": "stayed"}')
        assert reply.status == 200
        assert [call.body for call in bench.workers["w1"].begun] == [b'{"who": "stayed"}']

    on_an_edge(scenario)
