"""A burst of clients finds the front desk's socket open while its loop is busy with others."""

import asyncio
import contextlib
import socket

from serving.edge.front_desk import front_desk_app
from serving.edge.local_server import LocalServer
from tests.fakes.front_desk import desk_parts
from tests.integration.edge.bench import home_folder

BURST = 1000
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"


def test_a_thousand_connections_wait_to_be_accepted() -> None:
    """None is refused, which HAProxy would tell its client as 503; all are answered in the end."""

    async def run(server: LocalServer, clients: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.run())
            for client in clients:
                await loop.sock_sendall(client, LIVE)
                assert (await loop.sock_recv(client, 65_536)).startswith(b"HTTP/1.1 200 ")
            server.stop()

    with home_folder() as home, contextlib.ExitStack() as opened:
        path = home / "desk.sock"
        server = LocalServer(front_desk_app(*desk_parts()), path)
        clients = [opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(BURST)]
        for client in clients:
            client.setblocking(False)  # noqa: FBT003  the standard library's signature
            client.connect(str(path))
        asyncio.run(run(server, clients))
