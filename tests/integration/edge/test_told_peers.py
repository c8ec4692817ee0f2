"""What an edge tells the workers that keep sequences, on real sockets."""

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.edge.local_server import LocalServer
from serving.edge.sequence_peers import PeerTeller
from serving.wire.peer_table import PeerTable
from tests.unit.edge.test_sequence_peers import BESIDE, HERE, snapshot


def test_one_that_was_restarted_is_told_again_before_calls_move(tmp_path: Path) -> None:
    """Whoever has peers hears of them with each snapshot: it may be another process by now."""
    here = replace(HERE, socket=str(tmp_path / "here.sock"))
    beside = replace(BESIDE, socket=str(tmp_path / "beside.sock"))
    heard: list[PeerTable] = []

    async def take(request: Request) -> Response:
        heard.append(msgspec.json.decode(await request.body(), type=PeerTable))
        return Response(b"{}")

    async def scene() -> None:
        app = Starlette(routes=[Route("/worker/peers", take, methods=["POST"])])
        server = LocalServer(app, Path(here.control))
        async with asyncio.TaskGroup() as group:
            group.create_task(server.run())
            teller = PeerTeller(here.node)
            await teller.hear(snapshot(here, beside))
            await teller.hear(snapshot(here, beside))
            server.stop()

    asyncio.run(scene())
    assert [[peer.worker for peer in table.peers] for table in heard] == [["d2-0"], ["d2-0"]]
